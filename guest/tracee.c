/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/tracee.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "guest/proc.h"
#include "guest/step.h"

#define SYSCALL_TRAP (SIGTRAP | 0x80)
/* The kernel makes the call again: a VM's first KVM_RUN, whose making of a thread must not be interrupted. */
#define ERESTARTNOINTR 513

/* How long vCPU threads may take to reach KVM_RUN, and how long nothing may happen before we give up. */
#define PARK_MS 500
#define PARK_QUIET_MS 60
/* How long any thread may take to stop, uninterruptible sleeps included. */
#define STOP_MS 3000
/* A watched thread that has made so many calls and never ran a vCPU will not do so. */
#define MAX_CALLS 4096

static void wait_for_child(int64_t ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigtimedwait(&set, NULL, &t);
}

struct err *tracee_ptrace(int request, const char *name, struct tracee *t, void *addr, void *data)
{
	long rc = ptrace((enum __ptrace_request)request, t->tid, addr, data);
	int errnum = errno;

	step_point("guardian", name);
	if (rc >= 0)
		return NULL;
	if (errnum == ESRCH) {
		t->state = TRACEE_GONE;
		return err_new(ERR_GONE, "thread %d of the VMM is gone", t->tid);
	}
	return err_sys(errnum, "%s of thread %d", name, t->tid);
}

struct err *tracee_ignore_gone(struct err *e)
{
	if (!e || err_code(e) != ERR_GONE)
		return e;
	err_destroy(e);
	return NULL;
}

struct err *tracee_get_regs(struct tracee *t, struct host_regs *ret)
{
	struct err *e = NULL;

	for (size_t i = 0; !e && i < host_n_regsets; i++) {
		const struct host_regset *set = &host_regsets[i];
		struct iovec v = { ret->bytes + set->offset, set->bytes };

		e = tracee_ptrace(PTRACE_GETREGSET, "PTRACE_GETREGSET", t, (void *)(uintptr_t)set->note, &v);
		if (i == 0)
			ret->n = v.iov_len;
	}
	if (!e)
		host_settle_regs(ret);
	return e;
}

struct err *tracee_set_regs(struct tracee *t, const struct host_regs *regs)
{
	struct err *e = NULL;

	for (size_t i = host_n_regsets; !e && i-- > 0;) {
		const struct host_regset *set = &host_regsets[i];
		struct iovec v = { (void *)(regs->bytes + set->offset), i ? set->bytes : regs->n };

		e = tracee_ptrace(PTRACE_SETREGSET, "PTRACE_SETREGSET", t, (void *)(uintptr_t)set->note, &v);
	}
	return e;
}

struct err *tracees_read(struct tracees *ts, uint64_t hva, void *ret, size_t bytes)
{
	ssize_t n = pread(ts->mem_fd, ret, bytes, (off_t)hva);

	if (n == (ssize_t)bytes)
		return NULL;
	return err_sys(n < 0 ? errno : EFAULT, "cannot read the VMM's memory at 0x%" PRIx64, hva);
}

struct err *tracees_write(struct tracees *ts, uint64_t hva, const void *from, size_t bytes)
{
	ssize_t n = pwrite(ts->mem_fd, from, bytes, (off_t)hva);
	int errnum = errno;

	step_point("guardian", "write memory");
	if (n == (ssize_t)bytes)
		return NULL;
	return err_sys(n < 0 ? errnum : EFAULT, "cannot write the VMM's memory at 0x%" PRIx64, hva);
}

/* Not those that are gone: the kernel gives their numbers to others. */
static struct tracee *find(struct tracees *ts, pid_t tid)
{
	for (size_t i = 0; i < ts->n; i++)
		if (ts->t[i].tid == tid && ts->t[i].state != TRACEE_GONE)
			return &ts->t[i];
	return NULL;
}

/* The main thread's stays: tracees_reap() looks for it. */
static struct tracee *find_free(struct tracees *ts)
{
	for (size_t i = 0; i < ts->n; i++)
		if (ts->t[i].state == TRACEE_GONE && ts->t[i].tid != ts->pid)
			return &ts->t[i];
	ts->t = xreallocarray(ts->t, ts->n + 1, sizeof(*ts->t));
	return &ts->t[ts->n++];
}

static struct tracee *add(struct tracees *ts, pid_t tid)
{
	struct tracee *t = find_free(ts);

	*t = (struct tracee){ .tid = tid, .vcpu_fd = -1, .call.nr = -1 };
	return t;
}

/* ---- seizing ---- */

/* The tracer of a thread, 0 when it has none. */
static pid_t tracer_of(pid_t pid, pid_t tid)
{
	struct buf status = { 0 };
	struct err *e = proc_read(&status, "/proc/%d/task/%d/status", pid, tid);
	uint64_t tracer = 0;

	if (!e)
		proc_status_field(buf_str(&status), "TracerPid", 10, &tracer);
	err_destroy(e);
	buf_deinit(&status);
	return (pid_t)tracer;
}

static struct err *explain_seize(pid_t pid, pid_t tid, int errnum)
{
	pid_t tracer = tracer_of(pid, tid);

	if (tracer)
		return err_new(ERR_BUSY, "process %d is already traced by pid %d; end that tracer first", pid, tracer);
	if (errnum == EPERM || errnum == EACCES)
		return err_sys(errnum, "cannot trace process %d: be its user, or have CAP_SYS_PTRACE "
				       "(and see /proc/sys/kernel/yama/ptrace_scope)", pid);
	return err_sys(errnum, "cannot trace thread %d of process %d", tid, pid);
}

static bool is_dead(pid_t tid)
{
	char state = proc_state(tid);

	return !state || state == 'Z' || state == 'X';
}

/* False when there is no such thread any more. One that a thread of ours has just made is seized already. */
static bool seize(pid_t pid, pid_t tid, struct err **ret)
{
	long rc = ptrace(PTRACE_SEIZE, tid, NULL, (void *)TRACEE_OPTIONS);
	int errnum = errno;

	step_point("guardian", "PTRACE_SEIZE");
	if (!rc || tracer_of(pid, tid) == getpid())
		return true;
	/* EPERM is also what one gets that has exited and is not quite gone. */
	if (errnum != ESRCH && !is_dead(tid))
		*ret = explain_seize(pid, tid, errnum);
	return false;
}

/* Seizes the threads that we do not have yet; *ret_new counts them, also on failure. */
static struct err *seize_new(struct tracees *ts, size_t *ret_new)
{
	pid_t *tids = NULL;
	size_t n = 0, found = 0;
	struct err *e = proc_threads(ts->pid, &tids, &n);

	for (size_t i = 0; !e && i < n; i++) {
		if (find(ts, tids[i]) || proc_thread_is_kernel(ts->pid, tids[i]) || !seize(ts->pid, tids[i], &e))
			continue;
		add(ts, tids[i]);
		found++;
	}
	free(tids);
	*ret_new = found;
	return e;
}

/* ---- stopping ---- */

static bool is_kvm_run(const struct host_syscall *s)
{
	return s->nr == SYS_ioctl && (uint32_t)s->args[1] == KVM_RUN;
}

/*
 * Calls that give up with a plain EINTR when they are interrupted, which the
 * kernel does not restart by itself, and that can be made again without harm.
 * signal(7) lists them; KVM_RUN is one.
 */
static bool may_repeat(const struct host_syscall *s)
{
	static const long repeatable[] = {
		SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2,    SYS_semtimedop, SYS_recvfrom,
		SYS_recvmsg,    SYS_sendto,      SYS_rt_sigtimedwait, SYS_sendmsg,    SYS_accept4,
		SYS_read,       SYS_readv,       SYS_io_getevents,    SYS_write,      SYS_writev,
		SYS_getrandom,  SYS_io_uring_enter,
	};

	if (is_kvm_run(s))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(repeatable); i++)
		if (s->nr == repeatable[i])
			return true;
	for (const struct host_repeatable *r = host_repeatable; r->nr >= 0; r++)
		if (s->nr == r->nr && (r->which < 0 || s->args[0] == (uint64_t)r->which))
			return true;
	return false;
}

static struct err *interrupt(struct tracee *t)
{
	if (t->interrupted)
		return NULL;
	t->interrupted = true;
	return tracee_ptrace(PTRACE_INTERRUPT, "PTRACE_INTERRUPT", t, NULL, NULL);
}

static struct err *go_on(const struct tracees *ts, struct tracee *t, int signal)
{
	void *data = (void *)(intptr_t)signal;

	t->state = TRACEE_RUNNING;
	t->parked = false;
	if (ts->watch || (ts->running ? t->watched : t->seek))
		return tracee_ptrace(PTRACE_SYSCALL, "PTRACE_SYSCALL", t, NULL, data);
	return tracee_ptrace(PTRACE_CONT, "PTRACE_CONT", t, NULL, data);
}

struct err *tracee_let_go(struct tracees *ts, struct tracee *t)
{
	if (!t->group_stop)
		return go_on(ts, t, 0);
	t->state = TRACEE_LISTENING;
	t->parked = false;
	return tracee_ptrace(PTRACE_LISTEN, "PTRACE_LISTEN", t, NULL, NULL);
}

/*
 * The trap of PTRACE_INTERRUPT, in the kernel's signal code: whatever the thread
 * was waiting in goes on by itself from here, but for calls that end with EINTR.
 */
static struct err *on_trap(struct tracees *ts, struct tracee *t)
{
	struct host_syscall s;
	struct err *e = tracee_get_regs(t, &t->regs);
	bool in_call = !e && host_syscall_of(&t->regs, &s);

	if (e)
		return e;
	/* Setting its result may have taken from the registers which call that was. */
	if (in_call && t->hid_exit) {
		t->call.result = s.result;
		s = t->call;
	}
	t->hid_exit = false;
	if (in_call && s.result == -EINTR && may_repeat(&s)) {
		host_ask_restart(&t->regs);
		e = tracee_set_regs(t, &t->regs);
		t->parked = is_kvm_run(&s);
		t->vcpu_fd = t->parked ? (int)s.args[0] : t->vcpu_fd;
	}
	if (in_call && s.result == -ERESTARTNOINTR && is_kvm_run(&s)) {
		t->parked = true;
		t->vcpu_fd = (int)s.args[0];
	}
	t->state = TRACEE_TRAPPED;
	if (!e && ts->running && !t->parked)
		return tracee_let_go(ts, t);
	if (!e && t->seek && !t->parked && !t->group_stop)
		return go_on(ts, t, 0);
	return e;
}

static void count_call(struct tracees *ts, struct tracee *t)
{
	ts->strayed = true;
	if (t->vcpu_fd < 0 && ++t->calls > MAX_CALLS)
		t->watched = false;
}

static struct err *hide_exit(struct tracees *ts, struct tracee *t)
{
	struct host_regs regs;
	struct err *e = tracee_get_regs(t, &regs);

	if (e)
		return e;
	host_set_result(&regs, -EINTR);
	e = tracee_set_regs(t, &regs);
	t->hid_exit = true;
	if (!e)
		ts->hooks->take_exit(ts->hooks->ctx, t->vcpu_fd);
	return e;
}

/*
 * At the entry or exit of KVM_RUN. Interrupted at its entry, the call completes what
 * is pending and comes back with EINTR, unless it has another exit first. An EINTR of
 * ours is never the VMM's to see, even if the reason for it has gone meanwhile.
 */
static struct err *on_kvm_run(struct tracees *ts, struct tracee *t, bool entry, bool ended_ours)
{
	const struct tracee_hooks *h = ts->hooks;
	const struct host_syscall *s = &t->call;
	bool park = t->seek || (ended_ours && !entry);
	struct err *e = NULL;

	t->vcpu_fd = (int)s->args[0];
	if (!entry && !s->result && h && h->is_ours(h->ctx, t->vcpu_fd)) {
		e = hide_exit(ts, t);
		park = true;
	} else if (entry || s->result == -EINTR || s->result == -ERESTARTNOINTR) {
		park = park || (h && ts->running && !h->may_enter(h->ctx, t->vcpu_fd));
	} else {
		ts->strayed = true;
		park = false;
	}
	if (!e && (park || (!ts->running && !t->seek)))
		e = interrupt(t);
	return e ? e : go_on(ts, t, 0);
}

/* Where the registers do not tell which call it is that is left, its entry has. */
static void take_call(struct tracee *t, const struct __ptrace_syscall_info *info)
{
	t->hid_exit = false;
	if (info->op == PTRACE_SYSCALL_INFO_EXIT) {
		t->call.result = (long)info->exit.rval;
		return;
	}
	t->call = (struct host_syscall){ .nr = -1, .result = -ENOSYS };
	if (info->op != PTRACE_SYSCALL_INFO_ENTRY)
		return;
	t->call.nr = (long)info->entry.nr;
	for (size_t i = 0; i < ARRAY_LEN(t->call.args); i++)
		t->call.args[i] = info->entry.args[i];
}

/*
 * ended_ours: an interrupt of ours was on its way. The trap that would have made the
 * call go on has been swallowed, so there must be another. A thread that seeks may have
 * got one too: it came behind the stop at the call's entry that seemed to swallow it.
 */
static struct err *on_syscall(struct tracees *ts, struct tracee *t, bool ended_ours)
{
	struct __ptrace_syscall_info info = { 0 };
	bool entry;
	struct err *e = tracee_ptrace(PTRACE_GET_SYSCALL_INFO, "PTRACE_GET_SYSCALL_INFO", t,
				      (void *)sizeof(info), &info);

	if (e)
		return e;
	entry = info.op == PTRACE_SYSCALL_INFO_ENTRY;
	take_call(t, &info);
	if (ts->watch && t->call.nr >= 0)
		ts->watch->call(ts->watch->ctx, t->tid, entry, &t->call);
	if (is_kvm_run(&t->call))
		return on_kvm_run(ts, t, entry, ended_ours);
	count_call(ts, t);
	ended_ours = (ended_ours || t->seek) && t->call.result == -EINTR && may_repeat(&t->call);
	if (ended_ours || (!ts->running && !t->seek))
		e = interrupt(t);
	return e ? e : go_on(ts, t, 0);
}

/* Any other stop. It has swallowed an interrupt that was on its way. */
static struct err *on_passing(struct tracees *ts, struct tracee *t, int signal)
{
	struct err *e = ts->running || t->seek ? NULL : interrupt(t);

	t->hid_exit = false;
	ts->strayed |= t->watched;
	return e ? e : go_on(ts, t, signal);
}

static bool is_thread_of(pid_t pid, pid_t tid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d", pid, tid);
	return !access(path, F_OK);
}

/* A child that the kernel attached for us: a new thread, or a process made by clone(2) that is none of our business. */
static struct tracee *adopt(struct tracees *ts, pid_t tid)
{
	if (is_thread_of(ts->pid, tid)) {
		struct tracee *t = add(ts, tid);

		t->watched = true;
		return t;
	}
	ptrace(PTRACE_DETACH, tid, NULL, NULL);
	step_point("guardian", "PTRACE_DETACH");
	return NULL;
}

static struct err *on_event(struct tracees *ts, pid_t tid, int status)
{
	struct tracee *t = find(ts, tid);
	int event = status >> 16, signal = WSTOPSIG(status);
	bool interrupted;

	if (!t && WIFSTOPPED(status))
		t = adopt(ts, tid);
	if (!t)
		return NULL;
	if (!WIFSTOPPED(status)) {
		t->state = TRACEE_GONE;
		return NULL;
	}
	interrupted = t->interrupted;
	t->interrupted = false;
	t->group_stop = event == PTRACE_EVENT_STOP && signal != SIGTRAP;
	if (event == PTRACE_EVENT_STOP)
		return on_trap(ts, t);
	if (signal == SYSCALL_TRAP)
		return on_syscall(ts, t, interrupted);
	return on_passing(ts, t, event ? 0 : signal);
}

/* A thread that went away meanwhile is no error. */
struct err *tracees_take_events(struct tracees *ts, size_t *ret_n)
{
	struct err *e = NULL;
	size_t n = 0;
	int status;
	pid_t tid;

	while (!e && (tid = waitpid(-1, &status, __WALL | WNOHANG)) > 0) {
		e = tracee_ignore_gone(on_event(ts, tid, status));
		n++;
	}
	*ret_n = n;
	return e;
}

static unsigned count_parked(const struct tracees *ts)
{
	unsigned n = 0;

	for (size_t i = 0; i < ts->n; i++)
		n += ts->t[i].state == TRACEE_TRAPPED && ts->t[i].parked;
	return n;
}

static bool all_seekers_rest(const struct tracees *ts)
{
	for (size_t i = 0; i < ts->n; i++)
		if (ts->t[i].seek && ts->t[i].state != TRACEE_TRAPPED && ts->t[i].state != TRACEE_GONE)
			return false;
	return true;
}

/* Ends at the first of: n_vcpus parked, nothing left to wait for, nothing happens, time is up. */
static struct err *wait_parked(struct tracees *ts, unsigned n_vcpus)
{
	int64_t end = clock_ms() + PARK_MS, quiet = clock_ms() + PARK_QUIET_MS;
	struct err *e;

	for (;;) {
		int64_t left;
		size_t n;

		e = tracees_take_events(ts, &n);
		if (n)
			quiet = clock_ms() + PARK_QUIET_MS;
		left = MIN(end, quiet) - clock_ms();
		if (e || left <= 0 || count_parked(ts) >= n_vcpus || all_seekers_rest(ts))
			return e;
		wait_for_child(left);
	}
}

static bool is_hinted(const struct vcpu_thread *hints, size_t n, pid_t tid)
{
	for (size_t i = 0; i < n; i++)
		if (hints[i].tid == tid)
			return true;
	return false;
}

/* Never interrupt one that has stopped: the second trap would stay queued. */
static bool is_moving(const struct tracee *t)
{
	return t->state == TRACEE_RUNNING || t->state == TRACEE_LISTENING;
}

/*
 * The vCPU threads first: one may hold a lock that another thread waits for,
 * and one that waits for a lock must still get it.
 */
static struct err *park_vcpus(struct tracees *ts, unsigned n_vcpus)
{
	struct err *e = NULL;

	for (size_t i = 0; !e && i < ts->n; i++) {
		struct tracee *t = &ts->t[i];

		t->seek = t->watched;
		if (t->seek && is_moving(t))
			e = tracee_ignore_gone(interrupt(t));
	}
	return e ? e : wait_parked(ts, n_vcpus);
}

static const struct tracee *first_unstopped(const struct tracees *ts)
{
	for (size_t i = 0; i < ts->n; i++)
		if (ts->t[i].state != TRACEE_TRAPPED && ts->t[i].state != TRACEE_GONE)
			return &ts->t[i];
	return NULL;
}

static struct err *stop_known(struct tracees *ts, int64_t end)
{
	const struct tracee *late;
	struct err *e = NULL;
	size_t n;

	for (size_t i = 0; !e && i < ts->n; i++) {
		ts->t[i].seek = false;
		if (is_moving(&ts->t[i]))
			e = tracee_ignore_gone(interrupt(&ts->t[i]));
	}
	while (!e && (late = first_unstopped(ts))) {
		if (clock_ms() >= end)
			return err_new(ERR_TIMEOUT, "thread %d of process %d does not stop (state %c)", late->tid,
				       ts->pid, proc_state(late->tid));
		wait_for_child(MAX(MIN(end - clock_ms(), 100), 1));
		e = tracees_take_events(ts, &n);
	}
	return e;
}

/* Until no thread has appeared behind our back. */
static struct err *stop_all(struct tracees *ts, bool new_threads)
{
	int64_t end = clock_ms() + STOP_MS;
	size_t n = 0;
	struct err *e;

	do {
		e = stop_known(ts, end);
		if (!e && new_threads)
			e = seize_new(ts, &n);
	} while (!e && n);
	return e;
}

struct err *tracees_open_mem(struct tracees *ts)
{
	char path[64];

	if (ts->mem_fd >= 0)
		close(ts->mem_fd);
	snprintf(path, sizeof(path), "/proc/%d/mem", ts->pid);
	ts->mem_fd = open(path, O_RDWR | O_CLOEXEC);
	return ts->mem_fd < 0 ? err_sys(errno, "cannot open %s", path) : NULL;
}

static struct err *check_alive(const struct tracees *ts)
{
	for (size_t i = 0; i < ts->n; i++)
		if (ts->t[i].state != TRACEE_GONE)
			return NULL;
	return err_new(ERR_GONE, "process %d has exited", ts->pid);
}

struct err *tracees_halt(struct tracees *ts, unsigned n_vcpus, bool new_threads)
{
	struct err *e;

	ts->running = false;
	/* What was found out about a thread holds as long as no other could change it. */
	for (size_t i = 0; new_threads && i < ts->n; i++)
		ts->t[i].fit_sp = 0;
	e = park_vcpus(ts, n_vcpus);
	if (!e)
		e = stop_all(ts, new_threads);
	return e ? e : check_alive(ts);
}

struct err *tracees_stop(struct tracees *ts, pid_t pid, unsigned n_vcpus, const struct vcpu_thread *hints,
			 size_t n_hints)
{
	struct err *e;
	size_t n;

	*ts = (struct tracees){ .pid = pid, .mem_fd = -1 };
	do {
		e = seize_new(ts, &n);
	} while (!e && n);
	for (size_t i = 0; i < ts->n; i++)
		ts->t[i].watched = n_hints < n_vcpus || is_hinted(hints, n_hints, ts->t[i].tid);
	if (!e)
		e = tracees_halt(ts, n_vcpus, true);
	if (!e)
		e = tracees_open_mem(ts);
	return e;
}

bool tracees_release(struct tracees *ts)
{
	bool clean = true;

	for (size_t i = 0; i < ts->n; i++) {
		struct tracee *t = &ts->t[i];
		struct err *e = NULL;

		if (t->state == TRACEE_GONE)
			continue;
		/* Anywhere else a detach fails, or takes away a signal on its way, which the tracer's end does not. */
		if (t->state == TRACEE_TRAPPED)
			e = tracee_ptrace(PTRACE_DETACH, "PTRACE_DETACH", t, NULL, NULL);
		else
			clean = false;
		clean = clean && (!e || err_code(e) == ERR_GONE);
		err_destroy(e);
	}
	if (ts->mem_fd >= 0)
		close(ts->mem_fd);
	free(ts->t);
	*ts = (struct tracees){ .mem_fd = -1 };
	return clean;
}

bool tracees_reap(struct tracees *ts)
{
	int status;
	pid_t tid;

	while ((tid = waitpid(-1, &status, __WALL | WNOHANG)) > 0) {
		struct tracee *t = find(ts, tid);

		if (t && !WIFSTOPPED(status))
			t->state = TRACEE_GONE;
	}
	for (size_t i = 0; i < ts->n; i++)
		if (ts->t[i].tid == ts->pid)
			return ts->t[i].state == TRACEE_GONE;
	return false;
}

struct err *tracee_wait(struct tracees *ts, struct tracee *t, int *ret_status)
{
	int64_t end = clock_ms() + STOP_MS;

	for (;;) {
		pid_t got = waitpid(t->tid, ret_status, __WALL | WNOHANG);

		if (got == t->tid)
			break;
		if (got < 0 || clock_ms() >= end)
			return err_new(got < 0 ? ERR_GONE : ERR_TIMEOUT, "thread %d of process %d %s", t->tid, ts->pid,
				       got < 0 ? "is gone" : "does not come back from a system call");
		wait_for_child(end - clock_ms());
	}
	if (WIFSTOPPED(*ret_status))
		return NULL;
	t->state = TRACEE_GONE;
	return err_new(ERR_GONE, "process %d has exited", ts->pid);
}

struct err *tracee_run(struct tracees *ts, struct tracee *t, int request, int signal, int *ret_status)
{
	struct err *e = tracee_ptrace(request, request == PTRACE_CONT ? "PTRACE_CONT" : "PTRACE_SYSCALL", t, NULL,
				      (void *)(intptr_t)signal);

	return e ? e : tracee_wait(ts, t, ret_status);
}
