/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_QEMU_KEEPER_H
#define GUEST_QEMU_KEEPER_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "guest/qmp.h"

/* What we have to undo in a QEMU. */
struct qemu_debt {
	bool run;      /* the guest ran when we paused it */
	bool armed;    /* breakpoints or steps may be in it: that it stops for those is our doing */
	bool steps;    /* there may be steps that have not ended */
	char stub[96]; /* a gdbstub that we started: its place or how that begins; "": none */
};

/*
 * A process of its own that shares our QMP connection. However we end, it pays what
 * is owed then, as soon as QEMU answers, and ends. Before that it does nothing.
 */
struct qemu_keeper;

/* Nothing is owed yet. The calling process has one thread. q is borrowed. */
struct err *qemu_keeper_start(struct qmp *q, struct qemu_keeper **ret) MUST_CHECK;

/* To be kept up to date: what is going to be done is written down before. Borrowed. */
struct qemu_debt *qemu_keeper_debt(struct qemu_keeper *k);

/* Waits for its end; where something is owed still, leaves it to that and returns its pid, else 0. Takes NULL. */
pid_t qemu_keeper_end(struct qemu_keeper *k);

#endif
