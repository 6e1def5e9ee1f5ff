/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "arch/s390x/s390x.h"

#include <inttypes.h>

#include "arch/walk.h"

/*
 * z/Architecture Principles of Operation, chapter 3: "Prefixing" and "Dynamic
 * Address Translation". A table of level 1 is a page table, one of level 2 a
 * segment table, those of levels 3 to 5 are region-third to region-first tables.
 */

#define PAGE_SHIFT 12u
#define SEGMENT_SHIFT 20u
#define REGION_INDEX_BITS 11u /* of a segment index too */
#define PAGE_TABLE_ENTRIES 256u
#define ENTRY_BYTES 8u
#define TOP_LEVEL 5u

/* Lengths and offsets of tables above page tables count parts of 512 entries. */
#define PART_SHIFT 9u
#define PART_ENTRIES (1u << PART_SHIFT)
#define PART_BYTES (PART_ENTRIES * ENTRY_BYTES)

/* An address-space-control element. */
#define ASCE_PRIVATE (1ull << 8)
#define ASCE_REAL (1ull << 5)

/* What ASCEs and the entries of region and segment tables have in common. */
#define ORIGIN 0xfffffffffffff000ull
#define TYPE(x) ((x) >> 2 & 3) /* the table's level less 2; an entry tells it of its own table */
#define LENGTH(x) ((x) & 3)
#define OFFSET(x) ((x) >> 6 & 3)

#define ENTRY_FORMAT (1ull << 10) /* the entry is of a frame, not of a table */
#define ENTRY_PROTECTED (1ull << 9)
#define ENTRY_NO_EXEC (1ull << 8) /* of frames only */
#define ENTRY_INVALID (1ull << 5)
#define ENTRY_COMMON (1ull << 4)
#define SEGMENT_ORIGIN 0xfffffffffffff800ull /* of a page table */

#define PTE_ZERO (1ull << 11)
#define PTE_INVALID (1ull << 10)

#define ALL_FLAGS (MAPPING_WRITABLE | MAPPING_USER | MAPPING_EXECUTABLE)
#define MAX_BLOCK_SHIFT 31u /* a region-third frame, and what a 31-bit address reaches */

/* A table as an ASCE or an entry designates it, or with level 0 the frame at the end. */
struct table {
	unsigned level;
	uint64_t gpa;         /* where entry 0 is, or would be before the first part */
	unsigned first, last; /* parts; none where first is above last */
	uint32_t flags;       /* what the levels above allow */
};

struct dat {
	bool on;
	struct table root;
	bool is_private;
	bool edat, iep;
	uint64_t prefix;
	unsigned address_bits; /* of the PSW's addressing mode: 24, 31 or 64 */
};

static unsigned address_bits(uint64_t pswm)
{
	if (!(pswm & S390X_PSW_BA))
		return 24;
	return pswm & S390X_PSW_EA ? 64 : 31;
}

/*
 * The ASCE of data accesses. Access-register mode has one for each base
 * register; all that hold 0 mean the primary one.
 */
static unsigned asce_reg(uint64_t pswm)
{
	switch ((enum s390x_address_space)(pswm >> S390X_PSW_AS_SHIFT & 3)) {
	case S390X_AS_SECONDARY:
		return S390X_CR0 + 7;
	case S390X_AS_HOME:
		return S390X_CR0 + 13;
	case S390X_AS_PRIMARY:
	case S390X_AS_ACCESS_REGISTER:
		break;
	}
	return S390X_CR0 + 1;
}

/* The tables that a control register tells of. */
static struct err *set_space(const struct regs *regs, unsigned reg, struct dat *d)
{
	uint64_t asce;
	struct err *e = walk_get_reg(regs, reg, &asce);

	if (e)
		return e;
	d->on = !(asce & ASCE_REAL);
	d->root = (struct table){ TYPE(asce) + 2, asce & ORIGIN, 0, LENGTH(asce), ALL_FLAGS };
	d->is_private = asce & ASCE_PRIVATE;
	return NULL;
}

static struct err *dat_of(const struct regs *regs, struct dat *ret)
{
	uint64_t pswm, prefix, cr0;
	struct err *e = walk_get_reg(regs, S390X_PSWM, &pswm);

	if (!e)
		e = walk_get_reg(regs, S390X_PREFIX, &prefix);
	if (e)
		return e;
	*ret = (struct dat){ .prefix = prefix & S390X_PREFIX_MASK, .address_bits = address_bits(pswm) };
	if (!(pswm & S390X_PSW_DAT))
		return NULL;
	e = walk_get_reg(regs, S390X_CR0, &cr0);
	if (!e)
		e = set_space(regs, asce_reg(pswm), ret);
	if (e)
		return e;
	ret->edat = cr0 & S390X_CR0_EDAT;
	ret->iep = cr0 & S390X_CR0_IEP;
	return NULL;
}

static uint64_t to_absolute(const struct dat *d, uint64_t real)
{
	if (real < S390X_PREFIX_BYTES)
		return real + d->prefix;
	if (real - d->prefix < S390X_PREFIX_BYTES)
		return real - d->prefix;
	return real;
}

/* log2 of the bytes that one entry of a level spans. */
static unsigned level_shift(unsigned level)
{
	return level == 1 ? PAGE_SHIFT : SEGMENT_SHIFT + (level - 2) * REGION_INDEX_BITS;
}

static void forbid(uint64_t entry, const struct dat *d, struct table *t)
{
	if (entry & ENTRY_PROTECTED)
		t->flags &= ~MAPPING_WRITABLE;
	if (d->iep && !t->level && entry & ENTRY_NO_EXEC)
		t->flags &= ~MAPPING_EXECUTABLE;
}

static bool decode_page(const struct dat *d, const struct table *t, uint64_t entry, struct table *ret)
{
	if (entry & (PTE_INVALID | PTE_ZERO))
		return false;
	*ret = (struct table){ .gpa = to_absolute(d, entry & ORIGIN), .flags = t->flags };
	forbid(entry, d, ret);
	return true;
}

/* An entry of a segment or region table; a frame's address is absolute. */
static bool decode_upper(const struct dat *d, const struct table *t, uint64_t entry, struct table *ret)
{
	bool may_be_frame = d->edat && t->level <= 3;

	if (entry & ENTRY_INVALID || TYPE(entry) + 2 != t->level)
		return false;
	if (entry & ENTRY_COMMON && d->is_private && (t->level == 2 || may_be_frame))
		return false;
	*ret = (struct table){ .flags = t->flags };
	if (may_be_frame && entry & ENTRY_FORMAT) {
		ret->gpa = ALIGN_DOWN(entry, 1ull << level_shift(t->level));
	} else {
		ret->level = t->level - 1;
		ret->gpa = entry & (t->level == 2 ? SEGMENT_ORIGIN : ORIGIN);
		ret->first = t->level == 2 ? 0 : OFFSET(entry);
		ret->last = t->level == 2 ? 0 : LENGTH(entry);
	}
	/* Region tables have a protection bit since EDAT. */
	if (t->level == 2 || d->edat)
		forbid(entry, d, ret);
	return true;
}

/* What an entry of t refers to; false when nothing. */
static bool decode(const struct dat *d, const struct table *t, uint64_t entry, struct table *ret)
{
	return t->level == 1 ? decode_page(d, t, entry, ret) : decode_upper(d, t, entry, ret);
}

static struct err *not_mapped(const struct table *t, uint64_t gva, uint64_t at)
{
	return err_new(ERR_UNMAPPED, "address 0x%" PRIx64 " is not mapped: level %u entry at gpa 0x%" PRIx64,
		       gva, t->level, at);
}

/* Looks gva up in one table and moves *t on to what its entry refers to. */
static struct err *look_up(const struct dat *d, const struct phys_reader *mem, uint64_t gva, struct table *t)
{
	unsigned entries = t->level == 1 ? PAGE_TABLE_ENTRIES : 1u << REGION_INDEX_BITS;
	unsigned index = gva >> level_shift(t->level) & (entries - 1);
	uint64_t at = t->gpa + index * ENTRY_BYTES;
	uint8_t entry[ENTRY_BYTES];
	struct table next;
	struct err *e;

	if (index >> PART_SHIFT < t->first || index >> PART_SHIFT > t->last)
		return not_mapped(t, gva, at);
	e = mem->read(mem->ctx, at, entry, sizeof(entry));
	if (e)
		return err_prefix(e, "page table entry at gpa 0x%" PRIx64 " for address 0x%" PRIx64, at, gva);
	if (!decode(d, t, load_uint(entry, sizeof(entry), ORDER_BIG), &next))
		return not_mapped(t, gva, at);
	*t = next;
	return NULL;
}

/* The address space ends where the first table does. */
static struct err *check_span(const struct dat *d, uint64_t gva)
{
	unsigned bits = level_shift(d->root.level) + REGION_INDEX_BITS;

	if (d->root.level == TOP_LEVEL || !(gva >> bits))
		return NULL;
	return err_new(ERR_UNMAPPED, "address 0x%" PRIx64 " is outside of the %u-bit address space", gva, bits);
}

static struct err *translate_by_tables(const struct dat *d, const struct phys_reader *mem, uint64_t gva,
				       struct mapping *ret)
{
	struct table t = d->root;
	unsigned shift = 0;
	struct err *e = check_span(d, gva);

	while (!e && t.level) {
		shift = level_shift(t.level);
		e = look_up(d, mem, gva, &t);
	}
	if (e)
		return e;
	ret->bytes = 1ull << shift;
	ret->gva = ALIGN_DOWN(gva, ret->bytes);
	ret->gpa = t.gpa;
	ret->flags = t.flags;
	return NULL;
}

/* The largest aligned block around a real address that prefixing moves as a whole. */
static void map_real(const struct dat *d, uint64_t real, struct mapping *ret)
{
	uint64_t bytes = 1ull << MAX_BLOCK_SHIFT, start = ALIGN_DOWN(real, bytes);

	while (d->prefix && bytes > S390X_PREFIX_BYTES && (!start || d->prefix - start < bytes)) {
		bytes /= 2;
		start = ALIGN_DOWN(real, bytes);
	}
	*ret = (struct mapping){ start, to_absolute(d, start), bytes, ALL_FLAGS };
}

/*
 * What the addressing mode makes of an address of up to 32 bits. A longer one
 * does not come from the guest's registers then, and is taken as it is.
 */
static uint64_t effective(const struct dat *d, uint64_t gva)
{
	return gva > UINT32_MAX ? gva : gva & UINT64_MAX >> (64 - d->address_bits);
}

/* Makes *m, of an effective address, the mapping of gva that stands for it. */
static void wrap(const struct dat *d, uint64_t gva, struct mapping *m)
{
	uint64_t gpa = m->gpa + (effective(d, gva) - m->gva);

	m->bytes = MIN(m->bytes, 1ull << MIN(d->address_bits, MAX_BLOCK_SHIFT));
	m->gva = ALIGN_DOWN(gva, m->bytes);
	m->gpa = ALIGN_DOWN(gpa, m->bytes);
}

/*
 * What user space cannot see, looked for in the home space, which is Linux's own: a
 * debugger means the kernel by its addresses wherever a vCPU happens to be.
 */
static bool is_at_home(const struct regs *regs, const struct phys_reader *mem, uint64_t gva, struct dat *d,
		       struct mapping *ret)
{
	struct dat home = *d;
	struct err *e;

	if (!(regs_get_or(regs, S390X_PSWM, 0) & S390X_PSW_PROBLEM))
		return false;
	e = set_space(regs, S390X_CR0 + 13, &home);
	if (!e && home.on)
		e = translate_by_tables(&home, mem, effective(&home, gva), ret);
	if (e || !home.on) {
		err_destroy(e);
		return false;
	}
	*d = home;
	return true;
}

struct err *s390x_translate(const struct regs *regs, const struct phys_reader *mem, uint64_t gva,
			    struct mapping *ret)
{
	struct dat d;
	struct mapping m;
	struct err *e = dat_of(regs, &d);

	if (e)
		return e;
	if (d.on)
		e = translate_by_tables(&d, mem, effective(&d, gva), &m);
	else
		map_real(&d, effective(&d, gva), &m);
	if (e && err_code(e) == ERR_UNMAPPED && is_at_home(regs, mem, gva, &d, &m)) {
		err_destroy(e);
		e = NULL;
	}
	if (e)
		return e;
	wrap(&d, gva, &m);
	*ret = m;
	return NULL;
}

static struct err *walk_table(struct walk *w, const struct dat *d, const struct table *t, uint64_t gva);

/* Everything that one part of a table maps; gva is that of its first entry. */
static struct err *walk_part(struct walk *w, const struct dat *d, const struct table *t, unsigned part,
			     uint64_t gva)
{
	uint8_t entries[PART_BYTES];
	unsigned n = t->level == 1 ? PAGE_TABLE_ENTRIES : PART_ENTRIES;
	uint64_t bytes = 1ull << level_shift(t->level);
	bool have;
	struct err *e = walk_read_table(w, t->gpa + part * PART_BYTES, t->level, entries, n * ENTRY_BYTES,
					&have);

	for (unsigned i = 0; !e && have && i < n; i++, gva += bytes) {
		struct table next;

		if (!decode(d, t, load_uint(entries + i * ENTRY_BYTES, ENTRY_BYTES, ORDER_BIG), &next))
			continue;
		if (next.level)
			e = walk_table(w, d, &next, gva);
		else
			e = walk_map(w, &(struct mapping){ gva, next.gpa, bytes, next.flags });
	}
	return e;
}

/* Everything that a table maps, from gva on. */
static struct err *walk_table(struct walk *w, const struct dat *d, const struct table *t, uint64_t gva)
{
	unsigned shift = level_shift(t->level) + PART_SHIFT;
	struct err *e = NULL;

	for (unsigned part = t->first; !e && part <= t->last; part++)
		e = walk_part(w, d, t, part, gva + ((uint64_t)part << shift));
	return e;
}

struct err *s390x_walk(const struct regs *regs, const struct phys_reader *mem, mapping_fn fn, void *arg)
{
	struct dat d;
	struct walk w;
	struct err *e = dat_of(regs, &d);

	if (e || !d.on)
		return e;
	walk_init(&w, mem, fn, arg);
	e = walk_table(&w, &d, &d.root, 0);
	if (!e)
		e = walk_finish(&w);
	walk_deinit(&w);
	return e;
}
