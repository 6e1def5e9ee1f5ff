/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "guest/proc.h"
#include "guest/vmm_mem.h"
#include "tests/host.h"
#include "tests/suite.h"

#define PAGE 4096u
#define PAGES 4096u

/* The process under test is a child, so that what it has touched is known exactly. */
struct target {
	pid_t pid;
	uint8_t *base; /* PAGES pages: at the same address here, where they are not touched */
};

enum kind { PRIVATE_ANON, SHARED_ANON, SHARED_MEMFD, PRIVATE_FILE, N_KINDS };

static void *map_kind(enum kind kind)
{
	int flags = kind == PRIVATE_ANON || kind == PRIVATE_FILE ? MAP_PRIVATE : MAP_SHARED, fd = -1;
	void *p;

	if (kind == SHARED_MEMFD || kind == PRIVATE_FILE) {
		fd = memfd_create("ram", MFD_CLOEXEC);
		ck_assert_int_eq(ftruncate(fd, (off_t)(PAGES + 1) * PAGE), 0);
	}
	/* A page into the file, so that offsets count. */
	p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, flags | (fd < 0 ? MAP_ANONYMOUS : 0), fd, fd < 0 ? 0 : PAGE);
	ck_assert_ptr_ne(p, MAP_FAILED);
	madvise(p, PAGES * PAGE, MADV_NOHUGEPAGE);
	return p;
}

static bool is_touched(unsigned page)
{
	return page == 0 || (page >= 100 && page < 228) || page % 1000 == 999 || page == PAGES - 1;
}

static struct target start(enum kind kind)
{
	struct target t = { .base = map_kind(kind) };
	int fds[2];
	char c;

	ck_assert_int_eq(pipe(fds), 0);
	t.pid = fork();
	if (t.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (unsigned i = 0; i < PAGES; i++)
			if (is_touched(i))
				memset(t.base + (size_t)i * PAGE, (int)(i % 255) + 1, PAGE);
		if (write(fds[1], "x", 1) != 1)
			_exit(1);
		pause();
	}
	ck_assert_int_eq(read(fds[0], &c, 1), 1);
	close(fds[0]);
	close(fds[1]);
	return t;
}

static void stop(struct target *t)
{
	kill(t->pid, SIGKILL);
	waitpid(t->pid, NULL, 0);
	munmap(t->base, PAGES * PAGE);
}

static struct vmm_mem *open_mem(pid_t pid)
{
	struct vmm_mem *m;
	struct err *e = vmm_mem_open(pid, &m);

	ck_assert_msg(!e, "%s", e ? err_text(e) : "");
	return m;
}

static uint64_t rss_kib(pid_t pid)
{
	struct buf text = { 0 };
	uint64_t rss = 0;

	err_destroy(proc_read(&text, "/proc/%d/status", pid));
	ck_assert(proc_status_field(buf_str(&text), "VmRSS", 10, &rss));
	buf_deinit(&text);
	return rss;
}

static void needs_pagemap(const char *test)
{
	host_need(host_is_kernel_order(), test, "a pagemap of its own byte order");
}

static void needs_vm_readv(const char *test)
{
	host_need(host_has_vm_readv(), test, "process_vm_readv");
}

/* Every touched page lies in a run, and where the kind tells, nothing else does. */
static void check_runs(struct vmm_mem *m, const struct target *t, bool exact)
{
	uint64_t base = (uintptr_t)t->base, end = base + (uint64_t)PAGES * PAGE, at = base;
	bool *seen = calloc(PAGES, sizeof(*seen));

	while (at < end) {
		uint64_t start_hva, bytes;
		struct err *e = vmm_mem_next_data(m, at, end, &start_hva, &bytes);

		ck_assert_msg(!e, "%s", e ? err_text(e) : "");
		if (!bytes)
			break;
		ck_assert_uint_ge(start_hva, at);
		ck_assert_uint_le(start_hva + bytes, end);
		for (uint64_t p = (start_hva - base) / PAGE; p < (start_hva + bytes - base) / PAGE; p++)
			seen[p] = true;
		at = start_hva + bytes;
	}
	for (unsigned i = 0; i < PAGES; i++)
		ck_assert_msg(is_touched(i) ? seen[i] : !exact || !seen[i], "page %u", i);
	free(seen);
}

START_TEST(finds_touched_pages_without_touching)
{
	struct target t = start((enum kind)_i);
	struct vmm_mem *m = open_mem(t.pid);
	uint64_t before = rss_kib(t.pid);

	needs_pagemap("finds_touched_pages_without_touching");
	check_runs(m, &t, _i != PRIVATE_FILE);
	ck_assert_uint_le(rss_kib(t.pid), before + 1024);
	vmm_mem_close(m);
	stop(&t);
}
END_TEST

START_TEST(old_kernels_tell_the_same)
{
	struct target t = start(PRIVATE_ANON);
	struct vmm_mem *m = open_mem(t.pid);

	needs_pagemap("old_kernels_tell_the_same");
	vmm_mem_forget_scan(m);
	check_runs(m, &t, true);
	vmm_mem_close(m);
	stop(&t);
}
END_TEST

START_TEST(starts_in_the_middle)
{
	struct target t = start(PRIVATE_ANON);
	struct vmm_mem *m = open_mem(t.pid);
	uint64_t base = (uintptr_t)t.base, hva, bytes;

	needs_pagemap("starts_in_the_middle");
	ck_assert_ptr_null(vmm_mem_next_data(m, base + 150 * PAGE, base + 300 * PAGE, &hva, &bytes));
	ck_assert_uint_eq(hva, base + 150 * PAGE);
	ck_assert_uint_eq(bytes, 78 * PAGE);
	ck_assert_ptr_null(vmm_mem_next_data(m, base + 10 * PAGE, base + 120 * PAGE, &hva, &bytes));
	ck_assert_uint_eq(hva, base + 100 * PAGE);
	ck_assert_uint_eq(bytes, 20 * PAGE);
	ck_assert_ptr_null(vmm_mem_next_data(m, base + 300 * PAGE, base + 400 * PAGE, &hva, &bytes));
	ck_assert_uint_eq(bytes, 0);
	vmm_mem_close(m);
	stop(&t);
}
END_TEST

/* What the kernel tells of whole pages, asked for parts of them. */
START_TEST(bounds_need_not_be_at_pages)
{
	struct target t = start(PRIVATE_ANON);
	struct vmm_mem *m = open_mem(t.pid);
	uint64_t base = (uintptr_t)t.base, hva, bytes;

	needs_pagemap("bounds_need_not_be_at_pages");
	if (_i)
		vmm_mem_forget_scan(m);
	ck_assert_ptr_null(vmm_mem_next_data(m, base + 99 * PAGE + 7, base + 101 * PAGE + 5, &hva, &bytes));
	ck_assert_uint_eq(hva, base + 100 * PAGE);
	ck_assert_uint_eq(bytes, PAGE + 5);
	ck_assert_ptr_null(vmm_mem_next_data(m, base + 227 * PAGE + 7, base + 300 * PAGE, &hva, &bytes));
	ck_assert_uint_eq(hva, base + 227 * PAGE + 7);
	ck_assert_uint_eq(bytes, PAGE - 7);
	ck_assert_ptr_null(vmm_mem_next_data(m, base + 300 * PAGE + 1, base + 300 * PAGE + 2, &hva, &bytes));
	ck_assert_uint_eq(bytes, 0);
	vmm_mem_close(m);
	stop(&t);
}
END_TEST

START_TEST(a_write_makes_data)
{
	struct target t = start((enum kind)_i);
	struct vmm_mem *m = open_mem(t.pid);
	uint64_t at = (uintptr_t)t.base + 300 * PAGE, hva, bytes;

	needs_pagemap("a_write_makes_data");
	ck_assert_ptr_null(vmm_mem_next_data(m, at, at + PAGE, &hva, &bytes));
	ck_assert_uint_eq(bytes, _i == PRIVATE_FILE ? PAGE : 0);
	ck_assert_ptr_null(vmm_mem_write(m, at + 5, "x", 1));
	ck_assert_ptr_null(vmm_mem_next_data(m, at, at + PAGE, &hva, &bytes));
	ck_assert_uint_eq(hva, at);
	ck_assert_uint_eq(bytes, PAGE);
	vmm_mem_close(m);
	stop(&t);
}
END_TEST

START_TEST(reads_and_writes)
{
	struct target t = start((enum kind)_i);
	struct vmm_mem *m = open_mem(t.pid);
	uint64_t base = (uintptr_t)t.base;
	uint8_t bytes[2 * PAGE];
	size_t got;

	needs_vm_readv("reads_and_writes");
	ck_assert_ptr_null(vmm_mem_read(m, base + 99 * PAGE, bytes, sizeof(bytes), &got));
	ck_assert_uint_eq(got, sizeof(bytes));
	for (unsigned i = 0; i < PAGE; i++) {
		ck_assert_uint_eq(bytes[i], 0);
		ck_assert_uint_eq(bytes[PAGE + i], 101);
	}
	ck_assert_ptr_null(vmm_mem_write(m, base + 100 * PAGE - 2, "abcd", 4));
	ck_assert_ptr_null(vmm_mem_read(m, base + 100 * PAGE - 2, bytes, 4, &got));
	ck_assert_mem_eq(bytes, "abcd", 4);
	vmm_mem_close(m);
	stop(&t);
}
END_TEST

START_TEST(a_read_that_ends_in_nothing_returns_what_was_before)
{
	struct target t = start(PRIVATE_ANON);
	struct vmm_mem *m = open_mem(t.pid);
	uint64_t end = (uintptr_t)t.base + (uint64_t)PAGES * PAGE;
	uint8_t bytes[2 * PAGE];
	size_t got = 0;

	needs_vm_readv("a_read_that_ends_in_nothing_returns_what_was_before");
	if (!vmm_mem_covers(m, end, PAGE)) {
		ck_assert_ptr_null(vmm_mem_read(m, end - 100, bytes, sizeof(bytes), &got));
		ck_assert_uint_eq(got, 100);
	}
	ck_assert(vmm_mem_covers(m, end - PAGE, PAGE));
	ck_assert(!vmm_mem_covers(m, 0, PAGE));
	vmm_mem_close(m);
	stop(&t);
}
END_TEST

START_TEST(writes_through_read_only_mappings)
{
	struct vmm_mem *m;
	uint8_t *rom = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), byte;
	size_t got;

	needs_vm_readv("writes_through_read_only_mappings");
	m = open_mem(getpid());
	ck_assert_ptr_null(vmm_mem_write(m, (uintptr_t)rom + 5, "R", 1));
	ck_assert_ptr_null(vmm_mem_read(m, (uintptr_t)rom + 5, &byte, 1, &got));
	ck_assert_uint_eq(byte, 'R');
	vmm_mem_close(m);
	munmap(rom, PAGE);
}
END_TEST

START_TEST(says_that_the_process_has_exited)
{
	struct target t = start(PRIVATE_ANON);
	struct vmm_mem *m = open_mem(t.pid);
	struct err *e;
	char byte;
	size_t got;

	needs_vm_readv("says_that_the_process_has_exited");
	kill(t.pid, SIGKILL);
	waitpid(t.pid, NULL, 0);
	e = vmm_mem_read(m, (uintptr_t)t.base, &byte, 1, &got);
	ck_assert_ptr_nonnull(e);
	ck_assert_int_eq(err_code(e), ERR_GONE);
	err_destroy(e);
	vmm_mem_close(m);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vmm_mem");
	TCase *tc = tcase_create("vmm_mem");

	tcase_add_loop_test(tc, finds_touched_pages_without_touching, 0, N_KINDS);
	tcase_add_test(tc, old_kernels_tell_the_same);
	tcase_add_test(tc, starts_in_the_middle);
	tcase_add_loop_test(tc, bounds_need_not_be_at_pages, 0, 2);
	tcase_add_loop_test(tc, a_write_makes_data, 0, N_KINDS);
	tcase_add_loop_test(tc, reads_and_writes, 0, N_KINDS);
	tcase_add_test(tc, a_read_that_ends_in_nothing_returns_what_was_before);
	tcase_add_test(tc, writes_through_read_only_mappings);
	tcase_add_test(tc, says_that_the_process_has_exited);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
