/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_VMM_X86_H
#define TESTS_VMM_X86_H

/* Control registers: SDM volume 3, section 2.5; EFER: section 2.2.1. */
#define CR0_PE 0x1u
#define CR0_MP 0x2u
#define CR0_ET 0x10u
#define CR0_NE 0x20u
#define CR0_WP 0x10000u
#define CR0_AM 0x40000u
#define CR0_PG 0x80000000u
#define CR3_PWT 0x8u
#define CR4_PSE 0x10u
#define CR4_PAE 0x20u
#define CR4_PGE 0x80u
#define CR4_OSFXSR 0x200u
#define CR4_OSXMMEXCPT 0x400u
#define EFER_SCE 0x1u
#define EFER_LME 0x100u
#define EFER_LMA 0x400u
#define EFER_NXE 0x800u

/* Offsets in an XSAVE area: the FXSAVE part, the header, AVX's part; SDM volume 1, chapters 10 and 13. */
#define FX_FCW 0
#define FX_FSW 2
#define FX_FTW 4
#define FX_FOP 6
#define FX_FIP 8
#define FX_FDP 16
#define FX_MXCSR 24
#define FX_ST(n) (32 + 16 * (n))
#define FX_XMM(n) (160 + 16 * (n))
#define FX_UNUSED 464
#define XSTATE_BV 512
#define YMM_HIGH(n) (576 + 16 * (n))
#define XSAVE_AVX_END 832

#define XFEATURE_X87 1u
#define XFEATURE_SSE 2u
#define XFEATURE_AVX 4u

#endif
