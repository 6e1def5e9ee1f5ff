/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "dump/chunk.h"

/* Cuts a run to the first region that it touches; false: there is none. */
static bool cut_to_region(const struct dump_plan *p, struct dump_run *run)
{
	size_t i = dump_plan_region_after(p, run->gpa);
	uint64_t last = run->gpa + (run->bytes - 1), r_last;

	if (i == p->n_regions || p->regions[i].gpa > last)
		return false;
	r_last = p->regions[i].gpa + (p->regions[i].bytes - 1);
	run->gpa = MAX(run->gpa, p->regions[i].gpa);
	run->bytes = MIN(last, r_last) - run->gpa + 1;
	return true;
}

/* Cuts a run where the frames of a class that is left out begin or end; says which they are. */
static bool cut_to_class(const struct dump_plan *p, struct dump_run *run)
{
	const struct page_set *s = &p->img->classes.set;
	uint64_t first = run->gpa >> s->page_shift, last = (run->gpa + (run->bytes - 1)) >> s->page_shift;
	bool out;
	uint64_t n = page_set_run(s, first, last - first + 1, &out);

	if (n <= last - first)
		run->bytes = ((first + n) << s->page_shift) - run->gpa;
	return out;
}

struct err *dump_memory_run(const struct dump_plan *p, uint64_t gpa, uint64_t end, struct dump_run *ret)
{
	struct dump_run run;

	while (gpa != end) {
		struct err *e = guest_image_next_data(p->img, gpa, end, &run.gpa, &run.bytes);

		if (e)
			return e;
		if (!run.bytes)
			break;
		gpa = run.gpa + run.bytes;
		if (!cut_to_region(p, &run))
			continue;
		gpa = run.gpa + run.bytes;
		if (cut_to_class(p, &run)) {
			gpa = run.gpa + run.bytes;
			continue;
		}
		*ret = run;
		return NULL;
	}
	*ret = (struct dump_run){ .gpa = end };
	return NULL;
}

static void add_run(struct dump_chunk *c, const struct dump_run *run)
{
	if (c->n_runs == c->cap_runs) {
		c->cap_runs = c->cap_runs ? 2 * c->cap_runs : 16;
		c->runs = xreallocarray(c->runs, c->cap_runs, sizeof(*c->runs));
	}
	c->runs[c->n_runs++] = *run;
}

/* The chunk's runs, the first of which is known, and with them its length, at most limit. */
static struct err *take_runs(const struct dump_plan *p, struct dump_chunk *c, struct dump_run run, uint64_t limit)
{
	uint64_t frame = p->frame_bytes, ahead = run.gpa - c->gpa;
	struct err *e = NULL;

	while (!e && run.bytes) {
		run.bytes = MIN(run.bytes, limit - ahead);
		add_run(c, &run);
		ahead += run.bytes;
		if (ahead == limit)
			break;
		e = dump_memory_run(p, c->gpa + ahead, c->gpa + limit, &run);
		if (run.gpa - (c->gpa + ahead) >= GAP_BYTES)
			break;
		ahead = run.gpa - c->gpa;
	}
	run = c->runs[c->n_runs - 1];
	c->bytes = MIN(ALIGN_UP(run.gpa + run.bytes, frame) - c->gpa, limit);
	return e;
}

struct err *dump_memory_next(const struct dump_plan *p, uint64_t gpa, uint64_t end, struct dump_chunk *c)
{
	uint64_t limit = MIN(end - gpa, WINDOW_BYTES);
	struct dump_run run;
	struct err *e = dump_memory_run(p, gpa, gpa + limit, &run);

	if (e)
		return e;
	c->gpa = gpa;
	if (!run.bytes || run.gpa - gpa >= GAP_BYTES) {
		c->kind = CHUNK_ZEROS;
		c->bytes = run.bytes ? ALIGN_DOWN(run.gpa, p->frame_bytes) - gpa : limit;
		return NULL;
	}
	c->kind = CHUNK_MEMORY;
	return take_runs(p, c, run, MIN(limit, ALIGN_DOWN(gpa, p->frame_bytes) + CHUNK_BYTES - gpa));
}

bool dump_memory_is_parallel(const struct dump_plan *p, const struct dump_chunk *c)
{
	for (size_t i = 0; i < c->n_runs; i++)
		if (!guest_image_reads_beside(p->img, c->runs[i].gpa, c->runs[i].bytes))
			return false;
	return true;
}

struct err *dump_memory_read(const struct dump_plan *p, struct dump_chunk *c, bool parallel)
{
	uint64_t at = c->gpa;
	struct err *e = NULL;

	for (size_t i = 0; !e && i < c->n_runs; i++) {
		const struct dump_run *run = &c->runs[i];
		uint8_t *to = c->data + (run->gpa - c->gpa);

		memset(c->data + (at - c->gpa), 0, (size_t)(run->gpa - at));
		e = parallel ? guest_image_read_beside(p->img, run->gpa, to, (size_t)run->bytes) :
			       guest_image_read(p->img, run->gpa, to, (size_t)run->bytes);
		at = run->gpa + run->bytes;
	}
	if (!e)
		memset(c->data + (at - c->gpa), 0, (size_t)(c->gpa + c->bytes - at));
	c->is_read = !e;
	return e;
}

uint64_t dump_memory_left_out(const struct dump_plan *p, uint64_t gpa, uint64_t n, bool *ret_out)
{
	const struct page_set *s = &p->img->classes.set;

	*ret_out = false;
	return s->words ? page_set_run(s, gpa >> s->page_shift, n, ret_out) : n;
}

static enum dump_frame_kind kind_of(const struct dump_plan *p, const struct dump_chunk *c, uint64_t from, uint64_t to,
				    size_t *run)
{
	const struct page_set *s = &p->img->classes.set;

	while (*run < c->n_runs && c->runs[*run].gpa + c->runs[*run].bytes - c->gpa <= from)
		++*run;
	if (*run == c->n_runs || c->runs[*run].gpa - c->gpa >= to)
		return page_set_has(s, (c->gpa + from) >> s->page_shift) ? FRAME_OUT : FRAME_UNREAD;
	return dump_is_zero(c->data + from, (size_t)(to - from)) ? FRAME_ZERO : FRAME_DATA;
}

void dump_memory_sort(const struct dump_plan *p, struct dump_chunk *c)
{
	size_t run = 0;
	uint64_t to;

	c->n_frames = 0;
	for (uint64_t from = 0; from < c->bytes; from = to) {
		struct dump_frame *f = &c->frames[c->n_frames++];

		to = MIN(from + p->frame_bytes - (c->gpa + from) % p->frame_bytes, c->bytes);
		f->kind = kind_of(p, c, from, to, &run);
		c->pages.left_out += f->kind == FRAME_OUT;
		c->pages.untouched += f->kind == FRAME_UNREAD;
		c->pages.zero += f->kind == FRAME_ZERO;
		c->pages.written += f->kind == FRAME_DATA;
	}
}

void dump_memory_count_zeros(const struct dump_plan *p, struct dump_chunk *c)
{
	uint64_t frame = p->frame_bytes, gpa = ALIGN_DOWN(c->gpa, frame);
	uint64_t n = (c->gpa + (c->bytes - 1)) / frame - gpa / frame + 1;

	while (n) {
		bool out;
		uint64_t some = dump_memory_left_out(p, gpa, n, &out);

		*(out ? &c->pages.left_out : &c->pages.untouched) += some;
		gpa += some * frame;
		n -= some;
	}
}
