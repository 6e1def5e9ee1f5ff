/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LINUX_PANIC_H
#define LINUX_PANIC_H

#include "linux/kernel.h"

/*
 * Where a vCPU comes by when the kernel panics: behind its message, and before the
 * others are stopped. ERR_UNKNOWN: its symbols are not known.
 */
struct err *kernel_panic_point(struct linux_kernel *k, uint64_t *ret) MUST_CHECK;

/* Has it panicked already? False where that cannot be told. */
bool kernel_has_panicked(struct linux_kernel *k);

#endif
