/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/page_tables.h"

#include <assert.h>
#include <check.h>
#include <string.h>

#include "base/alloc.h"

struct page_tables *page_tables_create(void)
{
	return xcalloc(1, sizeof(struct page_tables));
}

static uint8_t *page_at(struct page_tables *t, uint64_t gpa)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->pages[i].gpa == gpa)
			return t->pages[i].bytes;
	assert(t->n < PAGE_TABLES_MAX_PAGES);
	t->pages[t->n].gpa = gpa;
	return t->pages[t->n++].bytes;
}

void page_tables_poke(struct page_tables *t, uint64_t at, uint64_t value, size_t bytes, enum byte_order order)
{
	uint64_t page = ALIGN_DOWN(at, PAGE_TABLES_PAGE);

	store_uint(page_at(t, page) + (at - page), bytes, order, value);
}

static struct err *read_pages(void *ctx, uint64_t gpa, void *ret, size_t bytes)
{
	struct page_tables *t = ctx;

	t->reads++;
	for (size_t i = 0; i < t->n; i++) {
		uint64_t at = gpa - t->pages[i].gpa;

		if (at < PAGE_TABLES_PAGE && bytes <= PAGE_TABLES_PAGE - at) {
			memcpy(ret, t->pages[i].bytes + at, bytes);
			return NULL;
		}
	}
	return err_new(ERR_UNMAPPED, "no memory at 0x%llx", (unsigned long long)gpa);
}

struct phys_reader page_tables_reader(struct page_tables *t)
{
	return (struct phys_reader){ read_pages, t };
}

void assert_mapping(const struct mapping *got, const struct mapping *want, const char *name)
{
	ck_assert_msg(got->gva == want->gva && got->gpa == want->gpa && got->bytes == want->bytes &&
			      got->flags == want->flags,
		      "%s: gva %#llx gpa %#llx bytes %#llx flags %u", name, (unsigned long long)got->gva,
		      (unsigned long long)got->gpa, (unsigned long long)got->bytes, got->flags);
}

struct err *walked_add(void *arg, const struct mapping *m)
{
	struct walked *w = arg;

	if (w->n < ARRAY_LEN(w->m))
		w->m[w->n] = *m;
	w->n++;
	return w->n == w->fail_at ? err_new(ERR_CANCELLED, "enough") : NULL;
}
