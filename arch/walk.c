/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "arch/walk.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"

#define TABLE_BYTES 4096u /* what counts as one */

struct err *walk_get_reg(const struct regs *regs, unsigned reg, uint64_t *ret)
{
	if (regs_get(regs, reg, ret))
		return NULL;
	return err_new(ERR_UNKNOWN,
		       "page tables: %s of this vCPU is not known; physical addresses can be read without it",
		       regs->arch->regs[reg].name);
}

void walk_init(struct walk *w, const struct phys_reader *mem, mapping_fn fn, void *arg)
{
	*w = (struct walk){ .mem = mem, .fn = fn, .arg = arg };
}

void walk_deinit(struct walk *w)
{
	free(w->seen);
}

/* The slot that holds key, or the free one where it belongs. slots is a power of two. */
static uint64_t *find_slot(uint64_t *seen, size_t slots, uint64_t key)
{
	size_t i = (size_t)(key * 0x9e3779b97f4a7c15u >> 32); /* Fibonacci hashing */

	while (seen[i & (slots - 1)] && seen[i & (slots - 1)] != key)
		i++;
	return &seen[i & (slots - 1)];
}

static void grow_seen(struct walk *w)
{
	size_t slots = w->seen_slots ? 2 * w->seen_slots : 256;
	uint64_t *seen = xcalloc(slots, sizeof(*seen));

	for (size_t i = 0; i < w->seen_slots; i++)
		if (w->seen[i])
			*find_slot(seen, slots, w->seen[i]) = w->seen[i];
	free(w->seen);
	w->seen = seen;
	w->seen_slots = slots;
}

/* False when it was there already. */
static bool add_seen(struct walk *w, uint64_t key)
{
	uint64_t *slot;

	if (2 * w->n_seen >= w->seen_slots)
		grow_seen(w);
	slot = find_slot(w->seen, w->seen_slots, key);
	if (*slot)
		return false;
	*slot = key;
	w->n_seen++;
	return true;
}

struct err *walk_read_table(struct walk *w, uint64_t gpa, unsigned level, void *ret, size_t bytes,
			    bool *ret_read)
{
	struct err *e;

	*ret_read = false;
	if (!add_seen(w, gpa | level) && w->n_repeats++ >= WALK_MAX_REPEATS)
		return NULL;
	w->n_tables += ALIGN_UP(bytes, (size_t)TABLE_BYTES) / TABLE_BYTES;
	if (w->n_tables > WALK_MAX_TABLES)
		return err_new(ERR_INVALID,
			       "page tables: more than %u tables in one address space; "
			       "they may be damaged, go on without them", WALK_MAX_TABLES);
	e = w->mem->read(w->mem->ctx, gpa, ret, bytes);
	if (e && (err_code(e) == ERR_UNMAPPED || err_code(e) == ERR_UNKNOWN)) {
		err_destroy(e);
		return NULL;
	}
	*ret_read = !e;
	return err_prefix(e, "page table at gpa 0x%" PRIx64, gpa);
}

struct err *walk_finish(struct walk *w)
{
	struct mapping last = w->pending;

	w->pending.bytes = 0;
	return last.bytes ? w->fn(w->arg, &last) : NULL;
}

struct err *walk_map(struct walk *w, const struct mapping *m)
{
	struct mapping *p = &w->pending;
	struct err *e;

	if (p->bytes && p->gva + p->bytes == m->gva && p->gpa + p->bytes == m->gpa && p->flags == m->flags) {
		p->bytes += m->bytes;
		return NULL;
	}
	e = walk_finish(w);
	*p = *m;
	return e;
}
