/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_KPEEK_H
#define GUEST_KPEEK_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* A reader of the host kernel's memory. */
struct kpeek {
	/* All bytes at a kernel address, or an error (ERR_UNMAPPED for a bad address). */
	struct err *(*read)(void *ctx, uint64_t addr, void *ret, size_t bytes);
	/* The struct task_struct of the calling thread. */
	struct err *(*current_task)(void *ctx, uint64_t *ret);
	void (*close)(void *ctx);
	void *ctx;
};

/*
 * By a BPF program that only reads (bpf_probe_read_kernel), run by
 * BPF_PROG_TEST_RUN in the calling thread: Linux 5.10, CAP_BPF and CAP_PERFMON.
 */
struct err *kpeek_open_bpf(struct kpeek *ret) MUST_CHECK;

void kpeek_close(struct kpeek *k);

/* A kernel pointer or number of 4 or 8 bytes in host byte order. */
struct err *kpeek_u32(const struct kpeek *k, uint64_t addr, uint32_t *ret) MUST_CHECK;
struct err *kpeek_u64(const struct kpeek *k, uint64_t addr, uint64_t *ret) MUST_CHECK;

#endif
