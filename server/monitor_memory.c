/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "server/monitor_call.h"

/* More than this is for memsave. */
#define MAX_BYTES (1u << 20)
#define MAX_STRING 200u /* as gdb's "print elements" */

struct format {
	uint64_t count;
	char letter;
	unsigned bytes; /* of one item */
};

/* What memory is looked at. */
struct view {
	struct guest *guest;
	unsigned vcpu;
	bool physical;
};

static struct err *view_read(const struct view *v, uint64_t at, void *ret, size_t bytes, size_t *ret_bytes)
{
	if (v->physical)
		return guest_read_phys(v->guest, at, ret, bytes, ret_bytes);
	return guest_read_virt(v->guest, v->vcpu, at, ret, bytes, ret_bytes);
}

/* Why the byte at this address could not be read. */
static struct err *view_error(const struct view *v, uint64_t at)
{
	size_t got = 0;
	uint8_t byte;
	struct err *e = view_read(v, at, &byte, 1, &got);

	return e ? e : err_new(ERR_UNMAPPED, "cannot read memory at 0x%" PRIx64, at);
}

/* ---- /FMT ---- */

static struct err *bad_format(const char *why)
{
	return err_new(ERR_INVALID, "%s; /FMT is a count, a format of x d u o t a c s, and a size of b h w g", why);
}

static struct err *take_letter(struct format *f, char c)
{
	static const char sizes[] = "bhwg";
	const char *size = strchr(sizes, c);

	if (size)
		f->bytes = 1u << (size - sizes);
	else if (strchr("xduotacs", c))
		f->letter = c;
	else if (c == 'i')
		return err_new(ERR_UNSUPPORTED, "disassembly is gdb's work: use its x/i");
	else
		return bad_format("unknown letter");
	return NULL;
}

static unsigned default_bytes(char letter)
{
	if (letter == 'a')
		return 8;
	return letter == 'c' || letter == 's' ? 1 : 4;
}

static struct err *take_format(struct cursor *c, struct format *ret)
{
	struct format f = { .count = 1, .letter = 'x' };
	struct cursor word = { c->at, c->at };
	struct err *e = NULL;

	cursor_skip_space(c);
	if (cursor_take_char(c, '/'))
		word = cursor_take_until(c, " \t");
	if (!cursor_at_end(&word) && isdigit((unsigned char)*word.at) && !cursor_take_number(&word, &f.count))
		return bad_format("the count is too large");
	for (; !cursor_at_end(&word) && !e; word.at++)
		e = *word.at ? take_letter(&f, *word.at) : bad_format("unknown letter");
	if (e)
		return e;
	if (!f.bytes)
		f.bytes = default_bytes(f.letter);
	if (f.count > MAX_BYTES / f.bytes)
		return err_new(ERR_INVALID, "more than %u bytes; use memsave or pmemsave", MAX_BYTES);
	*ret = f;
	return NULL;
}

/* ---- items ---- */

static void add_char(uint8_t c, struct buf *out)
{
	static const char from[] = "\a\b\f\n\r\t\v\\'";
	static const char to[] = "abfnrtv\\'";
	const char *special = c ? strchr(from, c) : NULL;

	if (special)
		buf_addf(out, "\\%c", to[special - from]);
	else if (c >= 0x20 && c < 0x7f)
		buf_addch(out, (char)c);
	else
		buf_addf(out, "\\x%02x", c);
}

static void add_binary(uint64_t value, unsigned bits, struct buf *out)
{
	while (bits--)
		buf_addch(out, value >> bits & 1 ? '1' : '0');
}

static int64_t sign_extend(uint64_t value, unsigned bits)
{
	return (int64_t)(value << (64 - bits)) >> (64 - bits);
}

static void add_item(const struct format *f, uint64_t value, struct buf *out)
{
	unsigned bits = 8 * f->bytes;
	int decimal_digits = (int)(bits * 10 + 32) / 33;

	switch (f->letter) {
	case 'd':
		buf_addf(out, "%*" PRId64, decimal_digits, sign_extend(value, bits));
		break;
	case 'u':
		buf_addf(out, "%*" PRIu64, decimal_digits, value);
		break;
	case 'o':
		buf_addf(out, "%#*" PRIo64, (int)(bits + 2) / 3, value);
		break;
	case 't':
		add_binary(value, bits, out);
		break;
	case 'c':
		buf_addch(out, '\'');
		add_char((uint8_t)value, out);
		buf_addch(out, '\'');
		break;
	default:
		buf_addf(out, "0x%0*" PRIx64, (int)(bits / 4), value);
	}
}

/* QEMU's lines: 8 bytes of single ones, else 16. */
static size_t line_bytes(const struct format *f)
{
	return f->bytes == 1 || f->letter == 't' ? 8 : 16;
}

static void add_items(const struct view *v, const struct format *f, uint64_t at, const uint8_t *bytes, size_t n,
		      struct buf *out)
{
	size_t per_line = line_bytes(f);

	for (size_t i = 0; i + f->bytes <= n; i += f->bytes) {
		if (i % per_line == 0)
			buf_addf(out, "%s%016" PRIx64 ":", i ? "\n" : "", at + i);
		buf_addch(out, ' ');
		add_item(f, load_uint(bytes + i, f->bytes, v->guest->order), out);
	}
	if (n >= f->bytes)
		buf_addch(out, '\n');
}

static struct err *print_items(const struct view *v, const struct format *f, uint64_t at, struct buf *out)
{
	size_t want = (size_t)f->count * f->bytes, got = 0;
	uint8_t *bytes = xmalloc(want);
	struct err *e = want ? view_read(v, at, bytes, want, &got) : NULL;

	add_items(v, f, at, bytes, got, out);
	free(bytes);
	return e || got == want ? e : view_error(v, at + got);
}

/* ---- strings ---- */

static struct err *print_string(const struct view *v, uint64_t *at, struct buf *out)
{
	char text[MAX_STRING];
	size_t got = 0, n;
	struct err *e = view_read(v, *at, text, sizeof(text), &got);

	if (e)
		return e;
	n = strnlen(text, got);
	buf_addf(out, "%016" PRIx64 ": \"", *at);
	for (size_t i = 0; i < n; i++)
		add_char((uint8_t)text[i], out);
	buf_addf(out, "\"%s\n", n == sizeof(text) ? "..." : "");
	*at += n;
	if (n < got)
		(*at)++;
	return n < got || n == sizeof(text) ? NULL : view_error(v, *at);
}

static struct err *print_strings(const struct view *v, const struct format *f, uint64_t at, struct buf *out)
{
	struct err *e = NULL;

	if (f->bytes != 1)
		return bad_format("strings are of bytes");
	for (uint64_t i = 0; i < f->count && !e; i++)
		e = print_string(v, &at, out);
	return e;
}

static struct err *examine(struct monitor_call *call, bool physical)
{
	struct view v = { call->monitor->guest, call->monitor->cpu, physical };
	struct format f = { 0 };
	uint64_t at = 0;
	struct err *e = take_format(&call->args, &f);

	if (!e)
		e = call_take_number(call, &at);
	if (!e)
		e = call_end(call);
	if (e)
		return e;
	return f.letter == 's' ? print_strings(&v, &f, at, &call->out) : print_items(&v, &f, at, &call->out);
}

struct err *monitor_x(struct monitor_call *call)
{
	return examine(call, false);
}

struct err *monitor_xp(struct monitor_call *call)
{
	return examine(call, true);
}

struct err *monitor_print(struct monitor_call *call)
{
	uint64_t value = 0;
	struct err *e = call_take_number(call, &value);

	if (!e)
		e = call_end(call);
	if (!e)
		buf_addf(&call->out, "0x%" PRIx64 "\n", value);
	return e;
}

/* ---- translation ---- */

struct err *monitor_gva2gpa(struct monitor_call *call)
{
	struct mapping m;
	uint64_t gva = 0;
	struct err *e = call_take_number(call, &gva);

	if (!e)
		e = call_end(call);
	if (!e)
		e = guest_translate(call->monitor->guest, call->monitor->cpu, gva, &m);
	if (!e)
		buf_addf(&call->out, "gpa: 0x%" PRIx64 "\n", m.gpa + (gva - m.gva));
	return e;
}

struct err *monitor_gpa2hva(struct monitor_call *call)
{
	const struct mem_block *b;
	uint64_t gpa = 0;
	struct err *e = call_take_number(call, &gpa);

	if (!e)
		e = call_end(call);
	if (e)
		return e;
	b = guest_block_at(call->monitor->guest, gpa);
	if (!b)
		return err_new(ERR_UNMAPPED, "no guest memory at physical address 0x%" PRIx64, gpa);
	if (!b->hva)
		return err_new(ERR_UNSUPPORTED, "the %s backend has no VMM whose memory it could be in",
			       call->monitor->guest->ops->name);
	buf_addf(&call->out, "Host virtual address for 0x%" PRIx64 " is 0x%" PRIx64 "\n", gpa, b->hva + (gpa - b->gpa));
	return NULL;
}
