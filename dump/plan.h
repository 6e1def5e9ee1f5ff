/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DUMP_PLAN_H
#define DUMP_PLAN_H

#include <libelf.h>

#include "dump/dump.h"

/* What the files of dump/ share about a plan. */

/*
 * One run of guest RAM that is in the file, once: a block, or blocks that
 * adjoin, cut to the range that was asked for.
 */
struct dump_region {
	uint64_t gpa;
	uint64_t bytes;
	uint64_t offset; /* in the file; congruent to gpa modulo the page */
};

/*
 * The program headers to be. gpa runs lie each in one region, so the region
 * gives the file offset; several loads may point into the same frames.
 */
struct dump_loads {
	struct mapping *v;
	size_t n;
	size_t cap;
};

/*
 * sh_info counts the program headers in 32 bits; memory for the plan runs out
 * long before that, and no reader opens a file with so many.
 */
#define DUMP_MAX_LOADS (1u << 22)

/* Frames [first, end) that RAM touches. */
struct dump_frames {
	uint64_t first;
	uint64_t end;
};

/*
 * Where the parts of a kdump file lie. The head is two headers and the notes. Page descriptors
 * have room for every frame that could get one; what they leave of it nobody looks at.
 */
struct dump_kdump {
	struct dump_frames *spans; /* sorted, disjoint */
	size_t n_spans;
	uint64_t n_frames;     /* in them */
	uint64_t bitmap_bytes; /* of one of the two; whole blocks */
	uint64_t bitmaps;      /* the first one; frames that are RAM. The second follows: those with a descriptor */
	uint64_t descs;
	uint64_t data;
};

#define KDUMP_DESC_BYTES 24u

struct dump_plan {
	struct guest_image *img;
	struct dump_options opt;
	uint64_t frame_bytes;        /* of the guest's kernel; a kdump file's block */
	struct dump_region *regions; /* sorted, disjoint, not adjoining */
	size_t n_regions;
	struct dump_loads loads;     /* sorted by gpa, then gva: the order of the data in the file */
	int elf_class;
	uint16_t machine;            /* EM_* */
	struct buf notes;
	int head_fd;                 /* headers and notes, in a memfd */
	uint64_t head_bytes;
	struct dump_kdump kdump;     /* of such a file */
	uint64_t file_bytes;
	uint64_t data_bytes;
	uint64_t total_bytes;        /* that the job counts up to */
};

/* The first region that ends above gpa; n_regions when there is none. */
size_t dump_plan_region_after(const struct dump_plan *p, uint64_t gpa);
/* The file offset of a frame that a region holds. */
uint64_t dump_plan_offset(const struct dump_plan *p, uint64_t gpa);

/* Adds what of m lies in regions; as a mapping_fn, arg is the plan. */
struct err *dump_loads_add(void *arg, const struct mapping *m) MUST_CHECK;
/* Merges what was added, gives frames that nothing maps loads of their own, sorts. */
struct err *dump_loads_finish(struct dump_plan *p) MUST_CHECK;

/* Appends the notes of a machine, each padded to 4 bytes. */
void dump_notes_build(const struct guest_image *img, uint16_t machine, struct buf *ret);

/* Where the parts of the head lie; everything but n_loads and notes follows from the class. */
struct dump_head_layout {
	uint64_t phdrs;
	uint64_t section; /* section header 0, for a count over 16 bits; else 0 */
	uint64_t notes;
	uint64_t end;
};

struct dump_head_layout dump_head_layout(int elf_class, size_t n_loads, size_t notes_bytes);
/* Writes headers and notes to a new memfd, p->head_fd. */
struct err *dump_head_write(struct dump_plan *p) MUST_CHECK;
/* An empty one, and bytes to put there. */
struct err *dump_head_create(struct dump_plan *p) MUST_CHECK;
struct err *dump_head_put(const struct dump_plan *p, const void *data, size_t bytes, uint64_t offset) MUST_CHECK;

/* Of a kdump file, once regions, notes, class and machine are known: places its parts and writes its head. */
struct err *dump_kdump_plan(struct dump_plan *p) MUST_CHECK;

#endif
