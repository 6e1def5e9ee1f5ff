/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/vmm/pattern.h"

/*
 * What the vCPUs run. No register is used but eax for input, and those of --stamp, so
 * that all the others keep what they were set to. Each is entered at its first byte.
 */

	.section .rodata

#define BEGIN(name) .globl name; name:
#define END(name) .globl name##_end; name##_end:

/* base: without paging cs and ds start at the code page; with it all goes through GVA_CODE. */
	.macro count base
1:	addl	$1, \base + COUNTER_OFFSET
	adcl	$0, \base + COUNTER_OFFSET + 4
	jmp	1b
	.endm

	.macro halt base
1:	addl	$1, \base + COUNTER_OFFSET
	hlt
	jmp	1b
	.endm

	.macro port base
1:	inl	$IO_PORT, %eax
	movl	%eax, \base + LAST_OFFSET
	addl	$1, \base + COUNTER_OFFSET
	jmp	1b
	.endm

	.macro mmio base
1:	movl	\base + MMIO_OFFSET, %eax
	movl	%eax, \base + LAST_OFFSET
	addl	$1, \base + COUNTER_OFFSET
	jmp	1b
	.endm

	.code16
BEGIN(guest_16_count)
	count	0
END(guest_16_count)
BEGIN(guest_16_halt)
	halt	0
END(guest_16_halt)
BEGIN(guest_16_port)
	port	0
END(guest_16_port)

	.code32
BEGIN(guest_flat_count)
	count	0
END(guest_flat_count)
BEGIN(guest_flat_halt)
	halt	0
END(guest_flat_halt)
BEGIN(guest_flat_port)
	port	0
END(guest_flat_port)
BEGIN(guest_32_count)
	count	GVA_CODE
END(guest_32_count)
BEGIN(guest_32_halt)
	halt	GVA_CODE
END(guest_32_halt)
BEGIN(guest_32_port)
	port	GVA_CODE
END(guest_32_port)
BEGIN(guest_32_mmio)
	mmio	GVA_CODE
END(guest_32_mmio)

	.code64
BEGIN(guest_64_count)
1:	incq	GVA_CODE + COUNTER_OFFSET
	jmp	1b
END(guest_64_count)
BEGIN(guest_64_halt)
	halt	GVA_CODE
END(guest_64_halt)
BEGIN(guest_64_port)
	port	GVA_CODE
END(guest_64_port)
BEGIN(guest_64_mmio)
	mmio	GVA_CODE
END(guest_64_mmio)
BEGIN(guest_64_stamp)
1:	movq	%rsi, %rdi
	incq	%rax
	movq	%rax, GVA_CODE + COUNTER_OFFSET
2:	movq	%rax, (%rdi)
	movq	%rax, 0xff8(%rdi)
	addq	$0x1000, %rdi
	cmpq	%rdx, %rdi
	jb	2b
	jmp	1b
END(guest_64_stamp)

	.section .note.GNU-stack, "", @progbits
