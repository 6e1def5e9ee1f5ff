/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/kvm_selftest.h"

#include <string.h>
#include <sys/ioctl.h>

#include "arch/s390x/s390x.h"
#include "base/alloc.h"

#define GPA_CODE 0x10000u
#define GPA_DATA 0x11000u
const uint64_t kvm_machine_code_gpa = GPA_CODE;

/* r1 is stored where r2 points to; KVM leaves the DIAGNOSE at the end to the VMM. */
#define AT_STORE 4u
#define AT_END 8u
static const uint8_t code[] = {
	0x47, 0x00, 0x00, 0x00, /* nop */
	0x50, 0x10, 0x20, 0x00, /* st %r1, 0(%r2) */
	0x83, 0x24, 0x05, 0x02,
};
#define R1_VALUE 0x12345678u

_Static_assert(KVM_SET_USER_MEMORY_REGION == 0x4020ae46 && KVM_RUN == 0xae80, "linux/kvm.h");

bool kvm_machine_set_up(int kvm, const struct kvm_machine *m, uint64_t pc)
{
	struct kvm_regs regs = { .gprs = { [1] = R1_VALUE, [2] = GPA_DATA } };

	(void)kvm;
	memcpy(m->ram + GPA_CODE, code, sizeof(code));
	m->run->psw_mask = S390X_PSW_EA | S390X_PSW_BA;
	m->run->psw_addr = pc;
	return !ioctl(m->vcpu, KVM_SET_REGS, &regs);
}

#define CAP(member) offsetof(struct kvm_debug_caps, member)

const struct kvm_experiment kvm_experiments[] = {
	{ { 0 }, KVM_DEBUG_STEP, 0, KVM_HIT_STEP, AT_STORE, CAP(step) },
	{ { BREAKPOINT_HARDWARE, GPA_CODE + AT_STORE, 1 }, 0, 0, KVM_HIT_EXECUTE, AT_STORE, CAP(execute) },
	{ { WATCHPOINT_WRITE, GPA_DATA, 8 }, 0, 0, KVM_HIT_WATCH, AT_END, CAP(watch) },
	{ { 0 }, KVM_DEBUG_SOFTWARE, 0, KVM_HIT_SOFTWARE, AT_STORE, CAP(software) },
};
const size_t kvm_n_experiments = ARRAY_LEN(kvm_experiments);
