/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/armed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "guest/inject.h"
#include "guest/kvm_run_page.h"
#include "guest/step.h"

/* How long a vCPU that runs alone may do without the other threads of the VMM. */
#define ALONE_MS 20
#define PAGE_BYTES 4096u

/* A vCPU whose breakpoint is passed over goes first, on its own; then all do what they were told. */
enum phase { PHASE_OVER, PHASE_MAIN };

struct patch {
	struct guardian_patch at;
	uint8_t saved[KVM_DEBUG_MAX_INSN_BYTES];
	bool in_memory;
};

struct armed_vcpu {
	struct guardian_vcpu order;
	struct patch next[KVM_DEBUG_MAX_NEXT]; /* of the order: n_next */
	struct kvm_arming set; /* what KVM has */
	struct kvm_run *run;        /* the page that KVM and the VMM share; NULL: cannot be had */
	bool over_left;             /* the instruction at its breakpoint has not been passed */
	bool rests;                 /* it has a hit, or has passed its breakpoint before others have */
	bool stale;                 /* what is watched is compared with what it was before others wrote */
	bool has_exception;         /* the guest is to get that of exception */
	struct kvm_hit exception;
};

struct armed {
	struct tracees *ts;
	const struct host_gadgets *gadgets;
	int pidfd;
	struct tracee_hooks hooks;
	struct armed_vcpu *vcpus;
	size_t n_vcpus;
	struct patch *patches;
	size_t n_patches;
	struct kvm_hit *hits;
	size_t n_hits;
	int *left; /* descriptors of vCPUs with over_left at the halt */
	size_t n_left;
	enum phase phase;
	bool arm_new;
	struct kvm_arming new_debug;
	unsigned all_vcpus;
	bool others_run; /* threads that run no vCPU of ours */
	bool stuck;
	int64_t alone_until;
};

/* ---- vCPUs ---- */

static struct armed_vcpu *find_vcpu(const struct armed *a, int fd)
{
	for (size_t i = 0; i < a->n_vcpus; i++)
		if (a->vcpus[i].order.fd == fd)
			return &a->vcpus[i];
	return NULL;
}

static struct err *add_vcpu(struct armed *a, int fd, struct armed_vcpu **ret)
{
	struct kvm_run *run = kvm_run_page_map(a->pidfd, fd);

	if (!run)
		return err_sys(errno, "cannot map what KVM tells of vCPU descriptor %d", fd);
	a->vcpus = xreallocarray(a->vcpus, a->n_vcpus + 1, sizeof(*a->vcpus));
	a->vcpus[a->n_vcpus] = (struct armed_vcpu){ .order.fd = fd, .run = run };
	*ret = &a->vcpus[a->n_vcpus++];
	return NULL;
}

/* Breakpoint instructions behind the one that is passed over are there for all: one vCPU after the other passes its own. */
static bool is_its_turn(const struct armed *a, const struct armed_vcpu *v)
{
	for (const struct armed_vcpu *before = a->vcpus; before < v; before++)
		if (before->over_left && before->order.n_next)
			return false;
	return v->over_left;
}

static bool may_run(const struct armed *a, const struct armed_vcpu *v)
{
	if (v->rests || v->order.action == RUN_HOLD)
		return false;
	return a->phase == PHASE_MAIN || is_its_turn(a, v);
}

static const struct kvm_arming *wanted(const struct armed *a, const struct armed_vcpu *v)
{
	return a->phase == PHASE_OVER ? &v->order.over_debug : &v->order.debug;
}

static bool is_armed(const struct armed *a, const struct armed_vcpu *v)
{
	const struct kvm_arming *d = wanted(a, v);

	if (v->stale && d->debug.control & KVM_GUESTDBG_USE_HW_BP)
		return false;
	return !v->has_exception && !memcmp(&v->set, d, sizeof(v->set));
}

/* pointer_at: as kvm_debug_pointer_at. */
static struct err *call_kvm(struct armed *a, int fd, unsigned long request, void *data, size_t bytes, size_t pointer_at)
{
	struct injector in;
	long result = 0;
	struct err *e = inject_begin(a->ts, a->gadgets, fd, &in);

	if (e)
		return e;
	if (pointer_at)
		inject_set_pointer(&in, data, pointer_at, offsetof(struct kvm_arming, list));
	e = inject_ioctl(&in, fd, request, data, bytes, &result);
	e = inject_end_after(&in, e, &a->stuck);
	if (!e && result < 0)
		e = err_sys((int)-result, "cannot set debug registers of vCPU descriptor %d", fd);
	return e;
}

/* KVM gives the guest the exception alone, and its handler would take it for a false alarm. */
static struct err *tell_cause(struct armed *a, const struct armed_vcpu *v)
{
	uint64_t regs[KVM_DEBUG_CAUSE_BYTES / sizeof(uint64_t)];
	struct err *e = call_kvm(a, v->order.fd, kvm_debug_get_cause, regs, sizeof(regs), 0);

	if (e)
		return e;
	kvm_debug_set_cause(regs, &v->exception);
	return call_kvm(a, v->order.fd, kvm_debug_put_cause, regs, sizeof(regs), 0);
}

static struct err *set_debug(struct armed *a, struct armed_vcpu *v, const struct kvm_arming *d)
{
	struct kvm_arming now = *d;

	/* Should the call fail half-way it is undone as if it had not. */
	v->set = *d;
	v->stale = false;
	if (v->has_exception)
		kvm_debug_add_exception(&now, &v->exception);
	/* At worst the guest has it without its cause: what is armed must follow all the same. */
	if (v->has_exception && v->exception.kind == KVM_HIT_GUESTS)
		err_destroy(tell_cause(a, v));
	v->has_exception = false;
	return call_kvm(a, v->order.fd, KVM_SET_GUEST_DEBUG, &now, sizeof(now), kvm_debug_pointer_at);
}

/* Where a step starts KVM takes from the registers at this call: each step needs its own. */
static struct err *arm(struct armed *a, struct armed_vcpu *v)
{
	const struct kvm_arming *d = wanted(a, v);

	if (is_armed(a, v) && !(d->debug.control & KVM_GUESTDBG_SINGLESTEP))
		return NULL;
	return set_debug(a, v, d);
}

/* ---- breakpoint instructions ---- */

static struct err *put_patches(struct armed *a, struct patch *patches, size_t n)
{
	struct err *e = NULL;

	for (size_t i = 0; !e && i < n; i++) {
		struct patch *p = &patches[i];

		if (p->in_memory)
			continue;
		e = tracees_read(a->ts, p->at.hva, p->saved, kvm_debug_insn_bytes);
		p->in_memory = !e;
		if (!e)
			e = tracees_write(a->ts, p->at.hva, kvm_debug_insn, kvm_debug_insn_bytes);
	}
	return e;
}

/* The guest may have written something else there meanwhile, which stays. */
static void take_patch(struct armed *a, struct patch *p)
{
	uint8_t now[KVM_DEBUG_MAX_INSN_BYTES];
	struct err *e = tracees_read(a->ts, p->at.hva, now, kvm_debug_insn_bytes);

	if (!e && !memcmp(now, kvm_debug_insn, kvm_debug_insn_bytes))
		e = tracees_write(a->ts, p->at.hva, p->saved, kvm_debug_insn_bytes);
	/* Memory that is no longer there needs no breakpoint taken out. */
	err_destroy(e);
	p->in_memory = false;
}

/* The last first: two may be at one place. */
static void take_patches(struct armed *a, struct patch *patches, size_t n)
{
	while (n-- > 0)
		if (patches[n].in_memory)
			take_patch(a, &patches[n]);
}

static void take_all_patches(struct armed *a)
{
	take_patches(a, a->patches, a->n_patches);
	for (size_t i = 0; i < a->n_vcpus; i++)
		take_patches(a, a->vcpus[i].next, a->vcpus[i].order.n_next);
}

/* The same page may be mapped at another address. */
static bool is_patched(const struct patch *patches, size_t n, uint64_t pc)
{
	for (size_t i = 0; i < n; i++)
		if (patches[i].in_memory && !((patches[i].at.gva ^ pc) % PAGE_BYTES))
			return true;
	return false;
}

/* ---- what the threads' tracer asks ---- */

static bool hook_may_enter(void *ctx, int fd)
{
	const struct armed *a = ctx;
	const struct armed_vcpu *v = find_vcpu(a, fd);

	return v ? may_run(a, v) && is_armed(a, v) : !a->arm_new;
}

static bool read_hit(const struct armed *a, const struct armed_vcpu *v, struct kvm_hit *ret)
{
	kvm_debug_read_exit(v->run, &v->set, ret);
	ret->vcpu_fd = v->order.fd;
	if (ret->kind != KVM_HIT_SOFTWARE)
		return ret->kind != KVM_HIT_NONE;
	if (is_patched(v->next, v->order.n_next, ret->pc))
		ret->kind = KVM_HIT_STEP;
	else if (!is_patched(a->patches, a->n_patches, ret->pc) && kvm_debug_foreign == KVM_FOREIGN_PASS)
		return false;
	return true;
}

/* Is it the guest's own affair that it stopped? */
static bool is_guests(const struct armed *a, const struct kvm_hit *hit)
{
	return hit->kind == KVM_HIT_GUESTS ||
	       (hit->kind == KVM_HIT_SOFTWARE && kvm_debug_foreign == KVM_FOREIGN_EXCEPTION &&
		!is_patched(a->patches, a->n_patches, hit->pc));
}

static bool hook_is_ours(void *ctx, int fd)
{
	const struct armed_vcpu *v = find_vcpu(ctx, fd);
	struct kvm_hit hit;

	return v && read_hit(ctx, v, &hit);
}

static void hook_take_exit(void *ctx, int fd)
{
	struct armed *a = ctx;
	struct armed_vcpu *v = find_vcpu(a, fd);
	struct kvm_hit hit;
	bool over = v->over_left;

	read_hit(a, v, &hit);
	kvm_debug_hide_exit(v->run, &hit);
	take_patches(a, v->next, v->order.n_next);
	if (is_guests(a, &hit)) {
		v->has_exception = true;
		v->exception = hit;
		return;
	}
	v->over_left = false;
	v->rests = true;
	if (over && hit.kind == KVM_HIT_STEP && v->order.action == RUN_CONTINUE)
		return;
	a->hits = xreallocarray(a->hits, a->n_hits + 1, sizeof(*a->hits));
	a->hits[a->n_hits++] = hit;
}

/* ---- running ---- */

static struct armed_vcpu *vcpu_of(const struct armed *a, const struct tracee *t)
{
	return t->vcpu_fd < 0 ? NULL : find_vcpu(a, t->vcpu_fd);
}

/* One that has come up while the guest ran. */
static struct err *arm_new_vcpu(struct armed *a, int fd)
{
	struct armed_vcpu *v;
	struct err *e = add_vcpu(a, fd, &v);

	if (e)
		return e;
	v->order.action = RUN_CONTINUE;
	v->order.debug = a->new_debug;
	return NULL;
}

static struct err *settle_thread(struct armed *a, struct tracee *t)
{
	struct armed_vcpu *v = vcpu_of(a, t);
	struct err *e = NULL;

	if (!v && a->arm_new) {
		e = arm_new_vcpu(a, t->vcpu_fd);
		v = vcpu_of(a, t);
	}
	if (e || (v ? !may_run(a, v) : !a->others_run))
		return e;
	if (v)
		e = arm(a, v);
	if (!e && v && a->phase == PHASE_OVER)
		e = put_patches(a, v->next, v->order.n_next);
	return tracee_ignore_gone(e ? e : tracee_let_go(a->ts, t));
}

/* Of the threads that are parked those go on that have no reason to stay. */
static struct err *settle(struct armed *a)
{
	struct err *e = NULL;

	for (size_t i = 0; !e && i < a->ts->n; i++)
		if (a->ts->t[i].state == TRACEE_TRAPPED && a->ts->t[i].parked)
			e = settle_thread(a, &a->ts->t[i]);
	return e;
}

static struct err *let_others_go(struct armed *a)
{
	struct err *e = NULL;

	a->others_run = true;
	for (size_t i = 0; !e && i < a->ts->n; i++) {
		struct tracee *t = &a->ts->t[i];

		if (t->state == TRACEE_TRAPPED && !(t->parked && vcpu_of(a, t)))
			e = tracee_ignore_gone(tracee_let_go(a->ts, t));
	}
	return e;
}

static bool any_continues(const struct armed *a)
{
	for (size_t i = 0; i < a->n_vcpus; i++)
		if (a->vcpus[i].order.action == RUN_CONTINUE)
			return true;
	return false;
}

static bool any_over_left(const struct armed *a)
{
	for (size_t i = 0; i < a->n_vcpus; i++)
		if (a->vcpus[i].over_left)
			return true;
	return false;
}

static struct err *begin_main(struct armed *a)
{
	struct err *e = put_patches(a, a->patches, a->n_patches);

	a->phase = PHASE_MAIN;
	for (size_t i = 0; i < a->n_vcpus; i++)
		a->vcpus[i].rests = false;
	if (!e && !a->others_run && any_continues(a))
		e = let_others_go(a);
	return e ? e : settle(a);
}

static struct err *take_orders(struct armed *a, const struct guardian_run *run)
{
	for (size_t i = 0; i < a->n_vcpus; i++)
		a->vcpus[i].order = (struct guardian_vcpu){ .fd = a->vcpus[i].order.fd };
	for (size_t i = 0; i < run->n_vcpus; i++) {
		struct armed_vcpu *v = find_vcpu(a, run->vcpus[i].fd);
		struct err *e = v ? NULL : add_vcpu(a, run->vcpus[i].fd, &v);

		if (e)
			return e;
		v->order = run->vcpus[i];
		v->over_left = v->order.over && v->order.action != RUN_HOLD;
		v->rests = false;
		v->stale = kvm_debug_watches_memory;
		for (unsigned n = 0; n < v->order.n_next; n++)
			v->next[n] = (struct patch){ .at = v->order.next[n] };
	}
	free(a->patches);
	a->patches = xcalloc(run->n_patches, sizeof(*a->patches));
	a->n_patches = run->n_patches;
	for (size_t i = 0; i < run->n_patches; i++)
		a->patches[i].at = run->patches[i];
	a->arm_new = run->arm_new;
	a->new_debug = run->new_debug;
	return NULL;
}

static bool has_thread(const struct armed *a, int fd)
{
	for (size_t i = 0; i < a->ts->n; i++)
		if (a->ts->t[i].vcpu_fd == fd && a->ts->t[i].state != TRACEE_GONE)
			return true;
	return false;
}

/* The threads of our vCPUs; as long as one is not known, all that may be. */
static void choose_watched(struct armed *a)
{
	bool all_known = true;

	for (size_t i = 0; i < a->n_vcpus; i++)
		all_known = all_known && has_thread(a, a->vcpus[i].order.fd);
	for (size_t i = 0; i < a->ts->n; i++) {
		struct tracee *t = &a->ts->t[i];

		t->watched = t->vcpu_fd < 0 ? !all_known : vcpu_of(a, t) != NULL;
		t->calls = 0;
	}
}

struct err *armed_start(struct armed *a, const struct guardian_run *run, unsigned n_vcpus)
{
	struct err *e = take_orders(a, run);

	if (e)
		return e;
	a->n_hits = a->n_left = 0;
	a->all_vcpus = n_vcpus;
	a->others_run = false;
	a->alone_until = clock_ms() + ALONE_MS;
	a->ts->hooks = &a->hooks;
	a->ts->running = true;
	a->ts->strayed = false;
	choose_watched(a);
	if (!any_over_left(a))
		return begin_main(a);
	a->phase = PHASE_OVER;
	return settle(a);
}

static struct err *next_phase(struct armed *a, bool *ret_changed)
{
	if (!a->others_run && (a->ts->strayed || clock_ms() >= a->alone_until)) {
		struct err *e = let_others_go(a);

		if (e)
			return e;
	}
	if (a->phase == PHASE_MAIN || any_over_left(a))
		return NULL;
	*ret_changed = true;
	return begin_main(a);
}

/* Until nothing has happened: what it waits for in between takes signals that told of other threads. */
struct err *armed_turn(struct armed *a, bool *ret_hit)
{
	bool changed;

	do {
		size_t n;
		struct err *e = tracees_take_events(a->ts, &n);

		changed = n > 0;
		if (!e && changed)
			e = settle(a);
		*ret_hit = a->n_hits > 0;
		if (!e && !*ret_hit)
			e = next_phase(a, &changed);
		if (e)
			return e;
	} while (changed && !*ret_hit);
	return NULL;
}

int armed_timeout(const struct armed *a)
{
	return a->others_run ? -1 : (int)MAX(a->alone_until - clock_ms(), 0);
}

struct err *armed_halt(struct armed *a)
{
	struct err *e = tracees_halt(a->ts, a->all_vcpus, a->others_run);

	take_all_patches(a);
	a->left = xreallocarray(a->left, a->n_vcpus, sizeof(*a->left));
	a->n_left = 0;
	for (size_t i = 0; i < a->n_vcpus; i++)
		if (a->vcpus[i].over_left)
			a->left[a->n_left++] = a->vcpus[i].order.fd;
	return e;
}

void armed_report(const struct armed *a, struct guardian_stopped *ret)
{
	ret->undisturbed = !a->others_run && !a->ts->strayed;
	ret->hits = a->hits;
	ret->n_hits = a->n_hits;
	ret->left = a->left;
	ret->n_left = a->n_left;
}

bool armed_is_stuck(const struct armed *a)
{
	return a->stuck;
}

/* ---- the whole ---- */

struct err *armed_create(struct tracees *ts, const struct host_gadgets *gadgets, struct armed **ret)
{
	int pidfd = (int)syscall(SYS_pidfd_open, ts->pid, 0);
	struct armed *a;

	if (pidfd < 0)
		return err_sys(errno, "cannot open process %d", ts->pid);
	a = xcalloc(1, sizeof(*a));
	a->ts = ts;
	a->gadgets = gadgets;
	a->pidfd = pidfd;
	a->hooks = (struct tracee_hooks){ hook_may_enter, hook_is_ours, hook_take_exit, a };
	*ret = a;
	return NULL;
}

static void disarm(struct armed *a, struct armed_vcpu *v)
{
	const struct kvm_arming none = kvm_debug_none();

	/* A vCPU that is gone has nothing armed. */
	if (v->set.debug.control || v->has_exception)
		err_destroy(set_debug(a, v, &none));
	kvm_run_page_unmap(v->run);
}

void armed_destroy(struct armed *a, bool *ret_stuck)
{
	if (!a)
		return;
	take_all_patches(a);
	for (size_t i = 0; i < a->n_vcpus; i++)
		disarm(a, &a->vcpus[i]);
	*ret_stuck |= a->stuck;
	a->ts->hooks = NULL;
	close(a->pidfd);
	free(a->vcpus);
	free(a->patches);
	free(a->hits);
	free(a->left);
	free(a);
}
