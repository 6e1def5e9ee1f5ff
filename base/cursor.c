/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/cursor.h"

#include <string.h>

#include "base/alloc.h"
#include "base/hex.h"

struct cursor cursor_of(const void *data, size_t bytes)
{
	const char *p = data ? data : "";

	return (struct cursor){ p, p + bytes };
}

struct cursor cursor_of_string(const char *s)
{
	return cursor_of(s, strlen(s));
}

size_t cursor_left(const struct cursor *c)
{
	return (size_t)(c->end - c->at);
}

bool cursor_at_end(const struct cursor *c)
{
	return c->at == c->end;
}

bool cursor_take_char(struct cursor *c, char want)
{
	if (cursor_at_end(c) || *c->at != want)
		return false;
	c->at++;
	return true;
}

bool cursor_take_string(struct cursor *c, const char *want)
{
	size_t n = strlen(want);

	if (cursor_left(c) < n || memcmp(c->at, want, n))
		return false;
	c->at += n;
	return true;
}

/* Digits of a base up to 16, one or more, that fit 64 bits. */
static bool take_digits(struct cursor *c, unsigned base, uint64_t *ret)
{
	const char *p = c->at;
	uint64_t value = 0;

	for (; p < c->end; p++) {
		int digit = hex_digit(*p);

		if (digit < 0 || (unsigned)digit >= base)
			break;
		if (__builtin_mul_overflow(value, (uint64_t)base, &value) ||
		    __builtin_add_overflow(value, (uint64_t)digit, &value))
			return false;
	}
	if (p == c->at)
		return false;
	c->at = p;
	*ret = value;
	return true;
}

bool cursor_take_hex(struct cursor *c, uint64_t *ret)
{
	return take_digits(c, 16, ret);
}

bool cursor_take_hex_bytes(struct cursor *c, void *ret, size_t bytes)
{
	if (cursor_left(c) / 2 < bytes || !hex_decode(c->at, bytes, ret))
		return false;
	c->at += 2 * bytes;
	return true;
}

bool cursor_take_number(struct cursor *c, uint64_t *ret)
{
	struct cursor hex = *c;

	if ((cursor_take_string(&hex, "0x") || cursor_take_string(&hex, "0X")) && !cursor_at_end(&hex) &&
	    hex_digit(*hex.at) >= 0) {
		if (!take_digits(&hex, 16, ret))
			return false;
		*c = hex;
		return true;
	}
	return take_digits(c, !cursor_at_end(c) && *c->at == '0' ? 8 : 10, ret);
}

struct cursor cursor_take_until(struct cursor *c, const char *stop)
{
	struct cursor ret = { c->at, c->at };

	while (ret.end < c->end && (*ret.end == '\0' || !strchr(stop, *ret.end)))
		ret.end++;
	c->at = ret.end;
	return ret;
}

static bool is_space(char ch)
{
	return ch == ' ' || (ch >= '\t' && ch <= '\r');
}

void cursor_skip_space(struct cursor *c)
{
	while (!cursor_at_end(c) && is_space(*c->at))
		c->at++;
}

bool cursor_take_word(struct cursor *c, struct cursor *ret)
{
	struct cursor word = *c;

	cursor_skip_space(&word);
	if (cursor_at_end(&word))
		return false;
	c->at = word.at;
	*ret = cursor_take_until(c, " \t\n\v\f\r");
	return true;
}

bool cursor_equals(const struct cursor *c, const char *s)
{
	size_t n = strlen(s);

	return cursor_left(c) == n && !memcmp(c->at, s, n);
}

char *cursor_dup(const struct cursor *c)
{
	return xstrndup(c->at, cursor_left(c));
}
