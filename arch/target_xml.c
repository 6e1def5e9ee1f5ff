/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "arch/arch.h"

#include <string.h>

/*
 * gdb groups the registers of its own features by itself, and saves them when
 * it calls a function in the guest; it must not write ours back then.
 */
static bool is_gdbs_own(const struct reg_feature *feature)
{
	return !strncmp(feature->name, "org.gnu.gdb.", strlen("org.gnu.gdb."));
}

static void add_reg(const struct arch *arch, unsigned reg, struct buf *out)
{
	const struct reg_desc *r = &arch->regs[reg];

	buf_addf(out, "<reg name=\"%s\" bitsize=\"%u\" regnum=\"%u\" type=\"%s\"", r->name, r->bits, reg,
		 r->type);
	if (!is_gdbs_own(&arch->features[r->feature]))
		buf_addf(out, " group=\"%s\" save-restore=\"no\"", r->group);
	buf_adds(out, "/>\n");
}

static void add_feature(const struct arch *arch, unsigned feature, struct buf *out)
{
	const struct reg_feature *f = &arch->features[feature];

	buf_addf(out, "<feature name=\"%s\">\n%s", f->name, f->types ? f->types : "");
	for (unsigned reg = 0; reg < arch->n_regs; reg++)
		if (arch->regs[reg].feature == feature)
			add_reg(arch, reg, out);
	buf_adds(out, "</feature>\n");
}

void arch_target_xml(const struct regs *regs, struct buf *out)
{
	const struct arch *arch = regs->arch;

	buf_adds(out, "<?xml version=\"1.0\"?>\n"
		      "<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n"
		      "<target version=\"1.0\">\n");
	buf_addf(out, "<architecture>%s</architecture>\n", arch->gdb_name);
	if (arch->gdb_osabi)
		buf_addf(out, "<osabi>%s</osabi>\n", arch->gdb_osabi);
	for (unsigned i = 0; i < arch->n_features; i++)
		if (arch_has_feature(regs, i))
			add_feature(arch, i, out);
	buf_adds(out, "</target>\n");
}
