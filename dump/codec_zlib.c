/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <libdeflate.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "dump/codec.h"

#define LEVEL 1 /* the fastest */

struct state {
	struct libdeflate_compressor *compressor;
	bool wraps; /* as a gzip member, and no zlib stream */
};

static void *zlib_create(bool wraps)
{
	struct libdeflate_compressor *compressor = libdeflate_alloc_compressor(LEVEL);
	struct state *s;

	if (!compressor)
		return NULL;
	s = xmalloc(sizeof(*s));
	*s = (struct state){ compressor, wraps };
	return s;
}

static void zlib_destroy(void *state)
{
	struct state *s = state;

	libdeflate_free_compressor(s->compressor);
	free(s);
}

static size_t zlib_compress(void *state, const void *from, size_t bytes, void *to)
{
	const struct state *s = state;
	size_t room = dump_codec_room(bytes);

	return s->wraps ? libdeflate_gzip_compress(s->compressor, from, bytes, to, room) :
			  libdeflate_zlib_compress(s->compressor, from, bytes, to, room);
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
