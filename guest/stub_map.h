/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_STUB_MAP_H
#define GUEST_STUB_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch/arch.h"
#include "base/endian.h"
#include "guest/tdesc.h"

/* Which register of a gdb stub is which row of an architecture. */

struct stub_row {
	bool known;
	uint32_t regnum;
	uint32_t bytes; /* on the wire */
	bool written_twice;
};

struct stub_map {
	struct stub_row *rows; /* one a row of the architecture */
	size_t n_known;
	int order_row; /* the register that tells the byte order of all; -1: that is the guest's */
};

/* Caller ends it with stub_map_deinit(). */
struct stub_map stub_map_of(const struct arch *arch, const struct tdesc *t);
void stub_map_deinit(struct stub_map *m);

/* What the bytes of order_row, as they came, tell. */
enum byte_order stub_map_order(const void *bytes, size_t n);

/* The low part of a number, or with zeros above it, in another order. */
void stub_map_resize(void *to, size_t to_bytes, enum byte_order to_order, const void *from, size_t from_bytes,
		     enum byte_order from_order);

#endif
