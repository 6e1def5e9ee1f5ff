/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/endian.h"

enum byte_order order_of_host(void)
{
	return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? ORDER_BIG : ORDER_LITTLE;
}

uint64_t load_uint(const void *p, size_t bytes, enum byte_order order)
{
	const uint8_t *b = p;
	uint64_t value = 0;

	for (size_t i = 0; i < bytes; i++)
		value = value << 8 | b[order == ORDER_BIG ? i : bytes - 1 - i];
	return value;
}

void store_uint(void *p, size_t bytes, enum byte_order order, uint64_t value)
{
	uint8_t *b = p;

	for (size_t i = 0; i < bytes; i++) {
		b[order == ORDER_BIG ? bytes - 1 - i : i] = (uint8_t)value;
		value >>= 8;
	}
}
