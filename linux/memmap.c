/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "linux/memmap.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

/* What the kernel can be built with, and much more than it is: what says otherwise is no memory map. */
#define PAGE_SHIFT_MIN 12u
#define PAGE_SHIFT_MAX 16u
#define SECTION_SHIFT_MIN 6u
#define SECTION_BITS_MAX 40u
#define PAGE_BYTES_MIN 40u
#define PAGE_BYTES_MAX 1024u
#define MAX_ROOTS (1u << 22)
#define MAX_FRAMES (1ull << 33) /* a set of them takes 1 GiB */
#define POINTER_BYTES 8u

/*
 * include/linux/mmzone.h: the low bits of section_mem_map. ONLINE came with Linux 4.13: what
 * is not online has struct pages that nobody has set up. The address is that of frame 0.
 */
#define SECTION_PRESENT 1u
#define SECTION_HAS_MAP 2u
#define SECTION_ONLINE 4u
#define SECTION_FLAGS 0x3full

/* ---- sections ---- */

static bool load_root(struct memmap *m, uint64_t nr)
{
	uint64_t gva;
	struct err *e;

	if (m->root_nr == nr)
		return m->root_known;
	m->root_nr = nr;
	m->root_known = false;
	if (!kernel_read_uint(m->kernel, m->roots_gva + nr * POINTER_BYTES, POINTER_BYTES, &gva) || !gva)
		return false;
	e = kernel_read(m->kernel, gva, m->root, m->per_root * m->entry_bytes);
	m->root_known = !e;
	err_destroy(e);
	return m->root_known;
}

/* section_mem_map of a frame's section; 0 where there is none. As memmap_run() for the rest. */
static uint64_t find_section(struct memmap *m, uint64_t pfn, uint64_t *ret)
{
	uint64_t section = pfn >> m->section_shift, nr = section / m->per_root;
	uint64_t per_root = (uint64_t)m->per_root << m->section_shift;
	const uint8_t *entry = m->root + section % m->per_root * m->entry_bytes;

	*ret = 0;
	if (nr >= m->n_roots)
		return UINT64_MAX;
	if (!load_root(m, nr))
		return per_root - pfn % per_root;
	*ret = load_uint(entry + m->map_offset, POINTER_BYTES, m->kernel->guest->order);
	return (1ull << m->section_shift) - (pfn & ((1ull << m->section_shift) - 1));
}

uint64_t memmap_run(struct memmap *m, uint64_t pfn, uint64_t *ret_gva)
{
	uint64_t map, run = find_section(m, pfn, &map);

	*ret_gva = (map & m->needed) == m->needed ? (map & ~SECTION_FLAGS) + pfn * m->page_bytes : 0;
	return run;
}

void memmap_frames(const struct memmap *m, const struct mem_block *b, uint64_t *ret_first, uint64_t *ret_end)
{
	uint64_t mask = (1ull << m->page_shift) - 1, last = b->gpa + (b->bytes - 1);

	*ret_first = (b->gpa >> m->page_shift) + ((b->gpa & mask) != 0);
	*ret_end = (last >> m->page_shift) + ((last & mask) == mask);
}

/* How far the map goes, and whether this kernel marks what is online. */
static struct err *survey(struct memmap *m)
{
	const struct guest *g = m->kernel->guest;
	uint64_t flags = 0;

	m->needed = SECTION_PRESENT | SECTION_HAS_MAP;
	for (size_t i = 0; i < g->n_blocks; i++) {
		uint64_t pfn, end;

		memmap_frames(m, &g->blocks[i], &pfn, &end);
		while (pfn < end) {
			uint64_t map, n = MIN(find_section(m, pfn, &map), end - pfn);

			pfn += n;
			if ((map & m->needed) == m->needed) {
				flags |= map;
				m->end = pfn;
			}
		}
	}
	m->end = MIN(m->end, MAX_FRAMES);
	m->needed |= flags & SECTION_ONLINE;
	if (m->end)
		return NULL;
	return err_new(ERR_UNKNOWN, "the kernel's mem_section at 0x%" PRIx64 " has no section that is memory",
		       m->roots_gva);
}

/* ---- struct pages ---- */

static const struct mapping *find_backing(const struct memmap *m, uint64_t gva)
{
	size_t low = 0, high = m->backing.n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct mapping *at = &m->backing.v[middle];

		if (gva - at->gva < at->bytes)
			return at;
		if (gva < at->gva)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

static struct err *read_backing(const struct memmap *m, uint64_t gva, uint8_t *ret, size_t bytes)
{
	struct phys_reader mem = guest_phys_reader(m->kernel->guest);

	while (bytes) {
		const struct mapping *at = find_backing(m, gva);
		size_t n = at ? (size_t)MIN((uint64_t)bytes, at->bytes - (gva - at->gva)) : 0;
		struct err *e = at ? mem.read(mem.ctx, at->gpa + (gva - at->gva), ret, n) :
				     err_new(ERR_UNMAPPED, "nothing backs 0x%" PRIx64, gva);

		if (e)
			return e;
		gva += n;
		ret += n;
		bytes -= n;
	}
	return NULL;
}

/* *ret_there: all of it was. Errors are those of the target. */
static struct err *read_some(struct memmap *m, uint64_t gva, uint8_t *ret, size_t bytes, bool *ret_there)
{
	struct err *e = kernel_read(m->kernel, gva, ret, bytes);

	if (e && m->backing.n) {
		err_destroy(e);
		e = read_backing(m, gva, ret, bytes);
	}
	*ret_there = !e;
	m->read_bytes += e ? 0 : bytes;
	if (!e || (err_code(e) != ERR_UNMAPPED && err_code(e) != ERR_UNKNOWN))
		return e;
	err_destroy(e);
	return NULL;
}

/* A page of the map at a time. Where there is a hole, a struct page of which half is in it is not there. */
static struct err *read_around_holes(struct memmap *m, uint64_t gva, uint8_t *ret, size_t bytes)
{
	uint64_t map_page = 1ull << m->page_shift;
	bool was_there = true;

	for (size_t at = 0, n; at < bytes; at += n) {
		size_t start = at - at % m->page_bytes;
		bool there;
		struct err *e;

		n = (size_t)MIN(bytes - at, map_page - (gva + at) % map_page);
		e = read_some(m, gva + at, ret + at, n, &there);
		if (e)
			return e;
		if (!there)
			memset(ret + at, 0, n);
		if (there != was_there)
			memset(ret + start, 0, MIN(at - start ? m->page_bytes : 0, bytes - start));
		was_there = there;
	}
	return NULL;
}

struct err *memmap_read(struct memmap *m, uint64_t gva, void *ret, size_t n)
{
	size_t bytes = n * m->page_bytes;
	bool there;
	struct err *e = read_some(m, gva, ret, bytes, &there);

	return e || there ? e : read_around_holes(m, gva, ret, bytes);
}

/* ---- what VMCOREINFO says ---- */

static struct err *set_page_shift(struct memmap *m, uint64_t bytes)
{
	for (m->page_shift = PAGE_SHIFT_MIN; m->page_shift <= PAGE_SHIFT_MAX; m->page_shift++)
		if (bytes == 1ull << m->page_shift)
			return NULL;
	return vmcoreinfo_senseless("PAGESIZE", bytes);
}

/* Kernels before 5.13 do not say how large a section is: it is the architecture's. */
static struct err *set_section(struct memmap *m, const struct vmcoreinfo *info, unsigned of_arch)
{
	static const char key[] = "NUMBER(SECTION_SIZE_BITS)";
	uint64_t bits = of_arch;

	vmcoreinfo_number(info, key, 10, &bits);
	if (bits < m->page_shift + SECTION_SHIFT_MIN || bits > SECTION_BITS_MAX)
		return vmcoreinfo_senseless(key, bits);
	m->section_shift = (unsigned)bits - m->page_shift;
	return NULL;
}

static struct err *set_sizes(struct memmap *m, uint64_t page_bytes, uint64_t entry_bytes, uint64_t map_offset)
{
	if (page_bytes < PAGE_BYTES_MIN || page_bytes > PAGE_BYTES_MAX || page_bytes % POINTER_BYTES)
		return vmcoreinfo_senseless("SIZE(page)", page_bytes);
	if (entry_bytes < POINTER_BYTES || entry_bytes > 1ull << m->page_shift)
		return vmcoreinfo_senseless("SIZE(mem_section)", entry_bytes);
	if (map_offset > entry_bytes - POINTER_BYTES)
		return vmcoreinfo_senseless("OFFSET(mem_section.section_mem_map)", map_offset);
	if (!m->n_roots || m->n_roots > MAX_ROOTS)
		return vmcoreinfo_senseless("LENGTH(mem_section)", m->n_roots);
	m->page_bytes = (size_t)page_bytes;
	m->entry_bytes = (size_t)entry_bytes;
	m->map_offset = (size_t)map_offset;
	m->per_root = (size_t)((1ull << m->page_shift) / entry_bytes);
	return NULL;
}

static struct err *read_info(struct memmap *m, const struct vmcoreinfo *info, unsigned section_bits)
{
	uint64_t frame = 0, page = 0, entry = 0, offset = 0;
	struct err *e = vmcoreinfo_need(info, "PAGESIZE", 10, &frame);

	if (!e)
		e = vmcoreinfo_need(info, "SYMBOL(mem_section)", 16, &m->roots_gva);
	if (!e)
		e = vmcoreinfo_need(info, "LENGTH(mem_section)", 10, &m->n_roots);
	if (!e)
		e = vmcoreinfo_need(info, "SIZE(mem_section)", 10, &entry);
	if (!e)
		e = vmcoreinfo_need(info, "OFFSET(mem_section.section_mem_map)", 10, &offset);
	if (!e)
		e = vmcoreinfo_need(info, "SIZE(page)", 10, &page);
	if (!e)
		e = set_page_shift(m, frame);
	if (!e)
		e = set_section(m, info, section_bits);
	return e ? e : set_sizes(m, page, entry, offset);
}

static int by_gva(const void *a, const void *b)
{
	const struct mapping *x = a, *y = b;

	return (x->gva > y->gva) - (x->gva < y->gva);
}

struct err *memmap_open(const struct linux_kernel *k, struct memmap *ret)
{
	struct memmap m = { .kernel = k, .root_nr = UINT64_MAX };
	struct err *e = read_info(&m, k->info, k->arch->section_bits);

	if (e)
		return e;
	m.root = xmalloc((size_t)1 << m.page_shift);
	if (k->arch->memmap_backing)
		k->arch->memmap_backing(k, &m.backing);
	if (m.backing.n)
		qsort(m.backing.v, m.backing.n, sizeof(*m.backing.v), by_gva);
	e = survey(&m);
	if (e) {
		memmap_close(&m);
		return e;
	}
	*ret = m;
	return NULL;
}

void memmap_close(struct memmap *m)
{
	free(m->root);
	free(m->backing.v);
	*m = (struct memmap){ 0 };
}
