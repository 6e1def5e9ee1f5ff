/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "arch/arch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

struct regs *regs_create(const struct arch *arch, enum byte_order order)
{
	struct regs *regs = xcalloc(1, sizeof(*regs));

	regs->arch = arch;
	regs->order = order;
	regs->slots = xcalloc(arch->n_regs, sizeof(*regs->slots));
	regs->valid = xcalloc(arch->n_regs, sizeof(*regs->valid));
	return regs;
}

struct regs *regs_dup(const struct regs *regs)
{
	struct regs *dup = regs_create(regs->arch, regs->order);

	regs_copy(dup, regs);
	return dup;
}

void regs_destroy(struct regs *regs)
{
	if (!regs)
		return;
	free(regs->slots);
	free(regs->valid);
	free(regs);
}

void regs_copy(struct regs *to, const struct regs *from)
{
	size_t n = from->arch->n_regs;

	assert(to->arch == from->arch);
	to->order = from->order;
	memcpy(to->slots, from->slots, n * sizeof(*to->slots));
	memcpy(to->valid, from->valid, n * sizeof(*to->valid));
}

bool regs_equal(const struct regs *a, const struct regs *b)
{
	bool equal = true;

	assert(a->arch == b->arch);
	for (unsigned r = 0; equal && r < a->arch->n_regs; r++)
		equal = a->valid[r] == b->valid[r] &&
			(!a->valid[r] || !memcmp(a->slots[r], b->slots[r], reg_bytes(a->arch, r)));
	return equal;
}

const uint8_t *regs_bytes(const struct regs *regs, unsigned reg)
{
	assert(reg < regs->arch->n_regs);
	return regs->valid[reg] ? regs->slots[reg] : NULL;
}

void regs_set_bytes(struct regs *regs, unsigned reg, const void *bytes)
{
	memcpy(regs->slots[reg], bytes, reg_bytes(regs->arch, reg));
	regs->valid[reg] = true;
}

/* Where the low bytes of a register stand, at most 8 of them. */
static uint8_t *low_part(const struct regs *regs, unsigned reg, size_t *ret_bytes)
{
	size_t all = reg_bytes(regs->arch, reg);
	size_t low = MIN(all, sizeof(uint64_t));

	*ret_bytes = low;
	return regs->slots[reg] + (regs->order == ORDER_BIG ? all - low : 0);
}

bool regs_get(const struct regs *regs, unsigned reg, uint64_t *ret)
{
	size_t bytes;
	const uint8_t *low = low_part(regs, reg, &bytes);

	if (!regs->valid[reg])
		return false;
	*ret = load_uint(low, bytes, regs->order);
	return true;
}

uint64_t regs_get_or(const struct regs *regs, unsigned reg, uint64_t unknown)
{
	uint64_t value = unknown;

	regs_get(regs, reg, &value);
	return value;
}

void regs_set(struct regs *regs, unsigned reg, uint64_t value)
{
	size_t bytes;
	uint8_t *low = low_part(regs, reg, &bytes);

	memset(regs->slots[reg], 0, sizeof(regs->slots[reg]));
	store_uint(low, bytes, regs->order, value);
	regs->valid[reg] = true;
}

void regs_forget(struct regs *regs, unsigned reg)
{
	assert(reg < regs->arch->n_regs);
	memset(regs->slots[reg], 0, sizeof(regs->slots[reg]));
	regs->valid[reg] = false;
}

size_t reg_bytes(const struct arch *arch, unsigned reg)
{
	assert(reg < arch->n_regs);
	return arch->regs[reg].bits / 8u;
}
