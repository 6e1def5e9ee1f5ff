/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rsp/session.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"

/* Packets that read long stretches of memory, and do so here instead of over the wire. */

#define CHUNK_BYTES 0x40000u
/* The polynomial of gdb's compare-sections: that of Ethernet, highest bit first, all ones at the start. */
#define CRC_POLYNOMIAL 0x04c11db7u

/* What is still to be read. */
struct scan {
	struct rsp_session *session;
	uint64_t addr, left;
	int64_t deadline_ms;
	uint8_t *data; /* of the chunk at addr; bytes of it */
	size_t bytes;
};

/* overlap: bytes that each chunk has in common with the next. */
static struct err *scan_init(struct scan *scan, struct rsp_session *s, uint64_t addr, uint64_t bytes, size_t overlap)
{
	if (bytes && bytes - 1 > UINT64_MAX - addr)
		return err_new(ERR_INVALID, "0x%" PRIx64 " bytes at 0x%" PRIx64 " pass the end of the address space",
			       bytes, addr);
	*scan = (struct scan){ s, addr, bytes, clock_ms() + s->patience_ms,
			       xmalloc(MIN(bytes, (uint64_t)CHUNK_BYTES + overlap)), 0 };
	return NULL;
}

/* The next chunk, up to want bytes of it; fewer where memory ends. */
static struct err *scan_read(struct scan *scan, size_t want)
{
	/* A reply that comes after the client has given up would be taken for that to its next packet. */
	if (clock_ms() >= scan->deadline_ms)
		return err_new(ERR_TIMEOUT, "this takes too long and was ended at 0x%" PRIx64 "; take smaller parts",
			       scan->addr);
	scan->bytes = 0;
	return rsp_read_memory(scan->session, scan->addr, scan->data, (size_t)MIN(scan->left, want), &scan->bytes);
}

static void scan_advance(struct scan *scan, size_t bytes)
{
	scan->addr += bytes;
	scan->left -= bytes;
}

/* ---- qCRC ---- */

static uint32_t add_to_crc(uint32_t crc, const uint8_t *data, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		crc ^= (uint32_t)data[i] << 24;
		for (int bit = 0; bit < 8; bit++)
			crc = crc << 1 ^ (crc >> 31 ? CRC_POLYNOMIAL : 0);
	}
	return crc;
}

/* ":addr,length" */
struct err *rsp_qCRC(struct rsp_session *s, struct cursor *args)
{
	uint32_t crc = UINT32_MAX;
	uint64_t addr, bytes;
	struct scan scan;
	struct err *e;

	if (!cursor_take_char(args, ':') || !cursor_take_hex(args, &addr) || !cursor_take_char(args, ',') ||
	    !cursor_take_hex(args, &bytes) || !cursor_at_end(args))
		return rsp_malformed();
	e = scan_init(&scan, s, addr, bytes, 0);
	if (e)
		return e;
	while (!e && scan.left) {
		e = scan_read(&scan, CHUNK_BYTES);
		if (e)
			break;
		crc = add_to_crc(crc, scan.data, scan.bytes);
		scan_advance(&scan, scan.bytes);
	}
	free(scan.data);
	if (!e)
		buf_addf(&s->reply, "C%08" PRIx32, crc);
	return e;
}

/* ---- qSearch:memory ---- */

/* The first match that starts inside of the range and fits it; memory has no holes before it. */
static struct err *search(struct scan *scan, const struct buf *pattern, bool *ret_found, uint64_t *ret_addr)
{
	while (scan->left >= pattern->len) {
		struct err *e = scan_read(scan, CHUNK_BYTES + pattern->len - 1);
		const uint8_t *match;

		if (e)
			return e;
		match = memmem(scan->data, scan->bytes, pattern->data, pattern->len);
		*ret_found = match;
		if (match) {
			*ret_addr = scan->addr + (uint64_t)(match - scan->data);
			return NULL;
		}
		/* Where the chunk was cut short the next read starts at what is missing, and says so. */
		if (scan->bytes < pattern->len)
			scan_advance(scan, scan->bytes);
		else
			scan_advance(scan, scan->bytes - (pattern->len - 1));
	}
	return NULL;
}

static struct err *reply_search(struct rsp_session *s, uint64_t addr, uint64_t bytes, const struct buf *pattern)
{
	struct scan scan;
	bool found = false;
	uint64_t where = 0;
	struct err *e = scan_init(&scan, s, addr, bytes, pattern->len);

	if (e)
		return e;
	e = search(&scan, pattern, &found, &where);
	free(scan.data);
	if (!e && found)
		buf_addf(&s->reply, "1,%" PRIx64, where);
	else if (!e)
		buf_addch(&s->reply, '0');
	return e;
}

/* ":addr;length;pattern", the last one in binary. */
struct err *rsp_qSearch_memory(struct rsp_session *s, struct cursor *args)
{
	struct buf pattern = { 0 };
	uint64_t addr, bytes;
	struct err *e;

	if (!cursor_take_char(args, ':') || !cursor_take_hex(args, &addr) || !cursor_take_char(args, ';') ||
	    !cursor_take_hex(args, &bytes) || !cursor_take_char(args, ';'))
		return rsp_malformed();
	if (packet_take_binary(args, &pattern) && pattern.len)
		e = reply_search(s, addr, bytes, &pattern);
	else
		e = rsp_malformed();
	buf_deinit(&pattern);
	return e;
}
