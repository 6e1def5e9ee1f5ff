/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "arch/x86_64/x86_64.h"

#include <elf.h>

/* Bits of a descriptor's second dword: Intel SDM volume 3, 3.4.5 "Segment Descriptors". */
#define ATTR_TYPE_SHIFT 8
#define ATTR_S_SHIFT 12
#define ATTR_DPL_SHIFT 13
#define ATTR_P_SHIFT 15
#define ATTR_AVL_SHIFT 20
#define ATTR_L_SHIFT 21
#define ATTR_DB_SHIFT 22
#define ATTR_G_SHIFT 23

uint32_t x86_64_attr_pack(const struct x86_64_attr *attr)
{
	if (!attr->present)
		return 0;
	return (attr->type & 15u) << ATTR_TYPE_SHIFT | (attr->s & 1u) << ATTR_S_SHIFT |
	       (attr->dpl & 3u) << ATTR_DPL_SHIFT | 1u << ATTR_P_SHIFT |
	       (attr->avl & 1u) << ATTR_AVL_SHIFT | (attr->l & 1u) << ATTR_L_SHIFT |
	       (attr->db & 1u) << ATTR_DB_SHIFT | (attr->g & 1u) << ATTR_G_SHIFT;
}

struct x86_64_attr x86_64_attr_unpack(uint32_t packed)
{
	return (struct x86_64_attr){
		.type = packed >> ATTR_TYPE_SHIFT & 15,
		.s = packed >> ATTR_S_SHIFT & 1,
		.dpl = packed >> ATTR_DPL_SHIFT & 3,
		.present = packed >> ATTR_P_SHIFT & 1,
		.avl = packed >> ATTR_AVL_SHIFT & 1,
		.l = packed >> ATTR_L_SHIFT & 1,
		.db = packed >> ATTR_DB_SHIFT & 1,
		.g = packed >> ATTR_G_SHIFT & 1,
	};
}

static bool has_wide_address(const struct regs *regs)
{
	static const uint16_t ADDRESSES[] = {
		X86_RIP, X86_RSP, X86_CR3, X86_GDTR_BASE, X86_IDTR_BASE, X86_TR_BASE,
	};

	for (size_t i = 0; i < ARRAY_LEN(ADDRESSES); i++)
		if (regs_get_or(regs, ADDRESSES[i], 0) > UINT32_MAX)
			return true;
	return false;
}

static bool infer_long_mode(const struct regs *regs)
{
	uint64_t cr0, cs = regs_get_or(regs, X86_CS_ATTR, 0);

	if (!regs_get(regs, X86_CR0, &cr0))
		return regs_bytes(regs, X86_R15);
	if (!(cr0 & X86_CR0_PG) || !(regs_get_or(regs, X86_CR4, 0) & X86_CR4_PAE))
		return false;
	return cs >> ATTR_L_SHIFT & 1 || has_wide_address(regs);
}

bool x86_64_long_mode(const struct regs *regs)
{
	uint64_t efer;

	if (regs_get(regs, X86_EFER, &efer))
		return efer & X86_EFER_LMA;
	return infer_long_mode(regs);
}

static bool any_long_mode(const struct regs *const *vcpus, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (x86_64_long_mode(vcpus[i]))
			return true;
	return false;
}

static int elf_class(const struct regs *const *vcpus, size_t n, uint64_t max_end)
{
	bool above_4g = max_end - 1 > UINT32_MAX;

	return any_long_mode(vcpus, n) || above_4g ? ELFCLASS64 : ELFCLASS32;
}

static uint16_t elf_machine(const struct regs *const *vcpus, size_t n)
{
	return any_long_mode(vcpus, n) ? EM_X86_64 : EM_386;
}

static uint32_t elf_flags(enum byte_order order)
{
	(void)order;
	return 0;
}

static enum byte_order order_of(const struct regs *vcpu0)
{
	(void)vcpu0;
	return ORDER_LITTLE;
}

static const uint8_t INT3[] = { 0xcc };

const struct arch arch_x86_64 = {
	.name = "x86_64",
	.gdb_name = "i386:x86-64",
	.lldb_triple = "x86_64-unknown-unknown",
	.regs = x86_64_regs,
	.n_regs = X86_N_REGS,
	.features = x86_64_features,
	.n_features = X86_N_FEATURES,
	.pc = X86_RIP,
	.sp = X86_RSP,
	.fp = X86_RBP,
	.page_bytes = 4096,
	.breakpoint = INT3,
	.breakpoint_bytes = sizeof(INT3),
	.elf_class = elf_class,
	.elf_machine = elf_machine,
	.elf_flags = elf_flags,
	.order = order_of,
	.machines = x86_64_machines,
	.n_machines = ARRAY_LEN(x86_64_machines),
	.translate = x86_64_translate,
	.walk = x86_64_walk,
};
