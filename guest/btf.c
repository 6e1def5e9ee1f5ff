/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/btf.h"

#include <linux/btf.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "guest/proc.h"

/* Nesting of types is shallow in real kernels; a file that loops is refused by this. */
#define MAX_DEPTH 32

struct btf {
	const struct btf *base;
	char *data;
	const char *strings;
	uint32_t n_strings; /* bytes */
	const struct btf_type **types; /* id - first_id */
	uint32_t first_id, n_types;
	uint32_t first_string;
};

/* Bytes behind a struct btf_type, by kind; -1 for a kind that is not known. */
static int64_t tail_bytes(const struct btf_type *t)
{
	uint32_t n = BTF_INFO_VLEN(t->info);

	switch (BTF_INFO_KIND(t->info)) {
	case BTF_KIND_INT:
	case BTF_KIND_VAR:
	case BTF_KIND_DECL_TAG:
		return 4;
	case BTF_KIND_ARRAY:
		return sizeof(struct btf_array);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
	case BTF_KIND_DATASEC:
	case BTF_KIND_ENUM64:
		return 12 * (int64_t)n;
	case BTF_KIND_ENUM:
	case BTF_KIND_FUNC_PROTO:
		return 8 * (int64_t)n;
	case BTF_KIND_PTR:
	case BTF_KIND_FWD:
	case BTF_KIND_TYPEDEF:
	case BTF_KIND_VOLATILE:
	case BTF_KIND_CONST:
	case BTF_KIND_RESTRICT:
	case BTF_KIND_FUNC:
	case BTF_KIND_FLOAT:
	case BTF_KIND_TYPE_TAG:
		return 0;
	default:
		return -1;
	}
}

static struct err *index_types(struct btf *b, const char *at, uint64_t bytes)
{
	uint32_t cap = 0;

	while (bytes) {
		const struct btf_type *t = (const struct btf_type *)at;
		int64_t tail = bytes < sizeof(*t) ? -1 : tail_bytes(t);

		if (tail < 0 || (uint64_t)tail > bytes - sizeof(*t))
			return err_new(ERR_INVALID, "type %u of the BTF cannot be parsed",
				       b->first_id + b->n_types);
		if (b->n_types == cap) {
			cap = cap ? 2 * cap : 4096;
			b->types = xreallocarray(b->types, cap, sizeof(*b->types));
		}
		b->types[b->n_types++] = t;
		at += sizeof(*t) + (size_t)tail;
		bytes -= sizeof(*t) + (uint64_t)tail;
	}
	return NULL;
}

/* Whole words, as all of a header behind its first and all of the types are. */
static void swap_words(char *at, uint64_t bytes)
{
	for (uint32_t *word = (uint32_t *)at; bytes >= sizeof(*word); bytes -= sizeof(*word), word++)
		*word = __builtin_bswap32(*word);
}

static bool is_section(uint64_t offset, uint64_t length, uint64_t body)
{
	return offset <= body && length <= body - offset;
}

static struct err *parse(struct btf *b, uint64_t bytes)
{
	struct btf_header *h = (struct btf_header *)b->data;
	bool swapped = bytes >= sizeof(*h) && h->magic == __builtin_bswap16(BTF_MAGIC);

	if (swapped) {
		h->magic = BTF_MAGIC;
		swap_words((char *)&h->hdr_len, sizeof(*h) - offsetof(struct btf_header, hdr_len));
	}
	if (bytes < sizeof(*h) || h->magic != BTF_MAGIC || h->hdr_len < sizeof(*h) || h->hdr_len > bytes)
		return err_new(ERR_INVALID, "it has no BTF header");
	if (!is_section(h->type_off, h->type_len, bytes - h->hdr_len) || h->type_off % 4 || h->hdr_len % 4 ||
	    !is_section(h->str_off, h->str_len, bytes - h->hdr_len) || !h->str_len)
		return err_new(ERR_INVALID, "its BTF sections lie outside of it");
	if (swapped)
		swap_words(b->data + h->hdr_len + h->type_off, h->type_len);
	b->strings = b->data + h->hdr_len + h->str_off;
	b->n_strings = h->str_len;
	if (b->strings[b->n_strings - 1])
		return err_new(ERR_INVALID, "its last string has no end");
	b->first_id = b->base ? b->base->first_id + b->base->n_types : 1;
	b->first_string = b->base ? b->base->first_string + b->base->n_strings : 0;
	return index_types(b, b->data + h->hdr_len + h->type_off, h->type_len);
}

struct err *btf_parse(const void *data, size_t bytes, const struct btf *base, struct btf **ret)
{
	struct btf *b = xcalloc(1, sizeof(*b));
	struct err *e;

	b->base = base;
	b->data = xmalloc(bytes);
	memcpy(b->data, data, bytes);
	e = parse(b, bytes);
	if (e) {
		btf_close(b);
		return e;
	}
	*ret = b;
	return NULL;
}

struct err *btf_open(const char *path, const struct btf *base, struct btf **ret)
{
	struct buf data = { 0 };
	struct err *e = proc_read(&data, "%s", path);

	if (!e)
		e = err_prefix(btf_parse(buf_str(&data), data.len, base, ret), "%s", path);
	buf_deinit(&data);
	return e;
}

void btf_close(struct btf *b)
{
	if (!b)
		return;
	free(b->types);
	free(b->data);
	free(b);
}

static const struct btf_type *type_at(const struct btf *b, uint32_t id)
{
	while (b && id < b->first_id)
		b = b->base;
	return b && id - b->first_id < b->n_types ? b->types[id - b->first_id] : NULL;
}

static const char *string_at(const struct btf *b, uint32_t offset)
{
	while (b && offset < b->first_string)
		b = b->base;
	return b && offset - b->first_string < b->n_strings ? b->strings + (offset - b->first_string) : "";
}

static bool is_composite(const struct btf_type *t)
{
	uint32_t kind = BTF_INFO_KIND(t->info);

	return kind == BTF_KIND_STRUCT || kind == BTF_KIND_UNION;
}

uint32_t btf_struct(const struct btf *b, const char *name)
{
	for (; b; b = b->base)
		for (uint32_t i = 0; i < b->n_types; i++)
			if (is_composite(b->types[i]) && !strcmp(string_at(b, b->types[i]->name_off), name))
				return b->first_id + i;
	return 0;
}

static uint32_t strip(const struct btf *b, uint32_t id)
{
	for (int depth = 0; depth < MAX_DEPTH; depth++) {
		const struct btf_type *t = type_at(b, id);
		uint32_t kind = t ? BTF_INFO_KIND(t->info) : BTF_KIND_UNKN;

		if (kind != BTF_KIND_TYPEDEF && kind != BTF_KIND_VOLATILE && kind != BTF_KIND_CONST &&
		    kind != BTF_KIND_RESTRICT && kind != BTF_KIND_TYPE_TAG)
			break;
		id = t->type;
	}
	return id;
}

static const struct btf_array *array_at(const struct btf *b, uint32_t id)
{
	const struct btf_type *t = type_at(b, strip(b, id));

	return t && BTF_INFO_KIND(t->info) == BTF_KIND_ARRAY ? (const struct btf_array *)(t + 1) : NULL;
}

uint32_t btf_array_len(const struct btf *b, uint32_t type)
{
	const struct btf_array *a = array_at(b, type);

	return a ? a->nelems : 0;
}

uint32_t btf_element(const struct btf *b, uint32_t type)
{
	const struct btf_array *a = array_at(b, type);
	const struct btf_type *t = type_at(b, strip(b, type));

	if (a)
		return strip(b, a->type);
	return t && BTF_INFO_KIND(t->info) == BTF_KIND_PTR ? strip(b, t->type) : 0;
}

uint64_t btf_size(const struct btf *b, uint32_t type)
{
	uint64_t count = 1;

	for (int depth = 0; depth < MAX_DEPTH; depth++) {
		const struct btf_type *t = type_at(b, strip(b, type));
		const struct btf_array *a = array_at(b, type);

		if (!a)
			return t && is_composite(t) ? count * t->size : 0;
		count *= a->nelems;
		type = a->type;
	}
	return 0;
}

static bool find_member(const struct btf *b, uint32_t type, const char *name, uint32_t at, int depth,
		       struct btf_place *ret)
{
	const struct btf_type *t = type_at(b, type);
	const struct btf_member *m;

	if (!t || !is_composite(t) || depth == MAX_DEPTH)
		return false;
	m = (const struct btf_member *)(t + 1);
	for (uint32_t i = 0; i < BTF_INFO_VLEN(t->info); i++) {
		bool flag = BTF_INFO_KFLAG(t->info);
		uint32_t bits = flag ? BTF_MEMBER_BIT_OFFSET(m[i].offset) : m[i].offset;
		const char *own = string_at(b, m[i].name_off);

		if (!*own && find_member(b, strip(b, m[i].type), name, at + bits / 8, depth + 1, ret))
			return true;
		if (strcmp(own, name) || (flag && BTF_MEMBER_BITFIELD_SIZE(m[i].offset)))
			continue;
		*ret = (struct btf_place){ at + bits / 8, strip(b, m[i].type) };
		return true;
	}
	return false;
}

bool btf_find_member(const struct btf *b, uint32_t type, const char *name, struct btf_place *ret)
{
	return find_member(b, strip(b, type), name, 0, 0, ret);
}
