/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <snappy-c.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "dump/codec.h"

/* The library keeps nothing between calls. */
static void *snappy_create(bool wraps)
{
	(void)wraps;
	return xmalloc(1);
}

static size_t snappy_pack(void *state, const void *from, size_t bytes, void *to)
{
	size_t n = dump_codec_room(bytes);

	(void)state;
	return snappy_compress(from, bytes, to, &n) == SNAPPY_OK ? n : 0;
}

const struct dump_codec dump_codec_snappy = {
	.name = "snappy",
	.format = DUMP_KDUMP_SNAPPY,
	.page_flag = 0x4,
	.create = snappy_create,
	.destroy = free,
	.compress = snappy_pack,
};
