/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_SHADOW_H
#define GUEST_SHADOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "guest/vmm_fork.h"
#include "guest/vmm_mem.h"

/*
 * Shared memory of a VMM as it was at one instant, while the VMM goes on writing it.
 * Each page that held data then is write-protected by userfaultfd; the first write to it
 * waits until a thread of ours has put it aside. Pages that the VMM gives back (a balloon)
 * are noticed at their next use, or when they are read. When we die the kernel takes the
 * protection away and lets all writers go on. Nothing may write the memory but through
 * these mappings of the VMM: that is for the caller to find out.
 */
struct shadow;

/*
 * Of a stopped VMM: the instant is this call. Takes over uffd, on failure too; ranges are
 * whole mappings. mem, of the VMM, is needed during the call alone.
 */
struct err *shadow_create(pid_t pid, int uffd, struct vmm_mem *mem, const struct vmm_range *ranges, size_t n,
			  struct shadow **ret) MUST_CHECK;
void shadow_destroy(struct shadow *s); /* takes NULL */

/* Is hva in a range of it? *ret_end: up to where that is so, at most end. s may be NULL. */
bool shadow_has(const struct shadow *s, uint64_t hva, uint64_t end, uint64_t *ret_end);

/* All bytes, of one range. An error says that the picture is lost there; never does it give later bytes. */
struct err *shadow_read(struct shadow *s, uint64_t hva, void *ret, size_t bytes) MUST_CHECK;
/* As vmm_mem_next_data(), in one range. */
void shadow_next_data(const struct shadow *s, uint64_t hva, uint64_t end, uint64_t *ret_hva, uint64_t *ret_bytes);

#endif
