/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <check.h>
#include <elf.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/s390x/s390x.h"
#include "arch/walk.h"
#include "tests/page_tables.h"
#include "tests/suite.h"
#include "tests/text_file.h"

#define ALL (MAPPING_WRITABLE | MAPPING_USER | MAPPING_EXECUTABLE)
#define READ_ONLY (MAPPING_USER | MAPPING_EXECUTABLE)
#define NO_EXEC (MAPPING_WRITABLE | MAPPING_USER)

#define PSW_31 S390X_PSW_BA
#define PSW_64 (S390X_PSW_BA | S390X_PSW_EA)
#define EDAT S390X_CR0_EDAT
#define EDAT_IEP (S390X_CR0_EDAT | S390X_CR0_IEP)

static struct regs *vcpu(uint64_t pswm, uint64_t cr0, uint64_t cr1, uint64_t prefix)
{
	struct regs *regs = regs_create(&arch_s390x, ORDER_BIG);

	regs_set(regs, S390X_PSWM, pswm);
	regs_set(regs, S390X_CR0, cr0);
	regs_set(regs, S390X_CR0 + 1, cr1);
	regs_set(regs, S390X_PREFIX, prefix);
	return regs;
}

/* ---- translate: Principles of Operation, "Translation Process", by the bits' names ---- */

/* An address of region-first, -second and -third, segment, page and byte indexes. */
#define VA(rfx, rsx, rtx, sx, px, bx) \
	((uint64_t)(rfx) << 53 | (uint64_t)(rsx) << 42 | (uint64_t)(rtx) << 31 | (uint64_t)(sx) << 20 | \
	 (uint64_t)(px) << 12 | (bx))

/* Bit n of a doubleword, counted from the left as the manual does. */
#define BIT(n) (1ull << (63 - (n)))

#define PRIVATE BIT(55)
#define REAL_SPACE BIT(58)
#define DT_R1 (3u << 2)
#define DT_R2 (2u << 2)
#define DT_R3 (1u << 2)
#define DT_SEGMENT (0u << 2)

#define TF(n) ((n) << 6) /* table offset */
#define INVALID BIT(58)  /* of region and segment tables */
#define COMMON BIT(59)
#define FORMAT BIT(53)
#define PROTECT BIT(54)
#define IEP BIT(55)
#define TT_R1 DT_R1
#define TT_R2 DT_R2
#define TT_R3 DT_R3
#define PTE_INVALID BIT(53)
#define PTE_ZERO BIT(52)

/* Where the tables of these tests are; a page table may start in the middle of a page. */
#define R1 0x10000ull
#define R2 0x20000ull
#define R3 0x30000ull
#define ST 0x40000ull
#define HOME_ST 0x50000ull
#define PT 0x50800ull
#define AT(table, index) ((table) + 8ull * (index))

#define NO_ERROR (-1)

struct entry {
	uint64_t at, value;
};

struct translation {
	const char *name;
	uint64_t asce, cr0, prefix;
	struct entry entries[5];
	uint64_t gva;
	int error;
	struct mapping want;
};

#define R1_TO_R2 { AT(R1, 0x401), R2 | TT_R1 | 3 }
#define R2_TO_R3 { AT(R2, 0x203), R3 | TT_R2 | 3 }
#define R3_TO_ST { AT(R3, 0x105), ST | TT_R3 | 3 }
#define ST_TO_PT { AT(ST, 0x607), PT }
#define PT_TO(frame) { AT(PT, 0x89), frame }
#define VA5 VA(0x401, 0x203, 0x105, 0x607, 0x89, 0xabc)
#define VA4 VA(0, 0x203, 0x105, 0x607, 0x89, 0xabc)
#define VA3 VA(0, 0, 0x105, 0x607, 0x89, 0xabc)
#define VA2 VA(0, 0, 0, 0x607, 0x89, 0xabc)
#define IN_PAGE(va) ((va) & ~0xfffull)
#define IN_SEGMENT(va) ((va) & ~0xfffffull)
#define IN_REGION(va) ((va) & ~0x7fffffffull)

#define SEGMENT_BYTES 0x100000ull
#define REGION_BYTES 0x80000000ull

static const struct translation TRANSLATIONS[] = {
	{ "region-first", R1 | DT_R1 | 3, EDAT, 0, { R1_TO_R2, R2_TO_R3, R3_TO_ST, ST_TO_PT, PT_TO(0x7654321000) },
	  VA5, NO_ERROR, { IN_PAGE(VA5), 0x7654321000, 0x1000, ALL } },
	{ "region-second", R2 | DT_R2 | 3, EDAT, 0, { R2_TO_R3, R3_TO_ST, ST_TO_PT, PT_TO(0x7654321000) },
	  VA4, NO_ERROR, { IN_PAGE(VA4), 0x7654321000, 0x1000, ALL } },
	{ "region-third", R3 | DT_R3 | 3, EDAT, 0, { R3_TO_ST, ST_TO_PT, PT_TO(0x7654321000) },
	  VA3, NO_ERROR, { IN_PAGE(VA3), 0x7654321000, 0x1000, ALL } },
	{ "segment", ST | DT_SEGMENT | 3, EDAT, 0, { ST_TO_PT, PT_TO(0x7654321000) },
	  VA2, NO_ERROR, { IN_PAGE(VA2), 0x7654321000, 0x1000, ALL } },
	{ "the last byte of all", R1 | DT_R1 | 3, EDAT, 0,
	  { { AT(R1, 0x7ff), R2 | TT_R1 | 3 }, { AT(R2, 0x7ff), R3 | TT_R2 | 3 }, { AT(R3, 0x7ff), ST | TT_R3 | 3 },
	    { AT(ST, 0x7ff), PT }, { AT(PT, 0xff), 0xfffffffffffff000 } },
	  UINT64_MAX, NO_ERROR, { 0xfffffffffffff000, 0xfffffffffffff000, 0x1000, ALL } },
	{ "segment frame; bits 44 to 63 are no address", R3 | DT_R3 | 3, EDAT, 0,
	  { R3_TO_ST, { AT(ST, 0x607), 0x76543ff000 | FORMAT } },
	  VA3, NO_ERROR, { IN_SEGMENT(VA3), 0x7654300000, SEGMENT_BYTES, ALL } },
	{ "region-third frame; bits 33 to 63 are no address", R2 | DT_R2 | 3, EDAT, 0,
	  { R2_TO_R3, { AT(R3, 0x105), 0x767ffff000 | FORMAT | TT_R3 } },
	  VA4, NO_ERROR, { IN_REGION(VA4), 0x7600000000, REGION_BYTES, ALL } },
	{ "without EDAT the format bits say nothing", R3 | DT_R3 | 3, 0, 0,
	  { { AT(R3, 0x105), ST | TT_R3 | FORMAT | 3 }, { AT(ST, 0x607), PT | FORMAT }, PT_TO(0x9000) },
	  VA3, NO_ERROR, { IN_PAGE(VA3), 0x9000, 0x1000, ALL } },
	{ "other bits of the ASCE", ST | DT_SEGMENT | 3 | BIT(54) | PRIVATE | BIT(56) | BIT(57), 0, 0,
	  { ST_TO_PT, PT_TO(0x9000) },
	  VA2, NO_ERROR, { IN_PAGE(VA2), 0x9000, 0x1000, ALL } },

	{ "protected page", ST | DT_SEGMENT | 3, 0, 0, { ST_TO_PT, PT_TO(0x9000 | PROTECT) },
	  VA2, NO_ERROR, { IN_PAGE(VA2), 0x9000, 0x1000, READ_ONLY } },
	{ "protected segment", ST | DT_SEGMENT | 3, 0, 0, { { AT(ST, 0x607), PT | PROTECT }, PT_TO(0x9000) },
	  VA2, NO_ERROR, { IN_PAGE(VA2), 0x9000, 0x1000, READ_ONLY } },
	{ "protected segment frame", ST | DT_SEGMENT | 3, EDAT, 0, { { AT(ST, 0x607), 0x700000 | FORMAT | PROTECT } },
	  VA2, NO_ERROR, { IN_SEGMENT(VA2), 0x700000, SEGMENT_BYTES, READ_ONLY } },
	{ "protected region", R1 | DT_R1 | 3, EDAT, 0,
	  { { AT(R1, 0x401), R2 | TT_R1 | PROTECT | 3 }, R2_TO_R3, R3_TO_ST, ST_TO_PT, PT_TO(0x9000) },
	  VA5, NO_ERROR, { IN_PAGE(VA5), 0x9000, 0x1000, READ_ONLY } },
	{ "regions are not protected without EDAT", R3 | DT_R3 | 3, 0, 0,
	  { { AT(R3, 0x105), ST | TT_R3 | PROTECT | 3 }, ST_TO_PT, PT_TO(0x9000) },
	  VA3, NO_ERROR, { IN_PAGE(VA3), 0x9000, 0x1000, ALL } },
	{ "no execution, page", ST | DT_SEGMENT | 3, EDAT_IEP, 0, { ST_TO_PT, PT_TO(0x9000 | IEP) },
	  VA2, NO_ERROR, { IN_PAGE(VA2), 0x9000, 0x1000, NO_EXEC } },
	{ "no execution, segment frame", ST | DT_SEGMENT | 3, EDAT_IEP, 0, { { AT(ST, 0x607), 0x700000 | FORMAT | IEP } },
	  VA2, NO_ERROR, { IN_SEGMENT(VA2), 0x700000, SEGMENT_BYTES, NO_EXEC } },
	{ "no execution, region frame", R3 | DT_R3 | 3, EDAT_IEP, 0,
	  { { AT(R3, 0x105), REGION_BYTES | FORMAT | IEP | PROTECT | TT_R3 } },
	  VA3, NO_ERROR, { IN_REGION(VA3), REGION_BYTES, REGION_BYTES, MAPPING_USER } },
	{ "the bit is another one in an entry of a table", ST | DT_SEGMENT | 3, EDAT_IEP, 0,
	  { { AT(ST, 0x607), PT | IEP }, PT_TO(0x9000) },
	  VA2, NO_ERROR, { IN_PAGE(VA2), 0x9000, 0x1000, ALL } },
	{ "execution protection is off", ST | DT_SEGMENT | 3, EDAT, 0, { ST_TO_PT, PT_TO(0x9000 | IEP) },
	  VA2, NO_ERROR, { IN_PAGE(VA2), 0x9000, 0x1000, ALL } },

	{ "common segment", ST | DT_SEGMENT | 3, 0, 0, { { AT(ST, 0x607), PT | COMMON }, PT_TO(0x9000) },
	  VA2, NO_ERROR, { IN_PAGE(VA2), 0x9000, 0x1000, ALL } },
	{ "common segment of a private space", ST | DT_SEGMENT | PRIVATE | 3, 0, 0,
	  { { AT(ST, 0x607), PT | COMMON }, PT_TO(0x9000) }, VA2, ERR_UNMAPPED, { 0 } },
	{ "common region of a private space", R3 | DT_R3 | PRIVATE | 3, EDAT, 0,
	  { { AT(R3, 0x105), REGION_BYTES | FORMAT | COMMON | TT_R3 } }, VA3, ERR_UNMAPPED, { 0 } },

	{ "a page at real 0 is at the prefix", ST | DT_SEGMENT | 3, 0, 0x7fffe000, { ST_TO_PT, PT_TO(0) },
	  VA2, NO_ERROR, { IN_PAGE(VA2), 0x7fffe000, 0x1000, ALL } },
	{ "a page at real 4 KiB too", ST | DT_SEGMENT | 3, 0, 0x7fffe000, { ST_TO_PT, PT_TO(0x1000) },
	  VA2, NO_ERROR, { IN_PAGE(VA2), 0x7ffff000, 0x1000, ALL } },
	{ "a page at real 8 KiB not", ST | DT_SEGMENT | 3, 0, 0x7fffe000, { ST_TO_PT, PT_TO(0x2000) },
	  VA2, NO_ERROR, { IN_PAGE(VA2), 0x2000, 0x1000, ALL } },
	{ "a page below the prefix not", ST | DT_SEGMENT | 3, 0, 0x8000, { ST_TO_PT, PT_TO(0x7000) },
	  VA2, NO_ERROR, { IN_PAGE(VA2), 0x7000, 0x1000, ALL } },
	{ "a page at the prefix is at absolute 0", ST | DT_SEGMENT | 3, 0, 0x8000, { ST_TO_PT, PT_TO(0x8000) },
	  VA2, NO_ERROR, { IN_PAGE(VA2), 0, 0x1000, ALL } },
	{ "its second page is at absolute 4 KiB", ST | DT_SEGMENT | 3, 0, 0x8000, { ST_TO_PT, PT_TO(0x9000) },
	  VA2, NO_ERROR, { IN_PAGE(VA2), 0x1000, 0x1000, ALL } },
	{ "a page behind the prefix area not", ST | DT_SEGMENT | 3, 0, 0x8000, { ST_TO_PT, PT_TO(0xa000) },
	  VA2, NO_ERROR, { IN_PAGE(VA2), 0xa000, 0x1000, ALL } },
	{ "a segment frame's address is absolute", ST | DT_SEGMENT | 3, EDAT, 0x8000, { { AT(ST, 0x607), FORMAT } },
	  VA2, NO_ERROR, { IN_SEGMENT(VA2), 0, SEGMENT_BYTES, ALL } },
	{ "a region-third frame's address is absolute", R3 | DT_R3 | 3, EDAT, 0x8000,
	  { { AT(R3, 0x105), FORMAT | TT_R3 } },
	  VA3, NO_ERROR, { IN_REGION(VA3), 0, REGION_BYTES, ALL } },
	{ "tables are not moved by the prefix", 0x8000 | DT_SEGMENT | 3, 0, 0x8000,
	  { { 0x8000 + 8 * 0x607, PT }, PT_TO(0x9ff000) },
	  VA2, NO_ERROR, { IN_PAGE(VA2), 0x9ff000, 0x1000, ALL } },

	{ "the last entry of one part", ST | DT_SEGMENT | 0, EDAT, 0, { { AT(ST, 0x1ff), 0x700000 | FORMAT } },
	  VA(0, 0, 0, 0x1ff, 0, 0), NO_ERROR, { VA(0, 0, 0, 0x1ff, 0, 0), 0x700000, SEGMENT_BYTES, ALL } },
	{ "behind the ASCE's length", ST | DT_SEGMENT | 0, EDAT, 0, { { AT(ST, 0x200), 0x700000 | FORMAT } },
	  VA(0, 0, 0, 0x200, 0, 0), ERR_UNMAPPED, { 0 } },
	{ "behind the ASCE's length, region-first", R1 | DT_R1 | 1, EDAT, 0,
	  { R1_TO_R2, R2_TO_R3, R3_TO_ST, ST_TO_PT, PT_TO(0x9000) }, VA5, ERR_UNMAPPED, { 0 } },
	{ "behind an entry's length", R3 | DT_R3 | 0, EDAT, 0,
	  { { AT(R3, 0), ST | TT_R3 | 1 }, { AT(ST, 0x400), 0x700000 | FORMAT } },
	  VA(0, 0, 0, 0x400, 0, 0), ERR_UNMAPPED, { 0 } },
	{ "the first entry of a table with an offset", R3 | DT_R3 | 0, EDAT, 0,
	  { { AT(R3, 0), ST | TT_R3 | TF(2) | 2 }, { AT(ST, 0x400), 0x700000 | FORMAT } },
	  VA(0, 0, 0, 0x400, 0, 0), NO_ERROR, { VA(0, 0, 0, 0x400, 0, 0), 0x700000, SEGMENT_BYTES, ALL } },
	{ "before an entry's offset", R3 | DT_R3 | 0, EDAT, 0,
	  { { AT(R3, 0), ST | TT_R3 | TF(2) | 2 }, { AT(ST, 0x3ff), 0x700000 | FORMAT } },
	  VA(0, 0, 0, 0x3ff, 0, 0), ERR_UNMAPPED, { 0 } },
	{ "offset above length", R3 | DT_R3 | 0, EDAT, 0,
	  { { AT(R3, 0), ST | TT_R3 | TF(2) | 1 }, { AT(ST, 0x400), 0x700000 | FORMAT } },
	  VA(0, 0, 0, 0x400, 0, 0), ERR_UNMAPPED, { 0 } },

	{ "above a region-second table's space", R2 | DT_R2 | 3, EDAT, 0,
	  { { AT(R2, 0), R3 | TT_R2 }, { AT(R3, 0), FORMAT | TT_R3 } }, VA(1, 0, 0, 0, 0, 0), ERR_UNMAPPED, { 0 } },
	{ "above a region-third table's space", R3 | DT_R3 | 3, EDAT, 0, { { AT(R3, 0), FORMAT | TT_R3 } },
	  VA(0, 1, 0, 0, 0, 0), ERR_UNMAPPED, { 0 } },
	{ "above a segment table's space", ST | DT_SEGMENT | 3, EDAT, 0, { { AT(ST, 0), FORMAT } },
	  VA(0, 0, 1, 0, 0, 0), ERR_UNMAPPED, { 0 } },
	{ "region-first entry of another type", R1 | DT_R1 | 3, EDAT, 0,
	  { { AT(R1, 0x401), R2 | TT_R2 | 3 }, R2_TO_R3, R3_TO_ST, ST_TO_PT, PT_TO(0x9000) }, VA5, ERR_UNMAPPED, { 0 } },
	{ "segment entry of another type", ST | DT_SEGMENT | 3, 0, 0,
	  { { AT(ST, 0x607), PT | TT_R3 }, PT_TO(0x9000) }, VA2, ERR_UNMAPPED, { 0 } },
	{ "bit 52 of a page-table entry", ST | DT_SEGMENT | 3, 0, 0, { ST_TO_PT, PT_TO(0x9000 | PTE_ZERO) },
	  VA2, ERR_UNMAPPED, { 0 } },
};

static void build(struct page_tables *t, const struct translation *c, size_t n)
{
	for (size_t i = 0; i < n && c->entries[i].at; i++)
		page_tables_poke(t, c->entries[i].at, c->entries[i].value, 8, ORDER_BIG);
}

static struct err *translate(struct page_tables *t, const struct translation *c, struct mapping *ret)
{
	struct phys_reader mem = page_tables_reader(t);
	struct regs *regs = vcpu(S390X_PSW_DAT | PSW_64, c->cr0, c->asce, c->prefix);
	struct err *e = arch_s390x.translate(regs, &mem, c->gva, ret);

	regs_destroy(regs);
	return e;
}

START_TEST(translate_every_table)
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

static void assert_broken(struct page_tables *t, const struct translation *c, size_t n, const char *how)
{
	struct mapping got;
	struct err *e = translate(t, c, &got);
	char at[32];

	ck_assert_msg(e && err_code(e) == ERR_UNMAPPED, "%s: entry %zu, %s", c->name, n, how);
	snprintf(at, sizeof(at), "0x%llx", (unsigned long long)c->entries[n].at);
	ck_assert_msg(strstr(err_text(e), at) != NULL, "%s: %s", c->name, err_text(e));
	err_destroy(e);
}

/* Breaks each translation above at each of its levels: absent table, then invalid entry. */
START_TEST(translate_broken_at_every_level)
{
	const struct translation *c = &TRANSLATIONS[_i];

	for (size_t n = 0; c->error == NO_ERROR && n < 5 && c->entries[n].at; n++) {
		struct page_tables *t = page_tables_create();
		bool is_page = c->want.bytes == 0x1000 && (n == 4 || !c->entries[n + 1].at);

		build(t, c, n);
		assert_broken(t, c, n, "no memory");
		page_tables_poke(t, c->entries[n].at, c->entries[n].value | (is_page ? PTE_INVALID : INVALID), 8,
				 ORDER_BIG);
		assert_broken(t, c, n, "invalid");
		free(t);
	}
}
END_TEST

/* The PSW's address-space control and the control register with the space's ASCE. */
static const struct {
	enum s390x_address_space as;
	unsigned cr;
} SPACES[] = {
	{ S390X_AS_PRIMARY, 1 },
	{ S390X_AS_ACCESS_REGISTER, 1 },
	{ S390X_AS_SECONDARY, 7 },
	{ S390X_AS_HOME, 13 },
};

START_TEST(translate_uses_the_space_of_the_psw)
{
	static const struct mapping WANT = { 0, 0x700000, SEGMENT_BYTES, ALL };
	uint64_t as = (uint64_t)SPACES[_i].as << 46; /* bits 16 and 17 */
	struct regs *regs = vcpu(S390X_PSW_DAT | as | PSW_64, EDAT, 0, 0);
	struct page_tables *t = page_tables_create();
	struct phys_reader mem = page_tables_reader(t);
	struct mapping got;
	struct err *e;
	char name[8];

	page_tables_poke(t, ST, 0x700000 | FORMAT, 8, ORDER_BIG);
	regs_forget(regs, S390X_CR0 + 1);
	regs_set(regs, S390X_CR0 + SPACES[_i].cr, ST | DT_SEGMENT);
	ck_assert_ptr_null(arch_s390x.translate(regs, &mem, 0x1234, &got));
	assert_mapping(&got, &WANT, "space");
	regs_forget(regs, S390X_CR0 + SPACES[_i].cr);
	e = arch_s390x.translate(regs, &mem, 0x1234, &got);
	ck_assert(e && err_code(e) == ERR_UNKNOWN);
	snprintf(name, sizeof(name), "cr%u ", SPACES[_i].cr);
	ck_assert_ptr_nonnull(strstr(err_text(e), name));
	err_destroy(e);
	free(t);
	regs_destroy(regs);
}
END_TEST

START_TEST(user_space_finds_the_home_space_too)
{
	static const struct mapping OWN = { 0, 0x700000, SEGMENT_BYTES, ALL };
	static const struct mapping HOME = { SEGMENT_BYTES, 0x900000, SEGMENT_BYTES, ALL };
	struct regs *regs = vcpu(S390X_PSW_DAT | S390X_PSW_PROBLEM | PSW_64, EDAT, ST | DT_SEGMENT, 0);
	struct page_tables *t = page_tables_create();
	struct phys_reader mem = page_tables_reader(t);
	struct mapping got;
	struct err *e;

	for (unsigned i = 0; i < 2; i++)
		page_tables_poke(t, ST + 8 * i, i ? INVALID : 0x700000 | FORMAT, 8, ORDER_BIG);
	for (unsigned i = 0; i < 2; i++)
		page_tables_poke(t, HOME_ST + 8 * i, (0x800000 + 0x100000 * i) | FORMAT, 8, ORDER_BIG);
	e = arch_s390x.translate(regs, &mem, SEGMENT_BYTES, &got);
	ck_assert(e && err_code(e) == ERR_UNMAPPED);
	err_destroy(e);
	regs_set(regs, S390X_CR0 + 13, HOME_ST | DT_SEGMENT);
	ck_assert_ptr_null(arch_s390x.translate(regs, &mem, 0x1234, &got));
	assert_mapping(&got, &OWN, "its own");
	ck_assert_ptr_null(arch_s390x.translate(regs, &mem, SEGMENT_BYTES + 0x1234, &got));
	assert_mapping(&got, &HOME, "the kernel's");
	regs_set(regs, S390X_PSWM, S390X_PSW_DAT | PSW_64);
	e = arch_s390x.translate(regs, &mem, SEGMENT_BYTES, &got);
	ck_assert(e && err_code(e) == ERR_UNMAPPED);
	err_destroy(e);
	free(t);
	regs_destroy(regs);
}
END_TEST

static const unsigned NEEDED[] = { S390X_PSWM, S390X_PREFIX, S390X_CR0, S390X_CR0 + 1 };

START_TEST(translate_needs_registers)
{
	struct regs *regs = vcpu(S390X_PSW_DAT | PSW_64, EDAT, ST | DT_SEGMENT, 0);
	struct phys_reader mem = { NULL, NULL };
	struct mapping got;
	struct err *e;

	regs_forget(regs, NEEDED[_i]);
	e = arch_s390x.translate(regs, &mem, 0, &got);
	ck_assert(e && err_code(e) == ERR_UNKNOWN);
	ck_assert_ptr_nonnull(strstr(err_text(e), arch_s390x.regs[NEEDED[_i]].name));
	err_destroy(e);
	e = arch_s390x.walk(regs, &mem, NULL, NULL);
	ck_assert(e && err_code(e) == ERR_UNKNOWN);
	err_destroy(e);
	regs_destroy(regs);
}
END_TEST

/* ---- real addresses and addressing modes ---- */

struct real_case {
	uint64_t prefix, gva, gpa;
	uint64_t block_gva, block_bytes; /* the largest aligned block that is moved as one */
};

static const struct real_case REALS[] = {
	{ 0, 0, 0, 0, REGION_BYTES },
	{ 0, 0x12345678, 0x12345678, 0, REGION_BYTES },
	{ 0x6000, 0, 0x6000, 0, 0x2000 },
	{ 0x6000, 0x1fff, 0x7fff, 0, 0x2000 },
	{ 0x6000, 0x2000, 0x2000, 0x2000, 0x2000 },
	{ 0x6000, 0x5fff, 0x5fff, 0x4000, 0x2000 },
	{ 0x6000, 0x6000, 0, 0x6000, 0x2000 },
	{ 0x6000, 0x7fff, 0x1fff, 0x6000, 0x2000 },
	{ 0x6000, 0x8000, 0x8000, 0x8000, 0x8000 },
	{ 0x6000, 0x7fffffff, 0x7fffffff, 0x40000000, 0x40000000 },
	{ 0x6000, 0x80000000, 0x80000000, 0x80000000, REGION_BYTES },
	{ 0x6000, UINT64_MAX, UINT64_MAX, 0xffffffff80000000, REGION_BYTES },
	{ 0x7fffe000, 0x1000, 0x7ffff000, 0, 0x2000 },
	{ 0x7fffe000, 0x7fffdfff, 0x7fffdfff, 0x7fffc000, 0x2000 },
	{ 0x7fffe000, 0x7ffff123, 0x1123, 0x7fffe000, 0x2000 },
	{ 0x7fffe000, 0x80000000, 0x80000000, 0x80000000, REGION_BYTES },
	/* Bits that are not of the prefix: 0 to 32 and 51 to 63. */
	{ 0xffffffff80007fff, 0x6001, 0x0001, 0x6000, 0x2000 },
	{ 0xffffffff80007fff, 0x0001, 0x6001, 0, 0x2000 },
};

/* DAT off, and on with a real-space designation: the same. */
START_TEST(translate_real_addresses)
{
	const struct real_case *c = &REALS[_i % ARRAY_LEN(REALS)];
	bool dat = (size_t)_i >= ARRAY_LEN(REALS);
	struct regs *regs = vcpu(dat ? S390X_PSW_DAT | PSW_64 : PSW_64, 0, REAL_SPACE | ST, c->prefix);
	struct phys_reader mem = { NULL, NULL };
	struct mapping want = { c->block_gva, c->gpa - (c->gva - c->block_gva), c->block_bytes, ALL }, got;

	if (!dat)
		regs_forget(regs, S390X_CR0 + 1);
	ck_assert_ptr_null(arch_s390x.translate(regs, &mem, c->gva, &got));
	assert_mapping(&got, &want, "real");
	ck_assert_ptr_null(arch_s390x.walk(regs, &mem, NULL, NULL));
	regs_destroy(regs);
}
END_TEST

struct mode_case {
	const char *name;
	uint64_t pswm, asce, gva;
	struct mapping want;
};

/* REGION_BYTES is mapped from address 0 on, in the space of R3; ST maps its first page to 0x9000. */
static const struct mode_case MODES[] = {
	{ "31-bit", S390X_PSW_DAT | PSW_31, ST | DT_SEGMENT, 0x123, { 0, 0x9000, 0x1000, ALL } },
	{ "31-bit, with the mode's bit", S390X_PSW_DAT | PSW_31, ST | DT_SEGMENT, 0x80000123,
	  { 0x80000000, 0x9000, 0x1000, ALL } },
	{ "31-bit, a frame of all", S390X_PSW_DAT | PSW_31, R3 | DT_R3, 0x80000123,
	  { 0x80000000, REGION_BYTES, REGION_BYTES, ALL } },
	{ "24-bit", S390X_PSW_DAT, ST | DT_SEGMENT, 0xff000123, { 0xff000000, 0x9000, 0x1000, ALL } },
	{ "24-bit, a frame larger than the mode reaches", S390X_PSW_DAT, R3 | DT_R3, 0x7f123456,
	  { 0x7f000000, REGION_BYTES, 0x1000000, ALL } },
	{ "31-bit, a longer address", S390X_PSW_DAT | PSW_31, R3 | DT_R3, 3 * REGION_BYTES + 5,
	  { 3 * REGION_BYTES, 7 * REGION_BYTES, REGION_BYTES, ALL } },
	{ "31-bit, real", PSW_31, 0, 0x80001234, { 0x80000000, 0x6000, 0x2000, ALL } },
	{ "24-bit, real", 0, 0, 0xff006001, { 0xff006000, 0, 0x2000, ALL } },
	{ "24-bit, real, far from the prefix", 0, 0, 0x12ffffff, { 0x12800000, 0x800000, 0x800000, ALL } },
	{ "31-bit, real, a longer address", PSW_31, 0, 0x100000000, { 0x100000000, 0x100000000, REGION_BYTES, ALL } },
};

START_TEST(translate_in_every_addressing_mode)
{
	const struct mode_case *c = &MODES[_i];
	struct regs *regs = vcpu(c->pswm, EDAT, c->asce, 0x6000);
	struct page_tables *t = page_tables_create();
	struct phys_reader mem = page_tables_reader(t);
	struct mapping got;

	page_tables_poke(t, AT(R3, 0), REGION_BYTES | FORMAT | TT_R3, 8, ORDER_BIG);
	page_tables_poke(t, AT(R3, 3), 7 * REGION_BYTES | FORMAT | TT_R3, 8, ORDER_BIG);
	page_tables_poke(t, AT(ST, 0), PT, 8, ORDER_BIG);
	page_tables_poke(t, AT(PT, 0), 0x9000, 8, ORDER_BIG);
	ck_assert_ptr_null(arch_s390x.translate(regs, &mem, c->gva, &got));
	assert_mapping(&got, &c->want, c->name);
	free(t);
	regs_destroy(regs);
}
END_TEST

/* ---- walk ---- */

static struct err *walk(struct page_tables *t, uint64_t asce, uint64_t prefix, struct walked *ret)
{
	struct phys_reader mem = page_tables_reader(t);
	struct regs *regs = vcpu(S390X_PSW_DAT | PSW_64, EDAT, asce, prefix);
	struct err *e = arch_s390x.walk(regs, &mem, walked_add, ret);

	regs_destroy(regs);
	return e;
}

static void assert_walk(struct page_tables *t, uint64_t asce, uint64_t prefix, const struct mapping *want,
			size_t n)
{
	struct walked got = { 0 };

	ck_assert_ptr_null(walk(t, asce, prefix, &got));
	for (size_t i = 0; i < n && i < got.n; i++)
		assert_mapping(&got.m[i], &want[i], "walk");
	ck_assert_uint_eq(got.n, n);
}

static void poke_all(struct page_tables *t, const struct entry *entries, size_t n)
{
	for (size_t i = 0; i < n; i++)
		page_tables_poke(t, entries[i].at, entries[i].value, 8, ORDER_BIG);
}

/* What was never written is valid where it is of a segment or page table: all zeros. */
static void invalidate(struct page_tables *t, uint64_t table, unsigned entries, uint64_t invalid)
{
	for (unsigned i = 0; i < entries; i++)
		page_tables_poke(t, AT(table, i), invalid, 8, ORDER_BIG);
}

/* Every level and frame size, merging across tables, what upper levels forbid, the end of all. */
START_TEST(walk_region_first)
{
	static const struct entry ENTRIES[] = {
		{ AT(R1, 0), R2 | TT_R1 | 0 },
		{ AT(R1, 1), (R2 + 0x1000) | TT_R1 | 0 },
		{ AT(R1, 0x7ff), (R2 - 0x2000) | TT_R1 | TF(3) | 3 }, /* its fourth part is at R2 + 0x1000 */
		{ AT(R2, 0), R3 | TT_R2 | 0 },
		{ AT(R2, 1), 0xdead000 | TT_R2 | 3 }, /* no such memory */
		{ AT(R2, 2), R3 | TT_R2 | PROTECT | 0 },
		{ AT(R2 + 0x1000, 0x1ff), R3 | TT_R2 | 0 },
		{ AT(R3, 0), ST | TT_R3 | 0 },
		{ AT(R3, 0x1ff), 4 * REGION_BYTES | FORMAT | TT_R3 },
		{ AT(ST, 0), PT },
		{ AT(ST, 1), 0xa00000 | FORMAT },
	};
	static const struct mapping WANT[] = {
		{ 0, 0x10000, 0x2000, ALL },
		{ 0x3000, 0x13000, 0x1000, READ_ONLY },
		{ 0xff000, 0x9ff000, 0x101000, ALL }, /* the last page goes on in a segment frame */
		{ VA(0, 0, 0x1ff, 0, 0, 0), 4 * REGION_BYTES, REGION_BYTES, ALL },
		{ VA(0, 2, 0, 0, 0, 0), 0x10000, 0x2000, READ_ONLY },
		{ VA(0, 2, 0, 0, 3, 0), 0x13000, 0x1000, READ_ONLY },
		{ VA(0, 2, 0, 0, 255, 0), 0x9ff000, 0x101000, READ_ONLY },
		{ VA(0, 2, 0x1ff, 0, 0, 0), 4 * REGION_BYTES, REGION_BYTES, READ_ONLY },
		{ VA(1, 0x1ff, 0, 0, 0, 0), 0x10000, 0x2000, ALL },
		{ VA(1, 0x1ff, 0, 0, 3, 0), 0x13000, 0x1000, READ_ONLY },
		{ VA(1, 0x1ff, 0, 0, 255, 0), 0x9ff000, 0x101000, ALL },
		{ VA(1, 0x1ff, 0x1ff, 0, 0, 0), 4 * REGION_BYTES, REGION_BYTES, ALL },
		{ VA(0x7ff, 0x7ff, 0, 0, 0, 0), 0x10000, 0x2000, ALL },
		{ VA(0x7ff, 0x7ff, 0, 0, 3, 0), 0x13000, 0x1000, READ_ONLY },
		{ VA(0x7ff, 0x7ff, 0, 0, 255, 0), 0x9ff000, 0x101000, ALL },
		{ VA(0x7ff, 0x7ff, 0x1ff, 0, 0, 0), 4 * REGION_BYTES, REGION_BYTES, ALL },
	};
	struct page_tables *t = page_tables_create();

	invalidate(t, ST, 512, INVALID);
	invalidate(t, PT, 256, PTE_INVALID);
	poke_all(t, ENTRIES, ARRAY_LEN(ENTRIES));
	page_tables_poke(t, AT(PT, 0), 0x10000, 8, ORDER_BIG);
	page_tables_poke(t, AT(PT, 1), 0x11000, 8, ORDER_BIG);
	page_tables_poke(t, AT(PT, 3), 0x13000 | PROTECT, 8, ORDER_BIG);
	page_tables_poke(t, AT(PT, 255), 0x9ff000, 8, ORDER_BIG);
	assert_walk(t, R1 | DT_R1 | 3, 0, WANT, ARRAY_LEN(WANT));
	free(t);
}
END_TEST

struct walk_case {
	uint64_t asce;
	struct entry entry;
	struct mapping want;
};

/* The first table of each type, with its highest entry in its highest part; others have no memory. */
static const struct walk_case WALKS[] = {
	{ R2 | DT_R2 | 3, { AT(R2, 0x7ff), R3 | TT_R2 | 0 }, { VA(0, 0x7ff, 5, 0, 0, 0), REGION_BYTES, REGION_BYTES, ALL } },
	{ R2 | DT_R2 | 2, { AT(R2, 0x7ff), R3 | TT_R2 | 0 }, { 0 } },
	{ R3 | DT_R3 | 3, { AT(R3, 0x7ff), REGION_BYTES | FORMAT | TT_R3 },
	  { VA(0, 0, 0x7ff, 0, 0, 0), REGION_BYTES, REGION_BYTES, ALL } },
	{ ST | DT_SEGMENT | 3, { AT(ST, 0x7ff), PT }, { VA(0, 0, 0, 0x7ff, 0, 0), 0x9000, 0x1000, ALL } },
};

START_TEST(walk_other_designations)
{
	const struct walk_case *c = &WALKS[_i];
	struct page_tables *t = page_tables_create();

	if ((c->asce & DT_R1) == DT_R2)
		page_tables_poke(t, AT(R3, 5), REGION_BYTES | FORMAT | TT_R3, 8, ORDER_BIG);
	if ((c->asce & DT_R1) == DT_SEGMENT)
		invalidate(t, ST + 0x3000, 512, INVALID);
	invalidate(t, PT, 256, PTE_INVALID);
	page_tables_poke(t, AT(PT, 0), 0x9000, 8, ORDER_BIG);
	poke_all(t, &c->entry, 1);
	assert_walk(t, c->asce, 0, &c->want, c->want.bytes ? 1 : 0);
	free(t);
}
END_TEST

/* Pages are split where prefixing moves them; a segment frame is not. */
START_TEST(walk_with_a_prefix)
{
	static const struct mapping WANT[] = {
		{ 0, 0x8000, 0x2000, ALL },
		{ 0x2000, 0x2000, 0x6000, ALL },
		{ 0x8000, 0, 0x2000, ALL },
		{ 0xa000, 0xa000, 0xf6000, ALL },
		{ 0x100000, 0, 0x100000, ALL },
	};
	struct page_tables *t = page_tables_create();

	invalidate(t, ST, 512, INVALID);
	page_tables_poke(t, AT(ST, 0), PT, 8, ORDER_BIG);
	page_tables_poke(t, AT(ST, 1), FORMAT, 8, ORDER_BIG);
	for (unsigned i = 0; i < 256; i++)
		page_tables_poke(t, AT(PT, i), i * 0x1000ull, 8, ORDER_BIG);
	assert_walk(t, ST | DT_SEGMENT, 0x8000, WANT, ARRAY_LEN(WANT));
	free(t);
}
END_TEST

/* Each of four tables is full of the next one: 2^36 segments, each the same frame. */
START_TEST(walk_ends_on_hostile_tables)
{
	struct page_tables *t = page_tables_create();
	struct walked got = { 0 };

	for (unsigned i = 0; i < 512; i++) {
		page_tables_poke(t, AT(R1, i), R2 | TT_R1, 8, ORDER_BIG);
		page_tables_poke(t, AT(R2, i), R3 | TT_R2, 8, ORDER_BIG);
		page_tables_poke(t, AT(R3, i), ST | TT_R3, 8, ORDER_BIG);
		page_tables_poke(t, AT(ST, i), FORMAT, 8, ORDER_BIG);
	}
	ck_assert_ptr_null(walk(t, R1 | DT_R1, 0, &got));
	ck_assert_uint_le(t->reads, 4 + WALK_MAX_REPEATS);
	ck_assert_uint_le(got.n, 512 * (1 + WALK_MAX_REPEATS));
	ck_assert_uint_gt(got.n, 512);
	free(t);
}
END_TEST

/* An entry's type is that of its table, so no region table can be one of another level. */
START_TEST(walk_ends_on_tables_in_themselves)
{
	static const struct mapping SELF = { 0, ST, 0x1000, ALL };
	struct page_tables *t = page_tables_create();

	for (unsigned i = 0; i < 512; i++)
		page_tables_poke(t, AT(R1, i), R1 | TT_R1, 8, ORDER_BIG);
	assert_walk(t, R1 | DT_R1, 0, NULL, 0);
	/* A segment table that is its own page table maps itself; INVALID is no bit of a page's entry. */
	invalidate(t, ST, 512, INVALID | PTE_INVALID);
	page_tables_poke(t, AT(ST, 0), ST, 8, ORDER_BIG);
	assert_walk(t, ST | DT_SEGMENT, 0, &SELF, 1);
	free(t);
}
END_TEST

START_TEST(walk_without_tables)
{
	struct page_tables *t = page_tables_create();

	assert_walk(t, R1 | DT_R1 | 3, 0, NULL, 0);
	ck_assert_uint_eq(t->reads, 4);
	free(t);
}
END_TEST

static struct err *fail_read(void *ctx, uint64_t gpa, void *ret, size_t bytes)
{
	(void)ctx, (void)gpa, (void)ret, (void)bytes;
	return err_new(ERR_GONE, "the target is gone");
}

START_TEST(walk_ends_with_a_readers_error)
{
	struct regs *regs = vcpu(S390X_PSW_DAT | PSW_64, EDAT, R1 | DT_R1 | 3, 0);
	struct phys_reader mem = { fail_read, NULL };
	struct err *e = arch_s390x.walk(regs, &mem, walked_add, NULL);

	ck_assert(e && err_code(e) == ERR_GONE);
	err_destroy(e);
	regs_destroy(regs);
}
END_TEST

START_TEST(walk_ends_with_the_callbacks_error)
{
	struct page_tables *t = page_tables_create();
	struct walked got = { .fail_at = _i + 1 };
	struct err *e;

	invalidate(t, ST, 512, INVALID);
	page_tables_poke(t, AT(ST, 0), FORMAT, 8, ORDER_BIG);
	page_tables_poke(t, AT(ST, 1), FORMAT, 8, ORDER_BIG);
	e = walk(t, ST | DT_SEGMENT, 0, &got);
	ck_assert(e && err_code(e) == ERR_CANCELLED);
	ck_assert_uint_eq(got.n, got.fail_at);
	err_destroy(e);
	free(t);
}
END_TEST

/* ---- notes ---- */

/* Linux's struct elf_prstatus of s390x, and the notes that QEMU writes. */
struct prstatus {
	int32_t si_signo, si_code, si_errno;
	int16_t cursig;
	uint64_t sigpend, sighold;
	int32_t pid, ppid, pgrp, sid;
	uint64_t times[8];
	uint64_t pswm, pswa, gprs[16];
	uint32_t acrs[16];
	uint64_t orig_gpr2;
	int32_t fpvalid;
};

struct fpregset {
	uint32_t fpc, pad;
	uint64_t fprs[16];
};

_Static_assert(sizeof(struct prstatus) == 336 && sizeof(struct fpregset) == 136, "Linux's structs");

/* A register in a note; for numbered ones how many follow each other. */
struct golden_field {
	size_t offset, bytes;
	const char *name; /* a printf format where count is not 1 */
	unsigned count, first;
};

struct golden_note {
	const char *owner;
	uint32_t type, bytes;
	const char *needs;
	struct golden_field fields[5];
};

static const struct golden_note NOTES[] = {
	{ "CORE", 1, 336, "pswa",
	  { { offsetof(struct prstatus, pswm), 8, "pswm", 1, 0 },
	    { offsetof(struct prstatus, pswa), 8, "pswa", 1, 0 },
	    { offsetof(struct prstatus, gprs), 8, "r%u", 16, 0 },
	    { offsetof(struct prstatus, acrs), 4, "acr%u", 16, 0 },
	    { offsetof(struct prstatus, orig_gpr2), 8, "orig_r2", 1, 0 } } },
	{ "CORE", 2, 136, "f0",
	  { { offsetof(struct fpregset, fpc), 4, "fpc", 1, 0 }, { offsetof(struct fpregset, fprs), 8, "f%u", 16, 0 } } },
	{ "LINUX", 0x305, 4, "prefix", { { 0, 4, "prefix", 1, 0 } } },
	{ "LINUX", 0x304, 128, "cr0", { { 0, 8, "cr%u", 16, 0 } } },
	{ "LINUX", 0x301, 8, "cputm", { { 0, 8, "cputm", 1, 0 } } },
	{ "LINUX", 0x302, 8, "ckc", { { 0, 8, "ckc", 1, 0 } } },
	{ "LINUX", 0x303, 4, "todpr", { { 0, 4, "todpr", 1, 0 } } },
	{ "LINUX", 0x309, 128, "v0l", { { 0, 8, "v%ul", 16, 0 } } },
	{ "LINUX", 0x30a, 256, "v16", { { 0, 16, "v%u", 16, 16 } } },
	{ "LINUX", 0x30b, 32, "gsd",
	  { { 0, 8, "gs_reserved", 1, 0 }, { 8, 8, "gsd", 1, 0 }, { 16, 8, "gssm", 1, 0 }, { 24, 8, "gsepla", 1, 0 } } },
};

static const struct note_group *the_group(void)
{
	const struct note_set *set = arch_notes(&arch_s390x, EM_S390);

	ck_assert_uint_eq(set->n_groups, 1);
	ck_assert_uint_eq(set->groups[0].n_notes, ARRAY_LEN(NOTES));
	return &set->groups[0];
}

/* Each register's bytes spell its name, with zeros behind. */
static struct regs *spelled(void)
{
	struct regs *regs = regs_create(&arch_s390x, ORDER_BIG);

	for (unsigned reg = 0; reg < S390X_N_REGS; reg++) {
		const char *name = arch_s390x.regs[reg].name;
		uint8_t bytes[ARCH_MAX_REG_BYTES] = { 0 };

		memcpy(bytes, name, MIN(strlen(name), reg_bytes(&arch_s390x, reg)));
		regs_set_bytes(regs, reg, bytes);
	}
	return regs;
}

/* Puts a register's name where the note has its low bytes; true when the name is a register's. */
static bool spell_field(const struct golden_field *f, unsigned i, uint8_t *note)
{
	char name[16];
	uint8_t bytes[ARCH_MAX_REG_BYTES] = { 0 };
	int reg;

	snprintf(name, sizeof(name), f->name, f->first + i);
	reg = arch_reg_by_name(&arch_s390x, name);
	if (reg < 0)
		return false;
	memcpy(bytes, name, MIN(strlen(name), reg_bytes(&arch_s390x, (unsigned)reg)));
	memcpy(note + f->offset + i * f->bytes, bytes + reg_bytes(&arch_s390x, (unsigned)reg) - f->bytes, f->bytes);
	return true;
}

START_TEST(note_layout)
{
	const struct golden_note *c = &NOTES[_i];
	const struct note_desc *n = the_group()->notes[_i];
	struct regs *regs = spelled();
	uint8_t *want = calloc(1, c->bytes), *got = malloc(c->bytes);

	ck_assert_str_eq(n->owner, c->owner);
	ck_assert_uint_eq(n->type, c->type);
	ck_assert_uint_eq(n->bytes, c->bytes);
	ck_assert_int_eq(n->needs_reg, arch_reg_by_name(&arch_s390x, c->needs));
	for (size_t f = 0; f < ARRAY_LEN(c->fields) && c->fields[f].name; f++)
		for (unsigned i = 0; i < c->fields[f].count; i++)
			ck_assert_msg(spell_field(&c->fields[f], i, want), "%s", c->fields[f].name);
	if (c->type == NT_PRSTATUS)
		memcpy(want + offsetof(struct prstatus, pid), (uint8_t[]){ 0x40, 0, 0, 2 }, 4);
	note_fill(n, regs, 0x40000002, got);
	ck_assert_mem_eq(got, want, c->bytes);
	free(want);
	free(got);
	regs_destroy(regs);
}
END_TEST

/* What all notes of a core tell, told again, is the same to the byte. */
START_TEST(notes_round_trip)
{
	const struct note_group *group = the_group();
	struct regs *regs = spelled(), *back = regs_create(&arch_s390x, ORDER_BIG);
	uint8_t first[512], second[512];
	uint32_t pid = 0;

	for (size_t n = 0; n < group->n_notes; n++) {
		note_fill(group->notes[n], regs, 0x01020304, first);
		note_parse(group->notes[n], first, back, &pid);
		note_fill(group->notes[n], back, pid, second);
		ck_assert_mem_eq(first, second, group->notes[n]->bytes);
	}
	ck_assert_uint_eq(pid, 0x01020304);
	ck_assert_mem_eq(regs_bytes(back, S390X_V31), "v31", 4);
	ck_assert_mem_eq(regs_bytes(back, S390X_ORIG_R2), "orig_r2", 8);
	ck_assert_ptr_null(regs_bytes(back, S390X_LAST_BREAK)); /* no note tells it */
	regs_destroy(back);
	regs_destroy(regs);
}
END_TEST

START_TEST(notes_hold_numbers_big_endian)
{
	const struct note_group *group = the_group();
	struct regs *regs = regs_create(&arch_s390x, ORDER_BIG), *back = regs_dup(regs);
	uint8_t note[512];

	regs_set(regs, S390X_PREFIX, 0x12346000);
	note_fill(group->notes[2], regs, 0, note);
	ck_assert_mem_eq(note, "\x12\x34\x60\x00", 4);
	note_parse(group->notes[2], note, back, NULL);
	ck_assert_uint_eq(regs_get_or(back, S390X_PREFIX, 0), 0x12346000);
	regs_set(regs, S390X_PSWA, 0x0102030405060708);
	note_fill(group->notes[0], regs, 0, note);
	ck_assert_mem_eq(note + 120, "\1\2\3\4\5\6\7\10", 8);
	regs_destroy(back);
	regs_destroy(regs);
}
END_TEST

/* Dumps of machines have 0 for orig_gpr2, which no vCPU has. */
START_TEST(no_vcpu_has_orig_r2)
{
	const struct note_desc *prstatus = the_group()->notes[0];
	struct regs *regs = spelled();
	uint8_t note[336];

	regs_forget(regs, S390X_ORIG_R2);
	note_fill(prstatus, regs, 1, note);
	ck_assert_mem_eq(note + 320, (uint8_t[8]){ 0 }, 8);
	regs_set(regs, S390X_ORIG_R2, 1);
	note_parse(prstatus, note, regs, NULL);
	ck_assert_ptr_null(regs_bytes(regs, S390X_ORIG_R2));
	regs_destroy(regs);
}
END_TEST

/* ---- the tables ---- */

/* Of a vCPU with every facility, and of one of which only what every vCPU has is known. */
START_TEST(target_xml_is_golden)
{
	static const char *const FILES[] = {
		"tests/data/s390x/target.xml", "tests/data/s390x/target-base.xml",
	};
	struct regs *regs = _i ? vcpu(0, 0, 0, 0) : spelled();
	char *want = text_file_read(FILES[_i]);
	struct buf got = { 0 };

	arch_target_xml(regs, &got);
	ck_assert_str_eq(buf_str(&got), want);
	buf_deinit(&got);
	free(want);
	regs_destroy(regs);
}
END_TEST

START_TEST(registers_have_qemus_numbers)
{
	static const struct {
		const char *name;
		unsigned number;
	} NUMBERS[] = {
		{ "pswm", 0 },  { "pswa", 1 }, { "r15", 17 }, { "acr15", 33 },      { "fpc", 34 }, { "f15", 50 },
		{ "v0l", 51 },  { "v16", 67 }, { "v31", 82 }, { "gs_reserved", 83 }, { "cr0", 87 }, { "cr15", 102 },
	};

	for (size_t i = 0; i < ARRAY_LEN(NUMBERS); i++)
		ck_assert_int_eq(arch_reg_by_name(&arch_s390x, NUMBERS[i].name), (int)NUMBERS[i].number);
}
END_TEST

START_TEST(arch_is_s390x)
{
	struct regs *regs = vcpu(0, 0, 0, 0);
	const struct regs *vcpus[] = { regs };

	ck_assert_ptr_eq(arch_by_elf(22), &arch_s390x);
	ck_assert_ptr_eq(arch_by_name("s390x"), &arch_s390x);
	ck_assert_str_eq(arch_s390x.regs[arch_s390x.pc].name, "pswa");
	ck_assert_str_eq(arch_s390x.regs[arch_s390x.sp].name, "r15");
	ck_assert_str_eq(arch_s390x.regs[arch_s390x.fp].name, "r11");
	ck_assert_int_eq(arch_s390x.elf_class(vcpus, 1, 0x1000), ELFCLASS64);
	ck_assert_uint_eq(arch_s390x.elf_machine(vcpus, 1), 22);
	ck_assert_uint_eq(arch_s390x.elf_flags(ORDER_BIG), 0);
	ck_assert_int_eq(arch_s390x.order(regs), ORDER_BIG);
	ck_assert_uint_eq(arch_s390x.breakpoint_bytes, 2);
	ck_assert_mem_eq(arch_s390x.breakpoint, "\0\1", 2);
	regs_destroy(regs);
}
END_TEST

static TCase *translate_tests(void)
{
	TCase *tc = tcase_create("translate");

	tcase_add_loop_test(tc, translate_every_table, 0, ARRAY_LEN(TRANSLATIONS));
	tcase_add_loop_test(tc, translate_broken_at_every_level, 0, ARRAY_LEN(TRANSLATIONS));
	tcase_add_loop_test(tc, translate_uses_the_space_of_the_psw, 0, ARRAY_LEN(SPACES));
	tcase_add_test(tc, user_space_finds_the_home_space_too);
	tcase_add_loop_test(tc, translate_needs_registers, 0, ARRAY_LEN(NEEDED));
	tcase_add_loop_test(tc, translate_real_addresses, 0, 2 * ARRAY_LEN(REALS));
	tcase_add_loop_test(tc, translate_in_every_addressing_mode, 0, ARRAY_LEN(MODES));
	return tc;
}

static TCase *walk_tests(void)
{
	TCase *tc = tcase_create("walk");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, walk_region_first);
	tcase_add_loop_test(tc, walk_other_designations, 0, ARRAY_LEN(WALKS));
	tcase_add_test(tc, walk_with_a_prefix);
	tcase_add_test(tc, walk_ends_on_hostile_tables);
	tcase_add_test(tc, walk_ends_on_tables_in_themselves);
	tcase_add_test(tc, walk_without_tables);
	tcase_add_test(tc, walk_ends_with_a_readers_error);
	tcase_add_loop_test(tc, walk_ends_with_the_callbacks_error, 0, 2);
	return tc;
}

static TCase *note_tests(void)
{
	TCase *tc = tcase_create("notes");

	tcase_add_loop_test(tc, note_layout, 0, ARRAY_LEN(NOTES));
	tcase_add_test(tc, notes_round_trip);
	tcase_add_test(tc, notes_hold_numbers_big_endian);
	tcase_add_test(tc, no_vcpu_has_orig_r2);
	return tc;
}

static TCase *table_tests(void)
{
	TCase *tc = tcase_create("table");

	tcase_add_loop_test(tc, target_xml_is_golden, 0, 2);
	tcase_add_test(tc, registers_have_qemus_numbers);
	tcase_add_test(tc, arch_is_s390x);
	return tc;
}

int main(void)
{
	Suite *s = suite_create("s390x");

	suite_add_tcase(s, translate_tests());
	suite_add_tcase(s, walk_tests());
	suite_add_tcase(s, note_tests());
	suite_add_tcase(s, table_tests());
	return suite_run(s);
}
