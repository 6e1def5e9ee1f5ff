/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/stub_map.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

struct alias {
	const char *arch, *row;
	const char *name; /* in QEMU's description */
};

/* qemu-system-i386 has the 32-bit names. */
static const struct alias ALIASES[] = {
	{ "x86_64", "rax", "eax" }, { "x86_64", "rbx", "ebx" }, { "x86_64", "rcx", "ecx" },
	{ "x86_64", "rdx", "edx" }, { "x86_64", "rsi", "esi" }, { "x86_64", "rdi", "edi" },
	{ "x86_64", "rbp", "ebp" }, { "x86_64", "rsp", "esp" }, { "x86_64", "rip", "eip" },
};

/*
 * QEMU sends a ppc64 vCPU's registers in the order that its MSR[LE] says, which
 * is bit 0; bit 56, the other one that could be lowest in the first byte, is
 * reserved and 0.
 */
struct both_orders {
	const char *arch, *row;
};

static const struct both_orders BOTH_ORDERS[] = {
	{ "ppc64", "msr" },
};

/*
 * QEMU takes the low halves of the s390x vector registers from the bytes behind
 * those that are sent.
 */
static bool is_written_twice(const struct arch *arch, const struct reg_desc *row)
{
	return !strcmp(arch->name, "s390x") && row->bits == 64 &&
	       !strcmp(arch->features[row->feature].name, "org.gnu.gdb.s390.vx");
}

static const struct tdesc_reg *find(const struct tdesc *t, const char *feature, const char *name)
{
	for (size_t i = 0; i < t->n_regs; i++)
		if (!strcmp(t->regs[i].name, name) && (!feature || !strcmp(t->regs[i].feature, feature)))
			return &t->regs[i];
	return NULL;
}

static const struct tdesc_reg *find_alias(const struct tdesc *t, const struct arch *arch, const char *row)
{
	for (size_t i = 0; i < ARRAY_LEN(ALIASES); i++)
		if (!strcmp(ALIASES[i].arch, arch->name) && !strcmp(ALIASES[i].row, row))
			return find(t, NULL, ALIASES[i].name);
	return NULL;
}

/* QEMU has stale copies of some registers under the same name in a feature of its own. */
static const struct tdesc_reg *find_row(const struct tdesc *t, const struct arch *arch, const struct reg_desc *row)
{
	const struct tdesc_reg *reg = find(t, arch->features[row->feature].name, row->name);

	if (!reg)
		reg = find(t, NULL, row->name);
	return reg ? reg : find_alias(t, arch, row->name);
}

static int order_row(const struct stub_map *m, const struct arch *arch)
{
	for (size_t i = 0; i < ARRAY_LEN(BOTH_ORDERS); i++) {
		int row = strcmp(BOTH_ORDERS[i].arch, arch->name) ? -1 : arch_reg_by_name(arch, BOTH_ORDERS[i].row);

		if (row >= 0 && m->rows[row].known)
			return row;
	}
	return -1;
}

struct stub_map stub_map_of(const struct arch *arch, const struct tdesc *t)
{
	struct stub_map m = { .rows = xcalloc(arch->n_regs, sizeof(*m.rows)) };

	for (size_t i = 0; i < arch->n_regs; i++) {
		const struct tdesc_reg *reg = find_row(t, arch, &arch->regs[i]);

		if (!reg || reg->bits % 8)
			continue;
		m.rows[i] = (struct stub_row){ true, reg->regnum, reg->bits / 8,
					       is_written_twice(arch, &arch->regs[i]) };
		m.n_known++;
	}
	m.order_row = order_row(&m, arch);
	return m;
}

void stub_map_deinit(struct stub_map *m)
{
	free(m->rows);
	*m = (struct stub_map){ .order_row = -1 };
}

enum byte_order stub_map_order(const void *bytes, size_t n)
{
	return n && *(const uint8_t *)bytes & 1 ? ORDER_LITTLE : ORDER_BIG;
}

void stub_map_resize(void *to, size_t to_bytes, enum byte_order to_order, const void *from, size_t from_bytes,
		     enum byte_order from_order)
{
	const uint8_t *in = from;
	uint8_t *out = to;

	for (size_t i = 0; i < to_bytes; i++) {
		uint8_t byte = 0;

		if (i < from_bytes)
			byte = in[from_order == ORDER_LITTLE ? i : from_bytes - 1 - i];
		out[to_order == ORDER_LITTLE ? i : to_bytes - 1 - i] = byte;
	}
}
