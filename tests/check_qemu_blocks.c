/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "guest/proc.h"
#include "guest/qemu_blocks.h"
#include "tests/suite.h"

/* Texts that QEMU 7.2 printed: tests/data/qemu/NAME-COMMAND.txt. */
static void load(struct buf *out, const char *machine, const char *command)
{
	struct err *e = proc_read(out, "tests/data/qemu/%s-%s.txt", machine, command);

	ck_assert_msg(!e, "%s", e ? err_text(e) : "");
}

/* ---- info mtree -f ---- */

#define MAX_REGIONS 10

struct want {
	uint64_t gpa, last, offset;
	enum qemu_region_kind kind;
	const char *name;
};

static const struct {
	const char *machine;
	struct want want[MAX_REGIONS];
} machines[] = {
	/* -M pc -m 4G -vga std: its hole from 3 GiB on, and the frame buffer in it */
	{ "pc", { { 0, 0x9ffff, 0, QEMU_RAM, "pc.ram" },
		  { 0xc0000, 0xbfffffff, 0xc0000, QEMU_RAM, "pc.ram" },
		  { 0xfd000000, 0xfdffffff, 0, QEMU_RAM, "vga.vram" },
		  { 0xfffc0000, 0xffffffff, 0, QEMU_ROM, "pc.bios" },
		  { 0x100000000, 0x13fffffff, 0xc0000000, QEMU_RAM, "pc.ram" } } },
	/* -M q35 -m 256, a DIMM of 64 MiB: "memory" is the fourth view of many */
	{ "q35", { { 0, 0x9ffff, 0, QEMU_RAM, "pc.ram" },
		   { 0xc0000, 0xc9fff, 0xc0000, QEMU_ROM, "pc.ram" },
		   { 0xca000, 0xccfff, 0xca000, QEMU_RAM, "pc.ram" },
		   { 0xcd000, 0xe7fff, 0xcd000, QEMU_ROM, "pc.ram" },
		   { 0xe8000, 0xeffff, 0xe8000, QEMU_RAM, "pc.ram" },
		   { 0xf0000, 0xfffff, 0xf0000, QEMU_ROM, "pc.ram" },
		   { 0x100000, 0xfffffff, 0x100000, QEMU_RAM, "pc.ram" },
		   { 0xfd000000, 0xfdffffff, 0, QEMU_RAM, "vga.vram" },
		   { 0xfffc0000, 0xffffffff, 0, QEMU_ROM, "pc.bios" },
		   { 0x100000000, 0x103ffffff, 0, QEMU_RAM, "hot" } } },
	{ "s390x", { { 0, 0x7ffffff, 0, QEMU_RAM, "s390.ram" } } },
	{ "pseries", { { 0, 0x1fffffff, 0, QEMU_RAM, "ppc_spapr.ram" } } },
};

static void expect_regions(const struct qemu_region *r, size_t n, const struct want *want, size_t n_want)
{
	ck_assert_uint_eq(n, n_want);
	for (size_t i = 0; i < n; i++) {
		ck_assert_uint_eq(r[i].gpa, want[i].gpa);
		ck_assert_uint_eq(r[i].gpa + (r[i].bytes - 1), want[i].last);
		ck_assert_uint_eq(r[i].offset, want[i].offset);
		ck_assert_int_eq(r[i].kind, want[i].kind);
		ck_assert_str_eq(r[i].name, want[i].name);
	}
}

START_TEST(test_machine)
{
	const struct want *want = machines[_i].want;
	struct qemu_region *r;
	struct buf text = { 0 };
	size_t n, n_want = 0;

	while (n_want < MAX_REGIONS && want[n_want].name)
		n_want++;
	load(&text, machines[_i].machine, "mtree");
	ck_assert_ptr_null(qemu_regions_parse(buf_str(&text), &r, &n));
	expect_regions(r, n, want, n_want);
	qemu_regions_free(r, n);
	buf_deinit(&text);
}
END_TEST

/* -M q35,nvdimm=on with OVMF in flash: what is no plain RAM and ROM. */
START_TEST(test_flash_and_nvdimm)
{
	struct qemu_region *r;
	struct buf text = { 0 };
	size_t n;

	load(&text, "q35-flash", "mtree");
	ck_assert_ptr_null(qemu_regions_parse(buf_str(&text), &r, &n));
	ck_assert_uint_ge(n, 3);
	expect_regions(&r[n - 2], 2,
		       (struct want[]){ { 0xffe00000, 0xffffffff, 0, QEMU_ROM_DEVICE, "system.flash0" },
					{ 0x100000000, 0x103ffffff, 0, QEMU_NVRAM, "nv" } }, 2);
	qemu_regions_free(r, n);
	buf_deinit(&text);
}
END_TEST

#define VIEW(lines) "FlatView #0\r\n AS \"memory\", root: system\r\n Root memory region: system\r\n" lines

static const struct {
	const char *text;
	struct want want;
} lines[] = {
	{ VIEW("  0000000000000000-ffffffffffffff00 (prio 0, ram): a\r\n"), { 0, 0xffffffffffffff00, 0, QEMU_RAM, "a" } },
	{ VIEW("  ffffffffffff0000-ffffffffffffffff (prio -1, rom): a.b-c_d @0000000000000010 KVM\r\n"),
	  { 0xffffffffffff0000, UINT64_MAX, 0x10, QEMU_ROM, "a.b-c_d" } },
	{ VIEW("  0000000000001000-0000000000001fff (prio 0, ramd): 0000:00:02.0 BAR 2 mmaps[0] KVM\r\n"),
	  { 0x1000, 0x1fff, 0, QEMU_DEVICE_RAM, "0000:00:02.0" } },
	{ VIEW("  0000000000001000-0000000000001fff (prio 0, nv-rom): /objects/nv owner:{dev id=x} KVM\r\n"),
	  { 0x1000, 0x1fff, 0, QEMU_ROM, "/objects/nv" } },
	{ VIEW("  0000000000000000-0000000000000fff (prio 0, i/o): x @0000000000000010\r\n"
	       "  0000000000001000-0000000000001fff (prio 0, ram): a\n\n"
	       "FlatView #1\n AS \"I/O\", root: io\n  0000000000000000-0000000000000fff (prio 0, ram): b\n"),
	  { 0x1000, 0x1fff, 0, QEMU_RAM, "a" } },
	{ "FlatView #0\n AS \"memory-2\", root: x\n  0000000000000000-0000000000000fff (prio 0, ram): b\n\n"
	  "FlatView #1\n AS \"I\", root: io\n AS \"memory\", root: system\n AS \"cpu\", root: system\n"
	  "  0000000000001000-0000000000001fff (prio 0, ram): a", { 0x1000, 0x1fff, 0, QEMU_RAM, "a" } },
};

START_TEST(test_line)
{
	struct qemu_region *r;
	size_t n;

	ck_assert_ptr_null(qemu_regions_parse(lines[_i].text, &r, &n));
	expect_regions(r, n, &lines[_i].want, 1);
	qemu_regions_free(r, n);
}
END_TEST

START_TEST(test_no_memory)
{
	struct qemu_region *r;
	size_t n;

	ck_assert_ptr_null(qemu_regions_parse(VIEW("  No rendered FlatView\r\n\r\n"), &r, &n));
	ck_assert_uint_eq(n, 0);
	qemu_regions_free(r, n);
}
END_TEST

static void expect_error(struct err *e, const char *text)
{
	ck_assert_ptr_nonnull(e);
	ck_assert_msg(strstr(err_text(e), text) != NULL, "'%s' lacks '%s'", err_text(e), text);
	ck_assert_ptr_null(strpbrk(err_text(e), "\r\n"));
	err_destroy(e);
}

static const struct {
	const char *text, *error;
} bad_views[] = {
	{ "", "no address space" },
	{ "unknown command: 'info mtree'\r\n", "no address space" },
	{ "FlatView #0\n AS \"I/O\", root: io\n", "no address space" },
	{ VIEW("  nonsense\n"), "nonsense" },
	{ VIEW("  0-fff\n"), "0-fff" },
	{ VIEW("  0-fff (prio 0, ram\n"), "0-fff (prio 0, ram" },
	{ VIEW("  fff-0 (prio 0, ram): a\n"), "fff-0" },
	{ VIEW("  0-10000000000000000 (prio 0, ram): a\n"), "0-1" },
	{ VIEW("  0-ffffffffffffffff (prio 0, ram): a\n"), "2^64" },
	{ VIEW("  1000-1fff (prio 0, ram): a\n  x\n"), "x" },
};

START_TEST(test_bad_view)
{
	struct qemu_region *r;
	size_t n;

	expect_error(qemu_regions_parse(bad_views[_i].text, &r, &n), bad_views[_i].error);
}
END_TEST

/* Any text cut off anywhere is read or refused. */
START_TEST(test_cut_off)
{
	struct buf text = { 0 };

	load(&text, "q35", "mtree");
	for (size_t len = text.len; len-- > text.len - 3000;) {
		struct qemu_region *r;
		struct err *e;
		size_t n;

		text.data[len] = '\0';
		e = qemu_regions_parse(text.data, &r, &n);
		if (!e)
			qemu_regions_free(r, n);
		err_destroy(e);
	}
	buf_deinit(&text);
}
END_TEST

/* ---- gpa2hva and xp ---- */

static const struct {
	const char *machine;
	uint64_t hva;
} hvas[] = {
	{ "pc", 0x7f8b2fe01000 },
	{ "pseries", 0x7fdf0be01000 },
	{ "q35", 0x7facd3e01000 },
	{ "s390x", 0x7fb123e01000 },
};

START_TEST(test_gpa2hva)
{
	struct buf text = { 0 };
	uint64_t hva = 0;

	load(&text, hvas[_i].machine, "gpa2hva");
	ck_assert_ptr_null(qemu_parse_gpa2hva(buf_str(&text), &hva));
	ck_assert_uint_eq(hva, hvas[_i].hva);
	buf_deinit(&text);
}
END_TEST

START_TEST(test_bad_gpa2hva)
{
	uint64_t hva;

	expect_error(qemu_parse_gpa2hva("No memory is mapped at address 0x90000000\r\n", &hva), "No memory is mapped");
	expect_error(qemu_parse_gpa2hva("Host virtual address for 0x0 (a) is 0xZ\r\n", &hva), "0xZ");
	expect_error(qemu_parse_gpa2hva("", &hva), "gpa2hva");
	ck_assert_ptr_null(qemu_parse_gpa2hva("Host virtual address for 0x0 (a is 0x1) is 0x2\r\n", &hva));
	ck_assert_uint_eq(hva, 2);
}
END_TEST

/* The PC firmware's last bytes below 1 MiB: a far jump to f000:e05b, a date, a model byte. */
START_TEST(test_xp)
{
	static const uint8_t want[16] = "\xea\x5b\xe0\x00\xf0" "06/23/99" "\x00\xfc";
	struct buf text = { 0 };
	uint8_t got[24];

	load(&text, "pc", "xp");
	ck_assert_ptr_null(qemu_parse_xp(buf_str(&text), got, sizeof(got)));
	ck_assert_mem_eq(got, want, sizeof(want));
	expect_error(qemu_parse_xp(buf_str(&text), got, sizeof(got) - 1), "xp");
	buf_deinit(&text);
}
END_TEST

START_TEST(test_bad_xp)
{
	uint8_t got[4];

	expect_error(qemu_parse_xp("", got, 4), "xp");
	expect_error(qemu_parse_xp("Cannot access memory\r\n", got, 4), "Cannot access");
	expect_error(qemu_parse_xp("0: 0x01 0x02 0x03\r\n", got, 4), "xp");
	expect_error(qemu_parse_xp("0: 0x01 0x02 0x03 0x100\r\n", got, 4), "xp");
	expect_error(qemu_parse_xp("0: 0x01 0x02 0x03 4\r\n", got, 4), "xp");
}
END_TEST

static Suite *blocks_suite(void)
{
	Suite *s = suite_create("qemu_blocks");
	TCase *t = tcase_create("qemu_blocks");

	tcase_add_loop_test(t, test_machine, 0, ARRAY_LEN(machines));
	tcase_add_test(t, test_flash_and_nvdimm);
	tcase_add_loop_test(t, test_line, 0, ARRAY_LEN(lines));
	tcase_add_test(t, test_no_memory);
	tcase_add_loop_test(t, test_bad_view, 0, ARRAY_LEN(bad_views));
	tcase_add_test(t, test_cut_off);
	tcase_add_loop_test(t, test_gpa2hva, 0, ARRAY_LEN(hvas));
	tcase_add_test(t, test_bad_gpa2hva);
	tcase_add_test(t, test_xp);
	tcase_add_test(t, test_bad_xp);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return suite_run(blocks_suite());
}
