/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <lzo/lzo1x.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "dump/codec.h"

static void *lzo_create(bool wraps)
{
	(void)wraps;
	return lzo_init() == LZO_E_OK ? xmalloc(LZO1X_1_MEM_COMPRESS) : NULL;
}

static size_t lzo_compress(void *state, const void *from, size_t bytes, void *to)
{
	lzo_uint n = 0;

	return lzo1x_1_compress(from, bytes, to, &n, state) == LZO_E_OK ? n : 0;
}

const struct dump_codec dump_codec_lzo = {
	.name = "lzo",
	.format = DUMP_KDUMP_LZO,
	.page_flag = 0x2,
	.create = lzo_create,
	.destroy = free,
	.compress = lzo_compress,
};
