/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rsp/packet.h"

#include <ctype.h>

#include "base/hex.h"
#include "base/log.h"

#define INTERRUPT '\003'
#define ESCAPE '}'
#define ESCAPE_FLIP 0x20
#define LOG_BYTES 200u

void packet_decoder_deinit(struct packet_decoder *d)
{
	buf_deinit(&d->body);
}

static void start_body(struct packet_decoder *d)
{
	buf_reset(&d->body);
	d->too_long = false;
	d->sum = 0;
	d->place = PACKET_IN_BODY;
}

static enum packet_event between(char ch)
{
	switch (ch) {
	case '+':
		return PACKET_ACK;
	case '-':
		return PACKET_NACK;
	case INTERRUPT:
		return PACKET_INTERRUPT;
	default:
		return PACKET_NONE;
	}
}

static void add_to_body(struct packet_decoder *d, char ch)
{
	d->sum += (uint8_t)ch;
	if (d->body.len < PACKET_MAX_BYTES)
		buf_addch(&d->body, ch);
	else
		d->too_long = true;
}

static enum packet_event end_of_packet(struct packet_decoder *d, char ch)
{
	int high = hex_digit(d->digit), low = hex_digit(ch);

	d->place = PACKET_BETWEEN;
	if (d->too_long)
		return PACKET_TOO_LONG;
	return high >= 0 && low >= 0 && d->sum == high * 16 + low ? PACKET_WHOLE : PACKET_BAD_SUM;
}

static enum packet_event decode_char(struct packet_decoder *d, char ch)
{
	/* Never inside a packet: the end of the one before was lost. */
	if (ch == '$') {
		start_body(d);
		return PACKET_NONE;
	}
	switch (d->place) {
	case PACKET_BETWEEN:
		return between(ch);
	case PACKET_IN_BODY:
		if (ch == '#')
			d->place = PACKET_SUM_1;
		else
			add_to_body(d, ch);
		return PACKET_NONE;
	case PACKET_SUM_1:
		d->digit = ch;
		d->place = PACKET_SUM_2;
		return PACKET_NONE;
	case PACKET_SUM_2:
		return end_of_packet(d, ch);
	}
	return PACKET_NONE;
}

enum packet_event packet_decode(struct packet_decoder *d, struct cursor *in)
{
	while (!cursor_at_end(in)) {
		enum packet_event ev = decode_char(d, *in->at++);

		if (ev != PACKET_NONE)
			return ev;
	}
	return PACKET_NONE;
}

/* '*' starts a run in what gdb receives. */
static bool needs_escape(char ch)
{
	return ch == '#' || ch == '$' || ch == ESCAPE || ch == '*';
}

void packet_encode(struct buf *out, const void *payload, size_t bytes)
{
	const char *p = payload;
	size_t start;
	uint8_t sum = 0;

	buf_addch(out, '$');
	start = out->len;
	for (size_t i = 0; i < bytes; i++) {
		if (needs_escape(p[i])) {
			buf_addch(out, ESCAPE);
			buf_addch(out, (char)(p[i] ^ ESCAPE_FLIP));
		} else {
			buf_addch(out, p[i]);
		}
	}
	for (size_t i = start; i < out->len; i++)
		sum += (uint8_t)out->data[i];
	buf_addf(out, "#%02x", sum);
}

bool packet_take_binary(struct cursor *c, struct buf *ret)
{
	while (!cursor_at_end(c)) {
		char flip = 0;

		if (cursor_take_char(c, ESCAPE)) {
			if (cursor_at_end(c))
				return false;
			flip = ESCAPE_FLIP;
		}
		buf_addch(ret, (char)(*c->at++ ^ flip));
	}
	return true;
}

void packet_log(const char *way, const void *payload, size_t bytes)
{
	const char *p = payload;
	struct buf line = { 0 };

	if (!log_debug_on())
		return;
	for (size_t i = 0; i < bytes && i < LOG_BYTES; i++) {
		if (isprint((unsigned char)p[i]))
			buf_addch(&line, p[i]);
		else
			buf_addf(&line, "\\x%02x", (unsigned char)p[i]);
	}
	log_debug("%s %s%s", way, buf_str(&line), bytes > LOG_BYTES ? "..." : "");
	buf_deinit(&line);
}
