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
#define BRANCH_TO_SELF 0x48000000u
#define AT_BREAKPOINT 4u

/* In the host's byte order, as its instructions are. */
static const uint32_t code[] = { NOP, NOP, BRANCH_TO_SELF };

bool kvm_machine_set_up(int kvm, const struct kvm_machine *m, uint64_t pc)
{
	uint64_t little = order_of_host() == ORDER_LITTLE ? PPC64_MSR_LE : 0;
	struct kvm_regs regs = { .pc = pc, .msr = MSR_SF | little };

	/* KVM's HV kind runs no other guests than PAPR's. */
	struct kvm_enable_cap papr = { .cap = KVM_CAP_PPC_PAPR };

	(void)kvm;
	memcpy(m->ram + GPA_CODE, code, sizeof(code));
	return !ioctl(m->vcpu, KVM_ENABLE_CAP, &papr) && !ioctl(m->vcpu, KVM_SET_REGS, &regs);
}

const struct kvm_experiment kvm_experiments[] = {
	{ { 0 }, KVM_DEBUG_SOFTWARE, 0, KVM_HIT_SOFTWARE, AT_BREAKPOINT, offsetof(struct kvm_debug_caps, software) },
};
const size_t kvm_n_experiments = ARRAY_LEN(kvm_experiments);
