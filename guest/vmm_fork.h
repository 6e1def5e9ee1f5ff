/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_VMM_FORK_H
#define GUEST_VMM_FORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "guest/inject.h"
#include "guest/tracee.h"

/*
 * A copy-on-write copy of a stopped VMM: a process that has its memory as it was, no
 * descriptor, and that never runs. It is no child of the VMM's, dies with its tracer
 * (us), and is the first to go when memory runs out. Whatever instruction of this we
 * die at, the VMM has no child and no flag of its memory changed, but for a thread
 * whose filter is suspended.
 */

/* Private memory that the copy must have. */
struct vmm_range {
	uint64_t hva, bytes;
};

struct vmm_forked {
	pid_t copy; /* 0: no range was asked for. SIGKILL ends it; whoever waits for all tracees reaps it */
	int uffd;   /* of the VMM's memory, or -1: userfaultfd(2), which has no features yet */
};

/*
 * uffd: one is wanted, of which the VMM has no descriptor. ERR_UNSUPPORTED: the VMM
 * may not have it; the text says why. ret_stuck as for inject_end_after().
 */
struct err *vmm_fork(struct tracees *ts, const struct host_gadgets *g, const struct vmm_range *ranges, size_t n,
		     bool uffd, struct vmm_forked *ret, bool *ret_stuck) MUST_CHECK;

#endif
