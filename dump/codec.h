/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DUMP_CODEC_H
#define DUMP_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "dump/dump.h"

/*
 * A way to compress: one file, and one word in the GNUmakefile's CODECS, which leaves out
 * those whose library is not there.
 */
struct dump_codec {
	const char *name;        /* "zlib" */
	enum dump_format format; /* of pages that are compressed so */
	uint32_t page_flag;      /* in a page descriptor: DUMP_DH_COMPRESSED_* of makedumpfile */
	enum dump_wrap wrap;     /* what it can put around a whole file; DUMP_PLAIN: nothing */

	/*
	 * What one thread needs to compress blocks, which stand each for itself. wraps: each is
	 * a member of a stream. NULL: there is no memory for it.
	 */
	void *(*create)(bool wraps);
	void (*destroy)(void *state);
	/* to has dump_codec_room(bytes). Returns how many of it are used; 0: the library failed. */
	size_t (*compress)(void *state, const void *from, size_t bytes, void *to);
};

/* DUMP_CODECS is the GNUmakefile's list of them, each as X(name). */
#define X(name) extern const struct dump_codec dump_codec_##name;
DUMP_CODECS
#undef X

/* NULL: none, or not in this build. */
const struct dump_codec *dump_codec_of_format(enum dump_format format);
const struct dump_codec *dump_codec_of_wrap(enum dump_wrap wrap);

/* More than any of them makes of that many bytes. */
static inline size_t dump_codec_room(size_t bytes)
{
	return bytes + bytes / 4 + 256;
}

#endif
