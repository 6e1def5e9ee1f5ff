/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "guest/kpeek.h"
#include "guest/proc.h"
#include "tests/host.h"
#include "tests/suite.h"

#define PIECE_BYTES 4096u
#define SEARCHED_BYTES (16u << 20)

/* The address of a symbol of the running kernel; 0 where it does not tell. */
static uint64_t symbol(const char *name)
{
	char line[512], found[256];
	uint64_t address = 0, at;
	char kind;
	FILE *f = fopen("/proc/kallsyms", "re");

	while (f && !address && fgets(line, sizeof(line), f))
		if (sscanf(line, "%" SCNx64 " %c %255s", &at, &kind, found) == 3 && !strcmp(found, name))
			address = at;
	if (f)
		fclose(f);
	return address;
}

static struct kpeek open_peek(const char *test)
{
	struct kpeek k = { 0 };
	struct err *e = kpeek_open_bpf(&k);

	if (e)
		fprintf(stderr, "%s\n", err_text(e));
	err_destroy(e);
	host_need(k.read != NULL, test, "BPF programs that read kernel memory");
	return k;
}

/* Of a kernel that tells of its code alone, behind which its constants are; 0: it is not there. */
static uint64_t find_behind_code(const struct kpeek *k, const char *text, size_t n)
{
	uint64_t start = ALIGN_UP(symbol("_etext"), (uint64_t)PIECE_BYTES), end = start + SEARCHED_BYTES;
	char *piece = xmalloc(2 * PIECE_BYTES);
	uint64_t found = 0;

	for (uint64_t at = start; start && !found && at < end; at += PIECE_BYTES) {
		struct err *e = k->read(k->ctx, at, piece, 2 * PIECE_BYTES);
		const char *hit = e ? NULL : memmem(piece, 2 * PIECE_BYTES, text, n);

		err_destroy(e);
		found = hit ? at + (uint64_t)(hit - piece) : 0;
	}
	free(piece);
	return found;
}

/* What /proc/version tells is what the kernel has in its own memory. */
START_TEST(reads_kernel_memory)
{
	struct kpeek k = open_peek("reads_kernel_memory");
	struct buf version = { 0 };
	uint64_t at = symbol("linux_banner");
	char banner[512] = "";
	struct err *e;

	host_need(symbol("_etext") != 0, "reads_kernel_memory", "addresses in /proc/kallsyms");
	e = proc_read(&version, "/proc/version");
	ck_assert_ptr_null(e);
	ck_assert_uint_lt(version.len, sizeof(banner));
	if (!at)
		at = find_behind_code(&k, version.data, version.len);
	ck_assert_uint_ne(at, 0);
	e = k.read(k.ctx, at, banner, version.len);
	ck_assert_msg(!e, "%s", e ? err_text(e) : "");
	ck_assert_mem_eq(banner, version.data, version.len);
	buf_deinit(&version);
	kpeek_close(&k);
}
END_TEST

/* More than one piece of it, in one read and in two. */
START_TEST(reads_in_pieces)
{
	struct kpeek k = open_peek("reads_in_pieces");
	uint64_t at = symbol("_stext"), word = 0;
	char all[5000], parts[5000];
	struct err *e;

	host_need(at != 0, "reads_in_pieces", "addresses in /proc/kallsyms");
	e = k.read(k.ctx, at, all, sizeof(all));
	ck_assert_ptr_null(e);
	e = k.read(k.ctx, at, parts, 100);
	ck_assert_ptr_null(e);
	e = k.read(k.ctx, at + 100, parts + 100, sizeof(parts) - 100);
	ck_assert_ptr_null(e);
	ck_assert_mem_eq(all, parts, sizeof(all));
	e = kpeek_u64(&k, at, &word);
	ck_assert_ptr_null(e);
	ck_assert_mem_eq(&word, all, sizeof(word));
	kpeek_close(&k);
}
END_TEST

START_TEST(nothing_at_a_bad_address)
{
	struct kpeek k = open_peek("nothing_at_a_bad_address");
	uint64_t word;
	struct err *e = kpeek_u64(&k, UINT64_MAX - 4096, &word);

	ck_assert_ptr_nonnull(e);
	ck_assert_int_eq(err_code(e), ERR_UNMAPPED);
	err_destroy(e);
	kpeek_close(&k);
}
END_TEST

static bool bytes_contain(const char *bytes, size_t n, const char *text)
{
	return memmem(bytes, n, text, strlen(text)) != NULL;
}

/* The struct of the running thread has its name in it. */
START_TEST(finds_itself)
{
	struct kpeek k = open_peek("finds_itself");
	char task[6144], comm[32] = "";
	struct buf name = { 0 };
	uint64_t at = 0;
	struct err *e = k.current_task(k.ctx, &at);

	ck_assert_ptr_null(e);
	e = k.read(k.ctx, at, task, sizeof(task));
	ck_assert_ptr_null(e);
	e = proc_read(&name, "/proc/%d/comm", getpid());
	ck_assert_ptr_null(e);
	snprintf(comm, sizeof(comm), "%.*s", (int)strcspn(buf_str(&name), "\n"), buf_str(&name));
	ck_assert(bytes_contain(task, sizeof(task), comm));
	buf_deinit(&name);
	kpeek_close(&k);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("kpeek");
	TCase *tc = tcase_create("kpeek");

	tcase_add_test(tc, reads_kernel_memory);
	tcase_add_test(tc, reads_in_pieces);
	tcase_add_test(tc, nothing_at_a_bad_address);
	tcase_add_test(tc, finds_itself);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
