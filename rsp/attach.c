/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rsp/session.h"

#include <limits.h>

struct err *rsp_extended(struct rsp_session *s, struct cursor *args)
{
	(void)args;
	s->extended = true;
	return rsp_ok(s);
}

struct err *rsp_qAttached(struct rsp_session *s, struct cursor *args)
{
	/* A pid may follow; the guest was there before us in any case. */
	args->at = args->end;
	buf_addch(&s->reply, '1');
	return NULL;
}

struct err *rsp_vAttach(struct rsp_session *s, struct cursor *args)
{
	struct guest *g = NULL;
	struct err *e;
	uint64_t pid;

	if (!cursor_take_char(args, ';') || !cursor_take_hex(args, &pid) || !cursor_at_end(args) || !pid ||
	    pid > INT_MAX)
		return rsp_malformed();
	e = s->host.attach(s->host.arg, (pid_t)pid, &g);
	if (e)
		return e;
	rsp_set_guest(s, g);
	return rsp_stop_reason(s, args);
}

struct err *rsp_vRun(struct rsp_session *s, struct cursor *args)
{
	(void)s;
	args->at = args->end;
	return err_new(ERR_UNSUPPORTED, "no VMM can be started from here: start it, and use gdb's attach PID");
}

/* ---- letting go: the VMM is never killed ---- */

static void let_go(struct rsp_session *s)
{
	if (!s->extended) {
		s->ended = true;
		return;
	}
	if (s->guest)
		s->host.detach(s->host.arg);
	rsp_set_guest(s, NULL);
}

/* D and vKill name a process, or none; there is but one here. */
static struct err *let_go_of(struct rsp_session *s, struct cursor *args)
{
	uint64_t pid;

	if (!cursor_at_end(args) &&
	    (!cursor_take_char(args, ';') || !cursor_take_hex(args, &pid) || !cursor_at_end(args)))
		return rsp_malformed();
	let_go(s);
	return rsp_ok(s);
}

struct err *rsp_D(struct rsp_session *s, struct cursor *args)
{
	return let_go_of(s, args);
}

struct err *rsp_vKill(struct rsp_session *s, struct cursor *args)
{
	return let_go_of(s, args);
}

struct err *rsp_k(struct rsp_session *s, struct cursor *args)
{
	(void)args;
	let_go(s);
	s->silent = true;
	return NULL;
}
