/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DUMP_SINK_H
#define DUMP_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dump/dump.h"

enum sink_kind {
	SINK_FILE,   /* gets holes, and its name at the end */
	SINK_STREAM, /* write(2) in sequence */
	SINK_SOCKET, /* send(2), which need not block whatever the descriptor's flags */
};

struct dump_sink {
	enum sink_kind kind;
	int fd;
	bool owns_fd;
	bool blocked;  /* the last write took less than it was given */
	char *name;    /* as the user said it */
	uint64_t at;   /* bytes written and skipped: where the next go */
	uint64_t end;  /* SINK_FILE: behind the last of them */
	/* SINK_FILE */
	int dir_fd;
	char *base;    /* the final name in dir_fd */
	char *hidden;  /* the name that it has until it is whole */
	bool linked;   /* hidden exists and is ours */
};

/* A sink of this kind with nothing written; copies name. */
struct dump_sink *dump_sink_create(enum sink_kind kind, int fd, const char *name);

const char *dump_sink_name(const struct dump_sink *s);
/* Zeros need not be written. */
bool dump_sink_seeks(const struct dump_sink *s);
/* The next bytes of the file; *ret_done is less than bytes when a stream is full for now. */
struct err *dump_sink_write(struct dump_sink *s, const void *data, size_t bytes, size_t *ret_done) MUST_CHECK;
/* The same for zeros; may do less than bytes at any time. */
struct err *dump_sink_skip(struct dump_sink *s, uint64_t bytes, uint64_t *ret_done) MUST_CHECK;
/* SINK_FILE: what comes next goes to this offset. */
void dump_sink_seek(struct dump_sink *s, uint64_t offset);
/* SINK_FILE: reads back what was written; fewer bytes only at its end. */
struct err *dump_sink_read(struct dump_sink *s, uint64_t offset, void *ret, size_t bytes, size_t *ret_bytes) MUST_CHECK;
/* To wait on until a full stream takes more; -1: it is not full. */
int dump_sink_wait_fd(const struct dump_sink *s);
/* All is written: a file gets its length and its name. */
struct err *dump_sink_finish(struct dump_sink *s) MUST_CHECK;

/* Of sink_path.c, for SINK_FILE: gives the whole file its final name. */
struct err *dump_sink_publish(struct dump_sink *s) MUST_CHECK;
/* Removes what has no final name. */
void dump_sink_discard(struct dump_sink *s);

#endif
