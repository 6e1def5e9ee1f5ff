/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "arch/s390x/s390x.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "linux/task.h"

/* The lowcore: arch/s390/include/asm/lowcore.h. */
#define LOWCORE_PROGRAM_NEW_PSW 0x1d0u
#define LOWCORE_VMCOREINFO 0xe0cu /* of absolute 0, with no vCPU's prefix */

/* The operating system's own part of it. */
#define LOWCORE_OS 0x200u
#define LOWCORE_OS_BYTES 0xc00u
#define LPP_MAGIC 0x80000000u
#define MAX_LPP_DISTANCE 4u

#define PSW_KERNEL (S390X_PSW_DAT | S390X_PSW_EA | S390X_PSW_BA)
#define PSW_HOME ((uint64_t)S390X_AS_HOME << S390X_PSW_AS_SHIFT)
#define ASCE_ORIGIN 0xfffffffffffff000ull
#define SECTION_BITS 28u /* arch/s390/include/asm/sparsemem.h */
/* More pieces than this are no use as program headers. */
#define MAX_PIECES (1u << 20)

/*
 * The registers with which all of the kernel is mapped, as no vCPU in particular
 * sees it: its tables are those of the home space.
 */
static struct regs *kernel_regs(const struct regs *vcpu)
{
	struct regs *regs = regs_dup(vcpu);

	regs_set(regs, S390X_PSWM, PSW_KERNEL | PSW_HOME);
	regs_set(regs, S390X_PREFIX, 0);
	return regs;
}

/* Does a program check lead into code that these tables map, in 64-bit mode with translation on? */
static bool is_kernel(struct guest *g, const struct regs *vcpu, const struct regs *regs)
{
	uint64_t at = (regs_get_or(vcpu, S390X_PREFIX, 0) & S390X_PREFIX_MASK) + LOWCORE_PROGRAM_NEW_PSW;
	uint64_t mask, handler;
	struct mapping m;

	/* Zeros are tables, too: 0 is what a vCPU starts with. */
	if (!(regs_get_or(regs, S390X_CR0 + 13, 0) & ASCE_ORIGIN))
		return false;
	return linux_read_phys(g, at, 8, &mask) && (mask & PSW_KERNEL) == PSW_KERNEL &&
	       linux_read_phys(g, at + 8, 8, &handler) && linux_translate(g, regs, handler, &m) &&
	       m.flags & MAPPING_EXECUTABLE;
}

static bool note_gpa(struct guest *g, const struct linux_image *img, uint64_t *ret)
{
	(void)img;
	return linux_read_phys(g, LOWCORE_VMCOREINFO, 8, ret) && *ret;
}

/* Its tables are those that a vCPU has. */
static bool agrees(struct guest *g, const struct linux_image *img, const struct vmcoreinfo *info)
{
	uint64_t tables, stext;
	struct mapping m;

	return vmcoreinfo_number(info, "SYMBOL(swapper_pg_dir)", 16, &tables) &&
	       linux_translate(g, img->regs, tables, &m) &&
	       m.gpa + (tables - m.gva) == (regs_get_or(img->regs, S390X_CR0 + 13, 0) & ASCE_ORIGIN) &&
	       vmcoreinfo_number(info, "SYMBOL(_stext)", 16, &stext) && linux_translate(g, img->regs, stext, &m);
}

struct candidate {
	struct guest *g;
	struct linux_image *image;
};

/* Nothing but the note tells where the kernel is. */
static bool take_place(void *arg, const struct vmcoreinfo *info)
{
	struct candidate *c = arg;
	struct linux_image *img = c->image;
	struct mapping m;

	if (!agrees(c->g, img, info))
		return false;
	vmcoreinfo_number(info, "KERNELOFFSET", 16, &img->slide);
	vmcoreinfo_number(info, "SYMBOL(_stext)", 16, &img->gva);
	if (linux_translate(c->g, img->regs, img->gva, &m))
		img->gpa = m.gpa + (img->gva - m.gva);
	return true;
}

static void find_place(struct guest *g, struct linux_image *img)
{
	struct candidate c = { g, img };
	struct vmcoreinfo info = { 0 };
	uint64_t gpa;

	if (note_gpa(g, img, &gpa))
		vmcoreinfo_read(g, gpa, take_place, &c, &info);
	vmcoreinfo_deinit(&info);
}

static bool find_by_vcpu(struct guest *g, const struct regs *vcpu, struct linux_image *ret)
{
	struct regs *regs = kernel_regs(vcpu);

	if (!is_kernel(g, vcpu, regs)) {
		regs_destroy(regs);
		return false;
	}
	*ret = (struct linux_image){ .regs = regs };
	find_place(g, ret);
	return true;
}

static bool find_image(struct guest *g, struct linux_image *ret)
{
	return linux_any_vcpu(g, find_by_vcpu, ret);
}

static struct err *collect(void *arg, const struct mapping *m)
{
	struct pieces *p = arg;

	if (p->n < MAX_PIECES)
		pieces_add(p, m);
	return NULL;
}

/* Real memory is mapped at one distance, which the largest piece has. */
static uint64_t find_identity(const struct pieces *p)
{
	uint64_t bytes = 0, distance = 0;

	for (size_t i = 0; i < p->n; i++)
		if (p->v[i].bytes > bytes) {
			bytes = p->v[i].bytes;
			distance = p->v[i].gva - p->v[i].gpa;
		}
	return distance;
}

/* All blocks at the identity's distance, whatever parts of it are taken out; then all else that is mapped. */
static struct err *kernel_map(struct guest *g, const struct linux_image *img, struct pieces *ret)
{
	struct phys_reader mem = guest_phys_reader(g);
	struct pieces all = { 0 };
	struct err *e = g->arch->walk(img->regs, &mem, collect, &all);
	uint64_t identity = find_identity(&all);

	for (size_t i = 0; !e && i < g->n_blocks; i++)
		pieces_add(ret, &(struct mapping){ g->blocks[i].gpa + identity, g->blocks[i].gpa, g->blocks[i].bytes,
						   MAPPING_WRITABLE });
	for (size_t i = 0; !e && i < all.n; i++)
		if (all.v[i].gva - all.v[i].gpa != identity)
			pieces_add(ret, &all.v[i]);
	free(all.v);
	return e;
}

/*
 * The lowcore has what the kernel loads as program parameter, a mark and the
 * pid, a little behind the ASCE of the kernel. Where that is differs from version
 * to version, but CR13 has the same ASCE.
 */
static bool pid(struct linux_kernel *k, const struct regs *vcpu, uint32_t *ret)
{
	struct guest *g = k->guest;
	uint64_t at = (regs_get_or(vcpu, S390X_PREFIX, 0) & S390X_PREFIX_MASK) + LOWCORE_OS;
	uint64_t end = at + LOWCORE_OS_BYTES, asce, value;
	unsigned left = 0; /* doublewords in which it may be */

	if (!regs_get(vcpu, S390X_CR0 + 13, &asce))
		return false;
	for (; at < end && linux_read_phys(g, at, 8, &value); at += 8) {
		if (left && value >> 32 == LPP_MAGIC && (uint32_t)value < LINUX_MAX_PID) {
			*ret = (uint32_t)value;
			return true;
		}
		left = value == asce ? MAX_LPP_DISTANCE : left - (left > 0);
	}
	return false;
}

const struct linux_arch linux_s390x = {
	.name = "s390x",
	.find_image = find_image,
	.agrees = agrees,
	.note_gpa = note_gpa,
	.kernel_map = kernel_map,
	.pid = pid,
	.section_bits = SECTION_BITS,
};
