/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "dump/plan.h"

static_assert(DUMP_MAX_LOADS < UINT32_MAX, "sh_info holds the count, with the note's header");

static int compare(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

/* Mappings that continue or repeat each other share gva - gpa. */
static int by_distance(const void *a, const void *b)
{
	const struct mapping *x = a, *y = b;
	int order = compare(x->gva - x->gpa, y->gva - y->gpa);

	return order ? order : compare(x->gva, y->gva);
}

/* This is the order of the file's data: crash takes all that is before the first load's data for headers. */
static int by_gpa(const void *a, const void *b)
{
	const struct mapping *x = a, *y = b;
	int order = compare(x->gpa, y->gpa);

	return order ? order : compare(x->gva, y->gva);
}

/* Takes next into m when it starts in m or right behind it, at the same distance. */
static bool merge(struct mapping *m, const struct mapping *next)
{
	uint64_t ahead = next->gva - m->gva;

	if (next->gva - next->gpa != m->gva - m->gpa || next->gva < m->gva || ahead > m->bytes)
		return false;
	m->bytes = MAX(m->bytes, ahead + next->bytes);
	return true;
}

static void sort(struct dump_loads *l, int (*order)(const void *, const void *))
{
	if (l->n)
		qsort(l->v, l->n, sizeof(*l->v), order);
}

static void compact(struct dump_loads *l)
{
	size_t n = 0;

	sort(l, by_distance);
	for (size_t i = 0; i < l->n; i++)
		if (!n || !merge(&l->v[n - 1], &l->v[i]))
			l->v[n++] = l->v[i];
	l->n = n;
}

static struct err *grow(struct dump_loads *l)
{
	if (l->n >= DUMP_MAX_LOADS)
		return err_new(ERR_UNSUPPORTED,
			       "the dump would need more than %u program headers; dump without -p, or a range",
			       DUMP_MAX_LOADS);
	l->cap = l->cap ? 2 * l->cap : 64;
	l->v = xreallocarray(l->v, l->cap, sizeof(*l->v));
	return NULL;
}

/* Many vCPUs map the same: what they repeat goes before the list grows. */
static struct err *make_room(struct dump_loads *l)
{
	if (l->n < l->cap)
		return NULL;
	compact(l);
	return l->n < l->cap / 2 ? NULL : grow(l);
}

static struct err *append(struct dump_loads *l, const struct mapping *m)
{
	struct err *e;

	if (l->n && merge(&l->v[l->n - 1], m))
		return NULL;
	e = make_room(l);
	if (!e)
		l->v[l->n++] = *m;
	return e;
}

struct err *dump_loads_add(void *arg, const struct mapping *m)
{
	struct dump_plan *p = arg;
	uint64_t last = m->gpa + (m->bytes - 1);

	for (size_t i = dump_plan_region_after(p, m->gpa); i < p->n_regions; i++) {
		const struct dump_region *r = &p->regions[i];
		uint64_t from = MAX(m->gpa, r->gpa), to = MIN(last, r->gpa + (r->bytes - 1));
		struct mapping part = { m->gva + (from - m->gpa), from, to - from + 1, m->flags };
		struct err *e;

		if (r->gpa > last)
			break;
		e = append(&p->loads, &part);
		if (e)
			return e;
	}
	return NULL;
}

static struct err *add_identity(struct dump_loads *l, uint64_t gpa, uint64_t bytes)
{
	struct err *e = l->n < l->cap ? NULL : grow(l);

	if (!e)
		l->v[l->n++] = (struct mapping){ gpa, gpa, bytes, 0 };
	return e;
}

/*
 * The first n_mapped loads are in ascending order of gpa, and those of region
 * r start at *at: frames that none of them holds get loads behind them all.
 */
static struct err *add_unmapped(struct dump_loads *l, size_t n_mapped, size_t *at, const struct dump_region *r)
{
	uint64_t covered = 0; /* bytes from the region's start */
	struct err *e = NULL;

	for (; !e && *at < n_mapped && l->v[*at].gpa - r->gpa < r->bytes; ++*at) {
		uint64_t start = l->v[*at].gpa - r->gpa, end = start + l->v[*at].bytes;

		if (start > covered)
			e = add_identity(l, r->gpa + covered, start - covered);
		covered = MAX(covered, end);
	}
	if (!e && covered < r->bytes)
		e = add_identity(l, r->gpa + covered, r->bytes - covered);
	return e;
}

struct err *dump_loads_finish(struct dump_plan *p)
{
	struct dump_loads *l = &p->loads;
	struct err *e = NULL;
	size_t n, at = 0;

	compact(l);
	n = l->n;
	sort(l, by_gpa);
	for (size_t i = 0; !e && i < p->n_regions; i++)
		e = add_unmapped(l, n, &at, &p->regions[i]);
	sort(l, by_gpa);
	return e;
}
