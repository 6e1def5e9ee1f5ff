/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86_64/x86_64.h"
#include "guest/fake.h"
#include "guest/os.h"
#include "linux/linux.h"

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

START_TEST(kernel_map)
{
	static const struct mapping want[] = {
		{ PAGE_OFFSET, 0, RAM_BYTES, 0 },
		{ IMAGE_GVA, IMAGE_GPA, 8 * MIB, 0 },
	};
	struct guest *g = linux_guest();
	struct mapping *got = NULL;
	size_t n = 0;

	if (_i)
		in_user_mode(g);
	ok(os_kernel_map(g, &got, &n));
	ck_assert_uint_eq(n, ARRAY_LEN(want));
	for (size_t i = 0; i < n; i++) {
		ck_assert_uint_eq(got[i].gva, want[i].gva);
		ck_assert_uint_eq(got[i].gpa, want[i].gpa);
		ck_assert_uint_eq(got[i].bytes, want[i].bytes);
	}
	free(got);
	guest_destroy(g);
}
END_TEST

/* ---- VMCOREINFO ---- */

static void put_note(struct guest *g, uint64_t gpa, const char *text)
{
	const uint32_t head[] = { 11, (uint32_t)strlen(text), 0 };
	char note[1024] = { 0 };

	for (unsigned i = 0; i < 3; i++)
		store_uint(note + 4 * i, 4, ORDER_LITTLE, head[i]);
	memcpy(note + 12, "VMCOREINFO", 10);
	memcpy(note + 24, text, strlen(text));
	for (size_t i = 0; i < 24 + strlen(text); i++)
		*fake_at(g, gpa + i) = (uint8_t)note[i];
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
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	SRunner *sr = srunner_create(linux_suite());
	int failed;

	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
