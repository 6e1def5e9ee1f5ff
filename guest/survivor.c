/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/survivor.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "guest/proc.h"

/* Nothing of the parent's may stay open here: its clients would wait for an end that does not come. */
static void close_inherited(const int *keep, size_t n)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), from = 3;

	for (int fd = 0; null >= 0 && fd < 3; fd++)
		dup2(null, fd);
	for (size_t i = 0; i < n; i++) {
		if (keep[i] > from)
			close_range((unsigned)from, (unsigned)keep[i] - 1, 0);
		from = keep[i] + 1;
	}
	close_range((unsigned)from, ~0u, 0);
}

static void ignore_signals(void)
{
	for (int s = 1; s < NSIG; s++)
		if (s != SIGCHLD && s != SIGKILL && s != SIGSTOP)
			signal(s, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
}

void survivor_begin(const char *name, const int *keep, size_t n)
{
	setsid();
	prctl(PR_SET_NAME, name);
	close_inherited(keep, n);
	ignore_signals();
	proc_set_oom_score(getpid(), -1000);
}
