/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "arch/x86_64/x86_64.h"
#include "base/alloc.h"
#include "linux/task.h"

/*
 * The kernel's memory map: Documentation/arch/x86/x86_64/mm.rst, and
 * arch/x86/include/asm/page_64_types.h.
 */
#define START_KERNEL_MAP 0xffffffff80000000ull
#define KERNEL_IMAGE_MAX (1ull << 30)
#define IMAGE_ALIGN (2ull << 20)                         /* the least CONFIG_PHYSICAL_ALIGN */
#define LINK_START (START_KERNEL_MAP + (16ull << 20))    /* CONFIG_PHYSICAL_START */
#define CPU_ENTRY_AREA 0xfffffe0000000000ull
#define CPU_ENTRY_AREA_BYTES (1ull << 39)
#define FIXMAP 0xffffffffff000000ull                     /* of the IDT before 4.15 */
#define UPPER_HALF 0xff00000000000000ull                 /* with 5-level tables, too */
#define PAGE_OFFSET_ALIGN (1ull << 30)                   /* also where it is randomised */
/* Page-table isolation: the user's copy of the top table stands behind the kernel's. */
#define PTI_USER_TABLE 0x1000u

#define SECTION_BITS 27u /* arch/x86/include/asm/sparsemem.h */
#define PAGE_BYTES 4096u
/* Init code that was freed leaves holes in the image's mapping. */
#define MAX_IMAGE_GAP (16ull << 20)
/* A direct map in more pieces than this is no use as program headers. */
#define MAX_PIECES (1u << 20)

#define X86_CS_RPL 3u

#define GATE_BYTES 16u
#define GATE_PAGE_FAULT 14u

static bool in_image_range(uint64_t gva)
{
	return gva >= LINK_START && gva - START_KERNEL_MAP < KERNEL_IMAGE_MAX;
}

/* The handler of the page fault, from the IDT. */
static bool read_gate(struct guest *g, const struct regs *regs, uint64_t idt, uint64_t *ret)
{
	uint64_t gva = idt + GATE_PAGE_FAULT * GATE_BYTES;
	struct phys_reader mem = guest_phys_reader(g);
	uint8_t gate[GATE_BYTES];
	struct mapping m;
	struct err *e;

	if (!linux_translate(g, regs, gva, &m))
		return false;
	e = mem.read(mem.ctx, m.gpa + (gva - m.gva), gate, sizeof(gate));
	if (!e) /* Intel SDM volume 3, figure 6-8 */
		*ret = load_uint(gate, 2, ORDER_LITTLE) | load_uint(gate + 6, 2, ORDER_LITTLE) << 16 |
		       load_uint(gate + 8, 4, ORDER_LITTLE) << 32;
	err_destroy(e);
	return !e;
}

/* Linux has its IDT in one of these places, which other kernels do not use. */
static bool is_linux_idt(uint64_t idt)
{
	return idt - CPU_ENTRY_AREA < CPU_ENTRY_AREA_BYTES || idt >= FIXMAP || in_image_range(idt);
}

/* From an address in the image down to its start; what lies below it is not mapped. */
static bool find_start(struct guest *g, const struct regs *regs, uint64_t gva, struct linux_image *ret)
{
	struct mapping at, below;

	if (!in_image_range(gva) || !linux_translate(g, regs, gva, &at))
		return false;
	while (linux_translate(g, regs, at.gva - 1, &below) && below.gva - below.gpa == at.gva - at.gpa) {
		at = below;
		if (!in_image_range(at.gva))
			return false;
	}
	ret->gva = at.gva;
	ret->gpa = at.gpa;
	ret->slide = at.gva - LINK_START;
	return at.gva % IMAGE_ALIGN == 0 && at.gpa % IMAGE_ALIGN == 0;
}

static bool find_in(struct guest *g, const struct regs *regs, struct linux_image *ret)
{
	uint64_t idt = 0, gate;

	if (!regs_get(regs, X86_IDTR_BASE, &idt) || !is_linux_idt(idt))
		return false;
	return find_start(g, regs, regs_get_or(regs, X86_LSTAR, 0), ret) ||
	       (read_gate(g, regs, idt, &gate) && find_start(g, regs, gate, ret)) ||
	       find_start(g, regs, regs_get_or(regs, X86_RIP, 0), ret);
}

/*
 * With the page tables of user mode little of the kernel is mapped: those that
 * stand before them are tried first. Where the tables are not isolated that
 * is another page, which leads nowhere or to the same kernel.
 */
static bool find_by_vcpu(struct guest *g, const struct regs *vcpu, struct linux_image *ret)
{
	struct regs *regs;
	uint64_t cr3;

	if (!x86_64_long_mode(vcpu) || !regs_get(vcpu, X86_CR3, &cr3))
		return false;
	regs = regs_dup(vcpu);
	regs_set(regs, X86_CR3, cr3 & ~(uint64_t)PTI_USER_TABLE);
	if (!find_in(g, regs, ret)) {
		regs_set(regs, X86_CR3, cr3);
		if (!find_in(g, regs, ret)) {
			regs_destroy(regs);
			return false;
		}
	}
	ret->regs = regs;
	return true;
}

/*
 * A core of kexec's has no control registers, but its own VMCOREINFO: that says
 * where the kernel's page tables are.
 */
static bool find_by_note(struct guest *g, struct linux_image *ret)
{
	struct vmcoreinfo info = { 0 };
	uint64_t table, stext, phys_base, levels5 = 0;
	struct regs *regs;

	if (g->ops->vmcoreinfo)
		info.text = (char *)g->ops->vmcoreinfo(g, &info.bytes);
	if (!info.text || !vmcoreinfo_number(&info, "SYMBOL(init_top_pgt)", 16, &table) ||
	    !vmcoreinfo_number(&info, "SYMBOL(_stext)", 16, &stext) ||
	    !vmcoreinfo_number(&info, "NUMBER(phys_base)", 10, &phys_base))
		return false;
	vmcoreinfo_number(&info, "NUMBER(pgtable_l5_enabled)", 10, &levels5);
	regs = regs_create(g->arch, g->order);
	regs_set(regs, X86_CR0, X86_CR0_PE | X86_CR0_PG);
	regs_set(regs, X86_CR3, table - START_KERNEL_MAP + phys_base);
	regs_set(regs, X86_CR4, X86_CR4_PAE | (levels5 ? X86_CR4_LA57 : 0));
	regs_set(regs, X86_EFER, X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE);
	if (find_start(g, regs, stext, ret)) {
		ret->regs = regs;
		return true;
	}
	regs_destroy(regs);
	return false;
}

static bool find_image(struct guest *g, struct linux_image *ret)
{
	return linux_any_vcpu(g, find_by_vcpu, ret) || find_by_note(g, ret);
}

/* Its symbols lie where the page tables have the image. */
static bool agrees(struct guest *g, const struct linux_image *img, const struct vmcoreinfo *info)
{
	uint64_t stext, phys_base, offset;
	struct mapping m;

	if (!vmcoreinfo_number(info, "SYMBOL(_stext)", 16, &stext) || stext < img->gva ||
	    !linux_translate(g, img->regs, stext, &m) || m.gva - m.gpa != img->gva - img->gpa)
		return false;
	if (vmcoreinfo_number(info, "NUMBER(phys_base)", 10, &phys_base) &&
	    img->gva - START_KERNEL_MAP + phys_base != img->gpa)
		return false;
	return !vmcoreinfo_number(info, "KERNELOFFSET", 16, &offset) || offset == img->slide;
}

/* The exclusive end of what is mapped at the image's distance, gaps included. */
static uint64_t find_end(struct guest *g, const struct linux_image *img)
{
	uint64_t end = img->gva, at = img->gva;

	while (at - end < MAX_IMAGE_GAP && in_image_range(at)) {
		struct mapping m;
		bool mapped = linux_translate(g, img->regs, at, &m) && m.gva - m.gpa == img->gva - img->gpa;

		at = mapped ? m.gva + m.bytes : at + PAGE_BYTES;
		if (mapped)
			end = at;
	}
	return end;
}

/* Collects what may be of the direct map. */
static struct err *collect(void *arg, const struct mapping *m)
{
	struct pieces *p = arg;

	if (m->gva >= UPPER_HALF && m->gva < START_KERNEL_MAP && (m->gva - m->gpa) % PAGE_OFFSET_ALIGN == 0 &&
	    p->n < MAX_PIECES)
		pieces_add(p, m);
	return NULL;
}

static bool holds_gpa(const struct mapping *m, uint64_t gpa)
{
	return gpa >= m->gpa && gpa - m->gpa < m->bytes;
}

/* The distance at which the kernel's own first frame is mapped in the longest piece. */
static bool find_page_offset(const struct pieces *p, uint64_t image_gpa, uint64_t *ret)
{
	uint64_t best = 0;

	for (size_t i = 0; i < p->n; i++) {
		const struct mapping *m = &p->v[i];

		if (holds_gpa(m, image_gpa) && m->bytes > best) {
			best = m->bytes;
			*ret = m->gva - m->gpa;
		}
	}
	return best;
}

/* The part of m that lies in block b; false when none does. */
static bool clip(const struct mapping *m, const struct mem_block *b, uint64_t *ret_first, uint64_t *ret_last)
{
	*ret_first = MAX(m->gpa, b->gpa);
	*ret_last = MIN(m->gpa + (m->bytes - 1), b->gpa + (b->bytes - 1));
	return *ret_first <= *ret_last;
}

/*
 * One mapping for each block, from its first to its last frame that the direct
 * map has: a kernel takes single frames out of it, which would split it into
 * many. Blocks are in ascending order, and so are pieces at one distance.
 */
static void add_direct_map(const struct guest *g, const struct pieces *p, uint64_t page_offset,
			   struct pieces *out)
{
	const struct mem_block *b = g->blocks, *end = g->blocks + g->n_blocks;
	const struct mapping *m = p->v, *m_end = p->v + p->n;
	bool open = false; /* the last of out is of block b */

	while (b < end && m < m_end) {
		uint64_t first, last;

		if (m->gva - m->gpa != page_offset) {
			m++;
			continue;
		}
		if (clip(m, b, &first, &last)) {
			if (!open)
				pieces_add(out, &(struct mapping){ page_offset + first, first, 0, MAPPING_WRITABLE });
			out->v[out->n - 1].bytes = last - out->v[out->n - 1].gpa + 1;
			open = true;
		}
		if (m->gpa + (m->bytes - 1) < b->gpa + (b->bytes - 1)) {
			m++;
		} else {
			b++;
			open = false;
		}
	}
}

static struct err *kernel_map(struct guest *g, const struct linux_image *img, struct pieces *ret)
{
	struct phys_reader mem = guest_phys_reader(g);
	struct pieces all = { 0 };
	uint64_t page_offset = 0;
	struct err *e = g->arch->walk(img->regs, &mem, collect, &all);

	if (!e) {
		pieces_add(ret, &(struct mapping){ img->gva, img->gpa, find_end(g, img) - img->gva,
						   MAPPING_WRITABLE | MAPPING_EXECUTABLE });
		if (find_page_offset(&all, img->gpa, &page_offset))
			add_direct_map(g, &all, page_offset, ret);
	}
	free(all.v);
	return e;
}

static bool has_symbol(struct linux_kernel *k, const char *name, uint64_t *ret)
{
	struct err *e = kernel_symbol(k, name, ret);

	err_destroy(e);
	return !e;
}

/* The per-CPU pointer to the current task; 6.2 to 6.14 have it in a struct. */
static bool find_current(struct linux_kernel *k, uint64_t *ret)
{
	uint32_t offset = 0;

	if (has_symbol(k, "current_task", ret))
		return true;
	if (!has_symbol(k, "pcpu_hot", ret))
		return false;
	kernel_member(k, "pcpu_hot", "current_task", &offset);
	*ret += offset;
	return true;
}

/* A CPU's area has its own distance from the per-CPU symbols in it. */
static bool pid_of_area(struct linux_kernel *k, uint64_t area, uint32_t *ret)
{
	uint64_t place, value, current, task;

	return area >= UPPER_HALF && has_symbol(k, "this_cpu_off", &place) &&
	       kernel_read_uint(k, area + place, 8, &value) && value == area && find_current(k, &current) &&
	       kernel_read_uint(k, area + current, 8, &task) && task_pid(k, task, ret);
}

/* The kernel's GS base; in user mode, and just behind an entry from it, it waits for swapgs. */
static bool pid(struct linux_kernel *k, const struct regs *vcpu, uint32_t *ret)
{
	bool user = regs_get_or(vcpu, X86_CS, 0) & X86_CS_RPL;

	return (!user && pid_of_area(k, regs_get_or(vcpu, X86_GS_BASE, 0), ret)) ||
	       pid_of_area(k, regs_get_or(vcpu, X86_K_GS_BASE, 0), ret);
}

const struct linux_arch linux_x86_64 = {
	.name = "x86_64",
	.find_image = find_image,
	.agrees = agrees,
	.kernel_map = kernel_map,
	.pid = pid,
	.section_bits = SECTION_BITS,
};
