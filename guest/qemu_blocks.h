/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_QEMU_BLOCKS_H
#define GUEST_QEMU_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* What the texts of QEMU's human monitor say of guest memory. */

enum qemu_region_kind {
	QEMU_RAM,
	QEMU_NVRAM,      /* an NVDIMM */
	QEMU_ROM,
	QEMU_ROM_DEVICE, /* flash that reads as memory */
	QEMU_DEVICE_RAM, /* of a passed-through device: QEMU itself does not dump it */
};

/* A run of guest-physical memory that lies in one piece in one RAM block of QEMU's. */
struct qemu_region {
	uint64_t gpa;
	uint64_t bytes;  /* > 0; gpa + bytes <= 2^64 */
	uint64_t offset; /* in the RAM block */
	enum qemu_region_kind kind;
	char *name;      /* of the RAM block */
};

/*
 * From `info mtree -f`: the flat view of the address space that vCPUs and
 * devices see ("memory"), without what is no memory, in ascending order.
 * Caller ends them with qemu_regions_free().
 */
struct err *qemu_regions_parse(const char *mtree, struct qemu_region **ret, size_t *ret_n) MUST_CHECK;
void qemu_regions_free(struct qemu_region *regions, size_t n);
const char *qemu_region_word(enum qemu_region_kind kind); /* as `info mtree` has it */

/* From `gpa2hva`; an error has its text. */
struct err *qemu_parse_gpa2hva(const char *text, uint64_t *ret) MUST_CHECK;

/* From `xp /Nxb`: exactly bytes of them; an error has its text. */
struct err *qemu_parse_xp(const char *text, uint8_t *ret, size_t bytes) MUST_CHECK;

#endif
