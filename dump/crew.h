/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DUMP_CREW_H
#define DUMP_CREW_H

#include "dump/chunk.h"

/*
 * The threads that read and compress a dump's chunks, and the chunks, which are as many as are
 * under way at most. What a dump takes of memory is in them: it does not grow with the guest.
 */
struct dump_crew;

/* How many threads one has. */
unsigned dump_crew_size(void);

/* Borrows the writer. */
struct err *dump_crew_create(struct dump_writer *w, struct dump_crew **ret) MUST_CHECK;
/* Waits for what is being worked on; takes NULL. */
void dump_crew_destroy(struct dump_crew *crew);

/*
 * Starts on the next chunk, if there is room. *ret_cost: what of a step that was, in bytes;
 * 0: there is no room, or nothing more. Reads it here where threads cannot.
 */
struct err *dump_crew_feed(struct dump_crew *crew, uint64_t *ret_cost) MUST_CHECK;
/*
 * The oldest chunk, ready and with its pieces; NULL: it is not ready, or there is none. It
 * stays the oldest until dump_crew_release().
 */
struct err *dump_crew_oldest(struct dump_crew *crew, struct dump_chunk **ret) MUST_CHECK;
void dump_crew_release(struct dump_crew *crew);
/* All chunks have come and gone. */
bool dump_crew_is_over(const struct dump_crew *crew);
/* Readable when the oldest chunk may be ready, since dump_crew_forget_wakeups(). */
int dump_crew_fd(const struct dump_crew *crew);
void dump_crew_forget_wakeups(struct dump_crew *crew);

#endif
