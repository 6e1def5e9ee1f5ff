/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef ARCH_WALK_H
#define ARCH_WALK_H

#include "arch/arch.h"

/* A register that translation needs; ERR_UNKNOWN when it is not known. */
struct err *walk_get_reg(const struct regs *regs, unsigned reg, uint64_t *ret) MUST_CHECK;

/*
 * What every architecture's arch->walk shares: reading tables, merging what
 * they map, and an end even where tables refer to themselves.
 *
 * A table that is reached again at one level maps the same memory again.
 * That is common (a recursive entry reaches each table once at several levels,
 * Linux's espfix area reaches one some 2,000 times at one), but a few tables can
 * span 2^57 bytes with it. The first WALK_MAX_REPEATS repeats of a walk are
 * followed, later ones are passed over: this loses aliases, never memory.
 * WALK_MAX_TABLES of 4 KiB (16 GiB; a larger table counts as several) end the walk
 * with ERR_INVALID.
 */
#define WALK_MAX_REPEATS 4096u
#define WALK_MAX_TABLES (1u << 22)

struct walk {
	const struct phys_reader *mem;
	mapping_fn fn;
	void *arg;
	struct mapping pending; /* not yet handed to fn; bytes 0: none */
	uint64_t *seen;         /* hash set of gpa | level; 0 is a free slot */
	size_t n_seen, seen_slots;
	size_t n_tables, n_repeats;
};

void walk_init(struct walk *w, const struct phys_reader *mem, mapping_fn fn, void *arg);
void walk_deinit(struct walk *w);

/*
 * Reads a table. *ret_read is false for one to pass over: there is no memory
 * (ERR_UNMAPPED) or nothing known of it (ERR_UNKNOWN), or it repeats too often.
 * level: 1..15; gpa is a multiple of 16.
 */
struct err *walk_read_table(struct walk *w, uint64_t gpa, unsigned level, void *ret, size_t bytes,
			    bool *ret_read) MUST_CHECK;

/* One mapping, which starts at or above the end of the one before. */
struct err *walk_map(struct walk *w, const struct mapping *m) MUST_CHECK;

/* Hands out the last one. */
struct err *walk_finish(struct walk *w) MUST_CHECK;

#endif
