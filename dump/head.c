/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <gelf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "dump/plan.h"

#define PHDRS_A_WRITE 512u

/*
 * The ELF headers. libelf knows both classes and both byte orders, but makes no
 * file whose only section is the one that holds a count over 16 bits. So
 * each header is made by libelf and put in its place here.
 */
struct head {
	const struct dump_plan *plan;
	struct dump_head_layout at;
	Elf *elf; /* never written by libelf */
};

static size_t type_bytes(int elf_class, Elf_Type type, size_t n)
{
	return elf_class == ELFCLASS64 ? elf64_fsize(type, n, EV_CURRENT) : elf32_fsize(type, n, EV_CURRENT);
}

struct dump_head_layout dump_head_layout(int elf_class, size_t n_loads, size_t notes_bytes)
{
	size_t n_phdrs = n_loads + 1;
	struct dump_head_layout at = { .phdrs = type_bytes(elf_class, ELF_T_EHDR, 1) };

	at.notes = at.phdrs + type_bytes(elf_class, ELF_T_PHDR, n_phdrs);
	if (n_phdrs >= PN_XNUM) {
		at.section = at.notes;
		at.notes += type_bytes(elf_class, ELF_T_SHDR, 1);
	}
	at.end = at.notes + notes_bytes;
	return at;
}

static struct err *elf_error(void)
{
	return err_new(ERR_INVALID, "cannot make the ELF headers: %s", elf_errmsg(-1));
}

/* Headers as the class has them in memory, to the file's byte order. */
static struct err *write_headers(const struct head *h, uint64_t offset, Elf_Type type, void *headers, size_t n)
{
	bool big = h->plan->img->order == ORDER_BIG;
	Elf_Data from = {
		.d_buf = headers,
		.d_type = type,
		.d_version = EV_CURRENT,
		.d_size = type_bytes(h->plan->elf_class, type, n),
	};
	Elf_Data to = from;
	struct err *e;

	to.d_buf = xmalloc(to.d_size);
	if (headers && gelf_xlatetof(h->elf, &to, &from, big ? ELFDATA2MSB : ELFDATA2LSB))
		e = dump_head_put(h->plan, to.d_buf, to.d_size, offset);
	else
		e = elf_error();
	free(to.d_buf);
	return e;
}

static void fill_ident(const struct dump_plan *p, unsigned char *ident)
{
	memcpy(ident, ELFMAG, SELFMAG);
	ident[EI_CLASS] = (unsigned char)p->elf_class;
	ident[EI_DATA] = p->img->order == ORDER_BIG ? ELFDATA2MSB : ELFDATA2LSB;
	ident[EI_VERSION] = EV_CURRENT;
}

static struct err *write_ehdr(const struct head *h)
{
	const struct dump_plan *p = h->plan;
	GElf_Ehdr ehdr = {
		.e_type = ET_CORE,
		.e_machine = p->machine,
		.e_version = EV_CURRENT,
		.e_phoff = h->at.phdrs,
		.e_shoff = h->at.section,
		.e_flags = p->img->arch->elf_flags(p->img->order),
		.e_ehsize = (uint16_t)type_bytes(p->elf_class, ELF_T_EHDR, 1),
		.e_phentsize = (uint16_t)type_bytes(p->elf_class, ELF_T_PHDR, 1),
		.e_phnum = (uint16_t)MIN(p->loads.n + 1, PN_XNUM),
	};
	void *raw;

	fill_ident(p, ehdr.e_ident);
	if (h->at.section) {
		ehdr.e_shentsize = (uint16_t)type_bytes(p->elf_class, ELF_T_SHDR, 1);
		ehdr.e_shnum = 1;
	}
	if (!gelf_update_ehdr(h->elf, &ehdr))
		return elf_error();
	raw = p->elf_class == ELFCLASS64 ? (void *)elf64_getehdr(h->elf) : (void *)elf32_getehdr(h->elf);
	return write_headers(h, 0, ELF_T_EHDR, raw, 1);
}

static GElf_Phdr note_phdr(const struct head *h)
{
	return (GElf_Phdr){
		.p_type = PT_NOTE,
		.p_offset = h->at.notes,
		.p_filesz = h->plan->notes.len,
		.p_memsz = h->plan->notes.len,
		.p_align = 4,
	};
}

/*
 * Without p_align, though all is aligned: by that crash tells kdump's files, in
 * which it looks for the kernel's slide, from netdump's.
 */
static GElf_Phdr load_phdr(const struct head *h, const struct mapping *m)
{
	return (GElf_Phdr){
		.p_type = PT_LOAD,
		.p_flags = PF_R | PF_W | PF_X,
		.p_offset = dump_plan_offset(h->plan, m->gpa),
		.p_vaddr = m->gva,
		.p_paddr = m->gpa,
		.p_filesz = m->bytes,
		.p_memsz = m->bytes,
	};
}

/* n program headers from the one with this index on; the note's comes first. */
static struct err *write_some_phdrs(const struct head *h, size_t first, size_t n)
{
	int elf_class = h->plan->elf_class;
	void *raw;

	for (size_t i = 0; i < n; i++) {
		GElf_Phdr phdr = first + i ? load_phdr(h, &h->plan->loads.v[first + i - 1]) : note_phdr(h);

		if (!gelf_update_phdr(h->elf, (int)i, &phdr))
			return elf_error();
	}
	raw = elf_class == ELFCLASS64 ? (void *)elf64_getphdr(h->elf) : (void *)elf32_getphdr(h->elf);
	return write_headers(h, h->at.phdrs + type_bytes(elf_class, ELF_T_PHDR, first), ELF_T_PHDR, raw, n);
}

static struct err *write_phdrs(const struct head *h)
{
	size_t n = h->plan->loads.n + 1;
	struct err *e = NULL;

	if (!gelf_newphdr(h->elf, PHDRS_A_WRITE))
		return elf_error();
	for (size_t first = 0; !e && first < n; first += PHDRS_A_WRITE)
		e = write_some_phdrs(h, first, MIN(n - first, PHDRS_A_WRITE));
	return e;
}

/* Section header 0 holds the number of program headers where 16 bits do not. */
static struct err *write_section(const struct head *h)
{
	GElf_Shdr shdr = { .sh_type = SHT_NULL, .sh_info = (uint32_t)h->plan->loads.n + 1 };
	Elf_Scn *scn;
	void *raw;

	if (!h->at.section)
		return NULL;
	scn = elf_newscn(h->elf);
	if (!scn || !gelf_update_shdr(scn, &shdr))
		return elf_error();
	raw = h->plan->elf_class == ELFCLASS64 ? (void *)elf64_getshdr(scn) : (void *)elf32_getshdr(scn);
	return write_headers(h, h->at.section, ELF_T_SHDR, raw, 1);
}

static struct err *write_head(const struct head *h)
{
	struct err *e;

	if (!h->elf || !gelf_newehdr(h->elf, h->plan->elf_class))
		return elf_error();
	e = write_phdrs(h);
	if (!e)
		e = write_section(h);
	if (!e)
		e = write_ehdr(h);
	return e ? e : dump_head_put(h->plan, h->plan->notes.data, h->plan->notes.len, h->at.notes);
}

struct err *dump_head_create(struct dump_plan *p)
{
	p->head_fd = memfd_create("vmcore headers", MFD_CLOEXEC);
	return p->head_fd >= 0 ? NULL : err_sys(errno, "cannot make a file in memory for the headers");
}

/* A limit of a file's size is one of files in memory too: it is the call for the rest that says so. */
struct err *dump_head_put(const struct dump_plan *p, const void *data, size_t bytes, uint64_t offset)
{
	size_t done = 0;
	ssize_t n = 0;

	for (; done < bytes; done += (size_t)n) {
		n = pwrite(p->head_fd, (const char *)data + done, bytes - done, (off_t)(offset + done));
		if (n <= 0)
			return err_sys(n < 0 ? errno : ENOSPC, "cannot keep %zu bytes of headers in memory", bytes);
	}
	return NULL;
}

struct err *dump_head_write(struct dump_plan *p)
{
	struct head h = { .plan = p, .at = dump_head_layout(p->elf_class, p->loads.n, p->notes.len) };
	struct err *e = dump_head_create(p);

	if (e)
		return e;
	elf_version(EV_CURRENT);
	h.elf = elf_begin(p->head_fd, ELF_C_WRITE, NULL);
	e = write_head(&h);
	elf_end(h.elf);
	return e;
}
