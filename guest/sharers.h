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

/*
 * What writes memory of pid without its mappings, by descriptors that it has: a device, or
 * io_uring with buffers that were registered. NULL: nothing. In doubt it does.
 */
const char *sharers_device(pid_t pid);

#endif
