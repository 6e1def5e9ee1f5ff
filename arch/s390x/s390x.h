/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef ARCH_S390X_S390X_H
#define ARCH_S390X_S390X_H

#include "arch/arch.h"

extern const struct arch arch_s390x;

/*
 * Registers of which there is one each: row, name, bits, feature, type, group.
 * One more line is one more register.
 */
#define S390X_SINGLE_REGS(X) \
	X(CKC, "ckc", 64, VIRT, "uint64", "system") /* clock comparator, in TOD-clock units */ \
	X(CPUTM, "cputm", 64, VIRT, "uint64", "system") /* the CPU timer, in the same units */ \
	X(LAST_BREAK, "last_break", 64, VIRT, "code_ptr", "system") /* breaking-event address */ \
	X(PREFIX, "prefix", 64, VIRT, "data_ptr", "system") \
	X(PP, "pp", 64, VIRT_KVM, "uint64", "system") /* the program parameter */ \
	X(PFAULT_TOKEN, "pfault_token", 64, VIRT_KVM, "uint64", "system") \
	X(PFAULT_SELECT, "pfault_select", 64, VIRT_KVM, "uint64", "system") \
	X(PFAULT_COMPARE, "pfault_compare", 64, VIRT_KVM, "uint64", "system") \
	X(ORIG_R2, "orig_r2", 64, LINUX, "uint64", "system") /* of a core of a program; no vCPU has it */ \
	X(TODPR, "todpr", 32, SYSTEM, "uint32", "system") /* the TOD programmable register */

#define S390X_SINGLE_ROW(row, name, bits, feature, type, group) S390X_##row,

/*
 * The register rows. Features, names and, up to S390X_CR15, numbers are those
 * of QEMU's stub, which are gdb's own where gdb knows the feature.
 */
enum s390x_reg {
	S390X_PSWM, S390X_PSWA, /* the PSW's mask and address doublewords */
	S390X_R0, S390X_R15 = S390X_R0 + 15,
	S390X_ACR0, S390X_ACR15 = S390X_ACR0 + 15,
	S390X_FPC,
	S390X_F0, S390X_F15 = S390X_F0 + 15, /* the high doublewords of v0 to v15 too */
	S390X_V0L, S390X_V15L = S390X_V0L + 15, /* the low ones; V0L to V31 unknown: no vector facility */
	S390X_V16, S390X_V31 = S390X_V16 + 15,
	S390X_GS_RESERVED, S390X_GSD, S390X_GSSM, S390X_GSEPLA, /* the guarded-storage control block */
	S390X_CR0, S390X_CR15 = S390X_CR0 + 15,

	S390X_SINGLE_REGS(S390X_SINGLE_ROW)
	S390X_N_REGS
};

enum {
	S390X_FEATURE_CORE,
	S390X_FEATURE_ACR,
	S390X_FEATURE_FPR,
	S390X_FEATURE_VX,
	S390X_FEATURE_GS,
	S390X_FEATURE_CR,
	S390X_FEATURE_VIRT,
	S390X_FEATURE_VIRT_KVM,
	S390X_FEATURE_LINUX,
	S390X_FEATURE_SYSTEM,
	S390X_N_FEATURES
};

/* z/Architecture Principles of Operation, chapter 4 "Program-Status Word". */
#define S390X_PSW_DAT (1ull << 58)
#define S390X_PSW_PROBLEM (1ull << 48)
#define S390X_PSW_AS_SHIFT 46 /* 2 bits: S390X_AS_* */
#define S390X_PSW_EA (1ull << 32) /* EA and BA: 64-bit addresses, BA alone: 31-bit, neither: 24-bit */
#define S390X_PSW_BA (1ull << 31)

enum s390x_address_space {
	S390X_AS_PRIMARY,
	S390X_AS_ACCESS_REGISTER,
	S390X_AS_SECONDARY,
	S390X_AS_HOME,
};

#define S390X_CR0_EDAT (1ull << 23)
#define S390X_CR0_IEP (1ull << 20)

/* Real addresses from 0 on and from the prefix on change places, this many bytes each. */
#define S390X_PREFIX_BYTES 8192u
#define S390X_PREFIX_MASK 0x7fffe000u /* of S390X_PREFIX */

/* ---- parts of arch_s390x ---- */

extern const struct reg_desc s390x_regs[S390X_N_REGS];
extern const struct reg_feature s390x_features[S390X_N_FEATURES];
extern const struct arch_machine s390x_machines[1];

/* Guest-physical memory is what the architecture calls absolute storage. */
struct err *s390x_translate(const struct regs *regs, const struct phys_reader *mem, uint64_t gva,
			    struct mapping *ret) MUST_CHECK;
struct err *s390x_walk(const struct regs *regs, const struct phys_reader *mem, mapping_fn fn,
		       void *arg) MUST_CHECK;

#endif
