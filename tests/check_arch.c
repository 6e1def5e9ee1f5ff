/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "arch/walk.h"
#include "tests/page_tables.h"
#include "tests/suite.h"

/* ---- an architecture of every width ---- */

enum {
	REG_WIDE, /* 256 bits */
	REG_LONG, /* 64 */
	REG_HALF, /* 16 */
	REG_X87,  /* 80 */
	REG_EXTRA,
	N_REGS
};

static const struct reg_desc REGS[] = {
	[REG_WIDE] = { "wide", 256, 0, "uint128", "vector" },
	[REG_LONG] = { "long", 64, 0, "int64", "general" },
	[REG_HALF] = { "half", 16, 0, "int16", "general" },
	[REG_X87] = { "x87", 80, 0, "i387_ext", "float" },
	[REG_EXTRA] = { "extra", 32, 1, "mine", "control" },
};

static const struct reg_feature FEATURES[] = {
	{ "org.gnu.gdb.test.core", NULL, -1 },
	{ "org.example.extra", "<flags id=\"mine\" size=\"4\"/>\n", REG_EXTRA },
};

static const struct arch TEST_ARCH = {
	.name = "test",
	.gdb_name = "test:64",
	.gdb_osabi = "none",
	.regs = REGS,
	.n_regs = N_REGS,
	.features = FEATURES,
	.n_features = ARRAY_LEN(FEATURES),
};

static const enum byte_order ORDERS[] = { ORDER_LITTLE, ORDER_BIG };

/* ---- registers ---- */

START_TEST(regs_start_unknown)
{
	struct regs *regs = regs_create(&TEST_ARCH, ORDERS[_i]);
	uint64_t value = 7;

	for (unsigned reg = 0; reg < N_REGS; reg++) {
		ck_assert_ptr_null(regs_bytes(regs, reg));
		ck_assert(!regs_get(regs, reg, &value));
		ck_assert_uint_eq(regs_get_or(regs, reg, 99), 99);
	}
	ck_assert_uint_eq(value, 7);
	regs_destroy(regs);
	regs_destroy(NULL);
}
END_TEST

START_TEST(regs_set_is_in_guest_order)
{
	static const uint8_t LITTLE[] = { 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11 };
	static const uint8_t BIG[] = { 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88 };
	struct regs *regs = regs_create(&TEST_ARCH, ORDERS[_i]);
	bool big = ORDERS[_i] == ORDER_BIG;
	const uint8_t *number = big ? BIG : LITTLE;
	uint8_t wide[32] = { 0 };

	regs_set(regs, REG_LONG, 0x1122334455667788);
	ck_assert_mem_eq(regs_bytes(regs, REG_LONG), number, 8);
	memcpy(wide + (big ? 24 : 0), number, 8);
	regs_set(regs, REG_WIDE, 0x1122334455667788);
	ck_assert_mem_eq(regs_bytes(regs, REG_WIDE), wide, 32);
	ck_assert_uint_eq(regs_get_or(regs, REG_WIDE, 0), 0x1122334455667788);
	regs_set(regs, REG_HALF, 0x12347788);
	ck_assert_mem_eq(regs_bytes(regs, REG_HALF), big ? number + 6 : number, 2);
	ck_assert_uint_eq(regs_get_or(regs, REG_HALF, 0), 0x7788);
	regs_destroy(regs);
}
END_TEST

START_TEST(regs_bytes_come_back)
{
	static const uint8_t BYTES[] = "0123456789";
	struct regs *regs = regs_create(&TEST_ARCH, ORDERS[_i]);
	struct regs *dup;

	regs_set_bytes(regs, REG_X87, BYTES);
	ck_assert_mem_eq(regs_bytes(regs, REG_X87), BYTES, 10);
	ck_assert_uint_eq(regs_get_or(regs, REG_X87, 0),
			  ORDERS[_i] == ORDER_BIG ? 0x3233343536373839 : 0x3736353433323130);
	dup = regs_dup(regs);
	regs_forget(regs, REG_X87);
	ck_assert_ptr_null(regs_bytes(regs, REG_X87));
	ck_assert_mem_eq(regs_bytes(dup, REG_X87), BYTES, 10);
	regs_copy(regs, dup);
	ck_assert_mem_eq(regs_bytes(regs, REG_X87), BYTES, 10);
	ck_assert_ptr_null(regs_bytes(regs, REG_LONG));
	regs_destroy(dup);
	regs_destroy(regs);
}
END_TEST

START_TEST(regs_are_equal_or_not)
{
	struct regs *a = regs_create(&TEST_ARCH, ORDERS[_i]), *b = regs_dup(a);

	ck_assert(regs_equal(a, b));
	regs_set(a, REG_LONG, 0);
	ck_assert(!regs_equal(a, b));
	regs_set(b, REG_LONG, 0);
	ck_assert(regs_equal(a, b));
	regs_set(b, REG_HALF, 1);
	regs_forget(b, REG_HALF);
	ck_assert(regs_equal(a, b));
	regs_set(a, REG_WIDE, 1);
	regs_set(b, REG_WIDE, 2);
	ck_assert(!regs_equal(a, b));
	regs_destroy(a);
	regs_destroy(b);
}
END_TEST

/* ---- notes ---- */

static bool conv_get(const struct regs *regs, uint8_t *ret, size_t bytes)
{
	uint64_t value;

	if (!regs_get(regs, REG_EXTRA, &value))
		return false;
	store_uint(ret, bytes, regs->order, value + 1);
	return true;
}

static void conv_put(struct regs *regs, const uint8_t *from, size_t bytes)
{
	regs_set(regs, REG_EXTRA, load_uint(from, bytes, regs->order) - 1);
}

static const struct note_conv CONV = { conv_get, conv_put };

static const struct note_field FIELDS[] = {
	{ .offset = 0, .bytes = 4, .kind = NOTE_PID },
	{ .offset = 4, .bytes = 4, .kind = NOTE_REG, .reg = REG_LONG }, /* shorter */
	{ .offset = 8, .bytes = 8, .kind = NOTE_REG, .reg = REG_HALF }, /* longer */
	{ .offset = 16, .bytes = 2, .kind = NOTE_CONST, .value = 0x1234 },
	{ .offset = 20, .bytes = 10, .kind = NOTE_REG, .reg = REG_X87, .value = UINT64_MAX },
	{ .offset = 30, .bytes = 1, .kind = NOTE_CONV, .conv = &CONV },
};

static const struct note_desc NOTE = {
	.owner = "TEST",
	.type = 1,
	.bytes = 32,
	.fields = FIELDS,
	.n_fields = ARRAY_LEN(FIELDS),
	.needs_reg = -1,
};

#define MARK 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff

static const uint8_t NOTE_LITTLE[32] = {
	0x78, 0x56, 0x34, 0x12, 0xd0, 0xc0, 0xb0, 0xa0, 0xfe, 0xca, 0, 0, 0, 0, 0, 0,
	0x34, 0x12, 0, 0, '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 6, 0,
};
static const uint8_t NOTE_BIG[32] = {
	0x12, 0x34, 0x56, 0x78, 0xa0, 0xb0, 0xc0, 0xd0, 0, 0, 0, 0, 0, 0, 0xca, 0xfe,
	0x12, 0x34, 0, 0, '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 6, 0,
};
static const uint8_t UNKNOWN_LITTLE[32] = { 1, 0, 0, 0, [16] = 0x34, 0x12, [20] = MARK };
static const uint8_t UNKNOWN_BIG[32] = { 0, 0, 0, 1, [16] = 0x12, 0x34, [22] = MARK };

START_TEST(note_fill_and_parse_are_inverse)
{
	struct regs *regs = regs_create(&TEST_ARCH, ORDERS[_i]);
	struct regs *back = regs_create(&TEST_ARCH, ORDERS[_i]);
	uint8_t bytes[32];
	uint32_t pid;

	regs_set(regs, REG_LONG, 0x11112222a0b0c0d0);
	regs_set(regs, REG_HALF, 0xcafe);
	regs_set_bytes(regs, REG_X87, "0123456789");
	regs_set(regs, REG_EXTRA, 5);
	memset(bytes, 0x55, sizeof(bytes));
	note_fill(&NOTE, regs, 0x12345678, bytes);
	ck_assert_mem_eq(bytes, ORDERS[_i] == ORDER_BIG ? NOTE_BIG : NOTE_LITTLE, sizeof(bytes));

	note_parse(&NOTE, bytes, back, &pid);
	ck_assert_uint_eq(pid, 0x12345678);
	ck_assert_uint_eq(regs_get_or(back, REG_LONG, 0), 0xa0b0c0d0);
	ck_assert_uint_eq(regs_get_or(back, REG_HALF, 0), 0xcafe);
	ck_assert_mem_eq(regs_bytes(back, REG_X87), "0123456789", 10);
	ck_assert_uint_eq(regs_get_or(back, REG_EXTRA, 0), 5);
	ck_assert_ptr_null(regs_bytes(back, REG_WIDE));
	note_parse(&NOTE, bytes, back, NULL);
	regs_destroy(back);
	regs_destroy(regs);
}
END_TEST

START_TEST(note_of_unknown_registers)
{
	struct regs *regs = regs_create(&TEST_ARCH, ORDERS[_i]);
	uint8_t bytes[32];
	uint32_t pid;

	note_fill(&NOTE, regs, 1, bytes);
	ck_assert_mem_eq(bytes, ORDERS[_i] == ORDER_BIG ? UNKNOWN_BIG : UNKNOWN_LITTLE, sizeof(bytes));
	regs_set_bytes(regs, REG_X87, "0123456789");
	note_parse(&NOTE, bytes, regs, &pid);
	ck_assert_uint_eq(pid, 1);
	ck_assert_ptr_null(regs_bytes(regs, REG_X87));
	regs_destroy(regs);
}
END_TEST

START_TEST(note_overlay_leaves_the_rest)
{
	struct regs *regs = regs_create(&TEST_ARCH, ORDERS[_i]);
	uint8_t bytes[32], want[32];

	memset(bytes, 0x55, sizeof(bytes));
	memset(want, 0x55, sizeof(want));
	regs_set(regs, REG_HALF, 0x2121);
	note_overlay(&NOTE, regs, 0, bytes);
	memset(want, 0, 4);
	memset(want + 8, 0, 8);
	memset(want + (ORDERS[_i] == ORDER_BIG ? 14 : 8), 0x21, 2);
	store_uint(want + 16, 2, ORDERS[_i], 0x1234);
	store_uint(want + 20, 10, ORDERS[_i], UINT64_MAX);
	ck_assert_mem_eq(bytes, want, sizeof(bytes));
	regs_destroy(regs);
}
END_TEST

/* ---- target.xml ---- */

START_TEST(target_xml_of_known_features)
{
	static const char CORE[] =
		"<?xml version=\"1.0\"?>\n"
		"<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n"
		"<target version=\"1.0\">\n"
		"<architecture>test:64</architecture>\n"
		"<osabi>none</osabi>\n"
		"<feature name=\"org.gnu.gdb.test.core\">\n"
		"<reg name=\"wide\" bitsize=\"256\" regnum=\"0\" type=\"uint128\"/>\n"
		"<reg name=\"long\" bitsize=\"64\" regnum=\"1\" type=\"int64\"/>\n"
		"<reg name=\"half\" bitsize=\"16\" regnum=\"2\" type=\"int16\"/>\n"
		"<reg name=\"x87\" bitsize=\"80\" regnum=\"3\" type=\"i387_ext\"/>\n"
		"</feature>\n";
	static const char EXTRA[] =
		"<feature name=\"org.example.extra\">\n"
		"<flags id=\"mine\" size=\"4\"/>\n"
		"<reg name=\"extra\" bitsize=\"32\" regnum=\"4\" type=\"mine\" group=\"control\" "
		"save-restore=\"no\"/>\n"
		"</feature>\n";
	struct regs *regs = regs_create(&TEST_ARCH, ORDER_BIG);
	struct buf want = { 0 }, got = { 0 };
	bool extra = _i;

	if (extra)
		regs_set(regs, REG_EXTRA, 0);
	ck_assert(arch_has_feature(regs, 0));
	ck_assert(arch_has_feature(regs, 1) == extra);
	arch_target_xml(regs, &got);
	buf_addf(&want, "%s%s</target>\n", CORE, extra ? EXTRA : "");
	ck_assert_str_eq(buf_str(&got), buf_str(&want));
	buf_deinit(&want);
	buf_deinit(&got);
	regs_destroy(regs);
}
END_TEST

/* ---- what holds for each architecture ---- */

static void check_rows(const struct arch *a)
{
	unsigned feature = 0;

	for (unsigned i = 0; i < a->n_regs; i++) {
		const struct reg_desc *r = &a->regs[i];

		ck_assert_ptr_nonnull(r->name);
		ck_assert_ptr_nonnull(r->type);
		ck_assert_ptr_nonnull(r->group);
		ck_assert_msg(r->bits && r->bits % 8 == 0 && r->bits / 8 <= ARCH_MAX_REG_BYTES, "%s", r->name);
		ck_assert_int_eq(arch_reg_by_name(a, r->name), (int)i);
		ck_assert_msg(r->feature >= feature && r->feature < a->n_features, "%s", r->name);
		feature = r->feature;
	}
	ck_assert_int_eq(arch_reg_by_name(a, "no such register"), -1);
	ck_assert(a->pc < a->n_regs && a->sp < a->n_regs && a->fp < a->n_regs);
}

static void check_note(const struct arch *a, const struct note_desc *n)
{
	uint8_t *owner = calloc(1, n->bytes);

	ck_assert_int_lt(n->needs_reg, (int)a->n_regs);
	for (size_t i = 0; i < n->n_fields; i++) {
		const struct note_field *f = &n->fields[i];

		ck_assert_uint_le(f->offset + f->bytes, n->bytes);
		ck_assert_uint_lt(f->reg, a->n_regs);
		ck_assert((f->kind == NOTE_CONV) == (f->conv != NULL));
		for (unsigned b = 0; b < f->bytes; b++)
			ck_assert_msg(!owner[f->offset + b]++, "%s/%u: two fields at %u", n->owner, n->type,
				      f->offset + b);
	}
	free(owner);
}

static void check_machine(const struct arch *a, const struct arch_machine *m)
{
	ck_assert_ptr_eq(arch_by_elf(m->e_machine), a);
	ck_assert_ptr_eq(arch_notes(a, m->e_machine), &m->notes);
	for (size_t g = 0; g < m->notes.n_groups; g++)
		for (size_t n = 0; n < m->notes.groups[g].n_notes; n++)
			check_note(a, m->notes.groups[g].notes[n]);
}

/* Every element that opens also closes, in order. Our XML has no text that looks like a tag. */
static void check_well_formed(const char *xml)
{
	char open[8][16];
	unsigned depth = 0, elements = 0;

	for (const char *at = strchr(xml, '<'); at; at = strchr(at + 1, '<')) {
		size_t tag = strcspn(at, ">"), name = strcspn(at + 1, " />");

		ck_assert(at[tag] == '>');
		if (at[1] == '?' || at[1] == '!')
			continue;
		if (at[1] == '/') {
			ck_assert_uint_gt(depth--, 0);
			ck_assert(!strncmp(at + 2, open[depth], strlen(open[depth])));
		} else if (at[tag - 1] != '/') {
			ck_assert(depth < ARRAY_LEN(open) && name < sizeof(open[0]));
			snprintf(open[depth++], sizeof(open[0]), "%.*s", (int)name, at + 1);
		}
		elements++;
	}
	ck_assert_uint_eq(depth, 0);
	ck_assert_uint_gt(elements, 2);
}

static void check_regnums(const char *xml, unsigned n)
{
	unsigned next = 0;

	for (const char *at = strstr(xml, "regnum=\""); at; at = strstr(at + 1, "regnum=\""))
		ck_assert_int_eq(atoi(at + strlen("regnum=\"")), (int)next++);
	ck_assert_uint_eq(next, n);
}

START_TEST(every_arch_is_consistent)
{
	for (size_t i = 0; arch_nth(i); i++) {
		const struct arch *a = arch_nth(i);
		struct regs *regs = regs_create(a, ORDER_LITTLE);
		struct buf xml = { 0 };

		ck_assert_ptr_eq(arch_by_name(a->name), a);
		check_rows(a);
		for (size_t m = 0; m < a->n_machines; m++)
			check_machine(a, &a->machines[m]);
		for (unsigned reg = 0; reg < a->n_regs; reg++)
			regs_set(regs, reg, reg);
		arch_target_xml(regs, &xml);
		check_well_formed(buf_str(&xml));
		check_regnums(buf_str(&xml), a->n_regs);
		buf_deinit(&xml);
		regs_destroy(regs);
	}
	ck_assert_ptr_null(arch_by_name("pdp11"));
	ck_assert_ptr_null(arch_by_elf(0xffff));
}
END_TEST

/* ---- the walk that architectures share ---- */

static struct err *read_zeros(void *ctx, uint64_t gpa, void *ret, size_t bytes)
{
	enum err_code *fail = ctx;

	(void)gpa;
	if (fail)
		return err_new(*fail, "no memory");
	memset(ret, 0, bytes);
	return NULL;
}

START_TEST(walk_merges_neighbours)
{
	static const struct mapping IN[] = {
		{ 0x1000, 0x5000, 0x1000, MAPPING_USER },
		{ 0x2000, 0x6000, 0x2000, MAPPING_USER },     /* goes on */
		{ 0x4000, 0x8000, 0x1000, MAPPING_WRITABLE }, /* other flags */
		{ 0x6000, 0x9000, 0x1000, MAPPING_WRITABLE }, /* a hole in gva */
		{ 0x7000, 0xb000, 0x1000, MAPPING_WRITABLE }, /* a hole in gpa */
		{ 0xfffffffffffff000, 0xc000, 0x1000, 0 },
	};
	struct walked c = { 0 };
	struct walk w;

	walk_init(&w, NULL, walked_add, &c);
	for (size_t i = 0; i < ARRAY_LEN(IN); i++)
		ck_assert_ptr_null(walk_map(&w, &IN[i]));
	ck_assert_ptr_null(walk_finish(&w));
	ck_assert_ptr_null(walk_finish(&w));
	walk_deinit(&w);
	ck_assert_uint_eq(c.n, 5);
	ck_assert_uint_eq(c.m[0].gva, 0x1000);
	ck_assert_uint_eq(c.m[0].gpa, 0x5000);
	ck_assert_uint_eq(c.m[0].bytes, 0x3000);
	for (unsigned i = 1; i < 5; i++) {
		ck_assert_uint_eq(c.m[i].gva, IN[i + 1].gva);
		ck_assert_uint_eq(c.m[i].gpa, IN[i + 1].gpa);
		ck_assert_uint_eq(c.m[i].bytes, 0x1000);
	}
}
END_TEST

static const struct {
	enum err_code code;
	bool ends;
} READ_FAILURES[] = {
	{ ERR_UNMAPPED, false }, { ERR_UNKNOWN, false }, { ERR_GONE, true }, { ERR_SYSTEM, true },
};

START_TEST(walk_reads_or_passes_over)
{
	enum err_code code = READ_FAILURES[_i].code;
	struct phys_reader mem = { read_zeros, &code };
	struct walk w;
	uint8_t table[8];
	bool have = true;
	struct err *e;

	walk_init(&w, &mem, NULL, NULL);
	e = walk_read_table(&w, 0x1000, 1, table, sizeof(table), &have);
	ck_assert(!have);
	ck_assert((e != NULL) == READ_FAILURES[_i].ends);
	if (e)
		ck_assert_int_eq(err_code(e), code);
	err_destroy(e);
	walk_deinit(&w);
}
END_TEST

START_TEST(walk_bounds_repeats)
{
	struct phys_reader mem = { read_zeros, NULL };
	struct walk w;
	uint8_t table[8];
	bool have;

	walk_init(&w, &mem, NULL, NULL);
	for (unsigned i = 0; i < WALK_MAX_REPEATS + 100; i++) {
		ck_assert_ptr_null(walk_read_table(&w, 0, 1, table, sizeof(table), &have));
		ck_assert(have == (i <= WALK_MAX_REPEATS));
	}
	/* A table at another level, and another table, are no repeats. */
	ck_assert_ptr_null(walk_read_table(&w, 0, 2, table, sizeof(table), &have));
	ck_assert(have);
	ck_assert_ptr_null(walk_read_table(&w, 0x1000, 1, table, sizeof(table), &have));
	ck_assert(have);
	walk_deinit(&w);
}
END_TEST

/* Power's are of up to 64 KiB. */
static const struct {
	size_t bytes, counts;
} TABLE_SIZES[] = { { 8, 1 }, { 4096, 1 }, { 65536, 16 } };

START_TEST(walk_bounds_tables)
{
	struct phys_reader mem = { read_zeros, NULL };
	struct err *e = NULL;
	struct walk w;
	uint64_t n = 0;
	uint8_t table[65536];
	bool have;

	walk_init(&w, &mem, NULL, NULL);
	while (!e)
		e = walk_read_table(&w, n++ << 12, 1, table, TABLE_SIZES[_i].bytes, &have);
	ck_assert_uint_eq(n, WALK_MAX_TABLES / TABLE_SIZES[_i].counts + 1);
	ck_assert_int_eq(err_code(e), ERR_INVALID);
	ck_assert(!have);
	err_destroy(e);
	walk_deinit(&w);
}
END_TEST

START_TEST(walk_ends_with_the_callbacks_error)
{
	struct mapping m = { 0x1000, 0x1000, 0x1000, 0 };
	struct walked c = { .fail_at = 1 };
	struct walk w;
	struct err *e;

	walk_init(&w, NULL, walked_add, &c);
	ck_assert_ptr_null(walk_map(&w, &m));
	m.gva = 0x8000;
	e = walk_map(&w, &m);
	ck_assert_ptr_nonnull(e);
	ck_assert_int_eq(err_code(e), ERR_CANCELLED);
	ck_assert_uint_eq(c.n, 1);
	err_destroy(e);
	walk_deinit(&w);
}
END_TEST

static Suite *arch_suite(void)
{
	Suite *s = suite_create("arch");
	TCase *regs = tcase_create("regs"), *note = tcase_create("note");
	TCase *table = tcase_create("table"), *walk = tcase_create("walk");

	tcase_add_loop_test(regs, regs_start_unknown, 0, ARRAY_LEN(ORDERS));
	tcase_add_loop_test(regs, regs_set_is_in_guest_order, 0, ARRAY_LEN(ORDERS));
	tcase_add_loop_test(regs, regs_bytes_come_back, 0, ARRAY_LEN(ORDERS));
	tcase_add_loop_test(regs, regs_are_equal_or_not, 0, ARRAY_LEN(ORDERS));
	suite_add_tcase(s, regs);
	tcase_add_loop_test(note, note_fill_and_parse_are_inverse, 0, ARRAY_LEN(ORDERS));
	tcase_add_loop_test(note, note_of_unknown_registers, 0, ARRAY_LEN(ORDERS));
	tcase_add_loop_test(note, note_overlay_leaves_the_rest, 0, ARRAY_LEN(ORDERS));
	suite_add_tcase(s, note);
	tcase_add_loop_test(table, target_xml_of_known_features, 0, 2);
	tcase_add_test(table, every_arch_is_consistent);
	suite_add_tcase(s, table);
	tcase_set_timeout(walk, 60);
	tcase_add_test(walk, walk_merges_neighbours);
	tcase_add_loop_test(walk, walk_reads_or_passes_over, 0, ARRAY_LEN(READ_FAILURES));
	tcase_add_test(walk, walk_bounds_repeats);
	tcase_add_loop_test(walk, walk_bounds_tables, 0, ARRAY_LEN(TABLE_SIZES));
	tcase_add_test(walk, walk_ends_with_the_callbacks_error);
	suite_add_tcase(s, walk);
	return s;
}

int main(void)
{
	return suite_run(arch_suite());
}
