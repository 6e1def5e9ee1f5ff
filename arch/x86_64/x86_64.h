/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef ARCH_X86_64_X86_64_H
#define ARCH_X86_64_X86_64_H

#include "arch/arch.h"

extern const struct arch arch_x86_64;

/*
 * What no feature of gdb's has: row, name, bits, type, group. The *_ATTR are in
 * the form of x86_64_attr_pack(). One more line is one more register.
 */
#define X86_SYSTEM_REGS(X) \
	X(CR0, "cr0", 64, "x86_64_cr0", "control") \
	X(CR2, "cr2", 64, "int64", "control") \
	X(CR3, "cr3", 64, "int64", "control") \
	X(CR4, "cr4", 64, "x86_64_cr4", "control") \
	X(CR8, "cr8", 64, "int64", "control") \
	X(EFER, "efer", 64, "x86_64_efer", "msr") \
	X(APIC_BASE, "apic_base", 64, "int64", "msr") \
	X(PAT, "pat", 64, "int64", "msr") \
	X(TSC_AUX, "tsc_aux", 64, "int64", "msr") \
	X(K_GS_BASE, "k_gs_base", 64, "int64", "msr") \
	X(STAR, "star", 64, "int64", "msr") \
	X(LSTAR, "lstar", 64, "code_ptr", "msr") \
	X(CSTAR, "cstar", 64, "code_ptr", "msr") \
	X(FMASK, "fmask", 64, "int64", "msr") \
	X(SYSENTER_CS, "sysenter_cs", 64, "int64", "msr") \
	X(SYSENTER_ESP, "sysenter_esp", 64, "data_ptr", "msr") \
	X(SYSENTER_EIP, "sysenter_eip", 64, "code_ptr", "msr") \
	X(CS_BASE, "cs_base", 64, "int64", "segment") \
	X(CS_LIMIT, "cs_limit", 32, "uint32", "segment") \
	X(CS_ATTR, "cs_attr", 32, "x86_64_attr", "segment") \
	X(DS_BASE, "ds_base", 64, "int64", "segment") \
	X(DS_LIMIT, "ds_limit", 32, "uint32", "segment") \
	X(DS_ATTR, "ds_attr", 32, "x86_64_attr", "segment") \
	X(ES_BASE, "es_base", 64, "int64", "segment") \
	X(ES_LIMIT, "es_limit", 32, "uint32", "segment") \
	X(ES_ATTR, "es_attr", 32, "x86_64_attr", "segment") \
	X(FS_LIMIT, "fs_limit", 32, "uint32", "segment") \
	X(FS_ATTR, "fs_attr", 32, "x86_64_attr", "segment") \
	X(GS_LIMIT, "gs_limit", 32, "uint32", "segment") \
	X(GS_ATTR, "gs_attr", 32, "x86_64_attr", "segment") \
	X(SS_BASE, "ss_base", 64, "int64", "segment") \
	X(SS_LIMIT, "ss_limit", 32, "uint32", "segment") \
	X(SS_ATTR, "ss_attr", 32, "x86_64_attr", "segment") \
	X(LDTR, "ldtr", 32, "int32", "segment") \
	X(LDTR_BASE, "ldtr_base", 64, "int64", "segment") \
	X(LDTR_LIMIT, "ldtr_limit", 32, "uint32", "segment") \
	X(LDTR_ATTR, "ldtr_attr", 32, "x86_64_attr", "segment") \
	X(TR, "tr", 32, "int32", "segment") \
	X(TR_BASE, "tr_base", 64, "int64", "segment") \
	X(TR_LIMIT, "tr_limit", 32, "uint32", "segment") \
	X(TR_ATTR, "tr_attr", 32, "x86_64_attr", "segment") \
	X(GDTR_BASE, "gdtr_base", 64, "int64", "segment") \
	X(GDTR_LIMIT, "gdtr_limit", 32, "uint32", "segment") \
	X(IDTR_BASE, "idtr_base", 64, "int64", "segment") \
	X(IDTR_LIMIT, "idtr_limit", 32, "uint32", "segment") \
	X(DR0, "dr0", 64, "int64", "control") \
	X(DR1, "dr1", 64, "int64", "control") \
	X(DR2, "dr2", 64, "int64", "control") \
	X(DR3, "dr3", 64, "int64", "control") \
	X(DR6, "dr6", 64, "int64", "control") \
	X(DR7, "dr7", 64, "int64", "control")

#define X86_SYSTEM_ROW(row, name, bits, type, group) X86_##row,

/*
 * The register rows. The layout is the 64-bit one whatever mode the vCPU is
 * in. Up to X86_YMM15H the order and the names are gdb's own.
 */
enum x86_64_reg {
	X86_RAX, X86_RBX, X86_RCX, X86_RDX, X86_RSI, X86_RDI, X86_RBP, X86_RSP,
	X86_R8, X86_R9, X86_R10, X86_R11, X86_R12, X86_R13, X86_R14, X86_R15,
	X86_RIP, X86_EFLAGS,
	X86_CS, X86_SS, X86_DS, X86_ES, X86_FS, X86_GS, /* selectors */
	X86_ST0, X86_ST7 = X86_ST0 + 7,                 /* in stack order */
	X86_FCTRL, X86_FSTAT,
	X86_FTAG, /* the full tag word: 2 bits a physical register */
	X86_FISEG, X86_FIOFF, X86_FOSEG, X86_FOOFF, X86_FOP,
	X86_XMM0, X86_XMM15 = X86_XMM0 + 15,
	X86_MXCSR,
	X86_ORIG_RAX,
	X86_FS_BASE, X86_GS_BASE,
	X86_YMM0H, X86_YMM15H = X86_YMM0H + 15, /* unknown where the guest has no AVX */

	X86_SYSTEM_REGS(X86_SYSTEM_ROW)
	X86_N_REGS
};

enum {
	X86_FEATURE_CORE,
	X86_FEATURE_SSE,
	X86_FEATURE_LINUX,
	X86_FEATURE_SEGMENTS,
	X86_FEATURE_AVX,
	X86_FEATURE_SYSTEM,
	X86_N_FEATURES
};

#define X86_CR0_PE (1ull << 0)
#define X86_CR0_PG (1ull << 31)
#define X86_CR4_PSE (1ull << 4)
#define X86_CR4_PAE (1ull << 5)
#define X86_CR4_LA57 (1ull << 12)
#define X86_EFER_LME (1ull << 8)
#define X86_EFER_LMA (1ull << 10)
#define X86_EFER_NXE (1ull << 11)

/* Segments with a hidden part, in the order of the "QEMU" note. */
enum x86_64_segment {
	X86_SEG_CS, X86_SEG_DS, X86_SEG_ES, X86_SEG_FS, X86_SEG_GS, X86_SEG_SS, X86_SEG_LDT, X86_SEG_TR,
	X86_N_SEGMENTS
};

/* The rows of one segment. */
struct x86_64_segment_rows {
	uint16_t selector, base, limit, attr;
};

extern const struct x86_64_segment_rows x86_64_segments[X86_N_SEGMENTS];

/*
 * The attributes of a segment. Packed, the form of the *_ATTR rows, they stand
 * where the second dword of a descriptor has them. An unusable segment packs
 * to 0, and one that is not present is unusable.
 */
struct x86_64_attr {
	uint8_t type; /* 4 bits */
	uint8_t s, dpl, present, avl, l, db, g;
};

uint32_t x86_64_attr_pack(const struct x86_64_attr *attr);
struct x86_64_attr x86_64_attr_unpack(uint32_t packed);

/*
 * Is EFER.LMA set? A core does not tell EFER; there it is inferred: PAE paging
 * is on, and CS is a 64-bit segment or an address needs more than 32 bits.
 * Where not even CR0 is known, r15 is: only the 64-bit PRSTATUS tells that.
 */
bool x86_64_long_mode(const struct regs *regs);

/* ---- x87, SSE and AVX state ---- */

#define X86_FXSAVE_BYTES 512u
#define X86_XSAVE_BYTES 832u /* the standard format up to and with AVX */

#define X86_XSTATE_X87 1u
#define X86_XSTATE_SSE 2u
#define X86_XSTATE_AVX 4u

/*
 * The abridged tag word of FXSAVE has a 1 for each physical register that is
 * not empty. st: what is in the stack from ST(0) on, 10 bytes each every
 * st_stride bytes; fstat holds TOP.
 */
uint8_t x86_64_ftag_abridge(uint16_t ftag);
uint16_t x86_64_ftag_expand(uint8_t abridged, uint16_t fstat, const uint8_t *st, size_t st_stride);

/*
 * Between the rows and a 64-bit FXSAVE image (X86_FXSAVE_BYTES). get writes
 * what is known and leaves every other byte of image as it was; put sets every
 * x87 and SSE row.
 */
void x86_64_fxsave_get(const struct regs *regs, uint8_t *image);
void x86_64_fxsave_put(struct regs *regs, const uint8_t *image);

/*
 * The same with a standard-format XSAVE image, of which the first
 * X86_XSAVE_BYTES count. get marks in XSTATE_BV what it wrote. put sets the
 * AVX rows too; what XSTATE_BV leaves out is in its initial state.
 */
void x86_64_xsave_get(const struct regs *regs, uint8_t *image);
void x86_64_xsave_put(struct regs *regs, const uint8_t *image);

/* ---- parts of arch_x86_64 ---- */

extern const struct reg_desc x86_64_regs[X86_N_REGS];
extern const struct reg_feature x86_64_features[X86_N_FEATURES];
extern const struct arch_machine x86_64_machines[2];

struct err *x86_64_translate(const struct regs *regs, const struct phys_reader *mem, uint64_t gva,
			     struct mapping *ret) MUST_CHECK;
struct err *x86_64_walk(const struct regs *regs, const struct phys_reader *mem, mapping_fn fn,
			void *arg) MUST_CHECK;

#endif
