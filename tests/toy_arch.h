/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_TOY_ARCH_H
#define TESTS_TOY_ARCH_H

#include "arch/arch.h"

/*
 * Architectures made up for the tests, one of each ELF class, for either byte
 * order: two registers, one note, and page tables that a formula stands for.
 */
enum {
	TOY_PC,
	TOY_SP, /* 0: paging is off; else how many mappings there are */
	TOY_N_REGS
};

/*
 * Mapping i of the walk, for 0 <= i < sp: every second page from pc on, so none
 * continues the one before it; from the start again after TOY_SPAN.
 */
#define TOY_SPAN 0x40000000u
#define TOY_PAGE 4096u
#define TOY_GVA 0x40000000u
#define TOY_GVA_AT(i) (TOY_GVA + (uint64_t)(i) * TOY_PAGE)
#define TOY_GPA_AT(pc, i) ((pc) + 2 * (uint64_t)(i) * TOY_PAGE % TOY_SPAN)

/* The note: u32 pid, u32 0x1234, u64 pc, u64 sp. */
#define TOY_NOTE_TYPE 7u
#define TOY_NOTE_BYTES 24u
#define TOY_NOTE_CONST 0x1234u

extern const struct arch toy32; /* EM_PPC */
extern const struct arch toy64; /* EM_PPC64, e_flags 2 when little-endian */

#endif
