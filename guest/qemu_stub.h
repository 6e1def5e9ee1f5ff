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
struct qemu_stub {
	struct stub *stub; /* NULL: there is none; why says the reason */
	char *place;       /* its address, as query-chardev has it */
	bool ours;
	char *why;
};

/*
 * Finds or starts it, connects, and checks that it tells of the same n_vcpus.
 * Needs a guest that stands still: connecting would pause it.
 */
void qemu_stub_open(struct qmp *q, const struct arch *arch, unsigned n_vcpus, struct qemu_stub *ret);

/* Lets go of it, without making the guest run. */
void qemu_stub_close(struct qmp *q, struct qemu_stub *s);

/*
 * Takes over what a stub_*() said. An error that means that the stub is of no
 * more use ends it and gives NULL; others are returned.
 */
struct err *qemu_stub_check(struct qemu_stub *s, struct err *e) MUST_CHECK;

#endif
