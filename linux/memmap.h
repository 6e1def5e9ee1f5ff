/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LINUX_MEMMAP_H
#define LINUX_MEMMAP_H

#include "linux/kernel.h"

/*
 * Where the kernel has its struct page of each page frame: mm/sparse.c, with
 * CONFIG_SPARSEMEM_EXTREME, which every kernel of these architectures has. Found
 * through VMCOREINFO; what stands in the guest's memory is bounded here.
 */
struct memmap {
	const struct linux_kernel *kernel; /* borrowed */
	unsigned page_shift;    /* log2 of a frame's bytes */
	unsigned section_shift; /* log2 of the frames of a section */
	size_t page_bytes;      /* of a struct page */
	uint64_t end;           /* all frames with a struct page that lie in memory blocks are below */
	uint64_t roots_gva, n_roots;
	size_t entry_bytes, map_offset, per_root; /* of mem_section */
	uint64_t needed;        /* flags of a section that is in use */
	uint8_t *root;          /* a frame of struct mem_section: that of root_nr, when root_known */
	uint64_t root_nr;
	bool root_known;
	struct pieces backing;  /* of what the page tables do not tell; sorted by gva */
	uint64_t read_bytes;    /* how much of it was there */
};

/* ERR_UNKNOWN: what is missing in VMCOREINFO, or what makes no sense. Caller ends *ret with memmap_close(). */
struct err *memmap_open(const struct linux_kernel *k, struct memmap *ret) MUST_CHECK;
void memmap_close(struct memmap *m);

/*
 * How many frames from pfn on, at least one, are alike: *ret_gva is where the struct
 * pages of all of them are, one behind the other, or 0: they have none.
 */
uint64_t memmap_run(struct memmap *m, uint64_t pfn, uint64_t *ret_gva);

/* Reads n struct pages. One that is not there, or not whole, is all zeros: that of a page of the kernel's. */
struct err *memmap_read(struct memmap *m, uint64_t gva, void *ret, size_t n) MUST_CHECK;

/* A frame is in a block only when it is so as a whole. ret_end is exclusive. */
void memmap_frames(const struct memmap *m, const struct mem_block *b, uint64_t *ret_first, uint64_t *ret_end);

#endif
