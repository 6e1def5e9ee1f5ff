/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "dump/chunk.h"

/* Frames whose bits fill one chunk; their bits in both bitmaps, their descriptors and data make a window. */
#define WINDOW_FRAMES (CHUNK_BYTES * 8ull)
/* Of a flattened file: struct makedumpfile_header, and the room it has. */
#define FLAT_SIGNATURE "makedumpfile"
#define FLAT_HEADER_BYTES 4096u

enum phase {
	PHASE_START,
	PHASE_HEAD,
	PHASE_ZERO,   /* the frame that all zeros share */
	PHASE_RAM,    /* a window's part of the first bitmap */
	PHASE_FRAMES,
	PHASE_DUMPED, /* and of the second one, which its frames have filled */
	PHASE_END,
	PHASE_OVER,
};

struct kdump_writer {
	struct dump_writer writer;
	enum phase phase;
	uint64_t head_at;
	uint64_t window;     /* its first frame */
	size_t span;         /* the first whose end is not reached */
	uint64_t frame;      /* in it */
	/* Of what was placed. */
	uint8_t *bits;       /* of the window */
	uint64_t n_descs;
	uint64_t data_at;
	struct buf zero_descs; /* as many as a write is worth its while */
};

#define ZERO_DESCS 2048u

/* struct page_desc */
static void add_desc(const struct dump_writer *w, struct buf *b, uint64_t offset, uint64_t bytes, uint32_t flags)
{
	uint8_t *to = buf_extend(b, KDUMP_DESC_BYTES);
	enum byte_order order = w->plan->img->order;

	store_uint(to, 8, order, offset);
	store_uint(to + 8, 4, order, bytes);
	store_uint(to + 12, 4, order, flags);
	store_uint(to + 16, 8, order, 0);
}

/* ---- what comes next ---- */

static uint64_t window_end(const struct kdump_writer *kw)
{
	return kw->window + WINDOW_FRAMES;
}

static void set_bits(uint8_t *bits, uint64_t first, uint64_t n)
{
	for (; n && first % 8; n--, first++)
		bits[first / 8] |= (uint8_t)(1u << first % 8);
	memset(bits + first / 8, 0xff, (size_t)(n / 8));
	for (first += n / 8 * 8, n %= 8; n; n--, first++)
		bits[first / 8] |= (uint8_t)(1u << first % 8);
}

/* Makes c a window's part of a bitmap, all zeros. */
static void next_bits(struct kdump_writer *kw, struct dump_chunk *c, uint64_t bitmap)
{
	uint64_t at = kw->window / 8;

	c->kind = CHUNK_MADE;
	c->offset = bitmap + at;
	c->bytes = MIN(kw->writer.plan->kdump.bitmap_bytes - at, CHUNK_BYTES);
	memset(c->data, 0, (size_t)c->bytes);
}

static void next_ram(struct kdump_writer *kw, struct dump_chunk *c)
{
	const struct dump_kdump *k = &kw->writer.plan->kdump;

	next_bits(kw, c, k->bitmaps);
	for (size_t i = kw->span; i < k->n_spans && k->spans[i].first < window_end(kw); i++) {
		uint64_t first = MAX(k->spans[i].first, kw->window), end = MIN(k->spans[i].end, window_end(kw));

		set_bits(c->data, first - kw->window, end - first);
	}
	kw->phase = PHASE_FRAMES;
}

/* False: the window has no more frames. */
static bool find_frame(struct kdump_writer *kw)
{
	const struct dump_kdump *k = &kw->writer.plan->kdump;

	if (kw->span < k->n_spans && kw->frame >= k->spans[kw->span].end)
		kw->span++;
	if (kw->span == k->n_spans)
		return false;
	kw->frame = MAX(kw->frame, k->spans[kw->span].first);
	return kw->frame < window_end(kw);
}

static struct err *next_frames(struct kdump_writer *kw, struct dump_chunk *c)
{
	const struct dump_plan *p = kw->writer.plan;
	uint64_t end = MIN(p->kdump.spans[kw->span].end, window_end(kw));
	struct err *e = dump_memory_next(p, kw->frame * p->frame_bytes, end * p->frame_bytes, c);

	if (e)
		return e;
	c->weight = c->bytes;
	kw->frame += c->bytes / p->frame_bytes;
	return NULL;
}

static void next_dumped(struct kdump_writer *kw, struct dump_chunk *c)
{
	const struct dump_kdump *k = &kw->writer.plan->kdump;

	next_bits(kw, c, k->bitmaps + k->bitmap_bytes);
	kw->window = window_end(kw);
	kw->phase = kw->window / 8 < k->bitmap_bytes ? PHASE_RAM : PHASE_END;
}

static void next_head(struct kdump_writer *kw, struct dump_chunk *c)
{
	c->kind = CHUNK_HEAD;
	c->offset = kw->head_at;
	c->bytes = MIN(kw->writer.plan->head_bytes - kw->head_at, CHUNK_BYTES);
	kw->head_at += c->bytes;
	if (kw->head_at == kw->writer.plan->head_bytes)
		kw->phase = PHASE_ZERO;
}

static void next_zero(struct kdump_writer *kw, struct dump_chunk *c)
{
	c->kind = CHUNK_GAP;
	c->offset = kw->writer.plan->kdump.data;
	c->bytes = kw->writer.plan->frame_bytes;
	kw->phase = PHASE_RAM;
}

/* What a flattened file has more, in front and at the end, is no record. */
static void next_mark(struct kdump_writer *kw, struct dump_chunk *c)
{
	bool starts = kw->phase == PHASE_START;
	struct dump_piece *piece;

	c->kind = CHUNK_MADE;
	kw->phase = starts ? PHASE_HEAD : PHASE_OVER;
	if (!kw->writer.flatten)
		return;
	c->bytes = starts ? FLAT_HEADER_BYTES : RECORD_BYTES;
	memset(c->data, starts ? 0 : 0xff, (size_t)c->bytes);
	if (starts) {
		memcpy(c->data, FLAT_SIGNATURE, strlen(FLAT_SIGNATURE));
		store_uint(c->data + 16, 8, ORDER_BIG, 1); /* type: flattened */
		store_uint(c->data + 24, 8, ORDER_BIG, 1); /* version */
	}
	piece = dump_chunk_add_piece(c);
	*piece = (struct dump_piece){ .data = c->data, .bytes = c->bytes, .period = c->bytes };
}

static struct err *next(struct dump_writer *w, struct dump_chunk *c, bool *ret_more)
{
	struct kdump_writer *kw = (struct kdump_writer *)w;

	*ret_more = kw->phase != PHASE_OVER;
	switch (kw->phase) {
	case PHASE_START:
	case PHASE_END:
		next_mark(kw, c);
		break;
	case PHASE_HEAD:
		next_head(kw, c);
		break;
	case PHASE_ZERO:
		next_zero(kw, c);
		break;
	case PHASE_RAM:
		next_ram(kw, c);
		break;
	case PHASE_FRAMES:
		if (find_frame(kw))
			return next_frames(kw, c);
		kw->phase = PHASE_DUMPED;
		/* fall through */
	case PHASE_DUMPED:
		next_dumped(kw, c);
		break;
	case PHASE_OVER:
		break;
	}
	return NULL;
}

/* ---- frames ---- */

/* A frame that does not become shorter is kept as it is. */
static struct err *pack_frame(const struct dump_writer *w, void *state, struct dump_chunk *c, size_t i)
{
	size_t bytes = (size_t)w->plan->frame_bytes, n;
	const uint8_t *from = c->data + i * bytes;
	uint8_t *to = c->packed + c->packed_bytes;

	n = w->codec->compress(state, from, bytes, to);
	if (!n)
		return err_new(ERR_INVALID, "%s cannot compress a page", w->codec->name);
	if (n >= bytes) {
		memcpy(to, from, bytes);
		n = bytes;
	}
	c->frames[i].bytes = (uint32_t)n;
	c->packed_bytes += n;
	return NULL;
}

static struct err *work(const struct dump_writer *w, void *state, struct dump_chunk *c)
{
	struct err *e = NULL;

	if (c->kind == CHUNK_HEAD)
		return dump_head_read(w->plan, c);
	if (c->kind == CHUNK_ZEROS)
		dump_memory_count_zeros(w->plan, c);
	if (c->kind != CHUNK_MEMORY)
		return NULL;
	if (!c->is_read)
		e = dump_memory_read(w->plan, c, true);
	if (e)
		return e;
	dump_memory_sort(w->plan, c);
	for (size_t i = 0; !e && i < c->n_frames; i++)
		if (c->frames[i].kind == FRAME_DATA)
			e = pack_frame(w, state, c, i);
	return e;
}

/* ---- their places ---- */

/* Descriptors of n frames from this one on are there. */
static void take_descs(struct kdump_writer *kw, uint64_t frame, uint64_t n)
{
	set_bits(kw->bits, frame % WINDOW_FRAMES, n);
	kw->n_descs += n;
}

static void place_frame(struct kdump_writer *kw, struct dump_chunk *c, size_t i, uint64_t frame)
{
	const struct dump_writer *w = &kw->writer;
	const struct dump_frame *f = &c->frames[i];
	bool raw = f->bytes == w->plan->frame_bytes;

	if (f->kind == FRAME_OUT)
		return;
	if (f->kind != FRAME_DATA) {
		buf_add(&c->made, kw->zero_descs.data, KDUMP_DESC_BYTES);
	} else {
		add_desc(w, &c->made, kw->data_at, f->bytes, raw ? 0 : w->codec->page_flag);
		kw->data_at += f->bytes;
	}
	take_descs(kw, frame, 1);
}

static void place_memory(struct kdump_writer *kw, struct dump_chunk *c)
{
	const struct dump_plan *p = kw->writer.plan;
	uint64_t descs = p->kdump.descs + kw->n_descs * KDUMP_DESC_BYTES, data = kw->data_at;

	for (size_t i = 0; i < c->n_frames; i++)
		place_frame(kw, c, i, c->gpa / p->frame_bytes + i);
	dump_writer_put(&kw->writer, c, descs, (const uint8_t *)c->made.data, c->made.len);
	dump_writer_put(&kw->writer, c, data, c->packed, c->packed_bytes);
}

/*
 * Where there is nothing, each frame has a descriptor all the same, and all of them the same
 * one, even where zeros are left out: a frame that has none is one that readers refuse to read.
 */
static void place_zeros(struct kdump_writer *kw, struct dump_chunk *c)
{
	const struct dump_plan *p = kw->writer.plan;
	uint64_t frame = c->gpa / p->frame_bytes, end = frame + c->bytes / p->frame_bytes, some;

	for (; frame < end; frame += some) {
		uint64_t descs = p->kdump.descs + kw->n_descs * KDUMP_DESC_BYTES;
		bool out;

		some = dump_memory_left_out(p, frame * p->frame_bytes, end - frame, &out);
		if (out)
			continue;
		dump_writer_put_repeated(&kw->writer, c, descs, (const uint8_t *)kw->zero_descs.data,
					 kw->zero_descs.len, some * KDUMP_DESC_BYTES);
		take_descs(kw, frame, some);
	}
}

/* Bits of the second bitmap are those of the frames that were placed before. */
static void place_made(struct kdump_writer *kw, struct dump_chunk *c)
{
	const struct dump_kdump *k = &kw->writer.plan->kdump;

	if (c->n_pieces)
		return;
	if (c->offset >= k->bitmaps + k->bitmap_bytes) {
		memcpy(c->data, kw->bits, (size_t)c->bytes);
		memset(kw->bits, 0, CHUNK_BYTES);
	}
	dump_writer_put(&kw->writer, c, c->offset, c->data, c->bytes);
}

static void place(struct dump_writer *w, struct dump_chunk *c)
{
	struct kdump_writer *kw = (struct kdump_writer *)w;

	switch (c->kind) {
	case CHUNK_MEMORY:
		place_memory(kw, c);
		break;
	case CHUNK_ZEROS:
		place_zeros(kw, c);
		break;
	case CHUNK_MADE:
		place_made(kw, c);
		break;
	case CHUNK_HEAD:
		dump_writer_put(w, c, c->offset, c->data, c->bytes);
		break;
	case CHUNK_GAP:
		dump_writer_put(w, c, c->offset, NULL, c->bytes);
		break;
	}
}

static void destroy(struct dump_writer *w)
{
	struct kdump_writer *kw = (struct kdump_writer *)w;

	buf_deinit(&kw->zero_descs);
	free(kw->bits);
	free(kw);
}

static const struct dump_writer_ops kdump_ops = { next, work, place, destroy };

struct err *dump_kdump_create(const struct dump_plan *p, struct dump_writer **ret)
{
	struct kdump_writer *kw = xcalloc(1, sizeof(*kw));

	kw->writer.ops = &kdump_ops;
	kw->writer.plan = p;
	kw->writer.codec = dump_codec_of_format(p->opt.format);
	kw->bits = xcalloc(1, CHUNK_BYTES);
	kw->data_at = p->kdump.data + p->frame_bytes;
	for (unsigned i = 0; i < ZERO_DESCS; i++)
		add_desc(&kw->writer, &kw->zero_descs, p->kdump.data, p->frame_bytes, 0);
	*ret = &kw->writer;
	return NULL;
}
