/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/watch.h"

#include <linux/kvm.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "guest/kvm_fds.h"
#include "guest/kvm_run_page.h"

/* KVM_SET_USER_MEMORY_REGION2 of Linux 6.8 on; its struct begins as the older one. */
#define SET_REGION2_NR 0x49u
#define KCMP_FILE 0

/* A slot that a thread has asked for; KVM has not answered yet. */
struct pending {
	pid_t tid;
	struct watched_slot slot;
};

struct watch {
	struct tracees *ts;
	int pidfd;
	struct tracee_watch calls;
	struct tracee_hooks hold;
	struct watched seen;
	struct pending *pending;
	size_t n_pending;
};

/* ---- what the VMM asks of KVM ---- */

static bool is_set_region(unsigned request)
{
	return request == (unsigned)KVM_SET_USER_MEMORY_REGION ||
	       (_IOC_TYPE(request) == KVMIO && _IOC_NR(request) == SET_REGION2_NR);
}

/* The descriptor that the VM was made with, of which fd may be a copy; -1: of no VM that we know. */
static int known_vm(const struct watch *w, int fd)
{
	for (size_t i = 0; i < w->seen.n_vms; i++)
		if (w->seen.vms[i] == fd)
			return fd;
	for (size_t i = 0; i < w->seen.n_vms; i++)
		if (!syscall(SYS_kcmp, w->ts->pid, w->ts->pid, KCMP_FILE, fd, w->seen.vms[i]))
			return w->seen.vms[i];
	return -1;
}

static void forget_pending(struct watch *w, pid_t tid, struct watched_slot *ret)
{
	for (size_t i = w->n_pending; i-- > 0;) {
		if (w->pending[i].tid != tid)
			continue;
		*ret = w->pending[i].slot;
		w->pending[i] = w->pending[--w->n_pending];
	}
}

/* At the entry: the VMM may have reused the struct's memory when KVM answers. */
static void on_set_region(struct watch *w, pid_t tid, const struct host_syscall *s)
{
	struct kvm_userspace_memory_region r;
	struct iovec own = { &r, sizeof(r) }, its = { (void *)(uintptr_t)s->args[2], sizeof(r) };
	int vm = known_vm(w, (int)s->args[0]);

	if (vm < 0 || process_vm_readv(tid, &own, 1, &its, 1, 0) != sizeof(r))
		return;
	w->pending = xreallocarray(w->pending, w->n_pending + 1, sizeof(*w->pending));
	w->pending[w->n_pending++] = (struct pending){
		.tid = tid,
		.slot = { vm, r.slot, r.flags, r.guest_phys_addr, r.memory_size, r.userspace_addr },
	};
}

static void on_answer(struct watch *w, pid_t tid, const struct host_syscall *s)
{
	struct watched_slot slot = { .vm_fd = -1 };
	unsigned request = (unsigned)s->args[1];

	if (is_set_region(request))
		forget_pending(w, tid, &slot);
	if (s->result < 0)
		return;
	if (slot.vm_fd >= 0)
		watched_set_slot(&w->seen, &slot);
	else if (request == KVM_CREATE_VM)
		watched_set_vm(&w->seen, (int)s->result);
	else if (request == KVM_CREATE_VCPU)
		watched_set_vcpu(&w->seen, known_vm(w, (int)s->args[0]), (int)s->result);
}

static void on_call(void *ctx, pid_t tid, bool entry, const struct host_syscall *s)
{
	struct watch *w = ctx;

	if (s->nr != SYS_ioctl)
		return;
	if (!entry)
		on_answer(w, tid, s);
	else if (is_set_region((unsigned)s->args[1]))
		on_set_region(w, tid, s);
}

/* ---- holding vCPUs ---- */

/* A VMM may go through KVM_RUN with no guest code run, as it sets up its vCPUs one after the other. */
static bool may_enter(void *ctx, int vcpu_fd)
{
	const struct watch *w = ctx;
	struct kvm_run *run = kvm_run_page_map(w->pidfd, vcpu_fd);
	bool runs_nothing = run && run->immediate_exit;

	kvm_run_page_unmap(run);
	return runs_nothing;
}

static bool is_ours(void *ctx, int vcpu_fd)
{
	(void)ctx;
	(void)vcpu_fd;
	return false;
}

static bool any_parked(const struct tracees *ts)
{
	for (size_t i = 0; i < ts->n; i++)
		if (ts->t[i].parked && ts->t[i].state == TRACEE_TRAPPED)
			return true;
	return false;
}

/* ---- all of it ---- */

struct watch *watch_create(struct tracees *ts)
{
	struct watch *w = xcalloc(1, sizeof(*w));

	w->ts = ts;
	w->pidfd = (int)syscall(SYS_pidfd_open, ts->pid, 0);
	w->calls = (struct tracee_watch){ on_call, w };
	w->hold = (struct tracee_hooks){ .may_enter = may_enter, .is_ours = is_ours, .ctx = w };
	ts->watch = &w->calls;
	return w;
}

void watch_destroy(struct watch *w)
{
	if (!w)
		return;
	w->ts->watch = NULL;
	w->ts->hooks = NULL;
	if (w->pidfd >= 0)
		close(w->pidfd);
	watched_deinit(&w->seen);
	free(w->pending);
	free(w);
}

struct err *watch_run(struct watch *w, bool hold)
{
	struct tracees *ts = w->ts;
	struct err *e = NULL;

	ts->hooks = hold ? &w->hold : NULL;
	ts->running = true;
	for (size_t i = 0; !e && i < ts->n; i++)
		if (ts->t[i].state == TRACEE_TRAPPED)
			e = tracee_ignore_gone(tracee_let_go(ts, &ts->t[i]));
	return e;
}

struct err *watch_turn(struct watch *w, bool *ret_held)
{
	size_t n;
	struct err *e = tracees_take_events(w->ts, &n);

	*ret_held = w->ts->hooks == &w->hold && any_parked(w->ts);
	return e;
}

/* Threads that may run a vCPU are those that did, and all as long as not each vCPU has one. */
static unsigned choose_watched(struct tracees *ts)
{
	struct kvm_fds f = { 0 };
	struct err *e = kvm_fds_read(ts->pid, &f);
	size_t n_vcpus = f.n_vcpus, known = 0;

	err_destroy(e);
	kvm_fds_deinit(&f);
	for (size_t i = 0; i < ts->n; i++)
		known += ts->t[i].vcpu_fd >= 0 && ts->t[i].state != TRACEE_GONE;
	for (size_t i = 0; i < ts->n; i++)
		ts->t[i].watched = ts->t[i].vcpu_fd >= 0 || known < n_vcpus;
	return (unsigned)n_vcpus;
}

struct err *watch_halt(struct watch *w)
{
	struct err *e = tracees_halt(w->ts, choose_watched(w->ts), true);

	/* A program that was executed since has memory of its own. */
	return e ? e : tracees_open_mem(w->ts);
}

const struct watched *watch_seen(const struct watch *w)
{
	return &w->seen;
}
