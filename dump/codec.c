/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dump/codec.h"

#include "base/attr.h"

#define X(name) &dump_codec_##name,
static const struct dump_codec *const codecs[] = { DUMP_CODECS };
#undef X

const struct dump_codec *dump_codec_of_format(enum dump_format format)
{
	for (size_t i = 0; i < ARRAY_LEN(codecs); i++)
		if (codecs[i]->format == format)
			return codecs[i];
	return NULL;
}

const struct dump_codec *dump_codec_of_wrap(enum dump_wrap wrap)
{
	for (size_t i = 0; wrap != DUMP_PLAIN && i < ARRAY_LEN(codecs); i++)
		if (codecs[i]->wrap == wrap)
			return codecs[i];
	return NULL;
}
