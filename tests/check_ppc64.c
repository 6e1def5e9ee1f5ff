/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <check.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/ppc64/ppc64.h"
#include "arch/walk.h"
#include "tests/page_tables.h"
#include "tests/suite.h"
#include "tests/text_file.h"

static const enum byte_order ORDERS[] = { ORDER_LITTLE, ORDER_BIG };

/* ---- radix trees built by hand: Power ISA 3.0B book III, 5.7 ---- */

/* Bit n of the ISA, which counts from the high end. */
#define ISA_BIT(n) (1ull << (63 - (n)))

#define VALID ISA_BIT(0)
#define LEAF ISA_BIT(1)
#define PRIV ISA_BIT(60)
#define READ ISA_BIT(61)
#define RW (ISA_BIT(61) | ISA_BIT(62))
#define EXEC ISA_BIT(63)
#define NOISE (ISA_BIT(2) | 0xe00 | ISA_BIT(55) | ISA_BIT(56) | 3 << 4) /* software, R, C, attributes */

#define DIR(gpa, bits) (VALID | (gpa) | (bits))
#define PAGE(gpa, eaa) (VALID | LEAF | (gpa) | (eaa))

/* What Linux writes for a 52-bit tree with 2^13 entries in its root. */
#define LINUX_TREE(gpa) (2ull << 61 | 5 << 5 | 13 | (gpa))
/* RTS is split: its high 2 bits are 1:2, its low 3 bits are 56:58. */
#define TREE(va_bits, gpa, bits) \
	((uint64_t)((va_bits) - 31) >> 3 << 61 | (((va_bits) - 31) & 7ull) << 5 | (gpa) | (bits))

#define MSR_SF ISA_BIT(0)
#define MSR_HV ISA_BIT(3)
#define MSR_IR ISA_BIT(58)
#define MSR_DR ISA_BIT(59)
#define MSR_LE ISA_BIT(63)
#define MSR_ON (MSR_SF | MSR_IR | MSR_DR)

#define GR ISA_BIT(0)
#define HR ISA_BIT(0)
#define PRTB 0x10000ull
#define PRTB_64K (GR | PRTB | 4) /* 2^(12 + 4) bytes */
#define PROCESS(pid) (PRTB + 16ull * (pid))

#define ALL (MAPPING_WRITABLE | MAPPING_USER | MAPPING_EXECUTABLE)
#define KERNEL (MAPPING_WRITABLE | MAPPING_EXECUTABLE)

#define RAM_BYTES 0x80000u

struct ram {
	uint8_t bytes[RAM_BYTES];
	uint64_t hole; /* 4 KiB without memory; 0: none */
	uint64_t gone; /* a read from here fails, which is no hole; 0: none */
	size_t reads;
};

static bool in_hole(const struct ram *ram, uint64_t gpa, size_t bytes)
{
	return ram->hole && gpa < ram->hole + 4096 && gpa + bytes > ram->hole;
}

static struct err *read_ram(void *ctx, uint64_t gpa, void *ret, size_t bytes)
{
	struct ram *ram = ctx;

	ram->reads++;
	if (ram->gone && gpa == ram->gone)
		return err_new(ERR_GONE, "the VMM has exited");
	if (gpa > RAM_BYTES || bytes > RAM_BYTES - gpa || in_hole(ram, gpa, bytes))
		return err_new(ERR_UNMAPPED, "no memory at 0x%llx", (unsigned long long)gpa);
	memcpy(ret, ram->bytes + gpa, bytes);
	return NULL;
}

static struct ram *ram_create(void)
{
	return calloc(1, sizeof(struct ram));
}

static void poke(struct ram *ram, uint64_t at, uint64_t value)
{
	ck_assert_uint_le(at, RAM_BYTES - 8);
	store_uint(ram->bytes + at, 8, ORDER_BIG, value);
}

static struct regs *vcpu(enum byte_order order, uint64_t msr, uint64_t prtb, uint64_t pid)
{
	struct regs *regs = regs_create(&arch_ppc64, order);

	regs_set(regs, PPC64_MSR, msr);
	regs_set(regs, PPC64_PRTB, prtb);
	regs_set(regs, PPC64_PID, pid);
	return regs;
}

#define NO_ERROR (-1)

struct entry {
	uint64_t at, value;
};

#define AT(table, index) ((table) + 8ull * (index))

struct translation {
	const char *name;
	uint64_t prtb, pid;
	struct entry entries[9]; /* the first is the process table's */
	uint64_t gva;
	int error;
	struct mapping want;
};

/* Indexes of a 13-9-9-5 and of a 13-9-9-9 tree. */
#define OFFSET64K(a, b, c, d, low) \
	((a) * (1ull << 39) + (b) * (1ull << 30) + (c) * (1ull << 21) + (d) * (1ull << 16) + (low))
#define OFFSET4K(a, b, c, d, low) \
	((a) * (1ull << 39) + (b) * (1ull << 30) + (c) * (1ull << 21) + (d) * (1ull << 12) + (low))
#define Q0 0ull
#define Q1 (1ull << 62)
#define Q2 (2ull << 62)
#define Q3 (3ull << 62)

static const struct translation TRANSLATIONS[] = {
	{ "64 KiB", PRTB_64K, 0,
	  { { PROCESS(0), LINUX_TREE(0x20000) }, { AT(0x20000, 0x1123), DIR(0x30000, 9) },
	    { AT(0x30000, 0xa5), DIR(0x31000, 9) }, { AT(0x31000, 0x11a), DIR(0x32100, 5) },
	    { AT(0x32100, 0x13), PAGE(0x00fedcba98760000, RW | EXEC | PRIV) } },
	  Q3 | OFFSET64K(0x1123, 0xa5, 0x11a, 0x13, 0xabcd), NO_ERROR,
	  { Q3 | OFFSET64K(0x1123, 0xa5, 0x11a, 0x13, 0), 0x00fedcba98760000, 0x10000, KERNEL } },
	{ "4 KiB", PRTB_64K, 0,
	  { { PROCESS(0), LINUX_TREE(0x20000) }, { AT(0x20000, 1), DIR(0x30000, 9) },
	    { AT(0x30000, 2), DIR(0x31000, 9) }, { AT(0x31000, 3), DIR(0x32000, 9) },
	    { AT(0x32000, 0x1fe), PAGE(0x7654321000, READ | PRIV) } },
	  Q3 | OFFSET4K(1, 2, 3, 0x1fe, 0x789), NO_ERROR,
	  { Q3 | OFFSET4K(1, 2, 3, 0x1fe, 0), 0x7654321000, 0x1000, 0 } },
	{ "2 MiB", PRTB_64K, 0,
	  { { PROCESS(0), LINUX_TREE(0x20000) }, { AT(0x20000, 0), DIR(0x30000, 9) },
	    { AT(0x30000, 0x1ff), DIR(0x31000, 9) }, { AT(0x31000, 3), PAGE(0x7654200000, RW | PRIV) } },
	  Q3 | OFFSET4K(0, 0x1ff, 3, 0x100, 5), NO_ERROR,
	  { Q3 | OFFSET4K(0, 0x1ff, 3, 0, 0), 0x7654200000, 0x200000, MAPPING_WRITABLE } },
	{ "1 GiB, with the low bits of its number set", PRTB_64K, 0,
	  { { PROCESS(0), LINUX_TREE(0x20000) }, { AT(0x20000, 0), DIR(0x30000, 9) },
	    { AT(0x30000, 1), PAGE(0x01ffffffc0000000 | 0x3ffff000, EXEC) } },
	  Q3 | 0x7fffffff, NO_ERROR,
	  { Q3 | 0x40000000, 0x01ffffffc0000000, 0x40000000, MAPPING_USER | MAPPING_EXECUTABLE } },
	{ "software, R, C and attribute bits are no address", PRTB_64K, 0,
	  { { PROCESS(0), LINUX_TREE(0x20000) }, { AT(0x20000, 0), DIR(0x30000, 9) | ISA_BIT(2) },
	    { AT(0x30000, 0), PAGE(0x40000000, RW | EXEC) | NOISE } },
	  Q3 | 0x12345678, NO_ERROR, { Q3, 0x40000000, 0x40000000, ALL } },
	{ "quadrant 0 is the process's", PRTB_64K, 0xabc,
	  { { PROCESS(0xabc), LINUX_TREE(0x20000) }, { AT(0x20000, 7), DIR(0x30000, 9) },
	    { AT(0x30000, 0), PAGE(0x80000000, RW) } },
	  Q0 | OFFSET64K(7, 0, 0, 0, 0x1234), NO_ERROR,
	  { OFFSET64K(7, 0, 0, 0, 0), 0x80000000, 0x40000000, MAPPING_WRITABLE | MAPPING_USER } },
	{ "the last entry of the smallest process table", GR | PRTB, 255,
	  { { PROCESS(255), TREE(39, 0x20000, 9) }, { AT(0x20000, 511), PAGE(0x40000000, RW) } },
	  0x7fffffffff, NO_ERROR, { 0x7fc0000000, 0x40000000, 0x40000000, MAPPING_WRITABLE | MAPPING_USER } },
	{ "eight levels of 5 bits", PRTB_64K, 0,
	  { { PROCESS(0), TREE(52, 0x20000, 5) }, { AT(0x20000, 1), DIR(0x20100, 5) },
	    { AT(0x20100, 2), DIR(0x20200, 5) }, { AT(0x20200, 3), DIR(0x20300, 5) },
	    { AT(0x20300, 4), DIR(0x20400, 5) }, { AT(0x20400, 5), DIR(0x20500, 5) },
	    { AT(0x20500, 6), DIR(0x20600, 5) }, { AT(0x20600, 7), DIR(0x20700, 5) },
	    { AT(0x20700, 31), PAGE(0x7000, RW | EXEC) } },
	  Q3 | 1ull << 47 | 2ull << 42 | 3ull << 37 | 4ull << 32 | 5ull << 27 | 6 << 22 | 7 << 17 | 31 << 12 | 9,
	  NO_ERROR,
	  { Q3 | 1ull << 47 | 2ull << 42 | 3ull << 37 | 4ull << 32 | 5ull << 27 | 6 << 22 | 7 << 17 | 31 << 12,
	    0x7000, 0x1000, ALL } },
	{ "a 31-bit tree", PRTB_64K, 0,
	  { { PROCESS(0), TREE(31, 0x20000, 10) }, { AT(0x20000, 1023), PAGE(0x600000, RW) } },
	  Q3 | 0x7fffffff, NO_ERROR, { Q3 | 0x7fe00000, 0x600000, 0x200000, MAPPING_WRITABLE | MAPPING_USER } },
	{ "the last page of all, in a 62-bit tree", PRTB_64K, 0,
	  { { PROCESS(0), TREE(62, 0x20000, 12) }, { AT(0x20000, 0xfff), DIR(0x30000, 10) },
	    { AT(0x30000, 0x3ff), DIR(0x40000, 10) }, { AT(0x40000, 0x3ff), PAGE(0x40000000, RW) } },
	  UINT64_MAX, NO_ERROR,
	  { 0xffffffffc0000000, 0x40000000, 0x40000000, MAPPING_WRITABLE | MAPPING_USER } },

	{ "quadrant 1", PRTB_64K, 0, { { PROCESS(0), LINUX_TREE(0x20000) } }, Q1, ERR_UNMAPPED, { 0 } },
	{ "quadrant 2", PRTB_64K, 0, { { PROCESS(0), LINUX_TREE(0x20000) } }, Q2 | 0x1000, ERR_UNMAPPED, { 0 } },
	{ "above a 52-bit tree", PRTB_64K, 0,
	  { { PROCESS(0), LINUX_TREE(0x20000) }, { AT(0x20000, 0), DIR(0x30000, 9) },
	    { AT(0x30000, 0), PAGE(0, RW) } },
	  Q3 | 1ull << 52, ERR_UNMAPPED, { 0 } },
	{ "behind the process table", GR | PRTB, 256,
	  { { PROCESS(256), TREE(39, 0x20000, 9) }, { AT(0x20000, 0), PAGE(0, RW) } }, 0, ERR_UNMAPPED, { 0 } },
	{ "no tree", PRTB_64K, 0, { { PROCESS(0), 0 } }, Q3, ERR_UNMAPPED, { 0 } },
	{ "a root of 4 bits", PRTB_64K, 0,
	  { { PROCESS(0), TREE(34, 0x20000, 4) }, { AT(0x20000, 0), PAGE(0, RW) } }, Q3, ERR_UNMAPPED, { 0 } },
	{ "a root of 14 bits", PRTB_64K, 0,
	  { { PROCESS(0), TREE(44, 0x20000, 14) }, { AT(0x20000, 0), PAGE(0, RW) } }, Q3, ERR_UNMAPPED, { 0 } },
	{ "a directory of 31 bits", PRTB_64K, 0,
	  { { PROCESS(0), LINUX_TREE(0x20000) }, { AT(0x20000, 0), DIR(0x30000, 31) } }, Q3, ERR_UNMAPPED, { 0 } },
	{ "a table of 4 bits", PRTB_64K, 0,
	  { { PROCESS(0), TREE(39, 0x20000, 5) }, { AT(0x20000, 0), DIR(0x30000, 4) },
	    { AT(0x30000, 0), PAGE(0, RW) } },
	  Q3, ERR_UNMAPPED, { 0 } },
	{ "a table of pages below 4 KiB", PRTB_64K, 0,
	  { { PROCESS(0), TREE(39, 0x20000, 9) }, { AT(0x20000, 0), DIR(0x30000, 9) },
	    { AT(0x30000, 0), DIR(0x31000, 10) }, { AT(0x31000, 0), PAGE(0, RW) } },
	  Q3, ERR_UNMAPPED, { 0 } },
	{ "a page of 512 GiB", PRTB_64K, 0,
	  { { PROCESS(0), LINUX_TREE(0x20000) }, { AT(0x20000, 0), PAGE(0, RW) } }, Q3, ERR_UNMAPPED, { 0 } },
};

static void build(struct ram *ram, const struct translation *c, size_t n)
{
	for (size_t i = 0; i < n && c->entries[i].at; i++)
		poke(ram, c->entries[i].at, c->entries[i].value);
}

static struct err *translate(struct ram *ram, const struct regs *regs, uint64_t gva, struct mapping *ret)
{
	struct phys_reader mem = { read_ram, ram };

	return arch_ppc64.translate(regs, &mem, gva, ret);
}

static void assert_translates(struct ram *ram, const struct regs *regs, uint64_t gva, const struct mapping *want,
			      const char *name)
{
	struct mapping got;
	struct err *e = translate(ram, regs, gva, &got);

	ck_assert_msg(!e, "%s: %s", name, e ? err_text(e) : "");
	assert_mapping(&got, want, name);
}

/* text: a part of the error's; NULL: any. */
static void assert_fails(struct ram *ram, const struct regs *regs, uint64_t gva, enum err_code code,
			 const char *text, const char *name)
{
	struct mapping got;
	struct err *e = translate(ram, regs, gva, &got);

	ck_assert_msg(e && err_code(e) == code, "%s", name);
	ck_assert_msg(!text || strstr(err_text(e), text), "%s: %s", name, err_text(e));
	ck_assert_ptr_null(strchr(err_text(e), '\n'));
	err_destroy(e);
}

/* The tables are big-endian whatever the guest is. */
START_TEST(translate_every_tree)
{
	const struct translation *c = &TRANSLATIONS[_i / 2];
	struct regs *regs = vcpu(ORDERS[_i % 2], MSR_ON, c->prtb, c->pid);
	struct ram *ram = ram_create();

	build(ram, c, ARRAY_LEN(c->entries));
	if (c->error == NO_ERROR)
		assert_translates(ram, regs, c->gva, &c->want, c->name);
	else
		assert_fails(ram, regs, c->gva, (enum err_code)c->error, NULL, c->name);
	free(ram);
	regs_destroy(regs);
}
END_TEST

/* Each translation above with an absent entry, then an absent table, at each of its levels. */
START_TEST(translate_broken_at_every_level)
{
	const struct translation *c = &TRANSLATIONS[_i];
	struct regs *regs = vcpu(ORDER_LITTLE, MSR_ON, c->prtb, c->pid);

	for (size_t n = 0; c->error == NO_ERROR && n < ARRAY_LEN(c->entries) && c->entries[n].at; n++) {
		struct ram *ram = ram_create();
		char place[32];

		snprintf(place, sizeof(place), "gpa 0x%llx", (unsigned long long)c->entries[n].at);
		build(ram, c, n);
		assert_fails(ram, regs, c->gva, ERR_UNMAPPED, place, c->name);
		build(ram, c, ARRAY_LEN(c->entries));
		ram->hole = c->entries[n].at & ~0xfffull;
		assert_fails(ram, regs, c->gva, ERR_UNMAPPED, "gpa 0x", c->name);
		free(ram);
	}
	regs_destroy(regs);
}
END_TEST

START_TEST(translate_quadrant_0_needs_pid)
{
	const struct translation *c = &TRANSLATIONS[0];
	struct regs *regs = vcpu(ORDER_LITTLE, MSR_ON, c->prtb, 0);
	struct ram *ram = ram_create();

	build(ram, c, ARRAY_LEN(c->entries));
	regs_forget(regs, PPC64_PID);
	assert_fails(ram, regs, 0x1000, ERR_UNKNOWN, "pid", "quadrant 0");
	assert_translates(ram, regs, c->gva, &c->want, "quadrant 3");
	free(ram);
	regs_destroy(regs);
}
END_TEST

/* ---- the hypervisor's own tables: partition 0 of PTCR ---- */

struct host_case {
	const char *name;
	uint64_t msr, ptcr, partition, process_table;
	bool prtb; /* wins over PTCR */
	uint64_t gpa;  /* of the first address behind the linear map; 0: that is all there is */
};

#define PARTITIONS 0x18000ull

static const struct host_case HOST_CASES[] = {
	{ "hypervisor", MSR_ON | MSR_HV, PARTITIONS | 4, HR | 0x1234500, GR | PRTB | 4, false, 0x40000000 },
	{ "its GR is not looked at", MSR_ON | MSR_HV, PARTITIONS | 4, HR, PRTB | 4, false, 0x40000000 },
	{ "a process table at 0", MSR_ON | MSR_HV, PARTITIONS | 4, HR, 0, false, 0x40000000 },
	{ "a hashed one", MSR_ON | MSR_HV, PARTITIONS | 4, 0x1234500, GR | PRTB | 4, false, 0 },
	{ "a guest, whose PTCR is not its own", MSR_ON, PARTITIONS | 4, HR, GR | PRTB | 4, false, 0 },
	{ "no PTCR", MSR_ON | MSR_HV, 0, HR, GR | PRTB | 4, false, 0 },
	{ "prtb says hash", MSR_ON | MSR_HV, PARTITIONS | 4, HR, GR | PRTB | 4, true, 0 },
};

START_TEST(translate_in_hypervisor_state)
{
	const struct host_case *c = &HOST_CASES[_i];
	struct regs *regs = vcpu(ORDER_BIG, c->msr, PRTB | 4, 0);
	const struct mapping want = { Q3 | 0x8000000000000, c->gpa, 0x40000000, KERNEL };
	struct ram *ram = ram_create();

	if (!c->prtb)
		regs_forget(regs, PPC64_PRTB);
	regs_set(regs, PPC64_PTCR, c->ptcr);
	poke(ram, PARTITIONS, c->partition);
	poke(ram, PARTITIONS + 8, c->process_table);
	poke(ram, c->process_table & PRTB, LINUX_TREE(0x20000));
	poke(ram, AT(0x20000, 0x1000), DIR(0x30000, 9));
	poke(ram, AT(0x30000, 0), PAGE(0x40000000, RW | EXEC | PRIV));
	if (c->gpa)
		assert_translates(ram, regs, want.gva + 5, &want, c->name);
	else
		assert_fails(ram, regs, want.gva, ERR_UNMAPPED, "linear map", c->name);
	free(ram);
	regs_destroy(regs);
}
END_TEST

START_TEST(partition_table_without_memory)
{
	struct regs *regs = vcpu(ORDER_BIG, MSR_ON | MSR_HV, 0, 0);
	struct ram *ram = ram_create();
	struct phys_reader mem = { read_ram, ram };

	regs_forget(regs, PPC64_PRTB);
	regs_set(regs, PPC64_PTCR, 0x100000000);
	assert_fails(ram, regs, Q3, ERR_UNMAPPED, "partition table at gpa 0x100000000", "no memory");
	ck_assert_ptr_null(arch_ppc64.walk(regs, &mem, NULL, NULL));
	free(ram);
	regs_destroy(regs);
}
END_TEST

/* ---- real mode and the linear map ---- */

struct real_case {
	const char *name;
	uint64_t msr, hrmor, gva;
	struct mapping want;
};

#define TOP 0x1000000000000000ull

static const struct real_case REAL_CASES[] = {
	{ "low", MSR_SF, 0, 0x12345, { 0, 0, TOP, ALL } },
	{ "the top 4 bits are ignored", MSR_SF, 0, 0xc000000000012345, { 0xc000000000000000, 0, TOP, ALL } },
	{ "the last", MSR_SF, 0, UINT64_MAX, { 0xf000000000000000, 0, TOP, ALL } },
	{ "DR alone decides", MSR_SF | MSR_IR, 0, 0x12345, { 0, 0, TOP, ALL } },
	{ "HRMOR is not a guest's", MSR_SF, 0x30000000, 0x12345, { 0, 0, TOP, ALL } },
	{ "hypervisor", MSR_SF | MSR_HV, 0, 0x12345, { 0, 0, TOP, ALL } },
	{ "HRMOR", MSR_SF | MSR_HV, 0x30000000, 0x12345, { 0, 0x30000000, 0x10000000, ALL } },
	{ "HRMOR is ORed", MSR_SF | MSR_HV, 0x30000000, 0x52345678, { 0x50000000, 0x70000000, 0x10000000, ALL } },
	{ "HRMOR below 1 MiB", MSR_SF | MSR_HV, 0x300fffff, 0x12345, { 0, 0x30000000, 0x10000000, ALL } },
	{ "the top bit keeps it out", MSR_SF | MSR_HV, 0x30000000, 0x8000000000012345,
	  { 0x8000000000000000, 0, TOP, ALL } },
};

static struct err *no_call(void *arg, const struct mapping *m)
{
	(void)arg, (void)m;
	return err_new(ERR_INVALID, "nothing is mapped");
}

START_TEST(real_mode)
{
	const struct real_case *c = &REAL_CASES[_i];
	struct regs *regs = vcpu(ORDER_BIG, c->msr, PRTB_64K, 0);
	struct phys_reader mem = { read_ram, NULL };

	regs_set(regs, PPC64_HRMOR, c->hrmor);
	assert_translates(NULL, regs, c->gva, &c->want, c->name);
	ck_assert_ptr_null(arch_ppc64.walk(regs, &mem, no_call, NULL));
	regs_destroy(regs);
}
END_TEST

static const struct mapping LINEAR = { 0xc000000000000000, 0, 1ull << 51, KERNEL };

/* The process table: unknown, and that of a guest with hash tables. MSR: known, and not. */
START_TEST(linear_map)
{
	struct regs *regs = vcpu(ORDERS[_i & 1], MSR_ON, PRTB | 4, 0);
	struct phys_reader mem = { read_ram, NULL };
	struct walked c = { 0 };

	if (_i & 2)
		regs_forget(regs, PPC64_PRTB);
	if (_i & 4)
		regs_forget(regs, PPC64_MSR);
	assert_translates(NULL, regs, LINEAR.gva, &LINEAR, "first");
	assert_translates(NULL, regs, LINEAR.gva + LINEAR.bytes - 1, &LINEAR, "last");
	assert_fails(NULL, regs, LINEAR.gva - 1, ERR_UNMAPPED, "linear map at 0xc000000000000000", "below");
	assert_fails(NULL, regs, LINEAR.gva + LINEAR.bytes, ERR_UNMAPPED, NULL, "above");
	assert_fails(NULL, regs, 0, ERR_UNMAPPED, NULL, "user");
	ck_assert_ptr_null(arch_ppc64.walk(regs, &mem, walked_add, &c));
	ck_assert_uint_eq(c.n, 1);
	assert_mapping(&c.m[0], &LINEAR, "walk");
	regs_destroy(regs);
}
END_TEST

/* ---- walk ---- */

static struct err *walk(struct ram *ram, uint64_t pid, struct walked *c)
{
	struct regs *regs = vcpu(ORDER_LITTLE, MSR_ON, PRTB_64K, pid);
	struct phys_reader mem = { read_ram, ram };
	struct err *e = arch_ppc64.walk(regs, &mem, walked_add, c);

	regs_destroy(regs);
	return e;
}

static void assert_walk(struct ram *ram, uint64_t pid, const struct mapping *want, size_t n)
{
	struct walked c = { 0 };

	ck_assert_ptr_null(walk(ram, pid, &c));
	for (size_t i = 0; i < n && i < c.n; i++)
		assert_mapping(&c.m[i], &want[i], "walk");
	ck_assert_uint_eq(c.n, n);
}

/* A kernel with every page size, and process 9; there is no memory at 0x1000000. */
static struct ram *kernel_and_process(void)
{
	struct ram *ram = ram_create();

	poke(ram, PROCESS(0), LINUX_TREE(0x20000));
	poke(ram, AT(0x20000, 0), DIR(0x30000, 9));
	poke(ram, AT(0x20000, 1), DIR(0x1000000, 9));
	poke(ram, AT(0x20000, 0x1000), DIR(0x30000, 9));
	poke(ram, AT(0x30000, 0), DIR(0x31000, 9));
	poke(ram, AT(0x30000, 1), PAGE(0x40000000, RW | PRIV));
	poke(ram, AT(0x30000, 2), PAGE(0x80000000, RW | PRIV));
	poke(ram, AT(0x31000, 0), DIR(0x32000, 9));
	poke(ram, AT(0x31000, 1), DIR(0x33000, 5));
	poke(ram, AT(0x31000, 2), PAGE(0x400000, RW | EXEC | PRIV));
	poke(ram, AT(0x32000, 0x1ff), PAGE(0x1ff000, RW | EXEC | PRIV));
	poke(ram, AT(0x33000, 0), PAGE(0x200000, RW | EXEC | PRIV));
	poke(ram, AT(0x33000, 31), PAGE(0x3f0000, READ | PRIV));
	poke(ram, PROCESS(9), LINUX_TREE(0x40000));
	poke(ram, AT(0x40000, 0x1fff), DIR(0x50000, 9));
	poke(ram, AT(0x50000, 0x1ff), DIR(0x51000, 9));
	poke(ram, AT(0x51000, 0x1ff), DIR(0x52000, 5));
	poke(ram, AT(0x52000, 31), PAGE(0x7770000, RW));
	return ram;
}

#define N_PROCESS 1

static const struct mapping KERNEL_AND_PROCESS[] = {
	{ 0x000fffffffff0000, 0x7770000, 0x10000, MAPPING_WRITABLE | MAPPING_USER },
	{ Q3 | 0x1ff000, 0x1ff000, 0x11000, KERNEL }, /* a 4 KiB page goes on in one of 64 KiB */
	{ Q3 | 0x3f0000, 0x3f0000, 0x10000, 0 },
	{ Q3 | 0x400000, 0x400000, 0x200000, KERNEL },
	{ Q3 | 0x40000000, 0x40000000, 0x80000000, MAPPING_WRITABLE },
	/* The same directory again, at another place. */
	{ Q3 | 0x80000001ff000, 0x1ff000, 0x11000, KERNEL },
	{ Q3 | 0x80000003f0000, 0x3f0000, 0x10000, 0 },
	{ Q3 | 0x8000000400000, 0x400000, 0x200000, KERNEL },
	{ Q3 | 0x8000040000000, 0x40000000, 0x80000000, MAPPING_WRITABLE },
};

START_TEST(walk_both_quadrants)
{
	struct ram *ram = kernel_and_process();

	assert_walk(ram, 9, KERNEL_AND_PROCESS, ARRAY_LEN(KERNEL_AND_PROCESS));
	free(ram);
}
END_TEST

/* Process 0, and processes without a tree and outside of the table. */
START_TEST(walk_the_kernel_alone)
{
	static const uint64_t PIDS[] = { 0, 8, 4096, UINT32_MAX };
	struct ram *ram = kernel_and_process();

	assert_walk(ram, PIDS[_i], KERNEL_AND_PROCESS + N_PROCESS, ARRAY_LEN(KERNEL_AND_PROCESS) - N_PROCESS);
	free(ram);
}
END_TEST

/* A hole in RAM at a table takes away what that one maps. */
START_TEST(walk_passes_over_tables_without_memory)
{
	static const struct {
		uint64_t hole;
		size_t left;
	} CASES[] = {
		{ PRTB, 0 },
		{ 0x20000, N_PROCESS },
		{ 0x30000, N_PROCESS },
		{ 0x40000, ARRAY_LEN(KERNEL_AND_PROCESS) - N_PROCESS },
		{ 0x52000, ARRAY_LEN(KERNEL_AND_PROCESS) - N_PROCESS },
	};
	struct ram *ram = kernel_and_process();
	bool process = CASES[_i].left == N_PROCESS;

	ram->hole = CASES[_i].hole;
	assert_walk(ram, 9, KERNEL_AND_PROCESS + (process ? 0 : N_PROCESS), CASES[_i].left);
	free(ram);
}
END_TEST

/* Every entry refers to its own table, at as many levels as there can be. */
START_TEST(walk_ends_on_hostile_tables)
{
	struct ram *ram = ram_create();
	struct walked c = { 0 };

	poke(ram, PROCESS(0), TREE(62, 0x20000, 5));
	for (unsigned i = 0; i < 31; i++)
		poke(ram, AT(0x20000, i), DIR(0x20000, 5));
	poke(ram, AT(0x20000, 31), PAGE(0x40000000, RW));
	ck_assert_ptr_null(walk(ram, 0, &c));
	ck_assert_uint_le(ram->reads, 1 + 10 + WALK_MAX_REPEATS);
	ck_assert_uint_le(c.n, 11 + WALK_MAX_REPEATS);
	free(ram);
}
END_TEST

START_TEST(walk_ends_with_the_callbacks_error)
{
	struct ram *ram = kernel_and_process();
	struct walked c = { .fail_at = (size_t)_i };
	struct err *e = walk(ram, 9, &c);

	ck_assert(e && err_code(e) == ERR_CANCELLED);
	ck_assert_uint_eq(c.n, c.fail_at);
	err_destroy(e);
	free(ram);
}
END_TEST

START_TEST(walk_ends_with_a_read_error)
{
	static const uint64_t PLACES[] = { PROCESS(9), 0x51000, PROCESS(0), 0x31000 };
	struct ram *ram = kernel_and_process();
	struct walked c = { 0 };
	struct err *e;

	ram->gone = PLACES[_i];
	e = walk(ram, 9, &c);
	ck_assert(e && err_code(e) == ERR_GONE);
	err_destroy(e);
	free(ram);
}
END_TEST

/* ---- byte order and ELF header ---- */

struct order_case {
	bool lpcr_known, msr_known;
	uint64_t lpcr, msr;
	enum byte_order order;
	uint64_t pvr, hid0; /* pvr 0: neither is known */
};

#define ILE ISA_BIT(38)
#define HILE8 ISA_BIT(19) /* POWER8 user's manual, 2.1.1 */
#define HILE9 ISA_BIT(4)  /* POWER9 user's manual, 4.1 */

static const struct order_case ORDER_CASES[] = {
	{ true, true, ILE, MSR_LE, ORDER_LITTLE, 0, 0 },
	{ true, true, ILE, 0, ORDER_LITTLE, 0, 0 }, /* firmware runs */
	{ true, true, ~ILE, MSR_LE, ORDER_BIG, 0, 0 },
	{ false, true, 0, MSR_LE | MSR_ON, ORDER_LITTLE, 0, 0 },
	{ false, true, 0, ~MSR_LE, ORDER_BIG, 0, 0 },
	{ false, false, 0, 0, ORDER_BIG, 0, 0 },
	{ true, true, 0, MSR_HV, ORDER_LITTLE, 0x4d0200, HILE8 },
	{ true, true, ILE, MSR_HV | MSR_LE, ORDER_BIG, 0x4d0200, ~HILE8 },
	{ true, true, 0, MSR_HV, ORDER_LITTLE, 0x4e1200, HILE9 },
	{ true, true, ILE, MSR_HV | MSR_LE, ORDER_BIG, 0x4e1200, ~HILE9 },
	{ true, true, 0, MSR_HV, ORDER_LITTLE, 0x800200, HILE9 },
	{ true, true, ILE, MSR_HV, ORDER_LITTLE, 0x390202, 0 }, /* a 970 has no such bit */
	{ true, true, ILE, MSR_LE, ORDER_LITTLE, 0x4e1200, 0 }, /* a guest of it */
};

START_TEST(byte_order_of_the_guest)
{
	const struct order_case *c = &ORDER_CASES[_i / 2];
	struct regs *regs = regs_create(&arch_ppc64, ORDERS[_i % 2]);

	if (c->lpcr_known)
		regs_set(regs, PPC64_LPCR, c->lpcr);
	if (c->msr_known)
		regs_set(regs, PPC64_MSR, c->msr);
	if (c->pvr) {
		regs_set(regs, PPC64_PVR, c->pvr);
		regs_set(regs, PPC64_HID0, c->hid0);
	}
	ck_assert_int_eq(arch_ppc64.order(regs), c->order);
	regs_destroy(regs);
}
END_TEST

START_TEST(elf_header)
{
	struct regs *regs = vcpu(ORDER_BIG, 0, 0, 0);
	const struct regs *vcpus[] = { regs };

	ck_assert_int_eq(arch_ppc64.elf_class(vcpus, 1, 0x10000000), ELFCLASS64);
	ck_assert_uint_eq(arch_ppc64.elf_machine(vcpus, 1), EM_PPC64);
	ck_assert_uint_eq(arch_ppc64.elf_flags(ORDER_LITTLE), 2); /* ELFv2 */
	ck_assert_uint_eq(arch_ppc64.elf_flags(ORDER_BIG), 0);
	ck_assert_ptr_eq(arch_by_elf(EM_PPC64), &arch_ppc64);
	ck_assert_ptr_eq(arch_by_name("ppc64"), &arch_ppc64);
	regs_destroy(regs);
}
END_TEST

START_TEST(rows_of_the_arch)
{
	ck_assert_str_eq(arch_ppc64.regs[arch_ppc64.pc].name, "pc");
	ck_assert_str_eq(arch_ppc64.regs[arch_ppc64.sp].name, "r1");
	ck_assert_str_eq(arch_ppc64.regs[arch_ppc64.fp].name, "r31");
	ck_assert_uint_eq(arch_ppc64.page_bytes, 65536);
	ck_assert_uint_eq(arch_ppc64.breakpoint_bytes, 4);
	ck_assert_uint_eq(load_uint(arch_ppc64.breakpoint, 4, ORDER_LITTLE), 0x7fe00008); /* trap */
}
END_TEST

/* ---- notes ---- */

static const struct note_desc *find_note(const char *owner, uint32_t type)
{
	const struct note_set *set = arch_notes(&arch_ppc64, EM_PPC64);

	for (size_t g = 0; g < set->n_groups; g++)
		for (size_t n = 0; n < set->groups[g].n_notes; n++)
			if (!strcmp(set->groups[g].notes[n]->owner, owner) &&
			    set->groups[g].notes[n]->type == type)
				return set->groups[g].notes[n];
	ck_abort_msg("no note %s/%u", owner, type);
	return NULL;
}

/* Each register's bytes spell its name, with zeros behind. */
static void spell(unsigned reg, uint8_t *ret)
{
	const char *name = arch_ppc64.regs[reg].name;

	memset(ret, 0, ARCH_MAX_REG_BYTES);
	memcpy(ret, name, MIN(strlen(name), reg_bytes(&arch_ppc64, reg)));
}

static struct regs *spelled(enum byte_order order)
{
	struct regs *regs = regs_create(&arch_ppc64, order);
	uint8_t bytes[ARCH_MAX_REG_BYTES];

	for (unsigned reg = 0; reg < PPC64_N_REGS; reg++) {
		spell(reg, bytes);
		regs_set_bytes(regs, reg, bytes);
	}
	return regs;
}

/* A field of the kernel's structures: a row, in its low part, or zeros where the name is empty. */
struct field {
	size_t at, bytes;
	char name[12];
};

static void assert_field(const uint8_t *note, const struct field *f, enum byte_order order)
{
	int reg = f->name[0] ? arch_reg_by_name(&arch_ppc64, f->name) : -1;
	uint8_t want[64] = { 0 }, bytes[ARCH_MAX_REG_BYTES];

	ck_assert_msg(!f->name[0] || reg >= 0, "%s", f->name);
	if (reg >= 0) {
		size_t n = reg_bytes(&arch_ppc64, (unsigned)reg);

		ck_assert_uint_le(n, f->bytes);
		spell((unsigned)reg, bytes);
		memcpy(want + (order == ORDER_BIG ? f->bytes - n : 0), bytes, n);
	}
	ck_assert_uint_le(f->bytes, sizeof(want));
	ck_assert_msg(!memcmp(note + f->at, want, f->bytes), "%s at %zu", f->name, f->at);
}

struct note_case {
	const char *owner;
	uint32_t type, bytes;
	int needs_reg;
	const char *numbered; /* printf format of the name of 32 registers from numbered_at on, or NULL */
	size_t numbered_at, numbered_bytes;
	struct field fields[20];
};

/* Linux: struct elf_prstatus and pt_regs, elf_fpregset_t, elf_vrregset_t, the VSX halves; and a note of our own. */
static const struct note_case NOTE_CASES[] = {
	{ "CORE", NT_PRSTATUS, 504, PPC64_PC, "r%u", 112, 8,
	  { { 0, 32, "" }, { 36, 36, "" }, { 72, 40, "" }, { 368, 8, "pc" }, { 376, 8, "msr" },
	    { 384, 8, "orig_r3" }, { 392, 8, "ctr" }, { 400, 8, "lr" }, { 408, 8, "xer" }, { 416, 8, "cr" },
	    { 424, 8, "" }, { 432, 8, "trap" }, { 440, 8, "dar" }, { 448, 8, "dsisr" }, { 456, 8, "" },
	    { 464, 40, "" } } },
	{ "CORE", NT_FPREGSET, 264, PPC64_F0, "f%u", 0, 8, { { 256, 8, "fpscr" } } },
	{ "LINUX", 0x100, 544, PPC64_VR0, "vr%u", 0, 16,
	  { { 512, 16, "vscr" }, { 528, 4, "vrsave" }, { 532, 12, "" } } },
	{ "LINUX", 0x102, 256, PPC64_VS0H, "vs%uh", 0, 8, { { 0 } } },
	{ "vmgdbserver", 0, 40, PPC64_LPCR, NULL, 0, 0,
	  { { 0, 8, "pid" }, { 8, 8, "lpcr" }, { 16, 8, "ptcr" }, { 24, 8, "hrmor" }, { 32, 8, "prtb" } } },
};

START_TEST(note_layout)
{
	const struct note_case *c = &NOTE_CASES[_i / 2];
	const struct note_desc *desc = find_note(c->owner, c->type);
	enum byte_order order = ORDERS[_i % 2];
	struct regs *regs = spelled(order);
	uint8_t note[1024];
	size_t covered = 32 * c->numbered_bytes;

	ck_assert_uint_eq(desc->bytes, c->bytes);
	ck_assert_int_eq(desc->needs_reg, c->needs_reg);
	note_fill(desc, regs, 0x40000001, note);
	if (c->type == NT_PRSTATUS) {
		ck_assert_uint_eq(load_uint(note + 32, 4, order), 0x40000001);
		covered += 4;
	}
	for (unsigned i = 0; c->numbered && i < 32; i++) {
		struct field f = { c->numbered_at + i * c->numbered_bytes, c->numbered_bytes, "" };

		snprintf(f.name, sizeof(f.name), c->numbered, i);
		assert_field(note, &f, order);
	}
	for (size_t i = 0; i < ARRAY_LEN(c->fields); i++) {
		assert_field(note, &c->fields[i], order);
		covered += c->fields[i].bytes;
	}
	ck_assert_uint_eq(covered, c->bytes);
	regs_destroy(regs);
}
END_TEST

/* A vector register is one number of 128 bits: VSCR's is in the low word of its quadword. */
START_TEST(vectors_in_both_orders)
{
	const struct note_desc *vmx = find_note("LINUX", 0x100);
	struct regs *regs = regs_create(&arch_ppc64, ORDERS[_i]);
	uint8_t note[544];

	regs_set(regs, PPC64_VR0 + 5, 0x0102030405060708);
	regs_set(regs, PPC64_VSCR, 0x00010000);
	regs_set(regs, PPC64_VRSAVE, 0xffffffff);
	note_fill(vmx, regs, 0, note);
	ck_assert_uint_eq(note[5 * 16 + (_i ? 15 : 0)], 0x08);
	ck_assert_uint_eq(note[5 * 16 + (_i ? 8 : 7)], 0x01);
	ck_assert_uint_eq(load_uint(note + (_i ? 524 : 512), 4, ORDERS[_i]), 0x00010000);
	ck_assert_uint_eq(load_uint(note + 528, 4, ORDERS[_i]), 0xffffffff);
	regs_destroy(regs);
}
END_TEST

static bool is_noted_spr(unsigned reg)
{
	static const unsigned NOTED[] = { PPC64_DAR, PPC64_DSISR, PPC64_PID, PPC64_LPCR, PPC64_PTCR, PPC64_HRMOR,
					  PPC64_PRTB };

	for (size_t i = 0; i < ARRAY_LEN(NOTED); i++)
		if (NOTED[i] == reg)
			return true;
	return false;
}

/* What the notes of a core tell is what was put into them. */
START_TEST(notes_round_trip)
{
	const struct note_set *set = arch_notes(&arch_ppc64, EM_PPC64);
	struct regs *regs = spelled(ORDERS[_i]), *back = regs_create(&arch_ppc64, ORDERS[_i]);
	uint8_t note[1024];
	uint32_t pid = 0;

	ck_assert_uint_eq(set->n_groups, 1);
	for (size_t n = 0; n < set->groups[0].n_notes; n++) {
		note_fill(set->groups[0].notes[n], regs, 42, note);
		note_parse(set->groups[0].notes[n], note, back, &pid);
	}
	ck_assert_uint_eq(pid, 42);
	for (unsigned reg = 0; reg < PPC64_N_REGS; reg++) {
		const uint8_t *bytes = regs_bytes(back, reg);
		bool noted = reg <= PPC64_TRAP || is_noted_spr(reg);

		ck_assert_msg((bytes != NULL) == noted, "%s", arch_ppc64.regs[reg].name);
		if (bytes)
			ck_assert_mem_eq(bytes, regs_bytes(regs, reg), reg_bytes(&arch_ppc64, reg));
	}
	regs_destroy(back);
	regs_destroy(regs);
}
END_TEST

/* pt_regs.trap is 0 in what QEMU and we write of a vCPU: it is no register. */
START_TEST(no_vcpu_has_trap)
{
	const struct note_desc *prstatus = arch_notes(&arch_ppc64, EM_PPC64)->groups[0].notes[0];
	struct regs *regs = spelled(ORDERS[_i]);
	uint8_t note[504];

	regs_forget(regs, PPC64_TRAP);
	note_fill(prstatus, regs, 1, note);
	ck_assert_mem_eq(note + 432, (uint8_t[8]){ 0 }, 8);
	regs_set(regs, PPC64_TRAP, 0xd00);
	note_parse(prstatus, note, regs, NULL);
	ck_assert(!arch_has_feature(regs, PPC64_FEATURE_LINUX));
	regs_destroy(regs);
}
END_TEST

/* What a vCPU does not tell of its page tables is unknown in the core too; 0 is a value. */
START_TEST(unknown_mmu_registers_stay_so)
{
	const struct note_desc *mmu = find_note("vmgdbserver", 0);
	struct regs *regs = regs_create(&arch_ppc64, ORDERS[_i]);
	uint8_t note[40];
	uint64_t value;

	regs_set(regs, PPC64_LPCR, 7);
	regs_set(regs, PPC64_HRMOR, 0);
	note_fill(mmu, regs, 0, note);
	regs_set(regs, PPC64_PID, 1);
	regs_set(regs, PPC64_PTCR, 1);
	regs_set(regs, PPC64_PRTB, 1);
	note_parse(mmu, note, regs, NULL);
	ck_assert(!regs_bytes(regs, PPC64_PID) && !regs_bytes(regs, PPC64_PTCR) && !regs_bytes(regs, PPC64_PRTB));
	ck_assert(regs_get(regs, PPC64_LPCR, &value) && value == 7);
	ck_assert(regs_get(regs, PPC64_HRMOR, &value) && value == 0);
	regs_destroy(regs);
}
END_TEST

/* For each vCPU in this order: VMCORE readers pair the notes that follow a PRSTATUS with it. */
START_TEST(notes_in_order)
{
	const struct note_set *set = arch_notes(&arch_ppc64, EM_PPC64);

	ck_assert_uint_eq(set->groups[0].n_notes, ARRAY_LEN(NOTE_CASES));
	for (size_t i = 0; i < ARRAY_LEN(NOTE_CASES); i++) {
		ck_assert_str_eq(set->groups[0].notes[i]->owner, NOTE_CASES[i].owner);
		ck_assert_uint_eq(set->groups[0].notes[i]->type, NOTE_CASES[i].type);
	}
}
END_TEST

/* ---- target.xml ---- */

START_TEST(target_xml_is_golden)
{
	struct regs *regs = spelled(ORDERS[_i]);
	char *want = text_file_read("tests/data/ppc64/target.xml");
	struct buf got = { 0 };

	arch_target_xml(regs, &got);
	ck_assert_str_eq(buf_str(&got), want);
	buf_deinit(&got);
	free(want);
	regs_destroy(regs);
}
END_TEST

struct feature_case {
	unsigned reg;
	const char *feature;
};

static const struct feature_case FEATURE_CASES[] = {
	{ PPC64_VR0, "org.gnu.gdb.power.altivec" },
	{ PPC64_VS0H, "org.gnu.gdb.power.vsx" },
	{ PPC64_TRAP, "org.gnu.gdb.power.linux" },
	{ PPC64_PRTB, "org.vmgdbserver.ppc64.system" },
};

START_TEST(features_that_a_guest_lacks)
{
	struct regs *regs = spelled(ORDER_LITTLE);
	struct buf xml = { 0 };

	regs_forget(regs, FEATURE_CASES[_i].reg);
	arch_target_xml(regs, &xml);
	for (size_t i = 0; i < ARRAY_LEN(FEATURE_CASES); i++)
		ck_assert((strstr(buf_str(&xml), FEATURE_CASES[i].feature) != NULL) == ((size_t)_i != i));
	buf_deinit(&xml);
	regs_destroy(regs);
}
END_TEST

static TCase *translate_tests(void)
{
	TCase *tc = tcase_create("translate");

	tcase_add_loop_test(tc, translate_every_tree, 0, 2 * ARRAY_LEN(TRANSLATIONS));
	tcase_add_loop_test(tc, translate_broken_at_every_level, 0, ARRAY_LEN(TRANSLATIONS));
	tcase_add_test(tc, translate_quadrant_0_needs_pid);
	tcase_add_loop_test(tc, translate_in_hypervisor_state, 0, ARRAY_LEN(HOST_CASES));
	tcase_add_test(tc, partition_table_without_memory);
	tcase_add_loop_test(tc, real_mode, 0, ARRAY_LEN(REAL_CASES));
	tcase_add_loop_test(tc, linear_map, 0, 8);
	return tc;
}

static TCase *walk_tests(void)
{
	TCase *tc = tcase_create("walk");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, walk_both_quadrants);
	tcase_add_loop_test(tc, walk_the_kernel_alone, 0, 4);
	tcase_add_loop_test(tc, walk_passes_over_tables_without_memory, 0, 5);
	tcase_add_test(tc, walk_ends_on_hostile_tables);
	tcase_add_loop_test(tc, walk_ends_with_the_callbacks_error, 1, ARRAY_LEN(KERNEL_AND_PROCESS) + 1);
	tcase_add_loop_test(tc, walk_ends_with_a_read_error, 0, 4);
	return tc;
}

static TCase *state_tests(void)
{
	TCase *tc = tcase_create("state");

	tcase_add_loop_test(tc, byte_order_of_the_guest, 0, 2 * ARRAY_LEN(ORDER_CASES));
	tcase_add_test(tc, elf_header);
	tcase_add_test(tc, rows_of_the_arch);
	return tc;
}

static TCase *note_tests(void)
{
	TCase *tc = tcase_create("notes");

	tcase_add_loop_test(tc, note_layout, 0, 2 * ARRAY_LEN(NOTE_CASES));
	tcase_add_loop_test(tc, vectors_in_both_orders, 0, 2);
	tcase_add_loop_test(tc, notes_round_trip, 0, 2);
	tcase_add_loop_test(tc, no_vcpu_has_trap, 0, 2);
	tcase_add_loop_test(tc, unknown_mmu_registers_stay_so, 0, 2);
	tcase_add_test(tc, notes_in_order);
	return tc;
}

static TCase *table_tests(void)
{
	TCase *tc = tcase_create("table");

	tcase_add_loop_test(tc, target_xml_is_golden, 0, 2);
	tcase_add_loop_test(tc, features_that_a_guest_lacks, 0, ARRAY_LEN(FEATURE_CASES));
	return tc;
}

int main(void)
{
	Suite *s = suite_create("ppc64");

	suite_add_tcase(s, translate_tests());
	suite_add_tcase(s, walk_tests());
	suite_add_tcase(s, state_tests());
	suite_add_tcase(s, note_tests());
	suite_add_tcase(s, table_tests());
	return suite_run(s);
}
