/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "linux/kallsyms.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "linux/image.h"

/* Kernels have up to some 300,000 symbols, in some MiB. */
#define MAX_SYMBOLS (1u << 22)
#define MAX_NAMES_BYTES (64u << 20)
#define MAX_TOKENS_BYTES (256u << 10)
/* KSYM_NAME_LEN is 512. */
#define MAX_NAME_BYTES 1024u

#define N_TOKENS 256u
#define OFFSET_BYTES 4u

/* What a symbol's 32 bits mean, as scripts/kallsyms.c writes them. */
enum encoding {
	FROM_BASE,          /* unsigned, from kallsyms_relative_base on */
	FROM_BASE_OR_PERCPU, /* below zero: -1 - the same; else the value itself, a per-CPU offset */
	FROM_PLACE,         /* signed, from where they stand */
};

struct kallsyms {
	enum byte_order order;
	enum encoding encoding;
	uint64_t base; /* of FROM_PLACE: where offsets are */
	uint32_t n;
	uint8_t *names;
	size_t names_bytes;
	uint8_t *offsets;
	uint8_t *tokens; /* ends in a NUL */
	uint16_t token_at[N_TOKENS];
};

/* Where the guest has the tables. */
struct places {
	uint64_t names, num_syms, token_table, token_index, offsets;
	uint64_t relative_base; /* 0: there is none */
};

void kallsyms_close(struct kallsyms *k)
{
	if (!k)
		return;
	free(k->names);
	free(k->offsets);
	free(k->tokens);
	free(k);
}

/* ---- reading ---- */

static struct err *find_places(const struct vmcoreinfo *info, struct places *ret)
{
	struct places p = { 0 };

	if (!vmcoreinfo_symbol(info, "kallsyms_names", &p.names) ||
	    !vmcoreinfo_symbol(info, "kallsyms_num_syms", &p.num_syms) ||
	    !vmcoreinfo_symbol(info, "kallsyms_token_table", &p.token_table) ||
	    !vmcoreinfo_symbol(info, "kallsyms_token_index", &p.token_index) ||
	    !vmcoreinfo_symbol(info, "kallsyms_offsets", &p.offsets))
		return err_new(ERR_UNKNOWN, "the guest's VMCOREINFO does not say where its symbols are: "
					    "Linux does so from 6.0 on, unless built without CONFIG_KALLSYMS");
	vmcoreinfo_symbol(info, "kallsyms_relative_base", &p.relative_base);
	*ret = p;
	return NULL;
}

/* From one table to the one that stands behind it; *ret is to be freed on failure, too. */
static struct err *read_table(struct guest *g, const struct regs *regs, uint64_t from, uint64_t to, uint64_t max,
			      uint8_t **ret, size_t *ret_bytes)
{
	if (to <= from || to - from > max)
		return err_new(ERR_INVALID, "the next table is at 0x%" PRIx64, to);
	*ret_bytes = (size_t)(to - from);
	*ret = xmalloc(*ret_bytes);
	return linux_read(g, regs, from, *ret, *ret_bytes);
}

static struct err *read_tokens(struct kallsyms *k, struct guest *g, const struct regs *regs, const struct places *p)
{
	uint8_t index[2 * N_TOKENS];
	size_t bytes = 0;
	struct err *e = read_table(g, regs, p->token_table, p->token_index, MAX_TOKENS_BYTES, &k->tokens, &bytes);

	if (!e)
		e = linux_read(g, regs, p->token_index, index, sizeof(index));
	if (e)
		return e;
	if (k->tokens[bytes - 1])
		return err_new(ERR_INVALID, "the last token has no end");
	for (unsigned i = 0; i < N_TOKENS; i++) {
		k->token_at[i] = (uint16_t)load_uint(index + 2 * i, 2, k->order);
		if (k->token_at[i] >= bytes)
			return err_new(ERR_INVALID, "token %u lies outside of the table", i);
	}
	return NULL;
}

static struct err *read_count(struct kallsyms *k, struct guest *g, const struct regs *regs, const struct places *p)
{
	uint64_t n = 0;
	struct err *e = linux_read_uint(g, regs, p->num_syms, 4, &n);

	if (e)
		return e;
	/* A name has its length and its type, at least. */
	if (!n || n > MAX_SYMBOLS || n > k->names_bytes / 2)
		return err_new(ERR_INVALID, "%" PRIu64 " symbols", n);
	k->n = (uint32_t)n;
	return NULL;
}

static int32_t offset_of(const struct kallsyms *k, uint32_t i)
{
	return (int32_t)load_uint(k->offsets + (size_t)OFFSET_BYTES * i, OFFSET_BYTES, k->order);
}

/* The last symbol is one of the kernel's image, which is never 2 GiB behind the base. */
static struct err *read_offsets(struct kallsyms *k, struct guest *g, const struct regs *regs, const struct places *p)
{
	size_t bytes = (size_t)OFFSET_BYTES * k->n;
	struct err *e;

	k->offsets = xmalloc(bytes);
	e = linux_read(g, regs, p->offsets, k->offsets, bytes);
	k->encoding = FROM_PLACE;
	k->base = p->offsets;
	if (e || !p->relative_base)
		return e;
	k->encoding = offset_of(k, k->n - 1) < 0 ? FROM_BASE_OR_PERCPU : FROM_BASE;
	return linux_read_uint(g, regs, p->relative_base, 8, &k->base);
}

/* ---- symbols ---- */

static uint64_t address_of(const struct kallsyms *k, uint32_t i)
{
	int32_t offset = offset_of(k, i);

	switch (k->encoding) {
	case FROM_PLACE:
		return k->base + (uint64_t)OFFSET_BYTES * i + (uint64_t)(int64_t)offset;
	case FROM_BASE_OR_PERCPU:
		return offset < 0 ? k->base - 1 - (uint64_t)(int64_t)offset : (uint64_t)offset;
	default:
		return k->base + (uint32_t)offset;
	}
}

static bool is_percpu(const struct kallsyms *k, uint32_t i)
{
	return k->encoding == FROM_BASE_OR_PERCPU && offset_of(k, i) >= 0;
}

/* The tokens that the next name is made of; long ones have a length of two bytes, from 6.1 on. */
static bool take_name(const struct kallsyms *k, size_t *at, size_t *ret_n)
{
	size_t left = k->names_bytes - *at, head = 1, n;

	if (!left)
		return false;
	n = k->names[*at];
	if (n & 0x80) {
		if (left < 2)
			return false;
		n = (n & 0x7f) | (size_t)k->names[*at + 1] << 7;
		head = 2;
	}
	if (!n || n > left - head)
		return false;
	*at += head;
	*ret_n = n;
	return true;
}

/* ret has MAX_NAME_BYTES: the type's letter, the name and a NUL. */
static bool expand(const struct kallsyms *k, size_t at, size_t n, char *ret)
{
	size_t len = 0;

	for (size_t i = 0; i < n; i++) {
		const char *token = (const char *)k->tokens + k->token_at[k->names[at + i]];
		size_t bytes = strlen(token);

		if (bytes >= MAX_NAME_BYTES - len)
			return false;
		memcpy(ret + len, token, bytes);
		len += bytes;
	}
	ret[len] = '\0';
	return len > 1;
}

/* As a lookup goes through them; nothing needs to be checked after this. */
static struct err *check_names(const struct kallsyms *k)
{
	char name[MAX_NAME_BYTES];
	size_t at = 0, n;

	for (uint32_t i = 0; i < k->n; i++, at += n)
		if (!take_name(k, &at, &n) || !expand(k, at, n, name))
			return err_new(ERR_INVALID, "name %" PRIu32 " cannot be read", i);
	return NULL;
}

bool kallsyms_find(const struct kallsyms *k, const char *name, uint64_t *ret)
{
	char found[MAX_NAME_BYTES];
	size_t at = 0, n;

	for (uint32_t i = 0; i < k->n && take_name(k, &at, &n); i++, at += n)
		if (expand(k, at, n, found) && !strcmp(found + 1, name)) {
			*ret = address_of(k, i);
			return true;
		}
	return false;
}

static void add_name(const struct kallsyms *k, uint32_t i, struct buf *out)
{
	char name[MAX_NAME_BYTES];
	size_t at = 0, n = 0;

	while (take_name(k, &at, &n) && i--)
		at += n;
	if (expand(k, at, n, name))
		buf_adds(out, name + 1);
}

bool kallsyms_at(const struct kallsyms *k, uint64_t gva, struct buf *ret_name, uint64_t *ret_offset)
{
	bool below = false, above = false;
	uint64_t best = 0;
	uint32_t found = 0;

	for (uint32_t i = 0; i < k->n; i++) {
		uint64_t address = address_of(k, i);

		if (is_percpu(k, i))
			continue;
		above |= address >= gva;
		if (address <= gva && (!below || address > best)) {
			best = address;
			found = i;
			below = true;
		}
	}
	if (!below || !above)
		return false;
	add_name(k, found, ret_name);
	*ret_offset = gva - best;
	return true;
}

/* ---- opening ---- */

/* One symbol is known from elsewhere: a wrong reading of the tables shows in it. */
static struct err *check_stext(const struct kallsyms *k, const struct vmcoreinfo *info)
{
	uint64_t want, got;

	if (!vmcoreinfo_symbol(info, "_stext", &want) || (kallsyms_find(k, "_stext", &got) && got == want))
		return NULL;
	return err_new(ERR_INVALID, "they do not have _stext at 0x%" PRIx64 ", where VMCOREINFO has it", want);
}

static struct err *read_all(struct kallsyms *k, struct guest *g, const struct regs *regs, const struct places *p)
{
	struct err *e = err_prefix(read_tokens(k, g, regs, p), "kallsyms_token_table");

	if (!e)
		e = err_prefix(read_table(g, regs, p->names, p->token_table, MAX_NAMES_BYTES, &k->names,
					  &k->names_bytes), "kallsyms_names");
	if (!e)
		e = err_prefix(read_count(k, g, regs, p), "kallsyms_num_syms");
	if (!e)
		e = err_prefix(check_names(k), "kallsyms_names");
	return e ? e : err_prefix(read_offsets(k, g, regs, p), "kallsyms_offsets");
}

struct err *kallsyms_open(struct guest *g, const struct regs *regs, const struct vmcoreinfo *info,
			  struct kallsyms **ret)
{
	struct kallsyms *k;
	struct places places = { 0 };
	struct err *e = find_places(info, &places);

	if (e)
		return e;
	k = xcalloc(1, sizeof(*k));
	k->order = g->order;
	e = read_all(k, g, regs, &places);
	if (!e)
		e = check_stext(k, info);
	if (e) {
		kallsyms_close(k);
		return err_prefix(e, "the guest kernel's table of symbols");
	}
	*ret = k;
	return NULL;
}
