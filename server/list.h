/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SERVER_LIST_H
#define SERVER_LIST_H

#include <stddef.h>

#include "base/buf.h"
#include "guest/backends.h"

/* The table of `vmgdbserver list`: a head line and one line for each; nothing for none. */
void list_format(const struct kvm_vmm *vmms, size_t n, struct buf *out);

#endif
