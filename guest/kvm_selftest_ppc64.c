/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/kvm_selftest.h"

#include <string.h>
#include <sys/ioctl.h>

#include "arch/ppc64/ppc64.h"
#include "base/alloc.h"

/* In real mode. */
#define GPA_CODE 0x1000u
const uint64_t kvm_machine_code_gpa = GPA_CODE;

#define MSR_SF (1ull << 63)
#define NOP 0x60000000u
#define HYPERCALL 0x44000022u /* of r3, which is 0: one that nobody knows */
#define AT_BREAKPOINT 4u

/* Where the guest gets to if KVM leaves the exception to it, in either byte order. */
#define GPA_PROGRAM_INTERRUPT 0x700u

/* In the host's byte order, as its instructions are. */
static const uint32_t code[] = { NOP, NOP, HYPERCALL };
static const uint8_t hypercall_big[] = { 0x44, 0, 0, 0x22 };

bool kvm_machine_set_up(int kvm, const struct kvm_machine *m, uint64_t pc)
{
	uint64_t little = order_of_host() == ORDER_LITTLE ? PPC64_MSR_LE : 0;
	struct kvm_regs regs = { .pc = pc, .msr = MSR_SF | little };

	/* KVM's HV kind runs no other guests than PAPR's. */
	struct kvm_enable_cap papr = { .cap = KVM_CAP_PPC_PAPR };

	(void)kvm;
	memcpy(m->ram + GPA_CODE, code, sizeof(code));
	memcpy(m->ram + GPA_PROGRAM_INTERRUPT, hypercall_big, sizeof(hypercall_big));
	return !ioctl(m->vcpu, KVM_ENABLE_CAP, &papr) && !ioctl(m->vcpu, KVM_SET_REGS, &regs);
}

const struct kvm_experiment kvm_experiments[] = {
	{ { 0 }, KVM_DEBUG_SOFTWARE, 0, KVM_HIT_SOFTWARE, AT_BREAKPOINT, offsetof(struct kvm_debug_caps, software) },
};
const size_t kvm_n_experiments = ARRAY_LEN(kvm_experiments);
