/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef ARCH_ARCH_H
#define ARCH_ARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/endian.h"
#include "base/err.h"

/*
 * What a guest architecture is, as data. Everything here is built on every
 * host. To add an architecture: a folder with one const struct arch, and one
 * line in arch.c.
 *
 * One row of arch->regs describes one register; its index is both the
 * register's number in this program and its regnum in gdb's target
 * description. target.xml, the g packet, the notes of a core and what the
 * console prints are derived from the rows.
 */

#define ARCH_MAX_REG_BYTES 32u /* zmm0h */

struct reg_desc {
	const char *name;    /* gdb's name of it */
	uint16_t bits;       /* a multiple of 8; 1..8 * ARCH_MAX_REG_BYTES */
	uint8_t feature;     /* index into arch->features */
	const char *type;    /* gdb's type id: "int64", "code_ptr", "vec128", ... */
	const char *group;   /* "general", "segment", "control", "msr", "float", "vector" */
};

struct reg_feature {
	const char *name;  /* "org.gnu.gdb.i386.core" */
	const char *types; /* XML of the types its registers use, or NULL */
	/*
	 * A register that is known only where the guest has this feature; the
	 * feature is left out of a target description when it is not. -1: always there.
	 */
	int present_if;
};

struct arch;

/*
 * The registers of one vCPU: a slot of ARCH_MAX_REG_BYTES for each row, in
 * guest byte order from the slot's start, and one valid flag each. A register
 * that is not valid is unknown: 'x' on the wire, left out of notes, never zero.
 */
struct regs {
	const struct arch *arch;
	enum byte_order order;
	uint8_t (*slots)[ARCH_MAX_REG_BYTES];
	bool *valid;
};

struct regs *regs_create(const struct arch *arch, enum byte_order order); /* all unknown */
struct regs *regs_dup(const struct regs *regs);
void regs_destroy(struct regs *regs); /* takes NULL */
void regs_copy(struct regs *to, const struct regs *from); /* of one arch */

/* Bytes in guest order, (bits / 8) of them; NULL when unknown. Borrowed. */
const uint8_t *regs_bytes(const struct regs *regs, unsigned reg);
void regs_set_bytes(struct regs *regs, unsigned reg, const void *bytes);
/* The low 64 bits as a number; false when unknown. */
bool regs_get(const struct regs *regs, unsigned reg, uint64_t *ret);
/* The same, with what stands for an unknown register. */
uint64_t regs_get_or(const struct regs *regs, unsigned reg, uint64_t unknown);
void regs_set(struct regs *regs, unsigned reg, uint64_t value);
void regs_forget(struct regs *regs, unsigned reg);
/* Of one arch: the same ones are known, with the same values. */
bool regs_equal(const struct regs *a, const struct regs *b);

size_t reg_bytes(const struct arch *arch, unsigned reg);
/* By gdb's name; -1 when there is none. */
int arch_reg_by_name(const struct arch *arch, const char *name);
/* Does the guest have this feature, as far as its registers tell? */
bool arch_has_feature(const struct regs *regs, unsigned feature);

/* Appends the whole target description (target.xml) for a vCPU with these registers. */
void arch_target_xml(const struct regs *regs, struct buf *out);

/* ---- address translation ---- */

/* How a page-table walk reads guest-physical memory. */
struct phys_reader {
	/* All of bytes, or an error (ERR_UNMAPPED where there is no memory). */
	struct err *(*read)(void *ctx, uint64_t gpa, void *ret, size_t bytes);
	void *ctx;
};

#define MAPPING_WRITABLE 1u
#define MAPPING_USER 2u
#define MAPPING_EXECUTABLE 4u

/* One contiguous run of guest-virtual addresses and the guest-physical one it stands for. */
struct mapping {
	uint64_t gva;
	uint64_t gpa;
	uint64_t bytes; /* gva + bytes may be 2^64, thus 0 when added */
	uint32_t flags; /* MAPPING_* */
};

/* Called in ascending order of gva; a non-NULL result ends the walk and is its result. */
typedef struct err *(*mapping_fn)(void *arg, const struct mapping *m);

/* ---- notes ---- */

enum note_field_kind {
	NOTE_REG,   /* register reg */
	NOTE_NONZERO, /* the same, of a register that 0 tells to be unknown */
	NOTE_PID,   /* the pid of the task that the vCPU runs, as an integer */
	NOTE_CONST, /* value */
	NOTE_CONV,  /* conv: a field whose form differs from the register's */
};

struct note_field {
	uint16_t offset; /* in the descriptor */
	uint8_t bytes;   /* its length there; shorter than the register: its low part; longer: with zeros above */
	uint8_t kind;    /* enum note_field_kind */
	uint16_t reg;
	/*
	 * NOTE_CONST; for NOTE_REG what is written when the register is unknown,
	 * which when read back means unknown again, unless it is 0.
	 */
	uint64_t value;
	const struct note_conv *conv;
};

/* One field of a note that is made of registers by a rule (the abridged x87 tag word). */
struct note_conv {
	/* False when the registers are unknown. */
	bool (*get)(const struct regs *regs, uint8_t *ret, size_t bytes);
	/* from lies in the whole note. NULL: the field tells nothing that other notes do not. */
	void (*put)(struct regs *regs, const uint8_t *from, size_t bytes);
};

/* One note of a vCPU. In a core it is in guest byte order. */
struct note_desc {
	const char *owner;
	uint32_t type;
	uint32_t bytes; /* n_descsz */
	const struct note_field *fields;
	size_t n_fields;
	/* The note is left out unless this register is known; -1: always written. */
	int needs_reg;
};

/* Notes in file order: for each group, for each vCPU, each note of the group. */
struct note_group {
	const struct note_desc *const *notes;
	size_t n_notes;
};

struct note_set {
	const struct note_group *groups;
	size_t n_groups;
};

/*
 * What an e_machine of the architecture means. It alone selects the notes: an
 * EM_386 core has the 32-bit ones in both ELF classes, as QEMU and kexec write
 * it and as crash reads it.
 */
struct arch_machine {
	uint16_t e_machine;
	struct note_set notes;
};

/* Fills desc->bytes at ret; bytes that no field covers are zero. */
void note_fill(const struct note_desc *desc, const struct regs *regs, uint32_t pid, uint8_t *ret);
/* The same over bytes that are there already: what no field or no known register covers is left. */
void note_overlay(const struct note_desc *desc, const struct regs *regs, uint32_t pid, uint8_t *bytes);
/* Sets in regs what the note's bytes tell; the inverse of note_fill. ret_pid may be NULL. */
void note_parse(const struct note_desc *desc, const uint8_t *bytes, struct regs *regs, uint32_t *ret_pid);

/* ---- the architecture ---- */

struct arch {
	const char *name;          /* "x86_64" */
	const char *gdb_name;      /* of <architecture>: "i386:x86-64" */
	const char *gdb_osabi;     /* of <osabi>, or NULL */
	const char *lldb_triple;   /* "x86_64-unknown-unknown" */
	const char *lldb_triple_big; /* of a big-endian guest, where order() can say both; else NULL */
	const struct reg_desc *regs;
	size_t n_regs;
	const struct reg_feature *features;
	size_t n_features;
	uint16_t pc, sp, fp;       /* rows; these are expedited in stop replies */
	uint64_t page_bytes;       /* the largest base page of its kernels; a dump's file data is aligned to it */
	const uint8_t *breakpoint; /* as in memory; where order() can say both: reversed in a big-endian guest */
	uint8_t breakpoint_bytes;

	/*
	 * The state of a set of vCPUs as the ELF header tells it. max_end is the
	 * exclusive end of the highest memory block; 0 when it ends at 2^64.
	 */
	int (*elf_class)(const struct regs *const *vcpus, size_t n, uint64_t max_end); /* ELFCLASS* */
	uint16_t (*elf_machine)(const struct regs *const *vcpus, size_t n); /* EM_* */
	uint32_t (*elf_flags)(enum byte_order order);
	enum byte_order (*order)(const struct regs *vcpu0);

	/* Every e_machine that stands for it. */
	const struct arch_machine *machines;
	size_t n_machines;

	/*
	 * The page that maps gva; its gva and gpa are aligned to its bytes.
	 * ERR_UNMAPPED when none does or a table has no memory, ERR_UNKNOWN when the
	 * registers do not tell where the tables are. Paging off: one identity mapping.
	 */
	struct err *(*translate)(const struct regs *regs, const struct phys_reader *mem, uint64_t gva,
				 struct mapping *ret);
	/*
	 * Every mapping of the vCPU's address space, neighbours that continue each
	 * other in both address and flags merged into one. Tables that cannot be
	 * read (ERR_UNMAPPED, ERR_UNKNOWN) are passed over, and so are repeats of
	 * one past the bound in arch/walk.h. With paging off nothing is called.
	 * ERR_UNKNOWN: the registers do not tell where the tables are.
	 */
	struct err *(*walk)(const struct regs *regs, const struct phys_reader *mem, mapping_fn fn, void *arg);
};

/* By ELF e_machine; NULL when unknown. */
const struct arch *arch_by_elf(uint16_t e_machine);
/* The notes of a core with this e_machine, which is one of arch->machines. */
const struct note_set *arch_notes(const struct arch *arch, uint16_t e_machine);
const struct arch *arch_by_name(const char *name);
/* Every architecture in turn, from 0; NULL behind the last. */
const struct arch *arch_nth(size_t n);

#endif
