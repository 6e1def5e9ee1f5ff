/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#if __has_include(<lzo/lzo1x.h>)
#include <lzo/lzo1x.h>
#endif
#if __has_include(<snappy-c.h>)
#include <snappy-c.h>
#endif

#include "guest/fake.h"
#include "guest/os.h"
#include "tests/dumping.h"
#include "tests/suite.h"
#include "tests/toy_arch.h"

/* Formats other than plain ELF: makedumpfile's file with each codec, flattened, and wrapped ELF. */

#define PAGE 4096u
#define MAX_PAGE 65536u

/* ---- a reader of its own, from the layout of makedumpfile's structs ---- */

/* Offsets in struct disk_dump_header and struct kdump_sub_header, with longs of 4 and of 8 bytes. */
struct layout {
	unsigned long_bytes;
	unsigned status, block_size, sub_hdr_size, bitmap_blocks, max_mapnr, nr_cpus, end;
	unsigned dump_level, offset_vmcoreinfo, size_vmcoreinfo, offset_note, size_note, max_mapnr_64, sub_end;
};

static const struct layout LAYOUTS[2] = {
	{ 4, 412, 416, 420, 424, 428, 448, 452, 4, 20, 28, 32, 40, 72, 80 },
	{ 8, 424, 428, 432, 436, 440, 460, 464, 8, 32, 40, 48, 56, 96, 104 },
};

struct kdump {
	struct buf file;
	enum byte_order order;
	const struct layout *at;
	uint64_t block, max_mapnr, bitmap_bytes;
	uint64_t bitmap1, bitmap2, descs;
};

static uint64_t get(const struct kdump *k, uint64_t offset, unsigned bytes)
{
	ck_assert_uint_le(offset + bytes, k->file.len);
	return load_uint(k->file.data + offset, bytes, k->order);
}

static uint64_t get_sub(const struct kdump *k, unsigned offset, unsigned bytes)
{
	return get(k, k->block + offset, bytes);
}

static void kdump_parse(struct kdump *k, struct buf file, enum byte_order order, bool is_64bit)
{
	*k = (struct kdump){ .file = file, .order = order, .at = &LAYOUTS[is_64bit] };
	ck_assert_int_eq(memcmp(k->file.data, "KDUMP   ", 8), 0);
	ck_assert_uint_ge(get(k, 8, 4), 6);
	k->block = get(k, k->at->block_size, 4);
	k->bitmap1 = (1 + get(k, k->at->sub_hdr_size, 4)) * k->block;
	k->bitmap_bytes = get(k, k->at->bitmap_blocks, 4) / 2 * k->block;
	k->bitmap2 = k->bitmap1 + k->bitmap_bytes;
	k->descs = k->bitmap2 + k->bitmap_bytes;
	k->max_mapnr = get_sub(k, k->at->max_mapnr_64, 8);
	ck_assert_uint_eq(k->max_mapnr, get(k, k->at->max_mapnr, 4));
	ck_assert_uint_le((k->max_mapnr + 7) / 8, k->bitmap_bytes);
}

static void kdump_open(struct kdump *k, const char *path, enum byte_order order, bool is_64bit)
{
	kdump_parse(k, read_file(path), order, is_64bit);
}

static void kdump_close(struct kdump *k)
{
	buf_deinit(&k->file);
}

static bool has_bit(const struct kdump *k, uint64_t bitmap, uint64_t pfn)
{
	return pfn < k->max_mapnr && get(k, bitmap + pfn / 8, 1) >> pfn % 8 & 1;
}

/* The offset of its descriptor: they are there for the frames with a bit in the second bitmap. */
static uint64_t desc_of(const struct kdump *k, uint64_t pfn)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < pfn; i++)
		n += has_bit(k, k->bitmap2, i);
	return k->descs + 24 * n;
}

static void unpack(enum dump_format format, const char *from, size_t bytes, uint8_t *to, size_t to_bytes)
{
	unsigned long n = to_bytes;
	size_t got = to_bytes;

	switch (format) {
	case DUMP_KDUMP_ZLIB:
		ck_assert_int_eq(uncompress(to, &n, (const Bytef *)from, bytes), Z_OK);
		got = n;
		break;
	case DUMP_KDUMP_ZSTD:
		got = ZSTD_decompress(to, to_bytes, from, bytes);
		break;
#if __has_include(<lzo/lzo1x.h>)
	case DUMP_KDUMP_LZO:
		ck_assert_int_eq(lzo1x_decompress_safe((const unsigned char *)from, bytes, to, &n, NULL), LZO_E_OK);
		got = n;
		break;
#endif
#if __has_include(<snappy-c.h>)
	case DUMP_KDUMP_SNAPPY:
		ck_assert_int_eq(snappy_uncompress(from, bytes, (char *)to, &got), SNAPPY_OK);
		break;
#endif
	default:
		ck_abort_msg("no such codec");
	}
	ck_assert_uint_eq(got, to_bytes);
}

static const uint32_t FLAGS[N_DUMP_FORMATS] = {
	[DUMP_KDUMP_ZLIB] = 1, [DUMP_KDUMP_LZO] = 2, [DUMP_KDUMP_SNAPPY] = 4, [DUMP_KDUMP_ZSTD] = 32,
};

static void read_page(const struct kdump *k, enum dump_format format, uint64_t desc, uint8_t *ret)
{
	uint64_t offset = get(k, desc, 8), bytes = get(k, desc + 8, 4);
	uint64_t flags = get(k, desc + 12, 4);

	ck_assert_uint_eq(get(k, desc + 16, 8), 0);
	ck_assert_uint_le(bytes, k->block);
	ck_assert_uint_le(offset + bytes, k->file.len);
	if (flags) {
		ck_assert_uint_eq(flags, FLAGS[format]);
		ck_assert_uint_lt(bytes, k->block);
		unpack(format, k->file.data + offset, (size_t)bytes, ret, (size_t)k->block);
	} else {
		ck_assert_uint_eq(bytes, k->block);
		memcpy(ret, k->file.data + offset, (size_t)bytes);
	}
}

/* ---- guests ---- */

/* Numbers that no codec makes shorter. */
static void fill_random(uint8_t *p, size_t bytes, uint64_t seed)
{
	for (size_t i = 0; i < bytes; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		p[i] = (uint8_t)(seed >> 56);
	}
}

/* 3 MiB from 0 and some pages behind a hole: pages of text, of zeros and of random bytes. */
static struct guest *mixed_guest(const struct arch *arch, enum byte_order order)
{
	const struct mem_block blocks[] = {
		{ .gpa = 0, .bytes = 3u << 20 }, { .gpa = 8u << 20, .bytes = 5 * PAGE }
	};
	struct guest *g = fake_create(arch, order, 2, blocks, ARRAY_LEN(blocks));

	for (unsigned i = 0; i < 2; i++) {
		regs_set(fake_of(g)->regs[i], TOY_PC, 0x11223344 + i);
		regs_set(fake_of(g)->regs[i], TOY_SP, 0);
	}
	fake_of(g)->sparse = true;
	for (uint64_t gpa = 0; gpa < 1u << 20; gpa += 2 * PAGE)
		memset(fake_at(g, gpa), (int)(gpa / PAGE) + 1, PAGE);
	fill_random(fake_at(g, 0x180000), 100 * PAGE, 1);
	*fake_at(g, 0x2fffff) = 7;
	*fake_at(g, (8u << 20) + PAGE) = 9;
	return g;
}

/* A page as the guest has it, with zeros where there is no RAM; false: it is none at all. */
static bool guest_page(struct guest *g, uint64_t gpa, uint8_t *ret, size_t bytes)
{
	enum { STEP = 0x800 }; /* blocks end at no other places */
	bool ram = false;

	memset(ret, 0, bytes);
	for (size_t i = 0; i < bytes; i += STEP) {
		if (guest_block_at(g, gpa + i)) {
			memcpy(ret + i, fake_at(g, gpa + i), STEP);
			ram = true;
		}
	}
	return ram;
}

/* Every page of the file is the guest's, and those that are not there are left out by img. */
static void check_pages(const struct kdump *k, enum dump_format format, const struct guest_image *img)
{
	static uint8_t page[MAX_PAGE], want[MAX_PAGE], zero_page[MAX_PAGE];
	uint64_t zeros = 0, n = 0;

	for (uint64_t pfn = 0; pfn < k->max_mapnr + 3; pfn++) {
		bool ram = guest_page(img->guest, pfn * k->block, want, (size_t)k->block);
		bool zero = !memcmp(want, zero_page, (size_t)k->block), there;
		/* Zeros that are left out are no page of their own, and can be read all the same. */
		bool out_of = page_set_has(&img->classes.set, pfn);

		there = has_bit(k, k->bitmap2, pfn);
		ck_assert(has_bit(k, k->bitmap1, pfn) == ram);
		ck_assert(there == (ram && !out_of));
		if (!there)
			continue;
		read_page(k, format, k->descs + 24 * n, page);
		ck_assert_int_eq(memcmp(page, want, (size_t)k->block), 0);
		/* One frame of the file stands for all that are zeros. */
		if (zero && !zeros)
			zeros = get(k, k->descs + 24 * n, 8);
		if (zero)
			ck_assert_uint_eq(get(k, k->descs + 24 * n, 8), zeros);
		n++;
	}
}

/* ---- the file ---- */

static const struct {
	const struct arch *arch;
	enum byte_order order;
} KINDS[] = {
	{ &toy32, ORDER_LITTLE }, { &toy32, ORDER_BIG }, { &toy64, ORDER_LITTLE }, { &toy64, ORDER_BIG },
};

static struct err *vmcoreinfo(struct os *os, const char **ret, size_t *ret_bytes)
{
	(void)os;
	*ret = "OSRELEASE=6.1-toy\nPAGESIZE=4096\nNUMBER(phys_base)=-4096\n";
	*ret_bytes = strlen(*ret);
	return NULL;
}

static const struct os_ops toy_os_ops = { .name = "toy", .vmcoreinfo = vmcoreinfo };

static void check_uts(const struct kdump *k, const char *release, const char *machine)
{
	const char *uts = k->file.data + 12;

	for (unsigned i = 0; i < 5; i++)
		ck_assert_msg(uts[65 * i] && !uts[65 * i + 64], "libkdumpfile wants all of them");
	ck_assert_str_eq(uts + 2 * 65, release);
	ck_assert_str_eq(uts + 4 * 65, machine);
}

/* The notes are those of the ELF file. */
static void check_notes(const struct kdump *k, const char *elf, bool is_64bit)
{
	struct buf b = read_file(elf);
	unsigned phdr = is_64bit ? 64 : 52, word = is_64bit ? 8 : 4;
	uint64_t offset = load_uint(b.data + phdr + (is_64bit ? 8 : 4), word, k->order);
	uint64_t bytes = load_uint(b.data + phdr + (is_64bit ? 32 : 16), word, k->order);
	uint64_t at = get_sub(k, k->at->offset_note, 8);

	ck_assert_uint_eq(get_sub(k, k->at->size_note, k->at->long_bytes), bytes);
	ck_assert_uint_ge(at, k->block + k->at->sub_end);
	ck_assert_uint_le(at + bytes, k->bitmap1);
	ck_assert_int_eq(memcmp(k->file.data + at, b.data + offset, bytes), 0);
	buf_deinit(&b);
}

START_TEST(headers)
{
	bool is_64bit = KINDS[_i].arch == &toy64;
	enum byte_order order = KINDS[_i].order;
	struct guest *g = mixed_guest(KINDS[_i].arch, order);
	struct os os = { .ops = &toy_os_ops, .guest = g };
	struct dump_options opt = { .format = DUMP_KDUMP_ZLIB }, elf = { 0 };
	char other[160];
	struct kdump k;
	uint64_t info;

	g->os = &os;
	snprintf(other, sizeof(other), "%s/elf", dir);
	dump_to(g, &opt, out);
	dump_to(g, &elf, other);
	kdump_open(&k, out, order, is_64bit);
	check_uts(&k, "6.1-toy", is_64bit ? "toy64" : "toy32");
	ck_assert_uint_eq(k.block, PAGE);
	ck_assert_uint_eq(get(&k, k.at->status, 4), 1);
	ck_assert_uint_eq(get(&k, k.at->nr_cpus, 4), 2);
	ck_assert_uint_eq(k.max_mapnr, (8u << 20) / PAGE + 5);
	ck_assert_uint_eq(get_sub(&k, 0, k.at->long_bytes), is_64bit ? -4096ull : -4096u);
	ck_assert_uint_eq(get_sub(&k, k.at->dump_level, 4), 0);
	info = get_sub(&k, k.at->offset_vmcoreinfo, 8);
	ck_assert_int_eq(memcmp(k.file.data + info, "OSRELEASE=6.1-toy\nPAGESIZE=", 27), 0);
	ck_assert_uint_eq(get_sub(&k, k.at->size_vmcoreinfo, k.at->long_bytes), 56);
	check_notes(&k, other, is_64bit);
	kdump_close(&k);
	g->os = NULL;
	guest_destroy(g);
}
END_TEST

START_TEST(without_a_vmcoreinfo)
{
	struct guest *g = mixed_guest(&toy64, ORDER_LITTLE);
	struct dump_options opt = { .format = DUMP_KDUMP_ZLIB };
	struct kdump k;

	dump_to(g, &opt, out);
	kdump_open(&k, out, ORDER_LITTLE, true);
	check_uts(&k, "(unknown)", "toy64");
	ck_assert_uint_eq(get_sub(&k, 0, 8), 0);
	ck_assert_uint_eq(get_sub(&k, k.at->offset_vmcoreinfo, 8), 0);
	ck_assert_uint_eq(get_sub(&k, k.at->size_vmcoreinfo, 8), 0);
	kdump_close(&k);
	guest_destroy(g);
}
END_TEST

static bool skips(enum dump_format format)
{
	if (!dump_format_is_built(format))
		fprintf(stderr, "check_kdump: SKIP %s: not in this build\n", dump_format_name(format));
	return !dump_format_is_built(format);
}

/* Leaves frames of two classes out: in a run of data, in one of zeros and across both blocks' ends. */
static void leave_some_out(struct guest_image *img, unsigned page_shift)
{
	page_set_init(&img->classes.set, page_shift, (16u << 20) >> page_shift);
	img->classes.counts[4] = page_set_add(&img->classes.set, 0x180000 >> page_shift, 5);
	img->classes.counts[1] = page_set_add(&img->classes.set, 0x100000 >> page_shift, 3);
	img->classes.counts[1] += page_set_add(&img->classes.set, 0x2f0000 >> page_shift, 0x20000 >> page_shift);
	img->left_out |= PAGES_FREE | PAGES_CACHE;
}

/* _i: the format, whether zeros and whether classes are left out, whether frames are found in touched memory. */
START_TEST(pages_of_each_format)
{
	enum dump_format format = (enum dump_format)(1 + _i % 4);
	struct guest *g = mixed_guest(_i & 4 ? &toy64 : &toy32, _i & 8 ? ORDER_BIG : ORDER_LITTLE);
	struct dump_options opt = { .format = format };
	struct guest_image *img = image_of(g);
	struct dump_progress p;
	struct kdump k;

	if (!skips(format)) {
		fake_of(g)->sparse = !(_i & 16);
		if (_i & 4)
			img->left_out |= PAGES_ZERO;
		if (_i & 8)
			leave_some_out(img, 12);
		dump_image(img, &opt, out, &p);
		kdump_open(&k, out, _i & 8 ? ORDER_BIG : ORDER_LITTLE, _i & 4);
		ck_assert_uint_eq(get_sub(&k, k.at->dump_level, 4), img->left_out);
		ck_assert_uint_eq(get(&k, k.at->status, 4), FLAGS[format]);
		check_pages(&k, format, img);
		ck_assert_uint_eq(p.pages.written + p.pages.zero + p.pages.untouched + p.pages.left_out, 768 + 5);
		ck_assert_uint_eq(p.pages.written, 128 + 100 + 2 - (_i & 8 ? 5 + 1 : 0));
		ck_assert_uint_eq(p.pages.left_out, _i & 8 ? 5 + 3 + 16 : 0);
		ck_assert_uint_eq(p.pages.page_bytes, PAGE);
		kdump_close(&k);
	}
	guest_image_destroy(img);
	guest_destroy(g);
}
END_TEST

/* What makedumpfile cannot make shorter is kept as it is; a page of one byte is a few bytes. */
START_TEST(pages_are_kept_raw_where_that_is_shorter)
{
	enum dump_format format = (enum dump_format)(1 + _i);
	struct guest *g = mixed_guest(&toy64, ORDER_LITTLE);
	struct dump_options opt = { .format = format };
	struct kdump k;

	if (!skips(format)) {
		dump_to(g, &opt, out);
		kdump_open(&k, out, ORDER_LITTLE, true);
		ck_assert_uint_eq(get(&k, desc_of(&k, 0x180) + 8, 4), PAGE);
		ck_assert_uint_eq(get(&k, desc_of(&k, 0x180) + 12, 4), 0);
		ck_assert_uint_lt(get(&k, desc_of(&k, 0) + 8, 4), 300);
		kdump_close(&k);
	}
	guest_destroy(g);
}
END_TEST

static struct err *large_pages(struct os *os, const char **ret, size_t *ret_bytes)
{
	(void)os;
	*ret = "OSRELEASE=6\nPAGESIZE=65536\n";
	*ret_bytes = strlen(*ret);
	return NULL;
}

static const struct os_ops large_os_ops = { .name = "large", .vmcoreinfo = large_pages };

/* Blocks that end inside of a frame, and two in one frame, of a kernel with 64 KiB pages. */
START_TEST(frames_that_are_not_all_ram)
{
	const struct mem_block blocks[] = {
		{ .gpa = 0x2000, .bytes = 0x23000 }, { .gpa = 0x28000, .bytes = 0x1800 }, { .gpa = 0x100000, .bytes = 0x800 },
	};
	struct guest *g = fake_create(&toy64, ORDER_BIG, 1, blocks, ARRAY_LEN(blocks));
	struct os os = { .ops = &large_os_ops, .guest = g };
	struct dump_options opt = { .format = DUMP_KDUMP_ZLIB };
	struct guest_image *img;
	struct dump_progress p;
	struct kdump k;

	fake_of(g)->sparse = _i;
	memset(fake_at(g, 0x24000), 3, 0x1000);
	memset(fake_at(g, 0x28000), 4, 0x1800);
	memset(fake_at(g, 0x100000), 5, 0x800);
	g->os = &os;
	img = image_of(g);
	dump_image(img, &opt, out, &p);
	kdump_open(&k, out, ORDER_BIG, true);
	ck_assert_uint_eq(k.block, 65536);
	ck_assert_uint_eq(k.max_mapnr, 17);
	check_pages(&k, DUMP_KDUMP_ZLIB, img);
	ck_assert_uint_eq(p.pages.written, 2);
	kdump_close(&k);
	guest_image_destroy(img);
	g->os = NULL;
	guest_destroy(g);
}
END_TEST

static struct err *low_map(struct os *os, struct mapping **ret, size_t *ret_n)
{
	(void)os;
	*ret = calloc(1, sizeof(**ret));
	**ret = (struct mapping){ 0xffff888000000000u, 0, (3u << 20) - PAGE, 0 };
	*ret_n = 1;
	return NULL;
}

static const struct os_ops low_os_ops = { .name = "low", .kernel_map = low_map };

/* makedumpfile filters no file whose bitmaps go beyond what the kernel knows of. */
START_TEST(memory_behind_the_kernels_stays_away)
{
	struct guest *g = mixed_guest(&toy64, ORDER_BIG);
	struct os os = { .ops = &low_os_ops, .guest = g };
	struct dump_options opt = { .format = DUMP_KDUMP_ZLIB };
	struct kdump k;

	g->os = &os;
	dump_to(g, &opt, out);
	kdump_open(&k, out, ORDER_BIG, true);
	ck_assert_uint_eq(k.max_mapnr, (3u << 20) / PAGE);
	kdump_close(&k);
	g->os = NULL;
	guest_destroy(g);
}
END_TEST

START_TEST(too_many_frames_for_a_bitmap)
{
	const struct mem_block block = { .gpa = 1ull << 60, .bytes = PAGE };
	struct guest *g = fake_create(&toy64, ORDER_BIG, 1, &block, 1);
	struct guest_image *img = image_of(g);
	struct dump_options opt = { .format = DUMP_KDUMP_ZLIB };
	struct dump_plan *p = NULL;

	fails(dump_plan_create(img, &opt, &p), ERR_UNSUPPORTED, "0x1000000000000000, which are too many; dump as elf");
	guest_image_destroy(img);
	guest_destroy(g);
}
END_TEST

/* Memory that only one thread may read, as QEMU's monitor gives it. */
START_TEST(memory_of_one_thread)
{
	const struct mem_block block = { .gpa = 0, .bytes = 2u << 20, .flags = MEM_ONE_THREAD };
	struct guest *g = fake_create(&toy64, ORDER_LITTLE, 1, &block, 1);
	struct guest_image *img = image_of(g);
	struct dump_options opt = { .format = DUMP_KDUMP_ZLIB };
	struct dump_progress p;
	struct kdump k;

	fill_random(fake_at(g, 0), 1u << 20, 3);
	dump_image(img, &opt, out, &p);
	kdump_open(&k, out, ORDER_LITTLE, true);
	check_pages(&k, DUMP_KDUMP_ZLIB, img);
	kdump_close(&k);
	guest_image_destroy(img);
	guest_destroy(g);
}
END_TEST

/* ---- flattened ---- */

static uint64_t big64(const char *p)
{
	return load_uint(p, 8, ORDER_BIG);
}

/* As makedumpfile -R. */
static struct buf put_in_order(const struct buf *flat)
{
	struct buf b = { 0 };
	size_t at = 4096;

	ck_assert_int_eq(memcmp(flat->data, "makedumpfile\0\0\0\0", 16), 0);
	ck_assert_uint_eq(big64(flat->data + 16), 1);
	ck_assert_uint_eq(big64(flat->data + 24), 1);
	while (big64(flat->data + at) != UINT64_MAX) {
		uint64_t offset = big64(flat->data + at), bytes = big64(flat->data + at + 8);

		ck_assert_uint_gt(bytes, 0);
		ck_assert_uint_le(at + 32 + bytes, flat->len);
		if (offset + bytes > b.len) {
			size_t more = (size_t)(offset + bytes - b.len);

			memset(buf_extend(&b, more), 0, more);
		}
		memcpy(b.data + offset, flat->data + at + 16, (size_t)bytes);
		at += 16 + (size_t)bytes;
	}
	ck_assert_uint_eq(big64(flat->data + at + 8), UINT64_MAX);
	ck_assert_uint_eq(at + 16, flat->len);
	return b;
}

static struct buf dump_to_channel(struct guest_image *img, const struct dump_options *opt, int kind)
{
	struct dump_sink *s = NULL;
	struct dump_job *job;
	struct buf got;
	int fds[2];

	make_channel(kind, fds);
	ok(dump_sink_open_fd(fds[1], "fd:1", &s));
	job = job_of(plan_of(img, opt), s);
	got = pump(job, fds[0]);
	dump_job_destroy(job);
	close(fds[0]);
	close(fds[1]);
	return got;
}

START_TEST(flattened_is_the_file_in_another_order)
{
	struct guest *g = mixed_guest(&toy64, _i & 1 ? ORDER_BIG : ORDER_LITTLE);
	struct guest_image *img = image_of(g);
	struct dump_options opt = { .format = DUMP_KDUMP_ZLIB };
	struct dump_progress p;
	struct buf flat, plain, straight;

	if (_i & 2)
		img->left_out = PAGES_ZERO;
	dump_image(img, &opt, out, &p);
	straight = read_file(out);
	opt.flatten = true;
	flat = dump_to_channel(img, &opt, _i & 1);
	plain = put_in_order(&flat);
	ck_assert_uint_eq(plain.len, straight.len);
	ck_assert_int_eq(memcmp(plain.data, straight.data, plain.len), 0);
	buf_deinit(&plain);
	buf_deinit(&flat);
	/* A file takes the flattened form too, and holes in it are zeros all the same. */
	dump_image(img, &opt, out, &p);
	flat = read_file(out);
	plain = put_in_order(&flat);
	ck_assert_int_eq(memcmp(plain.data, straight.data, plain.len), 0);
	buf_deinit(&plain);
	buf_deinit(&flat);
	buf_deinit(&straight);
	guest_image_destroy(img);
	guest_destroy(g);
}
END_TEST

/* ---- wrapped ---- */

static struct buf gunzip(const struct buf *from)
{
	struct buf b = { 0 };
	z_stream z = { .next_in = (Bytef *)from->data, .avail_in = (uInt)from->len };

	ck_assert_int_eq(inflateInit2(&z, MAX_WBITS + 16), Z_OK);
	while (z.avail_in) {
		int status = Z_OK;

		while (status == Z_OK) {
			z.next_out = buf_extend(&b, 65536);
			z.avail_out = 65536;
			status = inflate(&z, Z_NO_FLUSH);
			buf_trim(&b, z.avail_out);
		}
		ck_assert_int_eq(status, Z_STREAM_END);
		ck_assert_int_eq(inflateReset(&z), Z_OK);
	}
	inflateEnd(&z);
	return b;
}

static struct buf unzstd(const struct buf *from)
{
	ZSTD_DStream *z = ZSTD_createDStream();
	ZSTD_inBuffer in = { from->data, from->len, 0 };
	struct buf b = { 0 };
	size_t status = 1;

	while (in.pos < in.size) {
		ZSTD_outBuffer to = { buf_extend(&b, 65536), 65536, 0 };

		status = ZSTD_decompressStream(z, &to, &in);
		ck_assert(!ZSTD_isError(status));
		buf_trim(&b, to.size - to.pos);
		while (in.pos == in.size && to.pos == to.size) {
			to = (ZSTD_outBuffer){ buf_extend(&b, 65536), 65536, 0 };
			status = ZSTD_decompressStream(z, &to, &in);
			buf_trim(&b, to.size - to.pos);
		}
	}
	ck_assert_uint_eq(status, 0);
	ZSTD_freeDStream(z);
	return b;
}

/* 24 MiB, most of it zeros: members of them repeat. */
static struct guest *wide_guest(void)
{
	const struct mem_block block = { .gpa = 0x100000, .bytes = 24u << 20 };
	struct guest *g = fake_create(&toy64, ORDER_LITTLE, 1, &block, 1);

	fake_of(g)->sparse = true;
	fill_random(fake_at(g, 0x140000), 600 * PAGE, 5);
	*fake_at(g, 0x18fffff) = 1;
	return g;
}

START_TEST(wrapped_is_the_file)
{
	struct guest *g = wide_guest();
	struct guest_image *img = image_of(g);
	struct dump_options opt = { 0 };
	struct dump_progress p;
	struct buf plain, packed, got;

	dump_image(img, &opt, out, &p);
	plain = read_file(out);
	opt.wrap = _i & 1 ? DUMP_ZSTD : DUMP_GZIP;
	if (_i & 2) {
		packed = dump_to_channel(img, &opt, 0);
	} else {
		dump_image(img, &opt, out, &p);
		packed = read_file(out);
		ck_assert_uint_eq(p.written_bytes, packed.len);
		ck_assert_uint_eq(p.total_bytes, plain.len);
	}
	got = _i & 1 ? unzstd(&packed) : gunzip(&packed);
	ck_assert_uint_lt(packed.len, 3u << 20);
	ck_assert_uint_eq(got.len, plain.len);
	ck_assert_int_eq(memcmp(got.data, plain.data, got.len), 0);
	buf_deinit(&got);
	buf_deinit(&packed);
	buf_deinit(&plain);
	guest_image_destroy(img);
	guest_destroy(g);
}
END_TEST

/* ---- ELF with frames left out ---- */

START_TEST(what_is_left_out_of_elf_reads_as_zeros)
{
	static const uint8_t zeros[PAGE];
	struct guest *g = mixed_guest(&toy64, ORDER_LITTLE);
	struct guest_image *img = image_of(g);
	struct dump_options opt = { 0 };
	struct dump_progress p;
	struct buf b;

	fake_of(g)->sparse = _i;
	leave_some_out(img, 12);
	dump_image(img, &opt, out, &p);
	b = read_file(out);
	for (uint64_t gpa = 0; gpa < 3u << 20; gpa += PAGE) {
		bool is_out = page_set_has(&img->classes.set, gpa / PAGE);

		ck_assert_int_eq(memcmp(b.data + PAGE + gpa, is_out ? zeros : fake_at(g, gpa), PAGE), 0);
	}
	ck_assert_uint_eq(p.pages.left_out, 5 + 3 + 16);
	ck_assert_uint_eq(p.pages.classes[4], 5);
	ck_assert_uint_eq(p.pages.classes[1], 3 + 32);
	ck_assert_uint_eq(p.pages.written, 128 + 100 + 2 - 6);
	ck_assert_uint_eq(p.pages.zero + p.pages.untouched, 773 - 24 - 224);
	ck_assert(_i ? !p.pages.zero : !p.pages.untouched);
	buf_deinit(&b);
	guest_image_destroy(img);
	guest_destroy(g);
}
END_TEST

/* ---- words ---- */

static const struct {
	struct dump_options opt;
	bool has_range;
	enum err_code code;
	const char *refusal; /* NULL: good */
} WORDS[] = {
	{ { .format = DUMP_KDUMP_ZLIB }, false, 0, NULL },
	{ { .format = DUMP_KDUMP_ZSTD, .flatten = true }, false, 0, NULL },
	{ { .wrap = DUMP_GZIP, .paging = true }, true, 0, NULL },
	{ { .format = DUMP_KDUMP_ZLIB, .paging = true }, false, ERR_USAGE,
	  "kdump-zlib has no program headers for page tables (-p); dump as elf" },
	{ { .format = DUMP_KDUMP_ZSTD }, true, ERR_USAGE, "kdump-zstd holds the whole guest, no range" },
	{ { .format = DUMP_KDUMP_ZLIB, .wrap = DUMP_ZSTD }, false, ERR_USAGE, "nothing more goes around it" },
	{ { .flatten = true }, false, ERR_USAGE, "has no flattened form; take a kdump format" },
};

START_TEST(words_that_do_not_go_together)
{
	struct dump_options opt = WORDS[_i].opt;
	struct err *e = dump_options_check(WORDS[_i].has_range, 0, WORDS[_i].has_range, 4096, &opt);

	if (WORDS[_i].refusal)
		fails(e, WORDS[_i].code, WORDS[_i].refusal);
	else
		ok(e);
	ck_assert(opt.has_range == (WORDS[_i].has_range && !WORDS[_i].refusal));
}
END_TEST

START_TEST(codecs_that_are_not_there)
{
	for (unsigned f = 0; f < N_DUMP_FORMATS; f++) {
		struct dump_options opt = { .format = (enum dump_format)f };
		struct err *e = dump_options_check(false, 0, false, 0, &opt);

		if (dump_format_is_built((enum dump_format)f))
			ok(e);
		else
			fails(e, ERR_UNSUPPORTED, "this build lacks the library for kdump-");
	}
	ck_assert(dump_format_is_built(DUMP_ELF) && dump_format_is_built(DUMP_KDUMP_ZLIB));
	ck_assert(dump_format_is_built(DUMP_KDUMP_ZSTD));
}
END_TEST

START_TEST(names)
{
	enum dump_format format = DUMP_ELF;

	for (unsigned f = 0; f < N_DUMP_FORMATS; f++) {
		ok(dump_format_by_name(dump_format_name((enum dump_format)f), &format));
		ck_assert_uint_eq(format, f);
	}
	fails(dump_format_by_name("kdump", &format), ERR_USAGE,
	      "'kdump' is no format of a dump; there are elf, kdump-zlib, kdump-lzo, kdump-snappy, kdump-zstd");
	ck_assert_int_eq(dump_wrap_of_name("core.gz"), DUMP_GZIP);
	ck_assert_int_eq(dump_wrap_of_name("a/core.elf.zst"), DUMP_ZSTD);
	ck_assert_int_eq(dump_wrap_of_name("core.zst.elf"), DUMP_PLAIN);
	ck_assert_int_eq(dump_wrap_of_name(".gz"), DUMP_PLAIN);
}
END_TEST

START_TEST(what_cannot_seek_gets_no_kdump_file)
{
	struct guest *g = mixed_guest(&toy64, ORDER_LITTLE);
	struct guest_image *img = image_of(g);
	struct dump_options opt = { .format = DUMP_KDUMP_ZSTD };
	struct dump_sink *s = NULL;
	struct dump_job *job = NULL;
	int fds[2];

	make_channel(_i, fds);
	ok(dump_sink_open_fd(fds[1], "fd:9", &s));
	fails(dump_job_create(plan_of(img, &opt), s, &job), ERR_UNSUPPORTED,
	      "kdump-zstd is written out of order, and fd:9 takes bytes in order only; write it with --flatten");
	close(fds[0]);
	close(fds[1]);
	guest_image_destroy(img);
	guest_destroy(g);
}
END_TEST

/* ---- limits ---- */

START_TEST(a_dump_that_takes_too_long)
{
	struct guest *g = wide_guest();
	struct guest_image *img = image_of(g);
	struct dump_options opt = { .format = _i ? DUMP_KDUMP_ZLIB : DUMP_ELF, .timeout = 1e-9 };
	struct dump_job *job = job_to_path(img, &opt, out);
	struct dump_progress p;

	run(job);
	ck_assert_ptr_nonnull(dump_job_error(job));
	ck_assert_int_eq(err_code(dump_job_error(job)), ERR_TIMEOUT);
	ck_assert_ptr_nonnull(strstr(err_text(dump_job_error(job)), "it took longer than 1e-09 s"));
	dump_job_progress(job, &p);
	ck_assert_int_eq(p.status, DUMP_FAILED);
	ck_assert_int_eq(count_files(), 0);
	dump_job_destroy(job);
	guest_image_destroy(img);
	guest_destroy(g);
}
END_TEST

/* A kilobyte a second: a quarter of that can come at once, then it asks to be left alone. */
START_TEST(a_limited_bandwidth)
{
	struct guest *g = wide_guest();
	struct guest_image *img = image_of(g);
	struct dump_options opt = { .bandwidth = 1024 };
	struct dump_job *job = job_to_path(img, &opt, out);
	struct dump_wait w = { 0 };
	struct dump_progress p;

	do {
		struct pollfd poll_fd;

		ck_assert(dump_job_step(job));
		dump_job_wait(job, &w);
		poll_fd = (struct pollfd){ .fd = w.fd, .events = w.events };
		poll(&poll_fd, 1, w.fd >= 0 ? w.ms : 0);
	} while (w.fd >= 0);
	ck_assert_int_gt(w.ms, 0);
	ck_assert_int_le(w.ms, 251);
	dump_job_progress(job, &p);
	ck_assert_uint_le(p.written_bytes, 1024u * (unsigned)(p.seconds + 1));
	dump_job_destroy(job);
	ck_assert_int_eq(count_files(), 0);
	guest_image_destroy(img);
	guest_destroy(g);
}
END_TEST

START_TEST(a_wide_bandwidth_is_no_limit)
{
	struct guest *g = wide_guest();
	struct dump_options opt = { .bandwidth = UINT64_MAX, .timeout = 3600 };

	dump_to(g, &opt, out);
	guest_destroy(g);
}
END_TEST

/* ---- the digest ---- */

static const struct dump_options DIGESTED[] = {
	{ .sha256 = true },
	{ .sha256 = true, .wrap = DUMP_GZIP },
	{ .sha256 = true, .format = DUMP_KDUMP_ZLIB },
	{ .sha256 = true, .format = DUMP_KDUMP_ZSTD, .flatten = true },
};

START_TEST(digests)
{
	struct guest *g = wide_guest();
	struct guest_image *img = image_of(g);
	struct dump_progress p;
	char command[256], said[65] = "";
	FILE *f;

	dump_image(img, &DIGESTED[_i], out, &p);
	snprintf(command, sizeof(command), "sha256sum %s", out);
	f = popen(command, "r");
	ck_assert_int_eq(fscanf(f, "%64s", said), 1);
	pclose(f);
	ck_assert_str_eq(p.sha256, said);
	guest_image_destroy(img);
	guest_destroy(g);
}
END_TEST

/* ---- what it will be ---- */

/* So small a guest is read whole, and the estimate is no guess. */
START_TEST(estimates)
{
	struct guest *g = _i & 4 ? mixed_guest(&toy64, ORDER_LITTLE) : wide_guest();
	struct guest_image *img = image_of(g);
	struct dump_options opt = { .format = _i & 1 ? DUMP_KDUMP_ZLIB : DUMP_ELF };
	struct dump_estimate estimate;
	struct dump_progress p;
	struct buf b;

	if (_i & 2)
		img->left_out = PAGES_ZERO;
	ok(dump_estimate(img, &opt, &estimate));
	dump_image(img, &opt, out, &p);
	b = read_file(out);
	ck_assert_uint_eq(estimate.file_bytes, b.len);
	/* Headers and bitmaps have pages of zeros, which are holes. */
	ck_assert_uint_ge(estimate.data_bytes, p.written_bytes);
	ck_assert_uint_le(estimate.data_bytes, p.written_bytes + 16 * PAGE);
	ck_assert(estimate.seconds > 0);
	buf_deinit(&b);
	guest_image_destroy(img);
	guest_destroy(g);
}
END_TEST

/* ---- what goes wrong ---- */

static const struct dump_options ANY[] = {
	{ .format = DUMP_ELF },
	{ .wrap = DUMP_GZIP },
	{ .wrap = DUMP_ZSTD },
	{ .format = DUMP_KDUMP_ZLIB },
	{ .format = DUMP_KDUMP_ZSTD },
	{ .format = DUMP_KDUMP_ZLIB, .flatten = true },
};

/* At every turn of the job: threads are at work on what comes later. */
START_TEST(cancelling_at_any_moment)
{
	struct guest *g = wide_guest();
	struct guest_image *img = image_of(g);
	bool done = false;

	for (unsigned turns = 0; !done && turns < 64; turns++) {
		struct dump_job *job = job_to_path(img, &ANY[_i], out);

		for (unsigned i = 0; !done && i < turns; i++) {
			done = !dump_job_step(job);
			if (!done && turns % 2)
				wait_for(job);
		}
		dump_job_cancel(job);
		ck_assert_int_eq(count_files(), done);
		dump_job_destroy(job);
	}
	guest_image_destroy(img);
	guest_destroy(g);
}
END_TEST

/* Every write may be the one that does not fit any more. */
START_TEST(a_file_that_may_not_grow)
{
	struct guest *g = wide_guest();
	struct guest_image *img = image_of(g);
	struct rlimit limit = { 0, RLIM_INFINITY };

	for (uint64_t max = 1; max < 2u << 20; max = 3 * max + 1) {
		struct dump_job *job = job_to_path(img, &ANY[_i], out);

		limit.rlim_cur = max;
		ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
		run(job);
		ck_assert_ptr_nonnull(dump_job_error(job));
		ck_assert_int_eq(err_errno(dump_job_error(job)), EFBIG);
		dump_job_destroy(job);
		limit.rlim_cur = RLIM_INFINITY;
		ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
		ck_assert_int_eq(count_files(), 0);
	}
	guest_image_destroy(img);
	guest_destroy(g);
}
END_TEST

START_TEST(a_full_device)
{
	struct guest *g = wide_guest();
	struct guest_image *img = image_of(g);
	struct dump_options opt = ANY[_i];
	struct dump_sink *s = NULL;
	struct dump_job *job;

	opt.flatten = opt.format != DUMP_ELF;
	ok(dump_sink_open_path("/dev/full", 1, &s));
	job = job_of(plan_of(img, &opt), s);
	run(job);
	ck_assert_ptr_nonnull(dump_job_error(job));
	ck_assert_int_eq(err_errno(dump_job_error(job)), ENOSPC);
	dump_job_destroy(job);
	guest_image_destroy(img);
	guest_destroy(g);
}
END_TEST

/* It has taken some of it. */
START_TEST(a_reader_that_leaves_in_the_middle)
{
	struct guest *g = wide_guest();
	struct guest_image *img = image_of(g);
	struct dump_options opt = ANY[_i];
	struct dump_sink *s = NULL;
	struct dump_wait w;
	struct dump_job *job;
	char some[5000];
	int fds[2];

	opt.flatten = opt.format != DUMP_ELF;
	make_channel(_i % 2, fds);
	ok(dump_sink_open_fd(fds[1], "fd:1", &s));
	job = job_of(plan_of(img, &opt), s);
	do {
		ck_assert(dump_job_step(job));
		dump_job_wait(job, &w);
		if (w.events != POLLOUT)
			wait_for(job);
	} while (w.events != POLLOUT);
	ck_assert_int_eq(read(fds[0], some, sizeof(some)), sizeof(some));
	close(fds[0]);
	run(job);
	ck_assert_ptr_nonnull(dump_job_error(job));
	ck_assert_int_eq(err_errno(dump_job_error(job)), EPIPE);
	dump_job_destroy(job);
	close(fds[1]);
	guest_image_destroy(img);
	guest_destroy(g);
}
END_TEST

START_TEST(a_guest_that_dies)
{
	struct guest *g = wide_guest();
	struct guest_image *img = image_of(g);
	struct dump_job *job = job_to_path(img, &ANY[_i], out);

	__atomic_store_n(&fake_of(g)->fail_reads, true, __ATOMIC_RELAXED);
	run(job);
	ck_assert_ptr_nonnull(dump_job_error(job));
	ck_assert_int_eq(err_code(dump_job_error(job)), ERR_GONE);
	ck_assert_int_eq(count_files(), 0);
	dump_job_destroy(job);
	guest_image_destroy(img);
	guest_destroy(g);
}
END_TEST

static Suite *kdump_suite(void)
{
	Suite *s = suite_create("kdump");
	TCase *t = tcase_create("formats");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, headers, 0, ARRAY_LEN(KINDS));
	tcase_add_test(t, without_a_vmcoreinfo);
	tcase_add_loop_test(t, pages_of_each_format, 0, 32);
	tcase_add_loop_test(t, pages_are_kept_raw_where_that_is_shorter, 0, 4);
	tcase_add_loop_test(t, frames_that_are_not_all_ram, 0, 2);
	tcase_add_test(t, memory_behind_the_kernels_stays_away);
	tcase_add_test(t, too_many_frames_for_a_bitmap);
	tcase_add_test(t, memory_of_one_thread);
	tcase_add_loop_test(t, flattened_is_the_file_in_another_order, 0, 4);
	tcase_add_loop_test(t, wrapped_is_the_file, 0, 4);
	tcase_add_loop_test(t, what_is_left_out_of_elf_reads_as_zeros, 0, 2);
	tcase_add_loop_test(t, words_that_do_not_go_together, 0, ARRAY_LEN(WORDS));
	tcase_add_test(t, codecs_that_are_not_there);
	tcase_add_test(t, names);
	suite_add_tcase(s, t);

	t = tcase_create("jobs");
	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, what_cannot_seek_gets_no_kdump_file, 0, 2);
	tcase_add_loop_test(t, a_dump_that_takes_too_long, 0, 2);
	tcase_add_test(t, a_limited_bandwidth);
	tcase_add_test(t, a_wide_bandwidth_is_no_limit);
	tcase_add_loop_test(t, digests, 0, ARRAY_LEN(DIGESTED));
	tcase_add_loop_test(t, estimates, 0, 8);
	tcase_add_loop_test(t, cancelling_at_any_moment, 0, ARRAY_LEN(ANY));
	tcase_add_loop_test(t, a_file_that_may_not_grow, 0, ARRAY_LEN(ANY));
	tcase_add_loop_test(t, a_full_device, 0, ARRAY_LEN(ANY));
	tcase_add_loop_test(t, a_reader_that_leaves_in_the_middle, 0, ARRAY_LEN(ANY));
	tcase_add_loop_test(t, a_guest_that_dies, 0, ARRAY_LEN(ANY));
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return suite_run(kdump_suite());
}
