/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_KVM_SELFTEST_H
#define GUEST_KVM_SELFTEST_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/kvm_debug.h"

/*
 * The guest that kvm_debug_test() tries things out on. What it is made of is the
 * host's: one file a host, kvm_selftest_*.c, chosen by the GNUmakefile.
 */

#define KVM_MACHINE_RAM_BYTES 0x100000u /* from gpa 0 on */

/* One that has not run yet; it goes with the process. */
struct kvm_machine {
	int vm, vcpu;
	uint8_t *ram;
	struct kvm_run *run;
};

struct kvm_experiment {
	struct breakpoint b; /* bytes 0: none */
	unsigned flags;      /* KVM_DEBUG_* */
	unsigned start;      /* where in the code it begins */
	enum kvm_hit_kind kind;
	unsigned pc;         /* in the code, of the hit that must come */
	size_t cap;          /* offset of the bool in struct kvm_debug_caps that it is for */
};

extern const struct kvm_experiment kvm_experiments[];
extern const size_t kvm_n_experiments;

/* Where its code is, at the same virtual address. */
extern const uint64_t kvm_machine_code_gpa;
/* Fills in memory and registers; it is to start at pc. */
bool kvm_machine_set_up(int kvm, const struct kvm_machine *m, uint64_t pc);

#endif
