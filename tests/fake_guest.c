/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/fake_guest.h"

#include <string.h>

#include "arch/x86_64/x86_64.h"

#define PRESENT_WRITABLE 3u
#define HUGE 0x80u
#define GIB (1ull << 30)

uint8_t fake_guest_byte(uint64_t gpa)
{
	return (uint8_t)(gpa ^ gpa >> 8);
}

uint8_t fake_guest_reg_byte(unsigned vcpu, unsigned reg, size_t i)
{
	return (uint8_t)(reg * 3 + i + 0x40 * vcpu);
}

static void set_entry(struct guest *g, uint64_t table, unsigned index, uint64_t value)
{
	store_uint(fake_at(g, table + 8 * index), 8, ORDER_LITTLE, value);
}

static void fill_memory(struct guest *g)
{
	struct fake *f = fake_of(g);

	for (size_t b = 0; b < f->n_blocks; b++)
		for (uint64_t i = 0; i < f->blocks[b].block.bytes; i++)
			f->blocks[b].data[i] = fake_guest_byte(f->blocks[b].block.gpa + i);
	memset(fake_at(g, 0x1000), 0, 0x4000);
	memset(fake_at(g, FAKE_GVA_TABLE), 0, 0x1000);
	set_entry(g, 0x1000, 0, 0x3000 | PRESENT_WRITABLE);
	set_entry(g, 0x1000, 511, 0x2000 | PRESENT_WRITABLE);
	set_entry(g, 0x3000, 0, 0 * GIB | PRESENT_WRITABLE | HUGE);
	set_entry(g, 0x3000, 3, 3 * GIB | PRESENT_WRITABLE | HUGE);
	set_entry(g, 0x2000, 510, 0x4000 | PRESENT_WRITABLE);
	set_entry(g, 0x4000, 8, FAKE_GVA_TABLE | PRESENT_WRITABLE);
	set_entry(g, FAKE_GVA_TABLE, 0, FAKE_GVA_GPA | PRESENT_WRITABLE);
}

static void fill_regs(struct regs *regs, unsigned vcpu)
{
	for (unsigned r = 0; r < X86_N_REGS; r++) {
		uint8_t value[ARCH_MAX_REG_BYTES];

		for (size_t i = 0; i < sizeof(value); i++)
			value[i] = fake_guest_reg_byte(vcpu, r, i);
		regs_set_bytes(regs, r, value);
	}
	regs_forget(regs, X86_ORIG_RAX);
	regs_set(regs, X86_CR0, vcpu ? 0 : X86_CR0_PE | X86_CR0_PG);
	regs_set(regs, X86_CR3, 0x1000);
	regs_set(regs, X86_CR4, vcpu ? 0 : X86_CR4_PAE);
	regs_set(regs, X86_EFER, vcpu ? 0 : X86_EFER_LME | X86_EFER_LMA);
}

struct guest *fake_guest_create(unsigned n_vcpus)
{
	const struct mem_block blocks[] = {
		{ .gpa = 0, .bytes = FAKE_RAM_BYTES },
		{ .gpa = FAKE_RAM2_GPA, .bytes = 0x1000 },
		{ .gpa = FAKE_ROM_GPA, .bytes = 0x1000, .flags = MEM_ROM },
	};
	struct guest *g = fake_create(&arch_x86_64, ORDER_LITTLE, n_vcpus, blocks, ARRAY_LEN(blocks));

	fill_memory(g);
	for (unsigned i = 0; i < n_vcpus; i++)
		fill_regs(fake_of(g)->regs[i], i);
	return g;
}
