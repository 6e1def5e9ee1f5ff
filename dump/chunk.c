/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dump/chunk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"

/* Holes are made of these: the block size of most file systems. */
#define ZERO_UNIT 4096u

struct dump_chunk *dump_chunks_create(size_t n, bool needs_packed)
{
	struct dump_chunk *chunks = xcalloc(n, sizeof(*chunks));

	for (size_t i = 0; i < n; i++) {
		chunks[i].data = xmalloc(CHUNK_BYTES);
		if (needs_packed)
			chunks[i].packed = xmalloc(dump_codec_room(CHUNK_BYTES));
	}
	return chunks;
}

void dump_chunks_destroy(struct dump_chunk *chunks, size_t n)
{
	for (size_t i = 0; chunks && i < n; i++) {
		err_destroy(chunks[i].error);
		buf_deinit(&chunks[i].made);
		free(chunks[i].data);
		free(chunks[i].packed);
		free(chunks[i].runs);
		free(chunks[i].pieces);
	}
	free(chunks);
}

void dump_chunk_reset(struct dump_chunk *c)
{
	err_destroy(c->error);
	c->error = NULL;
	c->n_runs = c->n_frames = c->n_pieces = c->packed_bytes = 0;
	c->is_read = false;
	c->offset = c->bytes = c->weight = 0;
	c->pages = (struct dump_pages){ 0 };
	buf_reset(&c->made);
}

struct dump_piece *dump_chunk_add_piece(struct dump_chunk *c)
{
	if (c->n_pieces == c->cap_pieces) {
		c->cap_pieces = c->cap_pieces ? 2 * c->cap_pieces : 4;
		c->pieces = xreallocarray(c->pieces, c->cap_pieces, sizeof(*c->pieces));
	}
	c->pieces[c->n_pieces] = (struct dump_piece){ 0 };
	return &c->pieces[c->n_pieces++];
}

bool dump_is_zero(const uint8_t *p, size_t bytes)
{
	return !p[0] && !memcmp(p, p + 1, bytes - 1);
}

/* ---- writers ---- */

struct err *dump_writer_create(const struct dump_plan *p, bool seeks, struct dump_writer **ret)
{
	struct err *e = p->opt.format == DUMP_ELF ? dump_elf_create(p, ret) : dump_kdump_create(p, ret);

	if (e)
		return e;
	(*ret)->flatten = p->opt.flatten;
	(*ret)->seeks = seeks && !p->opt.flatten && p->opt.wrap == DUMP_PLAIN;
	return NULL;
}

void dump_writer_destroy(struct dump_writer *w)
{
	if (w)
		w->ops->destroy(w);
}

struct err *dump_writer_state(const struct dump_writer *w, void **ret)
{
	*ret = w->codec ? w->codec->create(w->plan->opt.wrap != DUMP_PLAIN) : NULL;
	return w->codec && !*ret ? err_sys(ENOMEM, "cannot start to compress with %s", w->codec->name) : NULL;
}

void dump_writer_drop_state(const struct dump_writer *w, void *state)
{
	if (state)
		w->codec->destroy(state);
}

struct err *dump_writer_pack(const struct dump_writer *w, void *state, struct dump_chunk *c, size_t bytes)
{
	c->packed_bytes = w->codec->compress(state, c->data, bytes, c->packed);
	return c->packed_bytes ? NULL : err_new(ERR_INVALID, "%s cannot compress %zu bytes", w->codec->name, bytes);
}

struct err *dump_head_read(const struct dump_plan *p, struct dump_chunk *c)
{
	ssize_t n = pread(p->head_fd, c->data, c->bytes, (off_t)c->offset);

	return n == (ssize_t)c->bytes ? NULL : err_sys(n < 0 ? errno : EIO, "cannot read the headers back");
}

/* ---- pieces ---- */

static void add_record(struct dump_piece *piece)
{
	piece->record_bytes = RECORD_BYTES;
	store_uint(piece->record, 8, ORDER_BIG, piece->offset);
	store_uint(piece->record + 8, 8, ORDER_BIG, piece->bytes);
}

void dump_writer_put_repeated(const struct dump_writer *w, struct dump_chunk *c, uint64_t offset,
			      const uint8_t *data, size_t period, uint64_t bytes)
{
	struct dump_piece *piece = dump_chunk_add_piece(c);

	piece->offset = offset;
	piece->bytes = bytes;
	piece->data = data;
	piece->period = period;
	if (w->flatten)
		add_record(piece);
}

/* The bytes at p that a file can take in one go: all zeros, or none of the units. */
static size_t same_kind(const uint8_t *p, size_t bytes, uint64_t offset, bool *ret_zero)
{
	size_t n = MIN(bytes, ZERO_UNIT - (size_t)(offset % ZERO_UNIT));

	*ret_zero = dump_is_zero(p, n);
	while (n < bytes) {
		size_t unit = MIN(bytes - n, ZERO_UNIT);

		if (dump_is_zero(p + n, unit) != *ret_zero)
			break;
		n += unit;
	}
	return n;
}

void dump_writer_put(const struct dump_writer *w, struct dump_chunk *c, uint64_t offset, const uint8_t *data,
		     uint64_t bytes)
{
	while (w->seeks && data && bytes) {
		bool zero;
		size_t n = same_kind(data, (size_t)bytes, offset, &zero);

		dump_writer_put_repeated(w, c, offset, zero ? NULL : data, n, n);
		offset += n;
		data += n;
		bytes -= n;
	}
	if (bytes)
		dump_writer_put_repeated(w, c, offset, data, (size_t)bytes, bytes);
}
