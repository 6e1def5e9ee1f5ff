/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "dump/chunk.h"

/* An ELF file, from its first byte to its last; where it is wrapped each chunk becomes a member of the stream. */
struct elf_writer {
	struct dump_writer writer;
	uint64_t at;    /* offset of the next chunk */
	size_t region;  /* the first whose end is not reached */
	/* Members of CHUNK_BYTES zeros each, so many that a write is worth its while. */
	struct buf zeros;
	size_t zeros_count;
};

#define ZEROS_BYTES (64u << 10)

static const struct elf_writer *of(const struct dump_writer *w)
{
	return (const struct elf_writer *)w;
}

static struct err *next(struct dump_writer *w, struct dump_chunk *c, bool *ret_more)
{
	struct elf_writer *ew = (struct elf_writer *)w;
	const struct dump_plan *p = w->plan;
	const struct dump_region *r = &p->regions[ew->region];
	struct err *e = NULL;

	*ret_more = ew->at < p->file_bytes;
	if (!*ret_more)
		return NULL;
	c->offset = ew->at;
	if (ew->at < p->head_bytes) {
		c->kind = CHUNK_HEAD;
		c->bytes = MIN(p->head_bytes - ew->at, CHUNK_BYTES);
	} else if (ew->at < r->offset) {
		c->kind = CHUNK_GAP;
		c->bytes = r->offset - ew->at;
	} else {
		e = dump_memory_next(p, r->gpa + (ew->at - r->offset), r->gpa + r->bytes, c);
	}
	c->weight = c->bytes;
	ew->at += c->bytes;
	if (ew->at == r->offset + r->bytes)
		ew->region++;
	return e;
}

static struct err *read_chunk(const struct dump_writer *w, struct dump_chunk *c)
{
	if (c->kind == CHUNK_HEAD)
		return dump_head_read(w->plan, c);
	if (c->kind == CHUNK_MEMORY && !c->is_read)
		return dump_memory_read(w->plan, c, true);
	return NULL;
}

static bool has_data(const struct dump_chunk *c)
{
	return c->kind == CHUNK_HEAD || c->kind == CHUNK_MEMORY;
}

/* The zeros that are less than a whole member go into one of their own. */
static struct err *pack(const struct dump_writer *w, void *state, struct dump_chunk *c)
{
	size_t bytes = has_data(c) ? (size_t)c->bytes : (size_t)(c->bytes % CHUNK_BYTES);

	if (!has_data(c))
		memset(c->data, 0, bytes);
	return bytes ? dump_writer_pack(w, state, c, bytes) : NULL;
}

static struct err *work(const struct dump_writer *w, void *state, struct dump_chunk *c)
{
	struct err *e = read_chunk(w, c);

	if (e)
		return e;
	if (c->kind == CHUNK_MEMORY)
		dump_memory_sort(w->plan, c);
	if (c->kind == CHUNK_ZEROS)
		dump_memory_count_zeros(w->plan, c);
	if (w->codec)
		return pack(w, state, c);
	dump_writer_put(w, c, c->offset, has_data(c) ? c->data : NULL, c->bytes);
	return NULL;
}

static void put_members_of_zeros(const struct elf_writer *ew, struct dump_chunk *c)
{
	uint64_t n = c->bytes / CHUNK_BYTES, bytes = ew->zeros.len / ew->zeros_count * n;

	if (bytes)
		dump_writer_put_repeated(&ew->writer, c, 0, (const uint8_t *)ew->zeros.data, ew->zeros.len, bytes);
}

static void place(struct dump_writer *w, struct dump_chunk *c)
{
	if (!w->codec)
		return;
	if (!has_data(c))
		put_members_of_zeros(of(w), c);
	dump_writer_put(w, c, 0, c->packed, c->packed_bytes);
}

static void destroy(struct dump_writer *w)
{
	struct elf_writer *ew = (struct elf_writer *)w;

	buf_deinit(&ew->zeros);
	free(ew);
}

static const struct dump_writer_ops elf_ops = { next, work, place, destroy };

static struct err *make_zeros(struct elf_writer *ew)
{
	struct dump_chunk *c = dump_chunks_create(1, true);
	void *state = NULL;
	struct err *e = dump_writer_state(&ew->writer, &state);

	memset(c->data, 0, CHUNK_BYTES);
	if (!e)
		e = dump_writer_pack(&ew->writer, state, c, CHUNK_BYTES);
	while (!e && ew->zeros.len < ZEROS_BYTES) {
		buf_add(&ew->zeros, c->packed, c->packed_bytes);
		ew->zeros_count++;
	}
	dump_writer_drop_state(&ew->writer, state);
	dump_chunks_destroy(c, 1);
	return e;
}

struct err *dump_elf_create(const struct dump_plan *p, struct dump_writer **ret)
{
	struct elf_writer *ew = xcalloc(1, sizeof(*ew));
	struct err *e;

	ew->writer.ops = &elf_ops;
	ew->writer.plan = p;
	ew->writer.codec = dump_codec_of_wrap(p->opt.wrap);
	e = ew->writer.codec ? make_zeros(ew) : NULL;
	if (e)
		destroy(&ew->writer);
	else
		*ret = &ew->writer;
	return e;
}
