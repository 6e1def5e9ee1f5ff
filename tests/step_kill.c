/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/step.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * The step_point() of the program that the tests of sudden death run. From the
 * environment: STEP_WHO, whose steps count ("guardian" or "front"); STEP_AT, the
 * step at which STEP_SIGNAL (9 or 19) comes, from 1; STEP_LOG, a file that gets a
 * line for each step, and "end" before the signal.
 */
static void log_step(const char *path, const char *what)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0 || dprintf(fd, "%s\n", what) < 0)
		abort();
	close(fd);
}

void step_point(const char *who, const char *what)
{
	static pid_t counted;
	static long count;
	const char *wanted = getenv("STEP_WHO"), *at = getenv("STEP_AT"), *log = getenv("STEP_LOG");

	if (!wanted || strcmp(wanted, who))
		return;
	/* Not those of a child that goes on with its parent's work. */
	counted = counted ? counted : getpid();
	if (counted != getpid())
		return;
	if (log)
		log_step(log, what);
	if (!at || ++count != atol(at))
		return;
	if (log)
		log_step(log, "end");
	kill(getpid(), atoi(getenv("STEP_SIGNAL")));
}
