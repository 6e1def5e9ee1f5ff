/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "arch/ppc64/ppc64.h"

#include <elf.h>

#define REG(offset, bytes, row) { (offset), (bytes), NOTE_REG, PPC64_##row, 0, NULL }
#define NONZERO(offset, bytes, row) { (offset), (bytes), NOTE_NONZERO, PPC64_##row, 0, NULL }
#define NTH(base, bytes, first, n) { (base) + (bytes) * (n), (bytes), NOTE_REG, PPC64_##first + (n), 0, NULL }
#define MARKED(offset, bytes, row, unknown) { (offset), (bytes), NOTE_REG, PPC64_##row, (unknown), NULL }
#define PID(offset) { (offset), 4, NOTE_PID, 0, 0, NULL }

#define EACH_OF_32(base, bytes, first) \
	NTH(base, bytes, first, 0), NTH(base, bytes, first, 1), NTH(base, bytes, first, 2), \
	NTH(base, bytes, first, 3), NTH(base, bytes, first, 4), NTH(base, bytes, first, 5), \
	NTH(base, bytes, first, 6), NTH(base, bytes, first, 7), NTH(base, bytes, first, 8), \
	NTH(base, bytes, first, 9), NTH(base, bytes, first, 10), NTH(base, bytes, first, 11), \
	NTH(base, bytes, first, 12), NTH(base, bytes, first, 13), NTH(base, bytes, first, 14), \
	NTH(base, bytes, first, 15), NTH(base, bytes, first, 16), NTH(base, bytes, first, 17), \
	NTH(base, bytes, first, 18), NTH(base, bytes, first, 19), NTH(base, bytes, first, 20), \
	NTH(base, bytes, first, 21), NTH(base, bytes, first, 22), NTH(base, bytes, first, 23), \
	NTH(base, bytes, first, 24), NTH(base, bytes, first, 25), NTH(base, bytes, first, 26), \
	NTH(base, bytes, first, 27), NTH(base, bytes, first, 28), NTH(base, bytes, first, 29), \
	NTH(base, bytes, first, 30), NTH(base, bytes, first, 31)

/*
 * struct elf_prstatus of Linux, with struct pt_regs at 112 and 4 unused
 * doublewords behind it. softe at 424 and result at 456 are the kernel's own and
 * stay 0, and so does pr_fpvalid at 496, as in the kernel's own vmcores.
 */
static const struct note_field PRSTATUS_FIELDS[] = {
	PID(32),
	EACH_OF_32(112, 8, R0),
	REG(368, 8, PC),
	REG(376, 8, MSR),
	REG(384, 8, ORIG_R3),
	REG(392, 8, CTR),
	REG(400, 8, LR),
	REG(408, 8, XER),
	REG(416, 8, CR),
	NONZERO(432, 8, TRAP), /* 0 is no interrupt's; QEMU and we write it */
	REG(440, 8, DAR),
	REG(448, 8, DSISR),
};

static const struct note_desc PRSTATUS = {
	.owner = "CORE",
	.type = NT_PRSTATUS,
	.bytes = 504,
	.fields = PRSTATUS_FIELDS,
	.n_fields = ARRAY_LEN(PRSTATUS_FIELDS),
	.needs_reg = PPC64_PC,
};

static const struct note_field FPREGSET_FIELDS[] = {
	EACH_OF_32(0, 8, F0),
	REG(256, 8, FPSCR),
};

static const struct note_desc FPREGSET = {
	.owner = "CORE",
	.type = NT_FPREGSET,
	.bytes = 264,
	.fields = FPREGSET_FIELDS,
	.n_fields = ARRAY_LEN(FPREGSET_FIELDS),
	.needs_reg = PPC64_F0,
};

/*
 * Quadwords as stvx stores them. VSCR is the low word of its own: the last in
 * a big-endian guest, else the first. VRSAVE is the first in both.
 */
static const struct note_field VMX_FIELDS[] = {
	EACH_OF_32(0, 16, VR0),
	REG(512, 16, VSCR),
	REG(528, 4, VRSAVE),
};

static const struct note_desc VMX = {
	.owner = "LINUX",
	.type = NT_PPC_VMX,
	.bytes = 544,
	.fields = VMX_FIELDS,
	.n_fields = ARRAY_LEN(VMX_FIELDS),
	.needs_reg = PPC64_VR0,
};

static const struct note_field VSX_FIELDS[] = { EACH_OF_32(0, 8, VS0H) };

static const struct note_desc VSX = {
	.owner = "LINUX",
	.type = NT_PPC_VSX,
	.bytes = 256,
	.fields = VSX_FIELDS,
	.n_fields = ARRAY_LEN(VSX_FIELDS),
	.needs_reg = PPC64_VS0H,
};

/*
 * What address translation needs, of which Linux has no note: QEMU's on x86_64
 * and Linux's CTRS on s390x are for the same. All bits set: not known. Readers
 * go by the owner, or pass over type 0.
 */
static const struct note_field MMU_FIELDS[] = {
	MARKED(0, 8, PID, UINT64_MAX),
	REG(8, 8, LPCR),
	MARKED(16, 8, PTCR, UINT64_MAX),
	MARKED(24, 8, HRMOR, UINT64_MAX),
	MARKED(32, 8, PRTB, UINT64_MAX),
};

static const struct note_desc MMU = {
	.owner = "vmgdbserver",
	.type = 0,
	.bytes = 40,
	.fields = MMU_FIELDS,
	.n_fields = ARRAY_LEN(MMU_FIELDS),
	.needs_reg = PPC64_LPCR,
};

static const struct note_desc *const THREAD[] = { &PRSTATUS, &FPREGSET, &VMX, &VSX, &MMU };
static const struct note_group GROUPS[] = { { THREAD, ARRAY_LEN(THREAD) } };

const struct arch_machine ppc64_machines[1] = {
	{ EM_PPC64, { GROUPS, ARRAY_LEN(GROUPS) } },
};
