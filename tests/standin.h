/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_STANDIN_H
#define TESTS_STANDIN_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * A process that stands in for a VMM where only its threads matter: each sits in
 * another blocking system call with a time-out, checks that the call ends by
 * nothing but that, and starts it again. Some spin in user code with the FPU in use.
 */
struct standin {
	pid_t pid;
	int report_fd;
	unsigned n_threads;
};

/*
 * may_interrupt: calls that the kernel ends with EINTR whenever a process is
 * stopped (signal(7)) may end so: what happens to them when a tracer dies before it has
 * put them right.
 */
struct standin standin_start(bool may_interrupt);

/*
 * Waits until every thread has ended a call that began after this was called,
 * ends the process, and returns the text of what went wrong, "" when nothing
 * did. Caller frees.
 */
char *standin_finish(struct standin *s);

#endif
