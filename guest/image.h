/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_IMAGE_H
#define GUEST_IMAGE_H

#include "guest/guest.h"
#include "guest/os.h"

/*
 * What a dump reads: blocks, registers and a reader, taken once and immutable.
 * The paused guest, a saved core and a snapshot are three sources of one image.
 */
struct guest_image {
	const struct arch *arch;
	enum byte_order order;
	struct mem_block *blocks; /* own copy; sorted, disjoint */
	size_t n_blocks;
	struct regs **vcpus;      /* own copies */
	uint32_t *pids;           /* what PRSTATUS says; unique and nonzero */
	unsigned n_vcpus;
	char *vmcoreinfo;         /* own copy, or NULL */
	size_t vmcoreinfo_bytes;
	struct mapping *kernel_map; /* sorted by gpa; NULL: not known */
	size_t n_kernel_map;
	unsigned left_out;        /* PAGES_*: what a dump need not hold */
	struct page_classes classes; /* of left_out, without PAGES_ZERO; {0}: every frame stays */
	struct guest *guest;      /* held: it cannot resume while the image lives */
};

/*
 * Takes the image of a stopped guest and holds it. Notes what cannot be known
 * (no VMCOREINFO) by leaving it NULL. ERR_UNSUPPORTED: no memory or no vCPU.
 */
struct err *guest_image_create(struct guest *g, struct guest_image **ret) MUST_CHECK;
void guest_image_destroy(struct guest_image *img); /* takes NULL; releases the hold */

/*
 * Chooses what a dump leaves out: PAGES_*. Where the guest's layout is not understood
 * the error says so (ERR_UNKNOWN), and only PAGES_ZERO of them is left out. Once.
 */
struct err *guest_image_leave_out(struct guest_image *img, unsigned classes) MUST_CHECK;

/* All bytes, which lie in one block. */
struct err *guest_image_read(struct guest_image *img, uint64_t gpa, void *ret, size_t bytes) MUST_CHECK;
/* As guest_reads_beside(), guest_read_beside() and guest_check_held(). */
bool guest_image_reads_beside(const struct guest_image *img, uint64_t gpa, uint64_t bytes);
struct err *guest_image_read_beside(const struct guest_image *img, uint64_t gpa, void *ret, size_t bytes) MUST_CHECK;
struct err *guest_image_check_held(struct guest_image *img) MUST_CHECK;
/* As guest_next_data(). */
struct err *guest_image_next_data(struct guest_image *img, uint64_t gpa, uint64_t end, uint64_t *ret_gpa,
				  uint64_t *ret_bytes) MUST_CHECK;
/* The -p map: every mapping of every vCPU's address space. fn as in arch.h; not sorted across vCPUs. */
struct err *guest_image_walk(struct guest_image *img, mapping_fn fn, void *arg) MUST_CHECK;

#endif
