/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_FAKE_GUEST_H
#define TESTS_FAKE_GUEST_H

#include "guest/fake.h"

/*
 * An x86_64 guest on the fake backend in which every byte tells its place.
 *
 *   0x0            64 KiB of RAM; 0x1000 to 0x4fff and 0x6000 are page tables
 *   0x20000        4 KiB of RAM
 *   0xfffff000     4 KiB of ROM, up to 4 GiB
 *
 * vCPU 0 is in long mode: the lowest GiB and the one below 4 GiB are mapped at
 * their own addresses, FAKE_GVA maps FAKE_GVA_GPA, and the page after it nothing.
 * vCPUs from 1 on have paging off.
 */
#define FAKE_RAM_BYTES 0x10000u
#define FAKE_RAM2_GPA 0x20000u
#define FAKE_ROM_GPA 0xfffff000u
#define FAKE_GVA 0xffffffff81000000u
#define FAKE_GVA_GPA 0x5000u
#define FAKE_GVA_TABLE 0x6000u /* where the page of FAKE_GVA is the first entry */

struct guest *fake_guest_create(unsigned n_vcpus);

/* What every byte of memory but the page tables holds. */
uint8_t fake_guest_byte(uint64_t gpa);

/*
 * Byte i of a register, but for cr0, cr3, cr4 and efer, which paging needs;
 * orig_rax is unknown.
 */
uint8_t fake_guest_reg_byte(unsigned vcpu, unsigned reg, size_t i);

#endif
