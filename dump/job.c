/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "dump/plan.h"
#include "dump/sink.h"

#define CHUNK_BYTES (1u << 20)
#define STEP_BYTES (8u << 20)
/* What looking for the next piece counts, so that a step ends where data is sparse. */
#define PIECE_BYTES (256u << 10)
/* How far one piece looks for data: page tables of the host are read for it. */
#define WINDOW_BYTES (1u << 30)
/* Holes are made of these: the block size of most file systems. */
#define ZERO_UNIT 4096u

struct dump_job {
	struct dump_plan *plan;
	struct dump_sink *sink;
	enum dump_status status;
	struct err *error;
	struct timespec started;
	double seconds;      /* once ended */
	/* The next piece of the file: zeros, then bytes of the chunk. */
	uint64_t at;         /* file offset behind the piece */
	uint64_t zeros;
	uint8_t *chunk;
	size_t chunk_at, chunk_end;
	size_t region;       /* the first whose end is not reached */
};

struct dump_job *dump_job_create(struct dump_plan *plan, struct dump_sink *sink)
{
	struct dump_job *job = xcalloc(1, sizeof(*job));

	job->plan = plan;
	job->sink = sink;
	job->chunk = xmalloc(CHUNK_BYTES);
	clock_gettime(CLOCK_MONOTONIC, &job->started);
	return job;
}

static double seconds_since(const struct timespec *start)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

/* An output that is not whole goes at once, not when the job is looked at last. */
static void end_job(struct dump_job *job, enum dump_status status, struct err *e)
{
	job->status = status;
	job->error = e;
	job->seconds = seconds_since(&job->started);
	dump_sink_destroy(job->sink);
	job->sink = NULL;
	free(job->chunk);
	job->chunk = NULL;
}

static struct err *fill_head(struct dump_job *job)
{
	size_t bytes = (size_t)MIN(job->plan->head_bytes - job->at, CHUNK_BYTES);
	ssize_t n = pread(job->plan->head_fd, job->chunk, bytes, (off_t)job->at);

	if (n <= 0)
		return err_sys(n ? errno : EIO, "cannot read the ELF headers back");
	job->chunk_end = (size_t)n;
	job->at += (size_t)n;
	return NULL;
}

static struct err *fill_data(struct dump_job *job, uint64_t gpa, uint64_t bytes)
{
	struct err *e = guest_image_read(job->plan->img, gpa, job->chunk, (size_t)bytes);

	if (e)
		return e;
	job->chunk_end = (size_t)bytes;
	job->at += bytes;
	return NULL;
}

/* The bytes from gpa on that are all left out or all not. */
static uint64_t same_fate(const struct guest_image *img, uint64_t gpa, uint64_t bytes, bool *ret_left_out)
{
	const struct page_set *set = &img->classes.set;
	uint64_t pfn = gpa >> set->page_shift, last = (gpa + (bytes - 1)) >> set->page_shift;
	uint64_t run = page_set_run(set, pfn, last - pfn + 1, ret_left_out);

	return MIN(bytes, ((pfn + run) << set->page_shift) - gpa);
}

static struct err *fill_region(struct dump_job *job, const struct dump_region *r)
{
	uint64_t done = job->at - r->offset, gpa = r->gpa + done, end, run_gpa, run;
	bool left_out;
	uint64_t same = same_fate(job->plan->img, gpa, MIN(r->bytes - done, WINDOW_BYTES), &left_out);
	struct err *e;

	if (left_out) {
		job->zeros = same;
		job->at += same;
		return NULL;
	}
	end = gpa + same;
	e = guest_image_next_data(job->plan->img, gpa, end, &run_gpa, &run);
	if (e)
		return e;
	job->zeros = (run ? run_gpa : end) - gpa;
	job->at += job->zeros;
	return run ? fill_data(job, run_gpa, MIN(run, CHUNK_BYTES)) : NULL;
}

static struct err *fill(struct dump_job *job)
{
	const struct dump_region *r = &job->plan->regions[job->region];

	if (job->at < job->plan->head_bytes)
		return fill_head(job);
	if (job->at < r->offset) {
		job->zeros = r->offset - job->at;
		job->at = r->offset;
		return NULL;
	}
	if (job->at - r->offset < r->bytes)
		return fill_region(job, r);
	job->region++;
	return NULL;
}

static bool is_zero(const uint8_t *p, size_t bytes)
{
	return !p[0] && !memcmp(p, p + 1, bytes - 1);
}

/* The bytes at p that a file can take in one go: all zeros, or none of the units. */
static size_t same_kind(const uint8_t *p, size_t bytes, uint64_t offset, bool *ret_zero)
{
	size_t n = MIN(bytes, ZERO_UNIT - (size_t)(offset % ZERO_UNIT));

	*ret_zero = is_zero(p, n);
	while (n < bytes) {
		size_t unit = MIN(bytes - n, ZERO_UNIT);

		if (is_zero(p + n, unit) != *ret_zero)
			break;
		n += unit;
	}
	return n;
}

/* Writes what is there of the chunk, to the next change between zeros and data. */
static struct err *drain_chunk(struct dump_job *job, uint64_t *ret_done)
{
	const uint8_t *p = job->chunk + job->chunk_at;
	size_t bytes = job->chunk_end - job->chunk_at, done = 0;
	bool zero = false;
	struct err *e;

	if (dump_sink_seeks(job->sink))
		bytes = same_kind(p, bytes, job->at - bytes, &zero);
	if (zero)
		return dump_sink_skip(job->sink, bytes, ret_done);
	e = dump_sink_write(job->sink, p, bytes, &done);
	*ret_done = done;
	return e;
}

/* Writes some of the piece; *ret_done is what it counts in a step. */
static struct err *drain(struct dump_job *job, uint64_t *ret_done)
{
	uint64_t done = 0;
	struct err *e;

	if (job->zeros) {
		e = dump_sink_skip(job->sink, job->zeros, &done);
		job->zeros -= e ? 0 : done;
		*ret_done = dump_sink_seeks(job->sink) ? 0 : done;
		return e;
	}
	e = drain_chunk(job, &done);
	job->chunk_at += e ? 0 : (size_t)done;
	*ret_done = done;
	return e;
}

/* *ret_cost counts towards the step. */
static struct err *move_on(struct dump_job *job, uint64_t *ret_cost)
{
	if (job->zeros || job->chunk_at < job->chunk_end)
		return drain(job, ret_cost);
	job->chunk_at = job->chunk_end = 0;
	*ret_cost = PIECE_BYTES;
	return fill(job);
}

static bool is_done(const struct dump_job *job)
{
	return job->at == job->plan->file_bytes && !job->zeros && job->chunk_at == job->chunk_end;
}

bool dump_job_step(struct dump_job *job)
{
	uint64_t moved = 0;
	struct err *e = NULL;

	if (job->status != DUMP_ACTIVE)
		return false;
	do {
		uint64_t cost = 0;

		e = move_on(job, &cost);
		moved += cost;
	} while (!e && !is_done(job) && moved < STEP_BYTES && dump_sink_wait_fd(job->sink) < 0);
	if (!e && !is_done(job))
		return true;
	if (!e)
		e = dump_sink_finish(job->sink);
	e = err_prefix(e, "the dump to %s failed", dump_sink_name(job->sink));
	end_job(job, e ? DUMP_FAILED : DUMP_COMPLETED, e);
	return false;
}

int dump_job_wait_fd(const struct dump_job *job)
{
	return job->sink ? dump_sink_wait_fd(job->sink) : -1;
}

void dump_job_cancel(struct dump_job *job)
{
	if (job->status == DUMP_ACTIVE)
		end_job(job, DUMP_CANCELLED,
			err_new(ERR_CANCELLED, "the dump to %s was cancelled", dump_sink_name(job->sink)));
}

void dump_job_progress(const struct dump_job *job, struct dump_progress *ret)
{
	uint64_t pending = job->zeros + (job->chunk_end - job->chunk_at);

	ret->status = job->status;
	ret->done_bytes = job->at - pending;
	ret->total_bytes = job->plan->file_bytes;
	ret->seconds = job->status == DUMP_ACTIVE ? seconds_since(&job->started) : job->seconds;
}

const struct err *dump_job_error(const struct dump_job *job)
{
	return job->error;
}

void dump_job_destroy(struct dump_job *job)
{
	if (!job)
		return;
	dump_job_cancel(job);
	dump_plan_destroy(job->plan);
	err_destroy(job->error);
	free(job);
}
