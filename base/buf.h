/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

/*
 * A growing byte buffer. data[len] is always a NUL that len does not count, so
 * a buffer of text can be read as a C string. {0} is a valid empty buffer
 * whose data is NULL until something is added; buf_str() never is.
 */
struct buf {
	char *data;
	size_t len;
	size_t cap;
};

void buf_deinit(struct buf *b);
void buf_reset(struct buf *b); /* empty, keeps the memory */
const char *buf_str(const struct buf *b); /* borrowed until b changes */
char *buf_take(struct buf *b); /* caller frees; b is empty after it */
void *buf_extend(struct buf *b, size_t bytes); /* adds uninitialised room, returns it */
void buf_add(struct buf *b, const void *data, size_t bytes);
void buf_addch(struct buf *b, char c);
void buf_adds(struct buf *b, const char *s);
void buf_addf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_addv(struct buf *b, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);
void buf_add_hex(struct buf *b, const void *data, size_t bytes); /* two lower-case digits a byte */
void buf_drop(struct buf *b, size_t bytes); /* removes from the front */
void buf_trim(struct buf *b, size_t bytes); /* removes from the end */

#endif
