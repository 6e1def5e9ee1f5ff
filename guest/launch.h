/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_LAUNCH_H
#define GUEST_LAUNCH_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* A program that is started as our child, in a process group of its own, and outlives us. */
struct launch {
	pid_t pid;
	int go_fd;  /* it waits for a byte from here; -1: it has it */
	int err_fd; /* and says here why it could not be executed */
	const char *program;
};

/*
 * argv ends with a NULL and is borrowed. The child waits for launch_go(), as we are to
 * trace it first, which it lets us and processes that we start, and ends with us until then.
 */
struct err *launch_prepare(char **argv, struct launch *ret) MUST_CHECK;
/* Returns when it runs, and has the terminal if we had it; on failure there is no such child. */
struct err *launch_go(struct launch *l) MUST_CHECK;
/* Takes the terminal back. False while it runs; else *ret_status is what waitpid(2) says. */
bool launch_end(struct launch *l, int *ret_status);

#endif
