/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rsp/session.h"

#include <inttypes.h>

/* ":annex:offset,length" of a document: the reply is 'm' or, with its end, 'l' and bytes. */
static struct err *reply_part(struct rsp_session *s, struct cursor *args, const char *annex, const struct buf *doc)
{
	uint64_t offset, bytes;
	struct cursor name;

	if (!cursor_take_char(args, ':'))
		return rsp_malformed();
	name = cursor_take_until(args, ":");
	if (!cursor_take_char(args, ':') || !cursor_take_hex(args, &offset) || !cursor_take_char(args, ',') ||
	    !cursor_take_hex(args, &bytes) || !cursor_at_end(args))
		return rsp_malformed();
	if (!cursor_equals(&name, annex))
		return err_new(ERR_INVALID, "this server has no such annex");
	if (offset > doc->len)
		return err_new(ERR_INVALID, "offset 0x%" PRIx64 " is behind the document's end", offset);
	bytes = MIN(bytes, PACKET_MAX_BYTES / 2);
	buf_addch(&s->reply, bytes < doc->len - offset ? 'm' : 'l');
	buf_add(&s->reply, doc->data + offset, MIN(bytes, doc->len - offset));
	return NULL;
}

struct err *rsp_qXfer_features(struct rsp_session *s, struct cursor *args)
{
	return reply_part(s, args, "target.xml", &s->target_xml);
}

struct err *rsp_qXfer_threads(struct rsp_session *s, struct cursor *args)
{
	struct buf doc = { 0 };
	struct err *e;

	rsp_add_threads_xml(s, &doc);
	e = reply_part(s, args, "", &doc);
	buf_deinit(&doc);
	return e;
}

static void add_memory(struct buf *out, const char *type, uint64_t start, uint64_t bytes)
{
	buf_addf(out, "<memory type=\"%s\" start=\"0x%" PRIx64 "\" length=\"0x%" PRIx64 "\"/>\n", type, start, bytes);
}

/* Everything in [start, end), where an end of 0 is 2^64, a length that 64 bits cannot hold. */
static void add_gap(struct buf *out, uint64_t start, uint64_t end)
{
	const uint64_t half = UINT64_C(1) << 63;

	if (start < half && (!end || end > half)) {
		add_memory(out, "ram", start, half - start);
		start = half;
	}
	if (start != end)
		add_memory(out, "ram", start, end - start);
}

/* A ROM block that the vCPU sees at its own address; gdb writes no breakpoint into it. */
static bool is_rom(const struct rsp_session *s, const struct mem_block *b)
{
	struct mapping m;
	struct err *e;

	if (!(b->flags & MEM_ROM))
		return false;
	e = guest_translate(s->guest, s->vcpu, b->gpa, &m);
	if (e) {
		err_destroy(e);
		return false;
	}
	return m.gpa == m.gva;
}

/*
 * gdb looks virtual addresses up in this map, and refuses those that are not
 * in it. So it lists the blocks, and calls RAM all that lies between them.
 */
static void add_memory_map(const struct rsp_session *s, struct buf *out)
{
	uint64_t at = 0;
	bool more = true;

	buf_adds(out, "<?xml version=\"1.0\"?>\n"
		      "<!DOCTYPE memory-map PUBLIC \"+//IDN gnu.org//DTD GDB Memory Map V1.0//EN\""
		      " \"http://sourceware.org/gdb/gdb-memory-map.dtd\">\n"
		      "<memory-map>\n");
	for (size_t i = 0; i < s->guest->n_blocks; i++) {
		const struct mem_block *b = &s->guest->blocks[i];

		if (b->gpa != at)
			add_gap(out, at, b->gpa);
		add_memory(out, is_rom(s, b) ? "rom" : "ram", b->gpa, b->bytes);
		at = b->gpa + b->bytes;
		more = at != 0;
	}
	if (more)
		add_gap(out, at, 0);
	buf_adds(out, "</memory-map>\n");
}

struct err *rsp_qXfer_memory_map(struct rsp_session *s, struct cursor *args)
{
	struct buf doc = { 0 };
	struct err *e;

	add_memory_map(s, &doc);
	e = reply_part(s, args, "", &doc);
	buf_deinit(&doc);
	return e;
}
