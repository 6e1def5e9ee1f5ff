/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "guest/core.h"

#define COMPARE_BYTES (64u << 10)

/*
 * Several loads may hold the same memory: /proc/vmcore has the kernel's image
 * twice, a core with page mappings every shared page. What they say has to agree.
 */

static void append(struct core_run **runs, size_t *n, const struct core_run *r)
{
	/* The array doubles at each power of two. */
	if (!(*n & (*n - 1)))
		*runs = xreallocarray(*runs, *n ? 2 * *n : 1, sizeof(**runs));
	(*runs)[(*n)++] = *r;
}

void core_add_load(struct core *c, const struct core_load *l)
{
	struct core_run file = { l->gpa, l->file_bytes, l->offset, true };
	struct core_run zeros = { l->gpa + l->file_bytes, l->bytes - l->file_bytes, 0, false };

	if (file.bytes)
		append(&c->runs, &c->n_runs, &file);
	if (zeros.bytes)
		append(&c->runs, &c->n_runs, &zeros);
}

/* By place; of those that start together the one from the file first. */
static int by_gpa(const void *a, const void *b)
{
	const struct core_run *x = a, *y = b;

	if (x->gpa != y->gpa)
		return x->gpa < y->gpa ? -1 : 1;
	return (int)y->in_file - (int)x->in_file;
}

/* Where the file has the byte of gpa, relative to gpa. */
static uint64_t distance(const struct core_run *r)
{
	return r->offset - r->gpa;
}

static struct err *contradiction(const struct core *c, uint64_t gpa)
{
	return err_new(ERR_INVALID, "%s is corrupt: two of its loads differ near physical address 0x%" PRIx64
		       " (is it the core of a process?)", c->path, gpa);
}

static bool are_one(const struct core_run *a, const struct core_run *b)
{
	return a->in_file == b->in_file && (!a->in_file || distance(a) == distance(b));
}

/* From the start of b on both hold bytes, which must be the same. */
static struct err *compare(struct core *c, const struct core_run *a, const struct core_run *b, uint64_t bytes)
{
	uint64_t gpa = b->gpa;
	uint8_t *x, *y;
	struct err *e = NULL;

	if (are_one(a, b))
		return NULL;
	/* Real cores have little of their memory twice; one made to keep us busy has it a million times. */
	if (bytes > c->comparable_bytes)
		return err_new(ERR_INVALID, "%s is corrupt: its loads overlap in more bytes than it has", c->path);
	c->comparable_bytes -= bytes;
	x = xmalloc(2 * COMPARE_BYTES);
	y = x + COMPARE_BYTES;
	while (!e && bytes) {
		size_t n = (size_t)MIN(bytes, COMPARE_BYTES);

		e = core_read_run(c, a, gpa, x, n);
		if (!e)
			e = core_read_run(c, b, gpa, y, n);
		if (!e && memcmp(x, y, n))
			e = contradiction(c, gpa);
		gpa += n;
		bytes -= n;
	}
	free(x);
	return e;
}

static struct core_run cut_front(const struct core_run *r, uint64_t bytes)
{
	return (struct core_run){ r->gpa + bytes, r->bytes - bytes, r->in_file ? r->offset + bytes : 0, r->in_file };
}

static bool continues(const struct core_run *a, const struct core_run *b)
{
	return a->gpa + a->bytes == b->gpa && a->bytes + b->bytes > a->bytes && are_one(a, b);
}

/* The first of the disjoint, sorted runs that ends above gpa. */
static size_t run_after(const struct core_run *runs, size_t n, uint64_t gpa)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (runs[mid].gpa + (runs[mid].bytes - 1) < gpa)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/*
 * Adds what r holds beyond the runs. They are what loads that start at or
 * before r hold, so those that r meets have no gap between them.
 */
static struct err *merge_run(struct core *c, struct core_run **runs, size_t *n, const struct core_run *r)
{
	struct core_run rest = *r;

	for (size_t i = run_after(*runs, *n, r->gpa); i < *n && rest.bytes; i++) {
		const struct core_run *had = &(*runs)[i];
		uint64_t both = MIN(rest.bytes, had->bytes - (rest.gpa - had->gpa));
		struct err *e = compare(c, had, &rest, both);

		if (e)
			return e;
		rest = cut_front(&rest, both);
	}
	if (!rest.bytes)
		return NULL;
	if (*n && continues(&(*runs)[*n - 1], &rest))
		(*runs)[*n - 1].bytes += rest.bytes;
	else
		append(runs, n, &rest);
	return NULL;
}

struct err *core_merge_runs(struct core *c)
{
	struct core_run *runs = NULL;
	struct err *e = NULL;
	size_t n = 0;

	if (c->n_runs)
		qsort(c->runs, c->n_runs, sizeof(*c->runs), by_gpa);
	for (size_t i = 0; !e && i < c->n_runs; i++)
		e = merge_run(c, &runs, &n, &c->runs[i]);
	free(c->runs);
	c->runs = runs;
	c->n_runs = n;
	return e;
}
