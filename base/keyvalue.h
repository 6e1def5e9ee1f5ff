/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_KEYVALUE_H
#define BASE_KEYVALUE_H

#include "base/cursor.h"

/* Text of lines KEY=VALUE, as in a VMCOREINFO note. */

/* What stands behind KEY=, borrowed; false when there is no such line. */
bool keyvalue_find(const char *text, size_t bytes, const char *key, struct cursor *ret);

/*
 * The value as a number in base 10 or 16; false when there is none. A negative
 * one is returned as its two's complement.
 */
bool keyvalue_number(const char *text, size_t bytes, const char *key, int base, uint64_t *ret);

#endif
