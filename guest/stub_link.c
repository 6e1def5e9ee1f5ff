/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/stub_link.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/hex.h"
#include "base/packet.h"
#include "guest/peer.h"

#define MAX_RETRIES 3u

struct stub_link {
	int fd;
	char *name;
	unsigned timeout_ms;
	bool broken;
	struct buf in;  /* what the decoder has not seen */
	struct buf out; /* frames that have not been sent */
	unsigned queued; /* of their questions, those whose answer has not been received */
	struct buf acks; /* of the answers that have been */
	struct packet_decoder decoder;
};

/* One question that waits for its answer. */
struct question {
	const struct buf *frame; /* NULL: it cannot be asked again */
	struct buf *answer; /* NULL: that it has been taken is enough */
	int64_t deadline;
	unsigned retries;
};

struct stub_link *stub_link_create(int fd, const char *name, unsigned timeout_ms)
{
	struct stub_link *l = xcalloc(1, sizeof(*l));

	l->fd = fd;
	l->name = xstrdup(name);
	l->timeout_ms = timeout_ms;
	return l;
}

void stub_link_destroy(struct stub_link *l)
{
	if (!l)
		return;
	close(l->fd);
	packet_decoder_deinit(&l->decoder);
	buf_deinit(&l->in);
	buf_deinit(&l->out);
	buf_deinit(&l->acks);
	free(l->name);
	free(l);
}

int stub_link_fd(const struct stub_link *l)
{
	return l->fd;
}

/* ---- packets in ---- */

static enum packet_event decode(struct stub_link *l)
{
	struct cursor c = cursor_of(l->in.data, l->in.len);
	enum packet_event ev = packet_decode(&l->decoder, &c);

	buf_drop(&l->in, l->in.len - cursor_left(&c));
	return ev;
}

/* A letter and two digits: no answer to anything that is asked here looks like that. */
static bool is_stop_reply(const struct buf *payload)
{
	const char *p = buf_str(payload);

	return payload->len >= 3 && strchr("TSWXO", p[0]) && hex_digit(p[1]) >= 0 && hex_digit(p[2]) >= 0;
}

static struct err *take_payload(struct stub_link *l, struct buf *ret)
{
	const struct buf *body = &l->decoder.body;

	packet_log("stub <-", buf_str(body), body->len);
	buf_reset(ret);
	return packet_expand(buf_str(body), body->len, ret) ? NULL : err_new(ERR_INVALID, "its run lengths are malformed");
}

/* ---- a question ---- */

static struct err *retry(struct question *q)
{
	if (q->frame && q->retries++ < MAX_RETRIES)
		return NULL;
	return err_new(ERR_INVALID, "what arrives is damaged%s: is it a gdb stub?", q->frame ? ", over and over" : "");
}

static struct err *got_packet(struct stub_link *l, struct question *q, bool *ret_done)
{
	struct err *e = q->answer ? take_payload(l, q->answer) : NULL;

	/* Acknowledged are answers alone: a second '+' could reach a running guest and pause it. */
	if (e || !q->answer || is_stop_reply(q->answer))
		return e;
	*ret_done = true;
	buf_addch(&l->acks, '+');
	return NULL;
}

/* QEMU takes a wake-up for each that it gets by itself. */
static struct err *send_acks(struct stub_link *l, const struct question *q)
{
	struct err *e = peer_send(l->fd, l->acks.data, l->acks.len, q->deadline);

	buf_reset(&l->acks);
	return e;
}

/* What an event says of the question; *ret_done when it has what it waits for. */
static struct err *got_event(struct stub_link *l, struct question *q, enum packet_event ev, bool *ret_done)
{
	struct err *e;

	switch (ev) {
	case PACKET_WHOLE:
		return got_packet(l, q, ret_done);
	case PACKET_ACK:
		*ret_done = !q->answer;
		return NULL;
	case PACKET_BAD_SUM:
	case PACKET_TOO_LONG:
		e = retry(q);
		return e ? e : peer_send(l->fd, "-", 1, q->deadline);
	case PACKET_NACK:
		e = retry(q);
		return e ? e : peer_send(l->fd, q->frame->data, q->frame->len, q->deadline);
	default:
		return NULL;
	}
}

static struct err *wait_for_more(struct stub_link *l, const struct question *q)
{
	bool some;

	if (!peer_wait(l->fd, POLLIN, q->deadline))
		return err_new(ERR_TIMEOUT, "no answer within %g s: another client may have it, or QEMU hangs",
			       l->timeout_ms / 1000.0);
	return peer_receive(l->fd, &l->in, &some);
}

static struct err *wait_for_answer(struct stub_link *l, struct question *q)
{
	bool done = false;
	struct err *e = NULL;

	while (!e && !done) {
		enum packet_event ev = decode(l);

		e = ev == PACKET_NONE ? wait_for_more(l, q) : got_event(l, q, ev, &done);
	}
	return e;
}

static void add_frame(const char *request, struct buf *out)
{
	packet_log("stub ->", request, strlen(request));
	packet_encode(out, request, strlen(request));
}

static struct err *send_and_wait(struct stub_link *l, const struct buf *out, struct question *q)
{
	struct err *e;

	if (l->broken)
		return err_new(ERR_GONE, "given up after an earlier error");
	q->deadline = peer_now_ms() + l->timeout_ms;
	e = peer_send(l->fd, out->data, out->len, q->deadline);
	if (!e)
		e = wait_for_answer(l, q);
	if (!e && !l->queued)
		e = send_acks(l, q);
	l->broken = e != NULL;
	return e;
}

/* answer NULL: waits only until it has been taken. */
static struct err *ask(struct stub_link *l, const char *request, struct buf *answer)
{
	struct buf frame = { 0 };
	struct question q = { .frame = &frame, .answer = answer };
	struct err *e;

	add_frame(request, &frame);
	e = send_and_wait(l, &frame, &q);
	buf_deinit(&frame);
	return e;
}

struct err *stub_link_ask(struct stub_link *l, const char *request, struct buf *ret)
{
	return err_prefix(ask(l, request, ret), "the gdb stub at %s", l->name);
}

void stub_link_queue(struct stub_link *l, const char *request)
{
	add_frame(request, &l->out);
	l->queued++;
}

struct err *stub_link_receive(struct stub_link *l, struct buf *ret)
{
	struct question q = { .answer = ret };
	struct err *e;

	l->queued--;
	e = send_and_wait(l, &l->out, &q);
	buf_reset(&l->out);
	return err_prefix(e, "the gdb stub at %s", l->name);
}

struct err *stub_link_tell(struct stub_link *l, const char *request)
{
	return stub_link_ask(l, request, NULL);
}

struct err *stub_link_askf(struct stub_link *l, struct buf *ret, const char *fmt, ...)
{
	struct buf request = { 0 };
	struct err *e;
	va_list ap;

	va_start(ap, fmt);
	buf_addv(&request, fmt, ap);
	va_end(ap);
	e = stub_link_ask(l, buf_str(&request), ret);
	buf_deinit(&request);
	return e;
}

/* ---- what comes by itself ---- */

static struct err *poll_link(struct stub_link *l, struct buf *ret, bool *ret_some)
{
	bool more = true;

	*ret_some = false;
	while (more) {
		enum packet_event ev = decode(l);
		struct err *e = ev == PACKET_WHOLE ? take_payload(l, ret) :
				ev == PACKET_NONE  ? peer_receive(l->fd, &l->in, &more) : NULL;

		if (e)
			return e;
		*ret_some = ev == PACKET_WHOLE && is_stop_reply(ret);
		if (*ret_some)
			break;
	}
	return NULL;
}

struct err *stub_link_poll(struct stub_link *l, int64_t deadline, struct buf *ret, bool *ret_some)
{
	struct err *e = poll_link(l, ret, ret_some);

	while (!e && !*ret_some && deadline && peer_wait(l->fd, POLLIN, deadline))
		e = poll_link(l, ret, ret_some);

	if (e)
		l->broken = true;
	return err_prefix(e, "the gdb stub at %s", l->name);
}
