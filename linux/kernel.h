/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LINUX_KERNEL_H
#define LINUX_KERNEL_H

#include "linux/image.h"

struct btf;
struct kallsyms;

/*
 * What the running kernel says of itself in its own memory: symbols and types,
 * each read at first use and kept while the same kernel runs. {0} knows none.
 */
struct linux_kernel {
	struct guest *guest;
	const struct linux_arch *arch;
	const struct linux_image *image; /* borrowed */
	const struct vmcoreinfo *info;   /* borrowed; NULL: it has none */
	struct kallsyms *symbols;
	struct err *no_symbols;          /* why there are none */
	struct btf *types;
	bool no_types;
	char *text;                      /* the VMCOREINFO that this was read with */
	size_t text_bytes;
};

/* At each stop: forgets what was read of another kernel, and what could not be read. */
void kernel_use(struct linux_kernel *k, struct guest *g, const struct linux_arch *arch,
		const struct linux_image *image, const struct vmcoreinfo *info);
void kernel_deinit(struct linux_kernel *k);

/* Its symbols, borrowed. ERR_UNKNOWN or ERR_INVALID say why there are none. */
struct err *kernel_symbols(struct linux_kernel *k, const struct kallsyms **ret) MUST_CHECK;

/*
 * The run-time address of a symbol, by kallsyms or else VMCOREINFO. ERR_UNKNOWN: none
 * of that name. See kallsyms_find() on per-CPU ones.
 */
struct err *kernel_symbol(struct linux_kernel *k, const char *name, uint64_t *ret) MUST_CHECK;

/* The offset in bytes of a member of a struct; false where no type tells. */
bool kernel_member(struct linux_kernel *k, const char *type, const char *member, uint32_t *ret);

/* Memory as the kernel sees it. */
struct err *kernel_read(const struct linux_kernel *k, uint64_t gva, void *ret, size_t bytes) MUST_CHECK;
/* An integer of up to 8 bytes in guest byte order; false where there is no memory. */
bool kernel_read_uint(const struct linux_kernel *k, uint64_t gva, size_t bytes, uint64_t *ret);

#endif
