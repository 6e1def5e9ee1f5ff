/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/vmm_fork.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "guest/proc.h"
#include "guest/step.h"
#include "guest/vmm_uffd.h"

#define COPY_NAME "vmgdb-snapshot"
/* No process has this number: PID_MAX_LIMIT is 4 Mi. */
#define NOBODY 0x7fffff77u

_Static_assert(sizeof(COPY_NAME) <= INJECT_NOTE_BYTES, "the name fits");

/*
 * The VMM's thread cannot make the copy itself: it would be the VMM's child, and a zombie
 * of it if nobody is left to have it waited for. A helper does, that shares the VMM's memory
 * and ends at once; the thread meanwhile sits in vfork's wait, so that its stack, on which
 * the helper stands, stays as it is. The copy then has the reaper of orphans for its parent.
 */
struct helper {
	struct tracee thread;
	struct injector in;
};

/* What it is to make. */
struct order {
	bool copy, uffd;
};

static struct err *take_trap(struct tracees *ts, struct tracee *t)
{
	int status;
	struct err *e = tracee_wait(ts, t, &status);

	if (!e && status >> 16 != PTRACE_EVENT_STOP)
		e = err_new(ERR_INVALID, "process %d, just made, stopped with status 0x%x", t->tid, (unsigned)status);
	if (!e)
		e = tracee_get_regs(t, &t->regs);
	t->state = TRACEE_TRAPPED;
	return e;
}

static void end_process(pid_t pid)
{
	kill(pid, SIGKILL);
	step_point("guardian", "SIGKILL");
	while (waitpid(pid, NULL, __WALL) > 0 || errno == EINTR)
		;
	step_point("guardian", "waitpid");
}

static struct err *refused(const struct tracees *ts, const char *what, long result)
{
	const char *why = strerror((int)-result);

	if (result == -EAGAIN)
		why = "the number of processes is limited (RLIMIT_NPROC, or pids.max of its cgroup)";
	if (result == -ENOMEM)
		why = "the kernel does not promise that much memory again (see /proc/sys/vm/overcommit_memory)";
	return err_new(ERR_UNSUPPORTED, "process %d cannot %s: %s", ts->pid, what, why);
}

static struct err *call(struct injector *in, const char *what, long nr, const uint64_t args[6])
{
	long result;
	struct err *e = inject_syscall(in, nr, args, &result);

	return !e && result < 0 ? refused(in->ts, what, result) : e;
}

/* ---- in the helper ---- */

/* What it has open is the VMM's; the copy must keep none of it from being closed. */
static struct err *close_all(struct injector *in)
{
	const uint64_t args[6] = { 0, ~0u, CLOSE_RANGE_UNSHARE };

	return call(in, "be copied without its descriptors", SYS_close_range, args);
}

static struct err *set_name(struct injector *in)
{
	const uint64_t args[6] = { PR_SET_NAME, in->scratch };
	struct err *e = tracees_write(in->ts, in->scratch, COPY_NAME, sizeof(COPY_NAME));

	return e ? e : call(in, "name a copy", SYS_prctl, args);
}

static struct err *make_copy(struct helper *h, pid_t *ret)
{
	struct tracee copy = { .vcpu_fd = -1 };
	uint64_t args[6];
	long result = 0;
	struct err *e;

	host_clone_args(CLONE_FILES | CLONE_FS, h->in.frame.sp, 0, args);
	e = inject_clone(&h->in, args, &copy.tid, &result);
	if (!e && !copy.tid)
		return refused(h->in.ts, "be copied", result);
	if (!e)
		e = take_trap(h->in.ts, &copy);
	if (e && copy.tid)
		end_process(copy.tid);
	if (e)
		return e;
	/* Else it would be the VMM, whose memory it keeps in use. */
	proc_set_oom_score(copy.tid, 1000);
	*ret = copy.tid;
	return NULL;
}

static struct err *make_uffd(struct helper *h, int *ret)
{
	struct err *e = vmm_uffd(&h->in, ret);

	return e ? e : close_all(&h->in);
}

/* Of the stopped helper. Its own end at our death comes first: the copy inherits that. */
static struct err *use_helper(struct helper *h, const struct order *o, struct vmm_forked *ret)
{
	struct err *e = take_trap(h->in.ts, &h->thread);

	/* The guest stands still while it works. */
	setpriority(PRIO_PROCESS, (id_t)h->thread.tid, -20);
	if (!e)
		e = inject_add_options(&h->in, PTRACE_O_EXITKILL);
	if (!e)
		e = close_all(&h->in);
	if (!e)
		e = set_name(&h->in);
	if (!e && o->uffd)
		e = make_uffd(h, &ret->uffd);
	return e || !o->copy ? e : make_copy(h, &ret->copy);
}

/* ---- in the VMM's thread ---- */

/* exit: the frame on which a helper, or a copy, that nobody traces ends itself. */
static struct err *start_helper(struct injector *in, const struct host_frame *exit, uint64_t pid_hva,
				struct helper *ret)
{
	uint64_t args[6];
	long result = 0;
	struct err *e = inject_add_options(in, PTRACE_O_TRACEVFORK);

	*ret = (struct helper){ .thread = { .vcpu_fd = -1 }, .in = *in };
	host_clone_args(CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_FS | CLONE_PARENT_SETTID, exit->sp, pid_hva, args);
	if (!e)
		e = inject_clone(in, args, &ret->thread.tid, &result);
	if (!e && !ret->thread.tid)
		e = refused(in->ts, "be copied", result);
	ret->in.t = &ret->thread;
	ret->in.frame = *exit;
	ret->in.n_deferred = 0;
	return e;
}

static struct err *end_helper(struct injector *in, const struct helper *h)
{
	long pid;
	struct err *e;

	end_process(h->thread.tid);
	e = inject_clone_end(in, &pid);
	/* As the VMM's own namespace counts. */
	if (!e)
		in->deferred[in->n_deferred - 1].args[0] = (uint64_t)pid;
	return e;
}

/* What was made is *ret's on failure too. */
static struct err *fork_once(struct injector *in, const struct order *o, struct vmm_forked *ret)
{
	const uint64_t status[6] = { 0 }, wait[6] = { NOBODY, 0, __WALL };
	struct host_frame exit;
	struct helper h;
	uint64_t pid_hva;
	struct err *e = inject_place_call(in, SYS_exit_group, status, &exit), *end;

	if (!e)
		e = inject_defer(in, SYS_wait4, wait, &pid_hva);
	if (!e)
		e = start_helper(in, &exit, pid_hva ? pid_hva : in->scratch, &h);
	if (e)
		return e;
	e = use_helper(&h, o, ret);
	end = end_helper(in, &h);
	if (!e)
		return end;
	err_destroy(end);
	return e;
}

/* ---- memory that a VMM does not let its children have ---- */

static bool is_shared_out(const struct injector *in, const struct proc_map *map)
{
	for (size_t i = 0; i < in->n_deferred; i++)
		if (in->deferred[i].nr == SYS_madvise && in->deferred[i].args[0] == map->start)
			return true;
	return false;
}

static struct err *share_map(struct injector *in, const struct proc_map *map)
{
	const uint64_t bytes = map->end - map->start;
	const uint64_t with[6] = { map->start, bytes, MADV_DOFORK }, without[6] = { map->start, bytes, MADV_DONTFORK };
	struct err *e = inject_defer(in, SYS_madvise, without, NULL);

	return e ? e : call(in, "let its memory be copied", SYS_madvise, with);
}

struct maps {
	struct proc_map *m;
	size_t n;
};

/* The VMM's mappings under the range that the copy has not. */
static struct err *share_range(struct injector *in, const struct maps *own, const struct maps *copied,
			       const struct vmm_range *r, size_t *ret_n)
{
	struct err *e = NULL;

	for (uint64_t at = r->hva; !e && at - r->hva < r->bytes;) {
		const struct proc_map *map = proc_map_at(own->m, own->n, at);

		if (!map)
			return err_new(ERR_UNMAPPED, "the VMM has unmapped its memory at 0x%" PRIx64, at);
		if (!proc_map_at(copied->m, copied->n, at) && !is_shared_out(in, map)) {
			e = share_map(in, map);
			++*ret_n;
		}
		at = map->end;
	}
	return e;
}

/* *ret_n: how many mappings the copy lacks, which the next one will have. */
static struct err *share_missing(struct injector *in, pid_t copy, const struct vmm_range *ranges, size_t n,
				 size_t *ret_n)
{
	struct maps own = { 0 }, copied = { 0 };
	struct err *e = proc_maps_read(in->ts->pid, &own.m, &own.n);

	*ret_n = 0;
	if (!e)
		e = proc_maps_read(copy, &copied.m, &copied.n);
	for (size_t i = 0; !e && i < n; i++)
		e = share_range(in, &own, &copied, &ranges[i], ret_n);
	proc_maps_free(own.m, own.n);
	proc_maps_free(copied.m, copied.n);
	return e;
}

/*
 * Flags of mappings stand in smaps alone, which takes as long to read as the copy to be
 * made; what a first copy lacks tells them as well, and it is cheap as it lacks them.
 */
static struct err *fork_all(struct injector *in, const struct vmm_range *ranges, size_t n, bool uffd,
			    struct vmm_forked *ret)
{
	size_t missing = 0;
	struct err *e = fork_once(in, &(struct order){ n > 0, uffd }, ret);

	if (!e && n)
		e = share_missing(in, ret->copy, ranges, n, &missing);
	if (e || !missing)
		return e;
	end_process(ret->copy);
	ret->copy = 0;
	return fork_once(in, &(struct order){ .copy = true }, ret);
}

static void drop(const struct vmm_forked *f)
{
	if (f->copy)
		end_process(f->copy);
	if (f->uffd >= 0)
		close(f->uffd);
}

struct err *vmm_fork(struct tracees *ts, const struct host_gadgets *g, const struct vmm_range *ranges, size_t n,
		     bool uffd, struct vmm_forked *ret, bool *ret_stuck)
{
	struct vmm_forked forked = { .uffd = -1 };
	struct injector in;
	struct err *e = inject_begin(ts, g, -1, &in), *undo;

	if (e)
		return e;
	e = fork_all(&in, ranges, n, uffd, &forked);
	undo = inject_undo(&in);
	e = inject_end_after(&in, e ? e : undo, ret_stuck);
	if (e)
		drop(&forked);
	else
		*ret = forked;
	return e;
}
