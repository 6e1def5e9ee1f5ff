/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_CORE_H
#define GUEST_CORE_H

#include "guest/guest.h"

/* What the files of the core backend share. */

/* Guest memory that lies in one piece: in the file, or zeros that the file leaves out. */
struct core_run {
	uint64_t gpa;
	uint64_t bytes;
	uint64_t offset; /* when in_file: bytes from here on exist */
	bool in_file;
};

struct core_vcpu {
	struct regs *regs;
	uint32_t pid;
};

struct core {
	char *path;
	int fd;
	uint64_t file_bytes;
	uint64_t note_bytes;       /* in the segments seen so far */
	uint64_t comparable_bytes; /* that loads may still repeat in other places of the file */
	int elf_class;   /* ELFCLASS* */
	uint16_t machine;
	enum byte_order order; /* of the file; once it is open, of the guest */
	const struct arch *arch;
	struct core_run *runs; /* sorted, disjoint */
	size_t n_runs;
	struct core_vcpu *vcpus;
	unsigned n_vcpus;
	unsigned *group_vcpus; /* vCPUs begun so far in each group of notes */
	char *vmcoreinfo;
	size_t vmcoreinfo_bytes;
};

/* All bytes, or an error that names the file; offsets are below file_bytes. */
struct err *core_pread(const struct core *c, uint64_t offset, void *ret, size_t bytes) MUST_CHECK;

/* The same for bytes from gpa on, which the run holds. */
struct err *core_read_run(const struct core *c, const struct core_run *r, uint64_t gpa, void *ret,
			  size_t bytes) MUST_CHECK;

/* Reads the headers and notes of c->fd into everything but path and fd. */
struct err *core_parse(struct core *c) MUST_CHECK;

/* Of core_load.c. One PT_LOAD; adds what it says of memory to c->runs. */
struct core_load {
	uint64_t gpa;
	uint64_t offset;
	uint64_t file_bytes;
	uint64_t bytes; /* gpa + bytes <= 2^64; at least file_bytes */
};

void core_add_load(struct core *c, const struct core_load *load);
/* Sorts the runs and merges what several loads say of the same memory. */
struct err *core_merge_runs(struct core *c) MUST_CHECK;

/*
 * Of core_note.c: the notes of one PT_NOTE, aligned to 4 or 8 bytes. Those that
 * nobody here knows are passed over.
 */
struct err *core_parse_notes(struct core *c, const void *data, size_t bytes, unsigned align) MUST_CHECK;

#endif
