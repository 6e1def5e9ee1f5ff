/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LINUX_PAGE_LAYOUT_H
#define LINUX_PAGE_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/endian.h"
#include "base/err.h"
#include "linux/vmcoreinfo.h"

/* How the running kernel lays out its struct page, and the numbers in it, as VMCOREINFO says. */
struct page_layout {
	bool swap; /* the guest's byte order is not the host's */
	/* Offsets in bytes. */
	uint64_t flags, mapcount, mapping, private, compound_head;
	/* Of the second page of a compound one. order_bytes 0: the order is the low byte of its flags. */
	uint64_t order, dtor, order_bytes;
	uint64_t n_orders; /* of free pages */
	/* Masks of flags; 0: this kernel has no such flag. */
	uint64_t pg_head, pg_lru, pg_private, pg_swapcache, pg_swapbacked, pg_slab, pg_hwpoison;
	uint64_t pg_hugetlb; /* in those of the second page */
	/* What stands in place of _mapcount, 32 bits; 0: this kernel marks no page so. */
	uint64_t buddy, offline, unaccepted, slab, hugetlb;
	uint64_t hugetlb_dtor; /* 0: none */
};

/* page_bytes: of a struct page. ERR_UNKNOWN names what VMCOREINFO lacks, or what makes no sense in it. */
struct err *page_layout_read(const struct vmcoreinfo *info, enum byte_order order, size_t page_bytes,
			     struct page_layout *ret) MUST_CHECK;

/* One struct page to be looked at. */
struct page_at {
	uint64_t pfn, gva;
	const uint8_t *page;
	const uint8_t *next; /* the one behind it; NULL: not at hand */
};

/*
 * The class of the page, one of the PAGES_* in classes, or 0 to keep it; *ret_order: log2 of the
 * frames from it on that are of that class. It is what makedumpfile has with the same
 * classes: for PAGES_PRIVATE alone cache without private data too, and for any at all
 * what is offline or broken, which counts as PAGES_FREE. What makes no sense is kept.
 */
unsigned page_class(const struct page_layout *l, unsigned classes, const struct page_at *at, unsigned *ret_order);

#endif
