/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DUMP_POOL_H
#define DUMP_POOL_H

#include <stdbool.h>

#include "base/err.h"

/*
 * Threads that work on a ring of slots. Slots are submitted in order and come back in that
 * order, whichever is done first. All but the work is of one thread, the owner's.
 */
struct pool;

/* Works on a slot; worker, from 0, is the thread's own number. */
typedef void (*pool_fn)(void *arg, unsigned worker, unsigned slot);

/* As many workers as CPUs that this process may use, at most max. */
unsigned pool_workers(unsigned max);

/* Where no thread can be made, the work is done in pool_submit(). */
struct err *pool_create(unsigned n_workers, unsigned n_slots, pool_fn fn, void *arg, struct pool **ret) MUST_CHECK;
/* Waits for the slots that are being worked on; others are not begun any more. Takes NULL. */
void pool_destroy(struct pool *p);

/* The slot to be filled next; false: all are under way. */
bool pool_next_free(const struct pool *p, unsigned *ret);
/* That slot is to be worked on, or is done as it is. */
void pool_submit(struct pool *p, bool needs_work);

bool pool_is_empty(const struct pool *p);
/* The slot submitted first, of those that are not released; false: there is none, or it is not done yet. */
bool pool_oldest_done(struct pool *p, unsigned *ret);
void pool_release(struct pool *p);

/* Readable when a slot has been done since pool_forget_wakeups(). */
int pool_fd(const struct pool *p);
void pool_forget_wakeups(struct pool *p);

#endif
