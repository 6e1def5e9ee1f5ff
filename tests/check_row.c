/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * A register needs one row of its architecture's table and nothing else: every
 * architecture gets one row more here, and everything that shows registers has it.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hex.h"
#include "dump/plan.h"
#include "guest/fake.h"
#include "guest/stub_map.h"
#include "rsp/session.h"
#include "server/expr.h"
#include "server/monitor_call.h"
#include "tests/suite.h"

#define NAME "one_more"
#define BYTES 6u
#define VALUE 0x123456789abcull
#define NEW_VALUE 0xfedcba987654ull
#define N_CASES 6 /* two byte orders of three architectures */

static struct {
	struct arch arch;
	struct reg_desc *rows;
	unsigned row; /* the new one */
	struct guest *guest;
	struct rsp_session *session;
} f;

/* The last of the features that every guest has. */
static uint8_t common_feature(const struct arch *arch)
{
	size_t i = arch->n_features - 1;

	while (arch->features[i].present_if >= 0)
		i--;
	return (uint8_t)i;
}

static void add_row(const struct arch *arch)
{
	f.arch = *arch;
	f.row = (unsigned)arch->n_regs;
	f.arch.n_regs = arch->n_regs + 1;
	f.rows = xcalloc(f.arch.n_regs, sizeof(*f.rows));
	memcpy(f.rows, arch->regs, arch->n_regs * sizeof(*f.rows));
	f.rows[f.row] = (struct reg_desc){ NAME, 8 * BYTES, common_feature(arch), "uint64", "control" };
	f.arch.regs = f.rows;
}

static void set_up(int i)
{
	const struct mem_block ram = { .bytes = 0x1000 };
	const struct rsp_host host = { .monitor = NULL };
	const struct arch *arch = arch_nth((size_t)i / 2);

	ck_assert_ptr_null(arch_nth(N_CASES / 2));
	add_row(arch);
	f.guest = fake_create(&f.arch, i % 2 ? ORDER_BIG : ORDER_LITTLE, 1, &ram, 1);
	for (unsigned r = 0; r < f.arch.n_regs; r++)
		regs_set(fake_of(f.guest)->regs[0], r, 0);
	regs_set(fake_of(f.guest)->regs[0], f.row, VALUE);
	f.session = rsp_session_create(f.guest, &host);
}

static void tear_down(void)
{
	rsp_session_destroy(f.session);
	guest_destroy(f.guest);
	free(f.rows);
}

static void ok(struct err *e)
{
	ck_assert_msg(!e, "%s", e ? err_text(e) : "");
}

/* A value as the guest's memory would have it. */
static const uint8_t *bytes_of(uint64_t value)
{
	static uint8_t bytes[BYTES];

	store_uint(bytes, sizeof(bytes), f.guest->order, value);
	return bytes;
}

static const char *digits_of(uint64_t value)
{
	static struct buf digits;

	buf_reset(&digits);
	buf_add_hex(&digits, bytes_of(value), BYTES);
	return buf_str(&digits);
}

static uint64_t value_now(void)
{
	const struct regs *regs;

	ok(guest_regs(f.guest, 0, &regs));
	return regs_get_or(regs, f.row, 0);
}

/* What a packet is answered with; borrowed. */
static const char *answer(rsp_handler *handle, const char *args)
{
	struct cursor c = cursor_of_string(args);

	buf_reset(&f.session->reply);
	ok(handle(f.session, &c));
	return buf_str(&f.session->reply);
}

START_TEST(packets)
{
	struct buf all = { 0 };
	char text[64];

	set_up(_i);
	buf_adds(&all, answer(rsp_g, ""));
	ck_assert_uint_ge(all.len, 2 * BYTES);
	ck_assert_str_eq(buf_str(&all) + all.len - 2 * BYTES, digits_of(VALUE));
	snprintf(text, sizeof(text), "%x", f.row);
	ck_assert_str_eq(answer(rsp_p, text), digits_of(VALUE));
	snprintf(text, sizeof(text), "%x=%s", f.row, digits_of(NEW_VALUE));
	ck_assert_str_eq(answer(rsp_P, text), "OK");
	ck_assert_uint_eq(value_now(), NEW_VALUE);
	ck_assert_str_eq(answer(rsp_G, buf_str(&all)), "OK");
	ck_assert_uint_eq(value_now(), VALUE);
	buf_deinit(&all);
	tear_down();
}
END_TEST

static struct err *own_description(void *arg, const char *annex, struct buf *ret)
{
	(void)arg;
	(void)annex;
	buf_adds(ret, buf_str(&f.session->target_xml));
	return NULL;
}

/* A stub that has the register is read by its name, too. */
START_TEST(target_description)
{
	struct stub_map map;
	struct tdesc t;
	char line[128];

	set_up(_i);
	snprintf(line, sizeof(line), "<reg name=\"" NAME "\" bitsize=\"48\" regnum=\"%u\" type=\"uint64\"", f.row);
	ck_assert_ptr_nonnull(strstr(buf_str(&f.session->target_xml), line));
	ok(tdesc_read(own_description, NULL, &t));
	map = stub_map_of(&f.arch, &t);
	ck_assert(map.rows[f.row].known);
	ck_assert_uint_eq(map.rows[f.row].regnum, f.row);
	ck_assert_uint_eq(map.rows[f.row].bytes, BYTES);
	stub_map_deinit(&map);
	tdesc_deinit(&t);
	tear_down();
}
END_TEST

START_TEST(monitor)
{
	struct monitor m = { 0 };
	struct monitor_call call = { .monitor = &m, .args = cursor_of_string("") };
	struct cursor expression = cursor_of_string("$" NAME " + 1");
	uint64_t value;

	set_up(_i);
	m.guest = f.guest;
	ok(monitor_info_registers(&call));
	ck_assert_ptr_nonnull(strstr(buf_str(&call.out), NAME "=123456789abc"));
	ok(expr_take(&expression, f.guest, 0, &value));
	ck_assert_uint_eq(value, VALUE + 1);
	buf_deinit(&call.out);
	tear_down();
}
END_TEST

/* Notes name registers: a field of a note is all that a vmcore needs to have it. */
START_TEST(vmcore)
{
	struct dump_options all = { .paging = false };
	struct note_field field = { .offset = 0, .bytes = 8, .kind = NOTE_REG };
	const struct note_desc note = { "TEST", 1, 8, &field, 1, -1 };
	const struct note_desc *const notes[] = { &note };
	const struct note_group group = { notes, 1 };
	struct arch_machine machine = { .notes = { &group, 1 } };
	struct guest_image *img = NULL;
	struct dump_plan *plan = NULL;
	struct regs *back;

	set_up(_i);
	field.reg = (uint16_t)f.row;
	machine.e_machine = f.arch.elf_machine((const struct regs *const *)fake_of(f.guest)->regs, 1);
	f.arch.machines = &machine;
	f.arch.n_machines = 1;
	ok(guest_image_create(f.guest, &img));
	ok(dump_plan_create(img, &all, &plan));
	back = regs_create(&f.arch, f.guest->order);
	note_parse(&note, (const uint8_t *)plan->notes.data + plan->notes.len - note.bytes, back, NULL);
	ck_assert_uint_eq(regs_get_or(back, f.row, 0), VALUE);
	regs_destroy(back);
	dump_plan_destroy(plan);
	guest_image_destroy(img);
	tear_down();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("row");
	TCase *tc = tcase_create("row");

	tcase_add_loop_test(tc, packets, 0, N_CASES);
	tcase_add_loop_test(tc, target_description, 0, N_CASES);
	tcase_add_loop_test(tc, monitor, 0, N_CASES);
	tcase_add_loop_test(tc, vmcore, 0, N_CASES);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
