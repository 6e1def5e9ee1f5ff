/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/packet.h"

#include <ctype.h>
#include <string.h>

#include "base/hex.h"
#include "base/log.h"

#define INTERRUPT '\003'
#define ESCAPE '}'
#define ESCAPE_FLIP 0x20
#define LOG_BYTES 200u
#define RUN '*'
#define RUN_BIAS 29
#define RUN_MIN 3
#define RUN_MAX 97 /* '~', the last printable character */

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

/* gdb would take RUN for one. */
static bool needs_escape(char ch)
{
	return ch == '#' || ch == '$' || ch == ESCAPE || ch == RUN;
}

/* The first place from p on, before end, that needs an escape; else end. */
static const char *find_escape(const char *p, const char *end)
{
	while (p < end && !needs_escape(*p))
		p++;
	return p;
}

/* Behind the payload, which starts at offset start of out. */
static void end_frame(struct buf *out, size_t start)
{
	uint8_t sum = 0;

	for (size_t i = start; i < out->len; i++)
		sum += (uint8_t)out->data[i];
	buf_addf(out, "#%02x", sum);
}

void packet_encode(struct buf *out, const void *payload, size_t bytes)
{
	const char *p = payload, *end = p + bytes;
	size_t start;

	buf_addch(out, '$');
	start = out->len;
	while (p < end) {
		const char *stop = find_escape(p, end);

		buf_add(out, p, (size_t)(stop - p));
		if (stop < end) {
			buf_addch(out, ESCAPE);
			buf_addch(out, (char)(*stop++ ^ ESCAPE_FLIP));
		}
		p = stop;
	}
	end_frame(out, start);
}

/* How many characters behind the first one are the same, at most as many as a run can have. */
static size_t count_more(const char *p, const char *end)
{
	size_t n = 1;

	while (n <= RUN_MAX && p + n < end && p[n] == *p)
		n++;
	return n - 1;
}

/* How much of a run of more can be said: a count must not look like one of the protocol's own characters. */
static size_t sayable(size_t more)
{
	while (strchr("#$+-", (int)more + RUN_BIAS))
		more--;
	return more;
}

void packet_encode_digits(struct buf *out, const void *payload, size_t bytes)
{
	const char *p = payload, *end = p + bytes;
	char *room = buf_extend(out, bytes + 1), *at = room;
	size_t start = out->len - bytes;

	*at++ = '$';
	while (p < end) {
		size_t more = count_more(p, end);

		*at++ = *p++;
		if (more < RUN_MIN)
			continue;
		more = sayable(more);
		*at++ = RUN;
		*at++ = (char)(more + RUN_BIAS);
		p += more;
	}
	buf_trim(out, (size_t)(room + bytes + 1 - at));
	end_frame(out, start);
}

/* Behind a character and '*' stands how often more it comes, plus 29, as a printable character. */
static bool expand_run(struct cursor *c, struct buf *ret)
{
	int more = cursor_at_end(c) ? 0 : (unsigned char)*c->at++ - RUN_BIAS;
	char ch;

	if (more < RUN_MIN || !ret->len)
		return false;
	ch = ret->data[ret->len - 1];
	memset(buf_extend(ret, (size_t)more), ch, (size_t)more);
	return true;
}

bool packet_expand(const void *payload, size_t bytes, struct buf *ret)
{
	struct cursor c = cursor_of(payload, bytes);

	while (!cursor_at_end(&c) && ret->len <= PACKET_MAX_BYTES) {
		if (!cursor_take_char(&c, RUN))
			buf_addch(ret, *c.at++);
		else if (!expand_run(&c, ret))
			return false;
	}
	return ret->len <= PACKET_MAX_BYTES;
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
