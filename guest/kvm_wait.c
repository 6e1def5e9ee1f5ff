/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/kvm_wait.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "guest/guardian.h"
#include "guest/kvm.h"

struct kvm_wait {
	pid_t pid;
	unsigned vm;
	int pidfd, epoll_fd; /* epoll_fd: of pidfd and the guardian */
	struct guardian *guardian;
};

static struct err *add_fd(struct kvm_wait *w, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN };

	if (fd < 0 || epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &ev))
		return err_sys(errno, "cannot watch process %d", w->pid);
	return NULL;
}

static struct err *start(struct kvm_wait *w)
{
	struct err *e = kvm_check_process(w->pid);

	if (e)
		return e;
	w->pidfd = (int)syscall(SYS_pidfd_open, w->pid, 0);
	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	e = add_fd(w, w->pidfd);
	if (!e)
		e = guardian_start(w->pid, &w->guardian);
	if (!e)
		e = add_fd(w, guardian_fd(w->guardian));
	return e ? e : guardian_watch(w->guardian, true);
}

struct err *kvm_wait_create(pid_t pid, unsigned vm, struct kvm_wait **ret)
{
	struct kvm_wait *w = xmalloc(sizeof(*w));
	struct err *e;

	*w = (struct kvm_wait){ .pid = pid, .vm = vm, .pidfd = -1, .epoll_fd = -1 };
	e = start(w);
	if (e)
		kvm_wait_destroy(w);
	else
		*ret = w;
	return e;
}

void kvm_wait_destroy(struct kvm_wait *w)
{
	if (!w)
		return;
	guardian_destroy(w->guardian);
	if (w->epoll_fd >= 0)
		close(w->epoll_fd);
	if (w->pidfd >= 0)
		close(w->pidfd);
	free(w);
}

int kvm_wait_fd(const struct kvm_wait *w)
{
	return w->epoll_fd;
}

static bool has_exited(const struct kvm_wait *w)
{
	struct pollfd p = { .fd = w->pidfd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/* A child's status is looked at, and left to who waits for it. As long as it has a tracer only that one sees it. */
static struct err *explain_exit(struct kvm_wait *w)
{
	static const char before[] = "before it ran a guest of KVM";
	siginfo_t info = { 0 };
	pid_t pid = w->pid;

	guardian_destroy(w->guardian);
	w->guardian = NULL;
	if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) || !info.si_pid)
		return err_new(ERR_GONE, "process %d has exited %s", pid, before);
	if (info.si_code != CLD_EXITED)
		return err_new(ERR_GONE, "process %d was ended by signal %d (%s) %s", pid, info.si_status,
			       strsignal(info.si_status), before);
	if (info.si_status)
		return err_new(ERR_GONE, "process %d has exited with status %d %s", pid, info.si_status, before);
	return err_new(ERR_GONE, "process %d has exited %s; one that it started and left behind (-daemonize) is not "
				 "followed", pid, before);
}

struct err *kvm_wait_poll(struct kvm_wait *w, struct guest **ret)
{
	struct guardian *g = w->guardian;
	bool heard = guardian_ended(g);

	*ret = NULL;
	if (has_exited(w))
		return explain_exit(w);
	if (guardian_take_event(g)) {
		w->guardian = NULL;
		return kvm_open_held(w->pid, w->vm, g, ret);
	}
	if (heard)
		return err_new(ERR_GONE, "the guardian process of VMM %d has ended; it runs on by itself", w->pid);
	return NULL;
}
