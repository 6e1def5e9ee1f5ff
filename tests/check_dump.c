/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "arch/x86_64/x86_64.h"
#include "dump/dump.h"
#include "guest/os.h"
#include "tests/dumping.h"
#include "tests/fake_guest.h"
#include "tests/host.h"
#include "tests/suite.h"
#include "tests/toy_arch.h"

#define PAGE 4096u
#define OLD_TEXT "what was there before"

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

static void check_text(const char *path, const char *text)
{
	struct buf b = read_file(path);

	ck_assert_str_eq(b.data, text);
	buf_deinit(&b);
}

/* ---- an independent reader: libelf and eu-readelf ---- */

struct core {
	const uint8_t *data; /* the file, mapped */
	size_t bytes;
	Elf *elf;
	GElf_Ehdr ehdr;
	size_t n_phdrs;
};

static void core_open(struct core *c, const char *path)
{
	int fd = open(path, O_RDONLY);
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	c->bytes = (size_t)st.st_size;
	c->data = mmap(NULL, c->bytes, PROT_READ, MAP_PRIVATE, fd, 0);
	ck_assert(c->data != MAP_FAILED);
	close(fd);
	elf_version(EV_CURRENT);
	c->elf = elf_memory((char *)c->data, c->bytes);
	ck_assert_ptr_nonnull(c->elf);
	ck_assert_ptr_nonnull(gelf_getehdr(c->elf, &c->ehdr));
	ck_assert_int_eq(elf_getphdrnum(c->elf, &c->n_phdrs), 0);
}

static void core_close(struct core *c)
{
	elf_end(c->elf);
	munmap((void *)c->data, c->bytes);
}

static GElf_Phdr phdr_at(const struct core *c, size_t i)
{
	GElf_Phdr phdr;

	ck_assert_ptr_nonnull(gelf_getphdr(c->elf, (int)i, &phdr));
	return phdr;
}

/* What must hold of every load of every dump; crash takes a core whose loads have p_align for netdump's. */
static void check_loads(const struct core *c, struct guest *g)
{
	uint64_t last_offset = 0;

	for (size_t i = 1; i < c->n_phdrs; i++) {
		GElf_Phdr p = phdr_at(c, i);

		ck_assert_uint_eq(p.p_align, 0);
		ck_assert_uint_ge(p.p_offset, last_offset);
		last_offset = p.p_offset;
		ck_assert_uint_eq(p.p_type, PT_LOAD);
		ck_assert_uint_eq(p.p_filesz, p.p_memsz);
		ck_assert_uint_eq(p.p_offset % PAGE, p.p_vaddr % PAGE);
		ck_assert_uint_le(p.p_offset + p.p_filesz, c->bytes);
		for (uint64_t k = 0; k < p.p_filesz; k += 509)
			ck_assert_uint_eq(c->data[p.p_offset + k], *fake_at(g, p.p_paddr + k));
	}
}

/* A load with exactly these three. */
static void has_load(const struct core *c, uint64_t gva, uint64_t gpa, uint64_t bytes)
{
	for (size_t i = 1; i < c->n_phdrs; i++) {
		GElf_Phdr p = phdr_at(c, i);

		if (p.p_vaddr == gva && p.p_paddr == gpa && p.p_filesz == bytes)
			return;
	}
	ck_abort_msg("no load of 0x%llx at 0x%llx, 0x%llx", (unsigned long long)bytes, (unsigned long long)gva,
		     (unsigned long long)gpa);
}

/* eu-readelf says nothing on stderr and succeeds. */
static void check_readelf(const char *path)
{
	char command[256];

	snprintf(command, sizeof(command), "eu-readelf -h -l -n %s 2>&1 >/dev/null | grep . && exit 1; "
		 "eu-readelf -h -l -n %s >/dev/null", path, path);
	ck_assert_int_eq(system(command), 0);
}

/* ---- both classes, both byte orders ---- */

static const struct golden {
	const struct arch *arch;
	enum byte_order order;
	/* The whole ELF header of a dump with 2 loads, from the tables of the ELF specification. */
	uint8_t ehdr[64];
	size_t ehdr_bytes;
} GOLDENS[] = {
	{ &toy32, ORDER_LITTLE, {
		0x7f, 'E', 'L', 'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		4, 0, 20, 0, 1, 0, 0, 0, 0, 0, 0, 0, 52, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 52, 0, 32, 0, 3, 0, 0, 0, 0, 0, 0, 0 }, 52 },
	{ &toy32, ORDER_BIG, {
		0x7f, 'E', 'L', 'F', 1, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 4, 0, 20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 52, 0, 0, 0, 0,
		0, 0, 0, 0, 0, 52, 0, 32, 0, 3, 0, 0, 0, 0, 0, 0 }, 52 },
	{ &toy64, ORDER_LITTLE, {
		0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		4, 0, 21, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 64, 0, 56, 0, 3, 0, 0, 0, 0, 0, 0, 0 }, 64 },
	{ &toy64, ORDER_BIG, {
		0x7f, 'E', 'L', 'F', 2, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 4, 0, 21, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 56, 0, 3, 0, 0, 0, 0, 0, 0 }, 64 },
};

static struct guest *toy_guest(const struct arch *arch, enum byte_order order)
{
	const struct mem_block blocks[] = { { .gpa = 0, .bytes = 0x6000 }, { .gpa = 0x10000, .bytes = 0x3000 } };
	struct guest *g = fake_create(arch, order, 2, blocks, ARRAY_LEN(blocks));

	for (unsigned i = 0; i < 2; i++) {
		regs_set(fake_of(g)->regs[i], TOY_PC, 0x11223344 + i);
		regs_set(fake_of(g)->regs[i], TOY_SP, 0);
	}
	for (size_t b = 0; b < ARRAY_LEN(blocks); b++)
		for (uint64_t i = 0; i < blocks[b].bytes; i++)
			*fake_at(g, blocks[b].gpa + i) = (uint8_t)(b * 100 + i / 7 + 1);
	return g;
}

static void check_toy_notes(const struct core *c, enum byte_order order)
{
	GElf_Phdr p = phdr_at(c, 0);
	const uint8_t *at = c->data + p.p_offset;

	ck_assert_uint_eq(p.p_type, PT_NOTE);
	ck_assert_uint_eq(p.p_filesz, 2 * (12 + 4 + TOY_NOTE_BYTES));
	for (unsigned i = 0; i < 2; i++, at += 12 + 4 + TOY_NOTE_BYTES) {
		ck_assert_uint_eq(load_uint(at, 4, order), 4);
		ck_assert_uint_eq(load_uint(at + 4, 4, order), TOY_NOTE_BYTES);
		ck_assert_uint_eq(load_uint(at + 8, 4, order), TOY_NOTE_TYPE);
		ck_assert_int_eq(memcmp(at + 12, "TOY", 4), 0);
		ck_assert_uint_eq(load_uint(at + 16, 4, order), 0x40000001u + i);
		ck_assert_uint_eq(load_uint(at + 20, 4, order), TOY_NOTE_CONST);
		ck_assert_uint_eq(load_uint(at + 24, 8, order), 0x11223344u + i);
	}
}

START_TEST(headers_of_each_class_and_order)
{
	const struct golden *t = &GOLDENS[_i];
	struct guest *g = toy_guest(t->arch, t->order);
	struct dump_options opt = { 0 };
	struct core c;

	dump_to(g, &opt, out);
	core_open(&c, out);
	ck_assert_int_eq(memcmp(c.data, t->ehdr, t->ehdr_bytes), 0);
	check_toy_notes(&c, t->order);
	ck_assert_uint_eq(c.n_phdrs, 3);
	has_load(&c, 0, 0, 0x6000);
	has_load(&c, 0x10000, 0x10000, 0x3000);
	check_loads(&c, g);
	check_readelf(out);
	core_close(&c);
	guest_destroy(g);
}
END_TEST

/* A 32-bit header has no room for a file of 4 GiB, whose memory ends just below. */
START_TEST(class_grows_with_the_file)
{
	const struct mem_block block = { .gpa = 0, .bytes = 0xfffff000u };
	struct guest *g = fake_create(&toy32, ORDER_BIG, 1, &block, 1);
	struct guest_image *img = image_of(g);
	struct dump_options opt = { 0 };
	struct dump_plan *p = plan_of(img, &opt);
	int fd = open(out, O_RDWR | O_CREAT, 0600);
	struct dump_sink *s = NULL;
	struct dump_job *job;
	uint8_t ident[EI_NIDENT];

	ok(dump_sink_open_fd(fd, "fd:3", &s));
	job = job_of(p, s);
	begin(job);
	ck_assert_int_eq(pread(fd, ident, sizeof(ident), 0), sizeof(ident));
	ck_assert_int_eq(ident[EI_CLASS], ELFCLASS64);
	dump_job_destroy(job);
	guest_image_destroy(img);
	guest_destroy(g);
	close(fd);
}
END_TEST

/* ---- which loads ---- */

static const struct mapping KERNEL_MAP[] = {
	{ 0xffff888000000000u, 0, 0x6000, 0 },      /* the direct map of the first block */
	{ 0xffffffff81000000u, 0x2000, 0x2000, 0 }, /* the image, inside it */
	{ 0xffff888000011000u, 0x11000, 0x10000, 0 }, /* longer than the second block */
};

static struct err *kernel_map(struct os *os, struct mapping **ret, size_t *ret_n)
{
	(void)os;
	*ret = malloc(sizeof(KERNEL_MAP));
	memcpy(*ret, KERNEL_MAP, sizeof(KERNEL_MAP));
	*ret_n = ARRAY_LEN(KERNEL_MAP);
	return NULL;
}

static struct err *vmcoreinfo(struct os *os, const char **ret, size_t *ret_bytes)
{
	(void)os;
	*ret = "OSRELEASE=6\n";
	*ret_bytes = 12;
	return NULL;
}

static const struct os_ops toy_os_ops = { .name = "toy", .kernel_map = kernel_map, .vmcoreinfo = vmcoreinfo };

START_TEST(kernel_map_and_vmcoreinfo)
{
	struct guest *g = toy_guest(&toy64, ORDER_BIG);
	struct os os = { .ops = &toy_os_ops, .guest = g };
	struct dump_options opt = { 0 };
	GElf_Phdr image, direct;
	struct core c;
	size_t notes;

	g->os = &os;
	dump_to(g, &opt, out);
	core_open(&c, out);
	ck_assert_uint_eq(c.n_phdrs, 5);
	has_load(&c, 0xffff888000000000u, 0, 0x6000);
	has_load(&c, 0xffffffff81000000u, 0x2000, 0x2000);
	has_load(&c, 0xffff888000011000u, 0x11000, 0x2000);
	has_load(&c, 0x10000, 0x10000, 0x1000);
	check_loads(&c, g);
	/* Each frame is in the file once. */
	direct = phdr_at(&c, 1);
	image = phdr_at(&c, 2);
	ck_assert_uint_eq(image.p_offset, direct.p_offset + 0x2000);
	ck_assert_uint_le(c.bytes, 0x1000 + 0x6000 + 0x3000);
	/* The last note: 12 of header, 12 of name, 12 of text. */
	notes = phdr_at(&c, 0).p_offset + phdr_at(&c, 0).p_filesz;
	ck_assert_int_eq(memcmp(c.data + notes - 36, "\0\0\0\x0b\0\0\0\x0c\0\0\0\0", 12), 0);
	ck_assert_int_eq(memcmp(c.data + notes - 24, "VMCOREINFO\0\0OSRELEASE=6\n", 24), 0);
	check_readelf(out);
	core_close(&c);
	g->os = NULL;
	guest_destroy(g);
}
END_TEST

/* Both vCPUs map frames 1, 3, 5, 7...: 0x7000 to 0xffff are no RAM. */
START_TEST(paging_merges_trims_and_loses_nothing)
{
	struct guest *g = toy_guest(&toy64, ORDER_LITTLE);
	struct dump_options opt = { .paging = true };
	struct core c;

	for (unsigned i = 0; i < 2; i++) {
		regs_set(fake_of(g)->regs[i], TOY_PC, 0x1000);
		regs_set(fake_of(g)->regs[i], TOY_SP, 9);
	}
	dump_to(g, &opt, out);
	core_open(&c, out);
	for (unsigned i = 0; i < 3; i++)
		has_load(&c, TOY_GVA_AT(i), TOY_GPA_AT(0x1000, i), 0x1000);
	has_load(&c, TOY_GVA_AT(8), 0x11000, 0x1000);
	has_load(&c, 0, 0, 0x1000);
	has_load(&c, 0x2000, 0x2000, 0x1000);
	has_load(&c, 0x4000, 0x4000, 0x1000);
	has_load(&c, 0x10000, 0x10000, 0x1000);
	has_load(&c, 0x12000, 0x12000, 0x1000);
	ck_assert_uint_eq(c.n_phdrs, 1 + 9);
	check_loads(&c, g);
	core_close(&c);
	guest_destroy(g);
}
END_TEST

/* The same, cut in the middle of a page: what is left out has no program header. */
START_TEST(paging_with_a_range)
{
	struct guest *g = toy_guest(&toy64, ORDER_LITTLE);
	struct dump_options opt = { .paging = true, .has_range = true, .begin = 0x1800, .length = 0xf000 };
	struct core c;

	for (unsigned i = 0; i < 2; i++) {
		regs_set(fake_of(g)->regs[i], TOY_PC, 0x1000);
		regs_set(fake_of(g)->regs[i], TOY_SP, 9);
	}
	dump_to(g, &opt, out);
	core_open(&c, out);
	has_load(&c, TOY_GVA_AT(0) + 0x800, 0x1800, 0x800);
	has_load(&c, 0x2000, 0x2000, 0x1000);
	has_load(&c, TOY_GVA_AT(1), 0x3000, 0x1000);
	has_load(&c, 0x4000, 0x4000, 0x1000);
	has_load(&c, TOY_GVA_AT(2), 0x5000, 0x1000);
	has_load(&c, 0x10000, 0x10000, 0x800);
	ck_assert_uint_eq(c.n_phdrs, 1 + 6);
	check_loads(&c, g);
	core_close(&c);
	guest_destroy(g);
}
END_TEST

START_TEST(paging_of_x86_64)
{
	struct guest *g = fake_guest_create(2);
	struct dump_options opt = { .paging = true };
	struct core c;

	dump_to(g, &opt, out);
	core_open(&c, out);
	ck_assert_uint_eq(c.ehdr.e_machine, EM_X86_64);
	has_load(&c, FAKE_GVA, FAKE_GVA_GPA, 0x1000);
	has_load(&c, 0, 0, FAKE_RAM_BYTES);
	has_load(&c, FAKE_RAM2_GPA, FAKE_RAM2_GPA, 0x1000);
	has_load(&c, FAKE_ROM_GPA, FAKE_ROM_GPA, 0x1000);
	ck_assert_uint_eq(c.n_phdrs, 1 + 4);
	check_loads(&c, g);
	check_readelf(out);
	core_close(&c);
	guest_destroy(g);
}
END_TEST

START_TEST(adjoining_blocks_are_one_load_and_private_ones_none)
{
	const struct mem_block blocks[] = {
		{ .gpa = 0x1000, .bytes = 0x1000 },
		{ .gpa = 0x2000, .bytes = 0x800 },
		{ .gpa = 0x3000, .bytes = 0x1000, .flags = MEM_PRIVATE },
	};
	struct guest *g = fake_create(&toy64, ORDER_LITTLE, 1, blocks, ARRAY_LEN(blocks));
	struct dump_options opt = { 0 };
	struct core c;

	memset(fake_at(g, 0x1000), 1, 0x1000);
	memset(fake_at(g, 0x2000), 2, 0x800);
	dump_to(g, &opt, out);
	core_open(&c, out);
	ck_assert_uint_eq(c.n_phdrs, 2);
	has_load(&c, 0x1000, 0x1000, 0x1800);
	check_loads(&c, g);
	core_close(&c);
	guest_destroy(g);
}
END_TEST

/* ---- more than 16 bits of program headers ---- */

static void check_extended_count(const struct core *c, size_t n_phdrs)
{
	GElf_Shdr shdr;

	ck_assert_uint_eq(c->ehdr.e_phnum, PN_XNUM);
	ck_assert_uint_eq(c->ehdr.e_shnum, 1);
	ck_assert_uint_eq(c->ehdr.e_shstrndx, SHN_UNDEF);
	ck_assert_ptr_nonnull(gelf_getshdr(elf_getscn(c->elf, 0), &shdr));
	ck_assert_uint_eq(shdr.sh_info, n_phdrs);
	ck_assert_uint_eq(shdr.sh_type, SHT_NULL);
	ck_assert_uint_eq(c->n_phdrs, n_phdrs);
}

/* One load less than what 16 bits hold, and the first count that they do not. */
static const struct {
	unsigned loads;
	bool extended;
} COUNTS[] = { { PN_XNUM - 2, false }, { PN_XNUM - 1, true }, { 70001, true } };

START_TEST(many_mappings)
{
	unsigned loads = COUNTS[_i].loads, n = (loads + 1) / 2;
	const struct mem_block block = { .gpa = 0, .bytes = (uint64_t)loads * PAGE };
	struct guest *g = fake_create(_i % 2 ? &toy32 : &toy64, ORDER_BIG, 1, &block, 1);
	struct dump_options opt = { .paging = true };
	struct core c;

	fake_of(g)->sparse = true;
	regs_set(fake_of(g)->regs[0], TOY_PC, 0);
	regs_set(fake_of(g)->regs[0], TOY_SP, n);
	*fake_at(g, TOY_GPA_AT(0, n - 1)) = 0x77;
	dump_to(g, &opt, out);
	core_open(&c, out);
	if (COUNTS[_i].extended)
		check_extended_count(&c, loads + 1);
	else
		ck_assert_uint_eq(c.ehdr.e_phnum, loads + 1);
	has_load(&c, TOY_GVA_AT(n - 1), TOY_GPA_AT(0, n - 1), PAGE);
	check_loads(&c, g);
	core_close(&c);
	check_readelf(out);
	guest_destroy(g);
}
END_TEST

START_TEST(many_blocks)
{
	enum { N = 66000 };
	struct mem_block *blocks = calloc(N, sizeof(*blocks));
	struct guest *g;
	struct dump_options opt = { .has_range = true, .begin = 0x4000, .length = (N - 2) * 0x4000ull };
	struct core c;

	for (unsigned i = 0; i < N; i++)
		blocks[i] = (struct mem_block){ .gpa = i * 0x4000ull, .bytes = 16 };
	g = fake_create(&toy64, ORDER_LITTLE, 1, blocks, N);
	dump_to(g, &opt, out);
	core_open(&c, out);
	check_extended_count(&c, N - 2 + 1);
	has_load(&c, 0x4000, 0x4000, 16);
	has_load(&c, (N - 2) * 0x4000ull, (N - 2) * 0x4000ull, 16);
	core_close(&c);
	guest_destroy(g);
	free(blocks);
}
END_TEST

START_TEST(too_many_mappings)
{
	const uint64_t n = (1u << 22) + 2;
	const struct mem_block block = { .gpa = 0, .bytes = TOY_SPAN };
	struct guest *g = fake_create(&toy64, ORDER_LITTLE, 1, &block, 1);
	struct guest_image *img = image_of(g);
	struct dump_options opt = { .paging = true };
	struct dump_plan *p = NULL;

	regs_set(img->vcpus[0], TOY_PC, 0);
	regs_set(img->vcpus[0], TOY_SP, n);
	fails(dump_plan_create(img, &opt, &p), ERR_UNSUPPORTED, "program headers");
	guest_image_destroy(img);
	guest_destroy(g);
}
END_TEST

/* ---- ranges ---- */

static const struct {
	bool has_begin, has_length;
	uint64_t begin, length;
	const char *refusal; /* NULL: good */
} RANGES[] = {
	{ false, false, 0, 0, NULL },
	{ true, true, 0, 1, NULL },
	{ true, true, UINT64_MAX, 1, NULL },
	{ true, true, 1, UINT64_MAX, NULL },
	{ true, true, 0, 0, "length of the range is zero" },
	{ true, true, UINT64_MAX, 2, "passes the end" },
	{ true, true, 2, UINT64_MAX, "passes the end" },
	{ true, false, 5, 0, "begin is given without length" },
	{ false, true, 0, 5, "length is given without begin" },
};

START_TEST(words_of_a_range)
{
	struct dump_options opt = { .paging = true };
	struct err *e = dump_options_check(RANGES[_i].has_begin, RANGES[_i].begin, RANGES[_i].has_length,
					   RANGES[_i].length, &opt);

	if (RANGES[_i].refusal) {
		fails(e, ERR_USAGE, RANGES[_i].refusal);
		ck_assert(!opt.has_range);
		return;
	}
	ok(e);
	ck_assert(opt.paging);
	ck_assert(opt.has_range == RANGES[_i].has_begin);
}
END_TEST

/* RAM is 0-5fff and 10000-12fff. */
static const struct {
	uint64_t begin, length, gpa, bytes; /* bytes 0: a refusal */
} TRIMS[] = {
	{ 0x1000, 0x2000, 0x1000, 0x2000 },
	{ 0x5000, 0x2000, 0x5000, 0x1000 },
	{ 0x8000, 0xa000, 0x10000, 0x2000 }, /* starts in a hole */
	{ 0x12fff, UINT64_MAX - 0x12ffe, 0x12fff, 1 },
	{ 0x6000, 0xa000, 0, 0 },
	{ 0x13000, 1, 0, 0 },
};

START_TEST(ranges_are_trimmed)
{
	struct guest *g = toy_guest(_i % 2 ? &toy64 : &toy32, ORDER_LITTLE);
	struct dump_options opt = { .has_range = true, .begin = TRIMS[_i].begin, .length = TRIMS[_i].length };
	struct guest_image *img = image_of(g);
	struct dump_plan *p = NULL;
	struct core c;

	if (!TRIMS[_i].bytes) {
		fails(dump_plan_create(img, &opt, &p), ERR_UNMAPPED, "holds no guest memory");
	} else {
		dump_to(g, &opt, out);
		core_open(&c, out);
		ck_assert_uint_eq(c.n_phdrs, 2);
		has_load(&c, TRIMS[_i].gpa, TRIMS[_i].gpa, TRIMS[_i].bytes);
		check_loads(&c, g);
		core_close(&c);
		check_readelf(out);
	}
	guest_image_destroy(img);
	guest_destroy(g);
}
END_TEST

/* ---- holes and streams ---- */

/* 24 MiB of which two runs of pages and some lone ones hold something. */
static struct guest *sparse_guest(bool sparse)
{
	const struct mem_block block = { .gpa = 0x100000, .bytes = 24u << 20 };
	struct guest *g = fake_create(&toy64, ORDER_LITTLE, 1, &block, 1);

	fake_of(g)->sparse = sparse;
	memset(fake_at(g, 0x100000), 0x11, 3 * PAGE);
	memset(fake_at(g, 0x900000), 0x22, 300 * PAGE);
	*fake_at(g, 0x400fff) = 1;
	*fake_at(g, 0x18fffff) = 1;
	return g;
}

START_TEST(zero_pages_are_holes)
{
	struct guest *g = sparse_guest(_i);
	struct dump_options opt = { 0 };
	struct stat st;
	struct core c;

	dump_to(g, &opt, out);
	ck_assert_int_eq(stat(out, &st), 0);
	/* The pages that hold something, the head, and what a file system adds. */
	ck_assert_int_le(st.st_blocks * 512, (305 + 1 + 32) * PAGE);
	ck_assert_int_eq(st.st_mode & 07777, 0600);
	core_open(&c, out);
	check_loads(&c, g);
	core_close(&c);
	guest_destroy(g);
}
END_TEST

START_TEST(streams_equal_files)
{
	struct guest *g = sparse_guest(true);
	struct guest_image *img = image_of(g);
	struct dump_options opt = { 0 };
	struct dump_sink *s = NULL;
	struct dump_job *job;
	struct buf file, stream;
	int fds[2];

	dump_to(g, &opt, out);
	make_channel(_i, fds);
	ok(dump_sink_open_fd(fds[1], "fd:1", &s));
	job = job_of(plan_of(img, &opt), s);
	stream = pump(job, fds[0]);
	/* The descriptor is the caller's, and so are its flags. */
	ck_assert_int_eq(fcntl(fds[1], F_GETFL) & O_NONBLOCK, 0);
	dump_job_destroy(job);
	file = read_file(out);
	ck_assert_uint_eq(file.len, stream.len);
	ck_assert_int_eq(memcmp(file.data, stream.data, file.len), 0);
	buf_deinit(&file);
	buf_deinit(&stream);
	guest_image_destroy(img);
	guest_destroy(g);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(descriptors_are_written_from_where_they_stand)
{
	struct guest *g = toy_guest(&toy32, ORDER_LITTLE);
	struct guest_image *img = image_of(g);
	struct dump_options opt = { 0 };
	int fd = open(out, O_RDWR | O_CREAT, 0600);
	struct dump_sink *s = NULL;
	struct dump_job *job;
	struct buf b;

	ck_assert_int_eq(write(fd, "before", 6), 6);
	ok(dump_sink_open_fd(fd, "fd:7", &s));
	job = job_of(plan_of(img, &opt), s);
	run_well(job);
	dump_job_destroy(job);
	b = read_file(out);
	ck_assert_int_eq(memcmp(b.data, "before\177ELF", 10), 0);
	ck_assert_uint_eq(b.len, 6 + 0x1000 + 0x6000 + 0x3000);
	buf_deinit(&b);
	guest_image_destroy(img);
	guest_destroy(g);
	close(fd);
}
END_TEST

/* ---- where a dump goes ---- */

START_TEST(an_existing_file_is_replaced_when_all_is_written)
{
	struct guest *g = sparse_guest(false);
	struct guest_image *img = image_of(g);
	struct dump_options opt = { 0 };
	struct dump_job *job;

	write_file(out, OLD_TEXT);
	job = job_to_path(img, &opt, out);
	begin(job);
	check_text(out, OLD_TEXT);
	run_well(job);
	dump_job_destroy(job);
	ck_assert_int_eq(count_files(), 1);
	check_readelf(out);
	guest_image_destroy(img);
	guest_destroy(g);
}
END_TEST

START_TEST(a_link_is_followed)
{
	struct guest *g = toy_guest(&toy64, ORDER_BIG);
	struct dump_options opt = { 0 };
	char link[160], target[160];
	struct stat st;

	snprintf(link, sizeof(link), "%s/link", dir);
	snprintf(target, sizeof(target), "%s/target", dir);
	ck_assert_int_eq(symlink("target", link), 0);
	if (_i)
		write_file(target, OLD_TEXT);
	dump_to(g, &opt, link);
	ck_assert_int_eq(lstat(link, &st), 0);
	ck_assert(S_ISLNK(st.st_mode));
	check_readelf(target);
	guest_destroy(g);
}
END_TEST

START_TEST(cancelling_leaves_nothing)
{
	struct guest *g = sparse_guest(false);
	struct guest_image *img = image_of(g);
	struct dump_options opt = { 0 };
	struct dump_job *job = job_to_path(img, &opt, out);
	struct dump_progress progress;

	begin(job);
	dump_job_cancel(job);
	ck_assert(!dump_job_step(job));
	ck_assert_int_eq(err_code(dump_job_error(job)), ERR_CANCELLED);
	ck_assert_ptr_nonnull(strstr(err_text(dump_job_error(job)), out));
	dump_job_progress(job, &progress);
	ck_assert_int_eq(progress.status, DUMP_CANCELLED);
	ck_assert_int_eq(count_files(), 0);
	dump_job_destroy(job);
	guest_image_destroy(img);
	guest_destroy(g);
}
END_TEST

START_TEST(a_guest_that_dies_ends_the_dump)
{
	struct guest *g = sparse_guest(false);
	struct guest_image *img = image_of(g);
	struct dump_options opt = { 0 };
	struct dump_job *job;

	write_file(out, OLD_TEXT);
	job = job_to_path(img, &opt, out);
	begin(job);
	__atomic_store_n(&fake_of(g)->fail_reads, true, __ATOMIC_RELAXED);
	run(job);
	ck_assert_ptr_nonnull(dump_job_error(job));
	ck_assert_int_eq(err_code(dump_job_error(job)), ERR_GONE);
	ck_assert_ptr_nonnull(strstr(err_text(dump_job_error(job)), out));
	dump_job_destroy(job);
	check_text(out, OLD_TEXT);
	ck_assert_int_eq(count_files(), 1);
	guest_image_destroy(img);
	guest_destroy(g);
}
END_TEST

/* Runs a dump that must end with this errno in a text that names the output. */
static void dump_fails(struct dump_sink *s, int errnum, const char *name)
{
	struct guest *g = sparse_guest(true);
	struct guest_image *img = image_of(g);
	struct dump_options opt = { 0 };
	struct dump_job *job = job_of(plan_of(img, &opt), s);
	struct dump_progress progress;

	run(job);
	ck_assert_ptr_nonnull(dump_job_error(job));
	ck_assert_int_eq(err_errno(dump_job_error(job)), errnum);
	ck_assert_ptr_nonnull(strstr(err_text(dump_job_error(job)), name));
	dump_job_progress(job, &progress);
	ck_assert_int_eq(progress.status, DUMP_FAILED);
	dump_job_destroy(job);
	guest_image_destroy(img);
	guest_destroy(g);
}

START_TEST(a_full_device)
{
	struct dump_sink *s = NULL;
	int fd = open("/dev/full", O_WRONLY);

	ok(dump_sink_open_path("/dev/full", 1, &s));
	dump_fails(s, ENOSPC, "/dev/full");
	ok(dump_sink_open_fd(fd, "fd:5", &s));
	dump_fails(s, ENOSPC, "fd:5");
	close(fd);
}
END_TEST

START_TEST(a_null_device)
{
	struct guest *g = sparse_guest(true);
	struct dump_options opt = { 0 };

	dump_to(g, &opt, "/dev/null");
	guest_destroy(g);
}
END_TEST

START_TEST(a_file_size_limit)
{
	const struct rlimit limit = { 1u << 20, 1u << 20 };
	struct dump_sink *s = NULL;

	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ok(dump_sink_open_path(out, 1, &s));
	dump_fails(s, EFBIG, out);
	ck_assert_int_eq(count_files(), 0);
}
END_TEST

static void mount_tmpfs(const char *options)
{
	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", dir, "tmpfs", 0, options) < 0) {
		fprintf(stderr, "check_dump: SKIP a full file system: cannot mount one\n");
		exit(EXIT_SUCCESS);
	}
}

/* The check comes first; without it (a wrong need) the write fails. */
START_TEST(a_full_file_system)
{
	struct dump_sink *s = NULL;

	mount_tmpfs("size=64k");
	fails(dump_sink_open_path(out, 1u << 20, &s), ERR_SYSTEM, "1048576 bytes, and 65536 are free");
	ok(dump_sink_open_path(out, 1000, &s));
	dump_fails(s, ENOSPC, out);
	ck_assert_int_eq(count_files(), 0);
	umount(dir);
}
END_TEST

START_TEST(a_reader_that_leaves)
{
	struct dump_sink *s = NULL;
	int fds[2];

	make_channel(_i, fds);
	ok(dump_sink_open_fd(fds[1], "fd:1", &s));
	close(fds[0]);
	dump_fails(s, EPIPE, "fd:1");
	close(fds[1]);
}
END_TEST

START_TEST(a_fifo_that_nobody_reads)
{
	struct dump_sink *s = NULL;
	int from, to;

	ck_assert_int_eq(mkfifo(out, 0600), 0);
	fails(dump_sink_open_path(out, 1, &s), ERR_SYSTEM, "nobody reads");
	from = open(out, O_RDONLY | O_NONBLOCK);
	to = open(out, O_WRONLY);
	close(from);
	fails(dump_sink_open_fd(to, "fd:1", &s), ERR_SYSTEM, "nobody reads");
	close(to);
}
END_TEST

START_TEST(a_fifo_by_its_path)
{
	struct guest *g = sparse_guest(true);
	struct guest_image *img = image_of(g);
	struct dump_options opt = { 0 };
	struct dump_job *job;
	struct buf got;
	int fd;

	ck_assert_int_eq(mkfifo(out, 0600), 0);
	fd = open(out, O_RDONLY | O_NONBLOCK);
	job = job_to_path(img, &opt, out);
	got = pump(job, fd);
	ck_assert_int_eq(memcmp(got.data, ELFMAG, SELFMAG), 0);
	ck_assert_uint_eq(got.len, (24u << 20) + 0x1000);
	buf_deinit(&got);
	dump_job_destroy(job);
	guest_image_destroy(img);
	guest_destroy(g);
	close(fd);
}
END_TEST

/* As /dev/stdout is: what the link seems to point to is no path. */
START_TEST(a_link_to_a_pipe)
{
	struct guest *g = sparse_guest(true);
	struct guest_image *img = image_of(g);
	struct dump_options opt = { 0 };
	struct dump_job *job;
	struct buf got;
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	snprintf(out, sizeof(out), "/proc/self/fd/%d", fds[1]);
	job = job_to_path(img, &opt, out);
	got = pump(job, fds[0]);
	ck_assert_uint_eq(got.len, (24u << 20) + 0x1000);
	buf_deinit(&got);
	dump_job_destroy(job);
	guest_image_destroy(img);
	guest_destroy(g);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(refused_outputs)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct dump_sink *s = NULL;
	char path[160];
	int fd;

	fails(dump_sink_open_path(dir, 1, &s), ERR_INVALID, "it is a directory");
	snprintf(path, sizeof(path), "%s/new/", dir);
	fails(dump_sink_open_path(path, 1, &s), ERR_SYSTEM, path);
	fails(dump_sink_open_path("", 1, &s), ERR_SYSTEM, "cannot create");
	snprintf(path, sizeof(path), "%s/missing/out", dir);
	fails(dump_sink_open_path(path, 1, &s), ERR_SYSTEM, path);
	snprintf(path, sizeof(path), "%s/loop", dir);
	ck_assert_int_eq(symlink("loop", path), 0);
	fails(dump_sink_open_path(path, 1, &s), ERR_SYSTEM, path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(addr.sun_path, out);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	fails(dump_sink_open_path(out, 1, &s), ERR_INVALID, "it is a socket");
	close(fd);
	ck_assert_int_eq(count_files(), 2);
}
END_TEST

START_TEST(a_block_device)
{
	struct dump_sink *s = NULL;

	if (mknod(out, S_IFBLK | 0600, makedev(7, 200)) < 0) {
		fprintf(stderr, "check_dump: SKIP a block device: cannot make one\n");
		return;
	}
	fails(dump_sink_open_path(out, 1, &s), ERR_INVALID, "it is a block device");
}
END_TEST

START_TEST(an_unwritable_directory)
{
	struct dump_sink *s = NULL;

	ck_assert_int_eq(chmod(dir, 0555), 0);
	if (geteuid() == 0)
		ck_assert_int_eq(seteuid(65534), 0);
	fails(dump_sink_open_path(out, 1, &s), ERR_SYSTEM, "Permission denied");
	if (getuid() == 0)
		ck_assert_int_eq(seteuid(0), 0);
	ck_assert_int_eq(chmod(dir, 0755), 0);
}
END_TEST

START_TEST(refused_descriptors)
{
	struct dump_sink *s = NULL;
	int fd = open("/dev/null", O_RDONLY);

	fails(dump_sink_open_fd(fd, "fd:5", &s), ERR_INVALID, "fd:5: it is not open for writing");
	close(fd);
	fails(dump_sink_open_fd(fd, "fd:5", &s), ERR_SYSTEM, "fd:5: Bad file descriptor");
}
END_TEST

/* ---- without O_TMPFILE ---- */

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define LOW_WORD 0
#else
#define LOW_WORD 4
#endif

/* From here on openat() of a nameless file fails as on a file system that has none. */
static void forbid_tmpfile(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2]) + LOW_WORD),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_TMPFILE & ~O_DIRECTORY, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { ARRAY_LEN(code), code };

	ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog), 0);
}

START_TEST(one_hidden_name)
{
	struct guest *g = sparse_guest(false);
	struct guest_image *img = image_of(g);
	struct dump_options opt = { 0 };
	struct dump_job *job;
	struct dump_sink *s = NULL;
	char hidden[160];
	struct stat st;

	host_need(host_has_seccomp(), "one_hidden_name", "seccomp filters");
	forbid_tmpfile();
	snprintf(hidden, sizeof(hidden), "%s/.out.vmgdbserver", dir);
	write_file(hidden, "of a dump that was killed");
	job = job_to_path(img, &opt, out);
	begin(job);
	ck_assert_int_eq(stat(hidden, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0600);
	ck_assert_int_eq(count_files(), 1);
	fails(dump_sink_open_path(out, 1, &s), ERR_BUSY, "another dump");
	run_well(job);
	dump_job_destroy(job);
	ck_assert_int_eq(count_files(), 1);
	check_readelf(out);
	job = job_to_path(img, &opt, out);
	begin(job);
	ck_assert_int_eq(count_files(), 2);
	dump_job_destroy(job);
	ck_assert_int_eq(count_files(), 1);
	guest_image_destroy(img);
	guest_destroy(g);
}
END_TEST

/* A leftover of the hidden name is in the way of a nameless file, too, when that gets its name. */
START_TEST(leftovers_are_reclaimed)
{
	struct guest *g = toy_guest(&toy64, ORDER_LITTLE);
	struct dump_options opt = { 0 };
	char hidden[160];

	snprintf(hidden, sizeof(hidden), "%s/.out.vmgdbserver", dir);
	write_file(hidden, "of a dump that was killed");
	dump_to(g, &opt, out);
	ck_assert_int_eq(count_files(), 1);
	guest_destroy(g);
}
END_TEST

static Suite *dump_suite(void)
{
	Suite *s = suite_create("dump");
	TCase *t = tcase_create("dump");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, headers_of_each_class_and_order, 0, ARRAY_LEN(GOLDENS));
	tcase_add_test(t, class_grows_with_the_file);
	tcase_add_test(t, kernel_map_and_vmcoreinfo);
	tcase_add_test(t, paging_merges_trims_and_loses_nothing);
	tcase_add_test(t, paging_with_a_range);
	tcase_add_test(t, paging_of_x86_64);
	tcase_add_test(t, adjoining_blocks_are_one_load_and_private_ones_none);
	tcase_add_loop_test(t, many_mappings, 0, ARRAY_LEN(COUNTS));
	tcase_add_test(t, many_blocks);
	tcase_add_test(t, too_many_mappings);
	tcase_add_loop_test(t, words_of_a_range, 0, ARRAY_LEN(RANGES));
	tcase_add_loop_test(t, ranges_are_trimmed, 0, ARRAY_LEN(TRIMS));
	tcase_add_loop_test(t, zero_pages_are_holes, 0, 2);
	tcase_add_loop_test(t, streams_equal_files, 0, 2);
	tcase_add_test(t, descriptors_are_written_from_where_they_stand);
	suite_add_tcase(s, t);

	t = tcase_create("output");
	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, an_existing_file_is_replaced_when_all_is_written);
	tcase_add_loop_test(t, a_link_is_followed, 0, 2);
	tcase_add_test(t, cancelling_leaves_nothing);
	tcase_add_test(t, a_guest_that_dies_ends_the_dump);
	tcase_add_test(t, a_full_device);
	tcase_add_test(t, a_null_device);
	tcase_add_test(t, a_file_size_limit);
	tcase_add_test(t, a_full_file_system);
	tcase_add_loop_test(t, a_reader_that_leaves, 0, 2);
	tcase_add_test(t, a_fifo_that_nobody_reads);
	tcase_add_test(t, a_fifo_by_its_path);
	tcase_add_test(t, a_link_to_a_pipe);
	tcase_add_test(t, refused_outputs);
	tcase_add_test(t, a_block_device);
	tcase_add_test(t, an_unwritable_directory);
	tcase_add_test(t, refused_descriptors);
	tcase_add_test(t, one_hidden_name);
	tcase_add_test(t, leftovers_are_reclaimed);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return suite_run(dump_suite());
}
