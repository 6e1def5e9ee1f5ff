/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/cursor.h"
#include "base/endian.h"
#include "base/err.h"
#include "base/hex.h"
#include "tests/suite.h"

/* ---- buf ---- */

START_TEST(buf_starts_empty)
{
	struct buf b = { 0 };
	char *text;

	ck_assert_str_eq(buf_str(&b), "");
	buf_reset(&b);
	buf_drop(&b, 0);
	buf_add(&b, NULL, 0);
	buf_adds(&b, "");
	ck_assert_uint_eq(b.len, 0);
	text = buf_take(&b);
	ck_assert_str_eq(text, "");
	free(text);
	buf_deinit(&b);
}
END_TEST

START_TEST(buf_adds_every_kind)
{
	struct buf b = { 0 };
	char *text;

	buf_adds(&b, "one");
	buf_addch(&b, ' ');
	buf_add(&b, "two three", 3);
	buf_addf(&b, " %d%s", 3, "!");
	buf_addf(&b, "%s", "");
	buf_add_hex(&b, "\x00\xaf\xff", 3);
	buf_add_hex(&b, NULL, 0);
	ck_assert_str_eq(buf_str(&b), "one two 3!00afff");
	ck_assert_uint_eq(b.len, 16);
	text = buf_take(&b);
	ck_assert_str_eq(text, "one two 3!00afff");
	ck_assert_uint_eq(b.len, 0);
	ck_assert_str_eq(buf_str(&b), "");
	free(text);
}
END_TEST

/* Bytes are counted, not looked at, and a NUL stands behind them at every length. */
START_TEST(buf_holds_any_byte)
{
	struct buf b = { 0 };

	for (unsigned i = 0; i < 5000; i++) {
		buf_addch(&b, (char)(i % 7));
		ck_assert_uint_eq(b.len, i + 1);
		ck_assert_int_eq(b.data[b.len], 0);
	}
	for (unsigned i = 0; i < 5000; i++)
		ck_assert_int_eq(b.data[i], i % 7);
	buf_reset(&b);
	ck_assert_str_eq(buf_str(&b), "");
	buf_deinit(&b);
}
END_TEST

START_TEST(buf_extends_by_room)
{
	struct buf b = { 0 };
	char *room;

	buf_adds(&b, "ab");
	room = buf_extend(&b, 1000);
	ck_assert_ptr_eq(room, b.data + 2);
	memset(room, 'x', 1000);
	ck_assert_uint_eq(b.len, 1002);
	ck_assert_uint_eq(strlen(buf_str(&b)), 1002);
	ck_assert_ptr_eq(buf_extend(&b, 0), b.data + 1002);
	buf_deinit(&b);
}
END_TEST

static const struct {
	const char *text;
	size_t drop;
	const char *want;
} drops[] = {
	{ "abc", 0, "abc" },
	{ "abc", 1, "bc" },
	{ "abc", 3, "" },
	{ "", 0, "" },
};

START_TEST(buf_drops_from_the_front)
{
	struct buf b = { 0 };

	buf_adds(&b, drops[_i].text);
	buf_drop(&b, drops[_i].drop);
	ck_assert_str_eq(buf_str(&b), drops[_i].want);
	ck_assert_uint_eq(b.len, strlen(drops[_i].want));
	buf_adds(&b, "z");
	ck_assert_int_eq(buf_str(&b)[b.len - 1], 'z');
	buf_deinit(&b);
}
END_TEST

/* ---- cursor ---- */

/* A cursor over a copy with nothing behind it, so that a read past the end is seen. */
static char *place(const char *text, struct cursor *ret)
{
	size_t n = strlen(text);
	char *copy = malloc(n ? n : 1);

	memcpy(copy, text, n);
	*ret = cursor_of(copy, n);
	return copy;
}

static const struct number {
	const char *text;
	bool ok;
	uint64_t value;
	size_t left; /* behind it; all of it when it fails */
} hexes[] = {
	{ "0", true, 0, 0 },
	{ "fF0", true, 0xff0, 0 },
	{ "ffffffffffffffff", true, UINT64_MAX, 0 },
	{ "0000000000000000000000001", true, 1, 0 },
	{ "12,34", true, 0x12, 3 },
	{ "1g", true, 1, 1 },
	{ "10000000000000000", false, 0, 17 },
	{ "fffffffffffffffff", false, 0, 17 },
	{ "", false, 0, 0 },
	{ ",", false, 0, 1 },
	{ "-1", false, 0, 2 },
	{ " 1", false, 0, 2 },
	{ "x1", false, 0, 2 },
}, numbers[] = {
	{ "0", true, 0, 0 },
	{ "10", true, 10, 0 },
	{ "0x10", true, 16, 0 },
	{ "0XfE", true, 254, 0 },
	{ "010", true, 8, 0 },
	{ "08", true, 0, 1 },
	{ "0x", true, 0, 1 },
	{ "0xg", true, 0, 2 },
	{ "12a", true, 12, 1 },
	{ "18446744073709551615", true, UINT64_MAX, 0 },
	{ "0xffffffffffffffff", true, UINT64_MAX, 0 },
	{ "01777777777777777777777", true, UINT64_MAX, 0 },
	{ "18446744073709551616", false, 0, 20 },
	{ "0x10000000000000000", false, 0, 19 },
	{ "02000000000000000000000", false, 0, 23 },
	{ "", false, 0, 0 },
	{ "a", false, 0, 1 },
	{ "-1", false, 0, 2 },
	{ "+1", false, 0, 2 },
};

static void check_number(const struct number *n, bool (*take)(struct cursor *, uint64_t *))
{
	uint64_t value = 0x5a;
	struct cursor c;
	char *copy = place(n->text, &c);

	ck_assert_msg(take(&c, &value) == n->ok, "\"%s\"", n->text);
	ck_assert_msg(value == (n->ok ? n->value : 0x5a), "\"%s\" is %#lx", n->text, (unsigned long)value);
	ck_assert_uint_eq(cursor_left(&c), n->left);
	free(copy);
}

START_TEST(cursor_takes_hex)
{
	check_number(&hexes[_i], cursor_take_hex);
}
END_TEST

START_TEST(cursor_takes_numbers)
{
	check_number(&numbers[_i], cursor_take_number);
}
END_TEST

static const struct {
	const char *text;
	size_t bytes;
	bool ok;
	const char *want;
	size_t left;
} hex_bytes[] = {
	{ "00aAFf", 3, true, "\x00\xaa\xff", 0 },
	{ "00aAFf", 2, true, "\x00\xaa", 2 },
	{ "12345", 2, true, "\x12\x34", 1 },
	{ "12", 0, true, "", 2 },
	{ "", 0, true, "", 0 },
	{ "123", 2, false, NULL, 3 },
	{ "", 1, false, NULL, 0 },
	{ "1g", 1, false, NULL, 2 },
	{ "g1", 1, false, NULL, 2 },
	{ "12xx", 2, false, NULL, 4 },
	{ "12", SIZE_MAX, false, NULL, 2 },
	{ "12", SIZE_MAX / 2 + 2, false, NULL, 2 }, /* twice this wraps to 2 */
};

START_TEST(cursor_takes_hex_bytes)
{
	struct cursor c;
	char *copy = place(hex_bytes[_i].text, &c), ret[8];

	ck_assert(cursor_take_hex_bytes(&c, ret, hex_bytes[_i].bytes) == hex_bytes[_i].ok);
	ck_assert_uint_eq(cursor_left(&c), hex_bytes[_i].left);
	if (hex_bytes[_i].ok)
		ck_assert_mem_eq(ret, hex_bytes[_i].want, hex_bytes[_i].bytes);
	free(copy);
}
END_TEST

static const struct {
	const char *text, *want;
	bool ok;
	size_t left;
} strings[] = {
	{ "vCont?", "vCont", true, 1 },
	{ "vCont", "vCont", true, 0 },
	{ "vCon", "vCont", false, 4 },
	{ "VCont", "vCont", false, 5 },
	{ "a", "", true, 1 },
	{ "", "", true, 0 },
	{ "", "a", false, 0 },
};

START_TEST(cursor_takes_strings)
{
	struct cursor c;
	char *copy = place(strings[_i].text, &c);

	ck_assert(cursor_take_string(&c, strings[_i].want) == strings[_i].ok);
	ck_assert_uint_eq(cursor_left(&c), strings[_i].left);
	free(copy);
}
END_TEST

START_TEST(cursor_takes_chars)
{
	struct cursor c = cursor_of("ab", 2);

	ck_assert(!cursor_take_char(&c, 'b'));
	ck_assert(cursor_take_char(&c, 'a'));
	ck_assert(cursor_take_char(&c, 'b'));
	ck_assert(cursor_at_end(&c));
	ck_assert(!cursor_take_char(&c, '\0'));
	c = cursor_of("\0", 1);
	ck_assert(cursor_take_char(&c, '\0'));
}
END_TEST

static const struct {
	const char *text;
	size_t bytes;
	const char *stop;
	size_t taken;
} untils[] = {
	{ "key=value", 9, "=", 3 },
	{ "key=value", 9, ",;", 9 },
	{ "a;b,c", 5, ",;", 1 },
	{ ";", 1, ";", 0 },
	{ "", 0, ";", 0 },
	{ "abc", 3, "", 3 },
	{ "a\0b;c", 5, ";", 3 },
};

START_TEST(cursor_takes_until)
{
	struct cursor c = cursor_of(untils[_i].text, untils[_i].bytes);
	struct cursor got = cursor_take_until(&c, untils[_i].stop);

	ck_assert_ptr_eq(got.at, untils[_i].text);
	ck_assert_uint_eq(cursor_left(&got), untils[_i].taken);
	ck_assert_ptr_eq(c.at, got.end);
	ck_assert_uint_eq(cursor_left(&c), untils[_i].bytes - untils[_i].taken);
}
END_TEST

static const struct {
	const char *text;
	const char *words[3]; /* NULL: no more */
} lines[] = {
	{ "", { NULL } },
	{ " \t\n\v\f\r", { NULL } },
	{ "one", { "one" } },
	{ "  one\ttwo\n", { "one", "two" } },
	{ "a b c", { "a", "b", "c" } },
};

START_TEST(cursor_takes_words)
{
	struct cursor c, word;
	char *copy = place(lines[_i].text, &c);

	for (unsigned i = 0; i < ARRAY_LEN(lines[_i].words) && lines[_i].words[i]; i++) {
		ck_assert(cursor_take_word(&c, &word));
		ck_assert(cursor_equals(&word, lines[_i].words[i]));
	}
	ck_assert(!cursor_take_word(&c, &word));
	cursor_skip_space(&c);
	ck_assert(cursor_at_end(&c));
	free(copy);
}
END_TEST

/* No bytes at all, as of a buffer that nothing was added to. */
START_TEST(cursor_of_nothing)
{
	struct cursor c = cursor_of(NULL, 0), word;
	uint64_t value;
	char *text;

	ck_assert(cursor_at_end(&c));
	ck_assert(cursor_equals(&c, ""));
	ck_assert(!cursor_equals(&c, "a"));
	ck_assert(cursor_take_string(&c, ""));
	ck_assert(!cursor_take_hex(&c, &value));
	ck_assert(!cursor_take_number(&c, &value));
	ck_assert(!cursor_take_word(&c, &word));
	text = cursor_dup(&c);
	ck_assert_str_eq(text, "");
	free(text);
}
END_TEST

START_TEST(cursor_compares_and_copies)
{
	struct cursor c = cursor_of("abcd", 3);
	char *text = cursor_dup(&c);

	ck_assert_str_eq(text, "abc");
	ck_assert(cursor_equals(&c, "abc"));
	ck_assert(!cursor_equals(&c, "abcd"));
	ck_assert(!cursor_equals(&c, "ab"));
	ck_assert(!cursor_equals(&c, "abd"));
	free(text);
}
END_TEST

/* ---- endian ---- */

static const struct {
	uint8_t bytes[16];
	size_t n;
	uint64_t little, big;
} words[] = {
	{ { 0x81 }, 1, 0x81, 0x81 },
	{ { 0x01, 0x82 }, 2, 0x8201, 0x0182 },
	{ { 0x01, 0x02, 0x83 }, 3, 0x830201, 0x010283 },
	{ { 0x01, 0x02, 0x03, 0xf4 }, 4, 0xf4030201, 0x010203f4 },
	{ { 1, 2, 3, 4, 5, 6, 7, 0xf8 }, 8, 0xf807060504030201, 0x01020304050607f8 },
	{ { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, 10, 0x0807060504030201, 0x030405060708090a },
	{ { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 }, 16, 0x0807060504030201,
	  0x090a0b0c0d0e0f10 },
};

START_TEST(endian_loads)
{
	ck_assert_uint_eq(load_uint(words[_i].bytes, words[_i].n, ORDER_LITTLE), words[_i].little);
	ck_assert_uint_eq(load_uint(words[_i].bytes, words[_i].n, ORDER_BIG), words[_i].big);
}
END_TEST

/* What is above 64 bits becomes zeros, and nothing behind the field is touched. */
START_TEST(endian_stores)
{
	size_t n = words[_i].n, low = MIN(n, 8u);
	uint8_t got[17], want[17];

	memset(got, 0xee, sizeof(got));
	memset(want, 0xee, sizeof(want));
	memset(want, 0, n);
	memcpy(want, words[_i].bytes, low);
	store_uint(got, n, ORDER_LITTLE, words[_i].little);
	ck_assert_mem_eq(got, want, sizeof(got));
	memset(want, 0, n);
	memcpy(want + (n - low), words[_i].bytes + (n - low), low);
	store_uint(got, n, ORDER_BIG, words[_i].big);
	ck_assert_mem_eq(got, want, sizeof(got));
}
END_TEST

START_TEST(endian_of_host)
{
	uint16_t one = 1;
	uint8_t first;

	memcpy(&first, &one, 1);
	ck_assert_int_eq(order_of_host(), first ? ORDER_LITTLE : ORDER_BIG);
	ck_assert_uint_eq(load_uint(&one, sizeof(one), order_of_host()), 1);
}
END_TEST

/* ---- err ---- */

START_TEST(err_says_what_happened)
{
	struct err *e = err_new(ERR_UNMAPPED, "nothing at %#x", 0x10u);

	ck_assert_int_eq(err_code(e), ERR_UNMAPPED);
	ck_assert_int_eq(err_errno(e), 0);
	ck_assert_str_eq(err_text(e), "nothing at 0x10");
	e = err_prefix(e, "vCPU %u", 1u);
	e = err_prefix(e, "cannot read");
	e = err_suffix(e, "; try %s", "later");
	ck_assert_str_eq(err_text(e), "cannot read: vCPU 1: nothing at 0x10; try later");
	ck_assert_int_eq(err_code(e), ERR_UNMAPPED);
	err_destroy(e);
}
END_TEST

START_TEST(err_of_the_system)
{
	struct err *e = err_sys(ENOENT, "cannot open %s", "/x"), *again;

	ck_assert_int_eq(err_code(e), ERR_SYSTEM);
	ck_assert_int_eq(err_errno(e), ENOENT);
	ck_assert_str_eq(err_text(e), "cannot open /x: No such file or directory");
	again = err_rebuild(err_code(e), err_errno(e), err_text(e));
	ck_assert_int_eq(err_code(again), ERR_SYSTEM);
	ck_assert_int_eq(err_errno(again), ENOENT);
	ck_assert_str_eq(err_text(again), err_text(e));
	err_destroy(e);
	err_destroy(again);
}
END_TEST

START_TEST(err_takes_null_and_percent)
{
	struct err *e;

	ck_assert_ptr_null(err_prefix(NULL, "%d", 1));
	ck_assert_ptr_null(err_suffix(NULL, "%d", 1));
	err_destroy(NULL);
	e = err_rebuild(ERR_INVALID, 0, "100%s");
	e = err_suffix(err_prefix(e, "a"), "%%");
	ck_assert_str_eq(err_text(e), "a: 100%s%");
	err_destroy(e);
}
END_TEST

/* ---- hex ---- */

START_TEST(hex_digits)
{
	static const char digits[] = "0123456789abcdef", upper[] = "ABCDEF";

	for (int ch = -128; ch < 128; ch++) {
		const char *lower = ch ? strchr(digits, ch) : NULL, *high = ch ? strchr(upper, ch) : NULL;
		int want = lower ? (int)(lower - digits) : high ? (int)(high - upper) + 10 : -1;

		ck_assert_int_eq(hex_digit((char)ch), want);
	}
}
END_TEST

START_TEST(hex_encodes_and_decodes)
{
	char text[2 * 256 + 1] = { 0 }, want[3];
	uint8_t all[256], back[256];

	for (unsigned i = 0; i < 256; i++)
		all[i] = (uint8_t)i;
	hex_encode(all, sizeof(all), text);
	for (unsigned i = 0; i < 256; i++) {
		snprintf(want, sizeof(want), "%02x", i);
		ck_assert_mem_eq(text + 2 * (size_t)i, want, 2);
	}
	ck_assert(hex_decode(text, sizeof(all), back));
	ck_assert_mem_eq(all, back, sizeof(all));
	text[2 * 256 - 1] = 'g';
	ck_assert(!hex_decode(text, sizeof(all), back));
	text[2 * 256 - 2] = ' ';
	ck_assert(!hex_decode(text, sizeof(all), back));
}
END_TEST

/* ---- alloc ---- */

START_TEST(alloc_gives_memory_for_nothing)
{
	void *p[] = { xmalloc(0), xcalloc(0, 8), xcalloc(8, 0), xrealloc(NULL, 0), xreallocarray(NULL, 0, 8) };

	for (size_t i = 0; i < ARRAY_LEN(p); i++) {
		ck_assert_ptr_nonnull(p[i]);
		free(p[i]);
	}
}
END_TEST

START_TEST(alloc_keeps_what_it_grows)
{
	uint32_t *p = xcalloc(2, sizeof(*p));
	char *s = xstrndup("abcdef", 3), *t = xstrndup("ab", 9);

	ck_assert_uint_eq(p[0] | p[1], 0);
	p[1] = 7;
	p = xreallocarray(p, 1000, sizeof(*p));
	ck_assert_uint_eq(p[1], 7);
	ck_assert_str_eq(s, "abc");
	ck_assert_str_eq(t, "ab");
	free(p);
	free(s);
	free(t);
}
END_TEST

static void product_wraps(void)
{
	free(xreallocarray(NULL, SIZE_MAX / 4 + 2, 4));
}

static void cleared_product_wraps(void)
{
	free(xcalloc(SIZE_MAX / 4 + 2, 4));
}

static void too_much(void)
{
	free(xmalloc(SIZE_MAX / 2));
}

static void (*const impossible[])(void) = { product_wraps, cleared_product_wraps, too_much };

/* With a line on stderr that says why; under a sanitizer the line is its own. */
START_TEST(alloc_ends_the_process)
{
	char text[64];
	int status, fds[2];
	pid_t pid;

	ck_assert_int_eq(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], STDERR_FILENO);
		impossible[_i]();
		_exit(0);
	}
	close(fds[1]);
	ck_assert_int_gt(read(fds[0], text, sizeof(text)), 0);
	close(fds[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status) || WEXITSTATUS(status));
}
END_TEST

static TCase *text_cases(void)
{
	TCase *tc = tcase_create("text");

	tcase_add_test(tc, buf_starts_empty);
	tcase_add_test(tc, buf_adds_every_kind);
	tcase_add_test(tc, buf_holds_any_byte);
	tcase_add_test(tc, buf_extends_by_room);
	tcase_add_loop_test(tc, buf_drops_from_the_front, 0, ARRAY_LEN(drops));
	tcase_add_test(tc, hex_digits);
	tcase_add_test(tc, hex_encodes_and_decodes);
	tcase_add_test(tc, err_says_what_happened);
	tcase_add_test(tc, err_of_the_system);
	tcase_add_test(tc, err_takes_null_and_percent);
	return tc;
}

static TCase *cursor_cases(void)
{
	TCase *tc = tcase_create("cursor");

	tcase_add_loop_test(tc, cursor_takes_hex, 0, ARRAY_LEN(hexes));
	tcase_add_loop_test(tc, cursor_takes_numbers, 0, ARRAY_LEN(numbers));
	tcase_add_loop_test(tc, cursor_takes_hex_bytes, 0, ARRAY_LEN(hex_bytes));
	tcase_add_loop_test(tc, cursor_takes_strings, 0, ARRAY_LEN(strings));
	tcase_add_test(tc, cursor_takes_chars);
	tcase_add_loop_test(tc, cursor_takes_until, 0, ARRAY_LEN(untils));
	tcase_add_loop_test(tc, cursor_takes_words, 0, ARRAY_LEN(lines));
	tcase_add_test(tc, cursor_of_nothing);
	tcase_add_test(tc, cursor_compares_and_copies);
	return tc;
}

static TCase *memory_cases(void)
{
	TCase *tc = tcase_create("memory");

	tcase_add_loop_test(tc, endian_loads, 0, ARRAY_LEN(words));
	tcase_add_loop_test(tc, endian_stores, 0, ARRAY_LEN(words));
	tcase_add_test(tc, endian_of_host);
	tcase_add_test(tc, alloc_gives_memory_for_nothing);
	tcase_add_test(tc, alloc_keeps_what_it_grows);
	tcase_add_loop_test(tc, alloc_ends_the_process, 0, ARRAY_LEN(impossible));
	return tc;
}

int main(void)
{
	Suite *s = suite_create("base");

	suite_add_tcase(s, text_cases());
	suite_add_tcase(s, cursor_cases());
	suite_add_tcase(s, memory_cases());
	return suite_run(s);
}
