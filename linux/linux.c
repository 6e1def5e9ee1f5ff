/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "linux/linux.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "linux/describe.h"
#include "linux/kallsyms.h"
#include "linux/kernel.h"
#include "linux/panic.h"
#include "linux/pages.h"
#include "linux/vmcoreinfo.h"

static const struct linux_arch *const ARCHES[] = {
	&linux_ppc64,
	&linux_s390x,
	&linux_x86_64,
};

/* Everything that was found belongs to one stop of the guest. */
struct linux_os {
	struct os os;
	const struct linux_arch *arch; /* NULL: none of ours */
	uint64_t stops;
	bool looked, searched;         /* at this stop */
	struct linux_image image;      /* regs NULL: not found */
	struct vmcoreinfo info;        /* the last found, current when searched */
	bool has_info;
	struct linux_kernel kernel;
	bool in_use;                   /* kernel is that of this stop */
	uint64_t memo; /* of arch->enrich_regs */
};

static void forget(struct linux_os *l)
{
	regs_destroy(l->image.regs);
	l->image = (struct linux_image){ 0 };
	l->looked = l->searched = l->has_info = l->in_use = false;
	l->stops = l->os.guest->stops;
}

/* NULL when the guest does not run Linux, as far as can be told. */
static const struct linux_image *image_of(struct os *os)
{
	struct linux_os *l = os->priv;

	if (l->stops != os->guest->stops)
		forget(l);
	if (!l->looked) {
		l->looked = true;
		if (!l->arch || !l->arch->find_image(os->guest, &l->image))
			l->image.regs = NULL;
	}
	return l->image.regs ? &l->image : NULL;
}

static struct err *no_linux(void)
{
	return err_new(ERR_UNKNOWN, "no vCPU runs a Linux kernel, as far as registers and page tables tell");
}

static bool linux_detect(struct os *os)
{
	return image_of(os) != NULL;
}

static bool agrees(void *arg, const struct vmcoreinfo *info)
{
	struct linux_os *l = arg;

	return l->arch->agrees(l->os.guest, &l->image, info);
}

static bool read_pointed(struct linux_os *l)
{
	struct guest *g = l->os.guest;
	uint64_t gpa;

	return l->arch->note_gpa && l->arch->note_gpa(g, &l->image, &gpa) &&
	       vmcoreinfo_read(g, gpa, agrees, l, &l->info);
}

/* A note stays where it is while its kernel runs: only a new kernel costs a search. */
static struct err *find_info(struct linux_os *l)
{
	struct guest *g = l->os.guest;
	uint64_t gpa = l->info.gpa;
	bool had = l->info.text;
	struct err *e = NULL;

	vmcoreinfo_deinit(&l->info);
	l->searched = true;
	if (!(had && vmcoreinfo_read(g, gpa, agrees, l, &l->info)) && !read_pointed(l))
		e = vmcoreinfo_search(g, agrees, l, &l->info);
	l->has_info = !e;
	if (e && err_code(e) != ERR_UNKNOWN)
		l->searched = false;
	return e;
}

static struct err *linux_vmcoreinfo(struct os *os, const char **ret, size_t *ret_bytes)
{
	struct linux_os *l = os->priv;
	struct err *e = NULL;

	if (!image_of(os))
		return no_linux();
	if (!l->searched)
		e = find_info(l);
	else if (!l->has_info)
		e = err_new(ERR_UNKNOWN, "the guest's memory was searched for VMCOREINFO and holds none");
	if (e)
		return e;
	*ret = l->info.text;
	*ret_bytes = l->info.bytes;
	return NULL;
}

static struct err *linux_slide(struct os *os, uint64_t *ret)
{
	const struct linux_image *img = image_of(os);
	struct linux_os *l = os->priv;

	if (!img)
		return no_linux();
	if (!l->has_info || !vmcoreinfo_number(&l->info, "KERNELOFFSET", 16, ret))
		*ret = img->slide;
	return NULL;
}

static int by_gpa(const void *a, const void *b)
{
	const struct mapping *x = a, *y = b;

	return (x->gpa > y->gpa) - (x->gpa < y->gpa);
}

static struct err *linux_kernel_map(struct os *os, struct mapping **ret, size_t *ret_n)
{
	const struct linux_image *img = image_of(os);
	struct linux_os *l = os->priv;
	struct pieces map = { 0 };
	struct err *e = img ? l->arch->kernel_map(os->guest, img, &map) : no_linux();

	if (e) {
		free(map.v);
		return e;
	}
	if (map.n)
		qsort(map.v, map.n, sizeof(*map.v), by_gpa);
	*ret = map.v;
	*ret_n = map.n;
	return NULL;
}

/* The image is known. *ret_e says why there is no VMCOREINFO, NULL: there is one. */
static struct linux_kernel *kernel_of(struct linux_os *l, struct err **ret_e)
{
	const char *text;
	size_t bytes;

	*ret_e = linux_vmcoreinfo(&l->os, &text, &bytes);
	if (!l->in_use) {
		kernel_use(&l->kernel, l->os.guest, l->arch, &l->image, l->has_info ? &l->info : NULL);
		l->in_use = l->searched;
	}
	return &l->kernel;
}

static struct err *linux_vcpu_pid(struct os *os, unsigned vcpu, uint32_t *ret)
{
	struct linux_os *l = os->priv;
	struct linux_kernel *kernel;
	const struct regs *regs;
	struct err *e = image_of(os) ? guest_regs(os->guest, vcpu, &regs) : no_linux();

	if (e)
		return e;
	kernel = kernel_of(l, &e);
	err_destroy(e);
	if (l->arch->pid(kernel, regs, ret))
		return NULL;
	return err_new(ERR_UNKNOWN, "the guest's memory does not tell which task vCPU %u runs", vcpu);
}

/* It is where the image starts, in every kernel of these architectures. */
static bool is_start(const char *name)
{
	return !strcmp(name, "_text") || !strcmp(name, "_stext");
}

static struct err *linux_symbol(struct os *os, const char *name, uint64_t *ret)
{
	const struct linux_image *img = image_of(os);
	struct linux_os *l = os->priv;
	struct linux_kernel *kernel;
	struct err *e;

	if (!img)
		return no_linux();
	if (is_start(name) && img->gva) {
		*ret = img->gva;
		return NULL;
	}
	kernel = kernel_of(l, &e);
	return e ? e : kernel_symbol(kernel, name, ret);
}

/* ERR_UNKNOWN where there is none, or no VMCOREINFO of it. */
static struct err *find_kernel(struct os *os, struct linux_kernel **ret)
{
	struct err *e;

	if (!image_of(os))
		return no_linux();
	*ret = kernel_of(os->priv, &e);
	return e;
}

static struct err *linux_symbol_at(struct os *os, uint64_t gva, struct buf *ret_name, uint64_t *ret_offset)
{
	const struct kallsyms *symbols;
	struct linux_kernel *kernel = NULL;
	struct err *e = find_kernel(os, &kernel);

	if (!e)
		e = kernel_symbols(kernel, &symbols);
	if (!e && !kallsyms_at(symbols, gva, ret_name, ret_offset))
		e = err_new(ERR_UNKNOWN, "no symbol of the guest's kernel covers 0x%" PRIx64, gva);
	return e;
}

static struct err *linux_pages(struct os *os, unsigned classes, struct page_classes *ret)
{
	struct linux_kernel *kernel = NULL;
	struct err *e = find_kernel(os, &kernel);

	return e ? e : pages_find(kernel, classes, ret);
}

static struct err *linux_panic(struct os *os, uint64_t *ret_gva, bool *ret_done)
{
	struct linux_kernel *kernel = NULL;
	struct err *e = find_kernel(os, &kernel);

	if (!e)
		e = kernel_panic_point(kernel, ret_gva);
	if (!e)
		*ret_done = kernel_has_panicked(kernel);
	return e;
}

static struct err *linux_describe(struct os *os, struct buf *out)
{
	struct linux_kernel *kernel = NULL;
	uint64_t slide = 0;
	struct err *e = find_kernel(os, &kernel);

	if (!e)
		e = linux_slide(os, &slide);
	if (!e)
		kernel_describe(kernel, slide, out);
	return e;
}

static void linux_enrich_regs(struct os *os, struct regs *regs)
{
	struct linux_os *l = os->priv;

	if (l->arch && l->arch->enrich_regs)
		l->arch->enrich_regs(os->guest, regs, &l->memo);
}

static void linux_destroy(struct os *os)
{
	struct linux_os *l = os->priv;

	regs_destroy(l->image.regs);
	kernel_deinit(&l->kernel);
	vmcoreinfo_deinit(&l->info);
	free(l);
}

static const struct os_ops linux_ops = {
	.name = "linux",
	.destroy = linux_destroy,
	.detect = linux_detect,
	.slide = linux_slide,
	.vmcoreinfo = linux_vmcoreinfo,
	.kernel_map = linux_kernel_map,
	.vcpu_pid = linux_vcpu_pid,
	.symbol = linux_symbol,
	.symbol_at = linux_symbol_at,
	.panic = linux_panic,
	.pages = linux_pages,
	.describe = linux_describe,
	.enrich_regs = linux_enrich_regs,
};

struct os *linux_os_create(struct guest *g)
{
	struct linux_os *l = xcalloc(1, sizeof(*l));

	l->os = (struct os){ .ops = &linux_ops, .guest = g, .priv = l };
	l->stops = g->stops;
	for (size_t i = 0; i < ARRAY_LEN(ARCHES); i++)
		if (!strcmp(ARCHES[i]->name, g->arch->name))
			l->arch = ARCHES[i];
	return &l->os;
}
