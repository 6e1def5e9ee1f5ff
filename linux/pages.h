/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LINUX_PAGES_H
#define LINUX_PAGES_H

#include "guest/os.h"
#include "linux/kernel.h"

/* As os_ops.pages, of a kernel with a VMCOREINFO. */
struct err *pages_find(const struct linux_kernel *k, unsigned classes, struct page_classes *ret) MUST_CHECK;

#endif
