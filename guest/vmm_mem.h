/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_VMM_MEM_H
#define GUEST_VMM_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "guest/proc.h"

/* The memory of a VMM process, as it is mapped while its threads are stopped. Addresses are hva. */
struct vmm_mem;

/* Takes its mappings as they are now. */
struct err *vmm_mem_open(pid_t pid, struct vmm_mem **ret) MUST_CHECK;
void vmm_mem_close(struct vmm_mem *m); /* takes NULL */

/* Is all of [hva, hva + bytes) mapped? */
bool vmm_mem_covers(const struct vmm_mem *m, uint64_t hva, uint64_t bytes);
/* A device's registers or memory: reading it may do something, and it is no RAM. */
bool vmm_mem_is_device(const struct vmm_mem *m, uint64_t hva);
/* The mapping that holds hva, or NULL; and all of them. Borrowed. */
const struct proc_map *vmm_mem_map_at(const struct vmm_mem *m, uint64_t hva);
const struct proc_map *vmm_mem_maps(const struct vmm_mem *m, size_t *ret_n);
/* The length of its pages where the mapping at hva is one of hugetlbfs; else 0. */
uint64_t vmm_mem_hugetlb_bytes(struct vmm_mem *m, uint64_t hva);

/* *ret_bytes: how many could be read; an error when it is none. ERR_GONE: the process has exited. */
struct err *vmm_mem_read(struct vmm_mem *m, uint64_t hva, void *ret, size_t bytes, size_t *ret_bytes) MUST_CHECK;
struct err *vmm_mem_write(struct vmm_mem *m, uint64_t hva, const void *from, size_t bytes) MUST_CHECK;

/* The VMM has run: pages may have been touched. */
void vmm_mem_forget_pages(struct vmm_mem *m);

/*
 * The first run in [hva, end) that may hold anything but zeros; *ret_bytes is 0
 * when there is none. Tells pages that were never touched without touching them.
 */
struct err *vmm_mem_next_data(struct vmm_mem *m, uint64_t hva, uint64_t end, uint64_t *ret_hva,
			      uint64_t *ret_bytes) MUST_CHECK;

/* Goes the way of kernels before 6.7 from now on, which have no PAGEMAP_SCAN. */
void vmm_mem_forget_scan(struct vmm_mem *m);

#endif
