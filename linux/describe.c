/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "linux/describe.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

/* include/uapi/linux/utsname.h: struct new_utsname is six of these. */
#define UTS_BYTES 65u
enum { UTS_VERSION = 3, UTS_MACHINE = 4 };

#define MAX_BANNER_BYTES 512u
/* How far behind the code its read-only data is looked through. */
#define SEARCHED_BYTES (64ull << 20)
#define CHUNK_BYTES (64u << 10)

/* Text of the guest's, up to its first byte that cannot be printed; "" where it cannot be read. */
static void read_text(const struct linux_kernel *k, uint64_t gva, char *ret, size_t bytes)
{
	struct err *e = kernel_read(k, gva, ret, bytes - 1);
	size_t n = 0;

	while (!e && n < bytes - 1 && ret[n] >= ' ' && ret[n] <= '~')
		n++;
	ret[n] = '\0';
	err_destroy(e);
}

static void read_uts(struct linux_kernel *k, unsigned field, char ret[UTS_BYTES])
{
	uint64_t uts, offset = 0;

	*ret = '\0';
	if (vmcoreinfo_symbol(k->info, "init_uts_ns", &uts) &&
	    vmcoreinfo_number(k->info, "OFFSET(uts_namespace.name)", 10, &offset))
		read_text(k, uts + offset + field * UTS_BYTES, ret, UTS_BYTES);
}

/* ---- the banner ---- */

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), n_end = strlen(end);

	return n_end && n >= n_end && !strcmp(text + (n - n_end), end);
}

/* Every text in buf, which starts at gva, that may be the banner. */
static bool search_buf(const struct linux_kernel *k, uint64_t gva, const char *buf, size_t bytes, const char *start,
		       const char *end, char *ret)
{
	const char *at = buf;

	while ((at = memmem(at, (size_t)(buf + bytes - at), start, strlen(start)))) {
		read_text(k, gva + (uint64_t)(at - buf), ret, MAX_BANNER_BYTES);
		if (ends_with(ret, end))
			return true;
		at++;
	}
	return false;
}

/*
 * Most kernels list their functions only: the banner stands behind them, and is
 * told from other texts by how it begins and ends.
 */
static bool search_banner(struct linux_kernel *k, const char *start, const char *end, char *ret)
{
	size_t overlap = strlen(start) - 1;
	char *buf = xmalloc(CHUNK_BYTES + overlap);
	uint64_t from = 0, at;
	bool found = false;
	struct err *e = kernel_symbol(k, "_etext", &from);

	for (at = from; !e && !found && at - from < SEARCHED_BYTES; at += CHUNK_BYTES) {
		e = kernel_read(k, at, buf, CHUNK_BYTES + overlap);
		found = !e && search_buf(k, at, buf, CHUNK_BYTES + overlap, start, end, ret);
	}
	free(buf);
	err_destroy(e);
	return found;
}

static bool find_banner(struct linux_kernel *k, const char *release, const char *version, char *ret)
{
	struct buf start = { 0 };
	uint64_t gva = 0;
	struct err *e = kernel_symbol(k, "linux_banner", &gva);
	bool found = !e;

	if (found) {
		read_text(k, gva, ret, MAX_BANNER_BYTES);
	} else {
		buf_addf(&start, "Linux version %s (", release);
		found = search_banner(k, buf_str(&start), version, ret);
		buf_deinit(&start);
	}
	err_destroy(e);
	return found && *ret;
}

/* ---- the lines ---- */

static void add_text(struct buf *out, const char *what, const char *text)
{
	if (text && *text)
		buf_addf(out, "%s: %s\n", what, text);
}

void kernel_describe(struct linux_kernel *k, uint64_t slide, struct buf *out)
{
	char banner[MAX_BANNER_BYTES], version[UTS_BYTES], machine[UTS_BYTES];
	struct cursor line = { 0 };
	char *release = vmcoreinfo_value(k->info, "OSRELEASE", &line) ? cursor_dup(&line) : xstrdup("");
	uint64_t page_bytes;

	read_uts(k, UTS_VERSION, version);
	read_uts(k, UTS_MACHINE, machine);
	add_text(out, "Release", release);
	add_text(out, "Version", version);
	add_text(out, "Machine", machine);
	if (find_banner(k, release, version, banner))
		add_text(out, "Banner", banner);
	buf_addf(out, "Slide: 0x%" PRIx64 "\n", slide);
	if (vmcoreinfo_number(k->info, "PAGESIZE", 10, &page_bytes))
		buf_addf(out, "Page size: %" PRIu64 "\n", page_bytes);
	buf_addf(out, "VMCOREINFO: guest-physical 0x%" PRIx64 ", %zu bytes\n", k->info->gpa, k->info->bytes);
	free(release);
}
