/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "guest/guardian.h"
#include "guest/inject.h"
#include "guest/proc.h"
#include "guest/tracee.h"
#include "tests/host.h"
#include "tests/standin.h"
#include "tests/suite.h"

#define ROUNDS 40
#define KILLS 50
#define CHURNED 400

static void ok(struct err *e)
{
	ck_assert_msg(!e, "%s", e ? err_text(e) : "");
}

static void block_sigchld(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

static void check_finish(struct standin *s)
{
	char *text = standin_finish(s);

	ck_assert_str_eq(text, "");
	free(text);
}

/* The states of all threads, as letters. */
static void thread_states(pid_t pid, struct buf *out)
{
	pid_t *tids;
	size_t n;

	ok(proc_threads(pid, &tids, &n));
	buf_reset(out);
	for (size_t i = 0; i < n; i++)
		buf_addch(out, proc_state(tids[i]));
	free(tids);
}

START_TEST(stops_every_thread)
{
	struct standin s = standin_start(false);
	struct tracees ts;
	struct buf states = { 0 };

	block_sigchld();
	ok(tracees_stop(&ts, s.pid, 0, NULL, 0));
	thread_states(s.pid, &states);
	ck_assert_uint_ge(states.len, s.n_threads);
	ck_assert_uint_eq(strspn(states.data, "t"), states.len);
	ck_assert(tracees_release(&ts));
	thread_states(s.pid, &states);
	ck_assert_ptr_null(strchr(states.data, 't'));
	buf_deinit(&states);
	check_finish(&s);
}
END_TEST

static void inject_round(struct tracees *ts, const struct host_gadgets *g)
{
	const uint64_t none[6] = { 0 };
	struct injector in;
	long ret = 0;

	ok(inject_begin(ts, g, -1, &in));
	ok(inject_syscall(&in, SYS_getpid, none, &ret));
	ck_assert_int_eq(ret, ts->pid);
	ok(inject_syscall(&in, SYS_close, (const uint64_t[6]){ 9999 }, &ret));
	ck_assert_int_eq(ret, -EBADF);
	ok(inject_end(&in));
}

START_TEST(blocking_calls_never_notice)
{
	struct standin s = standin_start(false);
	struct host_gadgets g;
	struct tracees ts;

	block_sigchld();
	for (int i = 0; i < ROUNDS; i++) {
		ok(tracees_stop(&ts, s.pid, 0, NULL, 0));
		if (i == 0)
			ok(inject_find_gadgets(&ts, &g));
		inject_round(&ts, &g);
		ck_assert(tracees_release(&ts));
		poll(NULL, 0, i % 7);
	}
	check_finish(&s);
}
END_TEST

START_TEST(ioctl_data_goes_both_ways)
{
	struct standin s = standin_start(false);
	struct host_gadgets g;
	struct tracees ts;
	struct injector in;
	int fds[2], pending = 0;
	long ret;

	/* FIONREAD of its own report pipe: it inherits none of ours, so the answer is the kernel's. */
	block_sigchld();
	ck_assert_int_eq(pipe(fds), 0);
	ok(tracees_stop(&ts, s.pid, 0, NULL, 0));
	ok(inject_find_gadgets(&ts, &g));
	ok(inject_begin(&ts, &g, -1, &in));
	ok(inject_syscall(&in, SYS_pipe2, (const uint64_t[6]){ in.scratch, 0 }, &ret));
	ck_assert_int_eq(ret, 0);
	ok(tracees_read(&ts, in.scratch, fds, sizeof(fds)));
	ok(tracees_write(&ts, in.scratch + 64, "hello", 5));
	ok(inject_syscall(&in, SYS_write, (const uint64_t[6]){ (uint64_t)fds[1], in.scratch + 64, 5 }, &ret));
	ck_assert_int_eq(ret, 5);
	ok(inject_ioctl(&in, fds[0], FIONREAD, &pending, sizeof(pending), &ret));
	ck_assert_int_eq(ret, 0);
	ck_assert_int_eq(pending, 5);
	ok(inject_end(&in));
	ck_assert(tracees_release(&ts));
	check_finish(&s);
}
END_TEST

/* The thread's stack and registers are what they were: nothing of the frame stays. */
START_TEST(leaves_no_trace)
{
	struct standin s = standin_start(false);
	struct host_gadgets g;
	struct host_regs before, after;
	struct tracees ts;
	struct injector in;
	uint64_t mask = 0;
	char stack_before[4096], stack_after[4096];

	block_sigchld();
	ok(tracees_stop(&ts, s.pid, 0, NULL, 0));
	ok(inject_find_gadgets(&ts, &g));
	inject_round(&ts, &g);
	ok(inject_begin(&ts, &g, -1, &in));
	before = in.t->regs;
	ok(tracees_read(&ts, in.frame.addr, stack_before, sizeof(stack_before)));
	ok(inject_end(&in));
	ok(tracees_read(&ts, in.frame.addr, stack_after, sizeof(stack_after)));
	ck_assert_int_ne(memcmp(stack_before, stack_after, sizeof(stack_after)), 0);
	ok(tracee_get_regs(in.t, &after));
	ck_assert_uint_eq(before.n, after.n);
	ck_assert_mem_eq(before.bytes, after.bytes, before.n);
	ok(tracee_ptrace(PTRACE_GETSIGMASK, "PTRACE_GETSIGMASK", in.t, (void *)8, &mask));
	ck_assert_uint_eq(mask, in.sigmask);
	ck_assert(tracees_release(&ts));
	check_finish(&s);
}
END_TEST

static void take_events_for(struct tracees *ts, int ms)
{
	for (; ms > 0; ms--) {
		size_t n;

		ok(tracees_take_events(ts, &n));
		poll(NULL, 0, 1);
	}
}

/* All threads traced while they run, each stopped at every system call. */
START_TEST(runs_while_it_is_traced)
{
	struct standin s = standin_start(false);
	struct host_gadgets g;
	struct tracees ts;

	block_sigchld();
	ok(tracees_stop(&ts, s.pid, 0, NULL, 0));
	ok(inject_find_gadgets(&ts, &g));
	for (int i = 0; i < ROUNDS / 4; i++) {
		ts.running = true;
		for (size_t t = 0; t < ts.n; t++) {
			ts.t[t].watched = (t + (size_t)i) % 2;
			if (ts.t[t].state == TRACEE_TRAPPED)
				ok(tracee_ignore_gone(tracee_let_go(&ts, &ts.t[t])));
		}
		take_events_for(&ts, 30);
		ok(tracees_halt(&ts, 0, true));
		inject_round(&ts, &g);
	}
	ck_assert(tracees_release(&ts));
	check_finish(&s);
}
END_TEST

/* The interrupt comes when a thread has stopped already, which it is not told from being on its way. */
START_TEST(interrupts_what_has_stopped_unheard)
{
	struct standin s = standin_start(false);
	struct tracees ts;

	block_sigchld();
	ok(tracees_stop(&ts, s.pid, 0, NULL, 0));
	for (int i = 0; i < ROUNDS / 4; i++) {
		ts.running = true;
		for (size_t t = 0; t < ts.n; t++) {
			ts.t[t].watched = true;
			ok(tracee_ignore_gone(tracee_let_go(&ts, &ts.t[t])));
		}
		poll(NULL, 0, 20);
		ok(tracees_halt(&ts, 1, true));
	}
	ck_assert(tracees_release(&ts));
	check_finish(&s);
}
END_TEST

static void *end_at_once(void *arg)
{
	return arg;
}

/* A process that makes threads all the time and counts them, of which two live at once at most. */
static pid_t start_churning(atomic_uint *made)
{
	pid_t pid = fork();
	pthread_t thread;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!pthread_create(&thread, NULL, end_at_once, NULL)) {
		pthread_join(thread, NULL);
		atomic_fetch_add(made, 1);
	}
	_exit(1);
}

/* A VMM may make and end threads for days while it is traced; their numbers come again. */
START_TEST(forgets_threads_that_are_gone)
{
	atomic_uint *made = mmap(NULL, sizeof(*made), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct tracees ts;
	unsigned before;
	pid_t pid;

	ck_assert_ptr_ne(made, MAP_FAILED);
	pid = start_churning(made);

	block_sigchld();
	ok(tracees_stop(&ts, pid, 0, NULL, 0));
	ts.running = true;
	for (size_t t = 0; t < ts.n; t++)
		ok(tracee_ignore_gone(tracee_let_go(&ts, &ts.t[t])));
	before = atomic_load(made);
	while (atomic_load(made) - before < CHURNED)
		take_events_for(&ts, 1);
	/* On a busy machine dozens may wait for a processor to end on, though they were joined. */
	ck_assert_uint_lt(ts.n, CHURNED / 2);
	ok(tracees_halt(&ts, 0, true));
	ck_assert(tracees_release(&ts));
	ck_assert(!kill(pid, SIGKILL));
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}
END_TEST

static void trace_for_ever(pid_t pid)
{
	const uint64_t none[6] = { 0 };
	struct host_gadgets g = { 0 };
	struct tracees ts;

	for (;;) {
		struct injector in;
		long ret;

		if (tracees_stop(&ts, pid, 0, NULL, 0) || (!g.sigreturn && inject_find_gadgets(&ts, &g)) ||
		    inject_begin(&ts, &g, -1, &in))
			_exit(1);
		for (int i = 0; i < 8; i++)
			if (inject_syscall(&in, SYS_getppid, none, &ret))
				_exit(2);
		if (inject_end(&in) || !tracees_release(&ts))
			_exit(3);
	}
}

START_TEST(survives_the_death_of_its_tracer)
{
	struct standin s = standin_start(true);

	block_sigchld();
	for (int i = 0; i < KILLS; i++) {
		pid_t tracer = fork();
		int status;

		if (tracer == 0)
			trace_for_ever(s.pid);
		poll(NULL, 0, 2 + (i * 7) % 23);
		kill(tracer, SIGKILL);
		ck_assert_int_eq(waitpid(tracer, &status, 0), tracer);
		ck_assert_msg(WIFSIGNALED(status), "the tracer failed with status 0x%x", (unsigned)status);
		ck_assert_int_ne(proc_state(s.pid), 'Z');
	}
	check_finish(&s);
}
END_TEST

static bool gets_to(pid_t pid, char state)
{
	for (int ms = 0; ms < 2000 && proc_state(pid) != state; ms += 5)
		poll(NULL, 0, 5);
	return proc_state(pid) == state;
}

START_TEST(a_stopped_process_stays_stopped)
{
	struct standin s = standin_start(false);
	struct host_gadgets g;
	struct tracees ts;

	block_sigchld();
	kill(s.pid, SIGSTOP);
	ck_assert(gets_to(s.pid, 'T'));
	ok(tracees_stop(&ts, s.pid, 0, NULL, 0));
	ok(inject_find_gadgets(&ts, &g));
	inject_round(&ts, &g);
	ck_assert(tracees_release(&ts));
	ck_assert(gets_to(s.pid, 'T'));
	kill(s.pid, SIGCONT);
	/* A stop signal is one of those that end such calls for any process: only life is asked for. */
	poll(NULL, 0, 20);
	ck_assert_int_ne(proc_state(s.pid), 'T');
	free(standin_finish(&s));
}
END_TEST

START_TEST(says_that_it_is_traced_already)
{
	struct standin s = standin_start(false);
	struct tracees ts;
	struct err *e;
	int fds[2];
	pid_t other;
	char done;

	ck_assert_int_eq(pipe(fds), 0);
	other = fork();
	if (other == 0) {
		block_sigchld();
		err_destroy(tracees_stop(&ts, s.pid, 0, NULL, 0));
		if (write(fds[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	block_sigchld();
	/* Killed half-way it would leave interrupted calls behind. */
	ck_assert_int_eq(read(fds[0], &done, 1), 1);
	e = tracees_stop(&ts, s.pid, 0, NULL, 0);
	ck_assert_ptr_nonnull(e);
	ck_assert_int_eq(err_code(e), ERR_BUSY);
	ck_assert_ptr_nonnull(strstr(err_text(e), "already traced by pid"));
	err_destroy(e);
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
	check_finish(&s);
}
END_TEST

START_TEST(a_process_that_dies_while_stopped)
{
	struct standin s = standin_start(false);
	struct tracees ts;
	bool gone = false;

	block_sigchld();
	ok(tracees_stop(&ts, s.pid, 0, NULL, 0));
	kill(s.pid, SIGKILL);
	for (int i = 0; i < 200 && !gone; i++) {
		gone = tracees_reap(&ts);
		poll(NULL, 0, 5);
	}
	ck_assert(gone);
	ck_assert(tracees_release(&ts));
	close(s.report_fd);
}
END_TEST

static void *vfork_and_wait(void *arg)
{
	if (!vfork()) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pause();
		_exit(0);
	}
	return arg;
}

/* A process with a thread that no tracer can stop: it waits for a child of its vfork(). */
static pid_t start_unstoppable(void)
{
	pid_t pid = fork();
	pthread_t thread;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pthread_create(&thread, NULL, vfork_and_wait, NULL);
	for (;;)
		poll(NULL, 0, 1);
}

/* The child is its thread's, and there before the thread waits for it. */
static void wait_for_vfork(pid_t pid)
{
	struct buf children = { 0 };
	pid_t *tids;
	size_t n;

	for (int i = 0; i < 1000 && !children.len; i++) {
		poll(NULL, 0, 10);
		ok(proc_threads(pid, &tids, &n));
		ok(proc_read(&children, "/proc/%d/task/%d/children", pid, tids[n - 1]));
		free(tids);
	}
	ck_assert_uint_ne(children.len, 0);
	buf_deinit(&children);
	poll(NULL, 0, 50);
}

static size_t count_traced(pid_t pid)
{
	struct buf status = { 0 };
	size_t n, traced = 0;
	uint64_t tracer;
	pid_t *tids;

	ok(proc_threads(pid, &tids, &n));
	for (size_t i = 0; i < n; i++) {
		ok(proc_read(&status, "/proc/%d/task/%d/status", pid, tids[i]));
		ck_assert(proc_status_field(buf_str(&status), "TracerPid", 10, &tracer));
		traced += tracer != 0;
	}
	buf_deinit(&status);
	free(tids);
	return traced;
}

/* While its handle still lives: a front end may hold that for long. */
START_TEST(a_stop_that_fails_holds_nothing)
{
	pid_t pid = start_unstoppable();
	struct guardian *g;
	struct err *e;
	struct guardian_stopped stopped = { 0 };

	wait_for_vfork(pid);
	ok(guardian_start(pid, &g));
	e = guardian_stop(g, 0, &stopped);
	ck_assert_ptr_nonnull(e);
	ck_assert_int_eq(err_code(e), ERR_TIMEOUT);
	err_destroy(e);
	for (int i = 0; i < 100 && count_traced(pid); i++)
		poll(NULL, 0, 10);
	ck_assert_uint_eq(count_traced(pid), 0);
	guardian_destroy(g);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}
END_TEST

/* Its parent, we here, can reap it though the guardian has been told nothing since. */
START_TEST(a_process_that_dies_as_it_is_let_go)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct standin s = standin_start(false);
		struct guardian *g;
		struct guardian_stopped stopped = { 0 };
		int ms = 0;

		ok(guardian_start(s.pid, &g));
		ok(guardian_stop(g, 0, &stopped));
		guardian_stopped_deinit(&stopped);
		kill(s.pid, SIGKILL);
		err_destroy(guardian_resume(g));
		for (; ms < 2000 && waitpid(s.pid, NULL, WNOHANG) != s.pid; ms++)
			poll(NULL, 0, 1);
		ck_assert_int_lt(ms, 2000);
		guardian_destroy(g);
		close(s.report_fd);
	}
}
END_TEST

/* Code in memory that may change, as a guest's RAM would be, is passed by. */
START_TEST(runs_on_constant_code_only)
{
	const uint8_t bait[] = { 0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05, 0xc3 };
	uintptr_t low = 0x10000;
	uint8_t *page = mmap((void *)low, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	struct standin s;
	struct host_gadgets g;
	struct tracees ts;

	ck_assert_ptr_ne(page, MAP_FAILED);
	memcpy(page, bait, sizeof(bait));
	s = standin_start(false);
	munmap(page, 4096);
	block_sigchld();
	ok(tracees_stop(&ts, s.pid, 0, NULL, 0));
	ok(inject_find_gadgets(&ts, &g));
	ck_assert_uint_ge(g.call, low + 4096);
	ck_assert_uint_ge(g.sigreturn, low + 4096);
	ck_assert(tracees_release(&ts));
	check_finish(&s);
}
END_TEST

static void need_ptrace(void)
{
	host_need(host_has_ptrace(), "a test of tracee", "ptrace");
}

int main(void)
{
	Suite *s = suite_create("tracee");
	TCase *tc = tcase_create("tracee");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, need_ptrace, NULL);
	tcase_add_test(tc, stops_every_thread);
	tcase_add_test(tc, blocking_calls_never_notice);
	tcase_add_test(tc, ioctl_data_goes_both_ways);
	tcase_add_test(tc, leaves_no_trace);
	tcase_add_test(tc, runs_while_it_is_traced);
	tcase_add_test(tc, interrupts_what_has_stopped_unheard);
	tcase_add_test(tc, forgets_threads_that_are_gone);
	tcase_add_test(tc, survives_the_death_of_its_tracer);
	tcase_add_test(tc, a_stopped_process_stays_stopped);
	tcase_add_test(tc, says_that_it_is_traced_already);
	tcase_add_test(tc, a_process_that_dies_while_stopped);
	tcase_add_test(tc, a_stop_that_fails_holds_nothing);
	tcase_add_test(tc, a_process_that_dies_as_it_is_let_go);
	tcase_add_test(tc, runs_on_constant_code_only);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
