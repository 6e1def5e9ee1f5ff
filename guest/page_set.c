/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/page_set.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/attr.h"

#define WORD_BITS 64u

void page_set_init(struct page_set *s, unsigned page_shift, uint64_t n_pages)
{
	*s = (struct page_set){ .page_shift = page_shift, .n_pages = n_pages };
	s->words = xcalloc((size_t)((n_pages + WORD_BITS - 1) / WORD_BITS), sizeof(*s->words));
}

void page_set_deinit(struct page_set *s)
{
	free(s->words);
	*s = (struct page_set){ 0 };
}

/* Bits [first, first + n) of a word; n is 1 to 64. */
static uint64_t mask_of(unsigned first, uint64_t n)
{
	return (~0ull >> (WORD_BITS - n)) << first;
}

uint64_t page_set_add(struct page_set *s, uint64_t pfn, uint64_t n)
{
	uint64_t added = 0, end = pfn < s->n_pages ? pfn + MIN(n, s->n_pages - pfn) : pfn;

	while (pfn < end) {
		unsigned first = (unsigned)(pfn % WORD_BITS);
		uint64_t some = MIN(end - pfn, WORD_BITS - first), *word = &s->words[pfn / WORD_BITS];
		uint64_t fresh = mask_of(first, some) & ~*word;

		*word |= fresh;
		added += (uint64_t)__builtin_popcountll(fresh);
		pfn += some;
	}
	s->count += added;
	return added;
}

bool page_set_has(const struct page_set *s, uint64_t pfn)
{
	return pfn < s->n_pages && s->words[pfn / WORD_BITS] >> pfn % WORD_BITS & 1;
}

uint64_t page_set_run(const struct page_set *s, uint64_t pfn, uint64_t n, bool *ret_in)
{
	bool in = page_set_has(s, pfn);
	uint64_t done = 0;

	*ret_in = in;
	while (done < n && pfn + done < s->n_pages) {
		unsigned first = (unsigned)((pfn + done) % WORD_BITS);
		uint64_t word = s->words[(pfn + done) / WORD_BITS], rest = (in ? ~word : word) >> first;
		uint64_t same = rest ? (uint64_t)__builtin_ctzll(rest) : WORD_BITS - first;

		done += same;
		if (rest)
			return MIN(done, n);
	}
	/* Behind its end nothing is in it. */
	if (done > n || (!in && done < n))
		return n;
	return MIN(done, in && pfn < s->n_pages ? s->n_pages - pfn : n);
}
