/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "arch/x86_64/x86_64.h"

#define FLAG(name, bit) "<field name=\"" name "\" start=\"" #bit "\" end=\"" #bit "\"/>\n"
#define BITS(name, start, end) \
	"<field name=\"" name "\" start=\"" #start "\" end=\"" #end "\" type=\"uint32\"/>\n"
#define FLAGS(id, bytes, fields) "<flags id=\"" id "\" size=\"" #bytes "\">\n" fields "</flags>\n"
#define VECTOR(id, type, count) "<vector id=\"" id "\" type=\"" type "\" count=\"" #count "\"/>\n"
#define MEMBER(name, type) "<field name=\"" name "\" type=\"" type "\"/>\n"

#define CORE_TYPES \
	FLAGS("i386_eflags", 4, \
	      FLAG("CF", 0) FLAG("", 1) FLAG("PF", 2) FLAG("AF", 4) FLAG("ZF", 6) FLAG("SF", 7) \
	      FLAG("TF", 8) FLAG("IF", 9) FLAG("DF", 10) FLAG("OF", 11) FLAG("NT", 14) FLAG("RF", 16) \
	      FLAG("VM", 17) FLAG("AC", 18) FLAG("VIF", 19) FLAG("VIP", 20) FLAG("ID", 21))

#define SSE_TYPES \
	VECTOR("v4f", "ieee_single", 4) VECTOR("v2d", "ieee_double", 2) VECTOR("v16i8", "int8", 16) \
	VECTOR("v8i16", "int16", 8) VECTOR("v4i32", "int32", 4) VECTOR("v2i64", "int64", 2) \
	"<union id=\"vec128\">\n" \
	MEMBER("v4_float", "v4f") MEMBER("v2_double", "v2d") MEMBER("v16_int8", "v16i8") \
	MEMBER("v8_int16", "v8i16") MEMBER("v4_int32", "v4i32") MEMBER("v2_int64", "v2i64") \
	MEMBER("uint128", "uint128") \
	"</union>\n" \
	FLAGS("i386_mxcsr", 4, \
	      FLAG("IE", 0) FLAG("DE", 1) FLAG("ZE", 2) FLAG("OE", 3) FLAG("UE", 4) FLAG("PE", 5) \
	      FLAG("DAZ", 6) FLAG("IM", 7) FLAG("DM", 8) FLAG("ZM", 9) FLAG("OM", 10) FLAG("UM", 11) \
	      FLAG("PM", 12) FLAG("FZ", 15))

/* Intel SDM volume 3, 2.5 "Control Registers"; AMD APM volume 2, 3.1.7 for EFER. */
#define SYSTEM_TYPES \
	FLAGS("x86_64_cr0", 8, \
	      FLAG("PE", 0) FLAG("MP", 1) FLAG("EM", 2) FLAG("TS", 3) FLAG("ET", 4) FLAG("NE", 5) \
	      FLAG("WP", 16) FLAG("AM", 18) FLAG("NW", 29) FLAG("CD", 30) FLAG("PG", 31)) \
	FLAGS("x86_64_cr4", 8, \
	      FLAG("VME", 0) FLAG("PVI", 1) FLAG("TSD", 2) FLAG("DE", 3) FLAG("PSE", 4) FLAG("PAE", 5) \
	      FLAG("MCE", 6) FLAG("PGE", 7) FLAG("PCE", 8) FLAG("OSFXSR", 9) FLAG("OSXMMEXCPT", 10) \
	      FLAG("UMIP", 11) FLAG("LA57", 12) FLAG("VMXE", 13) FLAG("SMXE", 14) FLAG("FSGSBASE", 16) \
	      FLAG("PCIDE", 17) FLAG("OSXSAVE", 18) FLAG("KL", 19) FLAG("SMEP", 20) FLAG("SMAP", 21) \
	      FLAG("PKE", 22) FLAG("CET", 23) FLAG("PKS", 24) FLAG("UINTR", 25) FLAG("LAM_SUP", 28)) \
	FLAGS("x86_64_efer", 8, \
	      FLAG("SCE", 0) FLAG("LME", 8) FLAG("LMA", 10) FLAG("NXE", 11) FLAG("SVME", 12) \
	      FLAG("LMSLE", 13) FLAG("FFXSR", 14) FLAG("TCE", 15) FLAG("AIBRSE", 21)) \
	FLAGS("x86_64_attr", 4, \
	      BITS("TYPE", 8, 11) FLAG("S", 12) BITS("DPL", 13, 14) FLAG("P", 15) FLAG("AVL", 20) \
	      FLAG("L", 21) FLAG("DB", 22) FLAG("G", 23))

const struct reg_feature x86_64_features[X86_N_FEATURES] = {
	[X86_FEATURE_CORE] = { "org.gnu.gdb.i386.core", CORE_TYPES, -1 },
	[X86_FEATURE_SSE] = { "org.gnu.gdb.i386.sse", SSE_TYPES, -1 },
	[X86_FEATURE_LINUX] = { "org.gnu.gdb.i386.linux", NULL, -1 },
	[X86_FEATURE_SEGMENTS] = { "org.gnu.gdb.i386.segments", NULL, -1 },
	[X86_FEATURE_AVX] = { "org.gnu.gdb.i386.avx", NULL, X86_YMM0H },
	[X86_FEATURE_SYSTEM] = { "org.vmgdbserver.x86_64.system", SYSTEM_TYPES, -1 },
};

#define GENERAL(row, name, type) [row] = { name, 64, X86_FEATURE_CORE, type, "general" }
#define SELECTOR(row, name) [row] = { name, 32, X86_FEATURE_CORE, "int32", "segment" }
#define ST(n) [X86_ST0 + n] = { "st" #n, 80, X86_FEATURE_CORE, "i387_ext", "float" }
#define X87(row, name) [row] = { name, 32, X86_FEATURE_CORE, "int", "float" }
#define XMM(n) [X86_XMM0 + n] = { "xmm" #n, 128, X86_FEATURE_SSE, "vec128", "vector" }
#define YMMH(n) [X86_YMM0H + n] = { "ymm" #n "h", 128, X86_FEATURE_AVX, "uint128", "vector" }
#define SYSTEM(row, name, bits, type, group) [X86_##row] = { name, bits, X86_FEATURE_SYSTEM, type, group },

const struct reg_desc x86_64_regs[X86_N_REGS] = {
	GENERAL(X86_RAX, "rax", "int64"),
	GENERAL(X86_RBX, "rbx", "int64"),
	GENERAL(X86_RCX, "rcx", "int64"),
	GENERAL(X86_RDX, "rdx", "int64"),
	GENERAL(X86_RSI, "rsi", "int64"),
	GENERAL(X86_RDI, "rdi", "int64"),
	GENERAL(X86_RBP, "rbp", "data_ptr"),
	GENERAL(X86_RSP, "rsp", "data_ptr"),
	GENERAL(X86_R8, "r8", "int64"),
	GENERAL(X86_R9, "r9", "int64"),
	GENERAL(X86_R10, "r10", "int64"),
	GENERAL(X86_R11, "r11", "int64"),
	GENERAL(X86_R12, "r12", "int64"),
	GENERAL(X86_R13, "r13", "int64"),
	GENERAL(X86_R14, "r14", "int64"),
	GENERAL(X86_R15, "r15", "int64"),
	GENERAL(X86_RIP, "rip", "code_ptr"),
	[X86_EFLAGS] = { "eflags", 32, X86_FEATURE_CORE, "i386_eflags", "general" },
	SELECTOR(X86_CS, "cs"),
	SELECTOR(X86_SS, "ss"),
	SELECTOR(X86_DS, "ds"),
	SELECTOR(X86_ES, "es"),
	SELECTOR(X86_FS, "fs"),
	SELECTOR(X86_GS, "gs"),
	ST(0), ST(1), ST(2), ST(3), ST(4), ST(5), ST(6), ST(7),
	X87(X86_FCTRL, "fctrl"),
	X87(X86_FSTAT, "fstat"),
	X87(X86_FTAG, "ftag"),
	X87(X86_FISEG, "fiseg"),
	X87(X86_FIOFF, "fioff"),
	X87(X86_FOSEG, "foseg"),
	X87(X86_FOOFF, "fooff"),
	X87(X86_FOP, "fop"),

	XMM(0), XMM(1), XMM(2), XMM(3), XMM(4), XMM(5), XMM(6), XMM(7),
	XMM(8), XMM(9), XMM(10), XMM(11), XMM(12), XMM(13), XMM(14), XMM(15),
	[X86_MXCSR] = { "mxcsr", 32, X86_FEATURE_SSE, "i386_mxcsr", "vector" },

	[X86_ORIG_RAX] = { "orig_rax", 64, X86_FEATURE_LINUX, "int", "system" },

	[X86_FS_BASE] = { "fs_base", 64, X86_FEATURE_SEGMENTS, "int", "segment" },
	[X86_GS_BASE] = { "gs_base", 64, X86_FEATURE_SEGMENTS, "int", "segment" },

	YMMH(0), YMMH(1), YMMH(2), YMMH(3), YMMH(4), YMMH(5), YMMH(6), YMMH(7),
	YMMH(8), YMMH(9), YMMH(10), YMMH(11), YMMH(12), YMMH(13), YMMH(14), YMMH(15),

	X86_SYSTEM_REGS(SYSTEM)
};

const struct x86_64_segment_rows x86_64_segments[X86_N_SEGMENTS] = {
	[X86_SEG_CS] = { X86_CS, X86_CS_BASE, X86_CS_LIMIT, X86_CS_ATTR },
	[X86_SEG_DS] = { X86_DS, X86_DS_BASE, X86_DS_LIMIT, X86_DS_ATTR },
	[X86_SEG_ES] = { X86_ES, X86_ES_BASE, X86_ES_LIMIT, X86_ES_ATTR },
	[X86_SEG_FS] = { X86_FS, X86_FS_BASE, X86_FS_LIMIT, X86_FS_ATTR },
	[X86_SEG_GS] = { X86_GS, X86_GS_BASE, X86_GS_LIMIT, X86_GS_ATTR },
	[X86_SEG_SS] = { X86_SS, X86_SS_BASE, X86_SS_LIMIT, X86_SS_ATTR },
	[X86_SEG_LDT] = { X86_LDTR, X86_LDTR_BASE, X86_LDTR_LIMIT, X86_LDTR_ATTR },
	[X86_SEG_TR] = { X86_TR, X86_TR_BASE, X86_TR_LIMIT, X86_TR_ATTR },
};

/* The numbers that gdb's own description gives them: amd64-tdep.h, amd64-linux-tdep.h. */
_Static_assert(X86_ST0 == 24 && X86_XMM0 == 40 && X86_MXCSR == 56, "gdb's amd64 core and sse");
_Static_assert(X86_ORIG_RAX == 57 && X86_FS_BASE == 58 && X86_YMM0H == 60 && X86_CR0 == 76,
	       "gdb's amd64 linux, segments and avx");
