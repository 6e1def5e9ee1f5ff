/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rsp/session.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "guest/os.h"

/* QEMU's single-step flags: step, no interrupts meanwhile, no timers meanwhile. */
#define SSTEP_ENABLE 1u
#define SSTEP_NOIRQ 2u
#define SSTEP_NOTIMER 4u

/* What the client announces, as far as it matters here. */
static void take_features(struct rsp_session *s, struct cursor *args)
{
	const struct {
		const char *name;
		bool *has;
	} known[] = {
		{ "error-message+", &s->takes_text },
		{ "hwbreak+", &s->takes_hwbreak },
		{ "swbreak+", &s->takes_swbreak },
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		*known[i].has = false;
	while (!cursor_at_end(args) && (cursor_take_char(args, ':') || cursor_take_char(args, ';'))) {
		struct cursor feature = cursor_take_until(args, ";");

		for (size_t i = 0; i < ARRAY_LEN(known); i++)
			*known[i].has |= cursor_equals(&feature, known[i].name);
	}
}

struct err *rsp_qSupported(struct rsp_session *s, struct cursor *args)
{
	take_features(s, args);
	if (!cursor_at_end(args))
		return rsp_malformed();
	buf_addf(&s->reply,
		 "PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;qXfer:memory-map:read+;"
		 "qXfer:threads:read+;vContSupported+;binary-upload+;swbreak+;hwbreak+;"
		 "QThreadSuffixSupported+;QListThreadsInStopReply+",
		 PACKET_MAX_BYTES);
	if (s->takes_text)
		buf_adds(&s->reply, ";error-message+");
	return NULL;
}

struct err *rsp_QStartNoAckMode(struct rsp_session *s, struct cursor *args)
{
	(void)args;
	s->no_ack = true;
	return rsp_ok(s);
}

struct err *rsp_QNonStop(struct rsp_session *s, struct cursor *args)
{
	uint64_t on;

	if (!cursor_take_char(args, ':') || !cursor_take_hex(args, &on) || !cursor_at_end(args) || on > 1)
		return rsp_malformed();
	return on ? err_new(ERR_UNSUPPORTED, "the guest stops as a whole: there is no non-stop mode") : rsp_ok(s);
}

struct err *rsp_qSymbol(struct rsp_session *s, struct cursor *args)
{
	/* The client offers to look symbols up; we need none. */
	args->at = args->end;
	return rsp_ok(s);
}

/* With it gdb moves a vmlinux to where the kernel runs. Empty: the file's addresses are right. */
struct err *rsp_qOffsets(struct rsp_session *s, struct cursor *args)
{
	struct err *e;
	uint64_t text;

	(void)args;
	if (!os_detect(s->guest))
		return NULL;
	e = os_symbol(s->guest, "_stext", &text);
	if (e)
		log_debug("%s", err_text(e));
	else
		buf_addf(&s->reply, "TextSeg=%" PRIx64, text);
	err_destroy(e);
	return NULL;
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
	return rsp_ok(s);
}

void rsp_apply_sstep(const struct rsp_session *s)
{
	s->guest->step_holds_irqs = s->sstep & SSTEP_NOIRQ;
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
	rsp_apply_sstep(s);
	return rsp_ok(s);
}
