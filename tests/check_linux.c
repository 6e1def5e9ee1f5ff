/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <check.h>
#include <linux/btf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/ppc64/ppc64.h"
#include "arch/s390x/s390x.h"
#include "arch/x86_64/x86_64.h"
#include "guest/fake.h"
#include "guest/os.h"
#include "linux/linux.h"
#include "tests/btf_build.h"
#include "tests/kallsyms_build.h"
#include "tests/suite.h"

/*
 * A guest with the page tables of a Linux kernel with KASLR and page-table
 * isolation: Documentation/arch/x86/x86_64/mm.rst.
 */
#define MIB (1ull << 20)
#define RAM_BYTES (64 * MIB)
#define HIGH_GPA 0x100000000ull	     /* a second block, which the direct map does not have */
#define KERNEL_PGD 0x4000u
#define USER_PGD 0x5000u
#define IDT_GPA 0x9000u
#define IDT_GVA 0xfffffe0000000000ull
#define SLIDE 0x3200000ull
#define IMAGE_GVA (0xffffffff81000000ull + SLIDE)
#define IMAGE_GPA (24 * MIB)
#define PAGE_OFFSET 0xffff8f4000000000ull
#define ENTRY_GVA (IMAGE_GVA + 0x201234) /* in the second 2 MiB of the image */

/* phys_base is what __pa() adds to an address above __START_KERNEL_map. */
#define INFO                                                                              \
	"OSRELEASE=6.1.0-test\nPAGESIZE=4096\nSYMBOL(_stext)=ffffffff84200000\n"          \
	"NUMBER(phys_base)=-44040192\nKERNELOFFSET=3200000\n"

#define PRESENT 3u
#define LARGE 0x83u

static void ok(struct err *e)
{
	ck_assert_msg(!e, "%s", e ? err_text(e) : "");
}

static void set_entry(struct guest *g, uint64_t table, uint64_t index, uint64_t value)
{
	store_uint(fake_at(g, table + 8 * (index & 511)), 8, ORDER_LITTLE, value);
}

/* The entry of gva in a table of this level (1 to 4). */
static void map(struct guest *g, uint64_t table, unsigned level, uint64_t gva, uint64_t value)
{
	set_entry(g, table, gva >> (12 + 9 * (level - 1)), value);
}

static void set_tables(struct guest *g)
{
	map(g, KERNEL_PGD, 4, PAGE_OFFSET, 0x10000 | PRESENT);
	map(g, 0x10000, 3, PAGE_OFFSET, 0 | LARGE); /* 1 GiB */
	map(g, KERNEL_PGD, 4, IMAGE_GVA, 0x11000 | PRESENT);
	map(g, 0x11000, 3, IMAGE_GVA, 0x12000 | PRESENT);
	/* 4 MiB of image, 2 MiB that were freed, 2 MiB more. */
	for (unsigned i = 0; i < 4; i++)
		if (i != 2)
			map(g, 0x12000, 2, IMAGE_GVA + i * 2 * MIB, (IMAGE_GPA + i * 2 * MIB) | LARGE);
	map(g, KERNEL_PGD, 4, IDT_GVA, 0x13000 | PRESENT);
	map(g, 0x13000, 3, IDT_GVA, 0x14000 | PRESENT);
	map(g, 0x14000, 2, IDT_GVA, 0x15000 | PRESENT);
	map(g, 0x15000, 1, IDT_GVA, IDT_GPA | PRESENT);
	/* In user mode only the entry code is mapped, and it is aligned. */
	map(g, USER_PGD, 4, IDT_GVA, 0x13000 | PRESENT);
	map(g, USER_PGD, 4, IMAGE_GVA, 0x16000 | PRESENT);
	map(g, 0x16000, 3, IMAGE_GVA, 0x17000 | PRESENT);
	map(g, 0x17000, 2, ENTRY_GVA, (IMAGE_GPA + 2 * MIB) | LARGE);
}

/* Gate 14: the offset is in bits 0-15, 48-63 and 64-95. */
static void set_gate(struct guest *g, uint64_t handler)
{
	uint8_t *gate = fake_at(g, IDT_GPA + 14 * 16);

	store_uint(gate, 2, ORDER_LITTLE, handler & 0xffff);
	store_uint(gate + 6, 2, ORDER_LITTLE, handler >> 16 & 0xffff);
	store_uint(gate + 8, 4, ORDER_LITTLE, handler >> 32);
}

static struct guest *linux_guest(void)
{
	const struct mem_block blocks[] = {
		{ .gpa = 0, .bytes = RAM_BYTES },
		{ .gpa = HIGH_GPA, .bytes = MIB },
	};
	struct guest *g = fake_create(&arch_x86_64, ORDER_LITTLE, 2, blocks, ARRAY_LEN(blocks));

	fake_of(g)->sparse = true;
	set_tables(g);
	set_gate(g, ENTRY_GVA);
	for (unsigned i = 0; i < 2; i++) {
		struct regs *r = fake_of(g)->regs[i];

		regs_set(r, X86_CR0, X86_CR0_PE | X86_CR0_PG);
		regs_set(r, X86_CR3, KERNEL_PGD);
		regs_set(r, X86_CR4, X86_CR4_PAE);
		regs_set(r, X86_EFER, X86_EFER_LME | X86_EFER_LMA);
		regs_set(r, X86_IDTR_BASE, IDT_GVA);
		regs_set(r, X86_RIP, 0x401000);
	}
	g->os = linux_os_create(g);
	return g;
}

/* ---- the image ---- */

static void as_it_is(struct guest *g)
{
	(void)g;
}

static void by_lstar(struct guest *g)
{
	set_gate(g, 0);
	regs_set(fake_of(g)->regs[0], X86_LSTAR, ENTRY_GVA);
}

static void by_rip(struct guest *g)
{
	set_gate(g, 0);
	regs_set(fake_of(g)->regs[1], X86_RIP, ENTRY_GVA);
}

static void in_user_mode(struct guest *g)
{
	for (unsigned i = 0; i < 2; i++)
		regs_set(fake_of(g)->regs[i], X86_CR3, USER_PGD | 0x80); /* with a PCID */
}

static void one_in_firmware(struct guest *g)
{
	regs_set(fake_of(g)->regs[0], X86_CR0, 0);
	regs_set(fake_of(g)->regs[0], X86_CR4, 0);
	regs_set(fake_of(g)->regs[0], X86_EFER, 0);
}

static void all_in_firmware(struct guest *g)
{
	one_in_firmware(g);
	regs_copy(fake_of(g)->regs[1], fake_of(g)->regs[0]);
}

/* OpenBSD has its kernel at the same addresses. */
static void other_idt(struct guest *g)
{
	for (unsigned i = 0; i < 2; i++)
		regs_set(fake_of(g)->regs[i], X86_IDTR_BASE, 0xffff800000000000);
}

/* FreeBSD maps from the start of that region on. */
static void mapped_below(struct guest *g)
{
	for (unsigned i = 0; i < 64; i++)
		map(g, 0x12000, 2, 0xffffffff80000000ull + i * 2 * MIB, i * 2 * MIB | LARGE);
}

static void unaligned(struct guest *g)
{
	map(g, 0x12000, 2, IMAGE_GVA, 0x18000 | PRESENT);
	for (unsigned i = 1; i < 512; i++)
		set_entry(g, 0x18000, i, (IMAGE_GPA + i * 4096) | PRESENT);
}

static const char *info_of_kexec(struct guest *g, size_t *ret_bytes)
{
	static const char text[] = INFO "SYMBOL(init_top_pgt)=ffffffff82a04000\nNUMBER(pgtable_l5_enabled)=0\n";

	(void)g;
	*ret_bytes = sizeof(text) - 1;
	return text;
}

/* kexec's cores have no control registers. */
static void only_by_note(struct guest *g)
{
	static struct guest_ops ops;

	ops = *g->ops;
	ops.vmcoreinfo = info_of_kexec;
	g->ops = &ops;
	for (unsigned i = 0; i < 2; i++)
		for (unsigned r = X86_CR0; r < X86_N_REGS; r++)
			regs_forget(fake_of(g)->regs[i], r);
}

static const struct {
	void (*change)(struct guest *g);
	bool found;
} IMAGES[] = {
	{ as_it_is, true },
	{ by_lstar, true },
	{ by_rip, true },
	{ in_user_mode, true },
	{ one_in_firmware, true },
	{ only_by_note, true },
	{ all_in_firmware, false },
	{ other_idt, false },
	{ mapped_below, false },
	{ unaligned, false },
};

START_TEST(image_and_slide)
{
	struct guest *g = linux_guest();
	uint64_t slide = 0;
	struct err *e;

	IMAGES[_i].change(g);
	ck_assert_int_eq(os_detect(g), IMAGES[_i].found);
	e = os_slide(g, &slide);
	if (IMAGES[_i].found) {
		ok(e);
		ck_assert_uint_eq(slide, SLIDE);
	} else {
		ck_assert(e && err_code(e) == ERR_UNKNOWN);
		err_destroy(e);
	}
	guest_destroy(g);
}
END_TEST

static void check_map(struct guest *g, const struct mapping *want, size_t n_want)
{
	struct mapping *got = NULL;
	size_t n = 0;

	ok(os_kernel_map(g, &got, &n));
	ck_assert_uint_eq(n, n_want);
	for (size_t i = 0; i < n; i++) {
		ck_assert_uint_eq(got[i].gva, want[i].gva);
		ck_assert_uint_eq(got[i].gpa, want[i].gpa);
		ck_assert_uint_eq(got[i].bytes, want[i].bytes);
	}
	free(got);
}

START_TEST(kernel_map)
{
	static const struct mapping want[] = {
		{ PAGE_OFFSET, 0, RAM_BYTES, 0 },
		{ IMAGE_GVA, IMAGE_GPA, 8 * MIB, 0 },
	};
	struct guest *g = linux_guest();

	if (_i)
		in_user_mode(g);
	check_map(g, want, ARRAY_LEN(want));
	guest_destroy(g);
}
END_TEST

/* ---- VMCOREINFO ---- */

static void put_note(struct guest *g, uint64_t gpa, const char *text)
{
	const uint32_t head[] = { 11, (uint32_t)strlen(text), 0 };
	uint8_t note[24] = { 0 };

	for (unsigned i = 0; i < 3; i++)
		store_uint(note + 4 * i, 4, g->order, head[i]);
	memcpy(note + 12, "VMCOREINFO", 10);
	for (size_t i = 0; i < sizeof(note); i++)
		*fake_at(g, gpa + i) = note[i];
	for (size_t i = 0; i < strlen(text); i++)
		*fake_at(g, gpa + sizeof(note) + i) = (uint8_t)text[i];
}

static void check_info(struct guest *g, const char *want)
{
	const char *text = NULL;
	size_t bytes = 0;
	struct err *e = os_vmcoreinfo(g, &text, &bytes);

	if (!want) {
		ck_assert(e && err_code(e) == ERR_UNKNOWN);
		err_destroy(e);
		return;
	}
	ok(e);
	ck_assert_uint_eq(bytes, strlen(want));
	ck_assert_int_eq(memcmp(text, want, bytes), 0);
}

#define INFO_BYTES (24 + sizeof(INFO) - 1)

static const struct {
	uint64_t gpa;
	bool found;
} PLACES[] = {
	{ 0x20000, true },
	{ 0x20004, true },
	{ 0x20002, false },			       /* a note is aligned to 4 */
	{ 0, true },
	{ 0x2fffffc, true },			       /* across pages, */
	{ 0x2fffff0, true },			       /* and across what is read in one piece */
	{ 0x2ffffe0, true },
	{ 0x2ffffd8, true },
	{ RAM_BYTES - ALIGN_UP(INFO_BYTES, 4), true },
	{ HIGH_GPA, true },
};

START_TEST(info_is_found_anywhere)
{
	struct guest *g = linux_guest();

	/* One long run of pages, so that pieces end where they are cut. */
	for (uint64_t gpa = 0x1000000; gpa < 0x4000000; gpa += 4096)
		if (gpa < IMAGE_GPA || gpa > IMAGE_GPA + 8 * MIB)
			*fake_at(g, gpa + 2000) = 1;
	fake_of(g)->sparse = _i % 2;
	put_note(g, PLACES[_i / 2].gpa, INFO);
	check_info(g, PLACES[_i / 2].found ? INFO : NULL);
	check_info(g, PLACES[_i / 2].found ? INFO : NULL);
	guest_destroy(g);
}
END_TEST

static const char *const UNSOUND[] = {
	"OSRELEASE=6.1.0\nSYMBOL(_stext)=ffffffff84200000\n",		      /* no page size */
	"OSRELEASE=6.1.0\nPAGESIZE=4096\nSYMBOL(_stext)=ffffffff84200000",    /* cut off */
	"OSRELEASE=6.1\1\nPAGESIZE=4096\nSYMBOL(_stext)=ffffffff84200000\n",
	"OSRELEASE=6.1.0\nPAGESIZE=4096\nno key\nSYMBOL(_stext)=ffffffff84200000\n",
	"RELEASE=6.1.0\nPAGESIZE=4096\nSYMBOL(_stext)=ffffffff84200000\n",
	/* Of another kernel: */
	"OSRELEASE=6.1.0\nPAGESIZE=4096\n",
	"OSRELEASE=6.1.0\nPAGESIZE=4096\nSYMBOL(_stext)=ffffffff81000000\n",
	"OSRELEASE=6.1.0\nPAGESIZE=4096\nSYMBOL(_stext)=ffffffff84200000\nNUMBER(phys_base)=0\n",
	"OSRELEASE=6.1.0\nPAGESIZE=4096\nSYMBOL(_stext)=ffffffff84200000\nKERNELOFFSET=1000000\n",
};

START_TEST(wrong_infos_are_passed_over)
{
	struct guest *g = linux_guest();

	put_note(g, 0x30000, UNSOUND[_i]);
	check_info(g, NULL);
	g->stops++;
	put_note(g, 0x50000, INFO);
	check_info(g, INFO);
	guest_destroy(g);
}
END_TEST

/* What was found at one stop is looked at again at the next. */
START_TEST(info_belongs_to_a_stop)
{
	static const char later[] = "OSRELEASE=6.2.0\nPAGESIZE=4096\nSYMBOL(_stext)=ffffffff84200000\n";
	struct guest *g = linux_guest();

	put_note(g, 0x30000, INFO);
	check_info(g, INFO);
	put_note(g, 0x30000, later);
	check_info(g, INFO);
	g->stops++;
	check_info(g, later);
	memset(fake_at(g, 0x30000), 0, 4096);
	put_note(g, 0x800000, INFO);
	g->stops++;
	check_info(g, INFO);
	guest_destroy(g);
}
END_TEST

START_TEST(other_architectures_are_unknown)
{
	const struct mem_block block = { .gpa = 0, .bytes = 0x1000 };
	struct arch other = arch_x86_64;
	struct guest *g;

	other.name = "other";
	g = fake_create(&other, ORDER_LITTLE, 1, &block, 1);
	g->os = linux_os_create(g);
	ck_assert(!os_detect(g));
	check_info(g, NULL);
	guest_destroy(g);
}
END_TEST

/* ---- s390x ---- */

#define S390_TABLES 0x400000u
#define S390_PREFIX 0x10000u
#define S390_NOTE 0x800000u
#define S390_USER_PSW 0x0705000180000000ull	/* of a process: primary space, problem state */
#define S390_NEW_PSW 0x0404c00180000000ull	/* PSW_KERNEL_BITS: home space */
#define S390_VMALLOC 0x80000000ull
#define S390_INFO_OF(release) \
	"OSRELEASE=" release "\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=400000\nSYMBOL(_stext)=100000\nKERNELOFFSET=3000\n"
#define S390_INFO S390_INFO_OF("6.1.0-s390x")

static void set_big(struct guest *g, uint64_t gpa, uint64_t value)
{
	store_uint(fake_at(g, gpa), 8, ORDER_BIG, value);
}

/*
 * Region-third, segment and page tables: z/Architecture Principles of Operation,
 * "Dynamic Address Translation". The first 64 MiB are frames of 1 MiB, one to one.
 */
static void set_s390_tables(struct guest *g)
{
	set_big(g, S390_TABLES, 0x410000 | 0x7);
	for (unsigned i = 0; i < RAM_BYTES / MIB; i++)
		set_big(g, 0x410000 + 8 * i, i * MIB | 0x400);
	for (unsigned i = RAM_BYTES / MIB; i < 2048; i++)
		set_big(g, 0x410000 + 8 * i, 0x20);
	set_big(g, S390_TABLES + 8, 0x420000 | 0x7);
	for (unsigned i = 0; i < 2048; i++)
		set_big(g, 0x420000 + 8 * i, i ? 0x20 : 0x430000);
	for (unsigned i = 0; i < 256; i++)
		set_big(g, 0x430000 + 8 * i, 0x400);
	set_big(g, 0x430000, 0x700000);
	set_big(g, 0x430008, 0x500000);
	for (unsigned i = 2; i < 2048; i++)
		set_big(g, S390_TABLES + 8 * i, 0x20);
}

static struct guest *s390_guest(void)
{
	const struct mem_block block = { .gpa = 0, .bytes = RAM_BYTES };
	struct guest *g = fake_create(&arch_s390x, ORDER_BIG, 2, &block, 1);

	fake_of(g)->sparse = true;
	set_s390_tables(g);
	for (unsigned i = 0; i < 2; i++) {
		struct regs *r = fake_of(g)->regs[i];

		regs_set(r, S390X_PSWM, S390_USER_PSW);
		regs_set(r, S390X_CR0, S390X_CR0_EDAT);
		regs_set(r, S390X_CR0 + 1, 0x2000000 | 0x7); /* the process has nothing mapped */
		regs_set(r, S390X_CR0 + 13, S390_TABLES | 0x7);
		regs_set(r, S390X_PREFIX, S390_PREFIX + i * 0x2000);
		set_big(g, S390_PREFIX + i * 0x2000 + 0x1d0, S390_NEW_PSW);
		set_big(g, S390_PREFIX + i * 0x2000 + 0x1d8, 0x100400);
	}
	g->os = linux_os_create(g);
	return g;
}

static const struct {
	uint64_t pointer;     /* at 0xe0c */
	const char *pointed;  /* at S390_NOTE */
	const char *searched; /* below it */
	const char *want;
	uint64_t slide;
} S390_NOTES[] = {
	{ S390_NOTE, S390_INFO, S390_INFO_OF("5.10"), S390_INFO, 0x3000 },
	{ 0, S390_INFO, NULL, S390_INFO, 0 },
	{ 1, S390_INFO, NULL, S390_INFO, 0 },
	{ RAM_BYTES - 8, S390_INFO, NULL, S390_INFO, 0 },
	{ UINT64_MAX - 3, S390_INFO, NULL, S390_INFO, 0 },
	{ S390_NOTE, "OSRELEASE=6.1\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=500000\nSYMBOL(_stext)=100000\n", S390_INFO,
	  S390_INFO, 0 },
	{ S390_NOTE, "OSRELEASE=6.1\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=400000\n", NULL, NULL, 0 },
};

START_TEST(s390_info)
{
	struct guest *g = s390_guest();
	uint64_t slide = 1;

	set_big(g, 0xe0c, S390_NOTES[_i].pointer);
	put_note(g, S390_NOTE, S390_NOTES[_i].pointed);
	if (S390_NOTES[_i].searched)
		put_note(g, 0x30000, S390_NOTES[_i].searched);
	ck_assert(os_detect(g));
	ok(os_slide(g, &slide));
	ck_assert_uint_eq(slide, S390_NOTES[_i].slide);
	check_info(g, S390_NOTES[_i].want);
	ok(os_slide(g, &slide));
	ck_assert_uint_eq(slide, S390_NOTES[_i].want ? 0x3000 : 0);
	guest_destroy(g);
}
END_TEST

/* Prefixing is a vCPU's own: frames 0 and up stay where they are. */
START_TEST(s390_kernel_map)
{
	static const struct mapping want[] = {
		{ 0, 0, RAM_BYTES, 0 },
		{ S390_VMALLOC + 4096, 0x500000, 4096, 0 },
		{ S390_VMALLOC, 0x700000, 4096, 0 },
	};
	struct guest *g = s390_guest();

	check_map(g, want, ARRAY_LEN(want));
	guest_destroy(g);
}
END_TEST

#define S390_LPP (0x80000000ull << 32)

static const struct {
	uint64_t asce, user_asce, lpp; /* from 0x388 on, as Linux 6.1 has them */
	uint32_t pid;
	bool known;
} S390_TASKS[] = {
	{ S390_TABLES | 0x7, 0x2000007, S390_LPP | 95, 95, true },
	{ S390_TABLES | 0x7, 0x2000007, S390_LPP, 0, true }, /* idle */
	{ S390_TABLES | 0x7, S390_LPP | 96, S390_LPP | 95, 96, true },
	{ 0x2000007, 0x2000007, S390_LPP | 95, 0, false },
	{ S390_TABLES | 0x7, 0x2000007, 95, 0, false },
	{ S390_TABLES | 0x7, 0x2000007, S390_LPP | 0x400001, 0, false },
};

START_TEST(s390_pid)
{
	struct guest *g = s390_guest();
	uint64_t lowcore = S390_PREFIX + 0x2000; /* of vCPU 1 */
	uint32_t pid = 0;
	struct err *e;

	set_big(g, lowcore + 0x208, S390_LPP | 1234);
	set_big(g, lowcore + 0x388, S390_TASKS[_i].asce);
	set_big(g, lowcore + 0x390, S390_TASKS[_i].user_asce);
	set_big(g, lowcore + 0x398, S390_TASKS[_i].lpp);
	set_big(g, lowcore + 0x400, S390_LPP | 1234);
	e = os_vcpu_pid(g, 1, &pid);
	ck_assert_int_eq(!e, S390_TASKS[_i].known);
	ck_assert(!e || err_code(e) == ERR_UNKNOWN);
	ck_assert_uint_eq(pid, S390_TASKS[_i].pid);
	err_destroy(e);
	guest_destroy(g);
}
END_TEST

static void s390_31_bits(struct guest *g)
{
	set_big(g, S390_PREFIX + 0x1d0, 0x0404c00080000000);
	set_big(g, S390_PREFIX + 0x21d0, 0x0404c00080000000);
}

static void s390_unmapped(struct guest *g)
{
	set_big(g, S390_PREFIX + 0x1d8, RAM_BYTES);
	set_big(g, S390_PREFIX + 0x21d8, RAM_BYTES);
}

static void s390_no_tables(struct guest *g)
{
	regs_forget(fake_of(g)->regs[0], S390X_CR0 + 13);
	regs_set(fake_of(g)->regs[1], S390X_CR0 + 13, 0);
}

static void s390_one_vcpu(struct guest *g)
{
	regs_forget(fake_of(g)->regs[0], S390X_CR0 + 13);
}

/* ---- ppc64 ---- */

#define PPC_TABLE 0x1000000u /* of processes */
#define PPC_ROOT 0x1100000u
#define PPC_HIGH 0x10000000u
#define PPC_VMALLOC 0xc008000000000000ull
#define PPC_LPCR_HR (1ull << 20)
#define PPC_INFO "OSRELEASE=6.1.0-ppc64\nPAGESIZE=65536\nSYMBOL(_stext)=c000000000000000\n"

/* Power ISA 3.0B book III, 5.7.10: 52 bits of address, a root of 2^13 entries, pages of 1 GiB. */
static void set_radix(struct guest *g, uint64_t table)
{
	set_big(g, table, 2ull << 61 | PPC_ROOT | 0xad);
	set_big(g, PPC_ROOT, 1ull << 63 | 0x1120000 | 9);
	set_big(g, 0x1120000, 3ull << 62 | 0xf);
	set_big(g, PPC_ROOT + 8 * 4096, 1ull << 63 | 0x1130000 | 9);
	set_big(g, 0x1130000, 3ull << 62 | 0xf);
}

static struct guest *ppc_guest(enum byte_order order)
{
	const struct mem_block blocks[] = {
		{ .gpa = 0, .bytes = RAM_BYTES },
		{ .gpa = PPC_HIGH, .bytes = MIB },
	};
	struct guest *g = fake_create(&arch_ppc64, order, 2, blocks, ARRAY_LEN(blocks));

	fake_of(g)->sparse = true;
	store_uint(fake_at(g, 0x5c), 4, order, 0x72756e30); /* "run0" */
	set_radix(g, PPC_TABLE);
	for (unsigned i = 0; i < 2; i++) {
		struct regs *r = fake_of(g)->regs[i];

		regs_set(r, PPC64_MSR, PPC64_MSR_DR | (order == ORDER_LITTLE ? PPC64_MSR_LE : 0));
		regs_set(r, PPC64_LPCR, PPC_LPCR_HR | (order == ORDER_LITTLE ? PPC64_LPCR_ILE : 0));
	}
	g->os = linux_os_create(g);
	return g;
}

static struct guest *ppc_little(void)
{
	return ppc_guest(ORDER_LITTLE);
}

static struct guest *ppc_big(void)
{
	return ppc_guest(ORDER_BIG);
}

static void ppc_one_in_firmware(struct guest *g)
{
	regs_set(fake_of(g)->regs[0], PPC64_MSR, 0);
}

static void ppc_in_firmware(struct guest *g)
{
	ppc_one_in_firmware(g);
	regs_set(fake_of(g)->regs[1], PPC64_MSR, 0);
}

static void ppc_no_kernel(struct guest *g)
{
	store_uint(fake_at(g, 0x5c), 4, g->order, 0);
}

static const struct {
	struct guest *(*make)(void);
	void (*change)(struct guest *g);
	bool found;
} DETECTED[] = {
	{ s390_guest, as_it_is, true },
	{ s390_guest, s390_one_vcpu, true },
	{ s390_guest, s390_31_bits, false },
	{ s390_guest, s390_unmapped, false },
	{ s390_guest, s390_no_tables, false },
	{ ppc_little, as_it_is, true },
	{ ppc_big, as_it_is, true },
	{ ppc_little, ppc_one_in_firmware, true },
	{ ppc_little, ppc_in_firmware, false },
	{ ppc_big, ppc_no_kernel, false },
};

START_TEST(detected)
{
	struct guest *g = DETECTED[_i].make();

	DETECTED[_i].change(g);
	ck_assert_int_eq(os_detect(g), DETECTED[_i].found);
	guest_destroy(g);
}
END_TEST

START_TEST(ppc_kernel_map)
{
	static const struct mapping want[] = {
		{ 0xc000000000000000, 0, RAM_BYTES, 0 },
		{ 0xc000000010000000, PPC_HIGH, MIB, 0 },
	};
	struct guest *g = ppc_guest(_i ? ORDER_BIG : ORDER_LITTLE);

	check_map(g, want, ARRAY_LEN(want));
	guest_destroy(g);
}
END_TEST

/* The kernel keeps a page of 64 KiB for the text. */
START_TEST(ppc_info)
{
	struct guest *g = ppc_guest(_i ? ORDER_BIG : ORDER_LITTLE);
	char *text = malloc(65536 + 1);
	size_t bytes = strlen(PPC_INFO);
	uint64_t slide = 1;

	memcpy(text, PPC_INFO, bytes);
	memset(text + bytes, 'X', 65536 - bytes);
	memcpy(text + 65536 - 3, "=1\n", 4);
	put_note(g, 0x200000, text);
	check_info(g, text);
	ok(os_slide(g, &slide));
	ck_assert_uint_eq(slide, 0);
	free(text);
	guest_destroy(g);
}
END_TEST

static void ppc_hashed(struct guest *g)
{
	for (unsigned i = 0; i < 2; i++)
		regs_set(fake_of(g)->regs[i], PPC64_LPCR, PPC64_LPCR_ILE);
}

static void ppc_core(struct guest *g)
{
	for (unsigned i = 0; i < 2; i++)
		regs_forget(fake_of(g)->regs[i], PPC64_LPCR);
}

static void ppc_hashed_core(struct guest *g)
{
	ppc_core(g);
	set_big(g, PPC_TABLE, 0);
}

/* What looks like an entry, but leads nowhere, or out of RAM. */
static void ppc_decoys(struct guest *g)
{
	set_big(g, 0x20000, 2ull << 61 | 0x2000000 | 0xad);
	set_big(g, 0x30000, 2ull << 61 | 0x8000000 | 0xad);
}

static void ppc_short_map(struct guest *g)
{
	set_big(g, 0x1120000, 1ull << 63 | 0x1140000 | 9);
	set_big(g, 0x1140000, 3ull << 62 | 0xf); /* no more than 2 MiB */
}

static void ppc_unaligned(struct guest *g)
{
	set_big(g, PPC_TABLE, 0);
	set_radix(g, PPC_TABLE + 0x8000);
}

static const struct {
	void (*change)(struct guest *g);
	uint64_t table; /* 0: none is found */
} TABLES[] = {
	{ as_it_is, PPC_TABLE },
	{ ppc_core, PPC_TABLE },
	{ ppc_decoys, PPC_TABLE },
	{ ppc_in_firmware, PPC_TABLE },
	{ ppc_hashed, 0 },
	{ ppc_hashed_core, 0 },
	{ ppc_short_map, 0 },
	{ ppc_unaligned, 0 },
};

static void check_prtb(struct guest *g, uint64_t table)
{
	for (unsigned i = 0; i < 2; i++) {
		const struct regs *regs;
		uint64_t prtb = 0;

		ok(guest_regs(g, i, &regs));
		ck_assert_int_eq(regs_get(regs, PPC64_PRTB, &prtb), table != 0);
		ck_assert_uint_eq(prtb, table ? 1ull << 63 | table | 12 : 0);
	}
}

START_TEST(ppc_process_table)
{
	struct guest *g = ppc_guest(_i % 2 ? ORDER_BIG : ORDER_LITTLE);

	TABLES[_i / 2].change(g);
	check_prtb(g, TABLES[_i / 2].table);
	guest_destroy(g);
}
END_TEST

/* Addresses outside of the linear map can be read, at each stop by the table of then. */
START_TEST(ppc_vmalloc)
{
	struct guest *g = ppc_guest(ORDER_LITTLE);
	struct mapping m;

	ok(guest_translate(g, 1, PPC_VMALLOC + 0x5000, &m));
	ck_assert_uint_eq(m.gpa + (PPC_VMALLOC + 0x5000 - m.gva), 0x5000);
	fake_of(g)->sparse = false;
	ok(guest_resume(g));
	set_big(g, PPC_TABLE, 0);
	set_radix(g, 0x2000000);
	ok(guest_stop(g));
	check_prtb(g, 0x2000000);
	guest_destroy(g);
}
END_TEST

/* ---- tasks ---- */

/* Behind a task's pid: tgid, stack_canary, real_parent, parent, children, sibling, group_leader. */
#define PID_AT 0x9c8u
#define FAMILY_AT (PID_AT + 16)
#define CHILDREN_AT (FAMILY_AT + 16)
#define SIBLING_AT (FAMILY_AT + 32)
#define LEADER_AT (FAMILY_AT + 48)

/* A guest whose kernel has its RAM at one distance, and what stands in it. */
struct tasks {
	struct guest *g;
	uint64_t distance; /* the image of x86_64 has its own */
	struct kallsyms_build build;
	struct buf info;
};

static uint8_t *at(struct tasks *t, uint64_t gva)
{
	return fake_at(t->g, gva >= IMAGE_GVA ? gva - IMAGE_GVA + IMAGE_GPA : gva - t->distance);
}

static void put(struct tasks *t, uint64_t gva, size_t bytes, uint64_t value)
{
	store_uint(at(t, gva), bytes, t->g->order, value);
}

static void put_list(struct tasks *t, uint64_t gva)
{
	put(t, gva, 8, gva);
	put(t, gva + 8, 8, gva);
}

static void put_task(struct tasks *t, uint64_t task, uint32_t pid, uint32_t tgid, uint64_t leader)
{
	put(t, task + PID_AT, 4, pid);
	put(t, task + PID_AT + 4, 4, tgid);
	put(t, task + PID_AT + 8, 8, 0x1122334455667700); /* the canary */
	put(t, task + FAMILY_AT, 8, leader);
	put(t, task + FAMILY_AT + 8, 8, leader);
	put_list(t, task + CHILDREN_AT);
	put_list(t, task + SIBLING_AT);
	put(t, task + LEADER_AT, 8, leader);
}

static void check_pid(struct guest *g, unsigned vcpu, int64_t want)
{
	uint32_t pid = 0;
	struct err *e = os_vcpu_pid(g, vcpu, &pid);

	if (want < 0)
		ck_assert_msg(e && err_code(e) == ERR_UNKNOWN, "%s", e ? err_text(e) : "it is known");
	else
		ck_assert_msg(!e && pid == want, "%u: %s", pid, e ? err_text(e) : "");
	err_destroy(e);
}

#define X86_RAM(gpa) (PAGE_OFFSET + (gpa))
#define X86_AREA(cpu) X86_RAM(0x2000000u + (cpu) * 0x100000u) /* per CPU */
#define X86_TASK X86_RAM(0x2800000u)
#define X86_LEADER X86_RAM(0x2810000u)
#define X86_TABLES (IMAGE_GVA + 0x10000)
#define X86_BANNER (IMAGE_GVA + 0x20000)
#define X86_UTS (IMAGE_GVA + 0x30000)
#define X86_BTF (IMAGE_GVA + 0x40000)
#define THIS_CPU_OFF 0x19168u
#define CURRENT_TASK 0x1fb80u

static const struct kallsyms_symbol X86_SYMBOLS[] = {
	{ "this_cpu_off", THIS_CPU_OFF, 'A' },
	{ "current_task", CURRENT_TASK, 'A' },
	{ "_stext", IMAGE_GVA, 'T' },
	{ "linux_banner", X86_BANNER, 'D' },
	{ "__start_BTF", X86_BTF, 'R' },
	{ "__stop_BTF", X86_BTF + 0x1000, 'R' },
};

/* 6.15 and later: the variables of each CPU have addresses in the kernel's image, too. */
#define X86_LATER (IMAGE_GVA + 0x400000)
static const struct kallsyms_symbol X86_LATER_SYMBOLS[] = {
	{ "_stext", IMAGE_GVA, 'T' },
	{ "this_cpu_off", X86_LATER + THIS_CPU_OFF, 'D' },
	{ "current_task", X86_LATER + CURRENT_TASK, 'D' },
};

static void put_symbols(struct tasks *t, enum kallsyms_form form, const struct kallsyms_symbol *symbols, size_t n)
{
	t->build = (struct kallsyms_build){ .form = form, .symbols = symbols, .n = n, .gva = X86_TABLES,
					    .gpa = X86_TABLES - IMAGE_GVA + IMAGE_GPA };
	kallsyms_build(&t->build, t->g, &t->info);
	put_note(t->g, 0x30000, buf_str(&t->info));
}

/* Task 95 runs on vCPU 1, in the kernel; vCPU 0 has nothing that would be of Linux. */
static struct tasks x86_tasks(void)
{
	struct tasks t = { .g = linux_guest(), .distance = PAGE_OFFSET };
	struct regs *r = fake_of(t.g)->regs[1];

	buf_addf(&t.info, "%sSYMBOL(init_uts_ns)=%llx\nOFFSET(uts_namespace.name)=16\n", INFO,
		 (unsigned long long)X86_UTS);
	put_symbols(&t, KALLSYMS_PERCPU, X86_SYMBOLS, ARRAY_LEN(X86_SYMBOLS));
	put_task(&t, X86_TASK, 95, 95, X86_TASK);
	put(&t, X86_AREA(1) + THIS_CPU_OFF, 8, X86_AREA(1));
	put(&t, X86_AREA(1) + CURRENT_TASK, 8, X86_TASK);
	regs_set(r, X86_CS, 0x10);
	regs_set(r, X86_GS_BASE, X86_AREA(1));
	regs_set(r, X86_K_GS_BASE, 0x7f0012345000);
	return t;
}

static void end_tasks(struct tasks *t)
{
	buf_deinit(&t->info);
	guest_destroy(t->g);
}

static void t_as_it_is(struct tasks *t)
{
	(void)t;
}

static void t_in_user_mode(struct tasks *t)
{
	struct regs *r = fake_of(t->g)->regs[1];

	in_user_mode(t->g);
	regs_set(r, X86_CS, 0x33);
	regs_set(r, X86_GS_BASE, 0);
	regs_set(r, X86_K_GS_BASE, X86_AREA(1));
}

/* With FSGSBASE a process may take any address; here the area of another CPU. */
static void t_user_lies(struct tasks *t)
{
	t_in_user_mode(t);
	put(t, X86_AREA(0) + THIS_CPU_OFF, 8, X86_AREA(0));
	put(t, X86_AREA(0) + CURRENT_TASK, 8, X86_LEADER);
	put_task(t, X86_LEADER, 7, 7, X86_LEADER);
	regs_set(fake_of(t->g)->regs[1], X86_GS_BASE, X86_AREA(0));
}

static void t_before_swapgs(struct tasks *t)
{
	regs_set(fake_of(t->g)->regs[1], X86_GS_BASE, 0x7f0012345000);
	regs_set(fake_of(t->g)->regs[1], X86_K_GS_BASE, X86_AREA(1));
}

static void t_no_area(struct tasks *t)
{
	regs_set(fake_of(t->g)->regs[1], X86_GS_BASE, 0);
}

static void t_other_area(struct tasks *t)
{
	put(t, X86_AREA(1) + THIS_CPU_OFF, 8, X86_AREA(0));
}

static void t_idle(struct tasks *t)
{
	put_task(t, X86_TASK, 0, 0, X86_TASK);
}

static void t_thread(struct tasks *t)
{
	put_task(t, X86_LEADER, 90, 90, X86_LEADER);
	put_task(t, X86_TASK, 96, 90, X86_LEADER);
}

static void t_other_leader(struct tasks *t)
{
	put_task(t, X86_LEADER, 91, 91, X86_LEADER);
	put_task(t, X86_TASK, 96, 90, X86_LEADER);
}

static void t_broken_list(struct tasks *t)
{
	put(t, X86_TASK + SIBLING_AT + 8, 8, X86_TASK + CHILDREN_AT);
}

static void t_large_pid(struct tasks *t)
{
	put_task(t, X86_TASK, 0x400000, 0x400000, X86_TASK);
}

static void t_task_is_nowhere(struct tasks *t)
{
	put(t, X86_AREA(1) + CURRENT_TASK, 8, UINT64_MAX - 15);
}

/* struct task_struct { u32 a; u32 pid; }, and what 6.2 to 6.14 have. */
static void put_types(struct tasks *t)
{
	struct btf_build b;
	struct buf out = { 0 };
	uint32_t u32_id, u64_id, inner, both;

	btf_build_init(&b, 1);
	u32_id = btf_build_int(&b, "u32", 4);
	u64_id = btf_build_int(&b, "u64", 8);
	btf_build_struct(&b, BTF_KIND_STRUCT, "task_struct", 8,
			 (struct btf_build_member[]){ { "a", u32_id, 0 }, { "pid", u32_id, 32 } }, 2);
	inner = btf_build_struct(&b, BTF_KIND_STRUCT, NULL, 16,
				 (struct btf_build_member[]){ { "count", u64_id, 0 }, { "current_task", u64_id, 64 } },
				 2);
	both = btf_build_struct(&b, BTF_KIND_UNION, NULL, 64, (struct btf_build_member[]){ { NULL, inner, 0 } }, 1);
	btf_build_struct(&b, BTF_KIND_STRUCT, "pcpu_hot", 64, (struct btf_build_member[]){ { NULL, both, 0 } }, 1);
	btf_build_finish(&b, &out);
	memcpy(at(t, X86_BTF), out.data, out.len);
	buf_deinit(&out);
	put(t, X86_TASK + 4, 4, 1234);
}

static const struct kallsyms_symbol X86_HOT_SYMBOLS[] = {
	{ "this_cpu_off", THIS_CPU_OFF, 'A' },
	{ "pcpu_hot", CURRENT_TASK - 8, 'A' },
	{ "_stext", IMAGE_GVA, 'T' },
	{ "__start_BTF", X86_BTF, 'R' },
	{ "__stop_BTF", X86_BTF + 0x1000, 'R' },
};

static void t_hot(struct tasks *t)
{
	buf_reset(&t->info);
	buf_adds(&t->info, INFO);
	put_types(t);
	put_symbols(t, KALLSYMS_PERCPU, X86_HOT_SYMBOLS, ARRAY_LEN(X86_HOT_SYMBOLS));
}

/* The area's distance takes the place of its address. */
static void t_later(struct tasks *t)
{
	uint64_t distance = X86_AREA(1) - X86_LATER;

	buf_reset(&t->info);
	buf_adds(&t->info, INFO);
	put_symbols(t, KALLSYMS_FROM_BASE, X86_LATER_SYMBOLS, ARRAY_LEN(X86_LATER_SYMBOLS));
	put(t, X86_AREA(1) + THIS_CPU_OFF, 8, distance);
	regs_set(fake_of(t->g)->regs[1], X86_GS_BASE, distance);
}

static void t_no_tables(struct tasks *t)
{
	put_note(t->g, 0x30000, INFO);
}

static void t_tables_are_gone(struct tasks *t)
{
	memset(fake_at(t->g, t->build.gpa), 0, 0x1000);
}

static const struct {
	void (*change)(struct tasks *t);
	int64_t pid; /* -1: not known */
} X86_TASKS[] = {
	{ t_as_it_is, 95 },
	{ t_in_user_mode, 95 },
	{ t_user_lies, 95 },
	{ t_before_swapgs, 95 },
	{ t_idle, 0 },
	{ t_thread, 96 },
	{ put_types, 1234 },
	{ t_hot, 1234 },
	{ t_later, 95 },
	{ t_no_area, -1 },
	{ t_other_area, -1 },
	{ t_other_leader, -1 },
	{ t_broken_list, -1 },
	{ t_large_pid, -1 },
	{ t_task_is_nowhere, -1 },
	{ t_no_tables, -1 },
	{ t_tables_are_gone, -1 },
};

START_TEST(x86_pid)
{
	struct tasks t = x86_tasks();

	X86_TASKS[_i].change(&t);
	check_pid(t.g, 1, X86_TASKS[_i].pid);
	check_pid(t.g, 0, -1);
	check_pid(t.g, 1, X86_TASKS[_i].pid);
	end_tasks(&t);
}
END_TEST

#define PPC_RAM(gpa) (PPC64_LINEAR_GVA + (gpa))
#define PPC_PACA PPC_RAM(0x2880000u)
#define PPC_TASK PPC_RAM(0x2000000u)
#define PPC_USER 0x429b77c0u

static struct tasks ppc_tasks(enum byte_order order)
{
	struct tasks t = { .g = ppc_guest(order), .distance = PPC64_LINEAR_GVA };

	buf_adds(&t.info, PPC_INFO);
	put_note(t.g, 0x200000, PPC_INFO);
	put_task(&t, PPC_TASK, 98, 98, PPC_TASK);
	put(&t, PPC_PACA + 0x10, 8, PPC_RAM(0x100)); /* of code, and no task */
	put(&t, PPC_PACA + 0x90, 8, PPC_TASK);
	return t;
}

static const struct {
	uint64_t sprg1, hsprg0, r13; /* 0: not known */
	bool user;
	int64_t pid;
} PPC_TASKS[] = {
	{ PPC_PACA, 0, PPC_PACA, false, 98 },
	{ PPC_PACA, 0, PPC_USER, true, 98 },
	{ PPC_PACA, 0, PPC_USER, false, 98 }, /* just behind an interrupt's start */
	{ PPC_USER, PPC_PACA, PPC_USER, true, 98 },
	{ 0, 0, PPC_PACA, false, 98 },
	{ 0, 0, PPC_PACA, true, -1 },
	{ 0, 0, PPC_USER, false, -1 },
	{ PPC_RAM(0x3000000u), 0, 0, false, -1 },
	{ UINT64_MAX, 0, 0, false, -1 },
};

static void set_known(struct regs *r, unsigned reg, uint64_t value)
{
	if (value)
		regs_set(r, reg, value);
}

START_TEST(ppc_pid)
{
	struct tasks t = ppc_tasks(_i % 2 ? ORDER_BIG : ORDER_LITTLE);
	struct regs *r = fake_of(t.g)->regs[1];

	set_known(r, PPC64_SPRG1, PPC_TASKS[_i / 2].sprg1);
	set_known(r, PPC64_HSPRG0, PPC_TASKS[_i / 2].hsprg0);
	set_known(r, PPC64_R0 + 13, PPC_TASKS[_i / 2].r13);
	if (PPC_TASKS[_i / 2].user)
		regs_set(r, PPC64_MSR, regs_get_or(r, PPC64_MSR, 0) | 1u << 14);
	check_pid(t.g, 1, PPC_TASKS[_i / 2].pid);
	end_tasks(&t);
}
END_TEST

/* ---- symbols ---- */

static void check_symbol(struct guest *g, const char *name, uint64_t want)
{
	uint64_t got = 0;

	ok(os_symbol(g, name, &got));
	ck_assert_uint_eq(got, want);
}

static void no_symbol(struct guest *g, const char *name, const char *why)
{
	uint64_t got = 0;
	struct err *e = os_symbol(g, name, &got);

	ck_assert_msg(e && err_code(e) == ERR_UNKNOWN && strstr(err_text(e), why), "%s", e ? err_text(e) : "it is there");
	err_destroy(e);
}

START_TEST(finds_symbols)
{
	struct tasks t = x86_tasks();
	struct buf name = { 0 };
	uint64_t offset = 0;

	check_symbol(t.g, "linux_banner", X86_BANNER);
	check_symbol(t.g, "current_task", CURRENT_TASK);
	check_symbol(t.g, "init_uts_ns", X86_UTS); /* of VMCOREINFO alone */
	no_symbol(t.g, "panic", "panic");
	ok(os_symbol_at(t.g, X86_BANNER + 5, &name, &offset));
	ck_assert_str_eq(buf_str(&name), "linux_banner");
	ck_assert_uint_eq(offset, 5);
	buf_deinit(&name);
	end_tasks(&t);
}
END_TEST

/* The start of the image needs no table, and no search. */
START_TEST(symbol_of_the_start)
{
	struct guest *g = linux_guest();

	check_symbol(g, "_stext", IMAGE_GVA);
	check_symbol(g, "_text", IMAGE_GVA);
	no_symbol(g, "schedule", "VMCOREINFO");
	put_note(g, 0x30000, INFO);
	g->stops++;
	no_symbol(g, "schedule", "6.0");
	guest_destroy(g);
}
END_TEST

/* Symbols are those of the kernel that runs at this stop. */
START_TEST(symbols_belong_to_a_kernel)
{
	static const struct kallsyms_symbol later[] = {
		{ "_stext", IMAGE_GVA, 'T' },
		{ "schedule", IMAGE_GVA + 0x5000, 'T' },
	};
	struct tasks t = x86_tasks();

	check_symbol(t.g, "linux_banner", X86_BANNER);
	t_tables_are_gone(&t);
	t.g->stops++;
	check_symbol(t.g, "linux_banner", X86_BANNER);
	buf_reset(&t.info);
	buf_adds(&t.info, "OSRELEASE=7.0.0\nPAGESIZE=4096\nSYMBOL(_stext)=ffffffff84200000\n");
	put_symbols(&t, KALLSYMS_FROM_PLACE, later, ARRAY_LEN(later));
	check_symbol(t.g, "linux_banner", X86_BANNER);
	t.g->stops++;
	no_symbol(t.g, "linux_banner", "linux_banner");
	check_symbol(t.g, "schedule", IMAGE_GVA + 0x5000);
	end_tasks(&t);
}
END_TEST

/* ---- what is said of it ---- */

static void put_text(struct tasks *t, uint64_t gva, const char *text)
{
	memcpy(at(t, gva), text, strlen(text) + 1);
}

/* struct new_utsname: six texts of 65 bytes; behind 16 bytes of its namespace. */
static void put_uts(struct tasks *t, uint64_t gva, const char *version, const char *machine)
{
	put_text(t, gva + 16, "Linux");
	put_text(t, gva + 16 + 3 * 65, version);
	put_text(t, gva + 16 + 4 * 65, machine);
}

static void check_description(struct guest *g, const char *want)
{
	struct buf got = { 0 };

	ok(os_describe(g, &got));
	ck_assert_str_eq(buf_str(&got), want);
	buf_deinit(&got);
}

START_TEST(x86_description)
{
	struct tasks t = x86_tasks();
	char want[1024];

	put_uts(&t, X86_UTS, "#1 SMP test", "x86_64");
	put_text(&t, X86_BANNER, "Linux version 6.1.0-test (by@me) (gcc) #1 SMP test\n");
	snprintf(want, sizeof(want),
		 "Release: 6.1.0-test\nVersion: #1 SMP test\nMachine: x86_64\n"
		 "Banner: Linux version 6.1.0-test (by@me) (gcc) #1 SMP test\n"
		 "Slide: 0x3200000\nPage size: 4096\nVMCOREINFO: guest-physical 0x30000, %zu bytes\n",
		 t.info.len);
	check_description(t.g, want);
	end_tasks(&t);
}
END_TEST

#define PPC_UTS PPC_RAM(0x1900000u)
#define PPC_ETEXT PPC_RAM(0x1800000u)
#define PPC_START "Linux version 6.1.0-ppc64 ("

/* Of a kernel that lists its functions only; across the end of what is read in one piece, too. */
static const struct {
	uint64_t offset;
	const char *text;
	bool found;
} BANNERS[] = {
	{ 0x100, PPC_START "by@me) (gcc) #1 SMP test\n", true },
	{ 0xfff8, PPC_START "by@me) (gcc) #1 SMP test\n", true },
	{ 0x100, PPC_START "by@me) (gcc) #2 SMP test\n", false },
	{ 0x100, PPC_START "by@me) (g\1cc) #1 SMP test\n", false },
	{ 0x100, "Linux version 6.1.0-ppc65 (by@me) (gcc) #1 SMP test\n", false },
};

START_TEST(ppc_description)
{
	static const struct kallsyms_symbol symbols[] = {
		{ "_stext", PPC64_LINEAR_GVA, 'T' },
		{ "_etext", PPC_ETEXT, 'T' },
	};
	struct tasks t = { .g = ppc_guest(_i % 2 ? ORDER_BIG : ORDER_LITTLE), .distance = PPC64_LINEAR_GVA };
	char want[1024], banner[256] = "";

	buf_addf(&t.info, "%sSYMBOL(init_uts_ns)=%llx\nOFFSET(uts_namespace.name)=16\n", PPC_INFO,
		 (unsigned long long)PPC_UTS);
	t.build = (struct kallsyms_build){ .form = KALLSYMS_FROM_BASE, .symbols = symbols, .n = ARRAY_LEN(symbols),
					   .gva = PPC_RAM(0x400000u), .gpa = 0x400000 };
	kallsyms_build(&t.build, t.g, &t.info);
	put_note(t.g, 0x200000, buf_str(&t.info));
	put_uts(&t, PPC_UTS, "#1 SMP test", "ppc64");
	put_text(&t, PPC_ETEXT + 0x20, PPC_START "cut off");
	put_text(&t, PPC_ETEXT + BANNERS[_i / 2].offset, BANNERS[_i / 2].text);
	if (BANNERS[_i / 2].found)
		snprintf(banner, sizeof(banner), "Banner: %s", BANNERS[_i / 2].text);
	snprintf(want, sizeof(want),
		 "Release: 6.1.0-ppc64\nVersion: #1 SMP test\nMachine: ppc64\n%s"
		 "Slide: 0x0\nPage size: 65536\nVMCOREINFO: guest-physical 0x200000, %zu bytes\n",
		 banner, t.info.len);
	check_description(t.g, want);
	end_tasks(&t);
}
END_TEST

/* Of a guest that runs something else, or of which too little can be known, nothing is said. */
START_TEST(no_description)
{
	struct guest *g = linux_guest();
	struct buf got = { 0 };
	struct err *e;

	if (_i)
		other_idt(g);
	e = os_describe(g, &got);
	ck_assert(e && err_code(e) == ERR_UNKNOWN);
	ck_assert_ptr_nonnull(strstr(err_text(e), _i ? "no vCPU runs a Linux kernel" : "no VMCOREINFO"));
	ck_assert_uint_eq(got.len, 0);
	err_destroy(e);
	guest_destroy(g);
}
END_TEST

static Suite *linux_suite(void)
{
	Suite *s = suite_create("linux");
	TCase *t = tcase_create("linux");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, image_and_slide, 0, ARRAY_LEN(IMAGES));
	tcase_add_loop_test(t, kernel_map, 0, 2);
	tcase_add_loop_test(t, info_is_found_anywhere, 0, 2 * ARRAY_LEN(PLACES));
	tcase_add_loop_test(t, wrong_infos_are_passed_over, 0, ARRAY_LEN(UNSOUND));
	tcase_add_test(t, info_belongs_to_a_stop);
	tcase_add_test(t, other_architectures_are_unknown);
	tcase_add_loop_test(t, detected, 0, ARRAY_LEN(DETECTED));
	tcase_add_loop_test(t, s390_info, 0, ARRAY_LEN(S390_NOTES));
	tcase_add_test(t, s390_kernel_map);
	tcase_add_loop_test(t, s390_pid, 0, ARRAY_LEN(S390_TASKS));
	tcase_add_loop_test(t, ppc_kernel_map, 0, 2);
	tcase_add_loop_test(t, ppc_info, 0, 2);
	tcase_add_loop_test(t, ppc_process_table, 0, 2 * ARRAY_LEN(TABLES));
	tcase_add_test(t, ppc_vmalloc);
	tcase_add_loop_test(t, x86_pid, 0, ARRAY_LEN(X86_TASKS));
	tcase_add_loop_test(t, ppc_pid, 0, 2 * ARRAY_LEN(PPC_TASKS));
	tcase_add_test(t, finds_symbols);
	tcase_add_test(t, symbol_of_the_start);
	tcase_add_test(t, symbols_belong_to_a_kernel);
	tcase_add_test(t, x86_description);
	tcase_add_loop_test(t, ppc_description, 0, 2 * ARRAY_LEN(BANNERS));
	tcase_add_loop_test(t, no_description, 0, 2);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return suite_run(linux_suite());
}
