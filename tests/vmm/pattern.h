/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_VMM_PATTERN_H
#define TESTS_VMM_PATTERN_H

/*
 * Where the test guest has things, and what each of its registers and pages
 * holds. tests/system/pattern.py states the same formulas for the tests.
 *
 * Guest-physical:
 *   0           RAM, 32 MiB or what --ram says
 *   0xd0000000  one page of MMIO a vCPU, behind which there is no memory
 *   0xfffc0000  ROM, 256 KiB, ends at 4 GiB
 *   4 GiB       RAM, 16 MiB (not with --low)
 *   8 GiB       RAM, 2 MiB, comes and goes at SIGUSR2 with --change-slots
 *
 * With --stamp vCPU c writes the number of its pass, which is in rax, into the first and
 * then the last word of each page of the STAMP_BYTES at GPA_STAMP + c * STAMP_BYTES, of
 * which rdi, from rsi on, has the next one; counter holds the number too.
 *
 * A page of RAM or ROM that is touched is filled with PATTERN_WORD() of each
 * of its 8-byte words; page number n of a block is touched when
 * (n + 1) * percent / 100 != n * percent / 100. On top of that stand, touched
 * or not, code, counters, data and page tables as below.
 *
 * Guest-virtual, with the tables of vCPU c:
 *   GVA_CODE       code page, counter page, MMIO page, nothing
 *   GVA_DATA       the pages GPA_DATA + 4096 and GPA_DATA, in this order, nothing
 *   GVA_CPU        the page GPA_CPU + 4096 * c
 *   GVA_LARGE      one large page (2 MiB; 4 MiB without PAE): GPA_LARGE
 *   GVA_LAST       the last page of the address space: GPA_DATA + 8192
 * in long mode also
 *   GVA_HUGE       one 1 GiB page: gpa 0
 *   GVA_DIRECT     the two blocks of RAM at GVA_DIRECT + gpa, in 2 MiB pages
 * and in 32-bit modes GVA_DIRECT_32 + gpa for the first 32 MiB.
 */

#define RAM_BYTES 0x2000000
#define GPA_MMIO 0xd0000000
#define GPA_ROM 0xfffc0000
#define ROM_BYTES 0x40000
#define GPA_HIGH 0x100000000
#define HIGH_BYTES 0x1000000
#define GPA_EXTRA 0x200000000
#define EXTRA_BYTES 0x200000

#define MAX_CPUS 8
#define GPA_CODE 0x10000 /* of vCPU 0 */
#define CODE_STRIDE 0x4000
#define COUNTER_OFFSET 0x1000 /* from the code: a u64 that the guest increments */
#define LAST_OFFSET 0x1008    /* a u32: what the guest's last input was */
#define MMIO_OFFSET 0x2000    /* a page that is not RAM */
#define GPA_DATA 0x40000
#define GPA_CPU 0x50000
#define GPA_LARGE 0x400000
#define GPA_STAMP 0x800000 /* of vCPU 0 */
#define STAMP_BYTES 0x400000
#define GPA_TABLES 0x100000 /* of vCPU 0 */
#define TABLES_STRIDE 0x20000

#define GVA_CODE 0x400000
#define GVA_DATA 0x600000
#define GVA_CPU 0x700000
#define GVA_LARGE 0x40000000
#define GVA_HUGE 0x80000000
#define GVA_DIRECT 0xffff888000000000
#define GVA_DIRECT_32 0xc0000000
#define GVA_LAST 0xfffffffffffff000 /* low 32 bits of it in 32-bit modes */

#define IO_PORT 0xe0

#ifndef __ASSEMBLER__

#include <stdint.h>

enum pattern_kind {
	KIND_GPR = 'G',        /* n: the number in the instruction encoding, rax 0, rcx 1, ... */
	KIND_SEGMENT = 'S',    /* n: es 0 cs 1 ss 2 ds 3 fs 4 gs 5 ldt 6 tr 7 */
	KIND_CR = 'C',         /* n: 2 for cr2 */
	KIND_TABLE = 'D',      /* n: gdt 0, idt 1 */
	KIND_MSR = 'M',        /* n: see vcpu.c */
	KIND_X87 = 'F',        /* n: st0 0, ... */
	KIND_XMM_LOW = 'X',    /* bits 0-63 */
	KIND_XMM_HIGH = 'H',   /* bits 64-127 */
	KIND_YMM_LOW = 'Y',    /* bits 128-191 */
	KIND_YMM_HIGH = 'Z',   /* bits 192-255 */
};

/* An aligned 8-byte word of a touched page. */
static inline uint64_t pattern_word(unsigned vm, uint64_t gpa)
{
	return 0x7a00000000000000 | (uint64_t)vm << 48 | gpa;
}

static inline uint32_t pattern_low(enum pattern_kind kind, unsigned vm, unsigned cpu, unsigned n)
{
	return (uint32_t)kind << 24 | vm << 20 | cpu << 16 | n << 8 | 2;
}

/* 64 bits; a 32-bit guest has the low half. */
static inline uint64_t pattern_value(enum pattern_kind kind, unsigned vm, unsigned cpu, unsigned n)
{
	uint32_t low = pattern_low(kind, vm, cpu, n);

	return (uint64_t)(low ^ 3) << 32 | low;
}

/* A canonical address, for what must be one. */
static inline uint64_t pattern_addr(enum pattern_kind kind, unsigned vm, unsigned cpu, unsigned n)
{
	return 0xffff800000000000 | (uint64_t)kind << 32 | pattern_low(kind, vm, cpu, n);
}

/* The answer to a vCPU's input number n, which counts from 1. */
static inline uint32_t pattern_input(unsigned cpu, uint32_t n)
{
	return 0x10000000 * (cpu + 1) + n;
}

static inline uint64_t gpa_code(unsigned cpu)
{
	return GPA_CODE + (uint64_t)cpu * CODE_STRIDE;
}

static inline uint64_t gpa_stamp(unsigned cpu)
{
	return GPA_STAMP + (uint64_t)cpu * STAMP_BYTES;
}

static inline uint64_t gpa_tables(unsigned cpu)
{
	return GPA_TABLES + (uint64_t)cpu * TABLES_STRIDE;
}

#endif
#endif
