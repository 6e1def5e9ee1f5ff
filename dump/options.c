/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "dump/codec.h"

static const char *const names[N_DUMP_FORMATS] = {
	[DUMP_ELF] = "elf",
	[DUMP_KDUMP_ZLIB] = "kdump-zlib",
	[DUMP_KDUMP_LZO] = "kdump-lzo",
	[DUMP_KDUMP_SNAPPY] = "kdump-snappy",
	[DUMP_KDUMP_ZSTD] = "kdump-zstd",
};

const char *dump_format_name(enum dump_format format)
{
	return names[format];
}

bool dump_format_is_built(enum dump_format format)
{
	return format == DUMP_ELF || dump_codec_of_format(format);
}

static struct err *no_format(const char *name)
{
	struct buf known = { 0 };
	struct err *e;

	for (unsigned i = 0; i < N_DUMP_FORMATS; i++)
		buf_addf(&known, "%s%s", i ? ", " : "", names[i]);
	e = err_new(ERR_USAGE, "'%s' is no format of a dump; there are %s", name, buf_str(&known));
	buf_deinit(&known);
	return e;
}

struct err *dump_format_by_name(const char *name, enum dump_format *ret)
{
	for (unsigned i = 0; i < N_DUMP_FORMATS; i++) {
		if (!strcmp(names[i], name)) {
			*ret = (enum dump_format)i;
			return NULL;
		}
	}
	return no_format(name);
}

static bool ends_in(const char *s, const char *suffix)
{
	size_t n = strlen(s), k = strlen(suffix);

	return n > k && !strcmp(s + n - k, suffix);
}

enum dump_wrap dump_wrap_of_name(const char *path)
{
	return ends_in(path, ".gz") ? DUMP_GZIP : ends_in(path, ".zst") ? DUMP_ZSTD : DUMP_PLAIN;
}

static struct err *check_range(bool has_begin, uint64_t begin, bool has_length, uint64_t length)
{
	if (has_begin != has_length)
		return err_new(ERR_USAGE, "%s is given without %s; a range needs both",
			       has_begin ? "begin" : "length", has_begin ? "length" : "begin");
	if (has_length && !length)
		return err_new(ERR_USAGE, "the length of the range is zero");
	if (has_begin && begin + (length - 1) < begin)
		return err_new(ERR_USAGE, "the range 0x%" PRIx64 " + 0x%" PRIx64 " passes the end of the address space",
			       begin, length);
	return NULL;
}

/* kdump's file has a bit for each frame, and no place for virtual addresses. */
static struct err *check_kdump(const struct dump_options *opt, bool has_range)
{
	const char *name = names[opt->format];

	if (opt->paging)
		return err_new(ERR_USAGE, "%s has no program headers for page tables (-p); dump as elf", name);
	if (has_range)
		return err_new(ERR_USAGE, "%s holds the whole guest, no range (begin, length); dump as elf", name);
	if (opt->wrap != DUMP_PLAIN)
		return err_new(ERR_USAGE, "%s is compressed page by page; nothing more goes around it: take a name "
			       "without .gz or .zst, or dump as elf", name);
	return NULL;
}

struct err *dump_options_check(bool has_begin, uint64_t begin, bool has_length, uint64_t length,
			       struct dump_options *ret)
{
	struct err *e = check_range(has_begin, begin, has_length, length);

	if (!e && ret->format != DUMP_ELF)
		e = check_kdump(ret, has_begin);
	if (!e && ret->format == DUMP_ELF && ret->flatten)
		e = err_new(ERR_USAGE, "an elf dump needs no seek and has no flattened form; take a kdump format");
	if (!e && !dump_format_is_built(ret->format))
		e = err_new(ERR_UNSUPPORTED, "this build lacks the library for %s; take another format",
			    names[ret->format]);
	if (e)
		return e;
	ret->has_range = has_begin;
	ret->begin = begin;
	ret->length = length;
	return NULL;
}
