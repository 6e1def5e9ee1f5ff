/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/keyvalue.h"
#include "dump/chunk.h"

#define MIN_PAGE_BYTES 4096u
#define MAX_PAGE_BYTES 65536u

static uint64_t region_last(const struct dump_region *r)
{
	return r->gpa + (r->bytes - 1);
}

size_t dump_plan_region_after(const struct dump_plan *p, uint64_t gpa)
{
	size_t lo = 0, hi = p->n_regions;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (region_last(&p->regions[mid]) < gpa)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

uint64_t dump_plan_offset(const struct dump_plan *p, uint64_t gpa)
{
	size_t i = dump_plan_region_after(p, gpa);

	assert(i < p->n_regions && p->regions[i].gpa <= gpa);
	return p->regions[i].offset + (gpa - p->regions[i].gpa);
}

/* Adds what of the block is asked for, to the region before it where they adjoin. */
static void add_region(struct dump_plan *p, uint64_t gpa, uint64_t last)
{
	struct dump_region *before = p->n_regions ? &p->regions[p->n_regions - 1] : NULL;

	if (before && region_last(before) + 1 == gpa)
		before->bytes += last - gpa + 1;
	else
		p->regions[p->n_regions++] = (struct dump_region){ .gpa = gpa, .bytes = last - gpa + 1 };
}

static struct err *no_memory(const struct guest_image *img, const struct dump_options *opt)
{
	const struct mem_block *first = &img->blocks[0], *end = &img->blocks[img->n_blocks - 1];

	if (!opt->has_range)
		return err_new(ERR_UNSUPPORTED, "none of the guest's memory can be read");
	return err_new(ERR_UNMAPPED,
		       "the range 0x%" PRIx64 "-0x%" PRIx64 " holds no guest memory; it lies between 0x%" PRIx64
		       " and 0x%" PRIx64 ", see `info mtree`",
		       opt->begin, opt->begin + (opt->length - 1), first->gpa, end->gpa + (end->bytes - 1));
}

static struct err *plan_regions(struct dump_plan *p, const struct dump_options *opt)
{
	uint64_t begin = opt->has_range ? opt->begin : 0;
	uint64_t last = opt->has_range ? opt->begin + (opt->length - 1) : UINT64_MAX;

	p->regions = xcalloc(p->img->n_blocks, sizeof(*p->regions));
	for (size_t i = 0; i < p->img->n_blocks; i++) {
		const struct mem_block *b = &p->img->blocks[i];
		uint64_t from = MAX(begin, b->gpa), to = MIN(last, b->gpa + (b->bytes - 1));

		if (from <= to && !(b->flags & MEM_PRIVATE))
			add_region(p, from, to);
	}
	return p->n_regions ? NULL : no_memory(p->img, opt);
}

static struct err *plan_loads(struct dump_plan *p, const struct dump_options *opt)
{
	struct err *e = NULL;

	if (opt->paging)
		e = guest_image_walk(p->img, dump_loads_add, p);
	else
		for (size_t i = 0; !e && i < p->img->n_kernel_map; i++)
			e = dump_loads_add(p, &p->img->kernel_map[i]);
	return e ? e : dump_loads_finish(p);
}

/* Puts the regions behind the head; false when an offset would pass 2^63. */
static bool place_regions(struct dump_plan *p)
{
	uint64_t page = p->img->arch->page_bytes, at;

	at = dump_head_layout(p->elf_class, p->loads.n, p->notes.len).end;
	p->head_bytes = at;
	for (size_t i = 0; i < p->n_regions; i++) {
		struct dump_region *r = &p->regions[i];

		r->offset = ALIGN_UP(at, page) + (r->gpa & (page - 1));
		if (r->offset > INT64_MAX || r->bytes > INT64_MAX - r->offset)
			return false;
		at = r->offset + r->bytes;
	}
	p->file_bytes = at;
	return true;
}

/* A 32-bit header cannot say where a frame beyond 4 GiB of file is, though the guest's memory ends below. */
static bool fits_class(const struct dump_plan *p)
{
	if (p->elf_class == ELFCLASS64)
		return true;
	for (size_t i = 0; i < p->loads.n; i++)
		if (p->loads.v[i].gva > UINT32_MAX || p->loads.v[i].gpa > UINT32_MAX)
			return false;
	return p->file_bytes <= UINT32_MAX;
}

static struct err *plan_elf(struct dump_plan *p)
{
	struct err *e = plan_loads(p, &p->opt);
	bool placed;

	if (e)
		return e;
	placed = place_regions(p);
	if (placed && !fits_class(p)) {
		p->elf_class = ELFCLASS64;
		placed = place_regions(p);
	}
	if (!placed)
		return err_new(ERR_UNSUPPORTED, "the dump would be longer than a file can be; dump a range");
	p->data_bytes = p->head_bytes;
	p->total_bytes = p->file_bytes;
	return dump_head_write(p);
}

/* What of an ELF file may hold anything but zeros: the need that a disk is checked for. */
static struct err *plan_data(struct dump_plan *p)
{
	for (size_t i = 0; i < p->n_regions; i++) {
		uint64_t at = p->regions[i].gpa, end = at + p->regions[i].bytes;

		while (at != end) {
			struct dump_run run;
			struct err *e = dump_memory_run(p, at, end, &run);

			if (e)
				return e;
			p->data_bytes += run.bytes;
			at = run.gpa + run.bytes;
		}
	}
	return NULL;
}

/* What all formats are made of. */
static void plan_facts(struct dump_plan *p)
{
	const struct dump_region *top = &p->regions[p->n_regions - 1];
	const struct regs *const *vcpus = (const struct regs *const *)p->img->vcpus;

	p->machine = p->img->arch->elf_machine(vcpus, p->img->n_vcpus);
	dump_notes_build(p->img, p->machine, &p->notes);
	p->elf_class = p->img->arch->elf_class(vcpus, p->img->n_vcpus, top->gpa + top->bytes);
}

/* The page of the guest's kernel, where that can be known. */
static uint64_t frame_bytes(const struct guest_image *img)
{
	uint64_t bytes;

	if (img->classes.set.words)
		return 1ull << img->classes.set.page_shift;
	if (keyvalue_number(img->vmcoreinfo, img->vmcoreinfo_bytes, "PAGESIZE", 10, &bytes) &&
	    bytes >= MIN_PAGE_BYTES && bytes <= MAX_PAGE_BYTES && !(bytes & (bytes - 1)))
		return bytes;
	return img->arch->page_bytes;
}

struct err *dump_plan_create(struct guest_image *img, const struct dump_options *opt, struct dump_plan **ret)
{
	struct dump_plan *p = xcalloc(1, sizeof(*p));
	struct err *e;

	p->img = img;
	p->opt = *opt;
	p->frame_bytes = frame_bytes(img);
	p->head_fd = -1;
	e = plan_regions(p, opt);
	if (!e) {
		plan_facts(p);
		e = opt->format == DUMP_ELF ? plan_elf(p) : dump_kdump_plan(p);
	}
	if (!e && opt->format == DUMP_ELF && opt->wrap == DUMP_PLAIN)
		e = plan_data(p);
	if (e) {
		dump_plan_destroy(p);
		return e;
	}
	*ret = p;
	return NULL;
}

void dump_plan_destroy(struct dump_plan *p)
{
	if (!p)
		return;
	if (p->head_fd >= 0)
		close(p->head_fd);
	buf_deinit(&p->notes);
	free(p->regions);
	free(p->kdump.spans);
	free(p->loads.v);
	free(p);
}

uint64_t dump_plan_file_bytes(const struct dump_plan *p)
{
	return p->file_bytes;
}

uint64_t dump_plan_data_bytes(const struct dump_plan *p)
{
	return p->data_bytes;
}
