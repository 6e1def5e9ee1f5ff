/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dump/crew.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "dump/pool.h"

/* With more of them, chunks and what the codecs need would take more than 64 MiB. */
#define MAX_WORKERS 12u
/* What looking for the next chunk counts of a step, so that one ends where data is sparse. */
#define LOOK_BYTES (256u << 10)

struct dump_crew {
	struct dump_writer *writer;
	unsigned n_workers;
	void **states; /* the codec's: one a worker, and the last the owner's */
	struct dump_chunk *chunks;
	unsigned n_chunks;
	struct pool *pool;
	bool all_fed;
	bool is_placed; /* the oldest chunk has its pieces */
};

static void work(void *arg, unsigned worker, unsigned slot)
{
	struct dump_crew *crew = arg;
	struct dump_chunk *c = &crew->chunks[slot];

	c->error = crew->writer->ops->work(crew->writer, crew->states[worker], c);
}

unsigned dump_crew_size(void)
{
	return pool_workers(MAX_WORKERS);
}

struct err *dump_crew_create(struct dump_writer *w, struct dump_crew **ret)
{
	struct dump_crew *crew = xcalloc(1, sizeof(*crew));
	struct err *e = NULL;

	crew->writer = w;
	crew->n_workers = dump_crew_size();
	crew->n_chunks = 2 * crew->n_workers + 2;
	crew->chunks = dump_chunks_create(crew->n_chunks, w->codec);
	crew->states = xcalloc(crew->n_workers + 1, sizeof(*crew->states));
	for (unsigned i = 0; !e && i <= crew->n_workers; i++)
		e = dump_writer_state(w, &crew->states[i]);
	if (!e)
		e = pool_create(crew->n_workers, crew->n_chunks, work, crew, &crew->pool);
	if (e)
		dump_crew_destroy(crew);
	else
		*ret = crew;
	return e;
}

void dump_crew_destroy(struct dump_crew *crew)
{
	if (!crew)
		return;
	pool_destroy(crew->pool);
	for (unsigned i = 0; i <= crew->n_workers; i++)
		dump_writer_drop_state(crew->writer, crew->states[i]);
	dump_chunks_destroy(crew->chunks, crew->n_chunks);
	free(crew->states);
	free(crew);
}

struct err *dump_crew_feed(struct dump_crew *crew, uint64_t *ret_cost)
{
	const struct dump_plan *p = crew->writer->plan;
	struct dump_chunk *c;
	unsigned slot;
	bool more;
	struct err *e;

	*ret_cost = 0;
	if (crew->all_fed || !pool_next_free(crew->pool, &slot))
		return NULL;
	c = &crew->chunks[slot];
	dump_chunk_reset(c);
	e = crew->writer->ops->next(crew->writer, c, &more);
	crew->all_fed = !e && !more;
	if (e || !more)
		return e;
	*ret_cost = LOOK_BYTES;
	if (c->kind == CHUNK_MEMORY && !dump_memory_is_parallel(p, c)) {
		*ret_cost += c->bytes;
		e = dump_memory_read(p, c, false);
	}
	if (!e)
		pool_submit(crew->pool, c->kind != CHUNK_MADE);
	return e;
}

/* A backend can say better here why a read failed, and perhaps it does not fail again. */
static struct err *work_again(struct dump_crew *crew, struct dump_chunk *c)
{
	struct err *e = dump_memory_read(crew->writer->plan, c, false);

	if (e)
		return e;
	err_destroy(c->error);
	c->error = NULL;
	c->n_pieces = c->packed_bytes = 0;
	c->pages = (struct dump_pages){ 0 };
	return crew->writer->ops->work(crew->writer, crew->states[crew->n_workers], c);
}

/* What a worker is done with: did it go well, and where does it go? */
static struct err *settle(struct dump_crew *crew, struct dump_chunk *c)
{
	struct err *e = c->kind == CHUNK_MEMORY ? guest_image_check_held(crew->writer->plan->img) : NULL;

	if (!e && c->error && c->kind == CHUNK_MEMORY && !c->is_read)
		e = work_again(crew, c);
	if (!e) {
		e = c->error;
		c->error = NULL;
	}
	if (!e)
		crew->writer->ops->place(crew->writer, c);
	return e;
}

struct err *dump_crew_oldest(struct dump_crew *crew, struct dump_chunk **ret)
{
	struct err *e = NULL;
	unsigned slot;

	*ret = NULL;
	if (!pool_oldest_done(crew->pool, &slot))
		return NULL;
	if (!crew->is_placed)
		e = settle(crew, &crew->chunks[slot]);
	crew->is_placed = !e;
	if (!e)
		*ret = &crew->chunks[slot];
	return e;
}

void dump_crew_release(struct dump_crew *crew)
{
	crew->is_placed = false;
	pool_release(crew->pool);
}

bool dump_crew_is_over(const struct dump_crew *crew)
{
	return crew->all_fed && pool_is_empty(crew->pool);
}

int dump_crew_fd(const struct dump_crew *crew)
{
	return pool_fd(crew->pool);
}

void dump_crew_forget_wakeups(struct dump_crew *crew)
{
	pool_forget_wakeups(crew->pool);
}
