/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/os.h"

const char *const page_class_names[N_PAGE_CLASSES] = { "zero", "cache", "private", "user", "free" };

#define HAS(g, what) ((g)->os && (g)->os->ops->what)

static struct err *unknown(const char *what)
{
	return err_new(ERR_UNKNOWN, "%s is not known: no operating system was recognised in this guest", what);
}

bool os_detect(struct guest *g)
{
	return HAS(g, detect) && g->os->ops->detect(g->os);
}

struct err *os_slide(struct guest *g, uint64_t *ret)
{
	return HAS(g, slide) ? g->os->ops->slide(g->os, ret) : unknown("the kernel's slide");
}

struct err *os_vmcoreinfo(struct guest *g, const char **ret, size_t *ret_bytes)
{
	return HAS(g, vmcoreinfo) ? g->os->ops->vmcoreinfo(g->os, ret, ret_bytes) : unknown("VMCOREINFO");
}

struct err *os_kernel_map(struct guest *g, struct mapping **ret, size_t *ret_n)
{
	return HAS(g, kernel_map) ? g->os->ops->kernel_map(g->os, ret, ret_n) : unknown("the kernel's memory map");
}

struct err *os_vcpu_pid(struct guest *g, unsigned vcpu, uint32_t *ret)
{
	return HAS(g, vcpu_pid) ? g->os->ops->vcpu_pid(g->os, vcpu, ret) : unknown("the running task");
}

struct err *os_symbol(struct guest *g, const char *name, uint64_t *ret)
{
	return HAS(g, symbol) ? g->os->ops->symbol(g->os, name, ret) : unknown("the kernel's table of symbols");
}

struct err *os_symbol_at(struct guest *g, uint64_t gva, struct buf *ret_name, uint64_t *ret_offset)
{
	if (HAS(g, symbol_at))
		return g->os->ops->symbol_at(g->os, gva, ret_name, ret_offset);
	return unknown("the kernel's table of symbols");
}

struct err *os_pages(struct guest *g, unsigned classes, struct page_classes *ret)
{
	return HAS(g, pages) ? g->os->ops->pages(g->os, classes, ret) : unknown("what its pages are for");
}

void page_classes_deinit(struct page_classes *c)
{
	page_set_deinit(&c->set);
}

struct err *os_panic(struct guest *g, uint64_t *ret_gva, bool *ret_done)
{
	return HAS(g, panic) ? g->os->ops->panic(g->os, ret_gva, ret_done) : unknown("where the guest panics");
}

struct err *os_describe(struct guest *g, struct buf *out)
{
	return HAS(g, describe) ? g->os->ops->describe(g->os, out) : unknown("what the guest runs");
}

void os_enrich_regs(struct guest *g, struct regs *regs)
{
	if (HAS(g, enrich_regs))
		g->os->ops->enrich_regs(g->os, regs);
}
