/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/page_set.h"

#include "base/attr.h"
#include "tests/suite.h"

#define N_PAGES 200u

struct span {
	uint64_t pfn, n;
};

/* Within a word, whole words, across several, up to the end and past it, none. */
static const struct span SPANS[] = {
	{ 0, 1 }, { 63, 1 }, { 64, 64 }, { 5, 3 }, { 60, 10 }, { 1, 150 }, { 0, N_PAGES }, { 190, 100 },
	{ N_PAGES, 4 }, { 300, 1 }, { 7, 0 }, { 128, UINT64_MAX },
};

static bool covers(const struct span *s, uint64_t pfn)
{
	return pfn < N_PAGES && pfn >= s->pfn && pfn - s->pfn < s->n;
}

START_TEST(one_span)
{
	const struct span *s = &SPANS[_i];
	struct page_set set;
	uint64_t count = 0;

	page_set_init(&set, 12, N_PAGES);
	for (uint64_t pfn = 0; pfn < 2 * N_PAGES; pfn++)
		count += covers(s, pfn);
	ck_assert_uint_eq(page_set_add(&set, s->pfn, s->n), count);
	ck_assert_uint_eq(page_set_add(&set, s->pfn, s->n), 0);
	ck_assert_uint_eq(set.count, count);
	for (uint64_t pfn = 0; pfn < 2 * N_PAGES; pfn++)
		ck_assert_int_eq(page_set_has(&set, pfn), covers(s, pfn));
	page_set_deinit(&set);
}
END_TEST

/* From every frame, for every length: the run by the definition. */
START_TEST(runs)
{
	const struct span *s = &SPANS[_i];
	struct page_set set;

	page_set_init(&set, 12, N_PAGES);
	page_set_add(&set, s->pfn, s->n);
	for (uint64_t pfn = 0; pfn < N_PAGES + 3; pfn++) {
		for (uint64_t n = 1; n < N_PAGES + 70; n++) {
			uint64_t want = 1;
			bool in;

			while (want < n && covers(s, pfn + want) == covers(s, pfn))
				want++;
			ck_assert_uint_eq(page_set_run(&set, pfn, n, &in), want);
			ck_assert_int_eq(in, covers(s, pfn));
		}
	}
	page_set_deinit(&set);
}
END_TEST

START_TEST(empty)
{
	struct page_set set = { 0 };
	bool in;

	ck_assert(!page_set_has(&set, 0));
	ck_assert_uint_eq(page_set_add(&set, 0, 5), 0);
	ck_assert_uint_eq(page_set_run(&set, 3, 9, &in), 9);
	ck_assert(!in);
	page_set_deinit(&set);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("page_set");
	TCase *tc = tcase_create("page_set");

	tcase_add_loop_test(tc, one_span, 0, ARRAY_LEN(SPANS));
	tcase_add_loop_test(tc, runs, 0, ARRAY_LEN(SPANS));
	tcase_add_test(tc, empty);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
