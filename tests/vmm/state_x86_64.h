/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_VMM_STATE_X86_64_H
#define TESTS_VMM_STATE_X86_64_H

#include <linux/kvm.h>
#include <stdint.h>

/* Everything of a vCPU that is set and compared. */
enum { MSR_K_GS_BASE = 7, N_MSRS };

struct vcpu_state {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_xcrs xcrs;
	uint64_t msrs[N_MSRS];
	struct kvm_xsave xsave; /* ends in a flexible array */
};

#endif
