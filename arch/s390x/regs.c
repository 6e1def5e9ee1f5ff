/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "arch/s390x/s390x.h"

#define VECTOR(id, type, count) "<vector id=\"" id "\" type=\"" type "\" count=\"" #count "\"/>\n"
#define MEMBER(name, type) "<field name=\"" name "\" type=\"" type "\"/>\n"

#define VX_TYPES \
	VECTOR("v4f", "ieee_single", 4) VECTOR("v2d", "ieee_double", 2) VECTOR("v16i8", "int8", 16) \
	VECTOR("v8i16", "int16", 8) VECTOR("v4i32", "int32", 4) VECTOR("v2i64", "int64", 2) \
	"<union id=\"vec128\">\n" \
	MEMBER("v4_float", "v4f") MEMBER("v2_double", "v2d") MEMBER("v16_int8", "v16i8") \
	MEMBER("v8_int16", "v8i16") MEMBER("v4_int32", "v4i32") MEMBER("v2_int64", "v2i64") \
	MEMBER("uint128", "uint128") \
	"</union>\n"

const struct reg_feature s390x_features[S390X_N_FEATURES] = {
	[S390X_FEATURE_CORE] = { "org.gnu.gdb.s390.core", NULL, -1 },
	[S390X_FEATURE_ACR] = { "org.gnu.gdb.s390.acr", NULL, -1 },
	[S390X_FEATURE_FPR] = { "org.gnu.gdb.s390.fpr", NULL, -1 },
	[S390X_FEATURE_VX] = { "org.gnu.gdb.s390.vx", VX_TYPES, S390X_V0L },
	[S390X_FEATURE_GS] = { "org.gnu.gdb.s390.gs", NULL, S390X_GSD },
	[S390X_FEATURE_CR] = { "org.gnu.gdb.s390.cr", NULL, -1 },
	[S390X_FEATURE_VIRT] = { "org.gnu.gdb.s390.virt", NULL, -1 },
	[S390X_FEATURE_VIRT_KVM] = { "org.gnu.gdb.s390.virt.kvm", NULL, S390X_PP },
	[S390X_FEATURE_LINUX] = { "org.gnu.gdb.s390.linux", NULL, S390X_ORIG_R2 },
	[S390X_FEATURE_SYSTEM] = { "org.vmgdbserver.s390x.system", NULL, -1 },
};

#define ROW(row, name, bits, feature, type, group) \
	[S390X_##row] = { name, bits, S390X_FEATURE_##feature, type, group }
#define NTH(row, n, name, bits, feature, type, group) \
	[S390X_##row + n] = { name, bits, S390X_FEATURE_##feature, type, group }

#define SINGLE(row, name, bits, feature, type, group) ROW(row, name, bits, feature, type, group),

#define R(n) NTH(R0, n, "r" #n, 64, CORE, "uint64", "general")
#define ACR(n) NTH(ACR0, n, "acr" #n, 32, ACR, "uint32", "access")
#define F(n) NTH(F0, n, "f" #n, 64, FPR, "ieee_double", "float")
#define VL(n) NTH(V0L, n, "v" #n "l", 64, VX, "uint64", "vector")
#define V(n) NTH(V16, n - 16, "v" #n, 128, VX, "vec128", "vector")
#define CR(n) NTH(CR0, n, "cr" #n, 64, CR, "uint64", "control")

const struct reg_desc s390x_regs[S390X_N_REGS] = {
	ROW(PSWM, "pswm", 64, CORE, "uint64", "general"),
	ROW(PSWA, "pswa", 64, CORE, "uint64", "general"),
	R(0), R(1), R(2), R(3), R(4), R(5), R(6), R(7),
	R(8), R(9), R(10), R(11), R(12), R(13), R(14), R(15),

	ACR(0), ACR(1), ACR(2), ACR(3), ACR(4), ACR(5), ACR(6), ACR(7),
	ACR(8), ACR(9), ACR(10), ACR(11), ACR(12), ACR(13), ACR(14), ACR(15),

	ROW(FPC, "fpc", 32, FPR, "uint32", "float"),
	F(0), F(1), F(2), F(3), F(4), F(5), F(6), F(7),
	F(8), F(9), F(10), F(11), F(12), F(13), F(14), F(15),

	VL(0), VL(1), VL(2), VL(3), VL(4), VL(5), VL(6), VL(7),
	VL(8), VL(9), VL(10), VL(11), VL(12), VL(13), VL(14), VL(15),
	V(16), V(17), V(18), V(19), V(20), V(21), V(22), V(23),
	V(24), V(25), V(26), V(27), V(28), V(29), V(30), V(31),

	ROW(GS_RESERVED, "gs_reserved", 64, GS, "uint64", "system"),
	ROW(GSD, "gsd", 64, GS, "uint64", "system"),
	ROW(GSSM, "gssm", 64, GS, "uint64", "system"),
	ROW(GSEPLA, "gsepla", 64, GS, "data_ptr", "system"),

	CR(0), CR(1), CR(2), CR(3), CR(4), CR(5), CR(6), CR(7),
	CR(8), CR(9), CR(10), CR(11), CR(12), CR(13), CR(14), CR(15),

	S390X_SINGLE_REGS(SINGLE)
};

/* The numbers that QEMU's stub gives them, the first three features' being gdb's too. */
_Static_assert(S390X_ACR0 == 18 && S390X_FPC == 34 && S390X_F0 == 35, "gdb's core, acr and fpr");
_Static_assert(S390X_V0L == 51 && S390X_V16 == 67 && S390X_GS_RESERVED == 83 && S390X_CR0 == 87,
	       "QEMU's vx, gs and cr");
