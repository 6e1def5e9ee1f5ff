/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_OS_H
#define GUEST_OS_H

#include "guest/guest.h"
#include "guest/page_set.h"

/*
 * What the guest's operating system can tell. linux/ implements it, server/
 * attaches it, rsp/ and dump/ see only this. Everything is lazy, cached until
 * the guest runs again, and needs a stopped guest.
 */
struct os;

/* Classes of pages that a dump can leave out; the bits are those of makedumpfile's dump level. */
#define PAGES_ZERO 1u    /* nothing but zeros */
#define PAGES_CACHE 2u   /* page cache without private data */
#define PAGES_PRIVATE 4u /* page cache with private data */
#define PAGES_USER 8u    /* memory of user processes */
#define PAGES_FREE 16u   /* free */
#define N_PAGE_CLASSES 5u /* class i is bit 1 << i */
#define PAGES_ALL 31u
/* "zero", "cache", "private", "user", "free" */
extern const char *const page_class_names[N_PAGE_CLASSES];

/* Page frames by class: each frame is in at most one class. */
struct page_classes {
	struct page_set set;             /* the frames of all classes that were asked for */
	uint64_t counts[N_PAGE_CLASSES]; /* how many of them are of class i */
};

void page_classes_deinit(struct page_classes *c);

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

	/* The pid of the task that a vCPU runs: the thread's own; 0 while it is idle. */
	struct err *(*vcpu_pid)(struct os *os, unsigned vcpu, uint32_t *ret);

	/*
	 * The run-time address of one of the kernel's symbols, modules left out; of a
	 * variable that each CPU has, what the kernel's own table says of it. _stext is
	 * told at once, without a search of RAM.
	 * ERR_UNKNOWN: none of that name, or the kernel has no table that is understood.
	 */
	struct err *(*symbol)(struct os *os, const char *name, uint64_t *ret);
	/* The symbol that covers gva: appends its name; ret_offset: bytes behind its start. */
	struct err *(*symbol_at)(struct os *os, uint64_t gva, struct buf *ret_name, uint64_t *ret_offset);

	/*
	 * The page frames of these classes (PAGES_*, without PAGES_ZERO), as the kernel's own
	 * memory map has them, found through VMCOREINFO and nothing else; frames have the
	 * kernel's page size and lie in memory blocks. It is makedumpfile's choice: PAGES_PRIVATE
	 * takes cache without private data too, which is counted as that; and with any class go
	 * pages that are offline or broken, counted as free. ERR_UNKNOWN: its layout is not
	 * understood. Caller ends *ret with page_classes_deinit().
	 */
	struct err *(*pages)(struct os *os, unsigned classes, struct page_classes *ret);

	/*
	 * Where a vCPU comes by when the system panics, its message behind it and the other vCPUs
	 * still at work. *ret_done: that has been. ERR_UNKNOWN: it cannot be found.
	 */
	struct err *(*panic)(struct os *os, uint64_t *ret_gva, bool *ret_done);

	/* Appends lines "What: value" for `info linux`. */
	struct err *(*describe)(struct os *os, struct buf *out);

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
struct err *os_symbol(struct guest *g, const char *name, uint64_t *ret) MUST_CHECK;
struct err *os_symbol_at(struct guest *g, uint64_t gva, struct buf *ret_name, uint64_t *ret_offset) MUST_CHECK;
struct err *os_pages(struct guest *g, unsigned classes, struct page_classes *ret) MUST_CHECK;
struct err *os_panic(struct guest *g, uint64_t *ret_gva, bool *ret_done) MUST_CHECK;
struct err *os_describe(struct guest *g, struct buf *out) MUST_CHECK;
void os_enrich_regs(struct guest *g, struct regs *regs);

#endif
