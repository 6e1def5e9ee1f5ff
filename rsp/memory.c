/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rsp/session.h"

#include <stdlib.h>

#include "base/alloc.h"

/* "addr,length" */
static bool take_range(struct cursor *c, uint64_t *ret_addr, uint64_t *ret_bytes)
{
	return cursor_take_hex(c, ret_addr) && cursor_take_char(c, ',') && cursor_take_hex(c, ret_bytes);
}

struct err *rsp_read_memory(struct rsp_session *s, uint64_t addr, void *ret, size_t bytes, size_t *ret_bytes)
{
	if (s->phys_memory)
		return guest_read_phys(s->guest, addr, ret, bytes, ret_bytes);
	return guest_read_virt(s->guest, s->vcpu, addr, ret, bytes, ret_bytes);
}

static struct err *write_memory(struct rsp_session *s, uint64_t addr, const void *from, size_t bytes)
{
	if (s->phys_memory)
		return guest_write_phys(s->guest, addr, from, bytes);
	return guest_write_virt(s->guest, s->vcpu, addr, from, bytes);
}

/* m and x; a reply may hold less than was asked for. */
static struct err *read_packet(struct rsp_session *s, struct cursor *args, bool binary)
{
	uint64_t addr, bytes;
	size_t got = 0;
	struct err *e;
	uint8_t *data;

	if (!take_range(args, &addr, &bytes) || !cursor_at_end(args))
		return rsp_malformed();
	/* In digits nothing would look like "not supported". */
	if (!bytes && !binary)
		return err_new(ERR_INVALID, "a read of no bytes");
	bytes = MIN(bytes, PACKET_MAX_BYTES / 2);
	data = xmalloc(bytes);
	e = bytes ? rsp_read_memory(s, addr, data, bytes, &got) : NULL;
	if (!e && binary) {
		buf_addch(&s->reply, 'b');
		buf_add(&s->reply, data, got);
	} else if (!e) {
		buf_add_hex(&s->reply, data, got);
	}
	free(data);
	return e;
}

struct err *rsp_m(struct rsp_session *s, struct cursor *args)
{
	return read_packet(s, args, false);
}

struct err *rsp_x(struct rsp_session *s, struct cursor *args)
{
	return read_packet(s, args, true);
}

static struct err *write_packet(struct rsp_session *s, uint64_t addr, const void *data, size_t bytes)
{
	/* gdb probes for X with no bytes. */
	struct err *e = bytes ? write_memory(s, addr, data, bytes) : NULL;

	return e ? e : rsp_ok(s);
}

struct err *rsp_M(struct rsp_session *s, struct cursor *args)
{
	uint64_t addr, bytes;
	struct err *e = NULL;
	uint8_t *data;

	if (!take_range(args, &addr, &bytes) || !cursor_take_char(args, ':') ||
	    bytes > cursor_left(args) / 2)
		return rsp_malformed();
	data = xmalloc(bytes);
	if (!cursor_take_hex_bytes(args, data, bytes) || !cursor_at_end(args))
		e = rsp_malformed();
	if (!e)
		e = write_packet(s, addr, data, bytes);
	free(data);
	return e;
}

struct err *rsp_X(struct rsp_session *s, struct cursor *args)
{
	struct buf data = { 0 };
	uint64_t addr, bytes;
	struct err *e = NULL;

	if (!take_range(args, &addr, &bytes) || !cursor_take_char(args, ':'))
		return rsp_malformed();
	if (!packet_take_binary(args, &data) || data.len != bytes)
		e = rsp_malformed();
	if (!e)
		e = write_packet(s, addr, data.data, data.len);
	buf_deinit(&data);
	return e;
}
