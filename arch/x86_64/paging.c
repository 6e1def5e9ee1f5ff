/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "arch/x86_64/x86_64.h"

#include <inttypes.h>

#include "arch/walk.h"

/* Intel SDM volume 3, chapter 4 "Paging". A table of level 1 is a PT. */

#define PAGE_SHIFT 12u
#define TABLE_BYTES 4096u

#define ENTRY_P (1ull << 0)
#define ENTRY_RW (1ull << 1)
#define ENTRY_US (1ull << 2)
#define ENTRY_PS (1ull << 7)
#define ENTRY_NX (1ull << 63)
#define ENTRY_ADDRESS 0x000ffffffffff000ull /* the architecture's 52 bits, whatever MAXPHYADDR is */

#define ALL_FLAGS (MAPPING_WRITABLE | MAPPING_USER | MAPPING_EXECUTABLE)

struct paging_mode {
	uint8_t levels;
	uint8_t index_bits;
	uint8_t entry_bytes;
	uint8_t va_bits;
	uint8_t large_level;    /* the highest at which PS makes a page */
	uint8_t reserved_level; /* from here up a PS faults */
	uint8_t bare_level;     /* its entries have no permission bits; 0: none */
	uint64_t root_mask;     /* of CR3 */
};

static const struct paging_mode MODE_32BIT = { 2, 10, 4, 32, 2, 3, 0, 0xfffff000 };
static const struct paging_mode MODE_PAE = { 3, 9, 8, 32, 2, 4, 3, 0xffffffe0 };
static const struct paging_mode MODE_4LEVEL = { 4, 9, 8, 48, 3, 4, 0, ENTRY_ADDRESS };
static const struct paging_mode MODE_5LEVEL = { 5, 9, 8, 57, 3, 4, 0, ENTRY_ADDRESS };

struct paging {
	const struct paging_mode *mode; /* NULL: off */
	uint64_t root;
	uint8_t large_level;
	uint64_t nx; /* the bit that forbids execution */
};

enum entry_kind {
	ENTRY_NONE,
	ENTRY_TABLE,
	ENTRY_PAGE,
};

static const struct paging_mode *mode_of(const struct regs *regs, uint64_t cr4)
{
	if (!(cr4 & X86_CR4_PAE))
		return &MODE_32BIT;
	if (!x86_64_long_mode(regs))
		return &MODE_PAE;
	return cr4 & X86_CR4_LA57 ? &MODE_5LEVEL : &MODE_4LEVEL;
}

static bool has_nx(const struct regs *regs, const struct paging_mode *mode)
{
	return mode->entry_bytes == 8 && regs_get_or(regs, X86_EFER, X86_EFER_NXE) & X86_EFER_NXE;
}

static struct err *paging_of(const struct regs *regs, struct paging *ret)
{
	uint64_t cr0, cr3, cr4;
	struct err *e = walk_get_reg(regs, X86_CR0, &cr0);

	if (!e && !(cr0 & X86_CR0_PG)) {
		*ret = (struct paging){ .mode = NULL };
		return NULL;
	}
	if (!e)
		e = walk_get_reg(regs, X86_CR3, &cr3);
	if (!e)
		e = walk_get_reg(regs, X86_CR4, &cr4);
	if (e)
		return e;
	ret->mode = mode_of(regs, cr4);
	ret->root = cr3 & ret->mode->root_mask;
	ret->large_level = ret->mode == &MODE_32BIT && !(cr4 & X86_CR4_PSE) ? 1 : ret->mode->large_level;
	ret->nx = has_nx(regs, ret->mode) ? ENTRY_NX : 0;
	return NULL;
}

/* log2 of the bytes that one entry of a level spans. */
static unsigned level_shift(const struct paging *p, unsigned level)
{
	return PAGE_SHIFT + (level - 1) * p->mode->index_bits;
}

static unsigned level_entries(const struct paging *p, unsigned level)
{
	if (level == p->mode->levels)
		return 1u << (p->mode->va_bits - level_shift(p, level));
	return 1u << p->mode->index_bits;
}

static uint64_t page_address(const struct paging *p, unsigned level, uint64_t entry)
{
	uint64_t address = ALIGN_DOWN(entry & ENTRY_ADDRESS, 1ull << level_shift(p, level));

	/* PSE-36: bits 20:13 of the entry are 39:32 of the address. */
	if (p->mode == &MODE_32BIT && level == 2)
		address |= (entry >> 13 & 0xff) << 32;
	return address;
}

/* *flags are what the levels above allow, then what this one does too. */
static enum entry_kind decode(const struct paging *p, unsigned level, uint64_t entry, uint64_t *ret_gpa,
			      uint32_t *flags)
{
	if (!(entry & ENTRY_P) || (level >= p->mode->reserved_level && entry & ENTRY_PS))
		return ENTRY_NONE;
	if (level != p->mode->bare_level) {
		if (!(entry & ENTRY_RW))
			*flags &= ~MAPPING_WRITABLE;
		if (!(entry & ENTRY_US))
			*flags &= ~MAPPING_USER;
		if (entry & p->nx)
			*flags &= ~MAPPING_EXECUTABLE;
	}
	if (level == 1 || (level <= p->large_level && entry & ENTRY_PS)) {
		*ret_gpa = page_address(p, level, entry);
		return ENTRY_PAGE;
	}
	*ret_gpa = entry & ENTRY_ADDRESS;
	return ENTRY_TABLE;
}

/* Bits above va_bits are copies of the highest one in long mode, and 0 in 32-bit paging. */
static uint64_t canonical(const struct paging *p, uint64_t gva)
{
	unsigned unused = 64 - p->mode->va_bits;

	if (p->mode->va_bits == 32)
		return gva & UINT32_MAX;
	return (uint64_t)((int64_t)(gva << unused) >> unused);
}

static struct err *identity(uint64_t gva, struct mapping *ret)
{
	if (gva > UINT32_MAX)
		return err_new(ERR_UNMAPPED, "address 0x%" PRIx64 " is above 4 GiB, with paging off", gva);
	*ret = (struct mapping){ .bytes = 1ull << 32, .flags = ALL_FLAGS };
	return NULL;
}

/* Looks gva up in one table; moves *table and *flags on to what its entry refers to. */
static struct err *look_up(const struct paging *p, const struct phys_reader *mem, unsigned level,
			   uint64_t gva, uint64_t *table, uint32_t *flags, enum entry_kind *ret)
{
	size_t bytes = p->mode->entry_bytes;
	unsigned index = gva >> level_shift(p, level) & (level_entries(p, level) - 1);
	uint64_t at = *table + index * bytes;
	uint8_t entry[8];
	struct err *e = mem->read(mem->ctx, at, entry, bytes);

	if (e)
		return err_prefix(e, "page table entry at gpa 0x%" PRIx64 " for address 0x%" PRIx64, at, gva);
	*ret = decode(p, level, load_uint(entry, bytes, ORDER_LITTLE), table, flags);
	if (*ret == ENTRY_NONE)
		return err_new(ERR_UNMAPPED,
			       "address 0x%" PRIx64 " is not mapped: level %u entry at gpa 0x%" PRIx64, gva,
			       level, at);
	return NULL;
}

struct err *x86_64_translate(const struct regs *regs, const struct phys_reader *mem, uint64_t gva,
			     struct mapping *ret)
{
	enum entry_kind kind = ENTRY_TABLE;
	uint32_t flags = ALL_FLAGS;
	struct paging p;
	uint64_t gpa;
	unsigned level;
	struct err *e = paging_of(regs, &p);

	if (e)
		return e;
	if (!p.mode)
		return identity(gva, ret);
	if (canonical(&p, gva) != gva)
		return err_new(ERR_UNMAPPED, "address 0x%" PRIx64 " is outside of the %u-bit address space",
			       gva, p.mode->va_bits);
	gpa = p.root;
	for (level = p.mode->levels; !e; level--) {
		e = look_up(&p, mem, level, gva, &gpa, &flags, &kind);
		if (kind == ENTRY_PAGE)
			break;
	}
	if (e)
		return e;
	ret->bytes = 1ull << level_shift(&p, level);
	ret->gva = ALIGN_DOWN(gva, ret->bytes);
	ret->gpa = gpa;
	ret->flags = flags;
	return NULL;
}

/* Everything that the table at gpa maps, from gva on. */
static struct err *walk_table(struct walk *w, const struct paging *p, unsigned level, uint64_t gpa,
			      uint64_t gva, uint32_t flags)
{
	uint8_t table[TABLE_BYTES];
	size_t entry_bytes = p->mode->entry_bytes;
	unsigned shift = level_shift(p, level), n = level_entries(p, level);
	bool have;
	struct err *e = walk_read_table(w, gpa, level, table, n * entry_bytes, &have);

	for (unsigned i = 0; !e && have && i < n; i++) {
		uint64_t entry = load_uint(table + i * entry_bytes, entry_bytes, ORDER_LITTLE);
		struct mapping m = {
			.gva = canonical(p, gva + ((uint64_t)i << shift)),
			.bytes = 1ull << shift,
			.flags = flags,
		};

		switch (decode(p, level, entry, &m.gpa, &m.flags)) {
		case ENTRY_NONE:
			break;
		case ENTRY_PAGE:
			e = walk_map(w, &m);
			break;
		case ENTRY_TABLE:
			e = walk_table(w, p, level - 1, m.gpa, m.gva, m.flags);
			break;
		}
	}
	return e;
}

struct err *x86_64_walk(const struct regs *regs, const struct phys_reader *mem, mapping_fn fn, void *arg)
{
	struct paging p;
	struct walk w;
	struct err *e = paging_of(regs, &p);

	if (e || !p.mode)
		return e;
	walk_init(&w, mem, fn, arg);
	e = walk_table(&w, &p, p.mode->levels, p.root, 0, ALL_FLAGS);
	if (!e)
		e = walk_finish(&w);
	walk_deinit(&w);
	return e;
}
