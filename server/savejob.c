/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/savejob.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "dump/sink.h"
#include "server/clock.h"
#include "server/output.h"

#define CHUNK_BYTES (1u << 20)
#define STEP_BYTES (8u << 20)

struct savejob {
	struct hold *hold;
	struct save_range range;
	struct dump_sink *sink;
	uint64_t read_bytes;    /* of the range, so far */
	uint64_t written_bytes;
	uint8_t *chunk;         /* holds what is read and not written, up to chunk_end */
	size_t chunk_at, chunk_end;
	double started, seconds;
	enum dump_status status;
	struct err *error;
};

static struct err *read_some(struct guest *g, const struct save_range *r, uint64_t at, void *ret, size_t bytes,
			     size_t *ret_bytes)
{
	if (r->is_virtual)
		return guest_read_virt(g, r->vcpu, at, ret, bytes, ret_bytes);
	return guest_read_phys(g, at, ret, bytes, ret_bytes);
}

static struct err *fill(struct savejob *s)
{
	size_t want = (size_t)MIN(s->range.bytes - s->read_bytes, CHUNK_BYTES);
	struct err *e = read_some(s->hold->guest, &s->range, s->range.at + s->read_bytes, s->chunk, want,
				  &s->chunk_end);

	if (e)
		return e;
	s->chunk_at = 0;
	s->read_bytes += s->chunk_end;
	return NULL;
}

static struct err *drain(struct savejob *s)
{
	size_t done = 0;
	struct err *e = dump_sink_write(s->sink, s->chunk + s->chunk_at, s->chunk_end - s->chunk_at, &done);

	s->chunk_at += done;
	s->written_bytes += done;
	return e;
}

static void end(struct savejob *s, enum dump_status status, struct err *e)
{
	s->status = status;
	s->error = e;
	s->seconds = clock_seconds() - s->started;
}

static bool step(void *priv)
{
	struct savejob *s = priv;
	uint64_t until = s->written_bytes + MIN(s->range.bytes - s->written_bytes, STEP_BYTES);
	struct err *e = NULL;

	while (!e && s->written_bytes < until) {
		if (s->chunk_at == s->chunk_end)
			e = fill(s);
		if (!e)
			e = drain(s);
		if (!e && dump_sink_wait_fd(s->sink) >= 0)
			return true;
	}
	if (!e && s->written_bytes < s->range.bytes)
		return true;
	if (!e)
		e = dump_sink_finish(s->sink);
	end(s, e ? DUMP_FAILED : DUMP_COMPLETED, err_prefix(e, "saving memory to %s", dump_sink_name(s->sink)));
	return false;
}

static void wait(const void *priv, struct dump_wait *ret)
{
	const struct savejob *s = priv;

	*ret = (struct dump_wait){ dump_sink_wait_fd(s->sink), POLLOUT, 0 };
	ret->ms = ret->fd >= 0 ? -1 : 0;
}

static void cancel(void *priv)
{
	struct savejob *s = priv;

	end(s, DUMP_CANCELLED, err_new(ERR_CANCELLED, "saving memory to %s was cancelled", dump_sink_name(s->sink)));
}

static void progress(const void *priv, struct dump_progress *ret)
{
	const struct savejob *s = priv;

	*ret = (struct dump_progress){
		.status = s->status,
		.done_bytes = s->written_bytes,
		.total_bytes = s->range.bytes,
		.seconds = s->status == DUMP_ACTIVE ? clock_seconds() - s->started : s->seconds,
		.written_bytes = s->written_bytes,
	};
}

static struct err *finish(void *priv)
{
	struct savejob *s = priv;
	struct err *e = hold_drop_after(s->hold, s->error);

	dump_sink_destroy(s->sink);
	free(s->chunk);
	free(s);
	return e;
}

static const struct job_ops ops = { step, wait, cancel, progress, finish };

/* Physical blocks are known at once; page tables are looked at page by page later. */
static struct err *check_range(const struct guest *g, const struct save_range *r)
{
	uint64_t last = r->at + (r->bytes - 1);

	if (last < r->at)
		return err_new(ERR_INVALID, "0x%" PRIx64 " bytes from 0x%" PRIx64 " pass the end of the address space",
			       r->bytes, r->at);
	for (uint64_t at = r->at; !r->is_virtual;) {
		const struct mem_block *b = guest_block_at(g, at);

		if (!b)
			return err_new(ERR_UNMAPPED, "no guest memory at physical address 0x%" PRIx64, at);
		if (b->bytes - 1 >= last - b->gpa)
			break;
		at = b->gpa + b->bytes;
	}
	return NULL;
}

struct err *savejob_prepare(struct hold *hold, const struct inherited *inherited, const struct save_range *range,
			    const char *out, struct job_work *ret)
{
	struct dump_sink *sink = NULL;
	struct savejob *s;
	struct err *e = hold_take(hold);

	if (e)
		return e;
	e = check_range(hold->guest, range);
	if (!e)
		e = output_open(out, inherited, range->bytes, &sink);
	if (e)
		return hold_drop_after(hold, e);
	s = xcalloc(1, sizeof(*s));
	s->hold = hold;
	s->range = *range;
	s->sink = sink;
	s->chunk = xmalloc(CHUNK_BYTES);
	s->started = clock_seconds();
	*ret = (struct job_work){ &ops, s };
	return NULL;
}
