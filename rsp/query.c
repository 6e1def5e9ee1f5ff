/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rsp/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

/* QEMU's single-step flags: step, no interrupts meanwhile, no timers meanwhile. */
#define SSTEP_ENABLE 1u
#define SSTEP_NOIRQ 2u
#define SSTEP_NOTIMER 4u

static struct err *ok(struct rsp_session *s)
{
	buf_adds(&s->reply, "OK");
	return NULL;
}

struct err *rsp_qSupported(struct rsp_session *s, struct cursor *args)
{
	s->takes_text = false;
	while (!cursor_at_end(args)) {
		struct cursor feature;

		if (!cursor_take_char(args, ':') && !cursor_take_char(args, ';'))
			return rsp_malformed();
		feature = cursor_take_until(args, ";");
		s->takes_text |= cursor_equals(&feature, "error-message+");
	}
	buf_addf(&s->reply,
		 "PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;qXfer:memory-map:read+;"
		 "qXfer:threads:read+;vContSupported+;binary-upload+",
		 PACKET_MAX_BYTES);
	if (s->takes_text)
		buf_adds(&s->reply, ";error-message+");
	return NULL;
}

struct err *rsp_QStartNoAckMode(struct rsp_session *s, struct cursor *args)
{
	(void)args;
	s->no_ack = true;
	return ok(s);
}

struct err *rsp_extended(struct rsp_session *s, struct cursor *args)
{
	(void)args;
	return ok(s);
}

struct err *rsp_qAttached(struct rsp_session *s, struct cursor *args)
{
	/* A pid may follow; the guest was there before us in any case. */
	args->at = args->end;
	buf_addch(&s->reply, '1');
	return NULL;
}

struct err *rsp_qSymbol(struct rsp_session *s, struct cursor *args)
{
	/* The client offers to look symbols up; we need none. */
	args->at = args->end;
	return ok(s);
}

struct err *rsp_vMustReplyEmpty(struct rsp_session *s, struct cursor *args)
{
	(void)s;
	(void)args;
	return NULL;
}

struct err *rsp_qRcmd(struct rsp_session *s, struct cursor *args)
{
	size_t bytes;
	char *command;

	if (!cursor_take_char(args, ',') || cursor_left(args) % 2)
		return rsp_malformed();
	bytes = cursor_left(args) / 2;
	command = xcalloc(1, bytes + 1);
	if (!cursor_take_hex_bytes(args, command, bytes) || strlen(command) != bytes) {
		free(command);
		return rsp_malformed();
	}
	s->silent = true;
	s->state = RSP_MONITOR;
	s->host.monitor(s->host.arg, s, command);
	free(command);
	return NULL;
}

/* ---- QEMU's packets ---- */

struct err *rsp_qqemu_PhyMemMode(struct rsp_session *s, struct cursor *args)
{
	(void)args;
	buf_addch(&s->reply, s->phys_memory ? '1' : '0');
	return NULL;
}

struct err *rsp_Qqemu_PhyMemMode(struct rsp_session *s, struct cursor *args)
{
	uint64_t on;

	if (!cursor_take_char(args, ':') || !cursor_take_hex(args, &on) || !cursor_at_end(args) || on > 1)
		return rsp_malformed();
	s->phys_memory = on;
	return ok(s);
}

struct err *rsp_qqemu_sstepbits(struct rsp_session *s, struct cursor *args)
{
	(void)args;
	buf_addf(&s->reply, "ENABLE=%x,NOIRQ=%x,NOTIMER=%x", SSTEP_ENABLE, SSTEP_NOIRQ, SSTEP_NOTIMER);
	return NULL;
}

struct err *rsp_qqemu_sstep(struct rsp_session *s, struct cursor *args)
{
	(void)args;
	buf_addf(&s->reply, "0x%x", s->sstep);
	return NULL;
}

struct err *rsp_Qqemu_sstep(struct rsp_session *s, struct cursor *args)
{
	uint64_t flags;

	cursor_take_string(args, "0x");
	if (!cursor_take_hex(args, &flags) || !cursor_at_end(args))
		return rsp_malformed();
	if (flags & ~(uint64_t)(SSTEP_ENABLE | SSTEP_NOIRQ | SSTEP_NOTIMER))
		return err_new(ERR_INVALID, "unknown single-step flags; qqemu.sstepbits lists them");
	s->sstep = (unsigned)flags;
	return ok(s);
}
