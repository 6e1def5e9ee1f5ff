/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_QEMU_RUN_H
#define GUEST_QEMU_RUN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "guest/qmp.h"

/* Whether a QEMU's guest runs. */
struct qemu_status {
	bool running;
	char word[32]; /* "running", "paused", "inmigrate", ... */
};

struct err *qemu_status_ask(struct qmp *q, struct qemu_status *ret) MUST_CHECK;
/* Is a word of QEMU's one of these? */
bool qemu_word_is(const char *word, const char *const *words, size_t n);
/*
 * ERR_UNSUPPORTED for any guest but one that is paused, or was reset since: it is not ours
 * to run. One that was migrated may run on another machine.
 */
struct err *qemu_check_ready(const struct qemu_status *s) MUST_CHECK;

/*
 * Lets a guest run that we have paused, if it is still in a state that is ours to
 * end. *ret: how it is then.
 */
struct err *qemu_run(struct qmp *q, struct qemu_status *ret) MUST_CHECK;

/*
 * The same after breakpoints have been taken out: a vCPU that was about to stop for one
 * does so still, which is nobody's then. Waits for such stops, and ends them.
 */
struct err *qemu_run_past_stops(struct qmp *q, struct qemu_status *ret) MUST_CHECK;

#endif
