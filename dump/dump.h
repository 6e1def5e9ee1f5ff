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
 * event loop goes on beside it, while threads of its own read and compress.
 */

enum dump_format {
	DUMP_ELF,
	DUMP_KDUMP_ZLIB, /* makedumpfile's compressed file, by the codec of its pages */
	DUMP_KDUMP_LZO,
	DUMP_KDUMP_SNAPPY,
	DUMP_KDUMP_ZSTD,
};
#define N_DUMP_FORMATS 5u

/* What is around the whole of an ELF vmcore: members or frames one behind the other, which unpack to one file. */
enum dump_wrap {
	DUMP_PLAIN,
	DUMP_GZIP,
	DUMP_ZSTD,
};

/* "elf", "kdump-zlib", ... */
const char *dump_format_name(enum dump_format format);
/* This build has the codec that it takes. */
bool dump_format_is_built(enum dump_format format);
/* ERR_USAGE: there is none of that name; the text lists them. */
struct err *dump_format_by_name(const char *name, enum dump_format *ret) MUST_CHECK;
/* By the suffix .gz or .zst of an output's name. */
enum dump_wrap dump_wrap_of_name(const char *path);

struct dump_options {
	enum dump_format format;
	enum dump_wrap wrap;
	bool flatten;         /* kdump formats: makedumpfile's flattened form, which needs no seek */
	unsigned leave_out;   /* PAGES_* of guest/os.h; the image is told, see guest_image_leave_out() */
	uint64_t bandwidth;   /* bytes of output a second at most; 0: no limit */
	double timeout;       /* seconds that it may take; 0: no limit */
	bool sha256;          /* of the whole output */
	bool paging;          /* the full page-table map (-p) */
	bool has_range;       /* only [begin, begin + length) */
	uint64_t begin;       /* guest-physical */
	uint64_t length;      /* > 0; begin + length <= 2^64 */
};

/*
 * Checks words against each other and what is set in *ret, before there is a guest: ERR_USAGE;
 * ERR_UNSUPPORTED where this build lacks a codec. Sets the range in *ret, nothing else.
 */
struct err *dump_options_check(bool has_begin, uint64_t begin, bool has_length, uint64_t length,
			       struct dump_options *ret) MUST_CHECK;

struct dump_plan;

/* Borrows img until it is destroyed. Everything that can be foreseen to fail fails here. */
struct err *dump_plan_create(struct guest_image *img, const struct dump_options *opt,
			     struct dump_plan **ret) MUST_CHECK;
void dump_plan_destroy(struct dump_plan *p); /* takes NULL */
/* The file's length before anything is compressed. */
uint64_t dump_plan_file_bytes(const struct dump_plan *p);
/*
 * What a disk must have free: how much of the file can hold anything but zeros at most. Of what is
 * compressed only that which is not, as the rest cannot be foreseen; see dump_estimate().
 */
uint64_t dump_plan_data_bytes(const struct dump_plan *p);

struct dump_estimate {
	uint64_t file_bytes; /* the file's length */
	uint64_t data_bytes; /* what of it is no hole */
	double seconds;      /* to read and compress, on this machine; the disk's share is not in it */
};

/*
 * What a dump would be: reads and compresses a sample of at most 64 MiB, spread over the memory
 * that was touched, in the caller's thread, and writes nothing.
 */
struct err *dump_estimate(struct guest_image *img, const struct dump_options *opt,
			  struct dump_estimate *ret) MUST_CHECK;

struct dump_sink;

/*
 * A file that gets its name only when it is whole: O_TMPFILE and a link, or
 * one hidden name beside it; mode 0600. An existing regular file is replaced
 * at the end, anything else that exists is refused, but for character devices
 * and fifos, which are written to as a stream.
 * Checks that need_bytes are free (ERR_SYSTEM ENOSPC with both numbers).
 */
struct err *dump_sink_open_path(const char *path, uint64_t need_bytes, struct dump_sink **ret) MUST_CHECK;
/* The same check of a file that is open. */
struct err *dump_sink_need(const struct dump_sink *s, uint64_t need_bytes) MUST_CHECK;
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

/* Page frames of the RAM that is dumped, so far; a frame is in one of the first four. */
struct dump_pages {
	uint64_t written;   /* hold something */
	uint64_t zero;      /* were read, and hold nothing but zeros */
	uint64_t untouched; /* were not read: the VMM has never touched them */
	uint64_t left_out;  /* of the classes that were to be left out */
	uint64_t classes[N_PAGE_CLASSES]; /* of the whole guest, of class i of guest/os.h; zero pages are above */
	uint64_t page_bytes;
};

struct dump_progress {
	enum dump_status status;
	uint64_t done_bytes;  /* of total_bytes: of an ELF file's length, else of RAM */
	uint64_t total_bytes;
	double seconds;
	uint64_t written_bytes; /* of output; holes are not in it */
	struct dump_pages pages;
	char sha256[65];      /* in hex, once it has completed; "" when it was not asked for */
};

/* What a job needs before its next step is of use: one of the two, or none. */
struct dump_wait {
	int fd;       /* one of events, as for poll; -1: no descriptor */
	short events;
	int ms;       /* at most so long; -1: no bound. With no fd, 0: step at once */
};

struct dump_job;

/*
 * Takes over plan and sink, on failure too. ERR_UNSUPPORTED: the format needs to seek, and
 * the sink cannot.
 */
struct err *dump_job_create(struct dump_plan *plan, struct dump_sink *sink, struct dump_job **ret) MUST_CHECK;
/* Moves up to about 8 MiB on. False when it has ended; dump_job_error() then says how. */
bool dump_job_step(struct dump_job *job);
/* A step that comes too early does no harm. */
void dump_job_wait(const struct dump_job *job, struct dump_wait *ret);
void dump_job_cancel(struct dump_job *job);
void dump_job_progress(const struct dump_job *job, struct dump_progress *ret);
/* NULL unless failed or cancelled. Borrowed. */
const struct err *dump_job_error(const struct dump_job *job);
void dump_job_destroy(struct dump_job *job); /* takes NULL; an active one is cancelled first */

#endif
