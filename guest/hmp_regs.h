/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_HMP_REGS_H
#define GUEST_HMP_REGS_H

#include "arch/arch.h"
#include "base/err.h"

/*
 * Sets in ret what a text of QEMU's monitor command `info registers` tells of
 * the first vCPU in it; what it does not tell stays as it was. The text follows
 * the mode that the vCPU is in: outside of 64-bit mode x86 registers are told in
 * 32 bits, and what has more is left out where half of it would mislead.
 * ERR_INVALID: it tells not even the program counter.
 */
struct err *hmp_regs_parse(const char *text, struct regs *ret) MUST_CHECK;

#endif
