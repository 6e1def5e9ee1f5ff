/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_KVM_DEBUG_H
#define GUEST_KVM_DEBUG_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "guest/guest.h"

/*
 * KVM_SET_GUEST_DEBUG and KVM_EXIT_DEBUG as the host's processor has them: one file a
 * host, kvm_debug_*.c, chosen by the GNUmakefile. The vCPU that stops tells where by a
 * linear address.
 */

/* What this host's KVM was seen to do. */
struct kvm_debug_caps {
	bool tested;
	bool step;       /* one instruction at a time */
	bool execute;    /* breakpoints in debug registers */
	bool watch;      /* the same for writes */
	bool access;     /* and for reads and writes */
	bool software;   /* breakpoint instructions */
	bool holds_irqs; /* while it steps */
};

/*
 * Tries all that out on a guest of its own, in a process that ends within seconds.
 * kvm_fd: of /dev/kvm, or -1. Without one everything stays false.
 */
void kvm_debug_test(int kvm_fd, struct kvm_debug_caps *ret);

/* The breakpoint instruction, the same in both byte orders. */
#define KVM_DEBUG_MAX_INSN_BYTES 4u
extern const uint8_t kvm_debug_insn[];
extern const size_t kvm_debug_insn_bytes;

/* What becomes of one that the guest has itself. */
enum kvm_debug_foreign {
	KVM_FOREIGN_EXCEPTION, /* kvm_debug_add_exception() gives it to the guest */
	KVM_FOREIGN_STOP,      /* nothing can: it stops the guest as one of ours does */
	KVM_FOREIGN_PASS,      /* the exit is the VMM's to handle */
};
extern const enum kvm_debug_foreign kvm_debug_foreign;

/* How many there are. */
extern const unsigned kvm_debug_n_registers;
/* Watchpoints are of places in memory, and stop where that is not what it was when they were set. */
extern const bool kvm_debug_watches_memory;
/* How many b takes; not for software ones. */
struct err *kvm_debug_registers_of(const struct breakpoint *b, unsigned *ret) MUST_CHECK;

/* What KVM_CAP_SET_GUEST_DEBUG2 has for holding interrupts; 0: nothing, on this processor. */
extern const unsigned kvm_debug_irq_flag;

#define KVM_DEBUG_STEP 1u
#define KVM_DEBUG_HOLD_IRQS 2u
#define KVM_DEBUG_SOFTWARE 4u /* breakpoint instructions stop the guest */

/* What KVM_SET_GUEST_DEBUG takes, and the list to which its arch part points where it has a pointer. */
#ifdef __s390x__
#define KVM_DEBUG_LIST_WORDS 16u
#else
#define KVM_DEBUG_LIST_WORDS 0u
#endif
struct kvm_arming {
	struct kvm_guest_debug debug;
	uint64_t list[KVM_DEBUG_LIST_WORDS];
};

/* Offset of that pointer in a struct kvm_arming, for inject_ioctl(); 0: there is none. */
extern const size_t kvm_debug_pointer_at;

/* One that does nothing. */
static inline struct kvm_arming kvm_debug_none(void)
{
	return (struct kvm_arming){ 0 };
}

/* Adds to what is there, which began as kvm_debug_none(). flags: KVM_DEBUG_*. */
void kvm_debug_add_flags(struct kvm_arming *d, unsigned flags);
/* There is room for it. gpa: where its address is in the guest, of a watchpoint. */
void kvm_debug_add_breakpoint(struct kvm_arming *d, const struct breakpoint *b, uint64_t gpa);

/*
 * Where KVM does not step: the addresses that the vCPU can get to by one instruction,
 * for breakpoint instructions there. NULL: on this host there is no need of it.
 */
#define KVM_DEBUG_MAX_NEXT 2u
extern struct err *(*const kvm_debug_next)(struct guest *g, unsigned vcpu, uint64_t ret[KVM_DEBUG_MAX_NEXT],
					   unsigned *ret_n);

enum kvm_hit_kind {
	KVM_HIT_NONE,     /* nothing of ours: the exit is the VMM's */
	KVM_HIT_GUESTS,   /* an exception that the guest is to have itself */
	KVM_HIT_STEP,
	KVM_HIT_EXECUTE,  /* a debug register */
	KVM_HIT_WATCH,
	KVM_HIT_SOFTWARE, /* a breakpoint instruction, ours or the guest's */
};

/* One debug exit of a vCPU. */
struct kvm_hit {
	enum kvm_hit_kind kind;
	int vcpu_fd;
	uint64_t pc;  /* linear */
	uint64_t gva; /* KVM_HIT_WATCH: what the debug register holds */
	uint64_t cause; /* KVM_HIT_GUESTS: for kvm_debug_set_cause() */
};

/* What an exit means to a vCPU that was given d. Sets all but vcpu_fd. */
void kvm_debug_read_exit(const struct kvm_run *run, const struct kvm_arming *d, struct kvm_hit *ret);
/* Makes an exit that is hit one of which the VMM learns nothing, with the vCPU at hit->pc. */
void kvm_debug_hide_exit(struct kvm_run *run, const struct kvm_hit *hit);
/* Adds the exception of an exit (KVM_HIT_GUESTS, or a breakpoint instruction of its own): the guest has it next. */
void kvm_debug_add_exception(struct kvm_arming *d, const struct kvm_hit *hit);

/*
 * The registers that tell the guest's handler why it was called. Nothing sets them with
 * the exception: they are got, changed and set by these ioctls of the vCPU before. Of
 * hosts that have no KVM_HIT_GUESTS they are 0.
 */
#define KVM_DEBUG_CAUSE_BYTES 128u
extern const unsigned long kvm_debug_get_cause, kvm_debug_put_cause;
void kvm_debug_set_cause(void *regs, const struct kvm_hit *hit);

#endif
