/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_VMM_MEM_H
#define GUEST_VMM_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* The memory of a VMM process, as it is mapped while its threads are stopped. Addresses are hva. */
struct vmm_mem;

/* Takes its mappings as they are now. */
struct err *vmm_mem_open(pid_t pid, struct vmm_mem **ret) MUST_CHECK;
void vmm_mem_close(struct vmm_mem *m); /* takes NULL */

/* Is all of [hva, hva + bytes) mapped? */
bool vmm_mem_covers(const struct vmm_mem *m, uint64_t hva, uint64_t bytes);
/* A device's registers or memory: reading it may do something, and it is no RAM. */
bool vmm_mem_is_device(const struct vmm_mem *m, uint64_t hva);
/* Is any of it a mapping whose writes go to others too? */
bool vmm_mem_is_shared(const struct vmm_mem *m, uint64_t hva, uint64_t bytes);
/* Is the mapping at hva one of huge pages that were set aside for it (hugetlbfs)? */
bool vmm_mem_is_hugetlb(struct vmm_mem *m, uint64_t hva);

/* *ret_bytes: how many could be read; an error when it is none. ERR_GONE: the process has exited. */
struct err *vmm_mem_read(struct vmm_mem *m, uint64_t hva, void *ret, size_t bytes, size_t *ret_bytes) MUST_CHECK;
struct err *vmm_mem_write(struct vmm_mem *m, uint64_t hva, const void *from, size_t bytes) MUST_CHECK;

/*
 * The first run in [hva, end) that may hold anything but zeros; *ret_bytes is 0
 * when there is none. Tells pages that were never touched without touching them.
 */
struct err *vmm_mem_next_data(struct vmm_mem *m, uint64_t hva, uint64_t end, uint64_t *ret_hva,
			      uint64_t *ret_bytes) MUST_CHECK;

/* Goes the way of kernels before 6.7 from now on, which have no PAGEMAP_SCAN. */
void vmm_mem_forget_scan(struct vmm_mem *m);

#endif
