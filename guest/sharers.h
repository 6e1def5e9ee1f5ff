/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_SHARERS_H
#define GUEST_SHARERS_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "guest/proc.h"

/* Who else can write the shared memory of a process, past its own mapping of it. */

/* A process but pid that has the file of map mapped to write to it; 0: none. It takes a look at every process. */
struct err *sharers_find(pid_t pid, const struct proc_map *map, pid_t *ret) MUST_CHECK;

/* Has pid buffers that io_uring writes to without its mappings? True where it cannot be known. */
bool sharers_has_fixed_buffers(pid_t pid);

#endif
