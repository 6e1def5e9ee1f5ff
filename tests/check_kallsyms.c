/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <check.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "arch/ppc64/ppc64.h"
#include "guest/fake.h"
#include "linux/kallsyms.h"
#include "tests/kallsyms_build.h"
#include "tests/suite.h"

/* A kernel of ppc64, which has both byte orders, and all RAM at one distance. */
#define RAM_BYTES 0x20000u
#define TABLES_GPA 0x10000u
#define KERNEL (PPC64_LINEAR_GVA + 0x100000)
#define STEXT KERNEL

/* 300 characters: the length takes two bytes. */
#define TEN "0123456789"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
#define LONG_NAME "long_" HUNDRED HUNDRED HUNDRED

static const struct kallsyms_symbol SYMBOLS[] = {
	{ "per_cpu_start", 0, 'A' },
	{ "current_task", 0x1fb80, 'A' },
	{ "_text", KERNEL, 'T' },
	{ "_stext", STEXT, 'T' },
	{ "__sched_text", KERNEL + 0x1230, 't' },
	{ LONG_NAME, KERNEL + 0x2000, 't' },
	{ "twin", KERNEL + 0x3000, 't' },
	{ "twin", KERNEL + 0x4000, 't' },
	{ "init_task_struct", KERNEL + 0x5000, 'D' },
	{ "_end", KERNEL + 0x40000000, 'B' },
};
#define N_PERCPU 2u

struct fixture {
	struct guest *g;
	struct regs *regs;
	struct kallsyms_build build;
	struct vmcoreinfo info;
	struct buf text;
};

static void set_text(struct fixture *f)
{
	f->info = (struct vmcoreinfo){ f->text.data, f->text.len, 0 };
}

static struct fixture set_up(enum kallsyms_form form, enum byte_order order)
{
	const struct mem_block block = { .gpa = 0, .bytes = RAM_BYTES };
	struct fixture f = { .g = fake_create(&arch_ppc64, order, 1, &block, 1) };
	unsigned first = form == KALLSYMS_PERCPU ? 0 : N_PERCPU;

	f.regs = regs_create(&arch_ppc64, order);
	regs_set(f.regs, PPC64_MSR, PPC64_MSR_DR);
	f.build = (struct kallsyms_build){
		.form = form,
		.symbols = SYMBOLS + first,
		.n = ARRAY_LEN(SYMBOLS) - first,
		.gpa = TABLES_GPA,
		.gva = PPC64_LINEAR_GVA + TABLES_GPA,
	};
	buf_addf(&f.text, "OSRELEASE=6.1.0\nSYMBOL(_stext)=%llx\n", (unsigned long long)STEXT);
	kallsyms_build(&f.build, f.g, &f.text);
	return f;
}

static void tear_down(struct fixture *f)
{
	buf_deinit(&f->text);
	regs_destroy(f->regs);
	guest_destroy(f->g);
}

static struct kallsyms *open_tables(struct fixture *f)
{
	struct kallsyms *k = NULL;
	struct err *e;

	set_text(f);
	e = kallsyms_open(f->g, f->regs, &f->info, &k);
	ck_assert_msg(!e, "%s", e ? err_text(e) : "");
	return k;
}

static void check_symbols(const struct kallsyms *k, const struct kallsyms_build *b)
{
	for (size_t i = 0; i < b->n; i++) {
		const struct kallsyms_symbol *s = &b->symbols[i];
		uint64_t got = 1;

		ck_assert_msg(kallsyms_find(k, s->name, &got), "%s", s->name);
		ck_assert_uint_eq(got, strcmp(s->name, "twin") ? s->address : KERNEL + 0x3000);
	}
}

static void check_absent(const struct kallsyms *k)
{
	static const char *const names[] = { "", "T", "T_stext", "_stex", "_stext_", "init_", "schedule" };
	uint64_t got = 1;

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		ck_assert_msg(!kallsyms_find(k, names[i], &got), "%s", names[i]);
	ck_assert_uint_eq(got, 1);
}

static const struct {
	uint64_t gva;
	const char *name; /* NULL: none */
	uint64_t offset;
} PLACES[] = {
	{ KERNEL - 1, NULL, 0 },
	{ 0x1fb80, NULL, 0 },
	{ KERNEL, "_text", 0 }, /* the first of those at one address */
	{ KERNEL + 0x122f, "_text", 0x122f },
	{ KERNEL + 0x1230, "__sched_text", 0 },
	{ KERNEL + 0x2fff, LONG_NAME, 0xfff },
	{ KERNEL + 0x3000, "twin", 0 },
	{ KERNEL + 0x4008, "twin", 8 },
	{ KERNEL + 0x3fffffff, "init_task_struct", 0x3fffffff - 0x5000 },
	{ KERNEL + 0x40000000, "_end", 0 },
	{ KERNEL + 0x40000001, NULL, 0 },
	{ UINT64_MAX, NULL, 0 },
};

static void check_places(const struct kallsyms *k)
{
	for (size_t i = 0; i < ARRAY_LEN(PLACES); i++) {
		struct buf name = { 0 };
		uint64_t offset = 0;
		bool found = kallsyms_at(k, PLACES[i].gva, &name, &offset);

		ck_assert_int_eq(found, PLACES[i].name != NULL);
		ck_assert_str_eq(buf_str(&name), found ? PLACES[i].name : "");
		ck_assert_uint_eq(offset, PLACES[i].offset);
		buf_deinit(&name);
	}
}

static enum byte_order order_of(int i)
{
	return i % 2 ? ORDER_BIG : ORDER_LITTLE;
}

START_TEST(finds_symbols)
{
	struct fixture f = set_up((enum kallsyms_form)(_i / 2), order_of(_i));
	struct kallsyms *k = open_tables(&f);

	check_symbols(k, &f.build);
	check_absent(k);
	check_places(k);
	kallsyms_close(k);
	tear_down(&f);
}
END_TEST

/* ---- what is wrong ---- */

static uint8_t *at(struct fixture *f, uint64_t gva)
{
	return fake_at(f->g, gva - PPC64_LINEAR_GVA);
}

static void put(struct fixture *f, uint64_t gva, size_t bytes, uint64_t value)
{
	store_uint(at(f, gva), bytes, f->g->order, value);
}

/* Writes VMCOREINFO anew, with other places in it. */
static void move(struct fixture *f, const char *name, uint64_t gva)
{
	struct buf key = { 0 };
	char *found, *end;

	buf_addf(&key, "SYMBOL(%s)=", name);
	found = strstr(f->text.data, buf_str(&key));
	ck_assert_ptr_nonnull(found);
	end = strchr(found, '\n') + 1;
	memmove(found, end, strlen(end) + 1);
	f->text.len -= (size_t)(end - found);
	if (gva)
		buf_addf(&f->text, "%s%" PRIx64 "\n", buf_str(&key), gva);
	buf_deinit(&key);
}

static void no_names(struct fixture *f)
{
	move(f, "kallsyms_names", 0);
}

static void no_offsets(struct fixture *f)
{
	move(f, "kallsyms_offsets", 0);
}

static void no_symbols(struct fixture *f)
{
	put(f, f->build.num_syms, 4, 0);
}

static void many_symbols(struct fixture *f)
{
	put(f, f->build.num_syms, 4, 0xffffffff);
}

static void more_symbols_than_names(struct fixture *f)
{
	put(f, f->build.num_syms, 4, f->build.n + 30);
}

static void names_behind_tokens(struct fixture *f)
{
	move(f, "kallsyms_names", f->build.token_table);
}

static void names_far_before(struct fixture *f)
{
	move(f, "kallsyms_names", f->build.token_table - (1ull << 40));
}

static void names_not_there(struct fixture *f)
{
	move(f, "kallsyms_names", PPC64_LINEAR_GVA + RAM_BYTES);
	move(f, "kallsyms_token_table", PPC64_LINEAR_GVA + RAM_BYTES + 4096);
	move(f, "kallsyms_token_index", PPC64_LINEAR_GVA + RAM_BYTES + 8192);
}

static void offsets_half_there(struct fixture *f)
{
	move(f, "kallsyms_offsets", PPC64_LINEAR_GVA + RAM_BYTES - 8);
}

static void count_at_the_end(struct fixture *f)
{
	move(f, "kallsyms_num_syms", UINT64_MAX - 1);
}

static void empty_name(struct fixture *f)
{
	*at(f, f->build.names) = 0;
}

static void name_past_the_end(struct fixture *f)
{
	*at(f, f->build.names) = 0xff;
	*at(f, f->build.names + 1) = 0xff;
}

static void length_cut_off(struct fixture *f)
{
	size_t bytes = (size_t)(f->build.token_table - f->build.names);

	memset(at(f, f->build.names), 1, bytes);
	*at(f, f->build.token_table - 1) = 0x80;
	put(f, f->build.num_syms, 4, bytes / 2);
}

static void type_alone(struct fixture *f)
{
	*at(f, f->build.names) = 1;
}

static void token_outside(struct fixture *f)
{
	put(f, f->build.token_index + 2 * 'p', 2, 0xffff);
}

static void token_without_end(struct fixture *f)
{
	*at(f, f->build.token_index - 1) = 'x';
}

/* A token of its own for each of 127 codes, of 1 KiB. */
static void names_too_long(struct fixture *f)
{
	move(f, "kallsyms_token_index", f->build.token_index + 0x2000);
	memset(at(f, f->build.token_table), 'x', 0x1000);
	memset(at(f, f->build.token_table + 0x1000), 0, 0x2000);
	*at(f, f->build.names) = 127;
}

static void tokens_too_far(struct fixture *f)
{
	move(f, "kallsyms_token_index", f->build.token_table + (1 << 20));
}

static void moved_kernel(struct fixture *f)
{
	move(f, "_stext", STEXT + 0x1000);
}

static void other_base(struct fixture *f)
{
	put(f, f->build.relative_base, 8, KERNEL + 8);
}

static const struct {
	void (*change)(struct fixture *f);
	enum err_code code;
	const char *text;
} WRONG[] = {
	{ no_names, ERR_UNKNOWN, "6.0" },
	{ no_offsets, ERR_UNKNOWN, "6.0" },
	{ no_symbols, ERR_INVALID, "kallsyms_num_syms" },
	{ many_symbols, ERR_INVALID, "kallsyms_num_syms" },
	{ more_symbols_than_names, ERR_INVALID, "kallsyms_names: name" },
	{ names_behind_tokens, ERR_INVALID, "kallsyms_names" },
	{ names_far_before, ERR_INVALID, "kallsyms_names" },
	{ names_not_there, ERR_UNMAPPED, "kallsyms_token_table: 0x" },
	{ offsets_half_there, ERR_UNMAPPED, "kallsyms_offsets: 0x" },
	{ count_at_the_end, ERR_UNMAPPED, "kallsyms_num_syms: 0x" },
	{ empty_name, ERR_INVALID, "name 0 " },
	{ name_past_the_end, ERR_INVALID, "name 0 " },
	{ length_cut_off, ERR_INVALID, "kallsyms_names: name" },
	{ type_alone, ERR_INVALID, "name 0 " },
	{ token_outside, ERR_INVALID, "token 112 " },
	{ token_without_end, ERR_INVALID, "kallsyms_token_table" },
	{ names_too_long, ERR_INVALID, "name 0 " },
	{ tokens_too_far, ERR_INVALID, "kallsyms_token_table" },
	{ moved_kernel, ERR_INVALID, "_stext" },
	{ other_base, ERR_INVALID, "_stext" },
};

START_TEST(refuses_what_is_wrong)
{
	struct fixture f = set_up(KALLSYMS_PERCPU, order_of(_i));
	struct kallsyms *k = NULL;
	struct err *e;

	WRONG[_i / 2].change(&f);
	set_text(&f);
	e = kallsyms_open(f.g, f.regs, &f.info, &k);
	ck_assert_ptr_nonnull(e);
	ck_assert_ptr_null(k);
	ck_assert_msg(err_code(e) == WRONG[_i / 2].code && strstr(err_text(e), WRONG[_i / 2].text), "%d: %s",
		      err_code(e), err_text(e));
	err_destroy(e);
	tear_down(&f);
}
END_TEST

/* Any byte may be anything: what opens can be asked. */
static void try_byte(struct fixture *f, uint64_t gva, uint8_t value)
{
	uint8_t *byte = at(f, gva), was = *byte;
	struct kallsyms *k = NULL;
	struct buf name = { 0 };
	uint64_t got;
	struct err *e;

	*byte = value;
	e = kallsyms_open(f->g, f->regs, &f->info, &k);
	if (!e) {
		kallsyms_find(k, "nothing", &got);
		kallsyms_at(k, KERNEL + 0x5000, &name, &got);
	}
	kallsyms_close(k);
	buf_deinit(&name);
	err_destroy(e);
	*byte = was;
}

START_TEST(survives_any_byte)
{
	static const uint8_t values[] = { 0, 1, 0x7f, 0x80, 0xff };
	struct fixture f = set_up((enum kallsyms_form)(_i / 2), order_of(_i));

	set_text(&f);
	for (uint64_t gva = f.build.gva; gva < f.build.end; gva++)
		for (size_t i = 0; i < ARRAY_LEN(values); i++)
			try_byte(&f, gva, values[i]);
	kallsyms_close(open_tables(&f));
	tear_down(&f);
}
END_TEST

static Suite *kallsyms_suite(void)
{
	Suite *s = suite_create("kallsyms");
	TCase *t = tcase_create("kallsyms");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, finds_symbols, 0, 2 * KALLSYMS_N_FORMS);
	tcase_add_loop_test(t, refuses_what_is_wrong, 0, 2 * ARRAY_LEN(WRONG));
	tcase_add_loop_test(t, survives_any_byte, 0, 2 * KALLSYMS_N_FORMS);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return suite_run(kallsyms_suite());
}
