/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_ATTR_H
#define BASE_ATTR_H

/* Compiler attributes and small helpers that every directory uses. */

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define NORETURN __attribute__((noreturn))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* Both take a power of two. */
#define ALIGN_DOWN(x, to) ((x) & ~((__typeof__(x))(to) - 1))
#define ALIGN_UP(x, to) ALIGN_DOWN((x) + (to) - 1, to)

#endif
