/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LINUX_DESCRIBE_H
#define LINUX_DESCRIBE_H

#include "linux/kernel.h"

/* Appends lines "What: value" on a kernel with a VMCOREINFO; what is not known is left out. */
void kernel_describe(struct linux_kernel *k, uint64_t slide, struct buf *out);

#endif
