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

/* A growing list of mappings; {0} is empty. free(v) ends it. */
struct pieces {
	struct mapping *v;
	size_t n, cap;
};

struct linux_kernel; /* kernel.h */

/* What differs from architecture to architecture. */
struct linux_arch {
	const char *name; /* of the struct arch */

	/* False when no vCPU runs a Linux kernel. Caller ends ret->regs. */
	bool (*find_image)(struct guest *g, struct linux_image *ret);
	/* Is the note that of the kernel that runs? */
	bool (*agrees)(struct guest *g, const struct linux_image *img, const struct vmcoreinfo *info);
	/* Where the guest itself says that its note is; NULL where it does not. */
	bool (*note_gpa)(struct guest *g, const struct linux_image *img, uint64_t *ret);
	/* Pieces in any order; as os_ops.kernel_map for the rest. */
	struct err *(*kernel_map)(struct guest *g, const struct linux_image *img, struct pieces *ret);
	/* Of the task that a vCPU runs, 0 when it is idle; false when it is not known. */
	bool (*pid)(struct linux_kernel *k, const struct regs *vcpu, uint32_t *ret);
	/* As os_ops.enrich_regs; NULL: registers tell all. *memo is 0 at first, and kept from stop to stop. */
	void (*enrich_regs)(struct guest *g, struct regs *regs, uint64_t *memo);
	/* log2 of the bytes of a section of memory, in kernels whose VMCOREINFO does not say. */
	unsigned section_bits;
	/* Adds where the kernel's memory map is, of what page tables do not tell, in any order; NULL: they always do. */
	void (*memmap_backing)(const struct linux_kernel *k, struct pieces *ret);
};

extern const struct linux_arch linux_ppc64, linux_s390x, linux_x86_64;

/* ---- what they share ---- */

/* False when these registers' page tables do not map gva. */
bool linux_translate(struct guest *g, const struct regs *regs, uint64_t gva, struct mapping *ret);

/* All bytes at gva as these registers' page tables map them, or an error that names the address. */
struct err *linux_read(struct guest *g, const struct regs *regs, uint64_t gva, void *ret, size_t bytes) MUST_CHECK;
/* An integer of up to 8 bytes in guest byte order. */
struct err *linux_read_uint(struct guest *g, const struct regs *regs, uint64_t gva, size_t bytes,
			    uint64_t *ret) MUST_CHECK;

/* An integer of up to 8 bytes in guest byte order; false where there is no memory. */
bool linux_read_phys(struct guest *g, uint64_t gpa, size_t bytes, uint64_t *ret);

/* Stops with true at the first vCPU for which fn is. */
bool linux_any_vcpu(struct guest *g, bool (*fn)(struct guest *g, const struct regs *vcpu, struct linux_image *ret),
		    struct linux_image *ret);

void pieces_add(struct pieces *p, const struct mapping *m);

#endif
