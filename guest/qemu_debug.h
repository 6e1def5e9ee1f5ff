/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_QEMU_DEBUG_H
#define GUEST_QEMU_DEBUG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "guest/guest.h"
#include "guest/qemu_kvm.h"
#include "guest/qemu_stub.h"
#include "guest/qmp.h"

/* Breakpoints, steps and hits of the qemu backend, by QEMU's gdbstub. */

struct qemu_debug_cpu {
	int index; /* QEMU's own */
	enum run_action action;
	bool stepping; /* QEMU's flag, which is on until a stop reply names the vCPU */
	bool has_hit;  /* that has not been told yet */
	struct guest_event hit;
	uint64_t pc;   /* linear; of the hit */
	struct regs *now;    /* as the monitor tells them; NULL: not asked for since it last ran */
	bool halted;         /* by then */
	struct regs *before; /* the same of its last run's start, or NULL */
};

struct qemu_debug {
	struct qmp *qmp;        /* borrowed */
	struct qemu_stub *stub; /* borrowed */
	bool kvm;
	struct qemu_kvm caps;
	bool running;           /* its stop has not been looked at yet */
	unsigned step_flags;    /* that the stub had, where it has others now; else 0 */
	unsigned repeats;       /* of steps that ended before their instruction, in this run */
	struct qemu_debug_cpu *cpus;
	unsigned n_cpus;
};

void qemu_debug_deinit(struct qemu_debug *d);
/* The vCPUs of this stop, by QEMU's own numbers. What was known of others stays. */
void qemu_debug_set_vcpus(struct qemu_debug *d, const int *indices, unsigned n);

/* What the monitor tells of a vCPU's registers, asked for once at a stop. Borrowed until it runs or they are forgotten. */
struct err *qemu_debug_regs(struct guest *g, struct qemu_debug *d, unsigned vcpu, const struct regs **ret) MUST_CHECK;
/* Some may have been written. */
void qemu_debug_forget_regs(struct qemu_debug *d);

/*
 * guest_ops. What is set stays in QEMU until it is cleared, whatever becomes of the stub.
 */
struct err *qemu_debug_set(struct guest *g, struct qemu_debug *d, unsigned vcpu, const struct breakpoint *b) MUST_CHECK;
struct err *qemu_debug_clear(struct qemu_debug *d, const struct breakpoint *b) MUST_CHECK;
/* Sets all of g's again, in a stub that is new to us. */
struct err *qemu_debug_set_again(struct guest *g, struct qemu_debug *d) MUST_CHECK;

/*
 * Before a run: tells of a hit that has not been told, else lets those vCPUs pass
 * that stand on a breakpoint. ret->kind is GUEST_EVENT_STOPPED when it is not to run.
 * actions NULL: all continue.
 */
struct err *qemu_debug_prepare(struct guest *g, struct qemu_debug *d, const enum run_action *actions,
			       struct guest_event *ret) MUST_CHECK;
/* Does what was prepared. */
struct err *qemu_debug_go(struct guest *g, struct qemu_debug *d) MUST_CHECK;
/* Somebody else lets it run. */
void qemu_debug_let_go(struct qemu_debug *d);

/*
 * The guest has stopped. by_debug: for a breakpoint or a step. *ret stays as it is when
 * the stop is for nothing that was asked: the guest is to go on. A no-op at a stop that has been looked at.
 */
struct err *qemu_debug_stopped(struct guest *g, struct qemu_debug *d, bool by_debug, struct guest_event *ret) MUST_CHECK;
/* The stop of this vCPU is told. */
void qemu_debug_told(struct qemu_debug *d, unsigned vcpu);

/* Nothing is set. Ends steps that have not ended, for which the guest runs for a moment. */
struct err *qemu_debug_end_steps(struct qemu_debug *d) MUST_CHECK;
/* Is there any? */
bool qemu_debug_steps(const struct qemu_debug *d);

#endif
