/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rsp/session.h"

#include <inttypes.h>

/* A debugger asks for the rest by itself; this keeps a reply far below PACKET_MAX_BYTES. */
#define THREADS_A_REPLY 1024u

struct err *rsp_take_thread(const struct rsp_session *s, struct cursor *c, enum rsp_thread *ret,
			    unsigned *ret_vcpu)
{
	uint64_t id;

	if (cursor_take_string(c, "-1")) {
		*ret = RSP_THREAD_ALL;
		return NULL;
	}
	if (!cursor_take_hex(c, &id))
		return rsp_malformed();
	if (id > s->guest->n_vcpus)
		return err_new(ERR_INVALID, "there is no thread %" PRIu64 "; the guest has %u vCPUs", id,
			       s->guest->n_vcpus);
	*ret = id ? RSP_THREAD_ONE : RSP_THREAD_ANY;
	if (id)
		*ret_vcpu = (unsigned)id - 1;
	return NULL;
}

struct err *rsp_take_one_thread(const struct rsp_session *s, struct cursor *c, unsigned *ret_vcpu)
{
	enum rsp_thread which;
	struct err *e = rsp_take_thread(s, c, &which, ret_vcpu);

	if (!e && (which != RSP_THREAD_ONE || !cursor_at_end(c)))
		e = rsp_malformed();
	return e;
}

struct err *rsp_take_suffix(const struct rsp_session *s, struct cursor *c, unsigned *ret_vcpu)
{
	struct cursor id;

	if (cursor_at_end(c)) {
		*ret_vcpu = s->vcpu;
		return NULL;
	}
	if (!s->thread_suffix || !cursor_take_string(c, ";thread:"))
		return rsp_malformed();
	id = cursor_take_until(c, ";");
	if (!cursor_take_char(c, ';') || !cursor_at_end(c))
		return rsp_malformed();
	return rsp_take_one_thread(s, &id, ret_vcpu);
}

struct err *rsp_H(struct rsp_session *s, struct cursor *args)
{
	bool run = cursor_take_char(args, 'c');
	enum rsp_thread which;
	unsigned vcpu = 0;
	struct err *e;

	if (!run && !cursor_take_char(args, 'g'))
		return rsp_malformed();
	e = rsp_take_thread(s, args, &which, &vcpu);
	if (!e && !cursor_at_end(args))
		e = rsp_malformed();
	if (e)
		return e;
	if (run)
		s->run_vcpu = which == RSP_THREAD_ONE ? vcpu : RSP_NO_VCPU;
	else if (which == RSP_THREAD_ONE)
		s->vcpu = vcpu;
	return rsp_ok(s);
}

struct err *rsp_T(struct rsp_session *s, struct cursor *args)
{
	unsigned vcpu;
	struct err *e = rsp_take_one_thread(s, args, &vcpu);

	return e ? e : rsp_ok(s);
}

struct err *rsp_qC(struct rsp_session *s, struct cursor *args)
{
	(void)args;
	buf_addf(&s->reply, "QC%x", s->vcpu + 1);
	return NULL;
}

struct err *rsp_qsThreadInfo(struct rsp_session *s, struct cursor *args)
{
	unsigned end = s->guest->n_vcpus;

	(void)args;
	if (s->next_thread >= end) {
		buf_addch(&s->reply, 'l');
		return NULL;
	}
	end = MIN(end, s->next_thread + THREADS_A_REPLY);
	for (char sep = 'm'; s->next_thread < end; sep = ',')
		buf_addf(&s->reply, "%c%x", sep, ++s->next_thread);
	return NULL;
}

struct err *rsp_qfThreadInfo(struct rsp_session *s, struct cursor *args)
{
	s->next_thread = 0;
	return rsp_qsThreadInfo(s, args);
}

struct err *rsp_qThreadExtraInfo(struct rsp_session *s, struct cursor *args)
{
	struct buf text = { 0 }, what = { 0 };
	unsigned vcpu;
	struct err *e;

	if (!cursor_take_char(args, ','))
		return rsp_malformed();
	e = rsp_take_one_thread(s, args, &vcpu);
	if (e)
		return e;
	guest_describe_vcpu(s->guest, vcpu, &what);
	buf_addf(&text, "vCPU %u%s%s", vcpu, what.len ? ": " : "", buf_str(&what));
	buf_add_hex(&s->reply, text.data, text.len);
	buf_deinit(&text);
	buf_deinit(&what);
	return NULL;
}

static void add_xml_text(struct buf *out, const char *text)
{
	for (; *text; text++) {
		switch (*text) {
		case '<':
			buf_adds(out, "&lt;");
			break;
		case '&':
			buf_adds(out, "&amp;");
			break;
		default:
			buf_addch(out, *text);
		}
	}
}

void rsp_add_threads_xml(const struct rsp_session *s, struct buf *out)
{
	struct buf what = { 0 };

	buf_adds(out, "<?xml version=\"1.0\"?>\n<threads>\n");
	for (unsigned i = 0; i < s->guest->n_vcpus; i++) {
		buf_reset(&what);
		guest_describe_vcpu(s->guest, i, &what);
		buf_addf(out, "<thread id=\"%x\" core=\"%u\" name=\"vCPU %u\">", i + 1, i, i);
		add_xml_text(out, buf_str(&what));
		buf_adds(out, "</thread>\n");
	}
	buf_adds(out, "</threads>\n");
	buf_deinit(&what);
}
