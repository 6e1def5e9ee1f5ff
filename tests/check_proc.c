/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest/proc.h"
#include "tests/host.h"
#include "tests/suite.h"

#define PAGE 4096u
#define WAIT_MS 5000

static void ok(struct err *e)
{
	ck_assert_msg(!e, "%s", e ? err_text(e) : "");
}

static void fails_with_errno(struct err *e, int errnum)
{
	ck_assert_msg(e && err_errno(e) == errnum, "%s", e ? err_text(e) : "it succeeds");
	err_destroy(e);
}

/* ---- processes ---- */

static void do_pause(void)
{
	for (;;)
		pause();
}

static void do_spin(void)
{
	for (volatile int i = 0;; i++)
		;
}

static void do_exit(void)
{
	_exit(0);
}

static void do_stop(void)
{
	raise(SIGSTOP);
	do_pause();
}

static void do_trace(void)
{
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGUSR1);
	do_pause();
}

static pid_t start(const char *comm, void (*run)(void))
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (comm)
			prctl(PR_SET_NAME, comm);
		run();
	}
	ck_assert_int_gt(pid, 0);
	return pid;
}

static void finish(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	do
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	while (WIFSTOPPED(status));
}

/* A child gets into its state in its own time. */
static void wait_for_state(pid_t pid, char want)
{
	for (int ms = 0; ms < WAIT_MS && proc_state(pid) != want; ms++)
		usleep(1000);
	ck_assert_int_eq(proc_state(pid), want);
}

static const struct {
	void (*run)(void);
	char state; /* proc(5) */
} states[] = {
	{ do_pause, 'S' },
	{ do_spin, 'R' },
	{ do_exit, 'Z' },
	{ do_stop, 'T' },
	{ do_trace, 't' },
};

START_TEST(state_letters)
{
	pid_t pid;

	host_need(states[_i].state != 't' || host_has_ptrace(), "state_letters of a tracee", "ptrace");
	pid = start(NULL, states[_i].run);
	wait_for_state(pid, states[_i].state);
	finish(pid);
	ck_assert_int_eq(proc_state(pid), '\0');
}
END_TEST

/* Names that look like the rest of the line. */
static const char *const names[] = { "a b", ")", "(", ") R 1 (", "))) Z", " ", "", "x\ny) T", "fifteen letters" };

START_TEST(state_behind_any_name)
{
	pid_t pid = start(names[_i], do_pause);

	wait_for_state(pid, 'S');
	ck_assert(!proc_thread_is_kernel(pid, pid));
	finish(pid);
}
END_TEST

static pid_t nobody(void)
{
	pid_t pid = start(NULL, do_exit);

	finish(pid);
	return pid;
}

START_TEST(nothing_of_nobody)
{
	pid_t pid = nobody(), *tids = NULL;
	struct proc_map *maps = NULL;
	struct proc_fd *fds = NULL;
	size_t n = 0;

	ck_assert_int_eq(proc_state(pid), '\0');
	ck_assert(!proc_thread_is_kernel(pid, pid));
	fails_with_errno(proc_maps_read(pid, &maps, &n), ENOENT);
	fails_with_errno(proc_threads(pid, &tids, &n), ENOENT);
	fails_with_errno(proc_fds(pid, &fds, &n), ENOENT);
	ck_assert(!maps && !tids && !fds && !n);
}
END_TEST

static bool has_pid(const pid_t *pids, size_t n, pid_t pid)
{
	size_t found = 0;

	for (size_t i = 0; i < n; i++)
		found += pids[i] == pid;
	ck_assert_uint_le(found, 1);
	return found;
}

START_TEST(pids_of_all)
{
	pid_t child = start(NULL, do_pause), *pids;
	size_t n;

	ok(proc_pids(&pids, &n));
	ck_assert(has_pid(pids, n, getpid()));
	ck_assert(has_pid(pids, n, child));
	ck_assert(!has_pid(pids, n, 0));
	free(pids);
	finish(child);
	ok(proc_pids(&pids, &n));
	ck_assert(!has_pid(pids, n, child));
	free(pids);
}
END_TEST

#define THREADS 3u

struct crew {
	pthread_barrier_t met, leave;
	pid_t tids[THREADS];
	pthread_mutex_t lock;
	unsigned n;
};

static void *join_crew(void *arg)
{
	struct crew *c = arg;

	pthread_mutex_lock(&c->lock);
	c->tids[c->n++] = gettid();
	pthread_mutex_unlock(&c->lock);
	pthread_barrier_wait(&c->met);
	pthread_barrier_wait(&c->leave);
	return NULL;
}

START_TEST(threads_of_a_process)
{
	struct crew c = { .lock = PTHREAD_MUTEX_INITIALIZER };
	pthread_t threads[THREADS];
	pid_t *tids;
	size_t n;

	pthread_barrier_init(&c.met, NULL, THREADS + 1);
	pthread_barrier_init(&c.leave, NULL, THREADS + 1);
	for (unsigned i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, join_crew, &c), 0);
	pthread_barrier_wait(&c.met);
	ok(proc_threads(getpid(), &tids, &n));
	ck_assert(has_pid(tids, n, getpid()));
	for (unsigned i = 0; i < THREADS; i++) {
		ck_assert(has_pid(tids, n, c.tids[i]));
		ck_assert(!proc_thread_is_kernel(getpid(), c.tids[i]));
	}
	free(tids);
	pthread_barrier_wait(&c.leave);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}
END_TEST

/* The parent of all kernel threads has pid 2, but in a pid namespace it cannot be seen. */
START_TEST(threads_of_the_kernel)
{
	struct buf comm = { 0 };
	struct err *e = proc_read(&comm, "/proc/2/comm");

	ck_assert(proc_thread_is_kernel(2, 2) == (!e && !strcmp(buf_str(&comm), "kthreadd\n")));
	ck_assert(!proc_thread_is_kernel(1, 1));
	err_destroy(e);
	buf_deinit(&comm);
}
END_TEST

/* ---- files ---- */

START_TEST(reads_whole_files)
{
	char path[] = "/tmp/check_proc.XXXXXX", data[50000];
	int fd = mkstemp(path);
	struct buf out = { 0 };

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)('a' + i % 23);
	ck_assert_int_eq(write(fd, data, sizeof(data)), sizeof(data));
	buf_adds(&out, "what was there before");
	ok(proc_read(&out, "/tmp/%s", path + strlen("/tmp/")));
	ck_assert_uint_eq(out.len, sizeof(data));
	ck_assert_mem_eq(out.data, data, sizeof(data));
	ck_assert_int_eq(out.data[out.len], 0);
	ck_assert_int_eq(ftruncate(fd, 0), 0);
	ok(proc_read(&out, "%s", path));
	ck_assert_str_eq(buf_str(&out), "");
	buf_deinit(&out);
	close(fd);
	unlink(path);
}
END_TEST

static const struct {
	const char *path;
	int errnum;
} unreadable[] = {
	{ "/proc/self/nothing", ENOENT },
	{ "/proc/self", EISDIR },
	{ "/proc/self/comm/x", ENOTDIR },
};

START_TEST(names_what_it_cannot_read)
{
	struct buf out = { 0 };
	struct err *e = proc_read(&out, "%s", unreadable[_i].path);

	ck_assert_msg(e && strstr(err_text(e), unreadable[_i].path), "%s", e ? err_text(e) : "it succeeds");
	fails_with_errno(e, unreadable[_i].errnum);
	buf_deinit(&out);
}
END_TEST

static const struct {
	const char *status, *key;
	int base;
	bool found;
	uint64_t value;
} fields[] = {
	{ "Name:\tx\nTgid:\t12\nPid:\t34\n", "Tgid", 10, true, 12 },
	{ "PPid:\t1\nTracerPid:\t2\nPid:\t34\n", "Pid", 10, true, 34 },
	{ "Pid:\t34", "Pid", 10, true, 34 },
	{ "\n\nPid: 34\n", "Pid", 10, true, 34 },
	{ "CapEff:\t000001ffffffffff\n", "CapEff", 16, true, 0x1ffffffffff },
	{ "VmRSS:\t   5000 kB\n", "VmRSS", 10, true, 5000 },
	{ "Seccomp:\t0\nSeccomp_filters:\t3\n", "Seccomp_filters", 10, true, 3 },
	{ "Seccomp_filters:\t3\n", "Seccomp", 10, false, 0 },
	{ "Pid:\t34\n", "Pi", 10, false, 0 },
	{ "Pid:\t34\n", "Pidx", 10, false, 0 },
	{ "Pid", "Pid", 10, false, 0 },
	{ "Name:\tx\n", "Name", 10, false, 0 },
	{ "Pid:\n", "Pid", 10, false, 0 },
	{ "", "Pid", 10, false, 0 },
};

START_TEST(fields_of_status)
{
	uint64_t value = 0x5a;

	ck_assert(proc_status_field(fields[_i].status, fields[_i].key, fields[_i].base, &value) == fields[_i].found);
	ck_assert_uint_eq(value, fields[_i].found ? fields[_i].value : 0x5a);
}
END_TEST

START_TEST(fields_of_a_process)
{
	pid_t child = start("Pid:\t1", do_pause);
	struct buf status = { 0 };
	uint64_t value;

	wait_for_state(child, 'S');
	ok(proc_read(&status, "/proc/%d/status", child));
	ck_assert(proc_status_field(buf_str(&status), "Pid", 10, &value));
	ck_assert_uint_eq(value, (uint64_t)child);
	ck_assert(proc_status_field(buf_str(&status), "PPid", 10, &value));
	ck_assert_uint_eq(value, (uint64_t)getpid());
	ck_assert(proc_status_field(buf_str(&status), "TracerPid", 10, &value));
	ck_assert_uint_eq(value, 0);
	buf_deinit(&status);
	finish(child);
}
END_TEST

/* ---- maps ---- */

/* Pages with a gap on either side, so that no neighbour is merged with them. */
static uint8_t *place(size_t pages, int prot, int flags, int fd, off_t offset)
{
	uint8_t *room = mmap(NULL, (pages + 2) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *p;

	ck_assert_ptr_ne(room, MAP_FAILED);
	p = mmap(room + PAGE, pages * PAGE, prot, flags | MAP_FIXED, fd, offset);
	ck_assert_ptr_eq(p, room + PAGE);
	munmap(room, PAGE);
	munmap(p + pages * PAGE, PAGE);
	return p;
}

static const struct {
	int prot;
	bool shared, of_file;
} kinds[] = {
	{ PROT_NONE, false, false },
	{ PROT_READ, false, false },
	{ PROT_READ | PROT_WRITE, true, false },
	{ PROT_READ | PROT_EXEC, false, true },
	{ PROT_READ | PROT_WRITE, true, true },
	{ PROT_WRITE, false, true },
};

static void check_file(const struct proc_map *m, int fd, const char *path)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_uint_eq(m->offset, 2 * PAGE);
	ck_assert_uint_eq(m->inode, st.st_ino);
	ck_assert_uint_eq(m->dev, (uint64_t)major(st.st_dev) << 32 | minor(st.st_dev));
	ck_assert_str_eq(m->path, path);
}

START_TEST(maps_of_a_process)
{
	char path[] = "/tmp/check proc\t) -p XXXXXX";
	int fd = mkstemp(path);
	bool shared = kinds[_i].shared, of_file = kinds[_i].of_file;
	const struct proc_map *m;
	struct proc_map *maps;
	uint8_t *p;
	size_t n;

	ck_assert_int_eq(ftruncate(fd, 8 * PAGE), 0);
	p = place(3, kinds[_i].prot, (shared ? MAP_SHARED : MAP_PRIVATE) | (of_file ? 0 : MAP_ANONYMOUS),
		  of_file ? fd : -1, of_file ? 2 * PAGE : 0);
	ok(proc_maps_read(getpid(), &maps, &n));
	m = proc_map_at(maps, n, (uintptr_t)p);
	ck_assert_ptr_nonnull(m);
	ck_assert_uint_eq(m->start, (uintptr_t)p);
	ck_assert_uint_eq(m->end - m->start, 3 * PAGE);
	ck_assert(m->readable == !!(kinds[_i].prot & PROT_READ));
	ck_assert(m->writable == !!(kinds[_i].prot & PROT_WRITE));
	ck_assert(m->executable == !!(kinds[_i].prot & PROT_EXEC));
	ck_assert(m->shared == shared);
	if (of_file)
		check_file(m, fd, path);
	else if (!shared)
		ck_assert(!m->inode && !strcmp(m->path, ""));
	proc_maps_free(maps, n);
	close(fd);
	unlink(path);
}
END_TEST

START_TEST(maps_are_found_by_address)
{
	uint8_t *p = place(3, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t start_hva = (uintptr_t)p, end = start_hva + 3 * PAGE;
	const struct proc_map *m;
	struct proc_map *maps;
	size_t n;

	ok(proc_maps_read(getpid(), &maps, &n));
	for (size_t i = 1; i < n; i++)
		ck_assert_uint_le(maps[i - 1].end, maps[i].start);
	m = proc_map_at(maps, n, start_hva);
	ck_assert_ptr_nonnull(m);
	ck_assert_ptr_eq(proc_map_at(maps, n, end - 1), m);
	ck_assert_ptr_null(proc_map_at(maps, n, start_hva - 1));
	ck_assert_ptr_null(proc_map_at(maps, n, end));
	ck_assert_ptr_null(proc_map_at(maps, n, 0));
	ck_assert_ptr_null(proc_map_at(maps, n, UINT64_MAX));
	ck_assert_ptr_null(proc_map_at(NULL, 0, start_hva));
	proc_maps_free(maps, n);
	proc_maps_free(NULL, 0);
}
END_TEST

/* A process that has exited, but whose parent has not been told, has none. */
START_TEST(maps_of_a_zombie)
{
	pid_t pid = start(NULL, do_exit);
	struct proc_map *maps;
	size_t n;

	wait_for_state(pid, 'Z');
	ok(proc_maps_read(pid, &maps, &n));
	ck_assert_uint_eq(n, 0);
	proc_maps_free(maps, n);
	finish(pid);
}
END_TEST

/* ---- descriptors ---- */

static const struct proc_fd *find_fd(const struct proc_fd *fds, size_t n, int fd)
{
	for (size_t i = 0; i < n; i++)
		if (fds[i].fd == fd)
			return &fds[i];
	return NULL;
}

START_TEST(fds_of_a_process)
{
	char link[64];
	int pipes[2], high, null = open("/dev/null", O_RDWR);
	struct proc_fd *fds;
	struct stat st;
	size_t n;

	ck_assert_int_eq(pipe(pipes), 0);
	high = fcntl(pipes[0], F_DUPFD, 200);
	fstat(pipes[0], &st);
	snprintf(link, sizeof(link), "pipe:[%lu]", (unsigned long)st.st_ino);
	ok(proc_fds(getpid(), &fds, &n));
	for (size_t i = 1; i < n; i++)
		ck_assert_int_lt(fds[i - 1].fd, fds[i].fd);
	ck_assert_str_eq(find_fd(fds, n, null)->link, "/dev/null");
	ck_assert_str_eq(find_fd(fds, n, pipes[1])->link, link);
	ck_assert_str_eq(find_fd(fds, n, high)->link, link);
	free(fds);
	close(high);
	ok(proc_fds(getpid(), &fds, &n));
	ck_assert_ptr_null(find_fd(fds, n, high));
	free(fds);
}
END_TEST

START_TEST(fds_with_long_links)
{
	char path[128];
	struct proc_fd *fds;
	size_t n;
	int fd;

	snprintf(path, sizeof(path), "/tmp/check_proc.%090d", getpid());
	fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	ck_assert_int_ge(fd, 0);
	unlink(path);
	ok(proc_fds(getpid(), &fds, &n));
	ck_assert_mem_eq(find_fd(fds, n, fd)->link, path, 63);
	ck_assert_int_eq(find_fd(fds, n, fd)->link[63], 0);
	free(fds);
	close(fd);
}
END_TEST

static TCase *process_cases(void)
{
	TCase *tc = tcase_create("process");

	tcase_add_loop_test(tc, state_letters, 0, ARRAY_LEN(states));
	tcase_add_loop_test(tc, state_behind_any_name, 0, ARRAY_LEN(names));
	tcase_add_test(tc, nothing_of_nobody);
	tcase_add_test(tc, pids_of_all);
	tcase_add_test(tc, threads_of_a_process);
	tcase_add_test(tc, threads_of_the_kernel);
	return tc;
}

static TCase *file_cases(void)
{
	TCase *tc = tcase_create("file");

	tcase_add_test(tc, reads_whole_files);
	tcase_add_loop_test(tc, names_what_it_cannot_read, 0, ARRAY_LEN(unreadable));
	tcase_add_loop_test(tc, fields_of_status, 0, ARRAY_LEN(fields));
	tcase_add_test(tc, fields_of_a_process);
	tcase_add_loop_test(tc, maps_of_a_process, 0, ARRAY_LEN(kinds));
	tcase_add_test(tc, maps_are_found_by_address);
	tcase_add_test(tc, maps_of_a_zombie);
	tcase_add_test(tc, fds_of_a_process);
	tcase_add_test(tc, fds_with_long_links);
	return tc;
}

int main(void)
{
	Suite *s = suite_create("proc");

	suite_add_tcase(s, process_cases());
	suite_add_tcase(s, file_cases());
	return suite_run(s);
}
