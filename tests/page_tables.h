/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_PAGE_TABLES_H
#define TESTS_PAGE_TABLES_H

#include "arch/arch.h"

/* Guest-physical memory for page tables built by hand: 4 KiB pages, and nothing else. */

#define PAGE_TABLES_PAGE 4096u
#define PAGE_TABLES_MAX_PAGES 16u

struct page_tables {
	struct {
		uint64_t gpa;
		uint8_t bytes[PAGE_TABLES_PAGE];
	} pages[PAGE_TABLES_MAX_PAGES];
	size_t n;
	size_t reads;
};

/* All zeros; free() ends it. */
struct page_tables *page_tables_create(void);

/* Writes an entry that lies in one page, which comes into being. */
void page_tables_poke(struct page_tables *t, uint64_t at, uint64_t value, size_t bytes,
		      enum byte_order order);

/* Counts what it is asked for in reads; a read of other than these pages is ERR_UNMAPPED. */
struct phys_reader page_tables_reader(struct page_tables *t);

/* Every field is as wanted; name is of the case. */
void assert_mapping(const struct mapping *got, const struct mapping *want, const char *name);

/* What a walk handed out. */
struct walked {
	struct mapping m[16]; /* the first of them */
	size_t n;
	size_t fail_at; /* the call that fails with ERR_CANCELLED, from 1; 0: none */
};

/* A mapping_fn; arg is a struct walked. */
struct err *walked_add(void *arg, const struct mapping *m);

#endif
