/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "arch/arch.h"

#include <string.h>

#include "arch/ppc64/ppc64.h"
#include "arch/s390x/s390x.h"
#include "arch/x86_64/x86_64.h"

static const struct arch *const ARCHES[] = {
	&arch_x86_64,
	&arch_ppc64,
	&arch_s390x,
};

const struct arch *arch_nth(size_t n)
{
	return n < ARRAY_LEN(ARCHES) ? ARCHES[n] : NULL;
}

const struct arch *arch_by_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(ARCHES); i++)
		if (!strcmp(ARCHES[i]->name, name))
			return ARCHES[i];
	return NULL;
}

const struct arch *arch_by_elf(uint16_t e_machine)
{
	for (size_t i = 0; i < ARRAY_LEN(ARCHES); i++)
		if (arch_notes(ARCHES[i], e_machine))
			return ARCHES[i];
	return NULL;
}

const struct note_set *arch_notes(const struct arch *arch, uint16_t e_machine)
{
	for (size_t i = 0; i < arch->n_machines; i++)
		if (arch->machines[i].e_machine == e_machine)
			return &arch->machines[i].notes;
	return NULL;
}

int arch_reg_by_name(const struct arch *arch, const char *name)
{
	for (size_t i = 0; i < arch->n_regs; i++)
		if (!strcmp(arch->regs[i].name, name))
			return (int)i;
	return -1;
}

bool arch_has_feature(const struct regs *regs, unsigned feature)
{
	int reg = regs->arch->features[feature].present_if;

	return reg < 0 || regs_bytes(regs, (unsigned)reg);
}
