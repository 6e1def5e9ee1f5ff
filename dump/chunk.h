/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DUMP_CHUNK_H
#define DUMP_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dump/codec.h"
#include "dump/plan.h"

/*
 * A dump on its way. A writer, of which there is one a kind of file, cuts it into chunks
 * in the order of the file; threads read and compress them; then they become pieces of output.
 */

#define CHUNK_BYTES (512u << 10)
/* No frame is smaller. */
#define MAX_CHUNK_FRAMES (CHUNK_BYTES / 4096u)
/* Where there is nothing for so long a chunk ends, and what is shorter is read over. */
#define GAP_BYTES (64u << 10)
/* How far one chunk looks for data: page tables of the host are read for it. */
#define WINDOW_BYTES (1u << 30)

enum dump_chunk_kind {
	CHUNK_HEAD,   /* of the file that the plan has in memory */
	CHUNK_MEMORY, /* of the guest; runs of it are read */
	CHUNK_ZEROS,  /* of the guest, where nothing was ever written; bytes may be more than CHUNK_BYTES */
	CHUNK_GAP,    /* of the file; likewise */
	CHUNK_MADE,   /* data is made by the writer */
};

/* Of guest memory. */
struct dump_run {
	uint64_t gpa;
	uint64_t bytes;
};

enum dump_frame_kind {
	FRAME_OUT,    /* in a class that is left out */
	FRAME_UNREAD, /* no run touches it */
	FRAME_ZERO,
	FRAME_DATA,
};

struct dump_frame {
	enum dump_frame_kind kind;
	uint32_t bytes; /* FRAME_DATA in a kdump file: what is kept of it in packed */
};

#define RECORD_BYTES 16u

/* Output, all of which has a place in the chunk or in its writer. */
struct dump_piece {
	uint8_t record[RECORD_BYTES]; /* of a flattened file, in front of the data */
	unsigned record_bytes;        /* 0 or all of them */
	uint64_t offset;              /* in the file, where the sink seeks */
	uint64_t bytes;               /* without the record */
	const uint8_t *data;          /* NULL: zeros */
	uint64_t period;              /* data has so many bytes, again and again */
};

struct dump_chunk {
	enum dump_chunk_kind kind;
	uint64_t gpa;    /* CHUNK_MEMORY, CHUNK_ZEROS */
	uint64_t offset; /* in the uncompressed file */
	uint64_t bytes;
	uint64_t weight; /* of the job's total_bytes */
	struct dump_run *runs;
	size_t n_runs, cap_runs;
	bool is_read;    /* the runs are in data already */
	struct err *error;
	uint8_t *data;   /* CHUNK_BYTES */
	uint8_t *packed; /* dump_codec_room(CHUNK_BYTES); NULL where nothing is compressed */
	size_t packed_bytes;
	struct dump_frame frames[MAX_CHUNK_FRAMES + 1]; /* CHUNK_MEMORY: those that it touches */
	size_t n_frames;
	struct dump_pages pages;
	struct buf made; /* what the writer adds */
	struct dump_piece *pieces;
	size_t n_pieces, cap_pieces;
};

/* needs_packed: there will be compressed data. */
struct dump_chunk *dump_chunks_create(size_t n, bool needs_packed);
void dump_chunks_destroy(struct dump_chunk *chunks, size_t n); /* takes NULL */
/* Makes it empty again; what it holds in memory stays. */
void dump_chunk_reset(struct dump_chunk *c);
/* An empty piece at its end. */
struct dump_piece *dump_chunk_add_piece(struct dump_chunk *c);

/* ---- guest memory (memory.c) ---- */

/*
 * The first run in [gpa, end) that lies in a region of the plan, may hold anything but zeros
 * and is not left out; end 0 is 2^64. *ret_bytes 0: none.
 */
struct err *dump_memory_run(const struct dump_plan *p, uint64_t gpa, uint64_t end, struct dump_run *ret) MUST_CHECK;
/* Makes c the next chunk from gpa on: zeros or memory, with its runs; whole frames unless end cuts one. */
struct err *dump_memory_next(const struct dump_plan *p, uint64_t gpa, uint64_t end, struct dump_chunk *c) MUST_CHECK;
/* Can its runs be read by any thread? */
bool dump_memory_is_parallel(const struct dump_plan *p, const struct dump_chunk *c);
/* Fills data: the runs, zeros between them. parallel: as dump_memory_is_parallel() allowed. */
struct err *dump_memory_read(const struct dump_plan *p, struct dump_chunk *c, bool parallel) MUST_CHECK;
/* Says of each frame of data that was read what it is, and counts them. */
void dump_memory_sort(const struct dump_plan *p, struct dump_chunk *c);
/* Counts the frames of a chunk of zeros. */
void dump_memory_count_zeros(const struct dump_plan *p, struct dump_chunk *c);
/* Frames from gpa on, at most n, that are all left out or all not. */
uint64_t dump_memory_left_out(const struct dump_plan *p, uint64_t gpa, uint64_t n, bool *ret_out);

bool dump_is_zero(const uint8_t *p, size_t bytes);

/* ---- writers ---- */

struct dump_writer;

struct dump_writer_ops {
	/* The next chunk, into an empty one; *ret_more false: there is none. The loop's thread. */
	struct err *(*next)(struct dump_writer *w, struct dump_chunk *c, bool *ret_more);
	/* Any thread: reads what is not read, compresses. state is the codec's, of this thread. */
	struct err *(*work)(const struct dump_writer *w, void *state, struct dump_chunk *c);
	/* Makes its pieces; the loop's thread, in the order of the file. */
	void (*place)(struct dump_writer *w, struct dump_chunk *c);
	void (*destroy)(struct dump_writer *w);
};

/* The head of each writer's own struct. */
struct dump_writer {
	const struct dump_writer_ops *ops;
	const struct dump_plan *plan;
	const struct dump_codec *codec; /* NULL: nothing is compressed */
	bool seeks;                     /* pieces go to their offset, and zeros need not be written */
	bool flatten;                   /* pieces have records */
};

/* seeks: the sink does. */
struct err *dump_writer_create(const struct dump_plan *p, bool seeks, struct dump_writer **ret) MUST_CHECK;
void dump_writer_destroy(struct dump_writer *w); /* takes NULL */
/* Each of one kind of file; for dump_writer_create(). */
struct err *dump_elf_create(const struct dump_plan *p, struct dump_writer **ret) MUST_CHECK;
struct err *dump_kdump_create(const struct dump_plan *p, struct dump_writer **ret) MUST_CHECK;

/* What a thread needs to compress for it; *ret NULL where that is nothing. */
struct err *dump_writer_state(const struct dump_writer *w, void **ret) MUST_CHECK;
void dump_writer_drop_state(const struct dump_writer *w, void *state); /* takes NULL */
/* The data of a chunk into packed. */
struct err *dump_writer_pack(const struct dump_writer *w, void *state, struct dump_chunk *c, size_t bytes) MUST_CHECK;

/* Bytes of the plan's head, from c->offset on. */
struct err *dump_head_read(const struct dump_plan *p, struct dump_chunk *c) MUST_CHECK;

/* Adds pieces for data at an offset, NULL for zeros; what is zeros where the sink seeks gets pieces of its own. */
void dump_writer_put(const struct dump_writer *w, struct dump_chunk *c, uint64_t offset, const uint8_t *data,
		     uint64_t bytes);
/* The same for data that repeats. */
void dump_writer_put_repeated(const struct dump_writer *w, struct dump_chunk *c, uint64_t offset,
			      const uint8_t *data, size_t period, uint64_t bytes);

#endif
