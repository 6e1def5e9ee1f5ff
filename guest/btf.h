/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_BTF_H
#define GUEST_BTF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/*
 * A kernel's type information (BTF, include/uapi/linux/btf.h), as far as offsets
 * of members go: the host's own, or a guest's, which may have the other byte order.
 */
struct btf;

/*
 * Reads a BTF file such as /sys/kernel/btf/vmlinux. base: what a module's split
 * BTF continues, borrowed for its life; else NULL.
 */
struct err *btf_open(const char *path, const struct btf *base, struct btf **ret) MUST_CHECK;
/* The same from memory, which is copied. Its magic number tells its byte order; a base has the same. */
struct err *btf_parse(const void *data, size_t bytes, const struct btf *base, struct btf **ret) MUST_CHECK;
void btf_close(struct btf *b); /* takes NULL */

/* The id of a struct or union that is defined (not only declared); 0: none. */
uint32_t btf_struct(const struct btf *b, const char *name);
/* Size in bytes of a struct, union or array of structs by type id. */
uint64_t btf_size(const struct btf *b, uint32_t type);

struct btf_place {
	uint32_t offset; /* bytes from the start of the struct that was asked */
	uint32_t type;   /* with typedefs, const and volatile taken off */
};

/* Finds a member, also inside anonymous structs and unions. False: none, or a bit field. */
bool btf_find_member(const struct btf *b, uint32_t type, const char *name, struct btf_place *ret);
/* Number of elements of an array type; 0 when it is none. */
uint32_t btf_array_len(const struct btf *b, uint32_t type);
/* The type an array or pointer is of; 0 when it is neither. */
uint32_t btf_element(const struct btf *b, uint32_t type);

#endif
