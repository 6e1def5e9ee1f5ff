/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/standin.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/buf.h"

#define WAIT_MS 40
#define FINISH_MS 10000

static const struct timespec wait_time = { 0, WAIT_MS * 1000000 };

/* Each returns 0 when its call ended as it should have, else an errno. */
static int result(long rc, int errnum, long want_rc, int want_errno)
{
	if (rc == want_rc && (rc >= 0 || errnum == want_errno))
		return 0;
	return rc < 0 ? errnum : ENOMSG;
}

static int do_nanosleep(void)
{
	long rc = nanosleep(&wait_time, NULL);

	return result(rc, errno, 0, 0);
}

static int do_poll(void)
{
	long rc = poll(NULL, 0, WAIT_MS);

	return result(rc, errno, 0, 0);
}

/* Another mask than the threads' own, but SIGUSR1 stays the main thread's: here it would end the process. */
static sigset_t mask_of_wait(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	return set;
}

static int do_ppoll(void)
{
	sigset_t mask = mask_of_wait();
	long rc = ppoll(NULL, 0, &wait_time, &mask);

	return result(rc, errno, 0, 0);
}

static int do_select(void)
{
	struct timeval t = { 0, WAIT_MS * 1000 };
	long rc = select(0, NULL, NULL, NULL, &t);

	return result(rc, errno, 0, 0);
}

static int do_epoll(void)
{
	struct epoll_event ev;
	int fd = epoll_create1(EPOLL_CLOEXEC);
	long rc = epoll_wait(fd, &ev, 1, WAIT_MS);
	int ret = result(rc, errno, 0, 0);

	close(fd);
	return ret;
}

static int do_epoll_pwait(void)
{
	struct epoll_event ev;
	sigset_t mask = mask_of_wait();
	int fd = epoll_create1(EPOLL_CLOEXEC);
	long rc = epoll_pwait(fd, &ev, 1, WAIT_MS, &mask);
	int ret = result(rc, errno, 0, 0);

	close(fd);
	return ret;
}

static int do_futex(void)
{
	uint32_t word = 1;
	long rc = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 1, &wait_time, NULL, 0);

	return result(rc, errno, -1, ETIMEDOUT);
}

static int do_sigtimedwait(void)
{
	sigset_t set;
	long rc;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	rc = sigtimedwait(&set, NULL, &wait_time);
	return result(rc, errno, -1, EAGAIN);
}

static int do_recv(void)
{
	struct timeval t = { 0, WAIT_MS * 1000 };
	int pair[2], ret;
	char c;
	long rc;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		return errno;
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	rc = recv(pair[0], &c, 1, 0);
	ret = result(rc, errno, -1, EAGAIN);
	close(pair[0]);
	close(pair[1]);
	return ret;
}

static int do_semtimedop(void)
{
	int id = semget(IPC_PRIVATE, 1, 0600), ret;
	struct sembuf op = { 0, -1, 0 };
	long rc = semtimedop(id, &op, 1, &wait_time);

	ret = result(rc, errno, -1, EAGAIN);
	semctl(id, 0, IPC_RMID);
	return ret;
}

/* Blocks until a thread of its own writes: no time-out is in the call. */
static void *write_later(void *arg)
{
	ssize_t n;

	nanosleep(&wait_time, NULL);
	n = write(*(int *)arg, "x", 1);
	return n == 1 ? NULL : arg;
}

static int do_read(void)
{
	pthread_t writer;
	int fds[2], ret;
	char c;
	long rc;

	if (pipe(fds))
		return errno;
	if (pthread_create(&writer, NULL, write_later, &fds[1]))
		return EAGAIN;
	rc = read(fds[0], &c, 1);
	ret = result(rc, errno, 1, 0);
	pthread_join(writer, NULL);
	close(fds[0]);
	close(fds[1]);
	return ret;
}

/* Doubles that a stranger's use of the FPU would change, and a red zone below the stack. */
static int do_compute(void)
{
	double x = 1.0, sum = 0;

	for (int i = 0; i < 200000; i++) {
		x = x * 0.5 + 1.0;
		sum += 2.0 - x;
	}
	poll(NULL, 0, 1);
	return sum > 0.99 && sum < 1.01 ? 0 : ERANGE;
}

static const struct job {
	const char *name;
	int (*run)(void);
	bool stop_interrupts;
} jobs[] = {
	{ "nanosleep", do_nanosleep, false }, { "poll", do_poll, false },
	{ "ppoll", do_ppoll, false },         { "select", do_select, false },
	{ "epoll_wait", do_epoll, true },     { "epoll_pwait", do_epoll_pwait, true },
	{ "futex", do_futex, false },         { "sigtimedwait", do_sigtimedwait, true },
	{ "recv", do_recv, true },            { "semtimedop", do_semtimedop, true },
	{ "read", do_read, false },           { "compute", do_compute, false },
};

#define N_JOBS ARRAY_LEN(jobs)

/* Of the stand-in process only. */
static _Atomic unsigned rounds[N_JOBS];
static int report_fd;
static bool tolerant;

static void *worker(void *arg)
{
	const struct job *job = arg;

	for (;;) {
		int errnum = job->run();

		if (errnum && !(errnum == EINTR && tolerant && job->stop_interrupts)) {
			dprintf(report_fd, "%s ended with %s\n", job->name, strerror(errnum));
			return NULL;
		}
		atomic_fetch_add(&rounds[job - jobs], 1);
	}
}

/* SIGUSR1 asks for a report once every thread has done two more rounds: one that it had begun, and a whole one. */
static void report(void)
{
	unsigned before[N_JOBS];

	for (size_t i = 0; i < N_JOBS; i++)
		before[i] = atomic_load(&rounds[i]);
	for (int ms = 0; ms < FINISH_MS; ms += 5) {
		size_t done = 0;

		for (size_t i = 0; i < N_JOBS; i++)
			done += atomic_load(&rounds[i]) - before[i] >= 2;
		if (done == N_JOBS)
			return;
		poll(NULL, 0, 5);
	}
	for (size_t i = 0; i < N_JOBS; i++)
		if (atomic_load(&rounds[i]) - before[i] < 2)
			dprintf(report_fd, "%s hangs\n", jobs[i].name);
}

static NORETURN void standin_main(int fd, bool may_interrupt)
{
	pthread_t thread;
	sigset_t set;
	int sig;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	report_fd = fd;
	tolerant = may_interrupt;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	for (size_t i = 0; i < N_JOBS; i++)
		pthread_create(&thread, NULL, worker, (void *)&jobs[i]);
	dprintf(fd, "ready");
	sigdelset(&set, SIGUSR2);
	while (sigwait(&set, &sig))
		;
	report();
	_exit(0);
}

struct standin standin_start(bool may_interrupt)
{
	struct standin s = { .n_threads = N_JOBS + 1 };
	char ready[5];
	int fds[2];

	if (pipe(fds))
		abort();
	s.pid = fork();
	if (s.pid == 0) {
		close(fds[0]);
		standin_main(fds[1], may_interrupt);
	}
	close(fds[1]);
	s.report_fd = fds[0];
	if (read(s.report_fd, ready, sizeof(ready)) != sizeof(ready))
		abort();
	return s;
}

char *standin_finish(struct standin *s)
{
	struct buf text = { 0 };
	char chunk[256];
	ssize_t n;
	int status;

	kill(s->pid, SIGUSR1);
	while ((n = read(s->report_fd, chunk, sizeof(chunk))) > 0)
		buf_add(&text, chunk, (size_t)n);
	close(s->report_fd);
	if (waitpid(s->pid, &status, 0) == s->pid && !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
		buf_addf(&text, "it ended with status 0x%x\n", (unsigned)status);
	return buf_take(&text);
}
