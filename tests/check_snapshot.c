/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <check.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "guest/proc.h"
#include "guest/shadow.h"
#include "guest/sharers.h"
#include "guest/tracee.h"
#include "guest/vmm_fork.h"
#include "guest/vmm_mem.h"
#include "tests/host.h"
#include "tests/suite.h"

#define PAGE 4096u
#define PAGES 64u
#define BYTES ((size_t)PAGES * PAGE)
/* More than can be kept from children at once, with gaps between them. */
#define MANY 40u

static void ok(struct err *e)
{
	ck_assert_msg(!e, "%s", e ? err_text(e) : "");
}

static void fails(struct err *e, enum err_code code, const char *text)
{
	ck_assert_ptr_nonnull(e);
	ck_assert_int_eq(err_code(e), code);
	ck_assert_msg(strstr(err_text(e), text) != NULL, "%s", err_text(e));
	err_destroy(e);
}

/* ---- copies of a process ---- */

/* A child that counts in each page of memory that this process has at the same place. */
struct target {
	pid_t pid;
	volatile uint64_t *pages[MANY];
	unsigned n;
};

static void count(const struct target *t)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (unsigned i = 0; i < t->n; i++)
		madvise((void *)t->pages[i], PAGE, MADV_DONTFORK);
	for (;;) {
		for (unsigned i = 0; i < t->n; i++)
			++*t->pages[i];
		usleep(100);
	}
}

static uint64_t peek(pid_t pid, const volatile void *at)
{
	struct vmm_mem *mem;
	uint64_t value;
	size_t n;

	ok(vmm_mem_open(pid, &mem));
	ok(vmm_mem_read(mem, (uintptr_t)at, &value, sizeof(value), &n));
	vmm_mem_close(mem);
	return value;
}

static struct target start(unsigned n)
{
	struct target t = { .n = n };
	char *base = mmap(NULL, 2 * MANY * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	host_need(host_has_ptrace() && host_has_vm_readv() && !geteuid(), "copies of a process", "ptrace, as root");
	ck_assert_ptr_ne(base, MAP_FAILED);
	for (unsigned i = 0; i < n; i++)
		t.pages[i] = (uint64_t *)(base + 2 * i * PAGE);
	t.pid = fork();
	if (t.pid == 0)
		count(&t);
	while (!peek(t.pid, t.pages[n - 1]))
		usleep(1000);
	return t;
}

static void finish(struct target *t)
{
	kill(t->pid, SIGKILL);
	ck_assert_int_eq(waitpid(t->pid, NULL, 0), t->pid);
}

static struct vmm_range *ranges_of(const struct target *t)
{
	struct vmm_range *ranges = calloc(t->n, sizeof(*ranges));

	for (unsigned i = 0; i < t->n; i++)
		ranges[i] = (struct vmm_range){ (uintptr_t)t->pages[i], PAGE };
	return ranges;
}

/* How many of its mappings are kept from its children. */
static unsigned count_kept(pid_t pid)
{
	struct buf text = { 0 };
	unsigned n = 0;

	ok(proc_read(&text, "/proc/%d/smaps", pid));
	for (const char *at = buf_str(&text); (at = strstr(at, " dc")); at++)
		n++;
	buf_deinit(&text);
	return n;
}

static void check_no_children(pid_t pid)
{
	struct buf text = { 0 };

	ok(proc_read(&text, "/proc/%d/task/%d/children", pid, pid));
	ck_assert_str_eq(buf_str(&text), "");
	buf_deinit(&text);
}

static void block_sigchld(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

static struct err *fork_stopped(const struct target *t, struct tracees *ts, struct vmm_forked *ret)
{
	struct vmm_range *ranges = ranges_of(t);
	struct host_gadgets g;
	bool stuck = false;
	struct err *e;

	block_sigchld();
	ok(tracees_stop(ts, t->pid, 0, NULL, 0));
	ok(inject_find_gadgets(ts, &g));
	e = vmm_fork(ts, &g, ranges, t->n, true, ret, &stuck);
	ck_assert(!stuck);
	free(ranges);
	return e;
}

START_TEST(fork_keeps_one_instant)
{
	struct target t = start(3);
	uint64_t then[3];
	struct vmm_forked f;
	struct tracees ts;
	struct proc_fd *fds;
	size_t n;

	ck_assert_uint_eq(count_kept(t.pid), 3);
	ok(fork_stopped(&t, &ts, &f));
	for (unsigned i = 0; i < 3; i++)
		then[i] = peek(t.pid, t.pages[i]);
	ck_assert(tracees_release(&ts));
	while (peek(t.pid, t.pages[2]) == then[2])
		usleep(1000);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_eq(peek(f.copy, t.pages[i]), then[i]);
	ok(proc_fds(f.copy, &fds, &n));
	ck_assert_uint_eq(n, 0);
	free(fds);
	ck_assert_int_eq(proc_oom_score(f.copy), 1000);
	check_no_children(t.pid);
	ck_assert_uint_eq(count_kept(t.pid), 3);
	ck_assert_int_ge(f.uffd, 0);
	close(f.uffd);
	kill(f.copy, SIGKILL);
	ck_assert_int_eq(waitpid(f.copy, NULL, __WALL), f.copy);
	finish(&t);
}
END_TEST

/* Whoever asked goes away: so does the copy, and the target is as it was. */
START_TEST(fork_ends_with_its_tracer)
{
	struct target t = start(2);
	int fds[2];
	pid_t copy, tracer;

	ck_assert_int_eq(pipe(fds), 0);
	tracer = fork();
	if (tracer == 0) {
		struct vmm_forked f;
		struct tracees ts;

		ok(fork_stopped(&t, &ts, &f));
		ck_assert_int_eq(write(fds[1], &f.copy, sizeof(f.copy)), sizeof(f.copy));
		_exit(0);
	}
	ck_assert_int_eq(read(fds[0], &copy, sizeof(copy)), sizeof(copy));
	ck_assert_int_eq(waitpid(tracer, NULL, 0), tracer);
	while (proc_state(copy) && proc_state(copy) != 'Z')
		usleep(1000);
	check_no_children(t.pid);
	ck_assert_uint_eq(count_kept(t.pid), 2);
	finish(&t);
}
END_TEST

START_TEST(fork_of_too_many_pieces)
{
	struct target t = start(MANY);
	struct vmm_forked f;
	struct tracees ts;
	uint64_t then;

	fails(fork_stopped(&t, &ts, &f), ERR_UNSUPPORTED, "too many system calls would have to be undone");
	then = peek(t.pid, t.pages[0]);
	ck_assert(tracees_release(&ts));
	while (peek(t.pid, t.pages[0]) == then)
		usleep(1000);
	check_no_children(t.pid);
	ck_assert_uint_eq(count_kept(t.pid), MANY);
	finish(&t);
}
END_TEST

/* ---- shared memory: our own ---- */

struct ram {
	int fd;
	char *base;
	struct vmm_mem *mem;
	struct shadow *shadow;
};

static int open_uffd(void)
{
	return (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
}

/* Every other page of it holds its number and 'a'. */
static struct ram ram_create(void)
{
	struct ram r = { .fd = memfd_create("ram", MFD_CLOEXEC) };
	int uffd = open_uffd();

	host_need(uffd >= 0 && !geteuid(), "shadows", "userfaultfd, as root");
	close(uffd);
	ck_assert_int_eq(ftruncate(r.fd, (off_t)BYTES + PAGE), 0);
	r.base = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, r.fd, PAGE);
	ck_assert_ptr_ne(r.base, MAP_FAILED);
	for (unsigned i = 0; i < PAGES; i += 2)
		memset(r.base + i * PAGE, 'a' + (int)i % 26, PAGE);
	ok(vmm_mem_open(getpid(), &r.mem));
	return r;
}

static struct err *protect(struct ram *r)
{
	struct vmm_range range = { (uintptr_t)r->base, BYTES };

	return shadow_create(getpid(), open_uffd(), r->mem, &range, 1, &r->shadow);
}

static void ram_destroy(struct ram *r)
{
	shadow_destroy(r->shadow);
	vmm_mem_close(r->mem);
	munmap(r->base, BYTES);
	close(r->fd);
}

static void check_page(struct ram *r, unsigned i)
{
	char want[PAGE], got[PAGE];

	memset(want, i % 2 ? 0 : 'a' + (int)i % 26, PAGE);
	ok(shadow_read(r->shadow, (uintptr_t)r->base + i * PAGE, got, PAGE));
	ck_assert_msg(!memcmp(want, got, PAGE), "page %u begins with %02x", i, (unsigned char)got[0]);
}

static void check_all(struct ram *r)
{
	for (unsigned i = 0; i < PAGES; i++)
		check_page(r, i);
}

static void write_page(struct ram *r, unsigned i)
{
	r->base[i * PAGE] = 'Z';
	r->base[(i + 1) * PAGE - 1] = 'Z';
}

START_TEST(shadow_of_what_is_written)
{
	struct ram r = ram_create();
	char was[3 * PAGE];

	ok(protect(&r));
	check_all(&r);
	for (unsigned i = 0; i < PAGES; i += 3)
		write_page(&r, i);
	check_all(&r);
	for (unsigned i = 0; i < PAGES; i++)
		write_page(&r, i);
	check_all(&r);
	/* Not at the borders of pages. */
	ok(shadow_read(r.shadow, (uintptr_t)r.base + PAGE - 1, was, PAGE + 2));
	ck_assert_int_eq(was[0], 'a');
	ck_assert_int_eq(was[1], 0);
	ck_assert_int_eq(was[PAGE], 0);
	ck_assert_int_eq(was[PAGE + 1], 'c');
	ck_assert_int_eq(r.base[0], 'Z');
	ram_destroy(&r);
}
END_TEST

START_TEST(shadow_tells_data)
{
	struct ram r = ram_create();
	uint64_t base = (uintptr_t)r.base, hva, bytes, end;

	ok(protect(&r));
	for (unsigned i = 1; i < PAGES; i += 2)
		write_page(&r, i);
	shadow_next_data(r.shadow, base + 1, base + BYTES, &hva, &bytes);
	ck_assert_uint_eq(hva, base + 1);
	ck_assert_uint_eq(bytes, PAGE - 1);
	shadow_next_data(r.shadow, base + PAGE, base + BYTES, &hva, &bytes);
	ck_assert_uint_eq(hva, base + 2 * PAGE);
	ck_assert_uint_eq(bytes, PAGE);
	shadow_next_data(r.shadow, base + BYTES - PAGE, base + BYTES, &hva, &bytes);
	ck_assert_uint_eq(hva, base + BYTES);
	ck_assert_uint_eq(bytes, 0);
	ck_assert(shadow_has(r.shadow, base, base + BYTES + PAGE, &end));
	ck_assert_uint_eq(end, base + BYTES);
	ck_assert(!shadow_has(r.shadow, base - PAGE, base + PAGE, &end));
	ck_assert_uint_eq(end, base);
	ck_assert(!shadow_has(NULL, base, base + PAGE, &end));
	ck_assert_uint_eq(end, base + PAGE);
	ram_destroy(&r);
}
END_TEST

/* Page 32, with which a chunk begins, is cut out of the file. */
static void give_back(struct ram *r)
{
	ck_assert_int_eq(fallocate(r->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 33 * PAGE, PAGE), 0);
}

static void check_lost(struct ram *r)
{
	char page[PAGE];

	fails(shadow_read(r->shadow, (uintptr_t)r->base + 32 * PAGE, page, PAGE), ERR_GONE, "the snapshot is lost at 0x");
	check_page(r, 30);
	check_page(r, 48);
}

/* _i: how it is used before the picture is read: not at all, by a read, a write, a write beside it. */
START_TEST(shadow_of_what_is_given_back)
{
	struct ram r = ram_create();

	ok(protect(&r));
	give_back(&r);
	if (_i == 1)
		ck_assert_int_eq(((volatile char *)r.base)[32 * PAGE], 0);
	if (_i == 2)
		write_page(&r, 32);
	if (_i == 3)
		write_page(&r, 34);
	check_lost(&r);
	ram_destroy(&r);
}
END_TEST

/* Pages that leave the page tables stay in the file. */
START_TEST(shadow_of_what_is_unmapped_meanwhile)
{
	struct ram r = ram_create();

	ok(protect(&r));
	ck_assert_int_eq(madvise(r.base, BYTES, MADV_DONTNEED), 0);
	check_all(&r);
	for (unsigned i = 0; i < PAGES; i += 5)
		write_page(&r, i);
	check_all(&r);
	ram_destroy(&r);
}
END_TEST

/* What was put aside before does not need it any more. */
START_TEST(shadow_of_what_is_given_back_later)
{
	struct ram r = ram_create();

	ok(protect(&r));
	write_page(&r, 34);
	give_back(&r);
	write_page(&r, 32);
	check_all(&r);
	ram_destroy(&r);
}
END_TEST

/* Its end takes protection away, and puts our own place in the queue of those to be killed back. */
START_TEST(shadow_leaves_nothing)
{
	struct ram r = ram_create();
	int before = proc_oom_score(getpid());
	struct buf smaps = { 0 };

	ok(protect(&r));
	ck_assert_int_eq(proc_oom_score(getpid()), 1000);
	shadow_destroy(r.shadow);
	ck_assert_int_eq(proc_oom_score(getpid()), before);
	for (unsigned i = 0; i < PAGES; i++)
		write_page(&r, i);
	ok(proc_read(&smaps, "/proc/self/smaps"));
	ck_assert_ptr_null(strstr(buf_str(&smaps), " uw"));
	ck_assert_ptr_null(strstr(buf_str(&smaps), " um"));
	buf_deinit(&smaps);
	/* And it can be had again. */
	r.shadow = NULL;
	ok(protect(&r));
	ram_destroy(&r);
}
END_TEST

START_TEST(shadow_is_one_at_a_time)
{
	struct ram r = ram_create();
	struct shadow *first;

	ok(protect(&r));
	first = r.shadow;
	fails(protect(&r), ERR_UNSUPPORTED, "cannot be protected by userfaultfd");
	write_page(&r, 0);
	check_all(&r);
	ck_assert_ptr_eq(r.shadow, first);
	ram_destroy(&r);
}
END_TEST

/* ---- who else writes ---- */

START_TEST(sharers_of_a_file)
{
	struct ram r = ram_create();
	const struct proc_map *map = vmm_mem_map_at(r.mem, (uintptr_t)r.base);
	pid_t found = -1, child;

	ok(sharers_find(getpid(), map, &found));
	ck_assert_int_eq(found, 0);
	child = fork();
	if (child == 0)
		for (;;)
			pause();
	ok(sharers_find(getpid(), map, &found));
	ck_assert_int_eq(found, child);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	ck_assert_ptr_null(sharers_device(getpid()));
	vmm_mem_close(r.mem);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("snapshot");
	TCase *copies = tcase_create("copies"), *shadows = tcase_create("shadows"), *sharers = tcase_create("sharers");

	tcase_add_test(copies, fork_keeps_one_instant);
	tcase_add_test(copies, fork_ends_with_its_tracer);
	tcase_add_test(copies, fork_of_too_many_pieces);
	suite_add_tcase(s, copies);
	tcase_add_test(shadows, shadow_of_what_is_written);
	tcase_add_test(shadows, shadow_tells_data);
	tcase_add_loop_test(shadows, shadow_of_what_is_given_back, 0, 4);
	tcase_add_test(shadows, shadow_of_what_is_unmapped_meanwhile);
	tcase_add_test(shadows, shadow_of_what_is_given_back_later);
	tcase_add_test(shadows, shadow_leaves_nothing);
	tcase_add_test(shadows, shadow_is_one_at_a_time);
	suite_add_tcase(s, shadows);
	tcase_add_test(sharers, sharers_of_a_file);
	suite_add_tcase(s, sharers);
	return suite_run(s);
}
