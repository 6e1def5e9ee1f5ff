/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "arch/s390x/s390x.h"

#include <elf.h>

#define REG(offset, bytes, row) { (offset), (bytes), NOTE_REG, S390X_##row, 0, NULL }
#define NTH(offset, stride, bytes, row, n) { (offset) + (stride) * (n), (bytes), NOTE_REG, S390X_##row + (n), 0, NULL }
#define PID(offset) { (offset), 4, NOTE_PID, 0, 0, NULL }
#define NONZERO(offset, bytes, row) { (offset), (bytes), NOTE_NONZERO, S390X_##row, 0, NULL }

/* For registers numbered 0 to 15, one directly behind the other. */
#define ALL_16(offset, bytes, row) \
	NTH(offset, bytes, bytes, row, 0), NTH(offset, bytes, bytes, row, 1), \
	NTH(offset, bytes, bytes, row, 2), NTH(offset, bytes, bytes, row, 3), \
	NTH(offset, bytes, bytes, row, 4), NTH(offset, bytes, bytes, row, 5), \
	NTH(offset, bytes, bytes, row, 6), NTH(offset, bytes, bytes, row, 7), \
	NTH(offset, bytes, bytes, row, 8), NTH(offset, bytes, bytes, row, 9), \
	NTH(offset, bytes, bytes, row, 10), NTH(offset, bytes, bytes, row, 11), \
	NTH(offset, bytes, bytes, row, 12), NTH(offset, bytes, bytes, row, 13), \
	NTH(offset, bytes, bytes, row, 14), NTH(offset, bytes, bytes, row, 15)

#define NOTE(name, owner_, type_, bytes_, needs) \
	static const struct note_desc name = { \
		.owner = owner_, \
		.type = type_, \
		.bytes = bytes_, \
		.fields = name##_FIELDS, \
		.n_fields = ARRAY_LEN(name##_FIELDS), \
		.needs_reg = S390X_##needs, \
	}

/* ---- PRSTATUS: struct elf_prstatus of Linux, with s390_regs at 112 ---- */

static const struct note_field PRSTATUS_FIELDS[] = {
	PID(32),
	REG(112, 8, PSWM),
	REG(120, 8, PSWA),
	ALL_16(128, 8, R0),
	ALL_16(256, 4, ACR0),
	NONZERO(320, 8, ORIG_R2), /* 0 in the notes of a whole machine, whoever wrote them */
};
NOTE(PRSTATUS, "CORE", NT_PRSTATUS, 336, PSWA);

/* Linux's s390_fp_regs: 4 bytes of padding stand behind fpc. */
static const struct note_field FPREGSET_FIELDS[] = {
	REG(0, 4, FPC),
	ALL_16(8, 8, F0),
};
NOTE(FPREGSET, "CORE", NT_FPREGSET, 136, F0);

/* ---- what Linux's register sets are too, and what dumps of s390 machines add ---- */

static const struct note_field PREFIX_FIELDS[] = { REG(0, 4, PREFIX) };
NOTE(PREFIX, "LINUX", NT_S390_PREFIX, 4, PREFIX);

static const struct note_field CTRS_FIELDS[] = { ALL_16(0, 8, CR0) };
NOTE(CTRS, "LINUX", NT_S390_CTRS, 128, CR0);

static const struct note_field TIMER_FIELDS[] = { REG(0, 8, CPUTM) };
NOTE(TIMER, "LINUX", NT_S390_TIMER, 8, CPUTM);

static const struct note_field TODCMP_FIELDS[] = { REG(0, 8, CKC) };
NOTE(TODCMP, "LINUX", NT_S390_TODCMP, 8, CKC);

static const struct note_field TODPREG_FIELDS[] = { REG(0, 4, TODPR) };
NOTE(TODPREG, "LINUX", NT_S390_TODPREG, 4, TODPR);

static const struct note_field VXRS_LOW_FIELDS[] = { ALL_16(0, 8, V0L) };
NOTE(VXRS_LOW, "LINUX", NT_S390_VXRS_LOW, 128, V0L);

static const struct note_field VXRS_HIGH_FIELDS[] = { ALL_16(0, 16, V16) };
NOTE(VXRS_HIGH, "LINUX", NT_S390_VXRS_HIGH, 256, V16);

static const struct note_field GS_CB_FIELDS[] = {
	REG(0, 8, GS_RESERVED),
	REG(8, 8, GSD),
	REG(16, 8, GSSM),
	REG(24, 8, GSEPLA),
};
NOTE(GS_CB, "LINUX", NT_S390_GS_CB, 32, GSD);

static const struct note_desc *const VCPU[] = {
	&PRSTATUS, &FPREGSET, &PREFIX, &CTRS, &TIMER, &TODCMP, &TODPREG, &VXRS_LOW, &VXRS_HIGH, &GS_CB,
};

static const struct note_group GROUPS[] = { { VCPU, ARRAY_LEN(VCPU) } };

const struct arch_machine s390x_machines[1] = {
	{ EM_S390, { GROUPS, ARRAY_LEN(GROUPS) } },
};
