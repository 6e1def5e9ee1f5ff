/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <check.h>
#include <elf.h>
#include <fcntl.h>
#include <libelf.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arch/ppc64/ppc64.h"
#include "arch/s390x/s390x.h"
#include "arch/x86_64/x86_64.h"
#include "dump/dump.h"
#include "guest/backends.h"
#include "guest/os.h"
#include "linux/linux.h"
#include "tests/fake_guest.h"
#include "tests/suite.h"

#define PAGE 4096u

static char dir[64];
static char path[128];

static void set_up(void)
{
	strcpy(dir, "/tmp/check_core.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/core", dir);
}

static void tear_down(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	ck_assert_int_eq(system(command), 0);
}

static void ok(struct err *e)
{
	ck_assert_msg(!e, "%s", e ? err_text(e) : "");
}

static void write_file(const void *data, size_t bytes)
{
	FILE *f = fopen(path, "wb");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(data, 1, bytes, f), bytes);
	fclose(f);
}

static struct guest *open_core(void)
{
	struct guest *g = NULL;

	ok(guest_open_core(path, &g));
	return g;
}

static void open_fails(enum err_code code, const char *text)
{
	struct guest *g = NULL;
	struct err *e = guest_open_core(path, &g);

	ck_assert_ptr_nonnull(e);
	ck_assert_msg(err_code(e) == code && strstr(err_text(e), text) && strstr(err_text(e), path) &&
		      !strchr(err_text(e), '\n'), "code %d, text %s", (int)err_code(e), err_text(e));
	err_destroy(e);
}

/* ---- cores written by hand, from the ELF specification and the kernel's elf_prstatus ---- */

#define PRSTATUS_BYTES 336u
#define PRSTATUS_PID 32u
#define PRSTATUS_RIP (112u + 16 * 8)
#define QEMU_BYTES 440u
#define QEMU_RIP (8u + 16 * 8)
#define QEMU_CR3 (392u + 3 * 8)

struct load {
	uint64_t vaddr, paddr, offset, filesz, memsz;
};

/*
 * An x86_64 core of up to 8 loads: headers, then notes, then at 0x1000 the
 * data, in which each 8 bytes are their file offset.
 */
struct made {
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdrs[9];
	uint8_t notes[0x1000 - sizeof(Elf64_Ehdr) - 9 * sizeof(Elf64_Phdr)];
	uint64_t data[4 * PAGE / 8];
};

static_assert(offsetof(struct made, data) == 0x1000, "data starts at a page");

static void add_note(struct made *m, const char *owner, uint32_t type, const void *desc, uint32_t bytes)
{
	size_t name_bytes = strlen(owner) + 1;
	uint8_t *at = m->notes + m->phdrs[0].p_filesz;

	store_uint(at, 4, ORDER_LITTLE, name_bytes);
	store_uint(at + 4, 4, ORDER_LITTLE, bytes);
	store_uint(at + 8, 4, ORDER_LITTLE, type);
	memcpy(at + 12, owner, name_bytes);
	memcpy(at + 12 + ALIGN_UP(name_bytes, 4u), desc, bytes);
	m->phdrs[0].p_filesz += 12 + ALIGN_UP(name_bytes, 4u) + ALIGN_UP(bytes, 4u);
	ck_assert_uint_le(m->phdrs[0].p_filesz, sizeof(m->notes));
}

static void add_prstatus(struct made *m, uint32_t pid, uint64_t rip)
{
	uint8_t desc[PRSTATUS_BYTES] = { 0 };

	store_uint(desc + PRSTATUS_PID, 4, ORDER_LITTLE, pid);
	store_uint(desc + PRSTATUS_RIP, 8, ORDER_LITTLE, rip);
	add_note(m, "CORE", NT_PRSTATUS, desc, sizeof(desc));
}

static void add_qemu(struct made *m, uint64_t rip, uint64_t cr3)
{
	uint8_t desc[QEMU_BYTES] = { 1, 0, 0, 0, QEMU_BYTES & 0xff, QEMU_BYTES >> 8 };

	store_uint(desc + QEMU_RIP, 8, ORDER_LITTLE, rip);
	store_uint(desc + QEMU_CR3, 8, ORDER_LITTLE, cr3);
	add_note(m, "QEMU", 0, desc, sizeof(desc));
}

static void add_load(struct made *m, const struct load *l)
{
	m->phdrs[m->ehdr.e_phnum++] = (Elf64_Phdr){
		.p_type = PT_LOAD, .p_vaddr = l->vaddr, .p_paddr = l->paddr, .p_offset = l->offset,
		.p_filesz = l->filesz, .p_memsz = l->memsz,
	};
}

/* Headers and one vCPU's PRSTATUS; no load yet. */
static struct made *make(void)
{
	struct made *m = calloc(1, sizeof(*m));

	memcpy(m->ehdr.e_ident, ELFMAG "\2\1\1", SELFMAG + 3);
	m->ehdr.e_type = ET_CORE;
	m->ehdr.e_machine = EM_X86_64;
	m->ehdr.e_version = 1;
	m->ehdr.e_phoff = sizeof(m->ehdr);
	m->ehdr.e_ehsize = sizeof(m->ehdr);
	m->ehdr.e_phentsize = sizeof(Elf64_Phdr);
	m->ehdr.e_phnum = 1;
	m->phdrs[0].p_type = PT_NOTE;
	m->phdrs[0].p_offset = offsetof(struct made, notes);
	for (size_t i = 0; i < ARRAY_LEN(m->data); i++)
		store_uint(&m->data[i], 8, ORDER_LITTLE, offsetof(struct made, data) + 8 * i);
	add_prstatus(m, 100, 0x1111);
	return m;
}

static void to_little_endian(void *p, size_t bytes, Elf_Type type)
{
	Elf_Data data = { .d_buf = p, .d_size = bytes, .d_type = type, .d_version = EV_CURRENT };

	ck_assert_ptr_nonnull(elf64_xlatetof(&data, &data, ELFDATA2LSB));
}

/* Headers are the host's own structs until they are complete; all else is as in the file from the start. */
static void finish_headers(struct made *m)
{
	elf_version(EV_CURRENT);
	to_little_endian(&m->ehdr, sizeof(m->ehdr), ELF_T_EHDR);
	to_little_endian(m->phdrs, sizeof(m->phdrs), ELF_T_PHDR);
}

static void write_made(struct made *m)
{
	finish_headers(m);
	write_file(m, sizeof(*m));
	free(m);
}

static struct guest *open_made(struct made *m)
{
	write_made(m);
	return open_core();
}

static uint64_t word_at(struct guest *g, uint64_t gpa)
{
	struct phys_reader mem = guest_phys_reader(g);
	uint64_t word = 1;

	ok(mem.read(mem.ctx, gpa, &word, sizeof(word)));
	return load_uint(&word, sizeof(word), ORDER_LITTLE);
}

START_TEST(memory_is_where_the_headers_say)
{
	struct made *m = make();
	struct guest *g;
	uint64_t gpa = 0, bytes = 0;

	add_load(m, &(struct load){ 0, 0x10000, 0x2000, PAGE, 2 * PAGE }); /* half of it zeros */
	add_load(m, &(struct load){ 0, 0x8000, 0x1000, PAGE, PAGE });
	add_load(m, &(struct load){ 0, 0x12000, 0x3000, PAGE, PAGE });	   /* adjoins */
	add_load(m, &(struct load){ 0, UINT64_MAX, 0x1000, PAGE, PAGE });  /* virtual only */
	add_load(m, &(struct load){ 0, 0x40000, UINT64_MAX, 0, PAGE });	   /* filtered by QEMU */
	add_load(m, &(struct load){ 0, 0x50000, 0x1000, 0, 0 });
	g = open_made(m);
	ck_assert_uint_eq(g->n_blocks, 2);
	ck_assert_uint_eq(g->blocks[0].gpa, 0x8000);
	ck_assert_uint_eq(g->blocks[0].bytes, PAGE);
	ck_assert_uint_eq(g->blocks[1].gpa, 0x10000);
	ck_assert_uint_eq(g->blocks[1].bytes, 3 * PAGE);
	ck_assert_uint_eq(word_at(g, 0x8000), 0x1000);
	ck_assert_uint_eq(word_at(g, 0x10ff8), 0x2ff8);
	ck_assert_uint_eq(word_at(g, 0x11000), 0);
	ck_assert_uint_eq(word_at(g, 0x12000), 0x3000);
	ck_assert_uint_eq(word_at(g, 0x11ffc), 0x300000000000);
	ok(guest_next_data(g, 0x11000, 0, &gpa, &bytes));
	ck_assert_uint_eq(gpa, 0x12000);
	ck_assert_uint_eq(bytes, PAGE);
	guest_destroy(g);
}
END_TEST

START_TEST(loads_of_the_same_frames_are_one)
{
	struct made *m = make();
	struct guest *g;

	add_load(m, &(struct load){ 0xffff888000000000, 0, 0x1000, 3 * PAGE, 3 * PAGE });
	add_load(m, &(struct load){ 0xffffffff81000000, PAGE, 0x2000, PAGE, PAGE });
	add_load(m, &(struct load){ 0x400000, 2 * PAGE, 0x3000, 2 * PAGE, 2 * PAGE });
	g = open_made(m);
	ck_assert_uint_eq(g->n_blocks, 1);
	ck_assert_uint_eq(g->blocks[0].bytes, 4 * PAGE);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_uint_eq(word_at(g, i * PAGE), 0x1000 + i * PAGE);
	guest_destroy(g);
}
END_TEST

/* As in /proc/vmcore and what makedumpfile makes of it: the kernel's image is there twice. */
START_TEST(copies_that_agree_are_one)
{
	struct made *m = make();
	struct guest *g;

	memcpy((char *)m + 0x3000, (char *)m + 0x2000, PAGE);
	memset((char *)m + 0x4000, 0, PAGE);
	add_load(m, &(struct load){ 0, 0, 0x1000, 2 * PAGE, 2 * PAGE });
	add_load(m, &(struct load){ 0, PAGE, 0x3000, PAGE, 3 * PAGE });
	add_load(m, &(struct load){ 0, 3 * PAGE, 0x4000, PAGE, 2 * PAGE });
	g = open_made(m);
	ck_assert_uint_eq(g->n_blocks, 1);
	ck_assert_uint_eq(g->blocks[0].bytes, 5 * PAGE);
	ck_assert_uint_eq(word_at(g, PAGE), 0x2000);
	ck_assert_uint_eq(word_at(g, 2 * PAGE), 0);
	guest_destroy(g);
}
END_TEST

START_TEST(loads_that_contradict)
{
	struct made *m = make();

	add_load(m, &(struct load){ 0, 0, 0x1000, 2 * PAGE, 2 * PAGE });
	add_load(m, &(struct load){ 0, PAGE, 0x3000, PAGE, PAGE });
	write_made(m);
	open_fails(ERR_INVALID, "two of its loads differ near physical address 0x1000");
}
END_TEST

START_TEST(notes_find_their_vcpus)
{
	static const char info[] = "OSRELEASE=6.1\nPAGESIZE=4096\n";
	struct made *m = make();
	struct guest *g;
	const struct regs *regs;
	uint64_t value;
	uint32_t pid;
	size_t bytes;

	add_prstatus(m, 200, 0x2222);
	add_note(m, "OTHER", NT_PRSTATUS, info, 5);
	add_qemu(m, 0x1111, 0xaaaa000);
	add_qemu(m, 0x2222, 0xbbbb000);
	add_qemu(m, 0x3333, 0xcccc000); /* of no vCPU */
	add_note(m, "VMCOREINFO", 0, info, sizeof(info) - 1);
	add_load(m, &(struct load){ 0, 0, 0x1000, PAGE, PAGE });
	g = open_made(m);
	ck_assert_uint_eq(g->n_vcpus, 2);
	for (unsigned i = 0; i < 2; i++) {
		ok(guest_regs(g, i, &regs));
		ck_assert(regs_get(regs, X86_RIP, &value) && value == (i ? 0x2222 : 0x1111));
		ck_assert(regs_get(regs, X86_CR3, &value) && value == (i ? 0xbbbb000 : 0xaaaa000));
		ck_assert(g->ops->vcpu_pid(g, i, &pid) && pid == (i ? 200 : 100));
	}
	ck_assert_str_eq(g->ops->name, "core");
	ck_assert_int_eq(memcmp(g->ops->vmcoreinfo(g, &bytes), info, sizeof(info) - 1), 0);
	ck_assert_uint_eq(bytes, sizeof(info) - 1);
	guest_destroy(g);
}
END_TEST

/* The ELF specification aligns where a descriptor starts: behind 12 + 5 bytes that is at 24. */
START_TEST(notes_aligned_to_8)
{
	struct made *m = make();
	const struct regs *regs;
	struct guest *g;

	memmove(m->notes + 24, m->notes + 20, PRSTATUS_BYTES);
	memset(m->notes + 17, 0xff, 7);
	m->phdrs[0].p_filesz = 24 + PRSTATUS_BYTES;
	m->phdrs[0].p_align = 8;
	add_load(m, &(struct load){ 0, 0, 0x1000, PAGE, PAGE });
	g = open_made(m);
	ok(guest_regs(g, 0, &regs));
	ck_assert_uint_eq(regs_get_or(regs, X86_RIP, 0), 0x1111);
	guest_destroy(g);
}
END_TEST

START_TEST(a_core_is_read_only_and_stopped)
{
	struct made *m = make();
	struct guest *g;
	struct err *e;

	add_load(m, &(struct load){ 0, 0, 0x1000, PAGE, PAGE });
	g = open_made(m);
	ck_assert_int_eq(g->state, GUEST_STOPPED);
	ok(guest_stop(g));
	e = guest_resume(g);
	ck_assert(e && err_code(e) == ERR_UNSUPPORTED);
	err_destroy(e);
	e = guest_write_phys(g, 0, "x", 1);
	ck_assert(e && err_code(e) == ERR_UNSUPPORTED);
	err_destroy(e);
	guest_destroy(g);
}
END_TEST

START_TEST(a_core_that_shrinks)
{
	struct made *m = make();
	struct phys_reader mem;
	struct guest *g;
	struct err *e;
	char c;

	add_load(m, &(struct load){ 0, 0, 0x1000, 2 * PAGE, 2 * PAGE });
	g = open_made(m);
	ck_assert_int_eq(truncate(path, 0x2000), 0);
	mem = guest_phys_reader(g);
	e = mem.read(mem.ctx, PAGE, &c, 1);
	ck_assert(e && err_code(e) == ERR_GONE);
	err_destroy(e);
	ck_assert_uint_eq(word_at(g, 0), 0x1000);
	guest_destroy(g);
}
END_TEST

/* ---- refusals ---- */

static void not_core(struct made *m)
{
	m->ehdr.e_type = ET_EXEC;
}

static void other_machine(struct made *m)
{
	m->ehdr.e_machine = EM_SPARCV9;
}

static void other_class(struct made *m)
{
	m->ehdr.e_ident[EI_CLASS] = 3;
}

static void other_order(struct made *m)
{
	m->ehdr.e_ident[EI_DATA] = 0;
}

/* As one in which only the byte that tells the order is damaged: the headers are right by what it says now. */
static void order_of_another_machine(struct made *m)
{
	m->ehdr.e_machine = EM_S390;
}

static void no_loads(struct made *m)
{
	m->ehdr.e_phnum = 1;
}

static void no_prstatus(struct made *m)
{
	m->phdrs[0].p_filesz = 0;
}

static void phdrs_outside(struct made *m)
{
	m->ehdr.e_phoff = sizeof(*m) - 10;
}

static void phdrs_overflow(struct made *m)
{
	m->ehdr.e_phoff = UINT64_MAX - 10;
}

static void phdr_size(struct made *m)
{
	m->ehdr.e_phentsize = 32;
}

static void no_section(struct made *m)
{
	m->ehdr.e_phnum = PN_XNUM;
}

static void section_outside(struct made *m)
{
	m->ehdr.e_phnum = PN_XNUM;
	m->ehdr.e_shoff = sizeof(*m) - 1;
}

static void load_truncated(struct made *m)
{
	m->phdrs[1].p_filesz = m->phdrs[1].p_memsz = 5 * PAGE;
}

static void load_overflow(struct made *m)
{
	m->phdrs[1].p_offset = UINT64_MAX - 10;
}

static void load_too_long(struct made *m)
{
	m->phdrs[1].p_filesz = 2 * PAGE;
}

static void load_past_the_end(struct made *m)
{
	m->phdrs[1].p_paddr = UINT64_MAX - 10;
}

static void loads_of_everything(struct made *m)
{
	m->phdrs[1] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_memsz = 1ull << 63 };
	add_load(m, &(struct load){ 0, 1ull << 63, 0, 0, 1ull << 63 });
}

/* Each is as long as the file and agrees with the others, byte by byte. */
static void loads_without_end(struct made *m)
{
	memset(m->data, 0, sizeof(m->data));
	m->phdrs[1].p_filesz = m->phdrs[1].p_memsz = 3 * PAGE;
	for (unsigned i = 0; i < 3; i++)
		add_load(m, &(struct load){ 0, 0, 0x2000, 3 * PAGE - i * 8, 3 * PAGE });
}

static void notes_outside(struct made *m)
{
	m->phdrs[0].p_filesz = sizeof(*m);
}

static void note_cut_off(struct made *m)
{
	m->phdrs[0].p_filesz -= 4;
}

static void note_size(struct made *m)
{
	memset(m->notes + 4, 0xff, 4);
}

static const struct {
	void (*spoil)(struct made *m);
	enum err_code code;
	const char *text;
} REFUSALS[] = {
	{ not_core, ERR_INVALID, "is an ELF file but no core" },
	{ other_machine, ERR_UNSUPPORTED, "an architecture that is not supported (ELF machine 43)" },
	{ other_class, ERR_INVALID, "ELF class 3" },
	{ other_order, ERR_INVALID, "byte order 0" },
	{ order_of_another_machine, ERR_INVALID, "is corrupt: its byte order is not that of s390x" },
	{ no_loads, ERR_INVALID, "holds no memory" },
	{ no_prstatus, ERR_INVALID, "holds no vCPU" },
	{ phdrs_outside, ERR_INVALID, "is truncated" },
	{ phdrs_overflow, ERR_INVALID, "is corrupt" },
	{ phdr_size, ERR_INVALID, "is corrupt" },
	{ no_section, ERR_INVALID, "is corrupt" },
	{ section_outside, ERR_INVALID, "is truncated" },
	{ load_truncated, ERR_INVALID, "should have at least 24576 bytes and has 20480" },
	{ load_overflow, ERR_INVALID, "is corrupt" },
	{ load_too_long, ERR_INVALID, "is corrupt" },
	{ load_past_the_end, ERR_INVALID, "is corrupt" },
	{ loads_of_everything, ERR_INVALID, "is corrupt" },
	{ loads_without_end, ERR_INVALID, "is corrupt: its loads overlap" },
	{ notes_outside, ERR_INVALID, "is truncated" },
	{ note_cut_off, ERR_INVALID, "one of its notes is cut off" },
	{ note_size, ERR_INVALID, "one of its notes is cut off" },
};

START_TEST(corrupt_headers)
{
	struct made *m = make();

	add_load(m, &(struct load){ 0, 0, 0x1000, PAGE, PAGE });
	REFUSALS[_i].spoil(m);
	write_made(m);
	open_fails(REFUSALS[_i].code, REFUSALS[_i].text);
}
END_TEST

/* Each segment of notes is of a size that a core may have, and they are one. */
START_TEST(notes_without_end)
{
	struct made *m = make();

	for (unsigned i = 1; i < 4; i++)
		m->phdrs[i] = (Elf64_Phdr){ .p_type = PT_NOTE, .p_offset = sizeof(*m), .p_filesz = 30u << 20 };
	m->ehdr.e_phnum = 4;
	write_made(m);
	ck_assert_int_eq(truncate(path, sizeof(*m) + (30u << 20)), 0);
	open_fails(ERR_INVALID, "more than 0x4000000 bytes of notes");
}
END_TEST

static const struct {
	const char *text;
	enum err_code code;
	const char *refusal;
} FORMATS[] = {
	{ "", ERR_INVALID, "is no ELF file" },
	{ "\177EL", ERR_INVALID, "is no ELF file" },
	{ "#!/bin/sh", ERR_INVALID, "is no ELF file" },
	{ "KDUMP   \6", ERR_UNSUPPORTED, "kdump-compressed" },
	{ "\037\213\010", ERR_UNSUPPORTED, "gzip -d first" },
	{ "\050\265\057\375", ERR_UNSUPPORTED, "zstd -d first" },
	{ "makedumpfile\0\0\0\0\0\1", ERR_UNSUPPORTED, "makedumpfile -R" },
};

START_TEST(other_formats)
{
	write_file(FORMATS[_i].text, strlen(FORMATS[_i].text));
	open_fails(FORMATS[_i].code, FORMATS[_i].refusal);
}
END_TEST

START_TEST(no_file)
{
	open_fails(ERR_SYSTEM, "No such file");
	ck_assert_int_eq(mkdir(path, 0700), 0);
	open_fails(ERR_INVALID, "no regular file");
}
END_TEST

/* Every length up to head, and each byte before it wrong in three ways: an answer, no crash. */
static void cut_and_garble(uint8_t *file, size_t bytes, size_t head)
{
	for (size_t i = 0; i < head; i++) {
		uint8_t was = file[i];

		write_file(file, i);
		open_fails(ERR_INVALID, i < SELFMAG ? "no ELF file" : "is truncated");
		for (unsigned how = 1; how < 256; how += 127) {
			struct guest *g = NULL;
			struct err *e;

			file[i] = (uint8_t)(was ^ how);
			write_file(file, bytes);
			e = guest_open_core(path, &g);
			err_destroy(e);
			if (!e)
				guest_destroy(g);
		}
		file[i] = was;
	}
}

START_TEST(cut_and_garbled_at_every_byte)
{
	struct made *m = make();

	add_qemu(m, 0x1111, 0x1000);
	add_load(m, &(struct load){ 0, 0, 0x1000, PAGE, PAGE });
	finish_headers(m);
	cut_and_garble((uint8_t *)m, sizeof(*m),
		       offsetof(struct made, notes) + 2 * 12 + PRSTATUS_BYTES + QEMU_BYTES + 40);
	free(m);
}
END_TEST

/* ---- dump(core(dump)) ---- */

static void dump_to(struct guest *g, bool paging, const char *to)
{
	struct dump_options opt = { .paging = paging };
	struct guest_image *img = NULL;
	struct dump_plan *p = NULL;
	struct dump_sink *s = NULL;
	struct dump_job *job = NULL;

	ok(guest_image_create(g, &img));
	ok(dump_plan_create(img, &opt, &p));
	ok(dump_sink_open_path(to, dump_plan_data_bytes(p), &s));
	ok(dump_job_create(p, s, &job));
	while (dump_job_step(job))
		;
	ck_assert_ptr_null(dump_job_error(job));
	dump_job_destroy(job);
	guest_image_destroy(img);
}

/* Leaves its vCPUs as they are in one mode: 32-bit ones have their own notes. */
static struct guest *source(int kind)
{
	struct guest *g = fake_guest_create(kind & 2 ? 3 : 1);

	if (kind & 4)
		for (unsigned i = 0; i < g->n_vcpus; i++) {
			regs_set(fake_of(g)->regs[i], X86_EFER, 0);
			regs_set(fake_of(g)->regs[i], X86_CR0, 0);
			regs_set(fake_of(g)->regs[i], X86_CR4, 0);
		}
	return g;
}

START_TEST(a_dump_of_a_core_is_the_same_file)
{
	struct guest *g = source(_i);
	char again[160], command[400];

	snprintf(again, sizeof(again), "%s/again", dir);
	dump_to(g, _i & 1, path);
	guest_destroy(g);
	g = open_core();
	g->os = linux_os_create(g);
	dump_to(g, _i & 1, again);
	guest_destroy(g);
	snprintf(command, sizeof(command), "cmp %s %s", path, again);
	ck_assert_int_eq(system(command), 0);
}
END_TEST

START_TEST(a_core_has_what_the_guest_had)
{
	struct guest *g = source(2), *core;
	struct mapping m;

	dump_to(g, false, path);
	core = open_core();
	ck_assert_uint_eq(core->n_vcpus, g->n_vcpus);
	ck_assert_uint_eq(core->n_blocks, g->n_blocks);
	for (size_t b = 0; b < g->n_blocks; b++) {
		ck_assert_uint_eq(core->blocks[b].gpa, g->blocks[b].gpa);
		ck_assert_uint_eq(core->blocks[b].bytes, g->blocks[b].bytes);
		for (uint64_t i = 0; i < g->blocks[b].bytes; i += 8)
			ck_assert_uint_eq(word_at(core, g->blocks[b].gpa + i), word_at(g, g->blocks[b].gpa + i));
	}
	ok(guest_translate(core, 0, FAKE_GVA, &m));
	ck_assert_uint_eq(m.gpa, FAKE_GVA_GPA);
	guest_destroy(core);
	guest_destroy(g);
}
END_TEST

/* The file's holes are the guest's untouched pages. */
START_TEST(holes_hold_no_data)
{
	const struct mem_block block = { .gpa = 0x10000000, .bytes = 16u << 20 };
	struct guest *g = fake_create(&arch_x86_64, ORDER_LITTLE, 1, &block, 1);
	uint64_t gpa = 0, bytes = 0;

	for (unsigned r = 0; r < X86_N_REGS; r++)
		regs_set(fake_of(g)->regs[0], r, 0);
	*fake_at(g, 0x10800000) = 1;
	dump_to(g, false, path);
	guest_destroy(g);
	g = open_core();
	ok(guest_next_data(g, 0, 0, &gpa, &bytes));
	ck_assert_uint_le(gpa, 0x10800000);
	ck_assert_uint_ge(gpa, 0x10000000 + (7u << 20));
	ck_assert_uint_le(bytes, 2u << 20);
	ok(guest_next_data(g, gpa + bytes, 0, &gpa, &bytes));
	ck_assert_uint_eq(bytes, 0);
	guest_destroy(g);
}
END_TEST

/* ---- cores of the other architectures ---- */

#define PPC_PRSTATUS_BYTES 504u
#define PPC_PRSTATUS_NIP (112u + 32 * 8)
#define PPC_NOTE_BYTES (12u + 8 + PPC_PRSTATUS_BYTES)
#define PPC_NIP 0xc000000000123400ull
#define PPC_PID 0x01000000u

/* A ppc64 core in this order: headers, a PRSTATUS for each of two vCPUs, and a page at 0x1000. */
static void write_ppc_core(enum byte_order order, const uint64_t *msr)
{
	const struct { unsigned at, bytes; uint64_t value; } fields[] = {
		{ 16, 2, ET_CORE }, { 18, 2, EM_PPC64 }, { 20, 4, EV_CURRENT }, { 32, 8, 64 },
		{ 52, 2, 64 }, { 54, 2, 56 }, { 56, 2, 2 },
		{ 64, 4, PT_NOTE }, { 64 + 8, 8, 0x200 }, { 64 + 32, 8, 2 * PPC_NOTE_BYTES },
		{ 120, 4, PT_LOAD }, { 120 + 8, 8, 0x1000 }, { 120 + 32, 8, PAGE }, { 120 + 40, 8, PAGE },
	};
	uint8_t file[0x1000 + PAGE] = { 0x7f, 'E', 'L', 'F', ELFCLASS64,
					order == ORDER_BIG ? ELFDATA2MSB : ELFDATA2LSB, EV_CURRENT };

	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		store_uint(file + fields[i].at, fields[i].bytes, order, fields[i].value);
	for (unsigned i = 0; i < 2; i++) {
		uint8_t *note = file + 0x200 + i * PPC_NOTE_BYTES, *desc = note + 20;

		store_uint(note, 4, order, 5);
		store_uint(note + 4, 4, order, PPC_PRSTATUS_BYTES);
		store_uint(note + 8, 4, order, NT_PRSTATUS);
		memcpy(note + 12, "CORE", 5);
		store_uint(desc + PRSTATUS_PID, 4, order, PPC_PID);
		store_uint(desc + PPC_PRSTATUS_NIP, 8, order, PPC_NIP + i);
		store_uint(desc + PPC_PRSTATUS_NIP + 8, 8, order, msr[i]);
	}
	write_file(file, sizeof(file));
}

static const struct {
	enum byte_order file;
	uint64_t msr[2];
	enum byte_order guest;
} PPC_ORDERS[] = {
	{ ORDER_LITTLE, { 1, 1 }, ORDER_LITTLE },
	{ ORDER_LITTLE, { 0, 0 }, ORDER_LITTLE },
	{ ORDER_BIG, { 0, 0 }, ORDER_BIG },
	{ ORDER_BIG, { 1, 1 }, ORDER_LITTLE }, /* QEMU's, with POWER9 */
	{ ORDER_BIG, { 0, 1 }, ORDER_LITTLE },
};

START_TEST(the_guest_decides_the_order)
{
	enum byte_order want = PPC_ORDERS[_i].guest;
	uint8_t nip[8];
	struct guest *g;

	write_ppc_core(PPC_ORDERS[_i].file, PPC_ORDERS[_i].msr);
	g = open_core();
	ck_assert_int_eq(g->order, want);
	for (unsigned i = 0; i < 2; i++) {
		const struct regs *regs;
		uint32_t pid;

		ok(guest_regs(g, i, &regs));
		ck_assert_int_eq(regs->order, want);
		store_uint(nip, 8, want, PPC_NIP + i);
		ck_assert_mem_eq(regs_bytes(regs, PPC64_PC), nip, 8);
		/* 1 in the wrong order is no pid. */
		ck_assert(!g->ops->vcpu_pid(g, i, &pid));
	}
	guest_destroy(g);
}
END_TEST

static const struct {
	const struct arch *arch;
	enum byte_order order;
	unsigned ident; /* EI_CLASS and EI_DATA, a digit each */
} FILES[] = {
	{ &arch_x86_64, ORDER_LITTLE, 0x11 },
	{ &arch_ppc64, ORDER_LITTLE, 0x21 },
	{ &arch_ppc64, ORDER_BIG, 0x22 },
	{ &arch_s390x, ORDER_BIG, 0x22 },
};

/* As above, of a dump in each class and byte order. */
START_TEST(dump_cut_and_garbled_at_every_byte)
{
	const struct mem_block block = { .bytes = PAGE };
	struct guest *g = fake_create(FILES[_i].arch, FILES[_i].order, 1, &block, 1);
	static uint8_t file[1u << 18];
	size_t bytes, head;
	FILE *f;

	for (unsigned r = 0; r < g->arch->n_regs; r++)
		regs_set(fake_of(g)->regs[0], r, 0);
	dump_to(g, false, path);
	guest_destroy(g);
	f = fopen(path, "rb");
	ck_assert_ptr_nonnull(f);
	bytes = fread(file, 1, sizeof(file), f);
	fclose(f);
	ck_assert_uint_eq(file[EI_CLASS] << 4 | file[EI_DATA], FILES[_i].ident);
	for (head = bytes - PAGE; !file[head - 1]; head--)
		;
	cut_and_garble(file, bytes, head);
}
END_TEST

/* Gives the notes of Linux to the owner under which QEMU wrote those of ppc64 for years. */
static void rename_owners(void)
{
	FILE *f = fopen(path, "r+b");
	uint8_t head[0x1000];

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fread(head, 1, sizeof(head), f), sizeof(head));
	for (uint8_t *at = head; (at = memmem(at, (size_t)(head + sizeof(head) - at), "LINUX", 6)); at++) {
		store_uint(at - 12, 4, ORDER_BIG, sizeof("CORE"));
		memcpy(at, "CORE\0\0\0", 8);
	}
	rewind(f);
	ck_assert_uint_eq(fwrite(head, 1, sizeof(head), f), sizeof(head));
	fclose(f);
}

START_TEST(vectors_of_either_owner)
{
	const struct mem_block block = { .bytes = PAGE };
	struct guest *g = fake_create(&arch_ppc64, ORDER_BIG, 1, &block, 1);
	const struct regs *regs;

	for (unsigned r = 0; r < PPC64_N_REGS; r++)
		regs_set(fake_of(g)->regs[0], r, 0x1000 + r);
	regs_set(fake_of(g)->regs[0], PPC64_MSR, 0);
	regs_set(fake_of(g)->regs[0], PPC64_LPCR, 0);
	dump_to(g, false, path);
	guest_destroy(g);
	if (_i)
		rename_owners();
	g = open_core();
	ok(guest_regs(g, 0, &regs));
	ck_assert_uint_eq(regs_get_or(regs, PPC64_VR31, 0), 0x1000 + PPC64_VR31);
	ck_assert_uint_eq(regs_get_or(regs, PPC64_VRSAVE, 0), 0x1000 + PPC64_VRSAVE);
	ck_assert_uint_eq(regs_get_or(regs, PPC64_VS31H, 0), 0x1000 + PPC64_VS31H);
	guest_destroy(g);
}
END_TEST

static Suite *core_suite(void)
{
	Suite *s = suite_create("core");
	TCase *t = tcase_create("core");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, memory_is_where_the_headers_say);
	tcase_add_test(t, loads_of_the_same_frames_are_one);
	tcase_add_test(t, copies_that_agree_are_one);
	tcase_add_test(t, loads_that_contradict);
	tcase_add_test(t, notes_find_their_vcpus);
	tcase_add_test(t, notes_aligned_to_8);
	tcase_add_test(t, a_core_is_read_only_and_stopped);
	tcase_add_test(t, a_core_that_shrinks);
	tcase_add_loop_test(t, corrupt_headers, 0, ARRAY_LEN(REFUSALS));
	tcase_add_test(t, notes_without_end);
	tcase_add_loop_test(t, other_formats, 0, ARRAY_LEN(FORMATS));
	tcase_add_test(t, no_file);
	tcase_add_test(t, cut_and_garbled_at_every_byte);
	tcase_add_loop_test(t, a_dump_of_a_core_is_the_same_file, 0, 8);
	tcase_add_test(t, a_core_has_what_the_guest_had);
	tcase_add_test(t, holes_hold_no_data);
	tcase_add_loop_test(t, the_guest_decides_the_order, 0, ARRAY_LEN(PPC_ORDERS));
	tcase_add_loop_test(t, dump_cut_and_garbled_at_every_byte, 0, ARRAY_LEN(FILES));
	tcase_add_loop_test(t, vectors_of_either_owner, 0, 2);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return suite_run(core_suite());
}
