/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/qemu_keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "guest/qemu_run.h"
#include "guest/qemu_stub.h"
#include "guest/survivor.h"

struct qemu_keeper {
	pid_t pid;
	int alive_fd; /* closes with us, which the keeper sees */
	struct qemu_debt *debt; /* in memory that both have */
};

static bool is_owed(const struct qemu_debt *d)
{
	return d->run || d->armed || *d->stub;
}

/* ---- the keeper's side ---- */

static void wait_for_end(int fd)
{
	char c;

	while (read(fd, &c, 1) < 0 && errno == EINTR)
		;
}

/* Does it run, or has it stopped for what we have set? */
static struct err *is_lively(struct qmp *q, bool *ret)
{
	static const char *const lively[] = { "running", "debug" };
	struct qemu_status status;
	struct err *e = qemu_status_ask(q, &status);

	if (!e)
		*ret = qemu_word_is(status.word, lively, ARRAY_LEN(lively));
	return e;
}

/* The stub first: what was sent to it and not read yet would pause the guest again. */
static struct err *end_stub(struct qmp *q, struct qemu_debt *d)
{
	struct err *e = *d->stub ? qemu_stub_end(q, d->stub) : NULL;

	*d->stub = '\0';
	return e;
}

/* Hits while there is no stub leave traces in QEMU that a later one stumbles over: so it stands still meanwhile. */
static struct err *disarm(struct qmp *q, struct qemu_debt *d)
{
	struct err *e = qmp_run(q, "stop", NULL);

	if (!e)
		e = end_stub(q, d);
	return e ? e : qemu_stub_disarm(q, d, d->steps);
}

static void pay(struct qmp *q, struct qemu_debt *d)
{
	struct qemu_status status;
	bool run = d->run;
	struct err *e = qmp_take_over(q);

	if (!e && d->armed && !run)
		e = is_lively(q, &run);
	err_destroy(e);
	e = d->armed ? disarm(q, d) : end_stub(q, d);
	err_destroy(e);
	e = NULL;
	if (run)
		e = d->armed ? qemu_run_past_stops(q, &status) : qemu_run(q, &status);
	err_destroy(e);
}

static NORETURN void keeper_main(struct qmp *q, int fd, struct qemu_debt *d)
{
	const int keep[] = { MIN(fd, qmp_fd(q)), MAX(fd, qmp_fd(q)) };

	survivor_begin("vmgdb-keeper", keep, ARRAY_LEN(keep));
	wait_for_end(fd);
	if (is_owed(d))
		pay(q, d);
	_exit(0);
}

/* ---- our side ---- */

static struct err *start(struct qmp *q, struct qemu_keeper *k)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		return err_sys(errno, "cannot make a pipe to the keeper process");
	k->pid = fork();
	if (k->pid == 0)
		keeper_main(q, ends[0], k->debt);
	close(ends[0]);
	k->alive_fd = ends[1];
	return k->pid < 0 ? err_sys(errno, "cannot start the keeper process") : NULL;
}

struct err *qemu_keeper_start(struct qmp *q, struct qemu_keeper **ret)
{
	struct qemu_keeper k = { .alive_fd = -1 };
	struct err *e;

	k.debt = mmap(NULL, sizeof(*k.debt), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (k.debt == MAP_FAILED)
		return err_sys(errno, "cannot share memory with the keeper process");
	e = start(q, &k);
	if (e) {
		if (k.alive_fd >= 0)
			close(k.alive_fd);
		munmap(k.debt, sizeof(*k.debt));
		return e;
	}
	*ret = xmalloc(sizeof(k));
	**ret = k;
	return NULL;
}

struct qemu_debt *qemu_keeper_debt(struct qemu_keeper *k)
{
	return k->debt;
}

pid_t qemu_keeper_end(struct qemu_keeper *k)
{
	pid_t left = 0;

	if (!k)
		return 0;
	if (is_owed(k->debt))
		left = k->pid;
	else
		kill(k->pid, SIGKILL); /* one that somebody has stopped does not hear us */
	close(k->alive_fd);
	if (!left)
		while (waitpid(k->pid, NULL, 0) < 0 && errno == EINTR)
			;
	munmap(k->debt, sizeof(*k->debt));
	free(k);
	return left;
}
