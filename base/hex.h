/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_HEX_H
#define BASE_HEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The value of one hexadecimal digit of either case, or -1. */
int hex_digit(char c);

/* Writes 2 * bytes lower-case digits to ret, with no NUL. */
void hex_encode(const void *data, size_t bytes, char *ret);

/* Reads 2 * bytes digits; false, with ret undefined, when one is no digit. */
bool hex_decode(const char *text, size_t bytes, void *ret);

#endif
