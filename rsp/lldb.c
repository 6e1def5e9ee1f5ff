/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rsp/session.h"

#include <inttypes.h>
#include <string.h>

/* What lldb asks beyond gdb's packets ("lldb-gdb-remote" of its documentation). */

struct err *rsp_QThreadSuffixSupported(struct rsp_session *s, struct cursor *args)
{
	(void)args;
	s->thread_suffix = true;
	return rsp_ok(s);
}

struct err *rsp_QListThreadsInStopReply(struct rsp_session *s, struct cursor *args)
{
	(void)args;
	s->lists_threads = true;
	return rsp_ok(s);
}

struct err *rsp_qGDBServerVersion(struct rsp_session *s, struct cursor *args)
{
	(void)args;
	buf_adds(&s->reply, "name:vmgdbserver;version:" VMGDBSERVER_VERSION ";");
	return NULL;
}

static void add_machine(const struct rsp_session *s, struct buf *out)
{
	const struct guest *g = s->guest;
	const char *big = g->arch->lldb_triple_big;
	const char *triple = g->order == ORDER_BIG && big ? big : g->arch->lldb_triple;

	buf_adds(out, "triple:");
	buf_add_hex(out, triple, strlen(triple));
	buf_addf(out, ";endian:%s;ptrsize:%zu;", g->order == ORDER_BIG ? "big" : "little",
		 reg_bytes(g->arch, g->arch->pc));
}

struct err *rsp_qHostInfo(struct rsp_session *s, struct cursor *args)
{
	(void)args;
	add_machine(s, &s->reply);
	return NULL;
}

struct err *rsp_qProcessInfo(struct rsp_session *s, struct cursor *args)
{
	(void)args;
	/* lldb wants a process to have an id. */
	buf_adds(&s->reply, "pid:1;");
	add_machine(s, &s->reply);
	return NULL;
}

/* ---- qMemoryRegionInfo ---- */

struct gap {
	uint64_t gva;
	uint64_t end; /* exclusive; 0: 2^64 */
};

/* Ends the walk at the first mapping behind the gap. */
static struct err *end_gap(void *arg, const struct mapping *m)
{
	struct gap *gap = arg;

	if (m->gva <= gap->gva)
		return NULL;
	gap->end = m->gva;
	return err_new(ERR_CANCELLED, "the gap ends");
}

static struct err *reply_gap(struct rsp_session *s, uint64_t gva)
{
	struct phys_reader reader = guest_phys_reader(s->guest);
	struct gap gap = { .gva = gva };
	const struct regs *regs;
	struct err *e = guest_regs(s->guest, s->vcpu, &regs);

	if (!e)
		e = s->guest->arch->walk(regs, &reader, end_gap, &gap);
	if (e && err_code(e) != ERR_CANCELLED)
		return e;
	err_destroy(e);
	/* Without permissions: nothing is mapped there. 64 bits do not hold the length of all. */
	buf_addf(&s->reply, "start:%" PRIx64 ";size:%" PRIx64 ";", gva, gap.end == gva ? UINT64_MAX : gap.end - gva);
	return NULL;
}

struct err *rsp_qMemoryRegionInfo(struct rsp_session *s, struct cursor *args)
{
	struct mapping m;
	struct err *e;
	uint64_t gva;

	/* The bare packet asks whether it is known. */
	if (cursor_at_end(args))
		return rsp_ok(s);
	if (!cursor_take_char(args, ':') || !cursor_take_hex(args, &gva) || !cursor_at_end(args))
		return rsp_malformed();
	e = guest_translate(s->guest, s->vcpu, gva, &m);
	if (e && err_code(e) == ERR_UNMAPPED) {
		err_destroy(e);
		return reply_gap(s, gva);
	}
	if (!e)
		buf_addf(&s->reply, "start:%" PRIx64 ";size:%" PRIx64 ";permissions:r%s%s;", m.gva, m.bytes,
			 m.flags & MAPPING_WRITABLE ? "w" : "", m.flags & MAPPING_EXECUTABLE ? "x" : "");
	return e;
}
