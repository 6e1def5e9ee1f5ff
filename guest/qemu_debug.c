/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/qemu_debug.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86_64/x86_64.h"
#include "base/alloc.h"
#include "guest/qemu_regs.h"
#include "guest/qemu_run.h"

/* QEMU says a stop by its stub before it says it by QMP, but maybe on another way. */
#define REPLY_MS 1000u
/* One instruction takes no longer, unless it halts the vCPU. */
#define PASS_MS 200u
#define SIGNAL_TRAP 5
#define STEP_BARE 1u
/* So often may a step end for QEMU's interrupt controller, before its instruction. */
#define MAX_REPEATS 8u

static void forget_cpu(struct qemu_debug *d, unsigned vcpu)
{
	if (vcpu >= d->n_cpus)
		return;
	regs_destroy(d->cpus[vcpu].now);
	regs_destroy(d->cpus[vcpu].before);
}

void qemu_debug_forget_regs(struct qemu_debug *d)
{
	for (unsigned i = 0; i < d->n_cpus; i++) {
		regs_destroy(d->cpus[i].now);
		d->cpus[i].now = NULL;
	}
}

/* Something runs from here on. */
static void age_regs(struct qemu_debug *d)
{
	for (unsigned i = 0; i < d->n_cpus; i++) {
		struct qemu_debug_cpu *c = &d->cpus[i];

		regs_destroy(c->before);
		c->before = c->now;
		c->now = NULL;
	}
}

void qemu_debug_deinit(struct qemu_debug *d)
{
	for (unsigned i = 0; i < d->n_cpus; i++)
		forget_cpu(d, i);
	free(d->cpus);
	d->cpus = NULL;
	d->n_cpus = 0;
}

void qemu_debug_set_vcpus(struct qemu_debug *d, const int *indices, unsigned n)
{
	for (unsigned i = n; i < d->n_cpus; i++)
		forget_cpu(d, i);
	d->cpus = xreallocarray(d->cpus, MAX(n, 1u), sizeof(*d->cpus));
	for (unsigned i = 0; i < n; i++) {
		if (i < d->n_cpus && d->cpus[i].index == indices[i])
			continue;
		forget_cpu(d, i);
		d->cpus[i] = (struct qemu_debug_cpu){ .index = indices[i] };
	}
	d->n_cpus = n;
}

/* ---- breakpoints ---- */

static struct err *need_stub(const struct qemu_debug *d)
{
	if (d->stub->stub)
		return NULL;
	return err_new(ERR_UNSUPPORTED, "it needs QEMU's gdbstub, which is not to be had: %s",
		       d->stub->why ? d->stub->why : "it has been let go of");
}

/* As QEMU is asked for it. */
static struct err *translate(struct qemu_debug *d, const struct breakpoint *b, struct breakpoint *ret)
{
	*ret = *b;
	return d->kvm ? qemu_kvm_kind(&d->caps, qmp_is_local(d->qmp), b->kind, &ret->kind) : NULL;
}

static struct err *check_mapped(struct guest *g, unsigned vcpu, const struct breakpoint *b)
{
	struct mapping m;
	struct err *e = b->kind == BREAKPOINT_SOFTWARE ? guest_translate(g, vcpu, b->gva, &m) : NULL;

	return err_suffix(e, "; a hardware breakpoint (hbreak) needs no mapping");
}

/* A stub that is lost meanwhile has said why. */
static struct err *check_stub(struct qemu_debug *d, struct err *e)
{
	e = qemu_stub_check(d->stub, e);
	return e ? e : need_stub(d);
}

static struct err *set(struct qemu_debug *d, unsigned vcpu, const struct breakpoint *b)
{
	struct breakpoint own;
	struct err *e = need_stub(d);

	if (!e)
		e = translate(d, b, &own);
	if (e)
		return e;
	e = check_stub(d, stub_set_breakpoint(d->stub->stub, vcpu, &own));
	if (e && d->kvm && err_code(e) == ERR_UNSUPPORTED && own.kind != BREAKPOINT_SOFTWARE)
		return err_suffix(e, "; the processor may have no debug register left");
	return e;
}

struct err *qemu_debug_set(struct guest *g, struct qemu_debug *d, unsigned vcpu, const struct breakpoint *b)
{
	struct err *e = check_mapped(g, vcpu, b);

	return e ? e : set(d, vcpu, b);
}

struct err *qemu_debug_clear(struct qemu_debug *d, const struct breakpoint *b)
{
	struct breakpoint own;
	struct err *e = need_stub(d);

	if (!e)
		e = translate(d, b, &own);
	return e ? e : check_stub(d, stub_clear_breakpoint(d->stub->stub, &own));
}

struct err *qemu_debug_set_again(struct guest *g, struct qemu_debug *d)
{
	struct err *e = need_stub(d);

	if (!e)
		e = check_stub(d, stub_clear_breakpoints(d->stub->stub));
	for (size_t i = 0; !e && i < g->n_breakpoints; i++)
		e = set(d, 0, &g->breakpoints[i]);
	return err_prefix(e, "the breakpoints are lost");
}

/* ---- where vCPUs stand ---- */

/* QEMU's breakpoints are linear; x86's program counter counts from its segment's base. */
static uint64_t linear_pc(const struct regs *regs)
{
	uint64_t pc = regs_get_or(regs, regs->arch->pc, 0);

	if (strcmp(regs->arch->name, "x86_64") || regs_bytes(regs, X86_R8))
		return pc;
	return (uint32_t)(pc + regs_get_or(regs, X86_CS_BASE, 0));
}

struct err *qemu_debug_regs(struct guest *g, struct qemu_debug *d, unsigned vcpu, const struct regs **ret)
{
	struct qemu_debug_cpu *c = &d->cpus[vcpu];
	struct err *e = NULL;

	if (!c->now) {
		c->now = regs_create(g->arch, g->order);
		e = qemu_regs_by_monitor(d->qmp, c->index, c->now, &c->halted);
	}
	if (e)
		qemu_debug_forget_regs(d);
	*ret = c->now;
	return e;
}

static struct err *read_pc(struct guest *g, struct qemu_debug *d, unsigned vcpu, uint64_t *ret)
{
	const struct regs *regs;
	struct err *e = qemu_debug_regs(g, d, vcpu, &regs);

	if (!e)
		*ret = linear_pc(regs);
	return e;
}

/* A breakpoint of code there, or NULL. */
static const struct breakpoint *breakpoint_at(const struct guest *g, uint64_t gva)
{
	for (size_t i = 0; i < g->n_breakpoints; i++)
		if (g->breakpoints[i].gva == gva && breakpoint_executes(g->breakpoints[i].kind))
			return &g->breakpoints[i];
	return NULL;
}

static bool is_set(const struct guest *g, const struct guest_event *hit)
{
	for (size_t i = 0; i < g->n_breakpoints; i++)
		if (g->breakpoints[i].kind == hit->breakpoint &&
		    (g->breakpoints[i].gva == hit->gva || !breakpoint_executes(hit->breakpoint)))
			return true;
	return false;
}

/* ---- steps that end too early ---- */

/* An instruction that changes no register, its own address among them, does the same when it is run again. */
static struct err *is_to_repeat(struct guest *g, struct qemu_debug *d, unsigned vcpu, bool *ret)
{
	const struct regs *now;
	struct err *e;

	*ret = d->cpus[vcpu].before && d->repeats < MAX_REPEATS;
	if (!*ret)
		return NULL;
	e = qemu_debug_regs(g, d, vcpu, &now);
	if (e)
		return e;
	*ret = regs_equal(d->cpus[vcpu].before, now);
	d->repeats += *ret;
	return NULL;
}

/* ---- hits ---- */

static struct err *note_hit(struct guest *g, struct qemu_debug *d, unsigned vcpu, enum breakpoint_kind kind,
			    uint64_t gva)
{
	struct qemu_debug_cpu *c = &d->cpus[vcpu];
	struct err *e = read_pc(g, d, vcpu, &c->pc);

	c->has_hit = !e;
	c->hit = (struct guest_event){ .kind = GUEST_EVENT_STOPPED, .vcpu = vcpu, .signal = SIGNAL_TRAP,
				       .cause = STOP_BREAKPOINT, .breakpoint = kind, .gva = gva };
	return e;
}

static bool is_hit(const struct guest_event *reply)
{
	return reply->kind == GUEST_EVENT_STOPPED && reply->cause == STOP_BREAKPOINT;
}

static bool is_code_hit(const struct guest_event *reply)
{
	return is_hit(reply) && breakpoint_executes(reply->breakpoint);
}

/* QEMU 7.2 may tell a hit of a watchpoint that it has freed since, at whatever address stands there now. */
static bool is_watch_hit(const struct guest *g, const struct guest_event *reply)
{
	if (!is_hit(reply) || breakpoint_executes(reply->breakpoint))
		return false;
	for (size_t i = 0; i < g->n_breakpoints; i++) {
		const struct breakpoint *b = &g->breakpoints[i];

		if (!breakpoint_executes(b->kind) && reply->gva - b->gva < b->bytes)
			return true;
	}
	return false;
}

/* ---- running ---- */

static struct err *set_step_flags(struct guest *g, struct qemu_debug *d)
{
	struct err *e;

	if (g->step_holds_irqs || d->step_flags)
		return NULL;
	e = stub_step_flags(d->stub->stub, &d->step_flags);
	return e ? e : stub_set_step_flags(d->stub->stub, STEP_BARE);
}

/* They are the same for every client. */
static struct err *reset_step_flags(struct qemu_debug *d)
{
	unsigned flags = d->step_flags;

	d->step_flags = 0;
	return flags && d->stub->stub ? stub_set_step_flags(d->stub->stub, flags) : NULL;
}

static struct err *run_stub(struct qemu_debug *d, const enum run_action *actions)
{
	struct err *e;

	age_regs(d);
	e = stub_run(d->stub->stub, actions);
	for (unsigned i = 0; !e && i < d->n_cpus; i++)
		if (actions[i] == RUN_STEP)
			d->cpus[i].stepping = true;
	return e;
}

/* Takes the stop reply of a guest that has stopped; ret->kind stays none when none comes. */
static struct err *take_reply(struct qemu_debug *d, unsigned ms, struct guest_event *ret)
{
	struct err *e = stub_wait(d->stub->stub, ms, ret);

	if (!e && ret->kind == GUEST_EVENT_STOPPED && ret->vcpu < d->n_cpus)
		d->cpus[ret->vcpu].stepping = false;
	return e;
}

/*
 * Steps one vCPU while all others stand still. An instruction that halts it does not
 * end as a step: ret->kind is GUEST_EVENT_NONE.
 */
static struct err *step_alone(struct qemu_debug *d, unsigned vcpu, struct guest_event *ret)
{
	enum run_action *actions = xcalloc(d->n_cpus, sizeof(*actions));
	struct guest_event paused;
	struct qemu_status status;
	struct err *e;

	ret->kind = GUEST_EVENT_NONE;
	for (unsigned i = 0; i < d->n_cpus; i++)
		actions[i] = i == vcpu ? RUN_STEP : RUN_HOLD;
	e = run_stub(d, actions);
	free(actions);
	if (!e)
		e = take_reply(d, PASS_MS, ret);
	if (!e && ret->kind == GUEST_EVENT_NONE) {
		e = qmp_run(d->qmp, "stop", NULL);
		if (!e)
			e = take_reply(d, REPLY_MS, &paused);
	}
	/* Behind this answer no event of that stop comes any more. */
	if (!e)
		e = qemu_status_ask(d->qmp, &status);
	return e ? e : qmp_drop_events(d->qmp);
}

/* All that are set there, off or on. */
static struct err *switch_at(struct guest *g, struct qemu_debug *d, uint64_t gva, bool on)
{
	struct err *e = NULL;

	for (size_t i = 0; !e && i < g->n_breakpoints; i++) {
		const struct breakpoint *b = &g->breakpoints[i];

		if (b->gva == gva && breakpoint_executes(b->kind))
			e = on ? set(d, 0, b) : qemu_debug_clear(d, b);
	}
	return e;
}

/*
 * One try. The instruction may hit a watchpoint. A slow machine may not have come to
 * it yet, and has one more, if it is not that the vCPU waits for an interrupt.
 */
static struct err *step_off(struct guest *g, struct qemu_debug *d, unsigned vcpu, bool *ret_repeat)
{
	struct guest_event ev;
	struct err *e = step_alone(d, vcpu, &ev);

	*ret_repeat = false;
	if (e)
		return e;
	if (is_watch_hit(g, &ev))
		return note_hit(g, d, vcpu, ev.breakpoint, ev.gva);
	if (ev.kind == GUEST_EVENT_NONE)
		d->repeats = MAX(d->repeats, d->cpus[vcpu].halted ? MAX_REPEATS : MAX_REPEATS - 1);
	return ev.kind == GUEST_EVENT_NONE || !d->kvm ? is_to_repeat(g, d, vcpu, ret_repeat) : NULL;
}

static struct err *pass(struct guest *g, struct qemu_debug *d, unsigned vcpu, uint64_t pc)
{
	struct err *e = switch_at(g, d, pc, false), *again;
	bool repeat = true;

	while (!e && repeat)
		e = step_off(g, d, vcpu, &repeat);
	again = switch_at(g, d, pc, true);
	if (!e)
		return again;
	err_destroy(again);
	return e;
}

/* It is forgotten when it is told, or now if it is none any more. */
static struct err *take_hit(struct guest *g, struct qemu_debug *d, unsigned vcpu, struct guest_event *ret)
{
	struct qemu_debug_cpu *c = &d->cpus[vcpu];
	uint64_t pc;
	struct err *e = read_pc(g, d, vcpu, &pc);

	if (e)
		return e;
	c->has_hit = c->pc == pc && is_set(g, &c->hit);
	if (c->has_hit)
		*ret = c->hit;
	return NULL;
}

/* One that steps off a breakpoint does it here, and alone. */
static struct err *start_cpu(struct guest *g, struct qemu_debug *d, unsigned vcpu, struct guest_event *ret)
{
	struct qemu_debug_cpu *c = &d->cpus[vcpu];
	uint64_t pc;
	struct err *e = read_pc(g, d, vcpu, &pc);

	if (e || !breakpoint_at(g, pc))
		return e;
	e = pass(g, d, vcpu, pc);
	if (!e && c->has_hit)
		*ret = c->hit;
	else if (!e && c->action == RUN_STEP)
		*ret = (struct guest_event){ .kind = GUEST_EVENT_STOPPED, .vcpu = vcpu, .signal = SIGNAL_TRAP,
					     .cause = STOP_STEP };
	return e;
}

struct err *qemu_debug_prepare(struct guest *g, struct qemu_debug *d, const enum run_action *actions,
			       struct guest_event *ret)
{
	struct err *e = need_stub(d);

	for (unsigned i = 0; i < d->n_cpus; i++)
		d->cpus[i].action = actions ? actions[i] : RUN_CONTINUE;
	ret->kind = GUEST_EVENT_NONE;
	d->repeats = 0;
	/* Before anything runs. */
	for (unsigned i = 0; !e && ret->kind == GUEST_EVENT_NONE && i < d->n_cpus; i++)
		if (d->cpus[i].action != RUN_HOLD && d->cpus[i].has_hit)
			e = take_hit(g, d, i, ret);
	for (unsigned i = 0; !e && ret->kind == GUEST_EVENT_NONE && g->n_breakpoints && i < d->n_cpus; i++)
		if (d->cpus[i].action != RUN_HOLD)
			e = start_cpu(g, d, i, ret);
	return e;
}

static bool all_continue(const struct qemu_debug *d)
{
	for (unsigned i = 0; i < d->n_cpus; i++)
		if (d->cpus[i].action != RUN_CONTINUE)
			return false;
	return true;
}

static struct err *go_by_stub(struct guest *g, struct qemu_debug *d)
{
	enum run_action *actions = xcalloc(d->n_cpus, sizeof(*actions));
	struct err *e = need_stub(d);
	const struct regs *before;

	if (!e && !all_continue(d))
		e = set_step_flags(g, d);
	for (unsigned i = 0; i < d->n_cpus; i++) {
		actions[i] = d->cpus[i].action;
		if (!e && actions[i] == RUN_STEP && !d->kvm)
			e = qemu_debug_regs(g, d, i, &before);
	}
	if (!e)
		e = run_stub(d, actions);
	free(actions);
	return check_stub(d, e);
}

struct err *qemu_debug_go(struct guest *g, struct qemu_debug *d)
{
	struct qemu_status status;
	struct err *e = qemu_status_ask(d->qmp, &status);
	bool by_owner = !e && status.running && all_continue(d);

	if (!e && !by_owner)
		e = qemu_check_ready(&status);
	if (e)
		return e;
	d->running = true;
	/* QEMU 8.1 and later tell a stop to the client that has let the guest run. */
	if (!by_owner && (!all_continue(d) || d->stub->stub))
		return go_by_stub(g, d);
	age_regs(d);
	return by_owner ? NULL : qemu_run(d->qmp, &status);
}

void qemu_debug_let_go(struct qemu_debug *d)
{
	d->running = true;
	age_regs(d);
	for (unsigned i = 0; i < d->n_cpus; i++)
		d->cpus[i].action = RUN_CONTINUE;
}

/* ---- stops ---- */

/* What a vCPU has stopped for, if for anything. The reply names one of those that did. */
static struct err *look_at(struct guest *g, struct qemu_debug *d, unsigned vcpu, const struct guest_event *reply)
{
	struct qemu_debug_cpu *c = &d->cpus[vcpu];
	bool named = reply->kind == GUEST_EVENT_STOPPED && reply->vcpu == vcpu;
	const struct breakpoint *b;
	uint64_t pc;
	struct err *e = read_pc(g, d, vcpu, &pc);

	if (e)
		return e;
	b = breakpoint_at(g, pc);
	if (named && (is_watch_hit(g, reply) || is_code_hit(reply)))
		return note_hit(g, d, vcpu, reply->breakpoint, reply->gva);
	if (b && !c->halted && c->action == RUN_CONTINUE)
		return note_hit(g, d, vcpu, b->kind, b->gva);
	return NULL;
}

static struct err *look_at_all(struct guest *g, struct qemu_debug *d, const struct guest_event *reply)
{
	struct err *e = NULL;

	for (unsigned i = 0; !e && g->n_breakpoints && i < d->n_cpus; i++)
		if (d->cpus[i].action != RUN_HOLD)
			e = look_at(g, d, i, reply);
	return e;
}

/* The vCPU that the reply names, if there is one, first: another one's hit waits. */
static void choose_event(const struct qemu_debug *d, const struct guest_event *reply, struct guest_event *ret)
{
	bool some = reply->kind == GUEST_EVENT_STOPPED && reply->vcpu < d->n_cpus;
	const struct qemu_debug_cpu *named = some ? &d->cpus[reply->vcpu] : NULL;

	for (unsigned i = 0; i < d->n_cpus; i++) {
		const struct qemu_debug_cpu *c = &d->cpus[i];

		if (c->has_hit && (c == named || ret->kind == GUEST_EVENT_NONE))
			*ret = c->hit;
	}
	if (named && named->action == RUN_STEP && !named->has_hit) {
		*ret = *reply;
		ret->cause = STOP_STEP;
	} else if (!named && ret->kind == GUEST_EVENT_NONE) {
		*ret = (struct guest_event){ .kind = GUEST_EVENT_STOPPED, .signal = SIGNAL_TRAP };
	}
}

static struct err *drop_early_step(struct guest *g, struct qemu_debug *d, struct guest_event *event)
{
	bool early = false;
	struct err *e = NULL;

	if (!d->kvm && event->kind == GUEST_EVENT_STOPPED && event->cause == STOP_STEP)
		e = is_to_repeat(g, d, event->vcpu, &early);
	if (early)
		event->kind = GUEST_EVENT_NONE;
	return e;
}

struct err *qemu_debug_stopped(struct guest *g, struct qemu_debug *d, bool by_debug, struct guest_event *ret)
{
	struct guest_event reply = { .kind = GUEST_EVENT_NONE };
	struct err *e;

	if (!d->running)
		return NULL;
	d->running = false;
	e = d->stub->stub ? take_reply(d, REPLY_MS, &reply) : NULL;
	if (!e)
		e = reset_step_flags(d);
	e = qemu_stub_check(d->stub, e);
	if (!e)
		e = look_at_all(g, d, &reply);
	if (e || !by_debug)
		return e;
	choose_event(d, &reply, ret);
	return drop_early_step(g, d, ret);
}

void qemu_debug_told(struct qemu_debug *d, unsigned vcpu)
{
	if (vcpu < d->n_cpus)
		d->cpus[vcpu].has_hit = false;
}

/* ---- the end ---- */

bool qemu_debug_steps(const struct qemu_debug *d)
{
	for (unsigned i = 0; i < d->n_cpus; i++)
		if (d->cpus[i].stepping)
			return true;
	return false;
}

struct err *qemu_debug_end_steps(struct qemu_debug *d)
{
	struct err *e = NULL;

	for (unsigned i = 0; !e && i < d->n_cpus; i++) {
		if (d->cpus[i].stepping)
			e = need_stub(d);
		if (!e && d->cpus[i].stepping)
			e = check_stub(d, qemu_stub_end_step(d->qmp, d->stub, i));
		d->cpus[i].stepping &= e != NULL;
		d->cpus[i].has_hit = false;
	}
	return e;
}
