/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/keyvalue.h"
#include "dump/chunk.h"

/*
 * The head of makedumpfile's compressed file: struct disk_dump_header in the first block,
 * struct kdump_sub_header in the next, which the notes follow (makedumpfile's diskdump_mod.h).
 * Both are in the guest's byte order, and their longs have the guest's length.
 */

#define SIGNATURE "KDUMP   "
#define VERSION 6
#define UTS_BYTES 65u
#define UNKNOWN "(unknown)"
/* Bits in one of the bitmaps take a frame of RAM each; no guest has so many. */
#define MAX_BITMAP_BYTES (1ull << 31)

/* A header that grows field by field, as a compiler lays a struct out. */
struct header {
	struct buf bytes;
	enum byte_order order;
	unsigned long_bytes;
};

static void add(struct header *h, unsigned bytes, uint64_t value)
{
	store_uint(buf_extend(&h->bytes, bytes), bytes, h->order, value);
}

static void add_int(struct header *h, uint64_t value)
{
	add(h, 4, value);
}

static void add_long(struct header *h, uint64_t value)
{
	add(h, h->long_bytes, value);
}

static void pad_to(struct header *h, size_t length)
{
	size_t bytes = length - h->bytes.len;

	memset(buf_extend(&h->bytes, bytes), 0, bytes);
}

static void add_uts(struct header *h, const char *text, size_t bytes)
{
	char field[UTS_BYTES] = { 0 };

	memcpy(field, text, MIN(bytes, sizeof(field) - 1));
	buf_add(&h->bytes, field, sizeof(field));
}

/* What uname -m says in the guest; readers know the architecture by it. */
static void add_machine(struct header *h, const struct dump_plan *p)
{
	const struct arch *arch = p->img->arch;
	struct buf name = { 0 };

	if (p->machine == EM_386)
		buf_adds(&name, "i686");
	else
		buf_addf(&name, "%s%s", arch->name, arch->lldb_triple_big && p->img->order == ORDER_LITTLE ? "le" : "");
	add_uts(h, buf_str(&name), name.len);
	buf_deinit(&name);
}

/*
 * struct new_utsname. Version and host name are not known, and without a VMCOREINFO the
 * release is not either; libkdumpfile takes it for none when one of them is empty.
 */
static void add_utsname(struct header *h, const struct dump_plan *p)
{
	struct cursor release = cursor_of_string(UNKNOWN);
	bool is_linux = keyvalue_find(p->img->vmcoreinfo, p->img->vmcoreinfo_bytes, "OSRELEASE", &release);
	struct cursor system = cursor_of_string(is_linux ? "Linux" : UNKNOWN);

	add_uts(h, system.at, cursor_left(&system));
	add_uts(h, UNKNOWN, strlen(UNKNOWN));
	add_uts(h, release.at, cursor_left(&release));
	add_uts(h, UNKNOWN, strlen(UNKNOWN));
	add_machine(h, p);
	add_uts(h, "", 0);
}

static void add_disk_dump_header(struct header *h, const struct dump_plan *p, uint64_t sub_blocks, uint64_t n_frames)
{
	buf_adds(&h->bytes, SIGNATURE);
	add_int(h, VERSION);
	add_utsname(h, p);
	pad_to(h, ALIGN_UP(h->bytes.len, (size_t)h->long_bytes));
	add_long(h, 0); /* the time, which nobody shows */
	add_long(h, 0);
	add_int(h, dump_codec_of_format(p->opt.format)->page_flag);
	add_int(h, p->frame_bytes);
	add_int(h, sub_blocks);
	add_int(h, 2 * p->kdump.bitmap_bytes / p->frame_bytes);
	add_int(h, MIN(n_frames, UINT32_MAX));
	/* total_ram_blocks, device_blocks, written_blocks, current_cpu */
	pad_to(h, h->bytes.len + 16);
	add_int(h, p->img->n_vcpus);
}

/* Where in the notes VMCOREINFO's text starts: it ends them. */
static uint64_t vmcoreinfo_offset(const struct dump_plan *p, uint64_t notes)
{
	return p->img->vmcoreinfo ? notes + p->notes.len - ALIGN_UP(p->img->vmcoreinfo_bytes, 4u) : 0;
}

static void add_sub_header(struct header *h, const struct dump_plan *p, uint64_t notes, uint64_t n_frames)
{
	uint64_t phys_base = 0;

	keyvalue_number(p->img->vmcoreinfo, p->img->vmcoreinfo_bytes, "NUMBER(phys_base)", 10, &phys_base);
	add_long(h, phys_base);
	add_int(h, p->img->left_out);
	add_int(h, 0); /* split */
	add_long(h, 0); /* start_pfn and end_pfn of a split file */
	add_long(h, 0);
	add(h, 8, vmcoreinfo_offset(p, notes));
	add_long(h, p->img->vmcoreinfo_bytes);
	add(h, 8, notes);
	add_long(h, p->notes.len);
	add(h, 8, 0); /* eraseinfo */
	add_long(h, 0);
	add(h, 8, 0); /* start_pfn and end_pfn in 64 bits */
	add(h, 8, 0);
	add(h, 8, n_frames);
}

/* The two headers and the notes; each time the same length. */
static void make_head(const struct dump_plan *p, uint64_t sub_blocks, uint64_t n_frames, struct buf *ret)
{
	struct header h = { .order = p->img->order, .long_bytes = p->elf_class == ELFCLASS64 ? 8 : 4 };
	size_t sub_header = h.long_bytes == 8 ? 104 : 80;

	add_disk_dump_header(&h, p, sub_blocks, n_frames);
	pad_to(&h, p->frame_bytes);
	add_sub_header(&h, p, p->frame_bytes + sub_header, n_frames);
	buf_add(&h.bytes, p->notes.data, p->notes.len);
	pad_to(&h, ALIGN_UP(h.bytes.len, p->frame_bytes));
	*ret = h.bytes;
}

static void add_span(struct dump_kdump *k, uint64_t first, uint64_t end)
{
	struct dump_frames *before = k->n_spans ? &k->spans[k->n_spans - 1] : NULL;

	if (before && first <= before->end)
		before->end = end;
	else
		k->spans[k->n_spans++] = (struct dump_frames){ first, end };
}

/* Two regions may touch the same frame where frames are large. */
static void plan_spans(struct dump_plan *p)
{
	struct dump_kdump *k = &p->kdump;

	k->spans = xcalloc(p->n_regions, sizeof(*k->spans));
	for (size_t i = 0; i < p->n_regions; i++) {
		const struct dump_region *r = &p->regions[i];

		add_span(k, r->gpa / p->frame_bytes, (r->gpa + (r->bytes - 1)) / p->frame_bytes + 1);
	}
	for (size_t i = 0; i < k->n_spans; i++)
		k->n_frames += k->spans[i].end - k->spans[i].first;
}

/* Frames that the host has touched, and that are not left out. */
static struct err *count_touched(const struct dump_plan *p, uint64_t *ret)
{
	const struct dump_region *top = &p->regions[p->n_regions - 1];
	uint64_t end = top->gpa + top->bytes, at = p->regions[0].gpa, counted = 0, n = 0;

	while (at != end) {
		struct dump_run run;
		struct err *e = dump_memory_run(p, at, end, &run);
		uint64_t first = run.gpa / p->frame_bytes, behind;

		if (e)
			return e;
		if (!run.bytes)
			break;
		at = run.gpa + run.bytes;
		behind = (at - 1) / p->frame_bytes + 1;
		n += behind - MAX(first, counted);
		counted = behind;
	}
	*ret = n;
	return NULL;
}

static struct err *place_parts(struct dump_plan *p, uint64_t n_frames)
{
	struct dump_kdump *k = &p->kdump;
	uint64_t touched = 0;
	struct err *e = count_touched(p, &touched);

	k->bitmap_bytes = ALIGN_UP((n_frames + 7) / 8, p->frame_bytes);
	k->bitmaps = p->head_bytes;
	k->descs = k->bitmaps + 2 * k->bitmap_bytes;
	k->data = ALIGN_UP(k->descs + k->n_frames * KDUMP_DESC_BYTES, p->frame_bytes);
	/* All zeros share the first frame of the data. */
	p->data_bytes = k->data;
	p->file_bytes = k->data + p->frame_bytes + touched * p->frame_bytes;
	p->total_bytes = k->n_frames * p->frame_bytes;
	return e;
}

static struct err *write_head(struct dump_plan *p, const struct buf *head)
{
	struct err *e = dump_head_create(p);

	return e ? e : dump_head_put(p, head->data, head->len, 0);
}

/*
 * ROM and device memory behind all that the kernel knows of stay away, as makedumpfile has it:
 * it filters no file whose bitmaps are longer than the kernel's memory map.
 */
static void drop_behind_kernel(struct dump_plan *p)
{
	uint64_t end = 0;

	for (size_t i = 0; i < p->img->n_kernel_map; i++)
		end = MAX(end, p->img->kernel_map[i].gpa + p->img->kernel_map[i].bytes);
	while (end && p->n_regions > 1 && p->regions[p->n_regions - 1].gpa >= end)
		p->n_regions--;
}

struct err *dump_kdump_plan(struct dump_plan *p)
{
	struct buf head;
	uint64_t n_frames;
	struct err *e;

	drop_behind_kernel(p);
	plan_spans(p);
	n_frames = p->kdump.spans[p->kdump.n_spans - 1].end;
	if (n_frames / 8 > MAX_BITMAP_BYTES)
		return err_new(ERR_UNSUPPORTED, "a kdump file has a bit for each frame up to the last one, at 0x%" PRIx64
			       ", which are too many; dump as elf", (n_frames - 1) * p->frame_bytes);
	make_head(p, 0, n_frames, &head);
	p->head_bytes = head.len;
	buf_deinit(&head);
	e = place_parts(p, n_frames);
	if (e)
		return e;
	make_head(p, p->head_bytes / p->frame_bytes - 1, n_frames, &head);
	e = write_head(p, &head);
	buf_deinit(&head);
	return e;
}
