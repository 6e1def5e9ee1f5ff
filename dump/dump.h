/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DUMP_DUMP_H
#define DUMP_DUMP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "guest/image.h"

/*
 * Writing a vmcore. A plan says what the file will be before a byte of it is
 * written; a sink is where it goes; a job moves the bytes in steps, so that an
 * event loop goes on beside it.
 */

enum dump_format {
	DUMP_ELF,
	DUMP_KDUMP_ZLIB, /* makedumpfile's compressed file, by the codec of its pages */
	DUMP_KDUMP_LZO,
	DUMP_KDUMP_SNAPPY,
	DUMP_KDUMP_ZSTD,
};
#define N_DUMP_FORMATS 5u

/* What is around the whole of an ELF vmcore. */
enum dump_wrap {
	DUMP_PLAIN,
	DUMP_GZIP,
	DUMP_ZSTD,
};

struct dump_options {
	enum dump_format format;
	enum dump_wrap wrap;
	bool flatten;         /* kdump formats: makedumpfile's flattened form, which needs no seek */
	unsigned leave_out;   /* PAGES_* of guest/os.h; the image is told, see guest_image_leave_out() */
	uint64_t bandwidth;   /* bytes of output a second at most; 0: no limit */
	double timeout;       /* seconds that it may take; 0: no limit */
	bool paging;          /* the full page-table map (-p) */
	bool has_range;       /* only [begin, begin + length) */
	uint64_t begin;       /* guest-physical */
	uint64_t length;      /* > 0; begin + length <= 2^64 */
};

/* Checks words against each other, before there is a guest: ERR_USAGE. Sets the range in *ret, nothing else. */
struct err *dump_options_check(bool has_begin, uint64_t begin, bool has_length, uint64_t length,
			       struct dump_options *ret) MUST_CHECK;

struct dump_plan;

/* Borrows img until it is destroyed. Everything that can be foreseen to fail fails here. */
struct err *dump_plan_create(struct guest_image *img, const struct dump_options *opt,
			     struct dump_plan **ret) MUST_CHECK;
void dump_plan_destroy(struct dump_plan *p); /* takes NULL */
/* The file's length, and how much of that can hold anything but zeros at most. */
uint64_t dump_plan_file_bytes(const struct dump_plan *p);
uint64_t dump_plan_data_bytes(const struct dump_plan *p);

struct dump_sink;

/*
 * A file that gets its name only when it is whole: O_TMPFILE and a link, or
 * one hidden name beside it; mode 0600. An existing regular file is replaced
 * at the end, anything else that exists is refused, but for character devices
 * and fifos, which are written to as a stream.
 * Checks that need_bytes are free (ERR_SYSTEM ENOSPC with both numbers).
 */
struct err *dump_sink_open_path(const char *path, uint64_t need_bytes, struct dump_sink **ret) MUST_CHECK;
/*
 * A descriptor; borrowed, never closed or truncated. Written in sequence without a seek,
 * from where it stands.
 */
struct err *dump_sink_open_fd(int fd, const char *name, struct dump_sink **ret) MUST_CHECK;
/* Removes whatever was written to a file that was not finished; takes NULL. */
void dump_sink_destroy(struct dump_sink *s);

enum dump_status {
	DUMP_ACTIVE,
	DUMP_COMPLETED,
	DUMP_FAILED,
	DUMP_CANCELLED,
};

struct dump_progress {
	enum dump_status status;
	uint64_t done_bytes;  /* of total_bytes, both in the file's length */
	uint64_t total_bytes;
	double seconds;
};

struct dump_job;

/* Takes over plan and sink, on failure too. */
struct dump_job *dump_job_create(struct dump_plan *plan, struct dump_sink *sink);
/* Moves up to about 8 MiB on. False when it has ended; dump_job_error() then says how. */
bool dump_job_step(struct dump_job *job);
/* A descriptor to wait on for writing before the next step, or -1: step at once. */
int dump_job_wait_fd(const struct dump_job *job);
void dump_job_cancel(struct dump_job *job);
void dump_job_progress(const struct dump_job *job, struct dump_progress *ret);
/* NULL unless failed or cancelled. Borrowed. */
const struct err *dump_job_error(const struct dump_job *job);
void dump_job_destroy(struct dump_job *job); /* takes NULL; an active one is cancelled first */

#endif
