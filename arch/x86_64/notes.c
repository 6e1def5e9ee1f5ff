/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "arch/x86_64/notes.h"

#include <elf.h>

#define REG(offset, bytes, reg) { (offset), (bytes), NOTE_REG, (reg), 0, NULL }
#define MARKED(offset, bytes, reg, unknown) { (offset), (bytes), NOTE_REG, (reg), (unknown), NULL }
#define PID(offset) { (offset), 4, NOTE_PID, 0, 0, NULL }
#define CONST(offset, bytes, value) { (offset), (bytes), NOTE_CONST, 0, (value), NULL }
#define CONV(offset, bytes, conv) { (offset), (bytes), NOTE_CONV, 0, 0, (conv) }

#define NT_QEMU_CPU_STATE 0u

/* ---- PRSTATUS: struct elf_prstatus of Linux, with struct user_regs_struct at 112 ---- */

static bool get_fpvalid(const struct regs *regs, uint8_t *ret, size_t bytes)
{
	if (!regs_bytes(regs, X86_ST0))
		return false;
	store_uint(ret, bytes, regs->order, 1);
	return true;
}

static const struct note_conv FPVALID = { get_fpvalid, NULL };

static const struct note_field PRSTATUS64_FIELDS[] = {
	PID(32),
	REG(112, 8, X86_R15),
	REG(120, 8, X86_R14),
	REG(128, 8, X86_R13),
	REG(136, 8, X86_R12),
	REG(144, 8, X86_RBP),
	REG(152, 8, X86_RBX),
	REG(160, 8, X86_R11),
	REG(168, 8, X86_R10),
	REG(176, 8, X86_R9),
	REG(184, 8, X86_R8),
	REG(192, 8, X86_RAX),
	REG(200, 8, X86_RCX),
	REG(208, 8, X86_RDX),
	REG(216, 8, X86_RSI),
	REG(224, 8, X86_RDI),
	MARKED(232, 8, X86_ORIG_RAX, UINT64_MAX), /* as Linux writes outside of a system call */
	REG(240, 8, X86_RIP),
	REG(248, 8, X86_CS),
	REG(256, 8, X86_EFLAGS),
	REG(264, 8, X86_RSP),
	REG(272, 8, X86_SS),
	REG(280, 8, X86_FS_BASE),
	REG(288, 8, X86_GS_BASE),
	REG(296, 8, X86_DS),
	REG(304, 8, X86_ES),
	REG(312, 8, X86_FS),
	REG(320, 8, X86_GS),
	CONV(328, 4, &FPVALID),
};

static const struct note_desc PRSTATUS64 = {
	.owner = "CORE",
	.type = NT_PRSTATUS,
	.bytes = 336,
	.fields = PRSTATUS64_FIELDS,
	.n_fields = ARRAY_LEN(PRSTATUS64_FIELDS),
	.needs_reg = X86_RIP,
};

/* pr_fpvalid at 140 stays 0: no FP note goes with it. */
static const struct note_field PRSTATUS32_FIELDS[] = {
	PID(24),
	REG(72, 4, X86_RBX),
	REG(76, 4, X86_RCX),
	REG(80, 4, X86_RDX),
	REG(84, 4, X86_RSI),
	REG(88, 4, X86_RDI),
	REG(92, 4, X86_RBP),
	REG(96, 4, X86_RAX),
	REG(100, 4, X86_DS),
	REG(104, 4, X86_ES),
	REG(108, 4, X86_FS),
	REG(112, 4, X86_GS),
	MARKED(116, 4, X86_ORIG_RAX, UINT32_MAX),
	REG(120, 4, X86_RIP),
	REG(124, 4, X86_CS),
	REG(128, 4, X86_EFLAGS),
	REG(132, 4, X86_RSP),
	REG(136, 4, X86_SS),
};

static const struct note_desc PRSTATUS32 = {
	.owner = "CORE",
	.type = NT_PRSTATUS,
	.bytes = 144,
	.fields = PRSTATUS32_FIELDS,
	.n_fields = ARRAY_LEN(PRSTATUS32_FIELDS),
	.needs_reg = X86_RIP,
};

/* ---- NT_FPREGSET and NT_X86_XSTATE: Intel SDM volume 1, 10.5.1 and 13.4 ---- */

#define FSTAT_OFFSET 2u
#define FTW_OFFSET 4u
#define ST_OFFSET 32u
#define ST_STRIDE 16u

static bool get_ftw(const struct regs *regs, uint8_t *ret, size_t bytes)
{
	uint64_t ftag;

	if (!regs_get(regs, X86_FTAG, &ftag))
		return false;
	store_uint(ret, bytes, regs->order, x86_64_ftag_abridge((uint16_t)ftag));
	return true;
}

/* from lies in an FXSAVE image, which holds all that the full tag word is made of. */
static void put_ftw(struct regs *regs, const uint8_t *from, size_t bytes)
{
	const uint8_t *image = from - FTW_OFFSET;
	uint16_t fstat = (uint16_t)load_uint(image + FSTAT_OFFSET, 2, regs->order);
	uint8_t abridged = (uint8_t)load_uint(from, bytes, regs->order);

	regs_set(regs, X86_FTAG, x86_64_ftag_expand(abridged, fstat, image + ST_OFFSET, ST_STRIDE));
}

static const struct note_conv FTW = { get_ftw, put_ftw };

#define FX_ST(n) REG(ST_OFFSET + ST_STRIDE * (n), 10, X86_ST0 + (n))
#define FX_XMM(n) REG(160 + 16 * (n), 16, X86_XMM0 + (n))
#define XS_YMMH(n) REG(576 + 16 * (n), 16, X86_YMM0H + (n))

enum {
	N_XSTATE_CONSTS = 2,
	N_FXSAVE_FIELDS = 33,
	N_YMMH_FIELDS = 16,
};

/* The fields of three notes: each is a run of these. */
static const struct note_field XSTATE_FIELDS[] = {
	/* XCR0, where Linux has it in a core, and XSTATE_BV. */
	CONST(464, 8, X86_XSTATE_X87 | X86_XSTATE_SSE | X86_XSTATE_AVX),
	CONST(512, 8, X86_XSTATE_X87 | X86_XSTATE_SSE | X86_XSTATE_AVX),

	REG(0, 2, X86_FCTRL),
	REG(FSTAT_OFFSET, 2, X86_FSTAT),
	CONV(FTW_OFFSET, 1, &FTW),
	REG(6, 2, X86_FOP),
	REG(8, 4, X86_FIOFF),
	REG(12, 2, X86_FISEG),
	REG(16, 4, X86_FOOFF),
	REG(20, 2, X86_FOSEG),
	REG(24, 4, X86_MXCSR),
	FX_ST(0), FX_ST(1), FX_ST(2), FX_ST(3), FX_ST(4), FX_ST(5), FX_ST(6), FX_ST(7),
	FX_XMM(0), FX_XMM(1), FX_XMM(2), FX_XMM(3), FX_XMM(4), FX_XMM(5), FX_XMM(6), FX_XMM(7),
	FX_XMM(8), FX_XMM(9), FX_XMM(10), FX_XMM(11), FX_XMM(12), FX_XMM(13), FX_XMM(14), FX_XMM(15),

	XS_YMMH(0), XS_YMMH(1), XS_YMMH(2), XS_YMMH(3), XS_YMMH(4), XS_YMMH(5), XS_YMMH(6), XS_YMMH(7),
	XS_YMMH(8), XS_YMMH(9), XS_YMMH(10), XS_YMMH(11), XS_YMMH(12), XS_YMMH(13), XS_YMMH(14), XS_YMMH(15),
};

_Static_assert(ARRAY_LEN(XSTATE_FIELDS) == N_XSTATE_CONSTS + N_FXSAVE_FIELDS + N_YMMH_FIELDS,
	       "the runs are the whole");

const struct note_desc x86_64_fpregset = {
	.owner = "CORE",
	.type = NT_FPREGSET,
	.bytes = X86_FXSAVE_BYTES,
	.fields = XSTATE_FIELDS + N_XSTATE_CONSTS,
	.n_fields = N_FXSAVE_FIELDS,
	.needs_reg = X86_ST0,
};

static const struct note_desc XSTATE = {
	.owner = "LINUX",
	.type = NT_X86_XSTATE,
	.bytes = X86_XSAVE_BYTES,
	.fields = XSTATE_FIELDS,
	.n_fields = ARRAY_LEN(XSTATE_FIELDS),
	.needs_reg = X86_YMM0H,
};

const struct note_desc x86_64_xstate_registers = {
	.owner = "LINUX",
	.type = NT_X86_XSTATE,
	.bytes = X86_XSAVE_BYTES,
	.fields = XSTATE_FIELDS + N_XSTATE_CONSTS,
	.n_fields = ARRAY_LEN(XSTATE_FIELDS) - N_XSTATE_CONSTS,
	.needs_reg = X86_YMM0H,
};

/* ---- QEMU's CPU state, from which crash takes CR3, IDTR and the kernel's slide ---- */

#define SEGMENT_LIMIT_BASE(offset, limit, base) REG((offset) + 4, 4, limit), REG((offset) + 16, 8, base)
#define SEGMENT(offset, row) \
	REG(offset, 4, X86_##row), REG((offset) + 8, 4, X86_##row##_ATTR), \
	SEGMENT_LIMIT_BASE(offset, X86_##row##_LIMIT, X86_##row##_BASE)

static const struct note_field QEMU_FIELDS[] = {
	CONST(0, 4, 1),   /* version */
	CONST(4, 4, 440), /* size */
	REG(8, 8, X86_RAX),
	REG(16, 8, X86_RBX),
	REG(24, 8, X86_RCX),
	REG(32, 8, X86_RDX),
	REG(40, 8, X86_RSI),
	REG(48, 8, X86_RDI),
	REG(56, 8, X86_RSP),
	REG(64, 8, X86_RBP),
	REG(72, 8, X86_R8),
	REG(80, 8, X86_R9),
	REG(88, 8, X86_R10),
	REG(96, 8, X86_R11),
	REG(104, 8, X86_R12),
	REG(112, 8, X86_R13),
	REG(120, 8, X86_R14),
	REG(128, 8, X86_R15),
	REG(136, 8, X86_RIP),
	REG(144, 8, X86_EFLAGS),
	SEGMENT(152, CS),
	SEGMENT(176, DS),
	SEGMENT(200, ES),
	SEGMENT(224, FS),
	SEGMENT(248, GS),
	SEGMENT(272, SS),
	SEGMENT(296, LDTR),
	SEGMENT(320, TR),
	SEGMENT_LIMIT_BASE(344, X86_GDTR_LIMIT, X86_GDTR_BASE),
	SEGMENT_LIMIT_BASE(368, X86_IDTR_LIMIT, X86_IDTR_BASE),
	REG(392, 8, X86_CR0),
	REG(408, 8, X86_CR2),
	REG(416, 8, X86_CR3),
	REG(424, 8, X86_CR4),
	REG(432, 8, X86_K_GS_BASE),
};

static const struct note_desc QEMU_CPU_STATE = {
	.owner = "QEMU",
	.type = NT_QEMU_CPU_STATE,
	.bytes = 440,
	.fields = QEMU_FIELDS,
	.n_fields = ARRAY_LEN(QEMU_FIELDS),
	.needs_reg = X86_CR0,
};

/* ---- the sets ---- */

static const struct note_desc *const THREAD64[] = { &PRSTATUS64, &x86_64_fpregset, &XSTATE };
static const struct note_desc *const THREAD32[] = { &PRSTATUS32 };
static const struct note_desc *const CPU_STATE[] = { &QEMU_CPU_STATE };

static const struct note_group GROUPS64[] = {
	{ THREAD64, ARRAY_LEN(THREAD64) },
	{ CPU_STATE, ARRAY_LEN(CPU_STATE) },
};

static const struct note_group GROUPS32[] = {
	{ THREAD32, ARRAY_LEN(THREAD32) },
	{ CPU_STATE, ARRAY_LEN(CPU_STATE) },
};

const struct arch_machine x86_64_machines[2] = {
	{ EM_X86_64, { GROUPS64, ARRAY_LEN(GROUPS64) } },
	{ EM_386, { GROUPS32, ARRAY_LEN(GROUPS32) } },
};
