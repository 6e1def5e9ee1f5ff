/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rsp/session.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"

/* Puts the session in its running state; the stop reply comes later. */
static struct err *run(struct rsp_session *s, const struct vcpu_run *runs)
{
	struct err *e = guest_run(s->guest, runs);

	if (e && err_code(e) == ERR_GONE) {
		s->gone = true;
		err_destroy(e);
		return rsp_stop_reason(s, NULL);
	}
	if (e)
		return e;
	s->state = RSP_RUNNING;
	s->silent = true;
	return NULL;
}

/* C and S: no signal can be delivered to a vCPU; it is read and passed over. */
static struct err *take_signal(struct cursor *args)
{
	uint64_t signal;

	return cursor_take_hex(args, &signal) && signal <= 0xff ? NULL : rsp_malformed();
}

/* ---- c and s, and C and S with a signal ---- */

/* They may say where to go on. */
static struct err *take_pc(struct rsp_session *s, struct cursor *args, unsigned vcpu)
{
	uint16_t pc = s->guest->arch->pc;
	uint8_t bytes[ARCH_MAX_REG_BYTES];
	uint64_t addr;

	if (cursor_at_end(args))
		return NULL;
	if (!cursor_take_hex(args, &addr) || !cursor_at_end(args))
		return rsp_malformed();
	store_uint(bytes, reg_bytes(s->guest->arch, pc), s->guest->order, addr);
	return guest_write_reg(s->guest, vcpu, pc, bytes);
}

/* As gdbserver does: a vCPU that Hc chose is alone, else the others continue. */
static struct err *run_one(struct rsp_session *s, struct cursor *args, enum run_action action)
{
	unsigned n = s->guest->n_vcpus;
	bool alone = s->run_vcpu < n;
	unsigned vcpu = alone ? s->run_vcpu : s->vcpu;
	struct err *e = take_pc(s, args, vcpu);
	struct vcpu_run *runs;

	if (e)
		return e;
	runs = xcalloc(n, sizeof(*runs));
	for (unsigned i = 0; i < n; i++)
		runs[i].action = i == vcpu ? action : alone ? RUN_HOLD : RUN_CONTINUE;
	e = run(s, runs);
	free(runs);
	return e;
}

static struct err *run_one_with_signal(struct rsp_session *s, struct cursor *args, enum run_action action)
{
	struct err *e = take_signal(args);

	if (!e && cursor_take_char(args, ';') && cursor_at_end(args))
		e = rsp_malformed();
	return e ? e : run_one(s, args, action);
}

struct err *rsp_c(struct rsp_session *s, struct cursor *args)
{
	return run_one(s, args, RUN_CONTINUE);
}

struct err *rsp_C(struct rsp_session *s, struct cursor *args)
{
	return run_one_with_signal(s, args, RUN_CONTINUE);
}

struct err *rsp_s(struct rsp_session *s, struct cursor *args)
{
	return run_one(s, args, RUN_STEP);
}

struct err *rsp_S(struct rsp_session *s, struct cursor *args)
{
	return run_one_with_signal(s, args, RUN_STEP);
}

/* ---- vCont ---- */

/* What a vCont packet comes to. A vCPU that no action names is held. */
struct plan {
	struct vcpu_run *runs;
	bool *given; /* the leftmost action that names a vCPU counts */
};

/* "start,end"; where they are the same it is one step. */
static struct err *take_step_range(struct cursor *c, struct vcpu_run *ret)
{
	uint64_t start, end;

	if (!cursor_take_hex(c, &start) || !cursor_take_char(c, ',') || !cursor_take_hex(c, &end))
		return rsp_malformed();
	if (start > end)
		return err_new(ERR_INVALID, "the range ends at 0x%" PRIx64 ", before it starts", end);
	*ret = (struct vcpu_run){ RUN_STEP, start, end };
	return NULL;
}

/* "c", "C05", "s", "S05", "t", "r1000,1008" */
static struct err *take_kind(struct cursor *c, struct vcpu_run *ret)
{
	static const struct {
		char letter;
		enum run_action action;
		bool signal;
	} kinds[] = {
		{ 'c', RUN_CONTINUE, false }, { 'C', RUN_CONTINUE, true }, { 's', RUN_STEP, false },
		{ 'S', RUN_STEP, true },      { 't', RUN_HOLD, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (!cursor_take_char(c, kinds[i].letter))
			continue;
		*ret = (struct vcpu_run){ .action = kinds[i].action };
		return kinds[i].signal ? take_signal(c) : NULL;
	}
	return cursor_take_char(c, 'r') ? take_step_range(c, ret) : rsp_malformed();
}

/* An action and, behind ':', its thread. */
static struct err *take_action(struct rsp_session *s, struct cursor *c, struct plan *plan)
{
	enum rsp_thread which = RSP_THREAD_ALL;
	struct vcpu_run action;
	unsigned vcpu = s->vcpu;
	struct err *e = take_kind(c, &action);

	if (!e && cursor_take_char(c, ':'))
		e = rsp_take_thread(s, c, &which, &vcpu);
	if (e)
		return e;
	for (unsigned i = 0; i < s->guest->n_vcpus; i++) {
		if (plan->given[i] || (which != RSP_THREAD_ALL && i != vcpu))
			continue;
		plan->runs[i] = action;
		plan->given[i] = true;
	}
	return NULL;
}

static struct err *take_plan(struct rsp_session *s, struct cursor *args, struct plan *plan)
{
	struct err *e;

	do {
		e = cursor_take_char(args, ';') ? take_action(s, args, plan) : rsp_malformed();
	} while (!e && !cursor_at_end(args));
	return e;
}

static struct err *run_plan(struct rsp_session *s, const struct plan *plan)
{
	for (unsigned i = 0; i < s->guest->n_vcpus; i++) {
		if (plan->runs[i].action != RUN_HOLD)
			return run(s, plan->runs);
	}
	/* Only t, and the guest is stopped. */
	s->stop = (struct guest_event){ .kind = GUEST_EVENT_STOPPED, .vcpu = s->vcpu };
	return rsp_stop_reason(s, NULL);
}

struct err *rsp_vCont(struct rsp_session *s, struct cursor *args)
{
	unsigned n = s->guest->n_vcpus;
	struct plan plan = { xcalloc(n, sizeof(*plan.runs)), xcalloc(n, sizeof(*plan.given)) };
	struct err *e;

	for (unsigned i = 0; i < n; i++)
		plan.runs[i].action = RUN_HOLD;
	e = take_plan(s, args, &plan);
	if (!e)
		e = run_plan(s, &plan);
	free(plan.runs);
	free(plan.given);
	return e;
}

struct err *rsp_vCont_query(struct rsp_session *s, struct cursor *args)
{
	(void)args;
	/* gdb uses vCont only where all four of c, C, s and S are there. */
	buf_adds(&s->reply, "vCont;c;C;s;S;t;r");
	return NULL;
}

struct err *rsp_vCtrlC(struct rsp_session *s, struct cursor *args)
{
	(void)args;
	s->interrupt = true;
	return rsp_ok(s);
}
