/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/vmm/pattern.h"

/*
 * What the vCPUs run, in real mode and in the byte order of the host. r31 is where
 * the code is, r29 the page that is no memory; r30 and r3 are worked with, and all
 * others keep what they were set to. Each is entered at its first byte.
 */

	.section .rodata

#define BEGIN(name) .globl name; name:
#define END(name) .globl name##_end; name##_end:

	.macro count
	ld	30, COUNTER_OFFSET(31)
	addi	30, 30, 1
	std	30, COUNTER_OFFSET(31)
	.endm

	.balign	4
BEGIN(guest_real_count)
1:	count
	b	1b
END(guest_real_count)
BEGIN(guest_real_mmio)
1:	lwz	3, 0(29)
	stw	3, LAST_OFFSET(31)
	count
	b	1b
END(guest_real_mmio)

	.section .note.GNU-stack, "", @progbits
