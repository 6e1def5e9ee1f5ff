/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/attr.h"

/* ---- the child ---- */

static NORETURN void child_main(char **argv, int go_fd, int err_fd)
{
	char go;
	int errnum;
	ssize_t n;

	setpgid(0, 0);
	/* Where only ancestors may trace: our process, and all that it starts. Elsewhere unknown, and not needed. */
	prctl(PR_SET_PTRACER, getppid(), 0, 0, 0);
	/* Which our own main() ignores. */
	signal(SIGPIPE, SIG_DFL);
	signal(SIGXFSZ, SIG_DFL);
	do {
		n = read(go_fd, &go, 1);
	} while (n < 0 && errno == EINTR);
	if (n != 1)
		_exit(1);
	execvp(argv[0], argv);
	errnum = errno;
	n = write(err_fd, &errnum, sizeof(errnum));
	_exit(n == sizeof(errnum) ? 127 : 126);
}

/* ---- the parent ---- */

static void close_pair(const int *pair)
{
	close(pair[0]);
	close(pair[1]);
}

struct err *launch_prepare(char **argv, struct launch *ret)
{
	int go[2], err[2];
	pid_t pid;

	if (pipe2(go, O_CLOEXEC))
		return err_sys(errno, "cannot make a pipe for %s", argv[0]);
	if (pipe2(err, O_CLOEXEC)) {
		int errnum = errno;

		close_pair(go);
		return err_sys(errnum, "cannot make a pipe for %s", argv[0]);
	}
	pid = fork();
	if (pid == 0) {
		close(go[1]);
		child_main(argv, go[0], err[1]);
	}
	close(go[0]);
	close(err[1]);
	*ret = (struct launch){ pid, go[1], err[0], argv[0] };
	if (pid > 0)
		return NULL;
	pid = errno;
	close(go[1]);
	close(err[0]);
	return err_sys(pid, "cannot start %s", argv[0]);
}

/* The foreground of our terminal goes from one process group to the other, if that has it. */
static void pass_terminal(pid_t from, pid_t to)
{
	sigset_t ttou, old;

	if (tcgetpgrp(STDIN_FILENO) != from)
		return;
	sigemptyset(&ttou);
	sigaddset(&ttou, SIGTTOU);
	sigprocmask(SIG_BLOCK, &ttou, &old);
	tcsetpgrp(STDIN_FILENO, to);
	sigprocmask(SIG_SETMASK, &old, NULL);
}

/* 0: the program runs. */
static int wait_for_exec(const struct launch *l)
{
	int errnum;
	ssize_t n;

	do {
		n = read(l->err_fd, &errnum, sizeof(errnum));
	} while (n < 0 && errno == EINTR);
	return n == sizeof(errnum) ? errnum : 0;
}

static void reap(pid_t pid)
{
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

struct err *launch_go(struct launch *l)
{
	int errnum;

	setpgid(l->pid, l->pid);
	pass_terminal(getpgrp(), l->pid);
	if (write(l->go_fd, "", 1) != 1)
		return err_sys(errno, "cannot start %s", l->program);
	close(l->go_fd);
	l->go_fd = -1;
	errnum = wait_for_exec(l);
	if (!errnum)
		return NULL;
	pass_terminal(l->pid, getpgrp());
	reap(l->pid);
	l->pid = 0;
	return err_sys(errnum, "cannot execute %s", l->program);
}

bool launch_end(struct launch *l, int *ret_status)
{
	if (l->go_fd >= 0)
		close(l->go_fd);
	close(l->err_fd);
	pass_terminal(l->pid, getpgrp());
	return l->pid && waitpid(l->pid, ret_status, WNOHANG) == l->pid;
}
