/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/inject.h"

#include <assert.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "guest/proc.h"
#include "guest/step.h"

/* More than any frame: 16 KiB of extended state and the rest of it. */
#define FRAME_BYTES 20480u
#define TEXT_CHUNK_BYTES 65536u
#define SYSCALL_TRAP (SIGTRAP | 0x80)
#define SIGSET_BYTES 8

/* include/linux/errno.h: the first and the last of what an interrupted call leaves for the kernel itself. */
#define ERESTARTSYS 512
#define ERESTART_RESTARTBLOCK 516

/* ---- gadgets ---- */

static const uint8_t *find_aligned(const struct host_pattern *pattern, const uint8_t *text, size_t n)
{
	const uint8_t *end = text + n, *p = memmem(text, n, pattern->bytes, pattern->n);

	while (p && (size_t)(p - text) % host_insn_align)
		p = memmem(p + 1, (size_t)(end - p) - 1, pattern->bytes, pattern->n);
	return p;
}

/* *ret_hva, if not known yet: where one of the patterns is in the n bytes of text at hva. */
static void find_gadget(const struct host_pattern *patterns, uint64_t hva, const uint8_t *text, size_t n,
			uint64_t *ret_hva)
{
	for (; patterns->bytes && !*ret_hva; patterns++) {
		const uint8_t *p = find_aligned(patterns, text, n);

		if (p)
			*ret_hva = hva + (uint64_t)(p - text);
	}
}

static bool has_all(const struct host_gadgets *g)
{
	return g->call && g->sigreturn && g->call_return;
}

/* Looks in [start, end) in chunks that overlap by more than a pattern. Mappings start at a multiple of any alignment. */
static void search_text(struct tracees *ts, uint64_t start, uint64_t end, struct host_gadgets *ret)
{
	const size_t overlap = 16;
	uint8_t *text = xmalloc(TEXT_CHUNK_BYTES);

	for (uint64_t at = start; at < end && !has_all(ret); at += TEXT_CHUNK_BYTES - overlap) {
		size_t n = (size_t)MIN(end - at, (uint64_t)TEXT_CHUNK_BYTES);
		ssize_t got = pread(ts->mem_fd, text, n, (off_t)at);

		if (got <= 0)
			break;
		find_gadget(host_call_patterns, at, text, (size_t)got, &ret->call);
		find_gadget(host_sigreturn_patterns, at, text, (size_t)got, &ret->sigreturn);
		find_gadget(host_call_return_patterns, at, text, (size_t)got, &ret->call_return);
	}
	free(text);
}

/*
 * Code that stays what it is. Guest memory can be executable too, and what stands
 * there is the guest's.
 */
static bool is_code(const struct proc_map *m)
{
	return m->executable && m->readable && !m->writable && !m->shared && (m->inode || !strcmp(m->path, "[vdso]"));
}

/* The C library, its loader and the vDSO, which make system calls; a static program has them in itself. */
static bool is_libc(const struct proc_map *m)
{
	const char *slash = strrchr(m->path, '/');

	if (!strcmp(m->path, "[vdso]"))
		return true;
	return slash && (!strncmp(slash, "/libc.", 6) || !strncmp(slash, "/libc-", 6) || !strncmp(slash, "/ld", 3));
}

/* There first: what else a VMM consists of is large, and the guest may stand still. */
static void search_code(struct tracees *ts, const struct proc_map *maps, size_t n, struct host_gadgets *ret)
{
	for (size_t i = 0; i < n && !has_all(ret); i++)
		if (is_code(&maps[i]) && is_libc(&maps[i]))
			search_text(ts, maps[i].start, maps[i].end, ret);
	for (size_t i = 0; i < n && !(ret->call && ret->sigreturn); i++)
		if (is_code(&maps[i]) && !is_libc(&maps[i]))
			search_text(ts, maps[i].start, maps[i].end, ret);
}

struct err *inject_find_gadgets(struct tracees *ts, struct host_gadgets *ret)
{
	struct host_gadgets g = { 0 };
	struct proc_map *maps;
	size_t n;
	struct err *e = proc_maps_read(ts->pid, &maps, &n);

	if (e)
		return e;
	search_code(ts, maps, n, &g);
	proc_maps_free(maps, n);
	if (!g.call || !g.sigreturn)
		return err_new(ERR_UNSUPPORTED, "process %d has no code to run a system call on safely (%s)", ts->pid,
			       g.call ? "no call of rt_sigreturn" : "no system call followed by a return");
	*ret = g;
	return NULL;
}

/* ---- the thread ---- */

static bool has_filter(pid_t pid, pid_t tid)
{
	struct buf status = { 0 };
	struct err *e = proc_read(&status, "/proc/%d/task/%d/status", pid, tid);
	uint64_t mode = 0;

	if (!e)
		proc_status_field(buf_str(&status), "Seccomp", 10, &mode);
	err_destroy(e);
	buf_deinit(&status);
	return mode != 0;
}

/* Where the frame and the scratch go; false when the stack has no room for them. */
static bool has_room(const struct tracee *t, const struct proc_map *maps, size_t n)
{
	uint64_t sp = host_stack_pointer(&t->regs);
	uint64_t need = host_red_zone_bytes + FRAME_BYTES + INJECT_SCRATCH_BYTES;
	const struct proc_map *m = sp ? proc_map_at(maps, n, sp - 1) : NULL;

	return m && m->writable && sp - m->start > need;
}

/*
 * One in a call is at no delicate place of its own code. A sleep that goes on by
 * restart_syscall(2) comes last: a signal frame ends it with EINTR.
 */
static int delicacy(const struct tracee *t)
{
	struct host_syscall s;

	if (t->parked)
		return 0;
	if (!host_syscall_of(&t->regs, &s))
		return 2;
	return s.result == -ERESTART_RESTARTBLOCK ? 3 : 1;
}

/*
 * Lower is better; -1 cannot be used. KVM lets one thread at a time into a vCPU:
 * a call for it that we leave behind in another thread would wait for the end of
 * its next KVM_RUN, in its own thread there is none to wait for.
 */
static int rank(pid_t pid, const struct tracee *t, int vcpu_fd, const struct proc_map *maps, size_t n)
{
	bool own = t->parked && t->vcpu_fd == vcpu_fd;

	if (t->state != TRACEE_TRAPPED || !has_room(t, maps, n))
		return -1;
	return (own ? 0 : 8) + (has_filter(pid, t->tid) ? 4 : 0) + delicacy(t);
}

/* The thread of a vCPU that was found fit and has not run anything but KVM_RUN since. */
static struct tracee *known_fit(const struct tracees *ts, int vcpu_fd)
{
	for (size_t i = 0; i < ts->n; i++) {
		struct tracee *t = &ts->t[i];

		if (t->state == TRACEE_TRAPPED && t->parked && t->vcpu_fd == vcpu_fd && t->fit_sp &&
		    t->fit_sp == host_stack_pointer(&t->regs))
			return t;
	}
	return NULL;
}

static struct err *choose(struct tracees *ts, int vcpu_fd, struct tracee **ret)
{
	struct tracee *best = NULL;
	struct proc_map *maps;
	int best_rank = -1;
	size_t n;
	struct err *e = proc_maps_read(ts->pid, &maps, &n);

	if (e)
		return e;
	for (size_t i = 0; i < ts->n; i++) {
		int r = rank(ts->pid, &ts->t[i], vcpu_fd, maps, n);

		if (r < 0 || (best && r >= best_rank))
			continue;
		best = &ts->t[i];
		best_rank = r;
	}
	proc_maps_free(maps, n);
	if (!best)
		return err_new(ERR_UNSUPPORTED, "no thread of process %d has room on its stack for a system call",
			       ts->pid);
	*ret = best;
	return NULL;
}

static struct err *set_options(struct injector *in, long options)
{
	return tracee_ptrace(PTRACE_SETOPTIONS, "PTRACE_SETOPTIONS", in->t, NULL, (void *)options);
}

struct err *inject_add_options(struct injector *in, long options)
{
	struct err *e = set_options(in, TRACEE_OPTIONS | in->options | options);

	if (!e)
		in->options |= options;
	return e;
}

static struct err *suspend_filter(struct injector *in)
{
	struct err *e;

	if (!has_filter(in->ts->pid, in->t->tid))
		return NULL;
	e = inject_add_options(in, PTRACE_O_SUSPEND_SECCOMP);
	if (!e) {
		in->seccomp_off = true;
		return NULL;
	}
	return err_suffix(e, "; all threads of the VMM have a seccomp filter: CAP_SYS_ADMIN and a kernel with "
			     "CONFIG_CHECKPOINT_RESTORE are needed to suspend it");
}

static struct err *save_memory(struct injector *in, uint64_t top)
{
	in->scratch = ALIGN_DOWN(in->frame.addr - INJECT_SCRATCH_BYTES, (uint64_t)64);
	in->saved_addr = in->scratch;
	in->low = in->frame.addr;
	return tracees_read(in->ts, in->saved_addr, buf_extend(&in->saved, (size_t)(top - in->saved_addr)),
			    (size_t)(top - in->saved_addr));
}

static struct err *get_sigmask(struct injector *in)
{
	return tracee_ptrace(PTRACE_GETSIGMASK, "PTRACE_GETSIGMASK", in->t, (void *)(uintptr_t)SIGSET_BYTES,
			     &in->sigmask);
}

static struct err *set_sigmask(struct injector *in, uint64_t mask)
{
	return tracee_ptrace(PTRACE_SETSIGMASK, "PTRACE_SETSIGMASK", in->t, (void *)(uintptr_t)SIGSET_BYTES, &mask);
}

static bool must_rewind(const struct tracee *t)
{
	struct host_syscall s;

	/* Asked by the kernel or by host_ask_restart(). */
	return host_syscall_of(&t->regs, &s) && s.result <= -ERESTARTSYS && s.result >= -ERESTART_RESTARTBLOCK;
}

static struct err *put_frame(struct injector *in)
{
	uint64_t top = host_stack_pointer(&in->t->regs) - host_red_zone_bytes;
	struct host_regs back = in->t->regs;
	struct buf frame = { 0 };
	struct err *e;

	if (must_rewind(in->t))
		host_rewind_syscall(&back);
	e = host_build_frame(in->t->tid, &back, &in->gadgets, in->sigmask, top, &frame, &in->frame);
	assert(e || frame.len <= FRAME_BYTES);
	if (!e)
		e = save_memory(in, top);
	if (!e)
		e = tracees_write(in->ts, in->frame.addr, frame.data, frame.len);
	buf_deinit(&frame);
	return e;
}

/* Registers that undo themselves come first: at no moment would the thread go on with its signals blocked. */
static struct err *enter(struct injector *in)
{
	struct host_regs regs = in->t->regs;
	struct err *e;

	host_enter_gadget(&regs, &in->gadgets, &in->frame);
	e = tracee_set_regs(in->t, &regs);
	return e ? e : set_sigmask(in, ~0ull);
}

static struct err *take_thread(struct injector *in, int vcpu_fd)
{
	struct err *e;

	in->t = known_fit(in->ts, vcpu_fd);
	if (in->t)
		return NULL;
	e = choose(in->ts, vcpu_fd, &in->t);
	if (!e)
		e = suspend_filter(in);
	if (!e && !in->seccomp_off)
		in->t->fit_sp = host_stack_pointer(&in->t->regs);
	return e;
}

struct err *inject_begin(struct tracees *ts, const struct host_gadgets *g, int vcpu_fd, struct injector *ret)
{
	struct err *e;

	*ret = (struct injector){ .ts = ts, .gadgets = *g };
	e = take_thread(ret, vcpu_fd);
	if (e && vcpu_fd >= 0) {
		/* Its own thread is jailed and stays so: one that is not will do. */
		err_destroy(e);
		e = take_thread(ret, -1);
	}
	if (!e)
		e = get_sigmask(ret);
	if (!e)
		e = put_frame(ret);
	if (e) {
		buf_deinit(&ret->saved);
		return e;
	}
	e = enter(ret);
	if (e)
		err_destroy(inject_end(ret));
	return e;
}

/*
 * Runs to the next stop of a kind. Traps of a group stop or a queued interrupt on
 * the way are passed, and so is SIGSTOP; nothing else can come with signals blocked
 * but a fault, which is not what this code does.
 */
static struct err *run_to(struct injector *in, int request, bool (*wanted)(int status))
{
	int status, signal = 0;

	for (;;) {
		struct err *e = tracee_run(in->ts, in->t, request, signal, &status);

		if (e)
			return e;
		if (wanted(status))
			return NULL;
		signal = status >> 16 ? 0 : WSTOPSIG(status);
		if (signal == SYSCALL_TRAP)
			signal = 0;
		if (signal && signal != SIGSTOP)
			return err_new(ERR_INVALID, "thread %d got signal %d (%s) in a system call of ours", in->t->tid,
				       signal, strsignal(signal));
	}
}

static bool is_syscall_stop(int status)
{
	return WSTOPSIG(status) == SYSCALL_TRAP;
}

static bool is_trap(int status)
{
	return status >> 16 == PTRACE_EVENT_STOP;
}

static bool is_end_or_child(int status)
{
	return is_syscall_stop(status) || status >> 16 == PTRACE_EVENT_CLONE || status >> 16 == PTRACE_EVENT_VFORK;
}

static struct err *run_to_syscall_stop(struct injector *in)
{
	in->t->state = TRACEE_SYSCALL;
	return run_to(in, PTRACE_SYSCALL, is_syscall_stop);
}

/* To the call's entry. Until it is there the thread would go back through in->frame, and then through after. */
static struct err *start_call(struct injector *in, long nr, const uint64_t args[6], const struct host_frame *after)
{
	struct host_regs regs = in->t->regs;
	struct err *e;

	host_enter_gadget(&regs, &in->gadgets, &in->frame);
	e = tracee_set_regs(in->t, &regs);
	if (!e)
		e = run_to_syscall_stop(in);
	host_set_call(&regs, &in->gadgets, after, nr, args);
	return e ? e : tracee_set_regs(in->t, &regs);
}

static struct err *end_call(struct injector *in, long *ret)
{
	struct host_regs regs;
	struct err *e = tracee_get_regs(in->t, &regs);

	if (!e)
		*ret = host_call_result(&regs);
	return e;
}

static struct err *make_call(struct injector *in, long nr, const uint64_t args[6], const struct host_frame *after,
			     long *ret)
{
	struct err *e = start_call(in, nr, args, after);

	if (!e)
		e = run_to_syscall_stop(in);
	return e ? e : end_call(in, ret);
}

struct err *inject_syscall(struct injector *in, long nr, const uint64_t args[6], long *ret)
{
	return make_call(in, nr, args, &in->frame, ret);
}

struct err *inject_clone(struct injector *in, const uint64_t args[6], pid_t *ret_child, long *ret)
{
	struct err *e = start_call(in, SYS_clone, args, &in->frame);
	struct __ptrace_syscall_info info;
	unsigned long child = 0;

	if (!e)
		e = run_to(in, PTRACE_SYSCALL, is_end_or_child);
	if (!e)
		e = tracee_ptrace(PTRACE_GET_SYSCALL_INFO, "PTRACE_GET_SYSCALL_INFO", in->t, (void *)sizeof(info),
				  &info);
	if (!e && info.op == PTRACE_SYSCALL_INFO_EXIT)
		e = end_call(in, ret);
	else if (!e)
		e = tracee_ptrace(PTRACE_GETEVENTMSG, "PTRACE_GETEVENTMSG", in->t, NULL, &child);
	if (!e)
		*ret_child = (pid_t)child;
	return e;
}

struct err *inject_clone_end(struct injector *in, long *ret)
{
	struct err *e = run_to_syscall_stop(in);

	return e ? e : end_call(in, ret);
}

/* ---- deferred calls ---- */

static struct err *build_call(struct injector *in, long nr, const uint64_t args[6], struct buf *out,
			      struct host_frame *ret)
{
	struct host_regs regs = in->t->regs;
	struct err *e;

	if (!in->gadgets.call_return)
		return err_new(ERR_UNSUPPORTED, "process %d has no code that makes a system call and returns", in->ts->pid);
	host_make_call(&regs, &in->gadgets, &in->frame, nr, args);
	e = host_build_frame(0, &regs, &in->gadgets, ~0ull, in->low, out, ret);
	if (!e && ret->addr < in->scratch + INJECT_NOTE_BYTES)
		e = err_new(ERR_UNSUPPORTED, "too many system calls would have to be undone in process %d", in->ts->pid);
	if (!e)
		e = tracees_write(in->ts, ret->addr, out->data, out->len);
	if (!e)
		in->low = ret->addr;
	return e;
}

struct err *inject_place_call(struct injector *in, long nr, const uint64_t args[6], struct host_frame *ret)
{
	struct buf bytes = { 0 };
	struct err *e = build_call(in, nr, args, &bytes, ret);

	buf_deinit(&bytes);
	return e;
}

struct err *inject_defer(struct injector *in, long nr, const uint64_t args[6], uint64_t *ret_arg)
{
	struct inject_deferred d = { .next = in->frame, .nr = nr };
	int32_t first = (int32_t)args[0];
	struct buf bytes = { 0 };
	struct host_frame f;
	const char *at;
	struct err *e;

	memcpy(d.args, args, sizeof(d.args));
	if (in->n_deferred == INJECT_MAX_DEFERRED)
		return err_new(ERR_UNSUPPORTED, "too many system calls would have to be undone in process %d", in->ts->pid);
	e = build_call(in, nr, args, &bytes, &f);
	at = e ? NULL : memmem(bytes.data, bytes.len, &first, sizeof(first));
	if (!e && ret_arg)
		*ret_arg = at ? f.addr + (uint64_t)(at - bytes.data) : 0;
	/* A filter that is suspended is back when we are gone. */
	if (!e && !in->seccomp_off)
		in->frame = f;
	if (!e)
		in->deferred[in->n_deferred++] = d;
	buf_deinit(&bytes);
	return e;
}

struct err *inject_undo(struct injector *in)
{
	struct err *e = NULL;

	while (!e && in->n_deferred) {
		struct inject_deferred *d = &in->deferred[in->n_deferred - 1];
		long result;

		e = make_call(in, d->nr, d->args, &d->next, &result);
		if (e)
			break;
		in->frame = d->next;
		in->n_deferred--;
	}
	in->low = in->frame.addr;
	return e;
}

struct err *inject_ioctl(struct injector *in, int fd, unsigned long request, void *data, size_t bytes, long *ret)
{
	const uint64_t args[6] = { (uint64_t)fd, request, in->scratch };
	struct err *e = NULL;

	assert(bytes <= INJECT_SCRATCH_BYTES);
	if (bytes)
		e = tracees_write(in->ts, in->scratch, data, bytes);
	if (!e)
		e = inject_syscall(in, SYS_ioctl, args, ret);
	if (!e && bytes)
		e = tracees_read(in->ts, in->scratch, data, bytes);
	return e;
}

void inject_set_pointer(const struct injector *in, void *data, size_t at, size_t points_to)
{
	uint64_t pointer = in->scratch + points_to;

	memcpy((char *)data + at, &pointer, sizeof(pointer));
}

/* From wherever it is into the trap of an interrupt, before any instruction of its own. */
static struct err *back_to_trap(struct injector *in)
{
	struct err *e = tracee_ptrace(PTRACE_INTERRUPT, "PTRACE_INTERRUPT", in->t, NULL, NULL);

	if (!e)
		e = run_to(in, PTRACE_CONT, is_trap);
	if (!e)
		in->t->state = TRACEE_TRAPPED;
	return e;
}

/* Registers first: from then on nothing points to the frame, which goes last. */
struct err *inject_end(struct injector *in)
{
	struct err *e = in->t->state == TRACEE_SYSCALL ? back_to_trap(in) : NULL;

	if (!e)
		e = set_sigmask(in, in->sigmask);
	if (!e)
		e = tracee_set_regs(in->t, &in->t->regs);
	if (!e)
		e = tracees_write(in->ts, in->saved_addr, in->saved.data, in->saved.len);
	if (!e && in->options)
		e = set_options(in, TRACEE_OPTIONS);
	buf_deinit(&in->saved);
	return e;
}

struct err *inject_end_after(struct injector *in, struct err *e, bool *ret_stuck)
{
	struct err *end = inject_end(in);

	if ((e && err_code(e) == ERR_TIMEOUT) || (end && err_code(end) != ERR_GONE))
		*ret_stuck = true;
	if (!e)
		return end;
	err_destroy(end);
	return e;
}
