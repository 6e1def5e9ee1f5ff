/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "tests/vmm/vmm.h"

/*
 * Threads that sit in one blocking system call each. A call may end only when
 * its time is over, with the result that this gives; those without a time
 * never may.
 */

#define WAIT_NS 200000000l

static const struct timespec wait_time = {.tv_nsec = WAIT_NS};

struct blocker;

struct blocker_kind {
	const char *name;
	void (*prepare)(struct blocker *b); /* NULL: nothing to do */
	long (*block)(struct blocker *b);
	long want;     /* the result when the time is over */
	int want_errno;
	bool for_ever; /* there is no such time */
};

struct blocker {
	const struct blocker_kind *kind;
	bool jailed;
	pthread_barrier_t *started; /* by now a thread has its own signal mask */
	int fd;
	aio_context_t aio;
};

static void prepare_epoll(struct blocker *b)
{
	b->fd = epoll_create1(EPOLL_CLOEXEC);
}

/* Both ends stay open, and nothing is ever sent. */
static void prepare_socket(struct blocker *b)
{
	struct timeval limit = {.tv_usec = WAIT_NS / 1000};
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 ||
	    setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0)
		die(STATUS_SETUP, "socketpair: %m");
	b->fd = fds[0];
}

static void prepare_pipe(struct blocker *b)
{
	int fds[2];

	if (pipe2(fds, 0) < 0)
		die(STATUS_SETUP, "pipe: %m");
	b->fd = fds[0];
}

/* An address of the kernel's choice, so that no name is left behind. */
static void prepare_listen(struct blocker *b)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	b->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(b->fd, (struct sockaddr *)&addr, sizeof(addr.sun_family)) < 0 || listen(b->fd, 1) < 0)
		die(STATUS_SETUP, "listen: %m");
}

/*
 * A set of semaphores outlives its process unless it is marked for removal,
 * which would wake its waiters: the thread's last act cannot remove it, so one
 * key is shared by all runs.
 */
static void prepare_semaphore(struct blocker *b)
{
	b->fd = semget(0x766d6762, 1, IPC_CREAT | 0600);
	if (b->fd < 0)
		die(STATUS_SETUP, "semget: %m");
}

static void prepare_aio(struct blocker *b)
{
	if (syscall(SYS_io_setup, 1, &b->aio) < 0)
		die(STATUS_SETUP, "io_setup: %m");
}

static long block_nanosleep(struct blocker *b)
{
	(void)b;
	return syscall(SYS_nanosleep, &wait_time, NULL);
}

static long block_clock_nanosleep(struct blocker *b)
{
	(void)b;
	return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &wait_time, NULL);
}

static long block_ppoll(struct blocker *b)
{
	struct timespec left = wait_time;

	(void)b;
	return syscall(SYS_ppoll, NULL, 0, &left, NULL, 0);
}

static long block_epoll_wait(struct blocker *b)
{
	struct epoll_event event;

	return syscall(SYS_epoll_wait, b->fd, &event, 1, WAIT_NS / 1000000);
}

static long block_epoll_pwait(struct blocker *b)
{
	struct epoll_event event;
	/* What is blocked anyway, so that what /proc shows of the thread never changes. */
	uint64_t mask = 1ull << (SIGUSR1 - 1) | 1ull << (SIGUSR2 - 1);

	return syscall(SYS_epoll_pwait, b->fd, &event, 1, WAIT_NS / 1000000, &mask, sizeof(mask));
}

static long block_futex(struct blocker *b)
{
	uint32_t word = 0;

	(void)b;
	return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &wait_time, NULL, 0);
}

static long block_sigtimedwait(struct blocker *b)
{
	/* Not one that is blocked, for the same reason; nobody sends it. */
	uint64_t set = 1ull << (SIGALRM - 1);

	(void)b;
	return syscall(SYS_rt_sigtimedwait, &set, NULL, &wait_time, sizeof(set));
}

static long block_recv(struct blocker *b)
{
	char byte;

	return syscall(SYS_recvfrom, b->fd, &byte, 1, 0, NULL, NULL);
}

static long block_semtimedop(struct blocker *b)
{
	struct sembuf take = {.sem_op = -1};

	return syscall(SYS_semtimedop, b->fd, &take, 1, &wait_time);
}

static long block_io_getevents(struct blocker *b)
{
	struct io_event event;

	return syscall(SYS_io_getevents, b->aio, 1, 1, &event, &wait_time);
}

static long block_read(struct blocker *b)
{
	char byte;

	return syscall(SYS_read, b->fd, &byte, 1);
}

static long block_accept(struct blocker *b)
{
	return syscall(SYS_accept, b->fd, NULL, NULL);
}

static long block_pause(struct blocker *b)
{
	(void)b;
	return syscall(SYS_pause);
}

static const struct blocker_kind kinds[] = {
	{"nanosleep", NULL, block_nanosleep, 0, 0, false},
	{"clock_nanosleep", NULL, block_clock_nanosleep, 0, 0, false},
	{"ppoll", NULL, block_ppoll, 0, 0, false},
	{"epoll_wait", prepare_epoll, block_epoll_wait, 0, 0, false},
	{"epoll_pwait", prepare_epoll, block_epoll_pwait, 0, 0, false},
	{"futex", NULL, block_futex, -1, ETIMEDOUT, false},
	{"sigtimedwait", NULL, block_sigtimedwait, -1, EAGAIN, false},
	{"recv", prepare_socket, block_recv, -1, EAGAIN, false},
	{"semtimedop", prepare_semaphore, block_semtimedop, -1, EAGAIN, false},
	{"io_getevents", prepare_aio, block_io_getevents, 0, 0, false},
	{"read", prepare_pipe, block_read, 0, 0, true},
	{"accept", prepare_listen, block_accept, 0, 0, true},
	{"pause", NULL, block_pause, 0, 0, true},
};

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static void *blocker_main(void *arg)
{
	struct blocker *b = arg;
	const struct blocker_kind *kind = b->kind;

	pthread_barrier_wait(b->started);
	if (b->jailed)
		jail_enter(JAIL_BLOCKER);
	for (;;) {
		int64_t start = now_ns();
		long got;

		errno = 0;
		got = kind->block(b);
		if (kind->for_ever || got != kind->want || errno != kind->want_errno)
			die(STATUS_RESTART, "RESTART-FAIL %s %d (returned %ld)", kind->name, errno, got);
		/* Timers of epoll and of the scheduler's tick may be a little early. */
		if (now_ns() - start < WAIT_NS - 5000000)
			die(STATUS_RESTART, "RESTART-FAIL %s 0 (too early)", kind->name);
	}
	return NULL;
}

void blockers_start(unsigned n, bool jailed)
{
	/* Never freed: the last to leave it may be any of the threads. */
	pthread_barrier_t *started = xmalloc(sizeof(*started));

	pthread_barrier_init(started, NULL, n + 1);
	for (unsigned i = 0; i < n; i++) {
		struct blocker *b = xcalloc(1, sizeof(*b));
		pthread_t thread;
		int err;

		b->kind = &kinds[i % ARRAY_LEN(kinds)];
		b->jailed = jailed;
		b->started = started;
		if (b->kind->prepare)
			b->kind->prepare(b);
		err = pthread_create(&thread, NULL, blocker_main, b);
		if (err)
			die(STATUS_SETUP, "pthread_create: %s", strerror(err));
	}
	pthread_barrier_wait(started);
}
