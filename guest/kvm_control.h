/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_KVM_CONTROL_H
#define GUEST_KVM_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/guest.h"
#include "guest/kvm_debug.h"

/* Breakpoints, steps and hits of the kvm backend; what the guardian runs is made here. */

struct kvm;

/* Where a breakpoint instruction was put to end a step, until the next run. */
struct kvm_next {
	uint64_t hva;
	uint8_t saved[KVM_DEBUG_MAX_INSN_BYTES];
};

/* One that is set. */
struct kvm_point {
	struct breakpoint b;
	bool in_register; /* else gpa is where its instruction goes */
	uint64_t gpa; /* of a watchpoint too, where kvm_debug_watches_memory */
	/* As of the last run. */
	uint64_t hva; /* 0: it was nowhere */
	uint8_t saved[KVM_DEBUG_MAX_INSN_BYTES];
};

/* What is known of a vCPU. */
struct kvm_seen {
	int fd;
	bool told; /* it stands at pc, where a stop of it was reported: a breakpoint there is done with */
	uint64_t pc;
	bool has_hit; /* that has not been reported yet */
	struct kvm_hit hit;
};

struct kvm_control {
	struct kvm_debug_caps caps;
	struct kvm_point *points;
	size_t n_points;
	struct kvm_next *next;
	size_t n_next;
	struct kvm_seen *seen; /* by vCPU */
	unsigned n_seen;
	bool armed;       /* the guardian may have debug registers set */
	bool running;     /* by kvm_control_run(), not stopped yet by guest_stop() */
	bool stopped;     /* while running: it has stopped by itself, or not even started */
	bool undisturbed; /* while stopped: memory slots cannot have changed since the stop before */
	int event_fd;     /* readable when a hit is there without a run */
	int64_t stopped_ms; /* when it last stopped */
};

struct err *kvm_control_init(struct kvm_control *c) MUST_CHECK;
void kvm_control_deinit(struct kvm_control *c);

/* Is there anything that a plain resume would not do? */
bool kvm_control_needed(const struct kvm *k);
/* guest_ops.run; actions NULL: all continue. */
struct err *kvm_control_run(struct guest *g, const enum run_action *actions) MUST_CHECK;
/* Stops a guest that runs by it, and says so in control.undisturbed. */
struct err *kvm_control_stop(struct guest *g) MUST_CHECK;
/* The next event of a guest that runs by it. */
struct err *kvm_control_poll(struct guest *g, struct guest_event *ret) MUST_CHECK;
/* The vCPUs of this stop are known: k->vcpu_fds. */
void kvm_control_set_vcpus(struct kvm *k);
/* The vCPU's pc was written. */
void kvm_control_moved(struct kvm *k, unsigned vcpu);
/* Nothing is armed any more, and no hit waits. */
void kvm_control_forget(struct kvm *k);
/* The guardian has been killed: what it left armed is taken out as soon as another can. */
void kvm_control_heal(struct kvm *k);

/* guest_ops. */
struct err *kvm_set_breakpoint(struct guest *g, unsigned vcpu, const struct breakpoint *b) MUST_CHECK;
struct err *kvm_clear_breakpoint(struct guest *g, const struct breakpoint *b) MUST_CHECK;
/* A line for `info status`. */
void kvm_control_describe(struct kvm *k, struct buf *out);

#endif
