/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/toy_arch.h"

#include <elf.h>

static const struct reg_desc REGS[TOY_N_REGS] = {
	[TOY_PC] = { "pc", 64, 0, "code_ptr", "general" },
	[TOY_SP] = { "sp", 64, 0, "data_ptr", "general" },
};

static const struct reg_feature FEATURES[] = { { "org.vmgdbserver.toy", NULL, -1 } };

static const struct note_field FIELDS[] = {
	{ .offset = 0, .bytes = 4, .kind = NOTE_PID },
	{ .offset = 4, .bytes = 4, .kind = NOTE_CONST, .value = TOY_NOTE_CONST },
	{ .offset = 8, .bytes = 8, .kind = NOTE_REG, .reg = TOY_PC },
	{ .offset = 16, .bytes = 8, .kind = NOTE_REG, .reg = TOY_SP },
};

static const struct note_desc NOTE = { "TOY", TOY_NOTE_TYPE, TOY_NOTE_BYTES, FIELDS, ARRAY_LEN(FIELDS), -1 };
static const struct note_desc *const NOTES[] = { &NOTE };
static const struct note_group GROUPS[] = { { NOTES, 1 } };
static const struct arch_machine MACHINES32[] = { { EM_PPC, { GROUPS, 1 } } };
static const struct arch_machine MACHINES64[] = { { EM_PPC64, { GROUPS, 1 } } };

static int class32(const struct regs *const *vcpus, size_t n, uint64_t max_end)
{
	(void)vcpus, (void)n, (void)max_end;
	return ELFCLASS32;
}

static int class64(const struct regs *const *vcpus, size_t n, uint64_t max_end)
{
	(void)vcpus, (void)n, (void)max_end;
	return ELFCLASS64;
}

static uint16_t machine32(const struct regs *const *vcpus, size_t n)
{
	(void)vcpus, (void)n;
	return EM_PPC;
}

static uint16_t machine64(const struct regs *const *vcpus, size_t n)
{
	(void)vcpus, (void)n;
	return EM_PPC64;
}

static uint32_t no_flags(enum byte_order order)
{
	(void)order;
	return 0;
}

static uint32_t flags64(enum byte_order order)
{
	return order == ORDER_LITTLE ? 2 : 0;
}

static struct err *walk(const struct regs *regs, const struct phys_reader *mem, mapping_fn fn, void *arg)
{
	uint64_t pc = regs_get_or(regs, TOY_PC, 0), n = regs_get_or(regs, TOY_SP, 0);
	struct err *e = NULL;

	(void)mem;
	for (uint64_t i = 0; !e && i < n; i++) {
		struct mapping m = { TOY_GVA_AT(i), TOY_GPA_AT(pc, i), TOY_PAGE, 0 };

		e = fn(arg, &m);
	}
	return e;
}

const struct arch toy32 = {
	.name = "toy32",
	.regs = REGS,
	.n_regs = TOY_N_REGS,
	.features = FEATURES,
	.n_features = ARRAY_LEN(FEATURES),
	.pc = TOY_PC,
	.sp = TOY_SP,
	.fp = TOY_SP,
	.page_bytes = TOY_PAGE,
	.elf_class = class32,
	.elf_machine = machine32,
	.elf_flags = no_flags,
	.machines = MACHINES32,
	.n_machines = ARRAY_LEN(MACHINES32),
	.walk = walk,
};

const struct arch toy64 = {
	.name = "toy64",
	.regs = REGS,
	.n_regs = TOY_N_REGS,
	.features = FEATURES,
	.n_features = ARRAY_LEN(FEATURES),
	.pc = TOY_PC,
	.sp = TOY_SP,
	.fp = TOY_SP,
	.page_bytes = TOY_PAGE,
	.elf_class = class64,
	.elf_machine = machine64,
	.elf_flags = flags64,
	.machines = MACHINES64,
	.n_machines = ARRAY_LEN(MACHINES64),
	.walk = walk,
};
