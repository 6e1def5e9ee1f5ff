/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_QEMU_NOTES_H
#define GUEST_QEMU_NOTES_H

#include <stdbool.h>

#include "guest/guest.h"
#include "guest/qmp.h"

/*
 * Registers that QEMU tells neither to a debugger nor in its monitor, but in
 * the notes of its own dump (s390x: the prefix, the timers). So one page is
 * dumped, into memory of ours. {0} has none yet.
 */
struct qemu_notes {
	struct guest *core; /* NULL: not to be had, once it was tried */
	bool tried;
	bool *untold; /* one a register: this QEMU's notes do not have it; NULL: none is known */
};

/*
 * Sets in ret what is unknown and stands in a note that is not for the general
 * registers, whose other fields QEMU fills with zeros. Asks QEMU only if there
 * is any; then also completes what is known by its low half. ram_gpa: a page that QEMU dumps. The guest must stand still.
 */
void qemu_notes_fill(struct qemu_notes *n, struct qmp *q, uint64_t ram_gpa, unsigned vcpu, struct regs *ret);
/* What QEMU's notes do not have, which takes a dump to find out, is remembered. */
void qemu_notes_close(struct qemu_notes *n);
void qemu_notes_deinit(struct qemu_notes *n);

#endif
