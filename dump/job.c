/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "dump/crew.h"
#include "dump/digest.h"
#include "dump/sink.h"

#define STEP_BYTES (8u << 20)
/* What an output that was idle may catch up with, of what its bandwidth is in a second. */
#define BURST 0.25
/* A limited output is written in no smaller pieces where its bandwidth allows that. */
#define SMALL_WRITE (64u << 10)
/* What is read back at once for a digest. */
#define READ_BACK_BYTES (1u << 20)

/* Seconds. No dump takes the one; the other is as long as no bound. */
#define FOREVER 1e9
#define MAX_WAIT 1e6

struct dump_job {
	struct dump_plan *plan;
	struct dump_sink *sink;
	struct dump_writer *writer;
	struct dump_crew *crew;
	enum dump_status status;
	struct err *error;
	struct timespec started;
	double seconds;      /* once ended */
	/* The chunk that is being written, and how far it is. */
	struct dump_chunk *chunk;
	size_t piece;
	uint64_t piece_done; /* with its record */
	uint64_t chunk_done; /* of all its pieces */
	uint64_t chunk_bytes;
	bool idle;           /* it waits for the crew */
	double tokens;       /* bytes that may be written now */
	double tokens_at;    /* when that was so */
	uint64_t done_bytes; /* of chunks that are written */
	uint64_t written_bytes;
	struct dump_pages pages;
	struct digest *digest;
	bool digest_later;   /* of the whole file, once it is written */
	uint64_t digest_at;
	char sha256[DIGEST_HEX_BYTES];
};

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
	job->chunk = NULL;
	dump_crew_destroy(job->crew);
	job->crew = NULL;
	dump_writer_destroy(job->writer);
	job->writer = NULL;
	dump_sink_destroy(job->sink);
	job->sink = NULL;
}

static struct err *check_sink(const struct dump_job *job)
{
	const struct dump_options *opt = &job->plan->opt;

	if (opt->format == DUMP_ELF || opt->flatten || dump_sink_seeks(job->sink))
		return NULL;
	return err_new(ERR_UNSUPPORTED, "%s is written out of order, and %s takes bytes in order only; write it "
		       "with --flatten (makedumpfile -R reads that), or to a file", dump_format_name(opt->format),
		       dump_sink_name(job->sink));
}

static struct err *start(struct dump_job *job)
{
	const struct dump_options *opt = &job->plan->opt;
	struct err *e = check_sink(job);

	if (!e)
		e = dump_writer_create(job->plan, dump_sink_seeks(job->sink), &job->writer);
	if (!e)
		e = dump_crew_create(job->writer, &job->crew);
	if (e)
		return e;
	job->digest = opt->sha256 ? digest_create() : NULL;
	job->digest_later = opt->sha256 && opt->format != DUMP_ELF && !opt->flatten;
	job->pages.page_bytes = job->plan->frame_bytes;
	memcpy(job->pages.classes, job->plan->img->classes.counts, sizeof(job->pages.classes));
	return NULL;
}

struct err *dump_job_create(struct dump_plan *plan, struct dump_sink *sink, struct dump_job **ret)
{
	struct dump_job *job = xcalloc(1, sizeof(*job));
	struct err *e;

	job->plan = plan;
	job->sink = sink;
	clock_gettime(CLOCK_MONOTONIC, &job->started);
	e = start(job);
	if (e)
		dump_job_destroy(job);
	else
		*ret = job;
	return e;
}

/* ---- bandwidth ---- */

static double wanted_tokens(const struct dump_job *job)
{
	return MAX(MIN(SMALL_WRITE, (double)job->plan->opt.bandwidth * BURST), 1);
}

static double tokens_now(const struct dump_job *job)
{
	double rate = (double)job->plan->opt.bandwidth;
	double tokens = job->tokens + (seconds_since(&job->started) - job->tokens_at) * rate;

	return MIN(tokens, MAX(rate * BURST, 1));
}

static void take_tokens(struct dump_job *job, uint64_t bytes)
{
	job->tokens = tokens_now(job) - (double)bytes;
	job->tokens_at = seconds_since(&job->started);
}

/* How many bytes may be written now; 0: none for a while. */
static uint64_t allowance(const struct dump_job *job)
{
	double tokens;

	if (!job->plan->opt.bandwidth)
		return UINT64_MAX;
	tokens = tokens_now(job);
	return tokens < wanted_tokens(job) ? 0 : (uint64_t)tokens;
}

/* ---- writing ---- */

/* The record of a piece, and zeros of a stream, are output as data is. */
static struct err *write_some(struct dump_job *job, const struct dump_piece *piece, uint64_t max, size_t *ret_done)
{
	const uint8_t *from;
	uint64_t bytes, at;
	struct err *e;

	if (job->piece_done < piece->record_bytes) {
		from = piece->record + job->piece_done;
		bytes = piece->record_bytes - job->piece_done;
	} else {
		at = job->piece_done - piece->record_bytes;
		from = piece->data + at % piece->period;
		bytes = MIN(piece->bytes - at, piece->period - at % piece->period);
	}
	e = dump_sink_write(job->sink, from, (size_t)MIN(bytes, max), ret_done);
	if (!e && job->digest && !job->digest_later)
		digest_add(job->digest, from, *ret_done);
	return e;
}

static struct err *skip_some(struct dump_job *job, const struct dump_piece *piece, uint64_t max, uint64_t *ret_done)
{
	uint64_t bytes = piece->bytes - (job->piece_done - piece->record_bytes);
	struct err *e = dump_sink_skip(job->sink, MIN(bytes, max), ret_done);

	if (!e && job->digest && !job->digest_later)
		digest_add(job->digest, NULL, *ret_done);
	return e;
}

/* Writes some of the piece; *ret_cost is what it counts in a step. */
static struct err *drain_piece(struct dump_job *job, const struct dump_piece *piece, uint64_t *ret_cost)
{
	bool is_zeros = !piece->data && job->piece_done >= piece->record_bytes;
	bool is_hole = is_zeros && dump_sink_seeks(job->sink), is_hashed = job->digest && !job->digest_later;
	uint64_t max = is_hole ? (is_hashed ? STEP_BYTES : UINT64_MAX) : allowance(job), done = 0;
	size_t written = 0;
	struct err *e = NULL;

	if (job->writer->seeks)
		dump_sink_seek(job->sink, piece->offset + job->piece_done);
	if (is_zeros)
		e = skip_some(job, piece, max, &done);
	else if (max)
		e = write_some(job, piece, max, &written);
	if (e)
		return e;
	done += written;
	*ret_cost = is_hole && !is_hashed ? 0 : done;
	if (!is_hole) {
		take_tokens(job, done);
		job->written_bytes += done;
	}
	job->piece_done += done;
	job->chunk_done += done;
	return NULL;
}

static void add_pages(struct dump_pages *to, const struct dump_pages *from)
{
	to->written += from->written;
	to->zero += from->zero;
	to->untouched += from->untouched;
	to->left_out += from->left_out;
}

static void take_chunk(struct dump_job *job, struct dump_chunk *c)
{
	job->chunk = c;
	job->piece = 0;
	job->piece_done = job->chunk_done = job->chunk_bytes = 0;
	for (size_t i = 0; i < c->n_pieces; i++)
		job->chunk_bytes += c->pieces[i].record_bytes + c->pieces[i].bytes;
}

static void end_chunk(struct dump_job *job)
{
	add_pages(&job->pages, &job->chunk->pages);
	job->done_bytes += job->chunk->weight;
	job->chunk = NULL;
	dump_crew_release(job->crew);
}

static struct err *drain(struct dump_job *job, uint64_t *ret_cost)
{
	const struct dump_piece *piece = &job->chunk->pieces[job->piece];

	if (job->piece == job->chunk->n_pieces) {
		end_chunk(job);
		return NULL;
	}
	if (job->piece_done == piece->record_bytes + piece->bytes) {
		job->piece++;
		job->piece_done = 0;
		return NULL;
	}
	return drain_piece(job, piece, ret_cost);
}

/* ---- the end ---- */

/* A file that was written out of order is read once more. *ret_done: all of it was. */
static struct err *read_back(struct dump_job *job, bool *ret_done, uint64_t *ret_cost)
{
	uint8_t *bytes = xmalloc(READ_BACK_BYTES);
	size_t n = 0;
	struct err *e = dump_sink_read(job->sink, job->digest_at, bytes, READ_BACK_BYTES, &n);

	if (!e)
		digest_add(job->digest, bytes, n);
	free(bytes);
	job->digest_at += n;
	*ret_cost = READ_BACK_BYTES;
	*ret_done = !n;
	return e;
}

/* All is written. *ret_done: and nothing is left to do. */
static struct err *finish(struct dump_job *job, bool *ret_done, uint64_t *ret_cost)
{
	bool done = true;
	struct err *e = job->digest_later ? read_back(job, &done, ret_cost) : NULL;

	if (e || !done)
		return e;
	if (job->digest)
		digest_finish(job->digest, job->sha256);
	*ret_done = true;
	return dump_sink_finish(job->sink);
}

/* ---- steps ---- */

static double seconds_left(const struct dump_job *job)
{
	double timeout = job->plan->opt.timeout;

	return timeout > 0 ? timeout - seconds_since(&job->started) : FOREVER;
}

static bool is_throttled(const struct dump_job *job)
{
	return job->chunk && job->piece < job->chunk->n_pieces && !allowance(job);
}

/* *ret_cost counts towards the step. */
static struct err *move_on(struct dump_job *job, bool *ret_done, uint64_t *ret_cost)
{
	struct dump_chunk *c = NULL;
	struct err *e;

	if (seconds_left(job) <= 0)
		return err_new(ERR_TIMEOUT, "it took longer than %g s", job->plan->opt.timeout);
	e = dump_crew_feed(job->crew, ret_cost);
	if (e || *ret_cost)
		return e;
	if (job->chunk)
		return drain(job, ret_cost);
	if (dump_crew_is_over(job->crew))
		return finish(job, ret_done, ret_cost);
	e = dump_crew_oldest(job->crew, &c);
	if (c)
		take_chunk(job, c);
	job->idle = !e && !c;
	return e;
}

bool dump_job_step(struct dump_job *job)
{
	uint64_t moved = 0;
	bool done = false;
	struct err *e = NULL;

	if (job->status != DUMP_ACTIVE)
		return false;
	dump_crew_forget_wakeups(job->crew);
	job->idle = false;
	do {
		uint64_t cost = 0;

		e = move_on(job, &done, &cost);
		moved += cost;
	} while (!e && !done && moved < STEP_BYTES && !job->idle && !is_throttled(job) &&
		 dump_sink_wait_fd(job->sink) < 0);
	if (!e && !done)
		return true;
	e = err_prefix(e, "the dump to %s failed", dump_sink_name(job->sink));
	end_job(job, e ? DUMP_FAILED : DUMP_COMPLETED, e);
	return false;
}

/* Rounded up, so that it is not waited for again and again. */
static int ms_of(double seconds)
{
	return (int)(MAX(seconds, 0) * 1000) + 1;
}

void dump_job_wait(const struct dump_job *job, struct dump_wait *ret)
{
	double left = MIN(seconds_left(job), MAX_WAIT), refill;
	int ms = left < MAX_WAIT ? ms_of(left) : -1;

	*ret = (struct dump_wait){ .fd = -1 };
	if (job->status != DUMP_ACTIVE)
		return;
	if (dump_sink_wait_fd(job->sink) >= 0)
		*ret = (struct dump_wait){ dump_sink_wait_fd(job->sink), POLLOUT, ms };
	else if (is_throttled(job)) {
		refill = (wanted_tokens(job) - tokens_now(job)) / (double)job->plan->opt.bandwidth;
		ret->ms = ms_of(MIN(left, refill));
	} else if (job->idle)
		*ret = (struct dump_wait){ dump_crew_fd(job->crew), POLLIN, ms };
}

void dump_job_cancel(struct dump_job *job)
{
	if (job->status == DUMP_ACTIVE)
		end_job(job, DUMP_CANCELLED,
			err_new(ERR_CANCELLED, "the dump to %s was cancelled", dump_sink_name(job->sink)));
}

void dump_job_progress(const struct dump_job *job, struct dump_progress *ret)
{
	*ret = (struct dump_progress){
		.status = job->status,
		.done_bytes = job->done_bytes,
		.total_bytes = job->plan->total_bytes,
		.seconds = job->status == DUMP_ACTIVE ? seconds_since(&job->started) : job->seconds,
		.written_bytes = job->written_bytes,
		.pages = job->pages,
	};
	memcpy(ret->sha256, job->sha256, sizeof(ret->sha256));
	if (job->chunk && job->chunk_bytes)
		ret->done_bytes += (uint64_t)((double)job->chunk->weight * (double)job->chunk_done /
					      (double)job->chunk_bytes);
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
	digest_destroy(job->digest);
	err_destroy(job->error);
	free(job);
}
