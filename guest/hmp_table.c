/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/hmp_table.h"

#include <string.h>

#include "arch/ppc64/ppc64.h"
#include "arch/s390x/s390x.h"
#include "arch/x86_64/x86_64.h"

#define ONE(k, row) { .key = k, .n_words = 1, .words = { { row, 0 } } }
#define TWO(k, row1, row2) { .key = k, .n_words = 2, .words = { { row1, 0 }, { row2, 0 } } }
#define DECIMAL(k, n, ...) { .key = k, .decimal = true, .n_words = n, .words = { __VA_ARGS__ } }
#define SERIES(k, from, to, by, width, n, ...) \
	{ .key = k, .first = from, .last = to, .step = by, .digits = width, .n_words = n, .words = { __VA_ARGS__ } }
/* A row of numbers every fourth of which has its key before it. */
#define BY_FOUR(k, row) \
	SERIES(k, 0, 28, 4, 2, 4, { row, 0 }, { row + 1, 0 }, { row + 2, 0 }, { row + 3, 0 })

/* ---- x86_64: target/i386/cpu-dump.c ---- */

#define SEGMENT(k, row, base) \
	{ .key = k, .n_words = 4, .words = { { row, 0 }, { base, 0 }, { row##_LIMIT, 0 }, { row##_ATTR, 0 } } }
#define GENERAL(name) ONE("R" #name, X86_R##name), ONE("E" #name, X86_R##name)

static const struct hmp_field X86_64[] = {
	GENERAL(AX), GENERAL(BX), GENERAL(CX), GENERAL(DX), GENERAL(SI), GENERAL(DI), GENERAL(BP), GENERAL(SP),
	SERIES("R", 8, 15, 1, 1, 1, { X86_R8, 0 }),
	ONE("RIP", X86_RIP), ONE("EIP", X86_RIP),
	ONE("RFL", X86_EFLAGS), ONE("EFL", X86_EFLAGS),
	SEGMENT("ES", X86_ES, X86_ES_BASE), SEGMENT("CS", X86_CS, X86_CS_BASE),
	SEGMENT("SS", X86_SS, X86_SS_BASE), SEGMENT("DS", X86_DS, X86_DS_BASE),
	SEGMENT("FS", X86_FS, X86_FS_BASE), SEGMENT("GS", X86_GS, X86_GS_BASE),
	SEGMENT("LDT", X86_LDTR, X86_LDTR_BASE), SEGMENT("TR", X86_TR, X86_TR_BASE),
	TWO("GDT", X86_GDTR_BASE, X86_GDTR_LIMIT), TWO("IDT", X86_IDTR_BASE, X86_IDTR_LIMIT),
	ONE("CR0", X86_CR0), ONE("CR2", X86_CR2), ONE("CR3", X86_CR3), ONE("CR4", X86_CR4),
	ONE("DR0", X86_DR0), ONE("DR1", X86_DR1), ONE("DR2", X86_DR2), ONE("DR3", X86_DR3),
	ONE("DR6", X86_DR6), ONE("DR7", X86_DR7),
	ONE("EFER", X86_EFER),
	ONE("FCW", X86_FCTRL), ONE("FSW", X86_FSTAT), ONE("FTW", X86_FTAG), ONE("MXCSR", X86_MXCSR),
	SERIES("FPR", 0, 7, 1, 1, 2, { X86_ST0, 0 }, { X86_ST0, 64 }),
	SERIES("XMM", 0, 15, 1, 2, 2, { X86_XMM0, 64 }, { X86_XMM0, 0 }),
	SERIES("YMM", 0, 15, 1, 2, 4, { X86_YMM0H, 64 }, { X86_YMM0H, 0 }, { X86_XMM0, 64 }, { X86_XMM0, 0 }),
	SERIES("ZMM", 0, 15, 1, 2, 8, { HMP_SKIP, 0 }, { HMP_SKIP, 0 }, { HMP_SKIP, 0 }, { HMP_SKIP, 0 },
	       { X86_YMM0H, 64 }, { X86_YMM0H, 0 }, { X86_XMM0, 64 }, { X86_XMM0, 0 }),
};

/* FPR0 is a physical register, ST0 the top of the stack; FTW is the abridged tag word. */
static void finish_x87(struct regs *regs)
{
	uint64_t fstat = regs_get_or(regs, X86_FSTAT, 0), ftw = regs_get_or(regs, X86_FTAG, 0);
	uint8_t physical[8][ARCH_MAX_REG_BYTES];

	if (!regs->valid[X86_FSTAT] || !regs->valid[X86_FTAG])
		return;
	memcpy(physical, regs->slots[X86_ST0], sizeof(physical));
	for (unsigned i = 0; i < 8; i++)
		memcpy(regs->slots[X86_ST0 + i], physical[((fstat >> 11) + i) & 7], sizeof(physical[0]));
	regs_set(regs, X86_FTAG, x86_64_ftag_expand((uint8_t)ftw, (uint16_t)fstat, regs->slots[X86_ST0],
						    sizeof(regs->slots[0])));
}

static void finish_x86_64(struct regs *regs)
{
	/* In compatibility mode bases that have 64 bits are told without the upper half. */
	bool cut = x86_64_long_mode(regs) && !regs->valid[X86_R8];

	for (unsigned i = 0; i < X86_N_SEGMENTS; i++) {
		const struct x86_64_segment_rows *rows = &x86_64_segments[i];
		struct x86_64_attr attr = x86_64_attr_unpack((uint32_t)regs_get_or(regs, rows->attr, 0));

		if (regs->valid[rows->attr])
			regs_set(regs, rows->attr, x86_64_attr_pack(&attr));
		if (cut && (i == X86_SEG_FS || i == X86_SEG_GS || i == X86_SEG_LDT || i == X86_SEG_TR))
			regs_forget(regs, rows->base);
	}
	finish_x87(regs);
}

/* ---- s390x: target/s390x/cpu-dump.c ---- */

static const struct hmp_field S390X[] = {
	ONE("PSW=mask", S390X_PSWM), ONE("addr", S390X_PSWA),
	SERIES("R", 0, 15, 1, 2, 1, { S390X_R0, 0 }),
	SERIES("F", 0, 15, 1, 2, 1, { S390X_F0, 0 }),
	SERIES("V", 0, 15, 1, 2, 2, { S390X_F0, 0 }, { S390X_V0L, 0 }),
	SERIES("V", 16, 31, 1, 2, 2, { S390X_V16, 64 }, { S390X_V16, 0 }),
	ONE("FPC", S390X_FPC),
	SERIES("C", 0, 15, 1, 2, 1, { S390X_CR0, 0 }),
};

/* ---- ppc64: ppc_cpu_dump_state() in target/ppc/ ---- */

static const struct hmp_field PPC64[] = {
	ONE("NIP", PPC64_PC), ONE("LR", PPC64_LR), ONE("CTR", PPC64_CTR), ONE("XER", PPC64_XER),
	ONE("MSR", PPC64_MSR), ONE("HID0", PPC64_HID0), ONE("PIR", PPC64_PIR),
	DECIMAL("TB", 2, { PPC64_TBU, 0 }, { PPC64_TBL, 0 }), DECIMAL("DECR", 1, { PPC64_DEC, 0 }),
	BY_FOUR("GPR", PPC64_R0), ONE("CR", PPC64_CR),
	BY_FOUR("FPR", PPC64_F0), ONE("FPSCR", PPC64_FPSCR),
	ONE("SRR0", PPC64_SRR0), ONE("SRR1", PPC64_SRR1), ONE("PVR", PPC64_PVR), ONE("VRSAVE", PPC64_VRSAVE),
	ONE("SPRG0", PPC64_SPRG0), ONE("SPRG1", PPC64_SPRG1), ONE("SPRG2", PPC64_SPRG2), ONE("SPRG3", PPC64_SPRG3),
	ONE("HSRR0", PPC64_HSRR0), ONE("HSRR1", PPC64_HSRR1), ONE("CFAR", PPC64_CFAR), ONE("LPCR", PPC64_LPCR),
	ONE("SDR1", PPC64_SDR1), ONE("PTCR", PPC64_PTCR), ONE("DAR", PPC64_DAR), ONE("DSISR", PPC64_DSISR),
};

/* ---- all of them ---- */

static const struct hmp_table TABLES[] = {
	{ "x86_64", X86_64, ARRAY_LEN(X86_64), finish_x86_64 },
	{ "s390x", S390X, ARRAY_LEN(S390X), NULL },
	{ "ppc64", PPC64, ARRAY_LEN(PPC64), NULL },
};

const struct hmp_table *hmp_table_of(const struct arch *arch)
{
	for (size_t i = 0; i < ARRAY_LEN(TABLES); i++)
		if (!strcmp(TABLES[i].arch, arch->name))
			return &TABLES[i];
	return NULL;
}
