/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LINUX_KALLSYMS_H
#define LINUX_KALLSYMS_H

#include <stdbool.h>

#include "guest/guest.h"
#include "linux/vmcoreinfo.h"

/* The kernel's table of its own symbols, as kernel/kallsyms.c reads it; without those of modules. */
struct kallsyms;

/*
 * Copies the tables that info points to out of the memory that these registers'
 * page tables map. ERR_UNKNOWN: the kernel does not say where they are (before
 * Linux 6.0, or built without); ERR_INVALID: they are no such tables.
 */
struct err *kallsyms_open(struct guest *g, const struct regs *regs, const struct vmcoreinfo *info,
			  struct kallsyms **ret) MUST_CHECK;
void kallsyms_close(struct kallsyms *k); /* takes NULL */

/*
 * The run-time address; of several with one name, the first. Per-CPU variables of
 * x86_64 have, up to Linux 6.14, their offset in a CPU's area in place of it.
 */
bool kallsyms_find(const struct kallsyms *k, const char *name, uint64_t *ret);

/*
 * The last symbol at or below gva; appends its name. False where none is below,
 * or none above: that is behind the kernel.
 */
bool kallsyms_at(const struct kallsyms *k, uint64_t gva, struct buf *ret_name, uint64_t *ret_offset);

#endif
