/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rsp/session.h"

#define SIGNAL_KILL 9

bool rsp_guest_gone(const struct rsp_session *s)
{
	return s->gone || s->guest->state == GUEST_GONE;
}

void rsp_add_stop_reply(struct rsp_session *s, struct buf *out)
{
	if (rsp_guest_gone(s)) {
		buf_addf(out, "X%02x", SIGNAL_KILL);
		return;
	}
	/* vCPUs can have gone while the guest ran. */
	if (s->vcpu >= s->guest->n_vcpus)
		s->vcpu = 0;
	buf_addf(out, "T%02xthread:%x;core:%x;", (unsigned)s->signal & 0xff, s->vcpu + 1, s->vcpu);
	rsp_add_expedited(s, out);
}

struct err *rsp_stop_reason(struct rsp_session *s, struct cursor *args)
{
	(void)args;
	rsp_add_stop_reply(s, &s->reply);
	return NULL;
}

/* ---- continue and step ---- */

/* Puts the session in its running state; the stop reply comes later. e: what starting it gave. */
static struct err *started(struct rsp_session *s, struct err *e)
{
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

static struct err *go_on(struct rsp_session *s)
{
	return started(s, guest_resume(s->guest));
}

static struct err *step(struct rsp_session *s, unsigned vcpu)
{
	return started(s, guest_step(s->guest, vcpu));
}

/* c and s may say where to go on. */
static struct err *take_pc(struct rsp_session *s, struct cursor *args)
{
	uint16_t pc = s->guest->arch->pc;
	uint8_t bytes[ARCH_MAX_REG_BYTES];
	uint64_t addr;

	if (cursor_at_end(args))
		return NULL;
	if (!cursor_take_hex(args, &addr) || !cursor_at_end(args))
		return rsp_malformed();
	store_uint(bytes, reg_bytes(s->guest->arch, pc), s->guest->order, addr);
	return guest_write_reg(s->guest, s->vcpu, pc, bytes);
}

/* C and S: no signal can be delivered to a vCPU; it is read and passed over. */
static struct err *take_signal(struct cursor *args)
{
	uint64_t signal;

	return cursor_take_hex(args, &signal) && signal <= 0xff ? NULL : rsp_malformed();
}

static struct err *take_signal_and_pc(struct rsp_session *s, struct cursor *args)
{
	struct err *e = take_signal(args);

	if (!e && cursor_take_char(args, ';') && cursor_at_end(args))
		e = rsp_malformed();
	return e ? e : take_pc(s, args);
}

static unsigned vcpu_to_step(const struct rsp_session *s)
{
	return s->run_vcpu == RSP_NO_VCPU ? s->vcpu : s->run_vcpu;
}

struct err *rsp_c(struct rsp_session *s, struct cursor *args)
{
	struct err *e = take_pc(s, args);

	return e ? e : go_on(s);
}

struct err *rsp_C(struct rsp_session *s, struct cursor *args)
{
	struct err *e = take_signal_and_pc(s, args);

	return e ? e : go_on(s);
}

struct err *rsp_s(struct rsp_session *s, struct cursor *args)
{
	struct err *e = take_pc(s, args);

	return e ? e : step(s, vcpu_to_step(s));
}

struct err *rsp_S(struct rsp_session *s, struct cursor *args)
{
	struct err *e = take_signal_and_pc(s, args);

	return e ? e : step(s, vcpu_to_step(s));
}

/* ---- vCont ---- */

/* What a vCont packet comes to. The guest runs or stops as a whole; one vCPU may step. */
struct plan {
	bool go_on;
	bool step;
	unsigned step_vcpu;
};

static bool take_kind(struct cursor *c, char *ret)
{
	static const char kinds[] = { 'c', 'C', 's', 'S', 't' };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (cursor_take_char(c, kinds[i])) {
			*ret = kinds[i];
			return true;
		}
	}
	return false;
}

/* "c", "C05:1", "s:-1", ...; the first step of a packet counts. */
static struct err *take_action(struct rsp_session *s, struct cursor *c, struct plan *plan)
{
	enum rsp_thread which;
	unsigned vcpu = s->vcpu;
	struct err *e = NULL;
	char kind;

	if (!take_kind(c, &kind))
		return rsp_malformed();
	if (kind == 'C' || kind == 'S')
		e = take_signal(c);
	if (!e && cursor_take_char(c, ':'))
		e = rsp_take_thread(s, c, &which, &vcpu);
	if (e)
		return e;
	if (kind == 'c' || kind == 'C')
		plan->go_on = true;
	if ((kind == 's' || kind == 'S') && !plan->step) {
		plan->step = true;
		plan->step_vcpu = vcpu;
	}
	return NULL;
}

struct err *rsp_vCont(struct rsp_session *s, struct cursor *args)
{
	struct plan plan = { 0 };

	do {
		struct err *e = cursor_take_char(args, ';') ? take_action(s, args, &plan) : rsp_malformed();

		if (e)
			return e;
	} while (!cursor_at_end(args));
	if (plan.step)
		return step(s, plan.step_vcpu);
	if (plan.go_on)
		return go_on(s);
	/* Only t, and the guest is stopped. */
	s->signal = 0;
	return rsp_stop_reason(s, args);
}

struct err *rsp_vCont_query(struct rsp_session *s, struct cursor *args)
{
	(void)args;
	/* gdb uses vCont only where all four of c, C, s and S are there. */
	buf_adds(&s->reply, "vCont;c;C;s;S;t");
	return NULL;
}

struct err *rsp_vCtrlC(struct rsp_session *s, struct cursor *args)
{
	(void)args;
	s->interrupt = true;
	buf_adds(&s->reply, "OK");
	return NULL;
}

/* ---- breakpoints ---- */

typedef struct err *(*breakpoint_fn)(struct guest *g, enum breakpoint_kind kind, uint64_t gva, uint64_t bytes);

/*
 * "type,addr,kind". Where a backend has none the answer is an error: at an
 * empty reply to Z0 gdb would write breakpoint instructions into the guest.
 */
static struct err *breakpoint(struct rsp_session *s, struct cursor *args, breakpoint_fn fn)
{
	uint64_t kind, addr, bytes;
	struct err *e;

	if (!cursor_take_hex(args, &kind) || !cursor_take_char(args, ',') || !cursor_take_hex(args, &addr) ||
	    !cursor_take_char(args, ',') || !cursor_take_hex(args, &bytes) || !cursor_at_end(args))
		return rsp_malformed();
	if (kind > WATCHPOINT_ACCESS)
		return err_new(ERR_UNSUPPORTED, "there is no breakpoint of type %u", (unsigned)(kind & 0xff));
	e = fn(s->guest, (enum breakpoint_kind)kind, addr, bytes);
	if (!e)
		buf_adds(&s->reply, "OK");
	return e;
}

struct err *rsp_Z(struct rsp_session *s, struct cursor *args)
{
	return breakpoint(s, args, guest_set_breakpoint);
}

struct err *rsp_z(struct rsp_session *s, struct cursor *args)
{
	return breakpoint(s, args, guest_clear_breakpoint);
}

/* ---- letting go ---- */

/* D and vKill name a process, or none; there is but one here. */
static struct err *let_go(struct rsp_session *s, struct cursor *args)
{
	uint64_t pid;

	if (!cursor_at_end(args) &&
	    (!cursor_take_char(args, ';') || !cursor_take_hex(args, &pid) || !cursor_at_end(args)))
		return rsp_malformed();
	s->ended = true;
	buf_adds(&s->reply, "OK");
	return NULL;
}

struct err *rsp_D(struct rsp_session *s, struct cursor *args)
{
	return let_go(s, args);
}

struct err *rsp_vKill(struct rsp_session *s, struct cursor *args)
{
	return let_go(s, args);
}

struct err *rsp_k(struct rsp_session *s, struct cursor *args)
{
	(void)args;
	s->ended = true;
	s->silent = true;
	return NULL;
}
