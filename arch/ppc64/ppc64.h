/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef ARCH_PPC64_PPC64_H
#define ARCH_PPC64_PPC64_H

#include "arch/arch.h"

/*
 * 64-bit Power servers (Power ISA 2.06 and later), in both byte orders: the
 * guest is little-endian when it takes interrupts that way. For vCPU 0 in
 * hypervisor state HID0[HILE] tells that, else LPCR[ILE]. Code of either order can
 * run at any moment, firmware being big-endian; MSR[LE] counts only where neither is
 * known.
 */
extern const struct arch arch_ppc64;

/*
 * The special-purpose registers: row, name, type. Names are those of QEMU's
 * feature org.qemu.power.spr, which calls PIDR pid, DSCR spr_dscr, CFAR spr_cfar,
 * CTRL spr_ctrl and DEC decr; of 64 bits each, as there.
 */
#define PPC64_SPRS(X) \
	X(PVR, "pvr", "uint64") \
	X(PIR, "pir", "uint64") \
	X(LPCR, "lpcr", "ppc64_lpcr") \
	X(LPIDR, "lpidr", "uint64") \
	X(PID, "pid", "uint64") \
	X(PTCR, "ptcr", "uint64") \
	X(SDR1, "sdr1", "uint64") \
	X(RMOR, "rmor", "uint64") \
	X(HRMOR, "hrmor", "uint64") \
	X(DAR, "dar", "data_ptr") \
	X(DSISR, "dsisr", "uint64") \
	X(SRR0, "srr0", "code_ptr") \
	X(SRR1, "srr1", "ppc64_msr_image") \
	X(HDAR, "hdar", "data_ptr") \
	X(HDSISR, "hdsisr", "uint64") \
	X(HSRR0, "hsrr0", "code_ptr") \
	X(HSRR1, "hsrr1", "ppc64_msr_image") \
	X(ASDR, "asdr", "uint64") \
	X(CFAR, "spr_cfar", "code_ptr") \
	X(SPRG0, "sprg0", "uint64") \
	X(SPRG1, "sprg1", "uint64") \
	X(SPRG2, "sprg2", "uint64") \
	X(SPRG3, "sprg3", "uint64") \
	X(HSPRG0, "hsprg0", "uint64") \
	X(HSPRG1, "hsprg1", "uint64") \
	X(DEC, "decr", "uint64") \
	X(HDEC, "hdec", "uint64") \
	X(TBL, "tbl", "uint64") \
	X(TBU, "tbu", "uint64") \
	X(VTB, "vtb", "uint64") \
	X(PURR, "purr", "uint64") \
	X(SPURR, "spurr", "uint64") \
	X(PPR, "ppr", "uint64") \
	X(DSCR, "spr_dscr", "uint64") \
	X(AMR, "amr", "uint64") \
	X(IAMR, "iamr", "uint64") \
	X(UAMOR, "uamor", "uint64") \
	X(AMOR, "amor", "uint64") \
	X(TAR, "tar", "code_ptr") \
	X(FSCR, "fscr", "uint64") \
	X(HFSCR, "hfscr", "uint64") \
	X(CTRL, "spr_ctrl", "uint64") \
	X(PCR, "pcr", "uint64") \
	X(PSSCR, "psscr", "uint64") \
	X(CIABR, "ciabr", "uint64") \
	X(DAWR0, "dawr0", "uint64") \
	X(DAWRX0, "dawrx0", "uint64") \
	X(TFHAR, "tfhar", "code_ptr") \
	X(TFIAR, "tfiar", "code_ptr") \
	X(TEXASR, "texasr", "uint64") \
	X(EBBHR, "ebbhr", "code_ptr") \
	X(EBBRR, "ebbrr", "code_ptr") \
	X(BESCR, "bescr", "uint64") \
	X(HMER, "hmer", "uint64") \
	X(HMEER, "hmeer", "uint64") \
	X(HID0, "hid0", "uint64") \
	X(HID1, "hid1", "uint64") \
	X(HID5, "hid5", "uint64") \
	X(DPDES, "dpdes", "uint64") \
	X(IC, "ic", "uint64") \
	X(PSPB, "pspb", "uint64") \
	X(MMCR0, "mmcr0", "uint64") \
	X(MMCR1, "mmcr1", "uint64") \
	X(MMCR2, "mmcr2", "uint64") \
	X(MMCRA, "mmcra", "uint64") \
	X(PMC1, "pmc1", "uint64") \
	X(PMC2, "pmc2", "uint64") \
	X(PMC3, "pmc3", "uint64") \
	X(PMC4, "pmc4", "uint64") \
	X(PMC5, "pmc5", "uint64") \
	X(PMC6, "pmc6", "uint64") \
	X(SIAR, "siar", "code_ptr") \
	X(SDAR, "sdar", "data_ptr") \
	X(SIER, "sier", "uint64")

#define PPC64_SPR_ROW(row, name, type) PPC64_##row,

/*
 * The register rows, feature by feature in gdb's order. A slot holds a vector
 * register as one 128-bit number in guest order, as gdb has it and as stvx
 * stores it: in a little-endian guest all 16 bytes are reversed.
 */
enum ppc64_reg {
	PPC64_R0, PPC64_R31 = PPC64_R0 + 31,
	PPC64_PC, PPC64_MSR, PPC64_CR, PPC64_LR, PPC64_CTR, PPC64_XER,
	PPC64_F0, PPC64_F31 = PPC64_F0 + 31,
	PPC64_FPSCR,
	PPC64_VR0, PPC64_VR31 = PPC64_VR0 + 31,
	PPC64_VSCR, PPC64_VRSAVE,
	PPC64_VS0H, PPC64_VS31H = PPC64_VS0H + 31, /* the doubleword of VSR 0-31 that is not f0-f31 */
	PPC64_ORIG_R3, PPC64_TRAP,                 /* Linux's; no register of a vCPU, so only a core has them */

	PPC64_SPRS(PPC64_SPR_ROW)

	/*
	 * Where the guest's process table is: PTCR is the hypervisor's, and a
	 * guest tells it by H_REGISTER_PROC_TBL. It is in no register; a row holds
	 * it for those who learn it, in the form that KVM_PPC_CONFIGURE_V3_MMU takes:
	 * the second doubleword of a partition-table entry.
	 */
	PPC64_PRTB,
	PPC64_N_REGS
};

enum {
	PPC64_FEATURE_CORE,
	PPC64_FEATURE_FPU,
	PPC64_FEATURE_ALTIVEC,
	PPC64_FEATURE_VSX,
	PPC64_FEATURE_LINUX,
	PPC64_FEATURE_SPR,
	PPC64_FEATURE_SYSTEM,
	PPC64_N_FEATURES
};

#define PPC64_MSR_LE (1ull << 0)
#define PPC64_MSR_DR (1ull << 4)
#define PPC64_MSR_IR (1ull << 5)
#define PPC64_MSR_PR (1ull << 14)
#define PPC64_MSR_HV (1ull << 60)
#define PPC64_LPCR_ILE (1ull << 25)

#define PPC64_PRTB_GR (1ull << 63) /* the guest uses radix tables */

/* Linux maps all RAM here, whatever the MMU; the size is its MAX_PHYSMEM_BITS. */
#define PPC64_LINEAR_GVA 0xc000000000000000ull
#define PPC64_LINEAR_BYTES (1ull << 51)

/* ---- parts of arch_ppc64 ---- */

extern const struct reg_desc ppc64_regs[PPC64_N_REGS];
extern const struct reg_feature ppc64_features[PPC64_N_FEATURES];
extern const struct arch_machine ppc64_machines[1];

/*
 * What addresses mean, as far as registers tell:
 *
 *  MSR[DR] is 0        real mode: the address without its top 4 bits, ORed with
 *                      HRMOR in hypervisor state
 *  the process table   radix trees, which are big-endian in every guest:
 *  is known            quadrant 0 has the tree of pid, quadrant 3 that of 0.
 *                      It is known from prtb, and in hypervisor state (MSR[HV])
 *                      from ptcr
 *  else                the linear map alone: one mapping of PPC64_LINEAR_BYTES,
 *                      RAM or not, of which the caller takes what is RAM
 *
 * Hash tables are of the last kind: they map virtual addresses, which only the
 * SLB, in no register, makes of effective ones. MSR not known: it is taken as on,
 * the linear map being the same in both modes.
 *
 * The walk leaves quadrant 0 out where pid is unknown, or 0: then it repeats
 * quadrant 3.
 */
struct err *ppc64_translate(const struct regs *regs, const struct phys_reader *mem, uint64_t gva,
			    struct mapping *ret) MUST_CHECK;
struct err *ppc64_walk(const struct regs *regs, const struct phys_reader *mem, mapping_fn fn,
		       void *arg) MUST_CHECK;

#endif
