/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rsp/session.h"

/* "type,addr,kind" */
static struct err *take_breakpoint(struct cursor *args, struct breakpoint *ret)
{
	uint64_t kind, gva, bytes;

	if (!cursor_take_hex(args, &kind) || !cursor_take_char(args, ',') || !cursor_take_hex(args, &gva) ||
	    !cursor_take_char(args, ',') || !cursor_take_hex(args, &bytes) || !cursor_at_end(args))
		return rsp_malformed();
	if (kind >= N_BREAKPOINT_KINDS)
		return err_new(ERR_UNSUPPORTED, "there is no breakpoint of type %u", (unsigned)(kind & 0xff));
	*ret = (struct breakpoint){ (enum breakpoint_kind)kind, gva, bytes };
	return NULL;
}

/* Never an empty reply: at one to Z0 gdb would write breakpoint instructions into the guest by itself. */
struct err *rsp_Z(struct rsp_session *s, struct cursor *args)
{
	struct breakpoint b;
	struct err *e = take_breakpoint(args, &b);

	if (!e)
		e = guest_set_breakpoint(s->guest, s->vcpu, &b);
	return e ? e : rsp_ok(s);
}

struct err *rsp_z(struct rsp_session *s, struct cursor *args)
{
	struct breakpoint b;
	struct err *e = take_breakpoint(args, &b);

	if (!e)
		e = guest_clear_breakpoint(s->guest, &b);
	return e ? e : rsp_ok(s);
}
