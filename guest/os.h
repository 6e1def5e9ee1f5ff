/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_OS_H
#define GUEST_OS_H

#include "guest/guest.h"

/*
 * What the guest's operating system can tell. linux/ implements it, server/
 * attaches it, rsp/ and dump/ see only this. Everything is lazy, cached until
 * the guest runs again, and needs a stopped guest.
 */
struct os;

struct os_ops {
	const char *name; /* "linux" */
	void (*destroy)(struct os *os);

	/*
	 * True when the guest runs this system, as far as its registers and page
	 * tables tell at once, without a search of RAM.
	 */
	bool (*detect)(struct os *os);

	/* Run-time minus link-time address of the kernel image. */
	struct err *(*slide)(struct os *os, uint64_t *ret);

	/* The text of the VMCOREINFO note, borrowed; searched in touched RAM at first use. */
	struct err *(*vmcoreinfo)(struct os *os, const char **ret, size_t *ret_bytes);

	/*
	 * The kernel's linear map as program headers want it: a list of mappings,
	 * sorted by gpa, that readers of cores expect (VMCOREINFO decides). Caller frees.
	 */
	struct err *(*kernel_map)(struct os *os, struct mapping **ret, size_t *ret_n);

	/* The pid of the task that a vCPU runs. */
	struct err *(*vcpu_pid)(struct os *os, unsigned vcpu, uint32_t *ret);

	/*
	 * Adds to what a backend read of a vCPU that which only memory tells. Called
	 * by guest_regs() at each stop: it may read physical memory, not registers.
	 */
	void (*enrich_regs)(struct os *os, struct regs *regs);
};

struct os {
	const struct os_ops *ops;
	struct guest *guest;
	void *priv;
};

/*
 * Wrappers. With no operating system known (g->os NULL, or a NULL function)
 * they return ERR_UNKNOWN, and os_detect() false.
 */
bool os_detect(struct guest *g);
struct err *os_slide(struct guest *g, uint64_t *ret) MUST_CHECK;
struct err *os_vmcoreinfo(struct guest *g, const char **ret, size_t *ret_bytes) MUST_CHECK;
struct err *os_kernel_map(struct guest *g, struct mapping **ret, size_t *ret_n) MUST_CHECK;
struct err *os_vcpu_pid(struct guest *g, unsigned vcpu, uint32_t *ret) MUST_CHECK;
void os_enrich_regs(struct guest *g, struct regs *regs);

#endif
