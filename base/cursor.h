/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_CURSOR_H
#define BASE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A parser's place in bytes that somebody else wrote. Every take either
 * succeeds and moves on, or returns false and leaves the cursor where it was.
 * The bytes are borrowed and need no NUL.
 */
struct cursor {
	const char *at;
	const char *end;
};

struct cursor cursor_of(const void *data, size_t bytes);
struct cursor cursor_of_string(const char *s);
size_t cursor_left(const struct cursor *c);
bool cursor_at_end(const struct cursor *c);
bool cursor_take_char(struct cursor *c, char want);
bool cursor_take_string(struct cursor *c, const char *want);

/* One or more hexadecimal digits; false also when the value needs over 64 bits. */
bool cursor_take_hex(struct cursor *c, uint64_t *ret);

/* Exactly bytes pairs of hexadecimal digits into ret. */
bool cursor_take_hex_bytes(struct cursor *c, void *ret, size_t bytes);

/* Decimal, 0x hexadecimal or leading-0 octal, as strtoull with base 0; no sign. */
bool cursor_take_number(struct cursor *c, uint64_t *ret);

/* What stands before the first byte of stop (or the end); may be empty, never fails. */
struct cursor cursor_take_until(struct cursor *c, const char *stop);

/* A word up to white space, after skipping white space; false at the end. */
bool cursor_take_word(struct cursor *c, struct cursor *ret);

void cursor_skip_space(struct cursor *c);
bool cursor_equals(const struct cursor *c, const char *s);
char *cursor_dup(const struct cursor *c); /* caller frees */

#endif
