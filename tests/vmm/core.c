/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/vmm/core.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "tests/vmm/x86.h"

#define PAGE_BYTES 4096u
#define CHUNK_BYTES (64 * PAGE_BYTES)
#define MAX_NOTE_BYTES (1u << 20)

#define QEMU_NOTE_BYTES 440u

static void read_at(const struct core *c, uint64_t offset, void *ret, size_t bytes)
{
	ssize_t n = pread(c->fd, ret, bytes, offset);

	if (n < 0)
		die(STATUS_SETUP, "%s: %m", c->path);
	if ((size_t)n != bytes)
		die(STATUS_SETUP, "%s ends inside of the %zu bytes at %#llx", c->path, bytes,
		    (unsigned long long)offset);
}

static Elf64_Ehdr read_header(const struct core *c)
{
	static const unsigned char ident[] = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB};
	Elf64_Ehdr eh;

	read_at(c, 0, &eh, sizeof(eh));
	if (memcmp(eh.e_ident, ident, sizeof(ident)) || eh.e_type != ET_CORE || eh.e_machine != EM_X86_64)
		die(STATUS_SETUP, "%s is no ELF64 core of x86_64", c->path);
	if (eh.e_phentsize != sizeof(Elf64_Phdr) || eh.e_phnum == PN_XNUM)
		die(STATUS_SETUP, "%s: %u program headers of %u bytes", c->path, eh.e_phnum, eh.e_phentsize);
	return eh;
}

static void add_load(struct core *c, const Elf64_Phdr *ph)
{
	if (ph->p_filesz > ph->p_memsz || ph->p_paddr + ph->p_memsz < ph->p_paddr ||
	    ph->p_offset > c->file_bytes || ph->p_filesz > c->file_bytes - ph->p_offset)
		die(STATUS_SETUP, "%s: the load at %#llx does not fit into the file, or into itself", c->path,
		    (unsigned long long)ph->p_paddr);
	if (!ph->p_memsz)
		return;
	c->loads = xreallocarray(c->loads, c->n_loads + 1, sizeof(*c->loads));
	c->loads[c->n_loads++] = (struct core_load){ph->p_paddr, ph->p_memsz, ph->p_offset, ph->p_filesz};
}

static int by_gpa(const void *a, const void *b)
{
	uint64_t left = ((const struct core_load *)a)->gpa, right = ((const struct core_load *)b)->gpa;

	return (left > right) - (left < right);
}

/* A PRSTATUS begins a vCPU, whose other notes follow it; QEMU's stand together behind them all. */
struct note_reader {
	struct core *core;
	unsigned n_prstatus, n_qemu;
};

static struct core_cpu *cpu_at(const struct note_reader *r, unsigned n)
{
	if (n >= MAX_CPUS)
		die(STATUS_SETUP, "%s: more than %u vCPUs, or notes before the first PRSTATUS", r->core->path, MAX_CPUS);
	return &r->core->cpus[n];
}

static void take_note(struct note_reader *r, const char *owner, unsigned type, const void *desc, size_t bytes)
{
	if (!strcmp(owner, "CORE") && type == NT_PRSTATUS)
		r->n_prstatus++;
	else if (!strcmp(owner, "CORE") && type == NT_FPREGSET && bytes == XSTATE_BV)
		cpu_at(r, r->n_prstatus - 1)->fpregs = desc;
	else if (!strcmp(owner, "LINUX") && type == NT_X86_XSTATE && bytes == XSAVE_AVX_END)
		cpu_at(r, r->n_prstatus - 1)->xstate = desc;
	else if (!strcmp(owner, "QEMU") && bytes == QEMU_NOTE_BYTES)
		cpu_at(r, r->n_qemu++)->qemu = desc;
}

static size_t padded(size_t bytes)
{
	return (bytes + 3) & ~(size_t)3;
}

/* The first note of what is left; returns how many bytes it takes. */
static size_t read_note(struct note_reader *r, const char *at, size_t left)
{
	const Elf64_Nhdr *nh = (const Elf64_Nhdr *)at;
	const char *name = at + sizeof(*nh);
	size_t name_bytes, desc_bytes;

	if (left < sizeof(*nh))
		die(STATUS_SETUP, "%s: %zu bytes behind the last note", r->core->path, left);
	left -= sizeof(*nh);
	name_bytes = padded(nh->n_namesz);
	desc_bytes = padded(nh->n_descsz);
	if (!nh->n_namesz || name_bytes > left || desc_bytes > left - name_bytes || name[nh->n_namesz - 1])
		die(STATUS_SETUP, "%s: a note is larger than the rest of them", r->core->path);
	take_note(r, name, nh->n_type, name + name_bytes, nh->n_descsz);
	return sizeof(*nh) + name_bytes + desc_bytes;
}

static void read_notes(struct core *c, const Elf64_Phdr *ph)
{
	struct note_reader r = {.core = c};

	if (c->notes || ph->p_filesz > MAX_NOTE_BYTES)
		die(STATUS_SETUP, "%s has several notes segments, or one of %llu bytes", c->path,
		    (unsigned long long)ph->p_filesz);
	c->notes = xmalloc(ph->p_filesz);
	read_at(c, ph->p_offset, c->notes, ph->p_filesz);
	for (size_t at = 0; at < ph->p_filesz;)
		at += read_note(&r, c->notes + at, ph->p_filesz - at);
	if (!r.n_qemu || r.n_qemu != r.n_prstatus)
		die(STATUS_SETUP, "%s has %u PRSTATUS notes, and %u of QEMU's", c->path, r.n_prstatus, r.n_qemu);
	c->n_cpus = r.n_qemu;
}

struct core *core_open(const char *path)
{
	struct core *c = xcalloc(1, sizeof(*c));
	struct stat st;
	Elf64_Ehdr eh;

	c->path = path;
	c->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (c->fd < 0 || fstat(c->fd, &st) < 0)
		die(STATUS_SETUP, "%s: %m", path);
	c->file_bytes = st.st_size;
	eh = read_header(c);
	for (unsigned i = 0; i < eh.e_phnum; i++) {
		Elf64_Phdr ph;

		read_at(c, eh.e_phoff + i * sizeof(ph), &ph, sizeof(ph));
		if (ph.p_type == PT_LOAD)
			add_load(c, &ph);
		else if (ph.p_type == PT_NOTE)
			read_notes(c, &ph);
	}
	if (!c->n_cpus || !c->n_loads)
		die(STATUS_SETUP, "%s has no vCPU or no memory", path);
	qsort(c->loads, c->n_loads, sizeof(*c->loads), by_gpa);
	return c;
}

/* Pages count from the start of the load, which need not be at a page of the file. */
static void copy_pages(const char *from, char *to, size_t bytes)
{
	static const char zeros[PAGE_BYTES];

	for (size_t at = 0; at < bytes; at += PAGE_BYTES) {
		size_t n = MIN(bytes - at, PAGE_BYTES);

		if (memcmp(from + at, zeros, n))
			memcpy(to + at, from + at, n);
	}
}

/* Where in the load, at a page of it, the file has anything at or after at; file_bytes: nowhere. */
static uint64_t next_data(const struct core *c, const struct core_load *load, uint64_t at)
{
	off_t found = lseek(c->fd, load->offset + at, SEEK_DATA);

	if (found < 0 && errno != ENXIO)
		die(STATUS_SETUP, "%s: SEEK_DATA: %m", c->path);
	if (found < 0 || (uint64_t)found - load->offset >= load->file_bytes)
		return load->file_bytes;
	return ((uint64_t)found - load->offset) & ~(uint64_t)(PAGE_BYTES - 1);
}

void core_read_load(const struct core *c, const struct core_load *load, char *hva)
{
	char *chunk = xmalloc(CHUNK_BYTES);
	uint64_t at = 0;

	while ((at = next_data(c, load, at)) < load->file_bytes) {
		size_t n = MIN(load->file_bytes - at, CHUNK_BYTES);

		read_at(c, load->offset + at, chunk, n);
		copy_pages(chunk, hva + at, n);
		at += n;
	}
	free(chunk);
}
