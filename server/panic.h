/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SERVER_PANIC_H
#define SERVER_PANIC_H

#include "server/hold.h"
#include "server/loop.h"

/*
 * Waits beside the event loop until a guest's kernel panics: by what its VMM tells, and
 * by a breakpoint where the kernel's own symbols say that panics come by.
 */
struct panic_watch;

struct panic_config {
	struct loop *loop;
	struct hold *hold;
	/*
	 * Called once, from the loop; takes over e. NULL: the guest is stopped in its panic, and
	 * stays so until panic_watch_end(). ERR_GONE: it has ended without one.
	 */
	void (*done)(void *arg, struct err *e);
	void *arg;
};

/* Borrows all that config points to. ERR_UNKNOWN: a panic of this guest would not be noticed. */
struct err *panic_watch_start(const struct panic_config *config, struct panic_watch **ret) MUST_CHECK;
/* It has panicked already, and done is about to be called. */
bool panic_watch_is_over(const struct panic_watch *w);
/* Takes the breakpoint out, and lets the guest go on unless somebody else holds it; takes NULL. */
struct err *panic_watch_end(struct panic_watch *w) MUST_CHECK;

#endif
