/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/kallsyms_build.h"

#include <inttypes.h>
#include <string.h>

#include "guest/fake.h"

/* Characters stand for themselves; these, for more of them. */
static const char *const TOKENS[] = { "init_", "task", "_struct", "T__", "sched" };
#define FIRST_TOKEN 128u

static void add_uint(struct buf *out, const struct guest *g, size_t bytes, uint64_t value)
{
	store_uint(buf_extend(out, bytes), bytes, g->order, value);
}

static void pad(struct buf *out)
{
	while (out->len % 8)
		buf_addch(out, '\0');
}

static const char *token_of(unsigned i, char ret[2])
{
	if (i >= FIRST_TOKEN && i - FIRST_TOKEN < sizeof(TOKENS) / sizeof(*TOKENS))
		return TOKENS[i - FIRST_TOKEN];
	ret[0] = i > ' ' && i < 127 ? (char)i : '\0';
	ret[1] = '\0';
	return ret;
}

static void compress(const char *text, struct buf *out)
{
	while (*text) {
		size_t used = 1;
		char code = *text;

		for (unsigned i = 0; i < sizeof(TOKENS) / sizeof(*TOKENS); i++)
			if (!strncmp(text, TOKENS[i], strlen(TOKENS[i]))) {
				used = strlen(TOKENS[i]);
				code = (char)(FIRST_TOKEN + i);
			}
		buf_addch(out, code);
		text += used;
	}
}

static void add_name(const struct kallsyms_symbol *s, struct buf *out)
{
	struct buf text = { 0 }, codes = { 0 };

	buf_addf(&text, "%c%s", s->type, s->name);
	compress(buf_str(&text), &codes);
	if (codes.len < 128) {
		buf_addch(out, (char)codes.len);
	} else {
		buf_addch(out, (char)(0x80 | (codes.len & 0x7f)));
		buf_addch(out, (char)(codes.len >> 7));
	}
	buf_add(out, codes.data, codes.len);
	buf_deinit(&text);
	buf_deinit(&codes);
}

static void add_tokens(const struct guest *g, struct buf *tokens, struct buf *index)
{
	char own[2];

	for (unsigned i = 0; i < 256; i++) {
		const char *token = token_of(i, own);

		add_uint(index, g, 2, tokens->len);
		buf_add(tokens, token, strlen(token) + 1);
	}
}

/* The least address that is no per-CPU offset. */
static uint64_t base_of(const struct kallsyms_build *b)
{
	size_t i = 0;

	while (b->form == KALLSYMS_PERCPU && b->symbols[i].type == 'A')
		i++;
	return b->symbols[i].address;
}

static uint64_t offset_of(const struct kallsyms_build *b, size_t i)
{
	const struct kallsyms_symbol *s = &b->symbols[i];

	if (b->form == KALLSYMS_FROM_PLACE)
		return s->address - (b->offsets + 4 * i);
	if (b->form == KALLSYMS_PERCPU)
		return s->type == 'A' ? s->address : base_of(b) - 1 - s->address;
	return s->address - base_of(b);
}

static void add_info(const struct kallsyms_build *b, struct buf *info)
{
	buf_addf(info, "SYMBOL(kallsyms_names)=%" PRIx64 "\nSYMBOL(kallsyms_num_syms)=%" PRIx64 "\n", b->names,
		 b->num_syms);
	buf_addf(info, "SYMBOL(kallsyms_token_table)=%" PRIx64 "\nSYMBOL(kallsyms_token_index)=%" PRIx64 "\n",
		 b->token_table, b->token_index);
	buf_addf(info, "SYMBOL(kallsyms_offsets)=%" PRIx64 "\n", b->offsets);
	if (b->form != KALLSYMS_FROM_PLACE)
		buf_addf(info, "SYMBOL(kallsyms_relative_base)=%" PRIx64 "\n", b->relative_base);
}

void kallsyms_build(struct kallsyms_build *b, struct guest *g, struct buf *info)
{
	struct buf all = { 0 }, tokens = { 0 }, index = { 0 };

	b->relative_base = b->gva;
	add_uint(&all, g, 8, base_of(b));
	b->num_syms = b->gva + all.len;
	add_uint(&all, g, 4, b->n);
	pad(&all);
	b->names = b->gva + all.len;
	for (size_t i = 0; i < b->n; i++)
		add_name(&b->symbols[i], &all);
	pad(&all);
	add_tokens(g, &tokens, &index);
	b->token_table = b->gva + all.len;
	buf_add(&all, tokens.data, tokens.len);
	pad(&all);
	b->token_index = b->gva + all.len;
	buf_add(&all, index.data, index.len);
	b->offsets = b->gva + all.len;
	for (size_t i = 0; i < b->n; i++)
		add_uint(&all, g, 4, offset_of(b, i));
	b->end = b->gva + all.len;
	memcpy(fake_at(g, b->gpa), all.data, all.len);
	add_info(b, info);
	buf_deinit(&all);
	buf_deinit(&tokens);
	buf_deinit(&index);
}
