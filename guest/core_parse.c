/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "guest/core.h"

/* More than any real core: 8,192 vCPUs of x86_64 have some 16 MiB of notes. */
#define MAX_NOTE_BYTES (64u << 20)
#define PHDRS_A_READ 512u

/* Where a header of either class has a field. */
struct elf_field {
	uint8_t at32, bytes32, at64, bytes64;
};

#define ELF_FIELD(type, member)                                                     \
	((struct elf_field){ offsetof(Elf32_##type, member),                        \
			     sizeof(((Elf32_##type *)NULL)->member),                \
			     offsetof(Elf64_##type, member),                        \
			     sizeof(((Elf64_##type *)NULL)->member) })

#define HEADER_BYTES(c, type) ((c)->elf_class == ELFCLASS64 ? sizeof(Elf64_##type) : sizeof(Elf32_##type))

static uint64_t get(const struct core *c, const uint8_t *header, struct elf_field f)
{
	if (c->elf_class == ELFCLASS64)
		return load_uint(header + f.at64, f.bytes64, c->order);
	return load_uint(header + f.at32, f.bytes32, c->order);
}

static struct err *truncated(const struct core *c, uint64_t offset, uint64_t bytes)
{
	if (bytes > UINT64_MAX - offset)
		return err_new(ERR_INVALID, "%s is corrupt: a header points to 0x%" PRIx64 " bytes at 0x%" PRIx64, c->path,
			       bytes, offset);
	return err_new(ERR_INVALID, "%s is truncated: it should have at least %" PRIu64 " bytes and has %" PRIu64
		       "; copy it again", c->path, offset + bytes, c->file_bytes);
}

static bool is_in_file(const struct core *c, uint64_t offset, uint64_t bytes)
{
	return offset <= c->file_bytes && bytes <= c->file_bytes - offset;
}

static struct err *read_part(const struct core *c, uint64_t offset, void *ret, size_t bytes)
{
	return is_in_file(c, offset, bytes) ? core_pread(c, offset, ret, bytes) : truncated(c, offset, bytes);
}

static struct err *check_file(struct core *c)
{
	struct stat st;

	if (fstat(c->fd, &st) < 0)
		return err_sys(errno, "cannot open the core %s", c->path);
	if (!S_ISREG(st.st_mode))
		return err_new(ERR_INVALID, "%s is no regular file", c->path);
	c->file_bytes = c->comparable_bytes = (uint64_t)st.st_size;
	return NULL;
}

/* The formats of vmcores that are no ELF, by how they start, and the way to one that is. */
static const struct {
	const char *magic;
	const char *text;
} OTHER_FORMATS[] = {
	{ "KDUMP   ", "is a kdump-compressed dump; crash and drgn read it, and to be read here the guest must be dumped "
		      "again as ELF (without --format; QEMU: dump-guest-memory without -z, -l or -s)" },
	{ "DISKDUMP", "is a diskdump; crash reads it" },
	{ "\x1f\x8b", "is compressed; unpack it with gzip -d first" },
	{ "\x28\xb5\x2f\xfd", "is compressed; unpack it with zstd -d first" },
	{ "makedumpfile", "is a flattened dump; put it together with makedumpfile -R NEWFILE < FILE first" },
};

static struct err *not_elf(const struct core *c, const uint8_t *ident, size_t bytes)
{
	for (size_t i = 0; i < ARRAY_LEN(OTHER_FORMATS); i++)
		if (strlen(OTHER_FORMATS[i].magic) <= bytes &&
		    !memcmp(ident, OTHER_FORMATS[i].magic, strlen(OTHER_FORMATS[i].magic)))
			return err_new(ERR_UNSUPPORTED, "%s %s", c->path, OTHER_FORMATS[i].text);
	return err_new(ERR_INVALID, "%s is no ELF file", c->path);
}

static struct err *parse_ident(struct core *c)
{
	uint8_t ident[EI_NIDENT] = { 0 };
	size_t bytes = (size_t)MIN(c->file_bytes, sizeof(ident));
	struct err *e = core_pread(c, 0, ident, bytes);

	if (e)
		return e;
	if (bytes < SELFMAG || memcmp(ident, ELFMAG, SELFMAG))
		return not_elf(c, ident, bytes);
	c->elf_class = ident[EI_CLASS];
	c->order = ident[EI_DATA] == ELFDATA2MSB ? ORDER_BIG : ORDER_LITTLE;
	if (bytes < sizeof(ident))
		return truncated(c, 0, sizeof(ident));
	if ((c->elf_class != ELFCLASS32 && c->elf_class != ELFCLASS64) ||
	    (ident[EI_DATA] != ELFDATA2LSB && ident[EI_DATA] != ELFDATA2MSB))
		return err_new(ERR_INVALID, "%s is corrupt: ELF class %u, byte order %u", c->path,
			       ident[EI_CLASS], ident[EI_DATA]);
	return NULL;
}

static struct err *parse_machine(struct core *c, const uint8_t *ehdr)
{
	c->machine = (uint16_t)get(c, ehdr, ELF_FIELD(Ehdr, e_machine));
	if (get(c, ehdr, ELF_FIELD(Ehdr, e_type)) != ET_CORE)
		return err_new(ERR_INVALID, "%s is an ELF file but no core", c->path);
	c->arch = arch_by_elf(c->machine);
	if (!c->arch)
		return err_new(ERR_UNSUPPORTED, "%s is of an architecture that is not supported (ELF machine %u)",
			       c->path, c->machine);
	c->group_vcpus = xcalloc(arch_notes(c->arch, c->machine)->n_groups, sizeof(*c->group_vcpus));
	return NULL;
}

/* A count over 16 bits stands in the first section header. */
static struct err *count_phdrs(const struct core *c, const uint8_t *ehdr, uint64_t *ret)
{
	uint64_t shoff = get(c, ehdr, ELF_FIELD(Ehdr, e_shoff));
	uint8_t shdr[sizeof(Elf64_Shdr)];
	struct err *e;

	*ret = get(c, ehdr, ELF_FIELD(Ehdr, e_phnum));
	if (*ret != PN_XNUM)
		return NULL;
	if (!shoff)
		return err_new(ERR_INVALID, "%s is corrupt: the number of its program headers is missing", c->path);
	e = read_part(c, shoff, shdr, HEADER_BYTES(c, Shdr));
	if (!e)
		*ret = get(c, shdr, ELF_FIELD(Shdr, sh_info));
	return e;
}

static struct err *parse_note_segment(struct core *c, uint64_t offset, uint64_t bytes, uint64_t align)
{
	struct err *e;
	void *data;

	if (!is_in_file(c, offset, bytes))
		return truncated(c, offset, bytes);
	if (bytes > MAX_NOTE_BYTES - c->note_bytes)
		return err_new(ERR_INVALID, "%s is corrupt: it has more than 0x%x bytes of notes", c->path,
			       MAX_NOTE_BYTES);
	c->note_bytes += bytes;
	data = xmalloc((size_t)bytes);
	e = core_pread(c, offset, data, (size_t)bytes);
	if (!e)
		e = core_parse_notes(c, data, (size_t)bytes, align == 8 ? 8 : 4);
	free(data);
	return e;
}

/* All ones, in the width of the class: an address or offset that there is not. */
static bool is_absent(const struct core *c, uint64_t value)
{
	return value == (c->elf_class == ELFCLASS64 ? UINT64_MAX : UINT32_MAX);
}

static struct err *parse_load(struct core *c, const uint8_t *phdr)
{
	struct core_load load = {
		.gpa = get(c, phdr, ELF_FIELD(Phdr, p_paddr)),
		.offset = get(c, phdr, ELF_FIELD(Phdr, p_offset)),
		.file_bytes = get(c, phdr, ELF_FIELD(Phdr, p_filesz)),
		.bytes = get(c, phdr, ELF_FIELD(Phdr, p_memsz)),
	};

	/* Virtual memory that is nowhere, and what a filter of QEMU's left out. */
	if (!load.bytes || is_absent(c, load.gpa) || is_absent(c, load.offset))
		return NULL;
	if (load.file_bytes > load.bytes || load.gpa + (load.bytes - 1) < load.gpa)
		return err_new(ERR_INVALID, "%s is corrupt: a load at 0x%" PRIx64 " has 0x%" PRIx64
			       " bytes of which 0x%" PRIx64 " are in the file",
			       c->path, load.gpa, load.bytes, load.file_bytes);
	if (load.file_bytes && !is_in_file(c, load.offset, load.file_bytes))
		return truncated(c, load.offset, load.file_bytes);
	core_add_load(c, &load);
	return NULL;
}

static struct err *parse_phdr(struct core *c, const uint8_t *phdr)
{
	switch (get(c, phdr, ELF_FIELD(Phdr, p_type))) {
	case PT_LOAD:
		return parse_load(c, phdr);
	case PT_NOTE:
		return parse_note_segment(c, get(c, phdr, ELF_FIELD(Phdr, p_offset)),
					  get(c, phdr, ELF_FIELD(Phdr, p_filesz)),
					  get(c, phdr, ELF_FIELD(Phdr, p_align)));
	default:
		return NULL;
	}
}

/* In pieces: a core may have millions. */
static struct err *parse_phdrs(struct core *c, uint64_t offset, uint64_t n)
{
	size_t each = HEADER_BYTES(c, Phdr);
	uint8_t *phdrs;
	struct err *e = NULL;

	if (!is_in_file(c, offset, n * each))
		return truncated(c, offset, n * each);
	phdrs = xmalloc(PHDRS_A_READ * each);
	while (!e && n) {
		size_t some = (size_t)MIN(n, PHDRS_A_READ);

		e = core_pread(c, offset, phdrs, some * each);
		for (size_t i = 0; !e && i < some; i++)
			e = parse_phdr(c, phdrs + i * each);
		offset += some * each;
		n -= some;
	}
	free(phdrs);
	return e;
}

static struct err *parse_headers(struct core *c)
{
	uint8_t ehdr[sizeof(Elf64_Ehdr)];
	struct err *e = read_part(c, 0, ehdr, HEADER_BYTES(c, Ehdr));
	uint64_t n = 0;

	if (!e)
		e = parse_machine(c, ehdr);
	if (!e)
		e = count_phdrs(c, ehdr, &n);
	if (e)
		return e;
	if (n && get(c, ehdr, ELF_FIELD(Ehdr, e_phentsize)) != HEADER_BYTES(c, Phdr))
		return err_new(ERR_INVALID, "%s is corrupt: its program headers have a wrong size", c->path);
	return parse_phdrs(c, get(c, ehdr, ELF_FIELD(Ehdr, e_phoff)), n);
}

struct err *core_parse(struct core *c)
{
	struct err *e = check_file(c);

	if (!e)
		e = parse_ident(c);
	if (!e)
		e = parse_headers(c);
	if (!e)
		e = core_merge_runs(c);
	if (e)
		return e;
	if (!c->n_runs)
		return err_new(ERR_INVALID, "%s holds no memory", c->path);
	if (!c->n_vcpus)
		return err_new(ERR_INVALID, "%s holds no vCPU: it has no NT_PRSTATUS note of machine %u", c->path,
			       c->machine);
	return NULL;
}
