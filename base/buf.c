/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/buf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hex.h"

void buf_deinit(struct buf *b)
{
	free(b->data);
	*b = (struct buf){ 0 };
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	if (b->data)
		b->data[0] = '\0';
}

const char *buf_str(const struct buf *b)
{
	return b->data ? b->data : "";
}

char *buf_take(struct buf *b)
{
	char *text = b->data ? b->data : xstrdup("");

	*b = (struct buf){ 0 };
	return text;
}

void *buf_extend(struct buf *b, size_t bytes)
{
	size_t need = b->len + bytes + 1;
	void *room;

	assert(need > b->len);
	if (need > b->cap) {
		b->cap = MAX(need, b->cap * 2);
		b->data = xrealloc(b->data, b->cap);
	}
	room = b->data + b->len;
	b->len += bytes;
	b->data[b->len] = '\0';
	return room;
}

void buf_add(struct buf *b, const void *data, size_t bytes)
{
	if (bytes)
		memcpy(buf_extend(b, bytes), data, bytes);
}

void buf_addch(struct buf *b, char c)
{
	*(char *)buf_extend(b, 1) = c;
}

void buf_adds(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_addv(b, fmt, ap);
	va_end(ap);
}

void buf_addv(struct buf *b, const char *fmt, va_list ap)
{
	char *text;
	int n = vasprintf(&text, fmt, ap);

	assert(n >= 0);
	buf_add(b, text, (size_t)n);
	free(text);
}

void buf_add_hex(struct buf *b, const void *data, size_t bytes)
{
	hex_encode(data, bytes, buf_extend(b, 2 * bytes));
}

void buf_drop(struct buf *b, size_t bytes)
{
	assert(bytes <= b->len);
	b->len -= bytes;
	if (b->data)
		memmove(b->data, b->data + bytes, b->len + 1);
}

void buf_trim(struct buf *b, size_t bytes)
{
	assert(bytes <= b->len);
	b->len -= bytes;
	if (b->data)
		b->data[b->len] = '\0';
}
