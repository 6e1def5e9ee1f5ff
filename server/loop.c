/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/loop.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "server/clock.h"

/*
 * Who has asked asks again at once, as gdb's scripts do, and to be woken up takes longer
 * than to answer: so long the loop looks again before it sleeps.
 */
#define LINGER_SECONDS 50e-6

enum source_kind {
	SOURCE_FD,
	SOURCE_TIMER,
	SOURCE_IDLE,
};

struct loop_source {
	enum source_kind kind;
	bool removed;
	void *arg;
	loop_fd_fn on_fd;
	loop_fn on_time;
	int fd;
	short events;
	double interval, due; /* seconds */
};

struct loop {
	struct loop_source **sources;
	size_t n_sources;
	bool quit;
	int signal_fd; /* -1: none */
	loop_signal_fn on_signal;
	void *signal_arg;
};

struct loop *loop_create(void)
{
	struct loop *l = xcalloc(1, sizeof(*l));

	l->signal_fd = -1;
	return l;
}

void loop_destroy(struct loop *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->n_sources; i++)
		free(l->sources[i]);
	free(l->sources);
	if (l->signal_fd >= 0)
		close(l->signal_fd);
	free(l);
}

static struct loop_source *add(struct loop *l, enum source_kind kind, void *arg)
{
	struct loop_source *s = xcalloc(1, sizeof(*s));

	s->kind = kind;
	s->arg = arg;
	l->sources = xreallocarray(l->sources, l->n_sources + 1, sizeof(*l->sources));
	l->sources[l->n_sources++] = s;
	return s;
}

struct loop_source *loop_add_fd(struct loop *l, int fd, short events, loop_fd_fn fn, void *arg)
{
	struct loop_source *s = add(l, SOURCE_FD, arg);

	s->fd = fd;
	s->events = events;
	s->on_fd = fn;
	return s;
}

void loop_set_events(struct loop_source *s, short events)
{
	s->events = events;
}

struct loop_source *loop_add_timer(struct loop *l, unsigned interval_ms, loop_fn fn, void *arg)
{
	struct loop_source *s = add(l, SOURCE_TIMER, arg);

	s->interval = interval_ms / 1000.0;
	s->due = clock_seconds() + s->interval;
	s->on_time = fn;
	return s;
}

struct loop_source *loop_add_idle(struct loop *l, loop_fn fn, void *arg)
{
	struct loop_source *s = add(l, SOURCE_IDLE, arg);

	s->on_time = fn;
	return s;
}

/* Freed by the next sweep: a turn may still be walking over it. */
void loop_remove(struct loop_source *s)
{
	if (s)
		s->removed = true;
}

static void sweep(struct loop *l)
{
	size_t kept = 0;

	for (size_t i = 0; i < l->n_sources; i++) {
		if (l->sources[i]->removed)
			free(l->sources[i]);
		else
			l->sources[kept++] = l->sources[i];
	}
	l->n_sources = kept;
}

/* ---- signals ---- */

static void signal_ready(void *arg, short revents)
{
	struct loop *l = arg;
	struct signalfd_siginfo info;

	(void)revents;
	if (read(l->signal_fd, &info, sizeof(info)) == sizeof(info))
		l->on_signal(l->signal_arg, (int)info.ssi_signo);
}

/* A blocked signal is queued even when it is ignored, so leave those out. */
static void add_unless_ignored(sigset_t *set, int signo)
{
	struct sigaction now;

	if (!sigaction(signo, NULL, &now) && now.sa_handler != SIG_IGN)
		sigaddset(set, signo);
}

struct err *loop_add_signals(struct loop *l, loop_signal_fn fn, void *arg)
{
	sigset_t set;

	sigemptyset(&set);
	add_unless_ignored(&set, SIGINT);
	add_unless_ignored(&set, SIGTERM);
	l->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (l->signal_fd < 0)
		return err_sys(errno, "signalfd");
	sigprocmask(SIG_BLOCK, &set, NULL);
	l->on_signal = fn;
	l->signal_arg = arg;
	loop_add_fd(l, l->signal_fd, POLLIN, signal_ready, l);
	return NULL;
}

/* ---- a turn ---- */

static int wait_ms(const struct loop *l)
{
	double now = clock_seconds();
	double until = HUGE_VAL;

	for (size_t i = 0; i < l->n_sources; i++) {
		const struct loop_source *s = l->sources[i];

		if (s->kind == SOURCE_IDLE)
			return 0;
		if (s->kind == SOURCE_TIMER && s->due < until)
			until = s->due;
	}
	if (until == HUGE_VAL)
		return -1;
	return until <= now ? 0 : (int)((until - now) * 1000) + 1;
}

static void dispatch(struct loop_source *s, short revents)
{
	double now;

	if (s->removed)
		return;
	switch (s->kind) {
	case SOURCE_FD:
		if (revents)
			s->on_fd(s->arg, revents);
		break;
	case SOURCE_TIMER:
		now = clock_seconds();
		if (now >= s->due) {
			s->due = now + s->interval;
			s->on_time(s->arg);
		}
		break;
	case SOURCE_IDLE:
		s->on_time(s->arg);
		break;
	}
}

static int wait_for(struct pollfd *polls, size_t n, int ms)
{
	double until = clock_seconds() + LINGER_SECONDS;
	int ready;

	do
		ready = poll(polls, n, 0);
	while (!ready && ms && clock_seconds() < until);
	return ready || !ms ? ready : poll(polls, n, ms);
}

static void turn(struct loop *l, struct pollfd *polls)
{
	size_t n = l->n_sources;

	for (size_t i = 0; i < n; i++) {
		const struct loop_source *s = l->sources[i];

		polls[i] = (struct pollfd){ .fd = s->kind == SOURCE_FD ? s->fd : -1, .events = s->events };
	}
	if (wait_for(polls, n, wait_ms(l)) < 0)
		return;
	for (size_t i = 0; i < n && !l->quit; i++)
		dispatch(l->sources[i], polls[i].revents);
}

void loop_run(struct loop *l)
{
	while (!l->quit) {
		struct pollfd *polls;

		sweep(l);
		polls = xcalloc(l->n_sources, sizeof(*polls));
		turn(l, polls);
		free(polls);
	}
	l->quit = false;
}

void loop_quit(struct loop *l)
{
	l->quit = true;
}
