/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_WATCH_H
#define GUEST_WATCH_H

#include <stdbool.h>

#include "base/err.h"
#include "guest/tracee.h"
#include "guest/watched.h"

/*
 * Follows the system calls of all threads of a VMM while it runs; of the guardian's
 * half. Tells what it set up in KVM, and can hold its guest before it runs.
 */
struct watch;

/* Borrows ts, the threads of a stopped VMM, which are watched from here on, whatever else is done with them. */
struct watch *watch_create(struct tracees *ts);
void watch_destroy(struct watch *w); /* takes NULL */

/* Lets them all go. hold: no vCPU runs guest code; its thread is parked in KVM_RUN before. */
struct err *watch_run(struct watch *w, bool hold) MUST_CHECK;
/* Handles what has happened since. *ret_held: a vCPU that was to be held has come. */
struct err *watch_turn(struct watch *w, bool *ret_held) MUST_CHECK;
/* Stops them all, as tracees_stop(). */
struct err *watch_halt(struct watch *w) MUST_CHECK;

/* Borrowed. */
const struct watched *watch_seen(const struct watch *w);

#endif
