/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_VMM_CORE_H
#define TESTS_VMM_CORE_H

#include "tests/vmm/vmm.h"

/*
 * An x86_64 vmcore of a guest in long mode, as QEMU or the program under test
 * writes it. All of this ends the process with a line that names the file where
 * something is wrong with it.
 */

struct core_load {
	uint64_t gpa, bytes;
	uint64_t offset, file_bytes; /* file_bytes <= bytes; behind them are zeros */
};

/* Contents of one vCPU's notes; NULL: it has no such note. */
struct core_cpu {
	const void *qemu;   /* struct qemu_note */
	const void *fpregs; /* 512 bytes: an FXSAVE area */
	const void *xstate; /* 832 bytes: that, the XSAVE header and AVX's part */
};

struct core {
	const char *path; /* borrowed */
	int fd;
	uint64_t file_bytes;
	struct core_load *loads; /* by gpa; may overlap */
	size_t n_loads;
	char *notes;
	struct core_cpu cpus[MAX_CPUS];
	unsigned n_cpus;
};

struct core *core_open(const char *path);
/* Copies a load's bytes to where its first one is; zeroed memory there stays untouched where they are zero. */
void core_read_load(const struct core *c, const struct core_load *load, char *hva);
struct vcpu_state;

/* Sets what the notes tell; the rest of *s stays as it is. */
void core_get_state(const struct core *c, unsigned cpu, struct vcpu_state *s);

#endif
