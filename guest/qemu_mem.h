/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_QEMU_MEM_H
#define GUEST_QEMU_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "guest/qemu_blocks.h"
#include "guest/qemu_stub.h"
#include "guest/qmp.h"

/*
 * The bytes of a QEMU's guest memory, each region by the best way to it: the
 * memory of the QEMU process, a file that backs it, QEMU's gdbstub, its monitor.
 */
struct qemu_mem;

/*
 * Asks for the regions and, where they are not those of *mem (NULL: none yet), for
 * their places, too, and makes *mem anew. stub is borrowed for its life and may come
 * and go. emulated: QEMU translates the guest's code, and must see writes.
 */
struct err *qemu_mem_open(struct qmp *q, struct qemu_stub *stub, bool emulated, struct qemu_mem **mem) MUST_CHECK;
void qemu_mem_close(struct qemu_mem *m); /* takes NULL */

/* All of them, RAM of passed-through devices too; ascending. Borrowed. */
const struct qemu_region *qemu_mem_regions(const struct qemu_mem *m, size_t *ret_n);
/* Where the QEMU process has region i; 0 when that is not known. */
uint64_t qemu_mem_hva(const struct qemu_mem *m, size_t i);

/* The range lies in one region. *ret_bytes: how many could be read; an error when it is none. */
struct err *qemu_mem_read(struct qemu_mem *m, uint64_t gpa, void *ret, size_t bytes, size_t *ret_bytes) MUST_CHECK;
struct err *qemu_mem_write(struct qemu_mem *m, uint64_t gpa, const void *from, size_t bytes) MUST_CHECK;

/* Is region i read without QEMU's help? */
bool qemu_mem_is_parallel(const struct qemu_mem *m, size_t i);
/* The same as qemu_mem_read() for such a region, from any thread. */
struct err *qemu_mem_read_beside(const struct qemu_mem *m, uint64_t gpa, void *ret, size_t bytes,
				 size_t *ret_bytes) MUST_CHECK;

/* As guest_ops.next_data. */
struct err *qemu_mem_next_data(struct qemu_mem *m, uint64_t gpa, uint64_t *ret_gpa, uint64_t *ret_bytes) MUST_CHECK;

/* How it is read, and why not by a better way. */
void qemu_mem_describe(const struct qemu_mem *m, struct buf *out);
/* A line a region. */
void qemu_mem_describe_regions(const struct qemu_mem *m, struct buf *out);

#endif
