/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rsp/session.h"

#include <inttypes.h>

#define SIGNAL_KILL 9

bool rsp_guest_gone(const struct rsp_session *s)
{
	return s->gone || (s->guest && s->guest->state == GUEST_GONE);
}

/* Clients that have not announced the first two take a breakpoint's stop for what it looks like. */
static void add_breakpoint(const struct rsp_session *s, struct buf *out)
{
	static const char *const watches[N_BREAKPOINT_KINDS] = {
		[WATCHPOINT_WRITE] = "watch",
		[WATCHPOINT_READ] = "rwatch",
		[WATCHPOINT_ACCESS] = "awatch",
	};
	const struct guest_event *ev = &s->stop;

	if (watches[ev->breakpoint])
		buf_addf(out, "%s:%" PRIx64 ";", watches[ev->breakpoint], ev->gva);
	if (ev->breakpoint == BREAKPOINT_SOFTWARE && s->takes_swbreak)
		buf_adds(out, "swbreak:;");
	if (ev->breakpoint == BREAKPOINT_HARDWARE && s->takes_hwbreak)
		buf_adds(out, "hwbreak:;");
}

static void add_thread_list(const struct rsp_session *s, struct buf *out)
{
	for (unsigned i = 0; i < s->guest->n_vcpus; i++)
		buf_addf(out, "%s%x", i ? "," : "threads:", i + 1);
	buf_addch(out, ';');
}

/* Those that did not stop by themselves have no signal and no reason. */
static void add_stop_of(struct rsp_session *s, unsigned vcpu, struct buf *out)
{
	bool its_own = vcpu == s->stop.vcpu;

	buf_addf(out, "T%02xthread:%x;core:%x;", its_own ? (unsigned)s->stop.signal & 0xff : 0, vcpu + 1, vcpu);
	if (its_own && s->stop.cause == STOP_BREAKPOINT)
		add_breakpoint(s, out);
	if (s->lists_threads)
		add_thread_list(s, out);
	rsp_add_expedited(s, vcpu, out);
}

void rsp_add_stop_reply(struct rsp_session *s, struct buf *out)
{
	if (rsp_guest_gone(s)) {
		buf_addf(out, "X%02x", SIGNAL_KILL);
		return;
	}
	if (!s->guest) {
		buf_adds(out, "W00");
		return;
	}
	/* vCPUs can have gone while the guest ran. */
	if (s->stop.vcpu >= s->guest->n_vcpus)
		s->stop.vcpu = 0;
	s->vcpu = s->stop.vcpu;
	add_stop_of(s, s->vcpu, out);
}

struct err *rsp_stop_reason(struct rsp_session *s, struct cursor *args)
{
	(void)args;
	rsp_add_stop_reply(s, &s->reply);
	return NULL;
}

struct err *rsp_qThreadStopInfo(struct rsp_session *s, struct cursor *args)
{
	unsigned vcpu;
	struct err *e = rsp_take_one_thread(s, args, &vcpu);

	if (!e)
		add_stop_of(s, vcpu, &s->reply);
	return e;
}
