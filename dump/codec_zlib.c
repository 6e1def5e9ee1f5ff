/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <zlib.h>

#include "base/alloc.h"
#include "dump/codec.h"

/* What deflate takes to be a gzip member and no zlib stream. */
#define GZIP_WINDOW (MAX_WBITS + 16)
/* A block has to be cleared from deflate's tables before the next: small ones do for small blocks. */
#define SMALL_BYTES 4096u
#define SMALL_WINDOW 13
#define SMALL_MEMORY 6

static void *zlib_create(size_t block_bytes, bool wraps)
{
	z_stream *z = xcalloc(1, sizeof(*z));
	bool is_small = block_bytes <= SMALL_BYTES;
	int window = wraps ? GZIP_WINDOW : is_small ? SMALL_WINDOW : MAX_WBITS;

	if (deflateInit2(z, Z_BEST_SPEED, Z_DEFLATED, window, is_small ? SMALL_MEMORY : MAX_MEM_LEVEL - 1,
			 Z_DEFAULT_STRATEGY) == Z_OK)
		return z;
	free(z);
	return NULL;
}

static void zlib_destroy(void *state)
{
	deflateEnd(state);
	free(state);
}

static size_t zlib_compress(void *state, const void *from, size_t bytes, void *to)
{
	z_stream *z = state;

	z->next_in = (Bytef *)from;
	z->avail_in = (uInt)bytes;
	z->next_out = to;
	z->avail_out = (uInt)dump_codec_room(bytes);
	if (deflateReset(z) != Z_OK || deflate(z, Z_FINISH) != Z_STREAM_END)
		return 0;
	return z->total_out;
}

const struct dump_codec dump_codec_zlib = {
	.name = "zlib",
	.format = DUMP_KDUMP_ZLIB,
	.page_flag = 0x1,
	.wrap = DUMP_GZIP,
	.create = zlib_create,
	.destroy = zlib_destroy,
	.compress = zlib_compress,
};
