/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_VMM_UFFD_H
#define GUEST_VMM_UFFD_H

#include "base/err.h"
#include "guest/inject.h"

/*
 * A userfaultfd of a process's memory, for faults in the kernel too, without features
 * yet; the caller closes it. in: the process's only thread, with no descriptor open; it
 * is left with some. Where the process may not have one by itself, it gets one from the
 * device /dev/userfaultfd, if we may open that. ERR_UNSUPPORTED: neither.
 */
struct err *vmm_uffd(struct injector *in, int *ret) MUST_CHECK;

#endif
