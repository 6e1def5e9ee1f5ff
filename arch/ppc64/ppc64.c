/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "arch/ppc64/ppc64.h"

#include <elf.h>

#define ELF_ABI_V2 2u /* EF_PPC64_ABI; 0 is unspecified */

static int elf_class(const struct regs *const *vcpus, size_t n, uint64_t max_end)
{
	(void)vcpus, (void)n, (void)max_end;
	return ELFCLASS64;
}

static uint16_t elf_machine(const struct regs *const *vcpus, size_t n)
{
	(void)vcpus, (void)n;
	return EM_PPC64;
}

static uint32_t elf_flags(enum byte_order order)
{
	return order == ORDER_LITTLE ? ELF_ABI_V2 : 0;
}

/* HID0[HILE], by the processor's version in PVR; 0 where it has no such bit. */
static uint64_t hile_of(uint64_t pvr)
{
	switch (pvr >> 16) {
	case 0x003f:            /* POWER7 */
	case 0x004a ... 0x004d: /* POWER7+, POWER8E, POWER8NVL, POWER8 */
		return 1ull << 44;
	case 0x004e:            /* POWER9 */
	case 0x0080:            /* Power10 */
	case 0x0082:            /* Power11 */
		return 1ull << 59;
	default:
		return 0;
	}
}

static enum byte_order order_of(const struct regs *vcpu0)
{
	bool is_hypervisor = regs_get_or(vcpu0, PPC64_MSR, 0) & PPC64_MSR_HV;
	uint64_t hile = is_hypervisor ? hile_of(regs_get_or(vcpu0, PPC64_PVR, 0)) : 0;
	uint64_t hid0, lpcr;

	if (hile && regs_get(vcpu0, PPC64_HID0, &hid0))
		return hid0 & hile ? ORDER_LITTLE : ORDER_BIG;
	if (regs_get(vcpu0, PPC64_LPCR, &lpcr))
		return lpcr & PPC64_LPCR_ILE ? ORDER_LITTLE : ORDER_BIG;
	return regs_get_or(vcpu0, PPC64_MSR, 0) & PPC64_MSR_LE ? ORDER_LITTLE : ORDER_BIG;
}

static const uint8_t TRAP[] = { 0x08, 0x00, 0xe0, 0x7f }; /* tw 31,0,0 */

const struct arch arch_ppc64 = {
	.name = "ppc64",
	.gdb_name = "powerpc:common64",
	.lldb_triple = "powerpc64le-unknown-unknown",
	.lldb_triple_big = "powerpc64-unknown-unknown",
	.regs = ppc64_regs,
	.n_regs = PPC64_N_REGS,
	.features = ppc64_features,
	.n_features = PPC64_N_FEATURES,
	.pc = PPC64_PC,
	.sp = PPC64_R0 + 1,
	.fp = PPC64_R31,
	.page_bytes = 65536,
	.breakpoint = TRAP,
	.breakpoint_bytes = sizeof(TRAP),
	.elf_class = elf_class,
	.elf_machine = elf_machine,
	.elf_flags = elf_flags,
	.order = order_of,
	.machines = ppc64_machines,
	.n_machines = ARRAY_LEN(ppc64_machines),
	.translate = ppc64_translate,
	.walk = ppc64_walk,
};
