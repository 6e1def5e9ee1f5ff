/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dump/pool.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/attr.h"

enum slot_state {
	SLOT_WAITS,
	SLOT_BUSY,
	SLOT_DONE,
};

struct worker {
	struct pool *pool;
	unsigned number;
	pthread_t thread;
};

struct pool {
	pool_fn fn;
	void *arg;
	int event_fd;
	struct worker *workers;
	unsigned n_workers; /* that run */
	unsigned n_slots;
	/* Slots in order of submission, modulo n_slots. */
	uint64_t submitted, released;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t change;
	uint64_t taken;
	uint64_t ready; /* submitted, as the workers know it */
	enum slot_state *states;
	bool stop;
};

unsigned pool_workers(unsigned max)
{
	cpu_set_t cpus;
	int n = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : 1;

	return MIN((unsigned)MAX(n, 1), max);
}

/* The next slot that waits; false: the pool ends. The lock is held. */
static bool take(struct pool *p, unsigned *ret)
{
	for (;;) {
		while (!p->stop && p->taken == p->ready)
			pthread_cond_wait(&p->change, &p->lock);
		if (p->stop)
			return false;
		*ret = (unsigned)(p->taken++ % p->n_slots);
		if (p->states[*ret] == SLOT_WAITS) {
			p->states[*ret] = SLOT_BUSY;
			return true;
		}
	}
}

static void wake_owner(struct pool *p)
{
	uint64_t one = 1;

	while (write(p->event_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct pool *p = w->pool;
	unsigned slot;

	pthread_mutex_lock(&p->lock);
	while (take(p, &slot)) {
		pthread_mutex_unlock(&p->lock);
		p->fn(p->arg, w->number, slot);
		pthread_mutex_lock(&p->lock);
		p->states[slot] = SLOT_DONE;
		wake_owner(p);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* Signals are the owner's. */
static void start_workers(struct pool *p, unsigned n)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (; p->n_workers < n; p->n_workers++) {
		struct worker *w = &p->workers[p->n_workers];

		*w = (struct worker){ .pool = p, .number = p->n_workers };
		if (pthread_create(&w->thread, NULL, work, w))
			break;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

struct err *pool_create(unsigned n_workers, unsigned n_slots, pool_fn fn, void *arg, struct pool **ret)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct pool *p;

	if (fd < 0)
		return err_sys(errno, "cannot make an eventfd");
	p = xcalloc(1, sizeof(*p));
	p->fn = fn;
	p->arg = arg;
	p->event_fd = fd;
	p->n_slots = n_slots;
	p->workers = xcalloc(n_workers, sizeof(*p->workers));
	p->states = xcalloc(n_slots, sizeof(*p->states));
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->change, NULL);
	start_workers(p, n_workers);
	*ret = p;
	return NULL;
}

void pool_destroy(struct pool *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->change);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->n_workers; i++)
		pthread_join(p->workers[i].thread, NULL);
	pthread_cond_destroy(&p->change);
	pthread_mutex_destroy(&p->lock);
	close(p->event_fd);
	free(p->workers);
	free(p->states);
	free(p);
}

bool pool_next_free(const struct pool *p, unsigned *ret)
{
	if (p->submitted - p->released == p->n_slots)
		return false;
	*ret = (unsigned)(p->submitted % p->n_slots);
	return true;
}

void pool_submit(struct pool *p, bool needs_work)
{
	unsigned slot = (unsigned)(p->submitted++ % p->n_slots);
	bool for_worker = needs_work && p->n_workers;

	if (needs_work && !p->n_workers)
		p->fn(p->arg, 0, slot);
	pthread_mutex_lock(&p->lock);
	p->states[slot] = for_worker ? SLOT_WAITS : SLOT_DONE;
	p->ready = p->submitted;
	if (for_worker)
		pthread_cond_signal(&p->change);
	pthread_mutex_unlock(&p->lock);
}

bool pool_is_empty(const struct pool *p)
{
	return p->submitted == p->released;
}

bool pool_oldest_done(struct pool *p, unsigned *ret)
{
	unsigned slot = (unsigned)(p->released % p->n_slots);
	bool done;

	if (pool_is_empty(p))
		return false;
	pthread_mutex_lock(&p->lock);
	done = p->states[slot] == SLOT_DONE;
	pthread_mutex_unlock(&p->lock);
	if (done)
		*ret = slot;
	return done;
}

void pool_release(struct pool *p)
{
	p->released++;
}

int pool_fd(const struct pool *p)
{
	return p->event_fd;
}

void pool_forget_wakeups(struct pool *p)
{
	uint64_t count;

	while (read(p->event_fd, &count, sizeof(count)) < 0 && errno == EINTR)
		;
}
