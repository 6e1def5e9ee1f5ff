/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <time.h>

#include "dump/chunk.h"
#include "dump/crew.h"

#define SAMPLE_CHUNKS ((64u << 20) / CHUNK_BYTES)

/* What a run through a dump's chunks finds; all but the last two of the sampled ones. */
struct sample {
	uint64_t bytes;       /* of memory */
	uint64_t kept;        /* of output that it became */
	double seconds;       /* that it took, of this thread's own time */
	uint64_t n_chunks;    /* of all memory that is read */
	uint64_t total_bytes; /* in them */
};

static double cpu_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static uint64_t kept_bytes(const struct dump_chunk *c)
{
	uint64_t n = c->packed_bytes;

	for (size_t i = 0; i < c->n_pieces; i++)
		n += c->pieces[i].data ? c->pieces[i].bytes : 0;
	return n;
}

static struct err *take_chunk(const struct dump_writer *w, void *state, struct dump_chunk *c, struct sample *s)
{
	double start = cpu_seconds();
	struct err *e = dump_memory_read(w->plan, c, false);

	if (!e)
		e = w->ops->work(w, state, c);
	if (e)
		return e;
	s->seconds += cpu_seconds() - start;
	s->bytes += c->bytes;
	s->kept += kept_bytes(c);
	return NULL;
}

/* Looks at all chunks, and reads every one of them that is a multiple of stride; 0: none. */
static struct err *walk(const struct dump_plan *p, uint64_t stride, struct sample *ret)
{
	struct dump_chunk *c = dump_chunks_create(1, true);
	struct dump_writer *w = NULL;
	void *state = NULL;
	struct sample s = { 0 };
	struct err *e = dump_writer_create(p, true, &w);
	bool more = !e;

	if (!e)
		e = dump_writer_state(w, &state);
	while (!e && more) {
		dump_chunk_reset(c);
		e = w->ops->next(w, c, &more);
		if (e || !more || c->kind != CHUNK_MEMORY)
			continue;
		s.total_bytes += c->bytes;
		if (stride && s.n_chunks % stride == 0)
			e = take_chunk(w, state, c, &s);
		s.n_chunks++;
	}
	if (w)
		dump_writer_drop_state(w, state);
	dump_writer_destroy(w);
	dump_chunks_destroy(c, 1);
	*ret = s;
	return e;
}

static void conclude(const struct dump_plan *p, const struct sample *s, struct dump_estimate *ret)
{
	const struct dump_kdump *k = &p->kdump;
	double scale = s->bytes ? (double)s->total_bytes / (double)s->bytes : 0;
	uint64_t kept = (uint64_t)((double)s->kept * scale);

	*ret = (struct dump_estimate){ .seconds = s->seconds * scale / dump_crew_size() };
	if (p->opt.format != DUMP_ELF) {
		ret->file_bytes = k->data + p->frame_bytes + kept;
		ret->data_bytes = k->descs + k->n_frames * KDUMP_DESC_BYTES + kept;
		return;
	}
	ret->data_bytes = p->head_bytes + kept;
	ret->file_bytes = p->opt.wrap == DUMP_PLAIN ? p->file_bytes : ret->data_bytes;
}

struct err *dump_estimate(struct guest_image *img, const struct dump_options *opt, struct dump_estimate *ret)
{
	struct dump_plan *p = NULL;
	struct sample s = { 0 };
	struct err *e = dump_plan_create(img, opt, &p);

	if (!e)
		e = walk(p, 0, &s);
	if (!e)
		e = walk(p, s.n_chunks / SAMPLE_CHUNKS + 1, &s);
	if (!e)
		conclude(p, &s, ret);
	dump_plan_destroy(p);
	return e;
}
