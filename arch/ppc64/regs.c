/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "arch/ppc64/ppc64.h"

#define FLAG(name, bit) "<field name=\"" name "\" start=\"" #bit "\" end=\"" #bit "\"/>\n"
#define BITS(name, start, end) \
	"<field name=\"" name "\" start=\"" #start "\" end=\"" #end "\" type=\"uint64\"/>\n"
#define FLAGS(id, bytes, fields) "<flags id=\"" id "\" size=\"" #bytes "\">\n" fields "</flags>\n"
#define VECTOR(id, type, count) "<vector id=\"" id "\" type=\"" type "\" count=\"" #count "\"/>\n"
#define MEMBER(name, type) "<field name=\"" name "\" type=\"" type "\"/>\n"

/* Power ISA 3.0B book III, 3.2.1 "Machine State Register"; bits are counted from the low end. */
#define MSR_FIELDS \
	FLAG("LE", 0) FLAG("RI", 1) FLAG("PMM", 2) FLAG("DR", 4) FLAG("IR", 5) FLAG("FE1", 8) \
	BITS("TE", 9, 10) FLAG("FE0", 11) FLAG("ME", 12) FLAG("FP", 13) FLAG("PR", 14) FLAG("EE", 15) \
	FLAG("VSX", 23) FLAG("VEC", 25) FLAG("TM", 32) BITS("TS", 33, 34) FLAG("HV", 60) FLAG("SF", 63)

#define CORE_TYPES FLAGS("ppc64_msr", 8, MSR_FIELDS)

#define ALTIVEC_TYPES \
	VECTOR("v4f", "ieee_single", 4) VECTOR("v4i32", "int32", 4) VECTOR("v8i16", "int16", 8) \
	VECTOR("v16i8", "int8", 16) \
	"<union id=\"vec128\">\n" \
	MEMBER("uint128", "uint128") MEMBER("v4_float", "v4f") MEMBER("v4_int32", "v4i32") \
	MEMBER("v8_int16", "v8i16") MEMBER("v16_int8", "v16i8") \
	"</union>\n"

/* A type is known in its own feature only. Book III, 2.2 "Logical Partitioning Control Register". */
#define SPR_TYPES \
	FLAGS("ppc64_msr_image", 8, MSR_FIELDS) \
	FLAGS("ppc64_lpcr", 8, \
	      FLAG("HDICE", 0) FLAG("HVICE", 1) FLAG("LPES", 3) FLAG("HEIC", 4) FLAG("TC", 9) \
	      FLAG("GTSE", 10) FLAG("MER", 11) FLAG("OEE", 12) FLAG("DEE", 13) FLAG("EEE", 14) \
	      FLAG("HDEE", 15) FLAG("PDEE", 16) FLAG("LD", 17) FLAG("ONL", 18) FLAG("HR", 20) \
	      FLAG("EVIRT", 21) FLAG("UPRT", 22) BITS("AIL", 23, 24) FLAG("ILE", 25))

const struct reg_feature ppc64_features[PPC64_N_FEATURES] = {
	[PPC64_FEATURE_CORE] = { "org.gnu.gdb.power.core", CORE_TYPES, -1 },
	[PPC64_FEATURE_FPU] = { "org.gnu.gdb.power.fpu", NULL, -1 },
	[PPC64_FEATURE_ALTIVEC] = { "org.gnu.gdb.power.altivec", ALTIVEC_TYPES, PPC64_VR0 },
	[PPC64_FEATURE_VSX] = { "org.gnu.gdb.power.vsx", NULL, PPC64_VS0H },
	[PPC64_FEATURE_LINUX] = { "org.gnu.gdb.power.linux", NULL, PPC64_TRAP },
	[PPC64_FEATURE_SPR] = { "org.qemu.power.spr", SPR_TYPES, -1 },
	[PPC64_FEATURE_SYSTEM] = { "org.vmgdbserver.ppc64.system", NULL, PPC64_PRTB },
};

#define ROW(row, name, bits, feature, type, group) \
	[PPC64_##row] = { name, bits, PPC64_FEATURE_##feature, type, group }
#define NTH(first, n, name, bits, feature, type, group) \
	[PPC64_##first + n] = { name, bits, PPC64_FEATURE_##feature, type, group }

#define R(n) NTH(R0, n, "r" #n, 64, CORE, "uint64", "general")
#define F(n) NTH(F0, n, "f" #n, 64, FPU, "ieee_double", "float")
#define VR(n) NTH(VR0, n, "vr" #n, 128, ALTIVEC, "vec128", "vector")
#define VSH(n) NTH(VS0H, n, "vs" #n "h", 64, VSX, "uint64", "vector")
#define SPR(row, name, type) ROW(row, name, 64, SPR, type, "spr"),

#define EACH_OF_32(X) \
	X(0), X(1), X(2), X(3), X(4), X(5), X(6), X(7), X(8), X(9), X(10), X(11), X(12), X(13), X(14), X(15), \
	X(16), X(17), X(18), X(19), X(20), X(21), X(22), X(23), X(24), X(25), X(26), X(27), X(28), X(29), \
	X(30), X(31)

const struct reg_desc ppc64_regs[PPC64_N_REGS] = {
	EACH_OF_32(R),
	ROW(PC, "pc", 64, CORE, "code_ptr", "general"),
	ROW(MSR, "msr", 64, CORE, "ppc64_msr", "general"),
	ROW(CR, "cr", 32, CORE, "uint32", "general"),
	ROW(LR, "lr", 64, CORE, "code_ptr", "general"),
	ROW(CTR, "ctr", 64, CORE, "uint64", "general"),
	ROW(XER, "xer", 32, CORE, "uint32", "general"),

	EACH_OF_32(F),
	ROW(FPSCR, "fpscr", 64, FPU, "uint64", "float"), /* as from ISA 2.05 on */

	EACH_OF_32(VR),
	ROW(VSCR, "vscr", 32, ALTIVEC, "uint32", "vector"),
	ROW(VRSAVE, "vrsave", 32, ALTIVEC, "uint32", "vector"),

	EACH_OF_32(VSH),

	ROW(ORIG_R3, "orig_r3", 64, LINUX, "int", "system"),
	ROW(TRAP, "trap", 64, LINUX, "int", "system"),

	PPC64_SPRS(SPR)

	ROW(PRTB, "prtb", 64, SYSTEM, "uint64", "system"),
};
