/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "linux/pages.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "linux/memmap.h"
#include "linux/page_layout.h"

#define CHUNK_BYTES (256u << 10)

struct scan {
	struct memmap map;
	struct page_layout layout;
	unsigned classes;
	uint8_t *chunk;
	size_t chunk_pages; /* that it has room for; even */
	uint64_t first, end; /* frames of the block under way */
	struct page_classes found;
};

static void add_frames(struct scan *s, uint64_t pfn, uint64_t end, unsigned class)
{
	if (pfn < end)
		s->found.counts[__builtin_ctz(class)] += page_set_add(&s->found.set, pfn, end - pfn);
}

/* A large page may lie in several blocks, and in what is none. */
static void add(struct scan *s, uint64_t pfn, uint64_t n, unsigned class)
{
	const struct guest *g = s->map.kernel->guest;
	uint64_t first, end;

	if (pfn >= s->first && n <= s->end - pfn) {
		add_frames(s, pfn, pfn + n, class);
		return;
	}
	for (size_t i = 0; i < g->n_blocks; i++) {
		memmap_frames(&s->map, &g->blocks[i], &first, &end);
		add_frames(s, MAX(first, pfn), MIN(end, pfn + n), class);
	}
}

/*
 * Frames from pfn on, whose struct pages are in the chunk, n of them, the first's at gva.
 * Returns how many of them and of those behind have been dealt with.
 */
static uint64_t scan_chunk(struct scan *s, uint64_t pfn, uint64_t gva, size_t n)
{
	uint64_t i = 0;

	while (i < n) {
		const uint8_t *page = s->chunk + i * s->map.page_bytes;
		const struct page_at at = { pfn + i, gva + i * s->map.page_bytes, page,
					    i + 1 < n ? page + s->map.page_bytes : NULL };
		unsigned order, class = page_class(&s->layout, s->classes, &at, &order);

		if (class)
			add(s, at.pfn, 1ull << order, class);
		i += class ? 1ull << order : 1;
	}
	return i;
}

/* The head of a compound page has an even number: the page behind it is always in the same chunk. */
static struct err *scan_run(struct scan *s, uint64_t pfn, uint64_t gva, uint64_t n)
{
	uint64_t done = 0;

	while (done < n) {
		size_t some = (size_t)MIN(n - done, s->chunk_pages - (pfn + done) % 2);
		uint64_t at = gva + done * s->map.page_bytes;
		struct err *e = memmap_read(&s->map, at, s->chunk, some);

		if (e)
			return e;
		done += scan_chunk(s, pfn + done, at, some);
	}
	return NULL;
}

static struct err *scan_block(struct scan *s, const struct mem_block *b)
{
	uint64_t pfn;

	memmap_frames(&s->map, b, &s->first, &s->end);
	s->end = MIN(s->end, s->map.end);
	for (pfn = s->first; pfn < s->end;) {
		uint64_t gva, n = MIN(memmap_run(&s->map, pfn, &gva), s->end - pfn);
		struct err *e = gva ? scan_run(s, pfn, gva, n) : NULL;

		if (e)
			return e;
		pfn += n;
	}
	return NULL;
}

static struct err *scan_all(struct scan *s)
{
	const struct guest *g = s->map.kernel->guest;
	struct err *e = NULL;

	s->chunk_pages = ALIGN_DOWN(CHUNK_BYTES / s->map.page_bytes, 2);
	s->chunk = xmalloc(s->chunk_pages * s->map.page_bytes);
	page_set_init(&s->found.set, s->map.page_shift, s->map.end);
	for (size_t i = 0; !e && i < g->n_blocks; i++)
		e = scan_block(s, &g->blocks[i]);
	free(s->chunk);
	if (!e && !s->map.read_bytes)
		e = err_new(ERR_UNKNOWN, "the kernel's memory map is not where its mem_section says");
	return e;
}

struct err *pages_find(const struct linux_kernel *k, unsigned classes, struct page_classes *ret)
{
	struct scan s = { .classes = classes };
	struct err *e = memmap_open(k, &s.map);

	if (e)
		return err_prefix(e, "what the guest's pages are for is not known");
	e = page_layout_read(k->info, k->guest->order, s.map.page_bytes, &s.layout);
	if (!e)
		e = scan_all(&s);
	memmap_close(&s.map);
	if (e) {
		page_classes_deinit(&s.found);
		return err_prefix(e, "what the guest's pages are for is not known");
	}
	log_debug("pages to leave out: cache %" PRIu64 ", private %" PRIu64 ", user %" PRIu64 ", free %" PRIu64,
		  s.found.counts[1], s.found.counts[2], s.found.counts[3], s.found.counts[4]);
	*ret = s.found;
	return NULL;
}
