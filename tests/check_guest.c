/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86_64/x86_64.h"
#include "base/alloc.h"
#include "tests/fake_guest.h"
#include "tests/suite.h"

#define PAGE 0x1000u
#define MISSING 0xa5 /* what no byte of fake memory in these tests is */

static void ok(struct err *e)
{
	ck_assert_msg(!e, "%s", e ? err_text(e) : "");
}

static void fails(struct err *e, enum err_code code)
{
	ck_assert_msg(e, "it succeeds");
	ck_assert_msg(err_code(e) == code, "code %d: %s", err_code(e), err_text(e));
	err_destroy(e);
}

/* Also says what: the words that a user needs. */
static void fails_with(struct err *e, enum err_code code, const char *words)
{
	ck_assert_msg(e && strstr(err_text(e), words), "\"%s\" lacks \"%s\"", e ? err_text(e) : "", words);
	fails(e, code);
}

/* ---- a guest whose memory is blocks, each byte of which tells its place ---- */

static uint8_t byte_at(uint64_t gpa)
{
	return (uint8_t)((gpa * 7 + (gpa >> 8)) % 0xa0);
}

static void fill(struct guest *g)
{
	struct fake *f = fake_of(g);

	for (size_t i = 0; i < f->n_blocks; i++)
		for (uint64_t k = 0; k < f->blocks[i].block.bytes; k++)
			f->blocks[i].data[k] = byte_at(f->blocks[i].block.gpa + k);
}

/*
 * 0x1000 to 0x3fff in two blocks that adjoin, 0x8000 to 0x8fff, and the last
 * page of the address space: one at 0 shows whether anything wraps.
 */
static const struct mem_block layout[] = {
	{ .gpa = 0x2000, .bytes = 0x2000 }, { .gpa = 0, .bytes = 0x800 },
	{ .gpa = 0x1000, .bytes = 0x1000 }, { .gpa = 0x8000, .bytes = 0x1000, .flags = MEM_ROM },
	{ .gpa = -(uint64_t)PAGE, .bytes = PAGE },
};

static struct guest *blocks_create(unsigned n_vcpus)
{
	struct guest *g = fake_create(&arch_x86_64, ORDER_LITTLE, n_vcpus, layout, ARRAY_LEN(layout));

	fill(g);
	return g;
}

/* Replaces functions of a guest's backend; ops lives as long as g. */
static struct guest_ops *own_ops(struct guest *g, struct guest_ops *ops)
{
	*ops = *g->ops;
	g->ops = ops;
	return ops;
}

/* ---- blocks ---- */

static const struct {
	struct mem_block blocks[3];
	size_t n;
	const char *wrong; /* NULL: accepted */
} block_sets[] = {
	{ { { 0 } }, 0, NULL },
	{ { { .gpa = 0, .bytes = 1 } }, 1, NULL },
	{ { { .gpa = 0x3000, .bytes = PAGE }, { .gpa = 0x1000, .bytes = PAGE }, { .gpa = 0x2000, .bytes = PAGE } },
	  3, NULL },
	{ { { .gpa = UINT64_MAX, .bytes = 1 } }, 1, NULL },
	{ { { .gpa = 1, .bytes = UINT64_MAX } }, 1, NULL },
	{ { { .gpa = 0, .bytes = UINT64_MAX }, { .gpa = UINT64_MAX, .bytes = 1 } }, 2, NULL },
	{ { { .gpa = 0x1000, .bytes = 0 } }, 1, "0x1000" },
	{ { { .gpa = UINT64_MAX, .bytes = 2 } }, 1, "0xffffffffffffffff" },
	{ { { .gpa = 2, .bytes = UINT64_MAX } }, 1, "wrong length" },
	{ { { .gpa = 0x1000, .bytes = PAGE + 1 }, { .gpa = 0x2000, .bytes = 1 } }, 2, "overlap" },
	{ { { .gpa = 0x2000, .bytes = 1 }, { .gpa = 0x1000, .bytes = PAGE + 1 } }, 2, "overlap" },
	{ { { .gpa = 0x1000, .bytes = 1 }, { .gpa = 0x1000, .bytes = 1 } }, 2, "overlap" },
	{ { { .gpa = 0, .bytes = UINT64_MAX }, { .gpa = 0x1000, .bytes = 1 } }, 2, "overlap" },
};

/* Refused sets leave the blocks as they were. */
START_TEST(blocks_are_checked)
{
	struct guest *g = blocks_create(1);
	struct err *e = guest_set_blocks(g, block_sets[_i].n ? block_sets[_i].blocks : NULL, block_sets[_i].n);

	if (block_sets[_i].wrong) {
		fails_with(e, ERR_INVALID, block_sets[_i].wrong);
		ck_assert_uint_eq(g->n_blocks, ARRAY_LEN(layout));
	} else {
		ok(e);
		ck_assert_uint_eq(g->n_blocks, block_sets[_i].n);
	}
	for (size_t i = 1; i < g->n_blocks; i++)
		ck_assert_uint_lt(g->blocks[i - 1].gpa, g->blocks[i].gpa);
	guest_destroy(g);
}
END_TEST

static const struct {
	uint64_t gpa;
	bool found;
	uint64_t block;
} places[] = {
	{ 0, true, 0 },
	{ 0x7ff, true, 0 },
	{ 0x800, false, 0 },
	{ 0xfff, false, 0 },
	{ 0x1000, true, 0x1000 },
	{ 0x1fff, true, 0x1000 },
	{ 0x2000, true, 0x2000 },
	{ 0x3fff, true, 0x2000 },
	{ 0x4000, false, 0 },
	{ 0x8fff, true, 0x8000 },
	{ 0x9000, false, 0 },
	{ -(uint64_t)PAGE - 1, false, 0 },
	{ -(uint64_t)PAGE, true, -(uint64_t)PAGE },
	{ UINT64_MAX, true, -(uint64_t)PAGE },
};

START_TEST(blocks_are_found)
{
	struct guest *g = blocks_create(1);
	const struct mem_block *b = guest_block_at(g, places[_i].gpa);

	ck_assert(!!b == places[_i].found);
	if (b)
		ck_assert_uint_eq(b->gpa, places[_i].block);
	guest_destroy(g);
}
END_TEST

/* ---- physical memory ---- */

static const struct range {
	uint64_t gpa;
	size_t bytes;
	size_t there; /* of them before the first that is not */
} ranges[] = {
	{ 0, 0x800, 0x800 },
	{ 0, 0x801, 0x800 },
	{ 0x7ff, 2, 1 },
	{ 0x1000, 0x3000, 0x3000 },
	{ 0x1ffe, 4, 4 },
	{ 0x1fff, 0x3000, 0x2001 },
	{ 0x8ff0, 0x20, 0x10 },
	{ 0x8000, 0, 0 },
	{ UINT64_MAX, 1, 1 },
	{ UINT64_MAX, 2, 1 },
	{ -(uint64_t)0x10, 0x1000, 0x10 },
};

static void expect_bytes(const uint8_t *got, uint64_t gpa, size_t there, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		ck_assert_msg(got[i] == (i < there ? byte_at(gpa + i) : MISSING), "byte %zu is %#x", i, got[i]);
}

START_TEST(reads_what_is_there)
{
	const struct range *r = &ranges[_i];
	struct guest *g = blocks_create(1);
	uint8_t *got = xmalloc(r->bytes);
	size_t n = 12345;

	memset(got, MISSING, r->bytes);
	ok(guest_read_phys(g, r->gpa, got, r->bytes, &n));
	ck_assert_uint_eq(n, r->there);
	expect_bytes(got, r->gpa, r->there, r->bytes);
	free(got);
	guest_destroy(g);
}
END_TEST

static const uint64_t holes[] = { 0x800, 0x4000, 0x7fff, 0x9000, -(uint64_t)PAGE - 1 };

START_TEST(reads_fail_in_holes)
{
	struct guest *g = blocks_create(1);
	uint8_t got[16];
	size_t n = 12345;

	fails(guest_read_phys(g, holes[_i], got, sizeof(got), &n), ERR_UNMAPPED);
	ck_assert_uint_eq(n, 12345);
	guest_destroy(g);
}
END_TEST

/* The reader that page-table walks use takes no less than all. */
START_TEST(reader_wants_all)
{
	const struct range *r = &ranges[_i];
	struct guest *g = blocks_create(1);
	struct phys_reader mem = guest_phys_reader(g);
	uint8_t *got = xmalloc(r->bytes);
	struct err *e = mem.read(mem.ctx, r->gpa, got, r->bytes);

	if (r->there < r->bytes) {
		fails(e, ERR_UNMAPPED);
	} else {
		ok(e);
		expect_bytes(got, r->gpa, r->bytes, r->bytes);
	}
	free(got);
	guest_destroy(g);
}
END_TEST

/* The same for threads, of ranges that lie in blocks. */
START_TEST(reads_beside)
{
	const struct range *r = &ranges[_i];
	struct guest *g = blocks_create(1);
	uint8_t *got = xmalloc(r->bytes);

	if (r->gpa + r->bytes - 1 >= r->gpa)
		ck_assert(guest_reads_beside(g, r->gpa, r->bytes) == (r->there == r->bytes));
	if (r->there == r->bytes) {
		ok(guest_read_beside(g, r->gpa, got, r->bytes));
		expect_bytes(got, r->gpa, r->bytes, r->bytes);
	}
	for (size_t i = 0; i < g->n_blocks; i++)
		g->blocks[i].flags |= MEM_ONE_THREAD;
	ck_assert(!guest_reads_beside(g, r->gpa, MAX(r->bytes, 1u)));
	ok(guest_check_held(g));
	free(got);
	guest_destroy(g);
}
END_TEST

#define BROKEN_FROM 0x2003u

/* A VMM in which some pages cannot be read: a short count, or an error at once. */
static struct err *read_half(struct guest *g, const struct mem_block *b, uint64_t gpa, void *ret, size_t bytes,
			     size_t *ret_bytes)
{
	(void)g;
	ck_assert(gpa >= b->gpa && gpa - b->gpa < b->bytes && bytes <= b->bytes - (gpa - b->gpa));
	if (gpa >= BROKEN_FROM)
		return err_new(ERR_UNKNOWN, "broken");
	*ret_bytes = (size_t)MIN(bytes, BROKEN_FROM - gpa);
	for (size_t i = 0; i < *ret_bytes; i++)
		((uint8_t *)ret)[i] = byte_at(gpa + i);
	return NULL;
}

static const struct {
	uint64_t gpa;
	size_t there; /* of 16; 0: an error */
} broken[] = {
	{ 0x1fff, 4 },
	{ 0x2002, 1 },
	{ 0x1ff0, 16 },
	{ 0x1ff3, 16 },
	{ 0x1ff4, 15 },
	{ 0x2003, 0 },
};

START_TEST(short_reads_end_a_read)
{
	struct guest *g = blocks_create(1);
	struct guest_ops ops;
	uint8_t got[16];
	size_t n;

	own_ops(g, &ops)->read_phys = read_half;
	memset(got, MISSING, sizeof(got));
	if (broken[_i].there) {
		ok(guest_read_phys(g, broken[_i].gpa, got, sizeof(got), &n));
		ck_assert_uint_eq(n, broken[_i].there);
		expect_bytes(got, broken[_i].gpa, n, sizeof(got));
	} else {
		fails(guest_read_phys(g, broken[_i].gpa, got, sizeof(got), &n), ERR_UNKNOWN);
	}
	guest_destroy(g);
}
END_TEST

static const struct {
	uint64_t gpa;
	size_t bytes;
	bool ok;
} writes[] = {
	{ 0, 0x800, true },
	{ 0x1ff0, 0x20, true },
	{ 0x1000, 0x3000, true },
	{ 0x8000, 1, true }, /* ROM is read-only to the guest alone */
	{ -(uint64_t)PAGE, PAGE, true },
	{ UINT64_MAX, 1, true },
	{ 0x4000, 0, true },
	{ 0x7ff, 2, false },
	{ 0x1000, 0x3001, false },
	{ 0xfff, 2, false },
	{ 0x5000, 1, false },
	{ 0x8000, 0x1001, false },
	{ UINT64_MAX, 2, false },
	{ -(uint64_t)PAGE, PAGE + 0x800, false },
};

/* All or nothing, and nothing beside it. */
START_TEST(writes_all_or_nothing)
{
	uint64_t gpa = writes[_i].gpa;
	struct guest *g = blocks_create(1);
	struct fake *f = fake_of(g);
	uint8_t *data = xmalloc(writes[_i].bytes);
	struct err *e;

	memset(data, MISSING, writes[_i].bytes);
	e = guest_write_phys(g, gpa, data, writes[_i].bytes);
	if (writes[_i].ok)
		ok(e);
	else
		fails(e, ERR_UNMAPPED);
	for (size_t i = 0; i < f->n_blocks; i++)
		for (uint64_t k = 0; k < f->blocks[i].block.bytes; k++) {
			uint64_t at = f->blocks[i].block.gpa + k;
			bool written = writes[_i].ok && at - gpa < writes[_i].bytes;

			ck_assert_uint_eq(f->blocks[i].data[k], written ? MISSING : byte_at(at));
		}
	free(data);
	guest_destroy(g);
}
END_TEST

/* ---- virtual memory ---- */

#define UNMAPPED_GVA (FAKE_GVA + 2 * PAGE)
#define HOLE_GVA (FAKE_GVA + 3 * PAGE)
#define LAST_GIB_ENTRY (0x2000u + 8 * 511)
#define PRESENT_WRITABLE 3u
#define HUGE_PAGE 0x80u

/*
 * The shared guest, with three pages more: FAKE_GVA goes on in the second RAM
 * block, HOLE_GVA maps what has no memory, and the last GiB of the address
 * space ends with the ROM.
 */
static struct guest *virt_create(void)
{
	struct guest *g = fake_guest_create(2);

	store_uint(fake_at(g, 0x6008), 8, ORDER_LITTLE, FAKE_RAM2_GPA | PRESENT_WRITABLE);
	store_uint(fake_at(g, 0x6018), 8, ORDER_LITTLE, 0x30000 | PRESENT_WRITABLE);
	store_uint(fake_at(g, LAST_GIB_ENTRY), 8, ORDER_LITTLE, 0xc0000000 | PRESENT_WRITABLE | HUGE_PAGE);
	return g;
}

/* A range in virtual memory as at most two of physical memory. */
static const struct virt_range {
	unsigned vcpu;
	uint64_t gva;
	size_t bytes;
	uint64_t first_gpa;
	size_t first_bytes;
	uint64_t then_gpa;
	size_t then_bytes; /* the two together: what is there before the first byte that is not */
} virt_ranges[] = {
	{ 0, FAKE_GVA, 0x10, FAKE_GVA_GPA, 0x10, 0, 0 },
	{ 0, FAKE_GVA + 0xff8, 0x10, FAKE_GVA_GPA + 0xff8, 8, FAKE_RAM2_GPA, 8 },
	{ 0, FAKE_GVA + 0xfff, 0x1001, FAKE_GVA_GPA + 0xfff, 1, FAKE_RAM2_GPA, 0x1000 },
	{ 0, FAKE_GVA + 0x1fff, 2, FAKE_RAM2_GPA + 0xfff, 1, 0, 0 },
	{ 0, FAKE_RAM_BYTES - 4, 8, FAKE_RAM_BYTES - 4, 4, 0, 0 },
	{ 0, FAKE_RAM2_GPA, 0x1001, FAKE_RAM2_GPA, 0x1000, 0, 0 },
	{ 0, FAKE_ROM_GPA, 0x1000, FAKE_ROM_GPA, 0x1000, 0, 0 },
	{ 0, -(uint64_t)0x10, 0x10, 0xfffffff0, 0x10, 0, 0 },
	{ 0, -(uint64_t)0x10, 0x20, 0xfffffff0, 0x10, 0, 0 },
	{ 0, UINT64_MAX, 2, 0xffffffff, 1, 0, 0 },
	{ 0, UNMAPPED_GVA, 0, 0, 0, 0, 0 },
	{ 1, FAKE_RAM2_GPA + 0x10, 0x10, FAKE_RAM2_GPA + 0x10, 0x10, 0, 0 },
	{ 1, FAKE_RAM_BYTES - 1, 0x10, FAKE_RAM_BYTES - 1, 1, 0, 0 },
};

static size_t there(const struct virt_range *r)
{
	return r->first_bytes + r->then_bytes;
}

static uint64_t gpa_of(const struct virt_range *r, size_t i)
{
	return i < r->first_bytes ? r->first_gpa + i : r->then_gpa + (i - r->first_bytes);
}

START_TEST(reads_virtual_prefix)
{
	const struct virt_range *r = &virt_ranges[_i];
	struct guest *g = virt_create();
	uint8_t *got = xmalloc(r->bytes);
	size_t n = 12345;

	ok(guest_read_virt(g, r->vcpu, r->gva, got, r->bytes, &n));
	ck_assert_uint_eq(n, there(r));
	for (size_t i = 0; i < n; i++)
		ck_assert_uint_eq(got[i], *fake_at(g, gpa_of(r, i)));
	free(got);
	guest_destroy(g);
}
END_TEST

static uint8_t *copy_of_memory(struct guest *g)
{
	struct fake *f = fake_of(g);
	struct buf all = { 0 };

	for (size_t i = 0; i < f->n_blocks; i++)
		buf_add(&all, f->blocks[i].data, f->blocks[i].block.bytes);
	return (uint8_t *)buf_take(&all);
}

/* Whole ranges are written; those that end where nothing is are refused whole. */
START_TEST(writes_virtual_all_or_nothing)
{
	const struct virt_range *r = &virt_ranges[_i];
	struct guest *g = virt_create();
	uint8_t *data = xmalloc(r->bytes), *before = copy_of_memory(g), *after;
	struct err *e;

	memset(data, MISSING, r->bytes);
	e = guest_write_virt(g, r->vcpu, r->gva, data, r->bytes);
	if (there(r) < r->bytes) {
		fails(e, r->gva + r->bytes < r->gva ? ERR_INVALID : ERR_UNMAPPED);
	} else {
		ok(e);
		for (size_t i = 0; i < r->bytes; i++)
			*fake_at(g, gpa_of(r, i)) ^= MISSING;
		for (size_t i = 0; i < r->bytes; i++)
			ck_assert_uint_eq(*fake_at(g, gpa_of(r, i)), 0);
	}
	after = copy_of_memory(g);
	if (there(r) < r->bytes)
		ck_assert_mem_eq(before, after, FAKE_RAM_BYTES + 2 * PAGE);
	free(after);
	free(before);
	free(data);
	guest_destroy(g);
}
END_TEST

static const struct {
	unsigned vcpu;
	uint64_t gva;
	enum err_code code;
} nowhere[] = {
	{ 0, UNMAPPED_GVA, ERR_UNMAPPED },
	{ 0, HOLE_GVA, ERR_UNMAPPED },
	{ 0, 0x8000000000000000, ERR_UNMAPPED },
	{ 0, 0x12000, ERR_UNMAPPED },
	{ 1, 0x12000, ERR_UNMAPPED },
	{ 2, 0, ERR_INVALID },
	{ UINT32_MAX, 0, ERR_INVALID },
};

START_TEST(virtual_addresses_of_nothing)
{
	struct guest *g = virt_create();
	uint8_t byte = MISSING;
	size_t n = 12345;

	fails(guest_read_virt(g, nowhere[_i].vcpu, nowhere[_i].gva, &byte, 1, &n), nowhere[_i].code);
	ck_assert_uint_eq(n, 12345);
	ck_assert_uint_eq(byte, MISSING);
	fails(guest_write_virt(g, nowhere[_i].vcpu, nowhere[_i].gva, &byte, 1), nowhere[_i].code);
	guest_destroy(g);
}
END_TEST

START_TEST(translates_by_vcpu)
{
	struct guest *g = virt_create();
	struct mapping m;

	ok(guest_translate(g, 0, FAKE_GVA + 0x123, &m));
	ck_assert_uint_eq(m.gva, FAKE_GVA);
	ck_assert_uint_eq(m.gpa, FAKE_GVA_GPA);
	ck_assert_uint_eq(m.bytes, PAGE);
	fails(guest_translate(g, 0, UNMAPPED_GVA, &m), ERR_UNMAPPED);
	ok(guest_translate(g, 1, 0x5000, &m));
	ck_assert_uint_eq(m.gpa - m.gva, 0);
	guest_destroy(g);
}
END_TEST

static void write_last_table(struct guest *g, uint64_t entry)
{
	uint8_t bytes[8];

	store_uint(bytes, 8, ORDER_LITTLE, entry);
	ok(guest_write_phys(g, FAKE_GVA_TABLE, bytes, sizeof(bytes)));
}

static void write_register(struct guest *g, unsigned reg, uint64_t value)
{
	uint8_t bytes[8];

	store_uint(bytes, 8, ORDER_LITTLE, value);
	ok(guest_write_reg(g, 0, reg, bytes));
}

static uint64_t translated(struct guest *g, uint64_t gva)
{
	struct mapping m;

	ok(guest_translate(g, 0, gva, &m));
	return m.gpa + (gva - m.gva);
}

/* Nothing that is remembered outlives what it was made from. */
START_TEST(translates_by_what_is_there_now)
{
	struct guest *g = fake_guest_create(1);
	struct mapping m;

	ck_assert_uint_eq(translated(g, FAKE_GVA + 1), FAKE_GVA_GPA + 1);
	write_last_table(g, 0x7003);
	ck_assert_uint_eq(translated(g, FAKE_GVA + 1), 0x7001);
	ok(guest_resume(g));
	store_uint(fake_at(g, FAKE_GVA_TABLE), 8, ORDER_LITTLE, 0x8003);
	ok(guest_stop(g));
	ck_assert_uint_eq(translated(g, FAKE_GVA + 1), 0x8001);
	write_register(g, X86_CR3, 0x2000);
	fails(guest_translate(g, 0, FAKE_GVA + 1, &m), ERR_UNMAPPED);
	write_register(g, X86_CR3, 0x1000);
	ck_assert_uint_eq(translated(g, FAKE_GVA + 1), 0x8001);
	guest_destroy(g);
}
END_TEST

/* More pages than are remembered, over and over, each by itself. */
START_TEST(translates_many_pages)
{
	struct guest *g = fake_guest_create(1);

	for (uint64_t page = 0; page < 2 * MAX_TRANSLATIONS; page++)
		store_uint(fake_at(g, FAKE_GVA_TABLE + 8 * page), 8, ORDER_LITTLE, (0x100 + page) << 12 | 3);
	for (uint64_t i = 0; i < 10 * MAX_TRANSLATIONS; i++) {
		uint64_t page = i * i % (2 * MAX_TRANSLATIONS);

		ck_assert_uint_eq(translated(g, FAKE_GVA + page * PAGE), (0x100 + page) * PAGE);
	}
	guest_destroy(g);
}
END_TEST

/* ---- data ---- */

/* One page of the second block and the end of ROM's hold data; the others are zeros. */
static const struct {
	bool sparse;
	uint64_t gpa, end;
	uint64_t want_gpa, want_bytes;
} datas[] = {
	{ false, 0, 0, 0, 0x800 },
	{ false, 0x100, 0, 0x100, 0x700 },
	{ false, 0x100, 0x200, 0x100, 0x100 },
	{ false, 0x800, 0, 0x1000, 0x1000 },
	{ false, 0x800, 0x1000, 0x1000, 0 },
	{ false, 0x800, 0x1001, 0x1000, 1 },
	{ false, 0x4000, 0x8000, 0x8000, 0 },
	{ false, 0x9000, 0, -(uint64_t)PAGE, PAGE },
	{ false, UINT64_MAX, 0, UINT64_MAX, 1 },
	{ false, 0x3000, 0x3000, 0x3000, 0 },
	{ false, 0x3000, 0x2000, 0x2000, 0 },
	{ true, 0, 0, 0x3000, 0x1000 },
	{ true, 0x3800, 0, 0x3800, 0x800 },
	{ true, 0x3ff1, 0, 0x8000, 0x1000 },
	{ true, 0, 0x3000, 0x3000, 0 },
	{ true, 0, 0x2800, 0x2800, 0 },
	{ true, 0, 0x3010, 0x3000, 0x10 },
	{ true, 0x4000, 0x8ff0, 0x8000, 0xff0 },
	{ true, 0x9000, 0, 0, 0 },
	{ true, UINT64_MAX, 0, 0, 0 },
};

START_TEST(data_is_found)
{
	struct guest *g = fake_create(&arch_x86_64, ORDER_LITTLE, 1, layout, ARRAY_LEN(layout));
	uint64_t gpa = 1, bytes = 1;

	*fake_at(g, 0x3ff0) = 1;
	*fake_at(g, 0x8fff) = 1;
	fake_of(g)->sparse = datas[_i].sparse;
	ok(guest_next_data(g, datas[_i].gpa, datas[_i].end, &gpa, &bytes));
	ck_assert_uint_eq(gpa, datas[_i].want_gpa);
	ck_assert_uint_eq(bytes, datas[_i].want_bytes);
	guest_destroy(g);
}
END_TEST

/* A backend that cannot tell says that all may be data. */
START_TEST(data_without_a_backend)
{
	struct guest *g = blocks_create(1);
	struct guest_ops ops;
	uint64_t gpa, bytes;

	own_ops(g, &ops)->next_data = NULL;
	ok(guest_next_data(g, 0x2345, 0, &gpa, &bytes));
	ck_assert_uint_eq(gpa, 0x2345);
	ck_assert_uint_eq(bytes, 0x4000 - 0x2345);
	ok(guest_next_data(g, 0x4000, 0x8100, &gpa, &bytes));
	ck_assert_uint_eq(gpa, 0x8000);
	ck_assert_uint_eq(bytes, 0x100);
	guest_destroy(g);
}
END_TEST

/* ---- states ---- */

enum { SUCCEEDS = -1 };

static const struct {
	enum guest_state state;
	unsigned holds;
	int stop, resume, use; /* SUCCEEDS or the error's code */
} states[] = {
	{ GUEST_RUNNING, 0, SUCCEEDS, SUCCEEDS, ERR_BUSY },
	{ GUEST_STOPPED, 0, SUCCEEDS, SUCCEEDS, SUCCEEDS },
	{ GUEST_STOPPED, 2, SUCCEEDS, ERR_BUSY, SUCCEEDS },
	{ GUEST_GONE, 0, ERR_GONE, ERR_GONE, ERR_GONE },
	{ GUEST_GONE, 1, ERR_GONE, ERR_GONE, ERR_GONE },
};

static struct guest *in_state(int i)
{
	struct guest *g = virt_create();

	g->state = states[i].state;
	g->holds = states[i].holds;
	return g;
}

static void expect(struct err *e, int want)
{
	if (want == SUCCEEDS)
		ok(e);
	else
		fails(e, (enum err_code)want);
}

START_TEST(states_stop)
{
	struct guest *g = in_state(_i);
	bool was_running = g->state == GUEST_RUNNING;

	expect(guest_stop(g), states[_i].stop);
	ck_assert_int_eq(g->state, states[_i].stop == SUCCEEDS ? GUEST_STOPPED : states[_i].state);
	ck_assert_uint_eq(fake_of(g)->stops, was_running);
	ck_assert_uint_eq(g->stops, was_running);
	guest_destroy(g);
}
END_TEST

START_TEST(states_resume)
{
	struct guest *g = in_state(_i);
	bool resumes = g->state == GUEST_STOPPED && states[_i].resume == SUCCEEDS;

	expect(guest_resume(g), states[_i].resume);
	ck_assert_int_eq(g->state, states[_i].resume == SUCCEEDS ? GUEST_RUNNING : states[_i].state);
	ck_assert_uint_eq(fake_of(g)->resumes, resumes);
	guest_destroy(g);
}
END_TEST

/* What needs a stopped guest. */
START_TEST(states_use)
{
	int want = states[_i].use;
	struct guest *g = in_state(_i);
	const struct regs *regs;
	uint64_t gpa, bytes, rax = 0;
	struct mapping m;
	char byte;
	size_t n;

	expect(guest_read_phys(g, 0, &byte, 1, &n), want);
	expect(guest_write_phys(g, 0, "", 1), want);
	expect(guest_read_virt(g, 0, FAKE_GVA, &byte, 1, &n), want);
	expect(guest_write_virt(g, 0, FAKE_GVA, "", 1), want);
	expect(guest_translate(g, 0, FAKE_GVA, &m), want);
	expect(guest_next_data(g, 0, 0, &gpa, &bytes), want);
	expect(guest_regs(g, 0, &regs), want);
	expect(guest_write_reg(g, 0, X86_RAX, &rax), want);
	guest_destroy(g);
}
END_TEST

static struct err *refuse(struct guest *g)
{
	(void)g;
	return err_new(ERR_BUSY, "not now");
}

/* A stop or resume that fails leaves the state. */
START_TEST(states_survive_failure)
{
	struct guest *g = blocks_create(1);
	struct guest_ops ops;

	own_ops(g, &ops)->resume = refuse;
	fails_with(guest_resume(g), ERR_BUSY, "not now");
	ck_assert_int_eq(g->state, GUEST_STOPPED);
	g->state = GUEST_RUNNING;
	ops.stop = refuse;
	fails_with(guest_stop(g), ERR_BUSY, "not now");
	ck_assert_int_eq(g->state, GUEST_RUNNING);
	ck_assert_uint_eq(g->stops, 0);
	guest_destroy(g);
}
END_TEST

START_TEST(events_are_reported)
{
	struct guest *g = blocks_create(2);
	struct guest_event ev = { .kind = GUEST_EVENT_STOPPED, .vcpu = 1, .signal = 5 }, got;

	ck_assert_int_ge(guest_poll_fd(g), 0);
	ok(guest_poll(g, &got));
	ck_assert_int_eq(got.kind, GUEST_EVENT_NONE);
	fake_raise(g, &ev);
	ok(guest_poll(g, &got));
	ck_assert_int_eq(got.kind, GUEST_EVENT_STOPPED);
	ck_assert_uint_eq(got.vcpu, 1);
	ck_assert_int_eq(got.signal, 5);
	ev.kind = GUEST_EVENT_GONE;
	fake_raise(g, &ev);
	ok(guest_poll(g, &got));
	ck_assert_int_eq(got.kind, GUEST_EVENT_GONE);
	fails(guest_resume(g), ERR_GONE);
	guest_destroy(g);
}
END_TEST

/* A VMM that dies while its memory is read. */
START_TEST(reads_of_a_dying_vmm)
{
	struct guest *g = blocks_create(1);
	char byte;
	size_t n;

	fake_of(g)->fail_reads = true;
	fails(guest_read_phys(g, 0x1000, &byte, 1, &n), ERR_GONE);
	guest_destroy(g);
}
END_TEST

/* ---- registers ---- */

static uint64_t rax_of(struct guest *g, unsigned vcpu)
{
	const struct regs *regs;

	ok(guest_regs(g, vcpu, &regs));
	return regs_get_or(regs, X86_RAX, MISSING);
}

START_TEST(regs_are_cached_for_a_stop)
{
	struct guest *g = blocks_create(2);
	struct regs **real = fake_of(g)->regs;

	regs_set(real[0], X86_RAX, 1);
	ck_assert_uint_eq(rax_of(g, 0), 1);
	regs_set(real[0], X86_RAX, 2);
	ck_assert_uint_eq(rax_of(g, 0), 1);
	ck_assert_uint_eq(rax_of(g, 1), MISSING);
	ok(guest_resume(g));
	ok(guest_stop(g));
	ck_assert_uint_eq(rax_of(g, 0), 2);
	guest_destroy(g);
}
END_TEST

START_TEST(regs_are_written_one_by_one)
{
	struct guest *g = blocks_create(2);
	struct regs **real = fake_of(g)->regs;
	uint64_t value = 0x1122334455667788;
	uint8_t bytes[8];

	store_uint(bytes, sizeof(bytes), ORDER_LITTLE, value);
	regs_set(real[0], X86_RBX, 7);
	regs_set(real[1], X86_RAX, 8);
	ck_assert_uint_eq(rax_of(g, 0), MISSING);
	regs_set(real[0], X86_RBX, 9); /* behind the cache: a write of rax leaves it */
	ok(guest_write_reg(g, 0, X86_RAX, bytes));
	ck_assert_uint_eq(rax_of(g, 0), value);
	ck_assert_uint_eq(regs_get_or(real[0], X86_RBX, 0), 9);
	ck_assert_uint_eq(rax_of(g, 1), 8);
	fails_with(guest_write_reg(g, 2, X86_RAX, &value), ERR_INVALID, "vCPU 2");
	guest_destroy(g);
}
END_TEST

static struct err *refuse_regs(struct guest *g, unsigned vcpu, struct regs *ret)
{
	(void)g, (void)vcpu;
	regs_set(ret, X86_RAX, 1);
	return err_new(ERR_UNKNOWN, "broken");
}

static struct err *refuse_changes(struct guest *g, unsigned vcpu, const struct regs *from, const bool *changed)
{
	(void)from, (void)changed;
	regs_set(fake_of(g)->regs[vcpu], X86_RAX, 5);
	return err_new(ERR_UNKNOWN, "broken");
}

/* A write that fails may have changed some: they are read again. */
START_TEST(regs_that_cannot_be_had)
{
	struct guest *g = blocks_create(2);
	const struct regs *regs = NULL;
	struct guest_ops ops;
	uint64_t value = 4;

	ck_assert_uint_eq(rax_of(g, 1), MISSING);
	own_ops(g, &ops)->write_regs = refuse_changes;
	fails_with(guest_write_reg(g, 1, X86_RAX, &value), ERR_UNKNOWN, "vCPU 1: broken");
	ck_assert_uint_eq(rax_of(g, 1), 5);
	ops.read_regs = refuse_regs;
	fails_with(guest_regs(g, 0, &regs), ERR_UNKNOWN, "vCPU 0: broken");
	ck_assert_ptr_null(regs);
	guest_destroy(g);
}
END_TEST

/* The number of vCPUs may change from stop to stop. */
START_TEST(regs_of_a_new_vcpu)
{
	struct guest *g = blocks_create(2);
	const struct regs *regs;

	ck_assert_uint_eq(rax_of(g, 1), MISSING);
	guest_set_vcpus(g, 1);
	fails_with(guest_regs(g, 1, &regs), ERR_INVALID, "the guest has 1");
	guest_set_vcpus(g, 2);
	ck_assert_uint_eq(rax_of(g, 1), MISSING);
	guest_destroy(g);
}
END_TEST

/* ---- run control ---- */

static void set_pc(struct guest *g, unsigned vcpu, uint64_t pc)
{
	regs_set(fake_of(g)->regs[vcpu], X86_RIP, pc);
}

static uint64_t pc_of(struct guest *g, unsigned vcpu)
{
	return regs_get_or(fake_of(g)->regs[vcpu], X86_RIP, MISSING);
}

/* Polls until there is an event; the number of polls before it, or max. */
static unsigned polls_until_event(struct guest *g, unsigned max, struct guest_event *ret)
{
	for (unsigned n = 0; n < max; n++) {
		ok(guest_poll(g, ret));
		if (ret->kind != GUEST_EVENT_NONE)
			return n;
	}
	return max;
}

/* Steps of 4 bytes from 0x100 on, with a breakpoint or none. */
static const struct {
	uint64_t start, end, breakpoint;
	enum breakpoint_kind kind;
	uint64_t want;
} step_ranges[] = {
	{ 0, 0, 0, 0, 0x104 },
	{ 0x100, 0x100, 0, 0, 0x104 },
	{ 0x100, 0x104, 0, 0, 0x104 },
	{ 0x100, 0x105, 0, 0, 0x108 },
	{ 0x100, 0x110, 0, 0, 0x110 },
	{ 0x105, 0x110, 0, 0, 0x104 },
	{ 0x104, 0x108, 0, 0, 0x108 },
	{ 0x200, 0x100, 0, 0, 0x104 },
	{ 0x100, 0x110, 0x108, BREAKPOINT_HARDWARE, 0x108 },
	{ 0x100, 0x110, 0x10c, BREAKPOINT_SOFTWARE, 0x10c },
	{ 0x100, 0x110, 0x108, WATCHPOINT_WRITE, 0x110 },
	{ 0x100, 0x110, 0x200, BREAKPOINT_HARDWARE, 0x110 },
};

START_TEST(ranges_are_stepped)
{
	struct guest *g = fake_guest_create(1);
	const struct vcpu_run run = { RUN_STEP, step_ranges[_i].start, step_ranges[_i].end };
	const struct breakpoint b = { step_ranges[_i].kind, step_ranges[_i].breakpoint, 1 };
	unsigned steps = (unsigned)(step_ranges[_i].want - 0x100) / FAKE_STEP_BYTES;
	struct guest_event ev;

	set_pc(g, 0, 0x100);
	if (b.gva)
		ok(guest_set_breakpoint(g, 0, &b));
	ok(guest_run(g, &run));
	/* One step a poll. */
	ck_assert_uint_eq(polls_until_event(g, 20, &ev), steps - 1);
	ck_assert_uint_eq(fake_of(g)->steps, steps);
	ck_assert_int_eq(ev.cause, STOP_STEP);
	ck_assert_uint_eq(pc_of(g, 0), step_ranges[_i].want);
	ok(guest_stop(g));
	ok(guest_poll(g, &ev));
	ck_assert_int_eq(ev.kind, GUEST_EVENT_NONE);
	guest_destroy(g);
}
END_TEST

/* The others keep to what they were told. */
START_TEST(ranges_leave_the_others)
{
	struct guest *g = fake_guest_create(3);
	const struct vcpu_run runs[] = { { .action = RUN_HOLD }, { RUN_STEP, 0x100, 0x120 }, { .action = RUN_CONTINUE } };
	const enum run_action want[] = { RUN_HOLD, RUN_STEP, RUN_CONTINUE };
	struct guest_event ev;

	set_pc(g, 1, 0x100);
	ok(guest_run(g, runs));
	ck_assert_uint_eq(polls_until_event(g, 20, &ev), 7);
	ck_assert_uint_eq(ev.vcpu, 1);
	ck_assert_mem_eq(fake_of(g)->actions, want, sizeof(want));
	guest_destroy(g);
}
END_TEST

static void stop_it(struct guest *g)
{
	ok(guest_stop(g));
}

static void clear_all(struct guest *g)
{
	const struct breakpoint b = { BREAKPOINT_HARDWARE, 0x7000, 1 };

	ok(guest_stop(g));
	ok(guest_set_breakpoint(g, 0, &b));
	ok(guest_clear_breakpoints(g));
}

/* A dump holds the guest: the step is reported where it is. */
static void hold_it(struct guest *g)
{
	struct guest_event ev;

	g->holds = 1;
	ok(guest_poll(g, &ev));
	ck_assert_int_eq(ev.kind, GUEST_EVENT_STOPPED);
	ck_assert_int_eq(ev.cause, STOP_STEP);
	g->holds = 0;
}

static void (*const range_ends[])(struct guest *g) = { stop_it, clear_all, hold_it };

/* Whatever stopped it, the next step is a step. */
START_TEST(ranges_end)
{
	struct guest *g = fake_guest_create(1);
	const struct vcpu_run endless = { RUN_STEP, 0, UINT64_MAX }, step = { .action = RUN_STEP };
	struct guest_event ev;

	set_pc(g, 0, 0x100);
	ok(guest_run(g, &endless));
	ck_assert_uint_eq(polls_until_event(g, 5, &ev), 5);
	range_ends[_i](g);
	ck_assert_int_eq(g->state, GUEST_STOPPED);
	fake_of(g)->steps = 0;
	ok(guest_run(g, &step));
	ck_assert_uint_eq(polls_until_event(g, 5, &ev), 0);
	ck_assert_uint_eq(fake_of(g)->steps, 1);
	guest_destroy(g);
}
END_TEST

/* Another vCPU's breakpoint ends a range, and a vCPU that came meanwhile does. */
START_TEST(ranges_end_by_others)
{
	struct guest *g = fake_guest_create(2);
	const struct breakpoint b = { BREAKPOINT_HARDWARE, 0x7000, 1 };
	const struct vcpu_run runs[] = { { RUN_STEP, 0, UINT64_MAX }, { .action = RUN_CONTINUE } };
	struct guest_event ev;

	set_pc(g, 0, 0x100);
	ok(guest_set_breakpoint(g, 0, &b));
	ok(guest_run(g, runs));
	ck_assert_uint_eq(polls_until_event(g, 5, &ev), 1);
	ck_assert_uint_eq(ev.vcpu, 1);
	ck_assert_int_eq(ev.cause, STOP_BREAKPOINT);
	ok(guest_clear_breakpoints(g));
	ok(guest_run(g, runs));
	guest_set_vcpus(g, 3);
	ck_assert_uint_eq(polls_until_event(g, 5, &ev), 0);
	ck_assert_int_eq(ev.cause, STOP_STEP);
	guest_destroy(g);
}
END_TEST

START_TEST(breakpoints_are_set_once)
{
	struct guest *g = fake_guest_create(1);
	const struct breakpoint b = { BREAKPOINT_SOFTWARE, FAKE_GVA, 1 }, longer = { BREAKPOINT_SOFTWARE, FAKE_GVA, 2 },
				unmapped = { BREAKPOINT_SOFTWARE, FAKE_GVA + PAGE, 1 };

	ok(guest_set_breakpoint(g, 0, &b));
	ok(guest_set_breakpoint(g, 0, &b));
	ck_assert_uint_eq(fake_of(g)->n_armed, 1);
	ok(guest_set_breakpoint(g, 0, &longer));
	ck_assert_uint_eq(fake_of(g)->n_armed, 2);
	ok(guest_clear_breakpoint(g, &b));
	ok(guest_clear_breakpoint(g, &b));
	ck_assert_uint_eq(fake_of(g)->n_armed, 1);
	ck_assert_uint_eq(fake_of(g)->armed[0].bytes, 2);
	fails(guest_set_breakpoint(g, 0, &unmapped), ERR_UNMAPPED);
	fails(guest_set_breakpoint(g, 1, &b), ERR_INVALID);
	ck_assert_uint_eq(g->n_breakpoints, 1);
	g->state = GUEST_RUNNING;
	fails(guest_set_breakpoint(g, 0, &b), ERR_BUSY);
	fails(guest_clear_breakpoint(g, &longer), ERR_BUSY);
	guest_destroy(g);
}
END_TEST

/* Of a guest that runs too; one that cannot be cleared keeps none of the others. */
START_TEST(breakpoints_are_cleared)
{
	struct guest *g = fake_guest_create(1);
	const struct breakpoint first = { BREAKPOINT_HARDWARE, 0x7000, 1 }, stuck = { WATCHPOINT_WRITE, 0x7000, 8 },
				last = { BREAKPOINT_HARDWARE, 0x7008, 1 };

	ok(guest_clear_breakpoints(g));
	ok(guest_set_breakpoint(g, 0, &first));
	ok(guest_set_breakpoint(g, 0, &stuck));
	ok(guest_set_breakpoint(g, 0, &last));
	fake_of(g)->misses = true;
	ok(guest_resume(g));
	fake_of(g)->refused = 1u << WATCHPOINT_WRITE;
	fails_with(guest_clear_breakpoints(g), ERR_INVALID, "cannot clear");
	ck_assert_int_eq(g->state, GUEST_STOPPED);
	ck_assert_uint_eq(g->n_breakpoints, 1);
	ck_assert_int_eq(fake_of(g)->armed[0].kind, WATCHPOINT_WRITE);
	fake_of(g)->refused = 0;
	ok(guest_clear_breakpoints(g));
	ck_assert_uint_eq(fake_of(g)->n_armed, 0);
	ok(guest_set_breakpoint(g, 0, &first));
	g->state = GUEST_GONE;
	ok(guest_clear_breakpoints(g));
	ck_assert_uint_eq(g->n_breakpoints, 0);
	guest_destroy(g);
}
END_TEST

/* ---- what a backend lacks ---- */

START_TEST(lacks_are_named)
{
	struct guest *g = blocks_create(1);
	struct guest_ops ops;
	struct guest_event ev = { .kind = GUEST_EVENT_GONE };
	const struct breakpoint b = { BREAKPOINT_SOFTWARE, 0, 1 };
	const struct vcpu_run step = { .action = RUN_STEP };
	struct buf out = { 0 };
	uint64_t value = 0;

	own_ops(g, &ops);
	ops = (struct guest_ops){ .name = "toy", .close = ops.close, .read_regs = ops.read_regs };
	fails_with(guest_write_phys(g, 0x1000, "x", 1), ERR_UNSUPPORTED, "toy");
	fails_with(guest_write_reg(g, 0, X86_RAX, &value), ERR_UNSUPPORTED, "toy");
	fails_with(guest_run(g, &step), ERR_UNSUPPORTED, "toy");
	fails_with(guest_set_breakpoint(g, 0, &b), ERR_UNSUPPORTED, "toy");
	fails_with(guest_clear_breakpoint(g, &b), ERR_UNSUPPORTED, "toy");
	fails_with(guest_resume(g), ERR_UNSUPPORTED, "toy");
	ck_assert_int_eq(guest_poll_fd(g), -1);
	ok(guest_poll(g, &ev));
	ck_assert_int_eq(ev.kind, GUEST_EVENT_NONE);
	guest_describe_vcpu(g, 0, &out);
	ck_assert_str_eq(buf_str(&out), "");
	g->state = GUEST_RUNNING;
	fails_with(guest_stop(g), ERR_UNSUPPORTED, "toy");
	guest_destroy(g);
	guest_destroy(NULL);
}
END_TEST

static TCase *memory_cases(void)
{
	TCase *tc = tcase_create("memory");

	tcase_add_loop_test(tc, blocks_are_checked, 0, ARRAY_LEN(block_sets));
	tcase_add_loop_test(tc, blocks_are_found, 0, ARRAY_LEN(places));
	tcase_add_loop_test(tc, reads_what_is_there, 0, ARRAY_LEN(ranges));
	tcase_add_loop_test(tc, reads_fail_in_holes, 0, ARRAY_LEN(holes));
	tcase_add_loop_test(tc, reader_wants_all, 0, ARRAY_LEN(ranges));
	tcase_add_loop_test(tc, reads_beside, 0, ARRAY_LEN(ranges));
	tcase_add_loop_test(tc, short_reads_end_a_read, 0, ARRAY_LEN(broken));
	tcase_add_loop_test(tc, writes_all_or_nothing, 0, ARRAY_LEN(writes));
	tcase_add_loop_test(tc, reads_virtual_prefix, 0, ARRAY_LEN(virt_ranges));
	tcase_add_loop_test(tc, writes_virtual_all_or_nothing, 0, ARRAY_LEN(virt_ranges));
	tcase_add_loop_test(tc, virtual_addresses_of_nothing, 0, ARRAY_LEN(nowhere));
	tcase_add_test(tc, translates_by_vcpu);
	tcase_add_test(tc, translates_by_what_is_there_now);
	tcase_add_test(tc, translates_many_pages);
	tcase_add_loop_test(tc, data_is_found, 0, ARRAY_LEN(datas));
	tcase_add_test(tc, data_without_a_backend);
	return tc;
}

static TCase *run_cases(void)
{
	TCase *tc = tcase_create("run");

	tcase_add_loop_test(tc, ranges_are_stepped, 0, ARRAY_LEN(step_ranges));
	tcase_add_test(tc, ranges_leave_the_others);
	tcase_add_loop_test(tc, ranges_end, 0, ARRAY_LEN(range_ends));
	tcase_add_test(tc, ranges_end_by_others);
	tcase_add_test(tc, breakpoints_are_set_once);
	tcase_add_test(tc, breakpoints_are_cleared);
	return tc;
}

static TCase *state_cases(void)
{
	TCase *tc = tcase_create("state");

	tcase_add_loop_test(tc, states_stop, 0, ARRAY_LEN(states));
	tcase_add_loop_test(tc, states_resume, 0, ARRAY_LEN(states));
	tcase_add_loop_test(tc, states_use, 0, ARRAY_LEN(states));
	tcase_add_test(tc, states_survive_failure);
	tcase_add_test(tc, events_are_reported);
	tcase_add_test(tc, reads_of_a_dying_vmm);
	tcase_add_test(tc, regs_are_cached_for_a_stop);
	tcase_add_test(tc, regs_are_written_one_by_one);
	tcase_add_test(tc, regs_that_cannot_be_had);
	tcase_add_test(tc, regs_of_a_new_vcpu);
	tcase_add_test(tc, lacks_are_named);
	return tc;
}

int main(void)
{
	Suite *s = suite_create("guest");

	suite_add_tcase(s, memory_cases());
	suite_add_tcase(s, run_cases());
	suite_add_tcase(s, state_cases());
	return suite_run(s);
}
