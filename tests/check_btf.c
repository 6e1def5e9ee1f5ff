/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <check.h>
#include <linux/btf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/btf_build.h"
#include "tests/host.h"
#include "tests/suite.h"

/*
 * struct inner { u64 a; u64 b[4]; };
 * struct outer { u32 x; union { u64 y; const inner_t z; }; inner_t *p; u32 bits : 3; };
 */
static void build(struct buf *out)
{
	struct btf_build b;
	uint32_t u64_id, u32_id, array, inner, typedef_id, const_id, pointer, anonymous;

	btf_build_init(&b, 1);
	u64_id = btf_build_int(&b, "u64", 8);
	u32_id = btf_build_int(&b, "u32", 4);
	array = btf_build_array(&b, u64_id, 4);
	inner = btf_build_struct(&b, BTF_KIND_STRUCT, "inner", 40,
				 (struct btf_build_member[]){ { "a", u64_id, 0 }, { "b", array, 64 } }, 2);
	typedef_id = btf_build_ref(&b, BTF_KIND_TYPEDEF, "inner_t", inner);
	const_id = btf_build_ref(&b, BTF_KIND_CONST, NULL, typedef_id);
	pointer = btf_build_ref(&b, BTF_KIND_PTR, NULL, typedef_id);
	anonymous = btf_build_struct(&b, BTF_KIND_UNION, NULL, 40,
				     (struct btf_build_member[]){ { "y", u64_id, 0 }, { "z", const_id, 0 } }, 2);
	btf_build_struct(&b, BTF_KIND_STRUCT, "outer", 64,
			 (struct btf_build_member[]){ { "x", u32_id, 0 }, { NULL, anonymous, 64 }, { "p", pointer, 384 } },
			 3);
	btf_build_finish(&b, out);
}

static void swap_word(void *word)
{
	uint8_t *b = word, first[2] = { b[0], b[1] };

	b[0] = b[3];
	b[1] = b[2];
	b[2] = first[1];
	b[3] = first[0];
}

/* As a machine of the other byte order has it: a magic number of 16 bits, two bytes, and words; strings. */
static void swap(struct buf *data)
{
	const struct btf_header h = *(const struct btf_header *)data->data;
	char *types = data->data + h.hdr_len + h.type_off, first = data->data[0];

	data->data[0] = data->data[1];
	data->data[1] = first;
	for (size_t at = 4; at < h.hdr_len; at += 4)
		swap_word(data->data + at);
	for (size_t at = 0; at < h.type_len; at += 4)
		swap_word(types + at);
}

static struct btf *parse(const struct buf *data)
{
	struct btf *btf;
	struct err *e = btf_parse(data->data, data->len, NULL, &btf);

	ck_assert_msg(!e, "%s", e ? err_text(e) : "");
	return btf;
}

START_TEST(finds_members)
{
	struct buf data = { 0 };
	struct btf_place p, q;
	struct btf *btf;
	uint32_t outer;

	build(&data);
	if (_i)
		swap(&data);
	btf = parse(&data);
	outer = btf_struct(btf, "outer");
	ck_assert_uint_ne(outer, 0);
	ck_assert_uint_eq(btf_size(btf, outer), 64);
	ck_assert(btf_find_member(btf, outer, "x", &p));
	ck_assert_uint_eq(p.offset, 0);
	ck_assert(btf_find_member(btf, outer, "y", &p));
	ck_assert_uint_eq(p.offset, 8);
	ck_assert(btf_find_member(btf, outer, "z", &p));
	ck_assert_uint_eq(p.type, btf_struct(btf, "inner"));
	ck_assert(btf_find_member(btf, p.type, "b", &q));
	ck_assert_uint_eq(q.offset, 8);
	ck_assert_uint_eq(btf_array_len(btf, q.type), 4);
	ck_assert(btf_find_member(btf, outer, "p", &p));
	ck_assert_uint_eq(p.offset, 48);
	ck_assert_uint_eq(btf_element(btf, p.type), btf_struct(btf, "inner"));
	ck_assert(!btf_find_member(btf, outer, "nothing", &p));
	ck_assert_uint_eq(btf_struct(btf, "nothing"), 0);
	btf_close(btf);
	buf_deinit(&data);
}
END_TEST

START_TEST(split_btf_continues_its_base)
{
	struct buf data = { 0 }, more = { 0 };
	struct btf *base, *split;
	struct btf_build b;
	struct btf_place p;
	struct err *e;
	const struct btf_header *h;

	build(&data);
	base = parse(&data);
	h = (const struct btf_header *)data.data;
	btf_build_init(&b, 10);
	btf_build_struct(&b, BTF_KIND_STRUCT, NULL, 48, (struct btf_build_member[]){ { NULL, 4, 64 } }, 1);
	/* Strings of a split file count on from its base's: the first of them is "module". */
	buf_reset(&b.strings);
	buf_add(&b.strings, "module", 7);
	((struct btf_type *)b.types.data)->name_off = h->str_len;
	btf_build_finish(&b, &more);
	e = btf_parse(more.data, more.len, base, &split);
	ck_assert_msg(!e, "%s", e ? err_text(e) : "");
	ck_assert_uint_eq(btf_struct(split, "module"), 10);
	ck_assert(btf_find_member(split, 10, "b", &p));
	ck_assert_uint_eq(p.offset, 16);
	ck_assert_uint_eq(btf_struct(split, "outer"), btf_struct(base, "outer"));
	btf_close(split);
	btf_close(base);
	buf_deinit(&data);
	buf_deinit(&more);
}
END_TEST

START_TEST(refuses_what_is_cut_off)
{
	struct buf data = { 0 };
	struct btf *btf;

	build(&data);
	if (_i)
		swap(&data);
	for (size_t n = 0; n < data.len; n++) {
		char *cut = malloc(n ? n : 1);
		struct err *e;

		memcpy(cut, data.data, n);
		e = btf_parse(cut, n, NULL, &btf);
		ck_assert_msg(e, "%zu bytes are accepted", n);
		err_destroy(e);
		free(cut);
	}
	buf_deinit(&data);
}
END_TEST

/* One that has none, and one that loses it where types reach over strings and all their words are turned. */
START_TEST(refuses_strings_without_end)
{
	struct buf data = { 0 };
	struct btf *btf = NULL;
	struct btf_header h;
	struct err *e;

	build(&data);
	h = *(struct btf_header *)data.data;
	swap(&data);
	while (h.str_len % 4 || !h.str_len) {
		buf_addch(&data, '\0');
		h.str_len++;
	}
	memcpy(data.data + data.len - 4, _i ? "xyz" : "wxyz", 4);
	((struct btf_header *)data.data)->str_len = __builtin_bswap32(h.str_len);
	if (_i)
		((struct btf_header *)data.data)->type_len = __builtin_bswap32(h.type_len + h.str_len);
	e = btf_parse(data.data, data.len, NULL, &btf);
	ck_assert_ptr_nonnull(e);
	ck_assert_int_eq(err_code(e), ERR_INVALID);
	ck_assert_ptr_nonnull(strstr(err_text(e), "string"));
	err_destroy(e);
	buf_deinit(&data);
}
END_TEST

START_TEST(refuses_an_unknown_kind)
{
	struct buf data = { 0 };
	struct btf_build b;
	struct btf *btf;
	struct err *e;

	btf_build_init(&b, 1);
	btf_build_ref(&b, 31, "what", 0);
	btf_build_finish(&b, &data);
	e = btf_parse(data.data, data.len, NULL, &btf);
	ck_assert_ptr_nonnull(e);
	ck_assert_int_eq(err_code(e), ERR_INVALID);
	err_destroy(e);
	buf_deinit(&data);
}
END_TEST

/* A type that refers to itself must not hang the search. */
START_TEST(survives_loops)
{
	struct buf data = { 0 };
	struct btf_build b;
	struct btf_place p;
	struct btf *btf;

	btf_build_init(&b, 1);
	btf_build_ref(&b, BTF_KIND_CONST, NULL, 1);
	btf_build_struct(&b, BTF_KIND_STRUCT, "loop", 8, (struct btf_build_member[]){ { NULL, 2, 0 } }, 1);
	btf_build_finish(&b, &data);
	btf = parse(&data);
	ck_assert(!btf_find_member(btf, btf_struct(btf, "loop"), "x", &p));
	ck_assert_uint_eq(btf_size(btf, 1), 0);
	btf_close(btf);
	buf_deinit(&data);
}
END_TEST

START_TEST(reads_the_running_kernel)
{
	struct btf *btf;
	struct btf_place p;
	struct err *e;

	host_need(host_is_kernel_order(), "reads_the_running_kernel", "a kernel of its own byte order");
	e = btf_open("/sys/kernel/btf/vmlinux", NULL, &btf);
	ck_assert_msg(!e, "%s", e ? err_text(e) : "");
	ck_assert(btf_find_member(btf, btf_struct(btf, "list_head"), "prev", &p));
	ck_assert_uint_eq(p.offset, sizeof(void *));
	ck_assert_uint_eq(btf_size(btf, btf_struct(btf, "list_head")), 2 * sizeof(void *));
	btf_close(btf);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("btf");
	TCase *tc = tcase_create("btf");

	tcase_add_loop_test(tc, finds_members, 0, 2);
	tcase_add_test(tc, split_btf_continues_its_base);
	tcase_add_loop_test(tc, refuses_what_is_cut_off, 0, 2);
	tcase_add_loop_test(tc, refuses_strings_without_end, 0, 2);
	tcase_add_test(tc, refuses_an_unknown_kind);
	tcase_add_test(tc, survives_loops);
	if (!access("/sys/kernel/btf/vmlinux", R_OK))
		tcase_add_test(tc, reads_the_running_kernel);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
