/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef ARCH_X86_64_NOTES_H
#define ARCH_X86_64_NOTES_H

#include "arch/x86_64/x86_64.h"

/* The notes that are hardware formats too. */
extern const struct note_desc x86_64_fpregset;
/* An XSAVE image without what the note has beside the registers. */
extern const struct note_desc x86_64_xstate_registers;

#endif
