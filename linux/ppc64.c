/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "arch/ppc64/ppc64.h"

#include "base/alloc.h"
#include "linux/task.h"

/* arch/powerpc/kernel/head_64.S: __run_at_load, of a kernel that runs at 0. */
#define RUN_AT_LOAD 0x5cu
#define RUN_AT_0 0x72756e30u

/*
 * The kernel's own entry of the process table: a tree for 52 bits of address
 * with a root of 2^13 entries (arch/powerpc/mm/book3s64/radix_pgtable.c).
 */
#define ROOT_RTS 2u
#define ROOT_LOW 0xadu
#define ROOT_BASE 0x0fffffffffffff00ull

#define TABLE_ALIGN 0x10000u
#define TABLE_SIZE 12u /* log2 of its bytes, minus 12 */
#define NO_TABLE 1u   /* which is no address of one */
#define LPCR_HR (1ull << 20)

#define SECTION_BITS 24u /* arch/powerpc/include/asm/sparsemem.h */
/* A list of more is none, or leads to its own start. */
#define MAX_BACKING (1u << 20)
#define MAX_BACKING_SHIFT 40u

/* arch/powerpc/include/asm/paca.h; the current task stands in its first part. */
#define PACA_BYTES 4096u

static bool find_by_vcpu(struct guest *g, const struct regs *vcpu, struct linux_image *ret)
{
	uint64_t word;

	if (!(regs_get_or(vcpu, PPC64_MSR, PPC64_MSR_DR) & PPC64_MSR_DR) ||
	    !linux_read_phys(g, RUN_AT_LOAD, 4, &word) || word != RUN_AT_0)
		return false;
	*ret = (struct linux_image){ .regs = regs_dup(vcpu), .gva = PPC64_LINEAR_GVA };
	return true;
}

static bool find_image(struct guest *g, struct linux_image *ret)
{
	return linux_any_vcpu(g, find_by_vcpu, ret);
}

static bool agrees(struct guest *g, const struct linux_image *img, const struct vmcoreinfo *info)
{
	uint64_t stext;

	(void)g;
	return vmcoreinfo_number(info, "SYMBOL(_stext)", 16, &stext) && stext == img->gva;
}

/* vmalloc and vmemmap are at addresses that depend on the MMU: readers walk its tables. */
static struct err *kernel_map(struct guest *g, const struct linux_image *img, struct pieces *ret)
{
	(void)img;
	for (size_t i = 0; i < g->n_blocks; i++)
		pieces_add(ret, &(struct mapping){ PPC64_LINEAR_GVA + g->blocks[i].gpa, g->blocks[i].gpa,
						   g->blocks[i].bytes, MAPPING_WRITABLE | MAPPING_EXECUTABLE });
	return NULL;
}

static bool is_linear(struct guest *g, const struct regs *regs, uint64_t gpa)
{
	struct mapping m;

	return linux_translate(g, regs, PPC64_LINEAR_GVA + gpa, &m) && m.gva - m.gpa == PPC64_LINEAR_GVA;
}

/* Do the trees of this process table map RAM where Linux has it? */
static bool is_process_table(struct guest *g, const struct regs *vcpu, uint64_t gpa)
{
	struct regs *regs = regs_dup(vcpu);
	bool linear = g->n_blocks;

	regs_set(regs, PPC64_MSR, regs_get_or(vcpu, PPC64_MSR, 0) | PPC64_MSR_DR);
	regs_set(regs, PPC64_PRTB, PPC64_PRTB_GR | gpa | TABLE_SIZE);
	for (size_t i = 0; linear && i < g->n_blocks; i++) {
		const struct mem_block *b = &g->blocks[i];

		linear = is_linear(g, regs, b->gpa) && is_linear(g, regs, b->gpa + (b->bytes - 1));
	}
	regs_destroy(regs);
	return linear;
}

/* A process table is big-endian in every guest. */
static bool may_be_process_table(struct guest *g, uint64_t gpa)
{
	struct phys_reader mem = guest_phys_reader(g);
	uint8_t bytes[8];
	struct err *e = mem.read(mem.ctx, gpa, bytes, sizeof(bytes));
	uint64_t entry = e ? 0 : load_uint(bytes, sizeof(bytes), ORDER_BIG);

	err_destroy(e);
	return entry >> 61 == ROOT_RTS && (entry & 0xff) == ROOT_LOW && guest_block_at(g, entry & ROOT_BASE);
}

/* In the RAM that was touched; 0 when there is none. */
static uint64_t search_process_table(struct guest *g, const struct regs *vcpu)
{
	uint64_t gpa = 0, run;

	for (;;) {
		struct err *e = guest_next_data(g, gpa, 0, &gpa, &run);
		uint64_t end = gpa + run;

		if (e || !run) {
			err_destroy(e);
			return 0;
		}
		for (gpa = ALIGN_UP(gpa, TABLE_ALIGN); gpa < end; gpa += TABLE_ALIGN)
			if (may_be_process_table(g, gpa) && is_process_table(g, vcpu, gpa))
				return gpa;
		gpa = end;
	}
}

/*
 * Hashed page tables, and firmware, have none: LPCR tells, which only cores of
 * others lack. A core never changes, so one search is enough.
 */
static void enrich_regs(struct guest *g, struct regs *regs, uint64_t *memo)
{
	uint64_t lpcr = LPCR_HR;
	bool tells = regs_get(regs, PPC64_LPCR, &lpcr);

	if (regs_bytes(regs, PPC64_PRTB) || !(lpcr & LPCR_HR) || *memo == NO_TABLE)
		return;
	if (!*memo || !is_process_table(g, regs, *memo))
		*memo = search_process_table(g, regs);
	if (*memo)
		regs_set(regs, PPC64_PRTB, PPC64_PRTB_GR | *memo | TABLE_SIZE);
	else if (!tells)
		*memo = NO_TABLE;
}

static bool pid_by_form(const struct linux_kernel *k, uint64_t paca, uint32_t *ret)
{
	uint8_t bytes[PACA_BYTES];
	struct err *e = kernel_read(k, paca, bytes, sizeof(bytes));

	if (e) {
		err_destroy(e);
		return false;
	}
	for (size_t at = 0; at < sizeof(bytes); at += 8) {
		uint64_t word = load_uint(bytes + at, 8, k->guest->order);

		if (word >= PPC64_LINEAR_GVA && task_pid_by_form(k, word, ret))
			return true;
	}
	return false;
}

static bool pid_of_paca(struct linux_kernel *k, uint64_t paca, uint32_t *ret)
{
	uint32_t offset;
	uint64_t task;

	if (paca < PPC64_LINEAR_GVA)
		return false;
	if (!kernel_member(k, "paca_struct", "__current", &offset))
		return pid_by_form(k, paca, ret);
	return kernel_read_uint(k, paca + offset, 8, &task) && task_pid(k, task, ret);
}

/*
 * The area of a CPU: arch/powerpc/include/asm/reg.h, SPRN_SPRG_PACA and
 * SPRN_SPRG_HPACA. Of these a core has but r13, which in user mode is the user's.
 */
static bool pid(struct linux_kernel *k, const struct regs *vcpu, uint32_t *ret)
{
	return pid_of_paca(k, regs_get_or(vcpu, PPC64_SPRG1, 0), ret) ||
	       pid_of_paca(k, regs_get_or(vcpu, PPC64_HSPRG0, 0), ret) ||
	       (!(regs_get_or(vcpu, PPC64_MSR, PPC64_MSR_PR) & PPC64_MSR_PR) &&
		pid_of_paca(k, regs_get_or(vcpu, PPC64_R0 + 13, 0), ret));
}

/* Offsets of struct vmemmap_backing, and the size of the pages that it tells of. */
struct backing_layout {
	uint64_t list, phys, virt_addr;
	unsigned shift;
};

static bool read_backing_layout(const struct linux_kernel *k, struct backing_layout *ret)
{
	const struct vmcoreinfo *info = k->info;
	uint64_t at, sizes, bytes, offset, shift;

	if (!vmcoreinfo_number(info, "OFFSET(vmemmap_backing.list)", 10, &ret->list) ||
	    !vmcoreinfo_number(info, "OFFSET(vmemmap_backing.phys)", 10, &ret->phys) ||
	    !vmcoreinfo_number(info, "OFFSET(vmemmap_backing.virt_addr)", 10, &ret->virt_addr) ||
	    !vmcoreinfo_number(info, "SIZE(mmu_psize_def)", 10, &bytes) ||
	    !vmcoreinfo_number(info, "OFFSET(mmu_psize_def.shift)", 10, &offset) ||
	    !vmcoreinfo_symbol(info, "mmu_vmemmap_psize", &at) || !vmcoreinfo_symbol(info, "mmu_psize_defs", &sizes) ||
	    !kernel_read_uint(k, at, 4, &at) || !kernel_read_uint(k, sizes + at * bytes + offset, 4, &shift))
		return false;
	ret->shift = (unsigned)shift;
	return shift < MAX_BACKING_SHIFT;
}

/*
 * Where page tables are hashed nothing tells what the kernel has in its own region
 * of struct pages, but a list that it keeps for crash dumps: arch/powerpc/mm/init_64.c.
 */
static void memmap_backing(const struct linux_kernel *k, struct pieces *ret)
{
	struct backing_layout l;
	uint64_t at, gva, gpa;

	if (!read_backing_layout(k, &l) || !vmcoreinfo_symbol(k->info, "vmemmap_list", &at) ||
	    !kernel_read_uint(k, at, 8, &at))
		return;
	while (at && ret->n < MAX_BACKING && kernel_read_uint(k, at + l.virt_addr, 8, &gva) &&
	       kernel_read_uint(k, at + l.phys, 8, &gpa) && kernel_read_uint(k, at + l.list, 8, &at))
		pieces_add(ret, &(struct mapping){ gva, gpa, 1ull << l.shift, MAPPING_WRITABLE });
}

const struct linux_arch linux_ppc64 = {
	.name = "ppc64",
	.find_image = find_image,
	.agrees = agrees,
	.kernel_map = kernel_map,
	.pid = pid,
	.enrich_regs = enrich_regs,
	.section_bits = SECTION_BITS,
	.memmap_backing = memmap_backing,
};
