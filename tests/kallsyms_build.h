/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_KALLSYMS_BUILD_H
#define TESTS_KALLSYMS_BUILD_H

#include "guest/guest.h"

/* Puts a kernel's table of symbols into the memory of a fake guest, as scripts/kallsyms.c of Linux lays it out. */

enum kallsyms_form {
	KALLSYMS_FROM_BASE,  /* 6.15 to 6.19, and other architectures before that */
	KALLSYMS_PERCPU,     /* x86_64 up to 6.14 */
	KALLSYMS_FROM_PLACE, /* 7.0 */
	KALLSYMS_N_FORMS,
};

struct kallsyms_symbol {
	const char *name;
	uint64_t address;
	char type; /* 'A': absolute, thus a per-CPU offset with KALLSYMS_PERCPU */
};

struct kallsyms_build {
	enum kallsyms_form form;
	const struct kallsyms_symbol *symbols; /* in ascending order */
	size_t n;
	uint64_t gpa, gva; /* of the first table */
	/* What kallsyms_build() tells: where each is, and the exclusive end of them. */
	uint64_t relative_base, num_syms, names, token_table, token_index, offsets, end;
};

/* Appends the lines of VMCOREINFO that point there. */
void kallsyms_build(struct kallsyms_build *b, struct guest *g, struct buf *info);

#endif
