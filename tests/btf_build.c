/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/btf_build.h"

#include <linux/btf.h>
#include <string.h>

void btf_build_init(struct btf_build *b, uint32_t first_id)
{
	*b = (struct btf_build){ .next_id = first_id };
	buf_addch(&b->strings, '\0');
}

static uint32_t add_string(struct btf_build *b, const char *s)
{
	uint32_t at = (uint32_t)b->strings.len;

	if (!s)
		return 0;
	buf_add(&b->strings, s, strlen(s) + 1);
	return at;
}

static uint32_t add_type(struct btf_build *b, uint32_t kind, const char *name, uint32_t n, uint32_t size_or_type)
{
	struct btf_type t = { .name_off = add_string(b, name), .info = kind << 24 | n, .size = size_or_type };

	buf_add(&b->types, &t, sizeof(t));
	return b->next_id++;
}

uint32_t btf_build_int(struct btf_build *b, const char *name, uint32_t bytes)
{
	uint32_t id = add_type(b, BTF_KIND_INT, name, 0, bytes), encoding = bytes * 8;

	buf_add(&b->types, &encoding, sizeof(encoding));
	return id;
}

uint32_t btf_build_ref(struct btf_build *b, uint32_t kind, const char *name, uint32_t type)
{
	return add_type(b, kind, name, 0, type);
}

uint32_t btf_build_array(struct btf_build *b, uint32_t type, uint32_t n)
{
	uint32_t id = add_type(b, BTF_KIND_ARRAY, NULL, 0, 0);
	struct btf_array a = { .type = type, .index_type = 1, .nelems = n };

	buf_add(&b->types, &a, sizeof(a));
	return id;
}

uint32_t btf_build_struct(struct btf_build *b, uint32_t kind, const char *name, uint32_t bytes,
			  const struct btf_build_member *m, uint32_t n)
{
	uint32_t id = add_type(b, kind, name, n, bytes);

	for (uint32_t i = 0; i < n; i++) {
		struct btf_member own = { add_string(b, m[i].name), m[i].type, m[i].bit_offset };

		buf_add(&b->types, &own, sizeof(own));
	}
	return id;
}

void btf_build_finish(struct btf_build *b, struct buf *out)
{
	struct btf_header h = {
		.magic = BTF_MAGIC,
		.version = BTF_VERSION,
		.hdr_len = sizeof(h),
		.type_len = (uint32_t)b->types.len,
		.str_off = (uint32_t)b->types.len,
		.str_len = (uint32_t)b->strings.len,
	};

	buf_reset(out);
	buf_add(out, &h, sizeof(h));
	buf_add(out, b->types.data, b->types.len);
	buf_add(out, b->strings.data, b->strings.len);
	buf_deinit(&b->types);
	buf_deinit(&b->strings);
}
