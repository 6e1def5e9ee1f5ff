/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_QEMU_STUB_H
#define GUEST_QEMU_STUB_H

#include <stdbool.h>

#include "base/err.h"
#include "guest/qmp.h"
#include "guest/stub.h"

/*
 * QEMU's own gdbstub, as a source of registers and a way to write memory. One
 * that the owner started is used while it is free; where none runs one is
 * started and ended again. {0} has none.
 */
struct qemu_debt;

struct qemu_stub {
	struct stub *stub; /* NULL: there is none; why says the reason */
	char *place;       /* its address, as query-chardev has it */
	bool ours;
	char *why;
	struct qemu_debt *debt; /* where one of ours is written down; borrowed */
};

/*
 * Finds or starts it, connects, and checks that it tells of the same n_vcpus.
 * Needs a guest that stands still: connecting would pause it. debt is borrowed.
 */
void qemu_stub_open(struct qmp *q, const struct arch *arch, unsigned n_vcpus, struct qemu_debt *debt,
		    struct qemu_stub *ret);

/* Lets go of it, without making the guest run. One of ours that QEMU does not end now stays in the debt. */
void qemu_stub_close(struct qmp *q, struct qemu_stub *s);

/* Ends one that was started, or was going to be, if it is at a place that begins like this. */
struct err *qemu_stub_end(struct qmp *q, const char *place) MUST_CHECK;

/* Disconnects, and leaves all as it is. */
void qemu_stub_leave(struct qemu_stub *s);

/*
 * Takes out of a QEMU what a client that has gone left in it: all breakpoints, and
 * with steps each vCPU's step. The guest is paused then. debt->stub is empty before and after.
 */
struct err *qemu_stub_disarm(struct qmp *q, struct qemu_debt *debt, bool steps) MUST_CHECK;

/* A step that was not over when the guest stopped for another reason. The guest runs for a moment. */
struct err *qemu_stub_end_step(struct qmp *q, struct qemu_stub *s, unsigned vcpu) MUST_CHECK;

/*
 * Takes over what a stub_*() said. An error that means that the stub is of no
 * more use ends it and gives NULL; others are returned.
 */
struct err *qemu_stub_check(struct qemu_stub *s, struct err *e) MUST_CHECK;

#endif
