/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <zstd.h>

#include "dump/codec.h"

#define LEVEL 1 /* the fastest, as makedumpfile's */

static void *zstd_create(bool wraps)
{
	(void)wraps;
	return ZSTD_createCCtx();
}

static void zstd_destroy(void *state)
{
	ZSTD_freeCCtx(state);
}

static size_t zstd_compress(void *state, const void *from, size_t bytes, void *to)
{
	size_t n = ZSTD_compressCCtx(state, to, dump_codec_room(bytes), from, bytes, LEVEL);

	return ZSTD_isError(n) ? 0 : n;
}

const struct dump_codec dump_codec_zstd = {
	.name = "zstd",
	.format = DUMP_KDUMP_ZSTD,
	.page_flag = 0x20,
	.wrap = DUMP_ZSTD,
	.create = zstd_create,
	.destroy = zstd_destroy,
	.compress = zstd_compress,
};
