/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SERVER_SERVE_H
#define SERVER_SERVE_H

#include <stdbool.h>
#include <sys/types.h>

#include "guest/guest.h"
#include "server/comm.h"
#include "server/inherited.h"
#include "server/loop.h"

struct serve_config {
	struct loop *loop;
	struct guest *guest; /* what a client finds; NULL: nothing, until it attaches to something */
	pid_t pid;           /* of the guest's VMM; 0: it was not reached by that */
	const char *target;  /* for messages: "process 123" */
	struct comm *comm;
	const struct inherited *inherited;
	/* gdb's attach to another VMM; the guest is serve_run()'s. NULL: refused. */
	struct err *(*attach)(void *arg, pid_t pid, struct guest **ret);
	void *arg;
	bool once;           /* end when the first client has left */
	bool held;           /* the guest is stopped, and is to run when the first client lets it */
};

/*
 * Serves gdb, one client at a time: the guest is paused while there is one, and
 * goes on afterwards if it ran before, with no breakpoint left in it. Returns at SIGINT or SIGTERM, and after
 * the only client of stdio or once, with the guest as it was found; or with an
 * error when the guest is gone. One that a client attached to may go without that.
 */
struct err *serve_run(const struct serve_config *config) MUST_CHECK;

#endif
