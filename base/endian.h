/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_ENDIAN_H
#define BASE_ENDIAN_H

#include <stddef.h>
#include <stdint.h>

/* The byte order of a guest; a property of its state, never of its architecture. */
enum byte_order {
	ORDER_LITTLE,
	ORDER_BIG,
};

/* The order of the machine that this program runs on. */
enum byte_order order_of_host(void);

/*
 * An unsigned integer of 1 to 16 bytes in a given byte order. Loads return the
 * low 64 bits; stores fill what is above them with zeros.
 */
uint64_t load_uint(const void *p, size_t bytes, enum byte_order order);
void store_uint(void *p, size_t bytes, enum byte_order order, uint64_t value);

#endif
