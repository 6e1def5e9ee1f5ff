/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rsp/session.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"

/* A client that leaves this much unanswered behind a continue is not a debugger. */
#define QUEUE_MAX_BYTES (4 * (size_t)PACKET_MAX_BYTES)

/* Enough for several of the longest replies, which a client has under way that asks ahead. */
#define OUTPUT_MAX_BYTES (1u << 20)

/* gdb asks again after 2 seconds, unless its remotetimeout is set. */
#define PATIENCE_MS 1500u

/* How a packet stands in the queue, its payload behind it. */
struct queued {
	size_t bytes;
	bool too_long;
};

void rsp_set_guest(struct rsp_session *s, struct guest *g)
{
	buf_reset(&s->target_xml);
	free(s->present);
	s->present = NULL;
	s->guest = g;
	s->gone = false;
	s->phys_memory = false;
	s->vcpu = 0;
	s->run_vcpu = RSP_NO_VCPU;
	s->next_thread = 0;
	s->stop = (struct guest_event){ .kind = GUEST_EVENT_STOPPED, .signal = 5 };
	if (!g)
		return;
	rsp_registers_init(s);
	rsp_apply_sstep(s);
}

struct rsp_session *rsp_session_create(struct guest *g, const struct rsp_host *host)
{
	struct rsp_session *s = xcalloc(1, sizeof(*s));

	s->host = *host;
	s->sstep = 7;
	s->patience_ms = PATIENCE_MS;
	rsp_set_guest(s, g);
	return s;
}

void rsp_session_destroy(struct rsp_session *s)
{
	if (!s)
		return;
	packet_decoder_deinit(&s->decoder);
	buf_deinit(&s->queue);
	buf_deinit(&s->out);
	buf_deinit(&s->last);
	buf_deinit(&s->reply);
	buf_deinit(&s->target_xml);
	free(s->present);
	free(s);
}

struct buf *rsp_session_output(struct rsp_session *s)
{
	return &s->out;
}

bool rsp_session_full(const struct rsp_session *s)
{
	return s->out.len >= OUTPUT_MAX_BYTES;
}

bool rsp_session_in_monitor(const struct rsp_session *s)
{
	return s->state == RSP_MONITOR;
}

bool rsp_session_ended(const struct rsp_session *s)
{
	return s->ended;
}

bool rsp_session_running(const struct rsp_session *s)
{
	return s->state == RSP_RUNNING;
}

/* ---- replies ---- */

static void send_encoded(struct rsp_session *s, const struct buf *payload,
			 void (*encode)(struct buf *out, const void *payload, size_t bytes))
{
	packet_log("->", buf_str(payload), payload->len);
	buf_reset(&s->last);
	encode(&s->last, buf_str(payload), payload->len);
	buf_add(&s->out, s->last.data, s->last.len);
}

static void send_packet(struct rsp_session *s, const struct buf *payload)
{
	send_encoded(s, payload, packet_encode);
}

/* An errno, as gdbserver and QEMU send; gdb shows the number at most. */
static unsigned wire_code(const struct err *e)
{
	switch (err_code(e)) {
	case ERR_SYSTEM:
		return (unsigned)err_errno(e) & 0xff;
	case ERR_USAGE:
	case ERR_INVALID:
		return EINVAL;
	case ERR_UNMAPPED:
		return EFAULT;
	case ERR_UNKNOWN:
		return ENODATA;
	case ERR_UNSUPPORTED:
		return EOPNOTSUPP;
	case ERR_GONE:
		return ESRCH;
	case ERR_BUSY:
		return EBUSY;
	case ERR_TIMEOUT:
		return ETIMEDOUT;
	case ERR_CANCELLED:
		return ECANCELED;
	}
	return EIO;
}

/* gdb undoes no escapes in E.text, and some characters would need one. */
static void add_error_text(struct buf *out, const char *text)
{
	buf_adds(out, "E.");
	for (; *text; text++)
		buf_addch(out, isprint((unsigned char)*text) && !strchr("#$}*", *text) ? *text : '?');
}

/* The one place where an error becomes a reply. */
static void set_error_reply(struct rsp_session *s, bool text, const struct err *e)
{
	buf_reset(&s->reply);
	if (text)
		add_error_text(&s->reply, err_text(e));
	else
		buf_addf(&s->reply, "E%02x", wire_code(e));
}

static void send_error(struct rsp_session *s, unsigned flags, struct err *e)
{
	log_debug("%s", err_text(e));
	set_error_reply(s, s->takes_text || !(flags & RSP_CODE_ERRORS), e);
	err_destroy(e);
	send_packet(s, &s->reply);
}

struct err *rsp_malformed(void)
{
	return err_new(ERR_INVALID, "malformed packet");
}

struct err *rsp_ok(struct rsp_session *s)
{
	buf_adds(&s->reply, "OK");
	return NULL;
}

/* ---- running ---- */

void rsp_run_ended(struct rsp_session *s, struct err *e)
{
	s->state = RSP_IDLE;
	if (e && err_code(e) == ERR_GONE) {
		s->gone = true;
		err_destroy(e);
		e = NULL;
	}
	if (e) {
		send_error(s, 0, e);
		return;
	}
	buf_reset(&s->reply);
	rsp_add_stop_reply(s, &s->reply);
	send_packet(s, &s->reply);
}

static void interrupt(struct rsp_session *s)
{
	if (s->state != RSP_RUNNING)
		return;
	s->stop = (struct guest_event){ .kind = GUEST_EVENT_STOPPED, .vcpu = s->vcpu, .signal = 2 };
	rsp_run_ended(s, guest_stop(s->guest));
}

/* ---- packets in ---- */

static struct err *handle(struct rsp_session *s, const struct rsp_command *cmd, struct cursor *args)
{
	if ((cmd->flags & RSP_BARE) && !cursor_at_end(args))
		return rsp_malformed();
	if (!s->guest && !(cmd->flags & RSP_GUESTLESS))
		return err_new(ERR_INVALID, "no guest is attached; gdb's attach PID attaches to that of a VMM");
	return cmd->handle(s, args);
}

static void dispatch(struct rsp_session *s, const char *payload, size_t bytes)
{
	struct cursor args;
	const struct rsp_command *cmd = rsp_command_find(payload, bytes, &args);
	struct err *e;

	buf_reset(&s->reply);
	s->silent = false;
	e = cmd ? handle(s, cmd, &args) : NULL;
	assert(e || !cmd || cursor_at_end(&args));
	if (e)
		send_error(s, cmd->flags, e);
	else if (!s->silent)
		send_encoded(s, &s->reply, cmd && cmd->flags & RSP_DIGITS ? packet_encode_digits : packet_encode);
	if (s->interrupt) {
		s->interrupt = false;
		interrupt(s);
	}
}

static void take_queued(struct rsp_session *s)
{
	struct queued head;
	const char *payload = s->queue.data + s->queue_at + sizeof(head);

	memcpy(&head, s->queue.data + s->queue_at, sizeof(head));
	s->queue_at += sizeof(head) + head.bytes;
	if (head.too_long)
		send_error(s, 0, err_new(ERR_INVALID, "the packet is longer than 0x%x bytes", PACKET_MAX_BYTES));
	else
		dispatch(s, payload, head.bytes);
}

/* Answers what has been received, until something has to be waited for: a stop, or the client to take the replies. */
static void drain(struct rsp_session *s)
{
	/* A monitor command that ends at once comes here from inside of its dispatch. */
	if (s->draining)
		return;
	s->draining = true;
	while (s->state == RSP_IDLE && !s->ended && !rsp_session_full(s) && s->queue_at < s->queue.len)
		take_queued(s);
	s->draining = false;
	if (s->queue_at) {
		buf_drop(&s->queue, s->queue_at);
		s->queue_at = 0;
	}
}

static bool is_urgent(const struct rsp_session *s)
{
	struct cursor args;
	const struct rsp_command *cmd = rsp_command_find(buf_str(&s->decoder.body), s->decoder.body.len, &args);

	return s->state == RSP_RUNNING && cmd && (cmd->flags & RSP_URGENT);
}

static void got_packet(struct rsp_session *s, bool too_long)
{
	const struct buf *body = &s->decoder.body;
	struct queued head = { too_long ? 0 : body->len, too_long };

	packet_log("<-", buf_str(body), body->len);
	if (!s->no_ack)
		buf_addch(&s->out, '+');
	if (!too_long && is_urgent(s)) {
		dispatch(s, buf_str(body), body->len);
	} else if (s->queue.len - s->queue_at > QUEUE_MAX_BYTES) {
		log_warn("the client sends packets without end while the guest runs: the session is over");
		s->ended = true;
	} else {
		buf_add(&s->queue, &head, sizeof(head));
		buf_add(&s->queue, body->data, head.bytes);
	}
	drain(s);
}

static void got_bad_sum(struct rsp_session *s)
{
	/* Without acks nothing can be asked for again, and gdb says not to check. */
	if (s->no_ack)
		got_packet(s, false);
	else
		buf_addch(&s->out, '-');
}

static void got_event(struct rsp_session *s, enum packet_event ev)
{
	switch (ev) {
	case PACKET_WHOLE:
		got_packet(s, false);
		break;
	case PACKET_TOO_LONG:
		got_packet(s, true);
		break;
	case PACKET_BAD_SUM:
		got_bad_sum(s);
		break;
	case PACKET_NACK:
		/* A client that has so much still to come does not know yet what the last packet looks like. */
		if (!s->no_ack && !rsp_session_full(s))
			buf_add(&s->out, s->last.data, s->last.len);
		break;
	case PACKET_INTERRUPT:
		interrupt(s);
		drain(s);
		break;
	case PACKET_ACK:
	case PACKET_NONE:
		break;
	}
}

void rsp_session_input(struct rsp_session *s, const void *data, size_t bytes)
{
	struct cursor in = cursor_of(data, bytes);

	while (!s->ended && !cursor_at_end(&in))
		got_event(s, packet_decode(&s->decoder, &in));
}

void rsp_session_sent(struct rsp_session *s)
{
	drain(s);
}

/* ---- what the server tells ---- */

void rsp_session_event(struct rsp_session *s, const struct guest_event *ev)
{
	if (ev->kind == GUEST_EVENT_NONE)
		return;
	if (ev->kind == GUEST_EVENT_GONE)
		s->gone = true;
	if (s->state != RSP_RUNNING)
		return;
	if (ev->kind == GUEST_EVENT_STOPPED)
		s->stop = *ev;
	rsp_run_ended(s, s->gone ? NULL : guest_stop(s->guest));
	drain(s);
}

void rsp_session_forget_guest(struct rsp_session *s)
{
	assert(s->state != RSP_RUNNING);
	rsp_set_guest(s, NULL);
	s->gone = true;
}

void rsp_session_console(struct rsp_session *s, const char *text, size_t bytes)
{
	/* At any other time the client would take an O packet for an answer. */
	if (s->state == RSP_IDLE || s->ended)
		return;
	while (bytes) {
		size_t n = MIN(bytes, PACKET_MAX_BYTES / 2 - 1);
		struct buf payload = { 0 };

		buf_addch(&payload, 'O');
		buf_add_hex(&payload, text, n);
		send_packet(s, &payload);
		buf_deinit(&payload);
		text += n;
		bytes -= n;
	}
}

/* Clients that show no error text for qRcmd are shown it as output. */
static void send_monitor_error(struct rsp_session *s, struct err *e)
{
	if (!s->takes_text) {
		rsp_session_console(s, err_text(e), strlen(err_text(e)));
		rsp_session_console(s, "\n", 1);
	}
	send_error(s, RSP_CODE_ERRORS, e);
}

void rsp_session_monitor_done(struct rsp_session *s, struct err *e)
{
	assert(s->state == RSP_MONITOR);
	if (e) {
		send_monitor_error(s, e);
	} else {
		buf_reset(&s->reply);
		buf_adds(&s->reply, "OK");
		send_packet(s, &s->reply);
	}
	s->state = RSP_IDLE;
	drain(s);
}
