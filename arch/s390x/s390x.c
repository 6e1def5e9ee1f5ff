/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "arch/s390x/s390x.h"

#include <elf.h>

static int elf_class(const struct regs *const *vcpus, size_t n, uint64_t max_end)
{
	(void)vcpus, (void)n, (void)max_end;
	return ELFCLASS64;
}

static uint16_t elf_machine(const struct regs *const *vcpus, size_t n)
{
	(void)vcpus, (void)n;
	return EM_S390;
}

static uint32_t elf_flags(enum byte_order order)
{
	(void)order;
	return 0;
}

static enum byte_order order_of(const struct regs *vcpu0)
{
	(void)vcpu0;
	return ORDER_BIG;
}

/* No instruction has this code; gdb and Linux agree on it. */
static const uint8_t BREAKPOINT[] = { 0x00, 0x01 };

const struct arch arch_s390x = {
	.name = "s390x",
	.gdb_name = "s390:64-bit",
	.lldb_triple = "s390x-unknown-unknown",
	.regs = s390x_regs,
	.n_regs = S390X_N_REGS,
	.features = s390x_features,
	.n_features = S390X_N_FEATURES,
	.pc = S390X_PSWA,
	.sp = S390X_R15,
	.fp = S390X_R0 + 11,
	.page_bytes = 4096,
	.breakpoint = BREAKPOINT,
	.breakpoint_bytes = sizeof(BREAKPOINT),
	.elf_class = elf_class,
	.elf_machine = elf_machine,
	.elf_flags = elf_flags,
	.order = order_of,
	.machines = s390x_machines,
	.n_machines = ARRAY_LEN(s390x_machines),
	.translate = s390x_translate,
	.walk = s390x_walk,
};
