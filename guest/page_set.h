/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_PAGE_SET_H
#define GUEST_PAGE_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A set of guest page frames, a bit each. Memory that was never set costs nothing,
 * so a set over a large and sparse guest is cheap. {0} is empty and takes no pages.
 */
struct page_set {
	unsigned page_shift; /* log2 of a frame's bytes */
	uint64_t n_pages;    /* frames [0, n_pages) can be in it */
	uint64_t count;      /* that are */
	uint64_t *words;
};

void page_set_init(struct page_set *s, unsigned page_shift, uint64_t n_pages);
void page_set_deinit(struct page_set *s);

/* Adds frames [pfn, pfn + n), as far as they can be in it. Returns how many were not there yet. */
uint64_t page_set_add(struct page_set *s, uint64_t pfn, uint64_t n);
bool page_set_has(const struct page_set *s, uint64_t pfn);
/* The number of frames from pfn on, at most n, that are all in the set or all not; *ret_in says which. n > 0. */
uint64_t page_set_run(const struct page_set *s, uint64_t pfn, uint64_t n, bool *ret_in);

#endif
