/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_BTF_BUILD_H
#define TESTS_BTF_BUILD_H

#include <stdint.h>

#include "base/buf.h"
#include "guest/btf.h"

/* Puts a BTF file together, type by type; ids count up from first_id in the order of the calls. */
struct btf_build {
	struct buf types, strings;
	uint32_t next_id;
};

struct btf_build_member {
	const char *name; /* NULL: anonymous */
	uint32_t type;
	uint32_t bit_offset;
};

/* first_id 1 and first_string 0, or what a base has used up. */
void btf_build_init(struct btf_build *b, uint32_t first_id);
uint32_t btf_build_int(struct btf_build *b, const char *name, uint32_t bytes);
uint32_t btf_build_ref(struct btf_build *b, uint32_t kind, const char *name, uint32_t type);
uint32_t btf_build_array(struct btf_build *b, uint32_t type, uint32_t n);
uint32_t btf_build_struct(struct btf_build *b, uint32_t kind, const char *name, uint32_t bytes,
			  const struct btf_build_member *m, uint32_t n);
/* The whole file. The builder is empty after it. */
void btf_build_finish(struct btf_build *b, struct buf *out);

#endif
