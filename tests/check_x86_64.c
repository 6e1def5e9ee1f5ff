/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <check.h>
#include <elf.h>
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/walk.h"
#include "arch/x86_64/x86_64.h"
#include "tests/page_tables.h"
#include "tests/suite.h"
#include "tests/text_file.h"

/* ---- page tables built by hand: Intel SDM volume 3, chapter 4 ---- */

#define P 1ull
#define RW 2ull
#define US 4ull
#define PS (1ull << 7)
#define NX (1ull << 63)
#define RWU (P | RW | US)

#define CR0_ON (X86_CR0_PE | X86_CR0_PG)
#define LONG (X86_EFER_LME | X86_EFER_LMA)
#define LONG_NX (LONG | X86_EFER_NXE)
#define ALL (MAPPING_WRITABLE | MAPPING_USER | MAPPING_EXECUTABLE)

static void poke(struct page_tables *t, uint64_t at, uint64_t value, size_t bytes)
{
	page_tables_poke(t, at, value, bytes, ORDER_LITTLE);
}

static struct regs *vcpu(uint64_t cr0, uint64_t cr3, uint64_t cr4, uint64_t efer)
{
	struct regs *regs = regs_create(&arch_x86_64, ORDER_LITTLE);

	regs_set(regs, X86_CR0, cr0);
	regs_set(regs, X86_CR3, cr3);
	regs_set(regs, X86_CR4, cr4);
	regs_set(regs, X86_EFER, efer);
	return regs;
}

/* ---- translate ---- */

#define LA48 0xffff888123456789ull /* entries 0x111, 4, 0x11a, 0x56 */
#define LA57_LOW 0x00a5888123456789ull
#define LA32 0xc1403abcull

#define NO_ERROR (-1)

struct entry {
	uint64_t table, index, value;
};

struct translation {
	const char *name;
	uint64_t cr3, cr4, efer;
	struct entry entries[5];
	uint64_t gva;
	int error;
	struct mapping want;
};

#define CR4_4 X86_CR4_PAE
#define CR4_5 (X86_CR4_PAE | X86_CR4_LA57)

static const struct translation TRANSLATIONS[] = {
	{ "4-level, 4 KiB", 0x1000, CR4_4, LONG_NX,
	  { { 0x1000, 0x111, 0x2000 | RWU }, { 0x2000, 4, 0x3000 | RWU }, { 0x3000, 0x11a, 0x4000 | RWU },
	    { 0x4000, 0x56, 0x7654321000 | RWU } },
	  LA48, NO_ERROR, { 0xffff888123456000, 0x7654321000, 0x1000, ALL } },
	{ "4-level, 2 MiB, its PAT bit is no address", 0x1000, CR4_4, LONG_NX,
	  { { 0x1000, 0x111, 0x2000 | RWU }, { 0x2000, 4, 0x3000 | RWU },
	    { 0x3000, 0x11a, 0x7654200000 | 1 << 12 | PS | RWU } },
	  LA48, NO_ERROR, { 0xffff888123400000, 0x7654200000, 0x200000, ALL } },
	{ "4-level, 1 GiB", 0x1000, CR4_4, LONG_NX,
	  { { 0x1000, 0x111, 0x2000 | RWU }, { 0x2000, 4, 0x7640000000 | 1 << 12 | PS | RWU } },
	  LA48, NO_ERROR, { 0xffff888100000000, 0x7640000000, 0x40000000, ALL } },
	{ "PCID and the bits above 51 are no address", 0x8000000000001fff, CR4_4, LONG_NX,
	  { { 0x1000, 0x111, 0x2000 | 0x7ffull << 52 | RWU }, { 0x2000, 4, 0x000fffffc0000000 | PS | RWU } },
	  LA48, NO_ERROR, { 0xffff888100000000, 0x000fffffc0000000, 0x40000000, ALL } },
	{ "read-only at the top", 0x1000, CR4_4, LONG_NX,
	  { { 0x1000, 0x111, 0x2000 | P | US }, { 0x2000, 4, 0x40000000 | PS | RWU } },
	  LA48, NO_ERROR, { 0xffff888100000000, 0x40000000, 0x40000000, MAPPING_USER | MAPPING_EXECUTABLE } },
	{ "supervisor, no execution", 0x1000, CR4_4, LONG_NX,
	  { { 0x1000, 0x111, 0x2000 | RWU | NX }, { 0x2000, 4, 0x40000000 | PS | P | RW } },
	  LA48, NO_ERROR, { 0xffff888100000000, 0x40000000, 0x40000000, MAPPING_WRITABLE } },
	{ "NX without EFER.NXE", 0x1000, CR4_4, LONG,
	  { { 0x1000, 0x111, 0x2000 | RWU }, { 0x2000, 4, 0x40000000 | PS | RWU | NX } },
	  LA48, NO_ERROR, { 0xffff888100000000, 0x40000000, 0x40000000, ALL } },
	{ "5-level, 4 KiB", 0x1000, CR4_5, LONG_NX,
	  { { 0x1000, 0x0a5, 0x2000 | RWU }, { 0x2000, 0x111, 0x3000 | RWU }, { 0x3000, 4, 0x4000 | RWU },
	    { 0x4000, 0x11a, 0x5000 | RWU }, { 0x5000, 0x56, 0x9000 | RWU } },
	  LA57_LOW, NO_ERROR, { 0x00a5888123456000, 0x9000, 0x1000, ALL } },
	{ "5-level, 1 GiB", 0x1000, CR4_5, LONG_NX,
	  { { 0x1000, 0x0a5, 0x2000 | RWU }, { 0x2000, 0x111, 0x3000 | RWU },
	    { 0x3000, 4, 0x80000000 | PS | RWU } },
	  LA57_LOW, NO_ERROR, { 0x00a5888100000000, 0x80000000, 0x40000000, ALL } },
	/* LA32 in PAE: entries 3, 0xa, 3. The PDPT stands at a multiple of 32. */
	{ "PAE, 4 KiB, bare PDPTE", 0x1fe0, CR4_4, X86_EFER_NXE,
	  { { 0x1fe0, 3, 0x3000 | P }, { 0x3000, 0xa, 0x4000 | RWU }, { 0x4000, 3, 0xf12345000 | RWU | NX } },
	  LA32, NO_ERROR, { 0xc1403000, 0xf12345000, 0x1000, MAPPING_WRITABLE | MAPPING_USER } },
	{ "PAE, 2 MiB", 0x1fe0, CR4_4, 0,
	  { { 0x1fe0, 3, 0x3000 | P }, { 0x3000, 0xa, 0xf12200000 | PS | RWU } },
	  LA32, NO_ERROR, { 0xc1400000, 0xf12200000, 0x200000, ALL } },
	/* LA32 in 32-bit paging: entries 0x305, 3. */
	{ "32-bit, 4 KiB", 0x1018, X86_CR4_PSE, 0,
	  { { 0x1000, 0x305, 0x3000 | RWU }, { 0x3000, 3, 0xfedcb000 | P | US } },
	  LA32, NO_ERROR, { 0xc1403000, 0xfedcb000, 0x1000, MAPPING_USER | MAPPING_EXECUTABLE } },
	{ "32-bit, 4 MiB", 0x1000, X86_CR4_PSE, 0,
	  { { 0x1000, 0x305, 0xfec00000 | PS | RWU } },
	  LA32, NO_ERROR, { 0xc1400000, 0xfec00000, 0x400000, ALL } },
	{ "32-bit, PSE-36", 0x1000, X86_CR4_PSE, 0,
	  { { 0x1000, 0x305, 0x00400000 | 0xa5 << 13 | PS | RWU } },
	  LA32, NO_ERROR, { 0xc1400000, 0xa500400000, 0x400000, ALL } },
	{ "32-bit, PS without CR4.PSE is a table", 0x1000, 0, 0,
	  { { 0x1000, 0x305, 0x3000 | PS | RWU }, { 0x3000, 3, 0x5000 | RWU } },
	  LA32, NO_ERROR, { 0xc1403000, 0x5000, 0x1000, ALL } },
	{ "the last page of the lower half", 0x1000, CR4_4, LONG,
	  { { 0x1000, 255, 0x2000 | RWU }, { 0x2000, 511, 0x40000000 | PS | RWU } },
	  0x00007fffffffffff, NO_ERROR, { 0x00007fffc0000000, 0x40000000, 0x40000000, ALL } },
	{ "the first page of the upper half", 0x1000, CR4_4, LONG,
	  { { 0x1000, 256, 0x2000 | RWU }, { 0x2000, 0, 0x40000000 | PS | RWU } },
	  0xffff800000000000, NO_ERROR, { 0xffff800000000000, 0x40000000, 0x40000000, ALL } },
	{ "the last page of all", 0x1000, CR4_5, LONG,
	  { { 0x1000, 511, 0x2000 | RWU }, { 0x2000, 511, 0x3000 | RWU },
	    { 0x3000, 511, 0x40000000 | PS | RWU } },
	  UINT64_MAX, NO_ERROR, { 0xffffffffc0000000, 0x40000000, 0x40000000, ALL } },

	{ "above the lower half", 0x1000, CR4_4, LONG, { { 0 } }, 0x0000800000000000, ERR_UNMAPPED, { 0 } },
	{ "below the upper half", 0x1000, CR4_4, LONG, { { 0 } }, 0xffff7fffffffffff, ERR_UNMAPPED, { 0 } },
	{ "above the 57-bit lower half", 0x1000, CR4_5, LONG, { { 0 } }, 0x0100000000000000, ERR_UNMAPPED, { 0 } },
	{ "below the 57-bit upper half", 0x1000, CR4_5, LONG, { { 0 } }, 0xfeffffffffffffff, ERR_UNMAPPED, { 0 } },
	{ "above 4 GiB in PAE", 0x1000, CR4_4, 0, { { 0x1000, 0, 0x2000 | P }, { 0x2000, 0, PS | RWU } },
	  0x100000000, ERR_UNMAPPED, { 0 } },
	{ "above 4 GiB in 32-bit", 0x1000, X86_CR4_PSE, 0, { { 0x1000, 0, PS | RWU } }, 0x100000000,
	  ERR_UNMAPPED, { 0 } },
	{ "PS in a PML4 entry", 0x1000, CR4_4, LONG,
	  { { 0x1000, 0x111, 0x2000 | PS | RWU }, { 0x2000, 4, 0x40000000 | PS | RWU } },
	  LA48, ERR_UNMAPPED, { 0 } },
	{ "PS in a PML5 entry", 0x1000, CR4_5, LONG,
	  { { 0x1000, 0x0a5, 0x2000 | PS | RWU }, { 0x2000, 0x111, 0x3000 | RWU },
	    { 0x3000, 4, 0x40000000 | PS | RWU } },
	  LA57_LOW, ERR_UNMAPPED, { 0 } },
	{ "PS in the PML4 entry of 5-level", 0x1000, CR4_5, LONG,
	  { { 0x1000, 0x0a5, 0x2000 | RWU }, { 0x2000, 0x111, 0x3000 | PS | RWU },
	    { 0x3000, 4, 0x40000000 | PS | RWU } },
	  LA57_LOW, ERR_UNMAPPED, { 0 } },
};

static size_t entry_bytes(const struct translation *c)
{
	return c->cr4 & X86_CR4_PAE ? 8 : 4;
}

static void build(struct page_tables *t, const struct translation *c, size_t n)
{
	for (size_t i = 0; i < n && c->entries[i].table; i++)
		poke(t, c->entries[i].table + c->entries[i].index * entry_bytes(c), c->entries[i].value,
		     entry_bytes(c));
}

static struct err *translate(struct page_tables *t, const struct translation *c, struct mapping *ret)
{
	struct phys_reader mem = page_tables_reader(t);
	struct regs *regs = vcpu(CR0_ON, c->cr3, c->cr4, c->efer);
	struct err *e = arch_x86_64.translate(regs, &mem, c->gva, ret);

	regs_destroy(regs);
	return e;
}

START_TEST(translate_every_mode)
{
	const struct translation *c = &TRANSLATIONS[_i];
	struct page_tables *t = page_tables_create();
	struct mapping got;
	struct err *e;

	build(t, c, ARRAY_LEN(c->entries));
	e = translate(t, c, &got);
	if (c->error == NO_ERROR) {
		ck_assert_msg(!e, "%s: %s", c->name, e ? err_text(e) : "");
		assert_mapping(&got, &c->want, c->name);
	} else {
		ck_assert_msg(e && (int)err_code(e) == c->error, "%s", c->name);
	}
	err_destroy(e);
	free(t);
}
END_TEST

/* Breaks each translation above at each of its levels: absent entry, then absent table. */
START_TEST(translate_broken_at_every_level)
{
	const struct translation *c = &TRANSLATIONS[_i];

	for (size_t n = 0; c->error == NO_ERROR && n < 5 && c->entries[n].table; n++) {
		struct page_tables *t = page_tables_create();
		struct mapping got;
		char table[32];
		struct err *e;

		build(t, c, n);
		e = translate(t, c, &got);
		ck_assert_msg(e && err_code(e) == ERR_UNMAPPED, "%s: no table %zu", c->name, n);
		snprintf(table, sizeof(table), "0x%llx",
			 (unsigned long long)(c->entries[n].table + c->entries[n].index * entry_bytes(c)));
		ck_assert_ptr_nonnull(strstr(err_text(e), table));
		err_destroy(e);

		build(t, c, n + 1);
		poke(t, c->entries[n].table + c->entries[n].index * entry_bytes(c), c->entries[n].value & ~P,
		     entry_bytes(c));
		e = translate(t, c, &got);
		ck_assert_msg(e && err_code(e) == ERR_UNMAPPED, "%s: no entry %zu", c->name, n);
		err_destroy(e);
		free(t);
	}
}
END_TEST

START_TEST(translate_with_paging_off)
{
	static const struct mapping WHOLE = { 0, 0, 1ull << 32, ALL };
	struct regs *regs = vcpu(X86_CR0_PE, 0, 0, 0);
	struct phys_reader mem = { NULL, NULL };
	struct mapping got;
	struct err *e;

	regs_forget(regs, X86_CR3);
	ck_assert_ptr_null(arch_x86_64.translate(regs, &mem, 0xfffffff0, &got));
	assert_mapping(&got, &WHOLE, "identity");
	e = arch_x86_64.translate(regs, &mem, 0x100000000, &got);
	ck_assert(e && err_code(e) == ERR_UNMAPPED);
	err_destroy(e);
	regs_destroy(regs);
}
END_TEST

static const unsigned NEEDED[] = { X86_CR0, X86_CR3, X86_CR4 };

START_TEST(translate_needs_control_registers)
{
	struct regs *regs = vcpu(CR0_ON, 0x1000, CR4_4, LONG);
	struct phys_reader mem = { NULL, NULL };
	struct mapping got;
	struct err *e;

	regs_forget(regs, NEEDED[_i]);
	e = arch_x86_64.translate(regs, &mem, 0, &got);
	ck_assert(e && err_code(e) == ERR_UNKNOWN);
	ck_assert_ptr_nonnull(strstr(err_text(e), arch_x86_64.regs[NEEDED[_i]].name));
	err_destroy(e);
	e = arch_x86_64.walk(regs, &mem, NULL, NULL);
	ck_assert(e && err_code(e) == ERR_UNKNOWN);
	err_destroy(e);
	regs_destroy(regs);
}
END_TEST

START_TEST(translate_in_a_core_without_efer)
{
	const struct translation *c = &TRANSLATIONS[5];
	struct regs *regs = vcpu(CR0_ON, c->cr3, c->cr4, 0);
	struct page_tables *t = page_tables_create();
	struct phys_reader mem = page_tables_reader(t);
	struct mapping got;

	build(t, c, ARRAY_LEN(c->entries));
	regs_forget(regs, X86_EFER);
	regs_set(regs, X86_RIP, LA48);
	ck_assert_ptr_null(arch_x86_64.translate(regs, &mem, c->gva, &got));
	assert_mapping(&got, &c->want, c->name);
	free(t);
	regs_destroy(regs);
}
END_TEST

/* ---- walk ---- */

static struct err *walk(struct page_tables *t, uint64_t cr3, uint64_t cr4, uint64_t efer, struct walked *c)
{
	struct phys_reader mem = page_tables_reader(t);
	struct regs *regs = vcpu(CR0_ON, cr3, cr4, efer);
	struct err *e = arch_x86_64.walk(regs, &mem, walked_add, c);

	regs_destroy(regs);
	return e;
}

static void assert_walk(struct page_tables *t, uint64_t cr3, uint64_t cr4, uint64_t efer,
			const struct mapping *want, size_t n)
{
	struct walked c = { 0 };

	ck_assert_ptr_null(walk(t, cr3, cr4, efer, &c));
	for (size_t i = 0; i < n && i < c.n; i++)
		assert_mapping(&c.m[i], &want[i], "walk");
	ck_assert_uint_eq(c.n, n);
}

/* Both halves, every page size, merging across tables, flags of upper levels. */
START_TEST(walk_4level)
{
	static const struct mapping WANT[] = {
		{ 0, 0x100000, 0x2000, ALL },
		{ 0x3000, 0x103000, 0x1000, MAPPING_USER | MAPPING_EXECUTABLE },
		{ 0x1ff000, 0x3ff000, 0x201000, ALL }, /* the last of a PT goes on in a 2 MiB page */
		{ 0x40000000, 0xc0000000, 0x40000000, MAPPING_WRITABLE | MAPPING_EXECUTABLE },
		{ 0x00007fffc0000000, 0x40000000, 0x40000000, ALL },
		/* It goes on in gpa, but the hole of the address space is between them. */
		{ 0xffff800000000000, 0x80000000, 0x40000000, ALL },
		{ 0xffffffffc0000000, 0x40000000, 0x40000000, ALL }, /* its end is 2^64 */
	};
	struct page_tables *t = page_tables_create();

	poke(t, 0x1000, 0x2000 | RWU, 8);
	poke(t, 0x1000 + 255 * 8, 0x5000 | RWU, 8);
	poke(t, 0x1000 + 256 * 8, 0x6000 | RWU, 8);
	poke(t, 0x1000 + 257 * 8, 0xdead000 | RWU, 8); /* no such memory */
	poke(t, 0x1000 + 511 * 8, 0x5000 | RWU, 8);
	poke(t, 0x2000, 0x3000 | RWU, 8);
	poke(t, 0x2000 + 8, 0xc0000000 | PS | P | RW, 8);
	poke(t, 0x3000, 0x4000 | RWU, 8);
	poke(t, 0x3000 + 8, 0x400000 | PS | RWU, 8);
	poke(t, 0x4000, 0x100000 | RWU, 8);
	poke(t, 0x4000 + 8, 0x101000 | RWU, 8);
	poke(t, 0x4000 + 3 * 8, 0x103000 | P | US, 8);
	poke(t, 0x4000 + 511 * 8, 0x3ff000 | RWU, 8);
	poke(t, 0x5000 + 511 * 8, 0x40000000 | PS | RWU, 8);
	poke(t, 0x6000, 0x80000000 | PS | RWU, 8);
	assert_walk(t, 0x1000, CR4_4, LONG, WANT, ARRAY_LEN(WANT));
	free(t);
}
END_TEST

START_TEST(walk_5level)
{
	static const struct mapping WANT[] = {
		{ 0x00ff800000000000, 0x40000000, 0x40000000, ALL },
		{ 0xff00000000000000, 0x80000000, 0x40000000, ALL },
	};
	struct page_tables *t = page_tables_create();

	poke(t, 0x1000 + 255 * 8, 0x2000 | RWU, 8);
	poke(t, 0x1000 + 256 * 8, 0x3000 | RWU, 8);
	poke(t, 0x2000 + 256 * 8, 0x4000 | RWU, 8);
	poke(t, 0x3000, 0x5000 | RWU, 8);
	poke(t, 0x4000, 0x40000000 | PS | RWU, 8);
	poke(t, 0x5000, 0x80000000 | PS | RWU, 8);
	assert_walk(t, 0x1000, CR4_5, LONG, WANT, ARRAY_LEN(WANT));
	free(t);
}
END_TEST

START_TEST(walk_pae)
{
	static const struct mapping WANT[] = {
		{ 0x3fe00000, 0x200000, 0x400000, ALL }, /* merged across PDPTEs */
		{ 0xc0000000, 0x7000, 0x1000, MAPPING_EXECUTABLE },
	};
	struct page_tables *t = page_tables_create();

	poke(t, 0x1020, 0x2000 | P, 8);
	poke(t, 0x1028, 0x3000 | P, 8);
	poke(t, 0x1038, 0x4000 | P, 8);
	poke(t, 0x1040, 0x2000 | P, 8); /* behind the PDPT's 4 entries */
	poke(t, 0x2000 + 511 * 8, 0x200000 | PS | RWU, 8);
	poke(t, 0x3000, 0x400000 | PS | RWU, 8);
	poke(t, 0x4000, 0x5000 | P, 8);
	poke(t, 0x5000, 0x7000 | RWU, 8);
	assert_walk(t, 0x1020, CR4_4, 0, WANT, ARRAY_LEN(WANT));
	free(t);
}
END_TEST

START_TEST(walk_32bit)
{
	static const struct mapping WANT[] = {
		{ 0x400000, 0xfd00800000, 0x400000, ALL }, /* PSE-36 has bits 39:32 only */
		{ 0xfffff000, 0xfedcb000, 0x1000, MAPPING_WRITABLE | MAPPING_EXECUTABLE },
	};
	struct page_tables *t = page_tables_create();

	poke(t, 0x1000 + 4, 0x00800000 | 0xfd << 13 | 1 << 21 | PS | RWU, 4);
	poke(t, 0x1000 + 1023 * 4, 0x2000 | P | RW, 4);
	poke(t, 0x2000 + 1023 * 4, 0xfedcb000 | RWU, 4);
	assert_walk(t, 0x1000, X86_CR4_PSE, 0, WANT, ARRAY_LEN(WANT));
	free(t);
}
END_TEST

/* A recursive entry makes windows onto the tables of each level. */
START_TEST(walk_recursive_entry)
{
	const uint64_t window = 0xffff000000000000 | 510ull << 39;
	const struct mapping want[] = {
		{ 0, 0x9000, 0x1000, ALL },
		{ window, 0x4000, 0x1000, ALL },
		{ window | 510ull << 30, 0x3000, 0x1000, ALL },
		{ window | 510ull << 30 | 510ull << 21, 0x2000, 0x1000, ALL },
		{ window | 510ull << 30 | 510ull << 21 | 510ull << 12, 0x1000, 0x1000, ALL },
	};
	struct page_tables *t = page_tables_create();

	poke(t, 0x1000, 0x2000 | RWU, 8);
	poke(t, 0x1000 + 510 * 8, 0x1000 | RWU, 8);
	poke(t, 0x2000, 0x3000 | RWU, 8);
	poke(t, 0x3000, 0x4000 | RWU, 8);
	poke(t, 0x4000, 0x9000 | RWU, 8);
	assert_walk(t, 0x1000, CR4_4, LONG, want, ARRAY_LEN(want));
	free(t);
}
END_TEST

/* Every entry refers to its own table: 2^45 pages, each the table itself. */
START_TEST(walk_ends_on_hostile_tables)
{
	struct page_tables *t = page_tables_create();
	struct walked c = { 0 };

	for (unsigned i = 0; i < 512; i++)
		poke(t, 0x1000 + i * 8, 0x1000 | RWU, 8);
	ck_assert_ptr_null(walk(t, 0x1000, CR4_5, LONG, &c));
	ck_assert_uint_le(t->reads, 5 + WALK_MAX_REPEATS);
	ck_assert_uint_le(c.n, 512 * (1 + WALK_MAX_REPEATS));
	ck_assert_uint_gt(c.n, 512);
	free(t);
}
END_TEST

START_TEST(walk_without_paging_or_tables)
{
	struct regs *regs = vcpu(X86_CR0_PE, 0, 0, 0);
	struct phys_reader mem = { NULL, NULL };
	struct page_tables *t = page_tables_create();

	ck_assert_ptr_null(arch_x86_64.walk(regs, &mem, NULL, NULL));
	assert_walk(t, 0x1000, CR4_4, LONG, NULL, 0);
	regs_destroy(regs);
	free(t);
}
END_TEST

START_TEST(walk_ends_with_the_callbacks_error)
{
	struct page_tables *t = page_tables_create();
	struct walked c = { .fail_at = _i + 1 };
	struct err *e;

	poke(t, 0x1000, 0x2000 | RWU, 8);
	poke(t, 0x2000, 0x40000000 | PS | RWU, 8);
	poke(t, 0x2000 + 8, 0x40000000 | PS | RWU, 8);
	e = walk(t, 0x1000, CR4_4, LONG, &c);
	ck_assert(e && err_code(e) == ERR_CANCELLED);
	ck_assert_uint_eq(c.n, c.fail_at);
	err_destroy(e);
	free(t);
}
END_TEST

/* ---- mode, class and machine ---- */

struct inference {
	uint64_t cr0, cr4, cs_attr, rip, idtr_base;
	bool long_mode;
};

static const struct inference INFERENCES[] = {
	{ CR0_ON, CR4_4, 1 << 21, 0x1000, 0x1000, true },             /* CS.L */
	{ CR0_ON, CR4_4, 1 << 22, 0x1000, 0x1000, false },            /* CS.D: PAE */
	{ CR0_ON, CR4_4, 1 << 22, 0x1000, 0xfffffe0000000000, true }, /* compatibility mode */
	{ CR0_ON, CR4_4, 0, 0xffffffff81000000, 0x1000, true },
	{ CR0_ON, 0, 1 << 21, 0x1000, 0x1000, false },
	{ X86_CR0_PE, CR4_4, 1 << 21, 0x1000, 0x1000, false },
	{ 0, 0, 0, 0xfff0, 0, false },
};

START_TEST(long_mode_is_inferred)
{
	const struct inference *c = &INFERENCES[_i];
	struct regs *regs = vcpu(c->cr0, 0x1000, c->cr4, 0);

	ck_assert(!x86_64_long_mode(regs));
	regs_set(regs, X86_EFER, LONG);
	ck_assert(x86_64_long_mode(regs));
	regs_forget(regs, X86_EFER);
	regs_set(regs, X86_CS_ATTR, c->cs_attr);
	regs_set(regs, X86_RIP, c->rip);
	regs_set(regs, X86_IDTR_BASE, c->idtr_base);
	ck_assert(x86_64_long_mode(regs) == c->long_mode);
	regs_destroy(regs);
}
END_TEST

START_TEST(long_mode_of_a_bare_prstatus)
{
	struct regs *regs = regs_create(&arch_x86_64, ORDER_LITTLE);

	regs_set(regs, X86_RIP, 0x1000);
	ck_assert(!x86_64_long_mode(regs));
	regs_set(regs, X86_R15, 0);
	ck_assert(x86_64_long_mode(regs));
	regs_destroy(regs);
}
END_TEST

struct elf_case {
	uint64_t efer0, efer1, max_end;
	int elf_class;
	uint16_t e_machine;
};

static const struct elf_case ELF_CASES[] = {
	{ 0, 0, 0x80000000, ELFCLASS32, EM_386 },
	{ 0, 0, 0x100000000, ELFCLASS32, EM_386 }, /* a ROM that ends at 4 GiB fits */
	{ 0, 0, 0x100000001, ELFCLASS64, EM_386 },
	{ 0, 0, 0, ELFCLASS64, EM_386 }, /* 2^64 */
	{ X86_EFER_LME, 0, 0x80000000, ELFCLASS32, EM_386 },
	{ LONG, 0, 0x80000000, ELFCLASS64, EM_X86_64 },
	{ 0, LONG, 0x80000000, ELFCLASS64, EM_X86_64 },
};

START_TEST(elf_class_and_machine)
{
	const struct elf_case *c = &ELF_CASES[_i];
	struct regs *vcpu0 = vcpu(CR0_ON, 0, CR4_4, c->efer0), *vcpu1 = vcpu(CR0_ON, 0, CR4_4, c->efer1);
	const struct regs *vcpus[] = { vcpu0, vcpu1 };

	ck_assert_int_eq(arch_x86_64.elf_class(vcpus, 2, c->max_end), c->elf_class);
	ck_assert_uint_eq(arch_x86_64.elf_machine(vcpus, 2), c->e_machine);
	ck_assert_uint_eq(arch_x86_64.elf_flags(ORDER_LITTLE), 0);
	ck_assert_int_eq(arch_x86_64.order(vcpu0), ORDER_LITTLE);
	regs_destroy(vcpu0);
	regs_destroy(vcpu1);
}
END_TEST

START_TEST(attr_is_a_descriptors_second_dword)
{
	static const struct {
		uint32_t packed;
		struct x86_64_attr attr;
	} CASES[] = {
		{ 0x00a09b00, { 11, 1, 0, 1, 0, 1, 0, 1 } }, /* 64-bit code */
		{ 0x00c0f300, { 3, 1, 3, 1, 0, 0, 1, 1 } },  /* user data */
		{ 0x00008b00, { 11, 0, 0, 1, 0, 0, 0, 0 } }, /* busy TSS */
		{ 0x00108200, { 2, 0, 0, 1, 1, 0, 0, 0 } },  /* LDT, AVL */
	};
	struct x86_64_attr unusable = { 3, 1, 0, 0, 0, 0, 1, 1 };

	for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
		struct x86_64_attr back = x86_64_attr_unpack(CASES[i].packed);

		ck_assert_uint_eq(x86_64_attr_pack(&CASES[i].attr), CASES[i].packed);
		ck_assert_mem_eq(&back, &CASES[i].attr, sizeof(back));
	}
	ck_assert_uint_eq(x86_64_attr_pack(&unusable), 0);
}
END_TEST

/* ---- x87, SSE and AVX state ---- */

/* Intel SDM volume 1, table 10-2, and 13.4 for what follows. All is little-endian. */
struct xsave {
	uint16_t fcw, fsw;
	uint8_t ftw, reserved0;
	uint16_t fop;
	uint32_t fip;
	uint16_t fcs, reserved1;
	uint32_t fdp;
	uint16_t fds, reserved2;
	uint32_t mxcsr, mxcsr_mask;
	uint8_t st[8][16];
	uint8_t xmm[16][16];
	uint8_t reserved3[48];
	uint64_t sw_xcr0;
	uint8_t sw_rest[40];
	uint64_t xstate_bv;
	uint8_t header[56];
	uint8_t ymmh[16][16];
};

_Static_assert(offsetof(struct xsave, sw_xcr0) == 464, "FXSAVE's software bytes");
_Static_assert(offsetof(struct xsave, xstate_bv) == X86_FXSAVE_BYTES, "FXSAVE's end");
_Static_assert(offsetof(struct xsave, ymmh) == 576, "CPUID.(EAX=0DH, ECX=2):EBX");
_Static_assert(sizeof(struct xsave) == X86_XSAVE_BYTES, "XSAVE's end");

/* SDM volume 1, 8.2.2 "x87 FPU Data Types": significand, then sign and exponent. */
static const uint8_t ST_ONE[10] = { [7] = 0x80, 0xff, 0x3f };
static const uint8_t ST_ZERO[10] = { 0 };
static const uint8_t ST_MINUS_ZERO[10] = { [9] = 0x80 };
static const uint8_t ST_DENORMAL[10] = { 1 };
static const uint8_t ST_INFINITY[10] = { [7] = 0x80, 0xff, 0x7f };
static const uint8_t ST_NAN[10] = { [7] = 0xc0, 0xff, 0xff };
static const uint8_t ST_UNNORMAL[10] = { [7] = 0x40, 0xff, 0x3f };

struct tag_case {
	const uint8_t *st0, *st1;
	uint8_t abridged;
	unsigned top;
	uint16_t ftag;
};

static const struct tag_case TAG_CASES[] = {
	{ ST_ONE, ST_ONE, 0x00, 0, 0xffff },
	{ ST_ONE, ST_ZERO, 0x80, 7, 0x3fff },       /* R7 is ST(0): valid */
	{ ST_ZERO, ST_ONE, 0x80, 7, 0x7fff },       /* zero */
	{ ST_MINUS_ZERO, ST_ONE, 0x80, 7, 0x7fff },
	{ ST_DENORMAL, ST_ONE, 0x80, 7, 0xbfff },   /* special */
	{ ST_INFINITY, ST_ONE, 0x80, 7, 0xbfff },
	{ ST_NAN, ST_ONE, 0x80, 7, 0xbfff },
	{ ST_UNNORMAL, ST_ONE, 0x80, 7, 0xbfff },
	{ ST_ZERO, ST_NAN, 0xc0, 6, 0x9fff },       /* R6 is ST(0), R7 ST(1) */
	{ ST_ONE, ST_ZERO, 0x03, 0, 0xfff4 },       /* R0 is ST(0), R1 ST(1) */
	{ ST_ONE, ST_ZERO, 0x81, 7, 0x3ffd },       /* R7 is ST(0), R0 ST(1) */
};

START_TEST(ftag_of_both_forms)
{
	const struct tag_case *c = &TAG_CASES[_i];
	uint8_t st[8][16] = { 0 };

	memcpy(st[0], c->st0, 10);
	memcpy(st[1], c->st1, 10);
	ck_assert_uint_eq(x86_64_ftag_expand(c->abridged, c->top << 11, st[0], sizeof(st[0])), c->ftag);
	ck_assert_uint_eq(x86_64_ftag_abridge(c->ftag), c->abridged);
}
END_TEST

static struct xsave sample_xsave(void)
{
	struct xsave x = {
		.fcw = htole16(0x27f), .fsw = htole16(7 << 11 | 0x41), .ftw = 0x80, .fop = htole16(0x5dd),
		.fip = htole32(0x11223344), .fcs = htole16(0x33),
		.fdp = htole32(0x55667788), .fds = htole16(0x2b),
		.mxcsr = htole32(0x1fa0), .mxcsr_mask = htole32(0x2ffff),
		.xstate_bv = htole64(X86_XSTATE_X87 | X86_XSTATE_SSE | X86_XSTATE_AVX),
	};

	memcpy(x.st[0], ST_ONE, 10);
	for (unsigned i = 0; i < 16; i++) {
		memset(x.xmm[i], 0x10 + i, 16);
		memset(x.ymmh[i], 0xe0 + i, 16);
	}
	return x;
}

static void assert_sample(const struct regs *regs, const struct xsave *x)
{
	static const struct {
		unsigned reg;
		uint64_t value;
	} WANT[] = {
		{ X86_FCTRL, 0x27f }, { X86_FSTAT, 7 << 11 | 0x41 }, { X86_FTAG, 0x3fff }, { X86_FOP, 0x5dd },
		{ X86_FIOFF, 0x11223344 }, { X86_FISEG, 0x33 }, { X86_FOOFF, 0x55667788 }, { X86_FOSEG, 0x2b },
		{ X86_MXCSR, 0x1fa0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(WANT); i++)
		ck_assert_msg(regs_get_or(regs, WANT[i].reg, ~0ull) == WANT[i].value, "%s",
			      arch_x86_64.regs[WANT[i].reg].name);
	for (unsigned i = 0; i < 8; i++)
		ck_assert_mem_eq(regs_bytes(regs, X86_ST0 + i), x->st[i], 10);
	for (unsigned i = 0; i < 16; i++)
		ck_assert_mem_eq(regs_bytes(regs, X86_XMM0 + i), x->xmm[i], 16);
}

START_TEST(fxsave_both_ways)
{
	struct xsave x = sample_xsave(), back;
	struct regs *regs = regs_create(&arch_x86_64, ORDER_LITTLE);

	x86_64_fxsave_put(regs, (uint8_t *)&x);
	assert_sample(regs, &x);
	ck_assert_ptr_null(regs_bytes(regs, X86_YMM0H));

	memset(&back, 0x55, sizeof(back));
	x86_64_fxsave_get(regs, (uint8_t *)&back);
	ck_assert_mem_eq(&back.fcw, &x.fcw, 5);
	ck_assert_uint_eq(back.reserved0, 0x55);
	ck_assert_mem_eq(&back.fop, &x.fop, 8);
	ck_assert_uint_eq(back.mxcsr_mask, 0x55555555);
	ck_assert_uint_eq(back.st[7][10], 0x55);
	ck_assert_mem_eq(back.xmm, x.xmm, sizeof(x.xmm));
	ck_assert_uint_eq(back.sw_xcr0, 0x5555555555555555);
	regs_destroy(regs);
}
END_TEST

START_TEST(fxsave_of_unknown_registers)
{
	struct regs *regs = regs_create(&arch_x86_64, ORDER_LITTLE);
	struct xsave x = sample_xsave(), before = x;

	x86_64_fxsave_get(regs, (uint8_t *)&x);
	ck_assert_mem_eq(&x, &before, sizeof(x));
	x86_64_xsave_get(regs, (uint8_t *)&x);
	ck_assert_mem_eq(&x, &before, sizeof(x));
	regs_destroy(regs);
}
END_TEST

START_TEST(xsave_both_ways)
{
	struct xsave x = sample_xsave(), back = { .xstate_bv = htole64(1 << 9) };
	struct regs *regs = regs_create(&arch_x86_64, ORDER_LITTLE);

	x86_64_xsave_put(regs, (uint8_t *)&x);
	assert_sample(regs, &x);
	for (unsigned i = 0; i < 16; i++)
		ck_assert_mem_eq(regs_bytes(regs, X86_YMM0H + i), x.ymmh[i], 16);
	x86_64_xsave_get(regs, (uint8_t *)&back);
	ck_assert_uint_eq(le64toh(back.xstate_bv), 1 << 9 | 7); /* PKRU's bit is not ours */
	back.xstate_bv = x.xstate_bv;
	back.mxcsr_mask = x.mxcsr_mask;
	ck_assert_mem_eq(&back, &x, sizeof(x));
	regs_destroy(regs);
}
END_TEST

/* SDM 13.6: what a clear bit of XSTATE_BV stands for. */
START_TEST(xsave_initial_components)
{
	struct xsave x = sample_xsave();
	struct regs *regs = regs_create(&arch_x86_64, ORDER_LITTLE);

	x.xstate_bv = htole64(_i);
	x86_64_xsave_put(regs, (uint8_t *)&x);
	ck_assert_uint_eq(regs_get_or(regs, X86_FCTRL, 0), _i & X86_XSTATE_X87 ? 0x27f : 0x37f);
	ck_assert_uint_eq(regs_get_or(regs, X86_FTAG, 0), _i & X86_XSTATE_X87 ? 0x3fff : 0xffff);
	ck_assert_uint_eq(regs_get_or(regs, X86_FOP, 1), _i & X86_XSTATE_X87 ? 0x5dd : 0);
	ck_assert_uint_eq(regs_get_or(regs, X86_ST0, 1), _i & X86_XSTATE_X87 ? 1ull << 63 : 0);
	ck_assert_uint_eq(regs_bytes(regs, X86_XMM15)[0], _i & X86_XSTATE_SSE ? 0x1f : 0);
	ck_assert_uint_eq(regs_bytes(regs, X86_YMM15H)[0], _i & X86_XSTATE_AVX ? 0xef : 0);
	ck_assert_uint_eq(regs_get_or(regs, X86_MXCSR, 0), 0x1fa0);
	regs_destroy(regs);
}
END_TEST

/* ---- notes ---- */

static const struct note_desc *find_note(uint16_t e_machine, const char *owner, uint32_t type)
{
	const struct note_set *set = arch_notes(&arch_x86_64, e_machine);

	for (size_t g = 0; g < set->n_groups; g++)
		for (size_t n = 0; n < set->groups[g].n_notes; n++)
			if (!strcmp(set->groups[g].notes[n]->owner, owner) &&
			    set->groups[g].notes[n]->type == type)
				return set->groups[g].notes[n];
	ck_abort_msg("no note %s/%u", owner, type);
	return NULL;
}

/* Each register's bytes spell its name, with zeros behind. */
static void spell(unsigned reg, uint8_t *ret, size_t bytes)
{
	memset(ret, 0, bytes);
	memcpy(ret, arch_x86_64.regs[reg].name, MIN(strlen(arch_x86_64.regs[reg].name), bytes));
}

static struct regs *spelled(void)
{
	struct regs *regs = regs_create(&arch_x86_64, ORDER_LITTLE);
	uint8_t bytes[ARCH_MAX_REG_BYTES];

	for (unsigned reg = 0; reg < X86_N_REGS; reg++) {
		spell(reg, bytes, reg_bytes(&arch_x86_64, reg));
		regs_set_bytes(regs, reg, bytes);
	}
	regs_forget(regs, X86_ORIG_RAX);
	return regs;
}

static void assert_spelled(const uint8_t *note, size_t offset, size_t bytes, const char *name)
{
	int reg = arch_reg_by_name(&arch_x86_64, name);
	uint8_t want[ARCH_MAX_REG_BYTES];

	ck_assert_msg(reg >= 0, "%s", name);
	spell((unsigned)reg, want, reg_bytes(&arch_x86_64, (unsigned)reg));
	memset(want + reg_bytes(&arch_x86_64, (unsigned)reg), 0,
	       sizeof(want) - reg_bytes(&arch_x86_64, (unsigned)reg));
	ck_assert_msg(!memcmp(note + offset, want, bytes), "%s at %zu", name, offset);
}

/* Linux's struct user_regs_struct of x86_64 and of i386, in memory order. */
static const char *const USER_REGS64[] = {
	"r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi",
	"rdi", NULL, "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs",
};
static const char *const USER_REGS32[] = {
	"rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rax", "ds", "es", "fs", "gs", NULL, "rip", "cs",
	"eflags", "rsp", "ss",
};

struct prstatus_case {
	uint16_t e_machine;
	uint32_t bytes, pid_at, regs_at, reg_bytes, fpvalid_at, fpvalid;
	const char *const *names; /* NULL: orig_rax */
	size_t n_names;
};

static const struct prstatus_case PRSTATUS_CASES[] = {
	{ EM_X86_64, 336, 32, 112, 8, 328, 1, USER_REGS64, ARRAY_LEN(USER_REGS64) },
	{ EM_386, 144, 24, 72, 4, 140, 0, USER_REGS32, ARRAY_LEN(USER_REGS32) },
};

START_TEST(prstatus_layout)
{
	const struct prstatus_case *c = &PRSTATUS_CASES[_i];
	const struct note_desc *n = find_note(c->e_machine, "CORE", NT_PRSTATUS);
	struct regs *regs = spelled();
	uint8_t *note = malloc(n->bytes);

	ck_assert_uint_eq(n->bytes, c->bytes);
	note_fill(n, regs, 0x40000001, note);
	ck_assert_uint_eq(load_uint(note + c->pid_at, 4, ORDER_LITTLE), 0x40000001);
	for (size_t i = 0; i < c->n_names; i++) {
		size_t at = c->regs_at + i * c->reg_bytes;

		if (c->names[i])
			assert_spelled(note, at, c->reg_bytes, c->names[i]);
		else
			ck_assert_uint_eq(load_uint(note + at, c->reg_bytes, ORDER_LITTLE),
					  UINT64_MAX >> (64 - 8 * c->reg_bytes));
	}
	ck_assert_uint_eq(c->regs_at + c->n_names * c->reg_bytes, c->fpvalid_at);
	ck_assert_uint_eq(load_uint(note + c->fpvalid_at, 4, ORDER_LITTLE), c->fpvalid);
	free(note);
	regs_destroy(regs);
}
END_TEST

struct qemu_segment {
	uint32_t selector, limit, flags, pad;
	uint64_t base;
};

struct qemu_cpu_state {
	uint32_t version, size;
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t rip, rflags;
	struct qemu_segment cs, ds, es, fs, gs, ss, ldt, tr, gdt, idt;
	uint64_t cr[5];
	uint64_t kernel_gs_base;
};

_Static_assert(sizeof(struct qemu_cpu_state) == 440, "QEMU's note");
_Static_assert(offsetof(struct qemu_cpu_state, cr) == 392, "QEMU's note");

#define QEMU_AT(field, name) { offsetof(struct qemu_cpu_state, field), name }
#define QEMU_SEGMENT(field, name) \
	QEMU_AT(field.base, name "_base"), { offsetof(struct qemu_cpu_state, field.limit) | FOUR, name "_limit" }
#define QEMU_DESCRIPTOR(field, name) \
	QEMU_SEGMENT(field, name), { offsetof(struct qemu_cpu_state, field.selector) | FOUR, name }, \
		{ offsetof(struct qemu_cpu_state, field.flags) | FOUR, name "_attr" }

#define FOUR 0x8000u /* a field of 4 bytes */

static const struct {
	size_t at;
	const char *name;
} QEMU_STATE[] = {
	QEMU_AT(rax, "rax"), QEMU_AT(rbx, "rbx"), QEMU_AT(rcx, "rcx"), QEMU_AT(rdx, "rdx"),
	QEMU_AT(rsi, "rsi"), QEMU_AT(rdi, "rdi"), QEMU_AT(rsp, "rsp"), QEMU_AT(rbp, "rbp"),
	QEMU_AT(r8, "r8"), QEMU_AT(r9, "r9"), QEMU_AT(r10, "r10"), QEMU_AT(r11, "r11"),
	QEMU_AT(r12, "r12"), QEMU_AT(r13, "r13"), QEMU_AT(r14, "r14"), QEMU_AT(r15, "r15"),
	QEMU_AT(rip, "rip"), QEMU_AT(rflags, "eflags"),
	QEMU_DESCRIPTOR(cs, "cs"), QEMU_DESCRIPTOR(ds, "ds"), QEMU_DESCRIPTOR(es, "es"),
	QEMU_DESCRIPTOR(fs, "fs"), QEMU_DESCRIPTOR(gs, "gs"), QEMU_DESCRIPTOR(ss, "ss"),
	QEMU_DESCRIPTOR(ldt, "ldtr"), QEMU_DESCRIPTOR(tr, "tr"),
	QEMU_SEGMENT(gdt, "gdtr"), QEMU_SEGMENT(idt, "idtr"),
	QEMU_AT(cr[0], "cr0"), QEMU_AT(cr[2], "cr2"), QEMU_AT(cr[3], "cr3"), QEMU_AT(cr[4], "cr4"),
	QEMU_AT(kernel_gs_base, "k_gs_base"),
};

static const uint16_t MACHINES[] = { EM_X86_64, EM_386 };

START_TEST(qemu_note_layout)
{
	const struct note_desc *n = find_note(MACHINES[_i], "QEMU", 0);
	struct regs *regs = spelled();
	struct qemu_cpu_state state;
	const uint8_t *note = (const uint8_t *)&state;

	ck_assert_uint_eq(n->bytes, sizeof(state));
	note_fill(n, regs, 0, (uint8_t *)&state);
	ck_assert_uint_eq(load_uint(&state.version, 4, ORDER_LITTLE), 1);
	ck_assert_uint_eq(load_uint(&state.size, 4, ORDER_LITTLE), 440);
	ck_assert_uint_eq(state.cr[1], 0);
	ck_assert_uint_eq(state.gdt.selector | state.gdt.flags | state.cs.pad, 0);
	for (size_t i = 0; i < ARRAY_LEN(QEMU_STATE); i++)
		assert_spelled(note, QEMU_STATE[i].at & ~FOUR, QEMU_STATE[i].at & FOUR ? 4 : 8,
			       QEMU_STATE[i].name);
	regs_destroy(regs);
}
END_TEST

START_TEST(fp_notes_layout)
{
	const struct note_desc *fpregset = find_note(EM_X86_64, "CORE", NT_FPREGSET);
	const struct note_desc *xstate = find_note(EM_X86_64, "LINUX", NT_X86_XSTATE);
	struct regs *regs = regs_create(&arch_x86_64, ORDER_LITTLE);
	struct xsave x = sample_xsave(), note;

	x86_64_xsave_put(regs, (uint8_t *)&x);
	x.mxcsr_mask = 0;
	ck_assert_uint_eq(fpregset->bytes, 512);
	note_fill(fpregset, regs, 0, (uint8_t *)&note);
	ck_assert_mem_eq(&note, &x, 512);
	ck_assert_uint_eq(xstate->bytes, 832);
	note_fill(xstate, regs, 0, (uint8_t *)&note);
	x.sw_xcr0 = htole64(7);
	ck_assert_mem_eq(&note, &x, sizeof(x));
	ck_assert_int_eq(fpregset->needs_reg, X86_ST0);
	ck_assert_int_eq(xstate->needs_reg, X86_YMM0H);
	regs_destroy(regs);
}
END_TEST

/* What all notes of a core tell, told again, is the same to the byte. */
START_TEST(notes_round_trip)
{
	const struct note_set *set = arch_notes(&arch_x86_64, MACHINES[_i]);
	struct regs *regs = spelled(), *back = regs_create(&arch_x86_64, ORDER_LITTLE);
	uint8_t first[1024], second[1024];

	for (size_t g = 0; g < set->n_groups; g++)
		for (size_t n = 0; n < set->groups[g].n_notes; n++) {
			note_fill(set->groups[g].notes[n], regs, 42, first);
			note_parse(set->groups[g].notes[n], first, back, NULL);
		}
	for (size_t g = 0; g < set->n_groups; g++)
		for (size_t n = 0; n < set->groups[g].n_notes; n++) {
			const struct note_desc *desc = set->groups[g].notes[n];

			note_fill(desc, regs, 42, first);
			note_fill(desc, back, 42, second);
			ck_assert_mem_eq(first, second, desc->bytes);
		}
	ck_assert_ptr_null(regs_bytes(back, X86_ORIG_RAX));
	ck_assert_ptr_null(regs_bytes(back, X86_EFER));
	ck_assert_mem_eq(regs_bytes(back, X86_R15), regs_bytes(regs, X86_R15), 8);
	regs_destroy(back);
	regs_destroy(regs);
}
END_TEST

START_TEST(prstatus_without_fp)
{
	const struct note_desc *n = find_note(EM_X86_64, "CORE", NT_PRSTATUS);
	struct regs *regs = regs_create(&arch_x86_64, ORDER_LITTLE);
	uint8_t note[336];

	note_fill(n, regs, 1, note);
	ck_assert_uint_eq(load_uint(note + 328, 4, ORDER_LITTLE), 0);
	ck_assert_int_eq(n->needs_reg, X86_RIP);
	ck_assert_int_eq(find_note(EM_386, "QEMU", 0)->needs_reg, X86_CR0);
	regs_destroy(regs);
}
END_TEST

/* ---- target.xml ---- */

START_TEST(target_xml_is_golden)
{
	static const char *const FILES[] = {
		"tests/data/x86_64/target-noavx.xml", "tests/data/x86_64/target.xml",
	};
	struct regs *regs = regs_create(&arch_x86_64, ORDER_LITTLE);
	char *want = text_file_read(FILES[_i]);
	struct buf got = { 0 };

	if (_i)
		regs_set(regs, X86_YMM0H, 0);
	arch_target_xml(regs, &got);
	ck_assert_str_eq(buf_str(&got), want);
	buf_deinit(&got);
	free(want);
	regs_destroy(regs);
}
END_TEST

START_TEST(arch_stands_for_both_machines)
{
	ck_assert_ptr_eq(arch_by_elf(EM_X86_64), &arch_x86_64);
	ck_assert_ptr_eq(arch_by_elf(EM_386), &arch_x86_64);
	ck_assert_ptr_eq(arch_by_name("x86_64"), &arch_x86_64);
	ck_assert_str_eq(arch_x86_64.regs[arch_x86_64.pc].name, "rip");
	ck_assert_str_eq(arch_x86_64.regs[arch_x86_64.sp].name, "rsp");
	ck_assert_str_eq(arch_x86_64.regs[arch_x86_64.fp].name, "rbp");
}
END_TEST

START_TEST(segment_rows_belong_together)
{
	static const char *const NAMES[] = { "cs", "ds", "es", "fs", "gs", "ss", "ldtr", "tr" };

	for (unsigned i = 0; i < X86_N_SEGMENTS; i++) {
		const struct x86_64_segment_rows *s = &x86_64_segments[i];
		char name[16];

		ck_assert_str_eq(arch_x86_64.regs[s->selector].name, NAMES[i]);
		snprintf(name, sizeof(name), "%s_base", NAMES[i]);
		ck_assert_str_eq(arch_x86_64.regs[s->base].name, name);
		snprintf(name, sizeof(name), "%s_limit", NAMES[i]);
		ck_assert_str_eq(arch_x86_64.regs[s->limit].name, name);
		snprintf(name, sizeof(name), "%s_attr", NAMES[i]);
		ck_assert_str_eq(arch_x86_64.regs[s->attr].name, name);
	}
}
END_TEST

static TCase *translate_tests(void)
{
	TCase *tc = tcase_create("translate");

	tcase_add_loop_test(tc, translate_every_mode, 0, ARRAY_LEN(TRANSLATIONS));
	tcase_add_loop_test(tc, translate_broken_at_every_level, 0, ARRAY_LEN(TRANSLATIONS));
	tcase_add_test(tc, translate_with_paging_off);
	tcase_add_loop_test(tc, translate_needs_control_registers, 0, ARRAY_LEN(NEEDED));
	tcase_add_test(tc, translate_in_a_core_without_efer);
	return tc;
}

static TCase *walk_tests(void)
{
	TCase *tc = tcase_create("walk");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, walk_4level);
	tcase_add_test(tc, walk_5level);
	tcase_add_test(tc, walk_pae);
	tcase_add_test(tc, walk_32bit);
	tcase_add_test(tc, walk_recursive_entry);
	tcase_add_test(tc, walk_ends_on_hostile_tables);
	tcase_add_test(tc, walk_without_paging_or_tables);
	tcase_add_loop_test(tc, walk_ends_with_the_callbacks_error, 0, 2);
	return tc;
}

static TCase *state_tests(void)
{
	TCase *tc = tcase_create("state");

	tcase_add_loop_test(tc, long_mode_is_inferred, 0, ARRAY_LEN(INFERENCES));
	tcase_add_test(tc, long_mode_of_a_bare_prstatus);
	tcase_add_loop_test(tc, elf_class_and_machine, 0, ARRAY_LEN(ELF_CASES));
	tcase_add_test(tc, attr_is_a_descriptors_second_dword);
	tcase_add_loop_test(tc, ftag_of_both_forms, 0, ARRAY_LEN(TAG_CASES));
	tcase_add_test(tc, fxsave_both_ways);
	tcase_add_test(tc, fxsave_of_unknown_registers);
	tcase_add_test(tc, xsave_both_ways);
	tcase_add_loop_test(tc, xsave_initial_components, 0, 8);
	return tc;
}

static TCase *note_tests(void)
{
	TCase *tc = tcase_create("notes");

	tcase_add_loop_test(tc, prstatus_layout, 0, ARRAY_LEN(PRSTATUS_CASES));
	tcase_add_loop_test(tc, qemu_note_layout, 0, ARRAY_LEN(MACHINES));
	tcase_add_test(tc, fp_notes_layout);
	tcase_add_loop_test(tc, notes_round_trip, 0, ARRAY_LEN(MACHINES));
	tcase_add_test(tc, prstatus_without_fp);
	return tc;
}

static TCase *table_tests(void)
{
	TCase *tc = tcase_create("table");

	tcase_add_loop_test(tc, target_xml_is_golden, 0, 2);
	tcase_add_test(tc, arch_stands_for_both_machines);
	tcase_add_test(tc, segment_rows_belong_together);
	return tc;
}

int main(void)
{
	Suite *s = suite_create("x86_64");

	suite_add_tcase(s, translate_tests());
	suite_add_tcase(s, walk_tests());
	suite_add_tcase(s, state_tests());
	suite_add_tcase(s, note_tests());
	suite_add_tcase(s, table_tests());
	return suite_run(s);
}
