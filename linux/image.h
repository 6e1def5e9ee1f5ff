/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LINUX_IMAGE_H
#define LINUX_IMAGE_H

#include "guest/guest.h"
#include "linux/vmcoreinfo.h"

/* The running kernel's image, as registers and page tables tell it at once. */
struct linux_image {
	struct regs *regs; /* own; their page tables map the whole kernel */
	uint64_t gva;      /* of _text */
	uint64_t gpa;
	uint64_t slide;    /* run-time minus link-time address */
};

/* What differs from architecture to architecture. */
struct linux_arch {
	const char *name; /* of the struct arch */

	/* False when no vCPU runs a Linux kernel. Caller ends ret->regs. */
	bool (*find_image)(struct guest *g, struct linux_image *ret);
	/* Is the note that of the kernel that runs? */
	bool (*agrees)(struct guest *g, const struct linux_image *img, const struct vmcoreinfo *info);
	/* As os_ops.kernel_map. */
	struct err *(*kernel_map)(struct guest *g, const struct linux_image *img, struct mapping **ret,
				  size_t *ret_n);
};

extern const struct linux_arch linux_x86_64;

#endif
