/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <string.h>

#include "tests/vmm/vmm.h"

#define PAGE_BYTES 4096u

/* Bits of an entry, SDM volume 3, section 4.5. */
#define ENTRY_PRESENT 0x001u
#define ENTRY_WRITABLE 0x002u
#define ENTRY_USER 0x004u
#define ENTRY_LARGE 0x080u

/* One form of page tables: how many levels, and which address bits choose an entry. */
struct paging {
	unsigned levels;
	unsigned entry_bytes;
	unsigned bits;        /* of the address, for each level but the highest */
	unsigned high_bits;   /* for the highest */
	uint64_t entry_flags; /* of an entry of the highest level */
};

static const struct paging pagings[] = {
	[MODE_32] = {2, 4, 10, 10, ENTRY_PRESENT | ENTRY_WRITABLE | ENTRY_USER},
	/* The four entries of the highest level have no more than a present bit. */
	[MODE_PAE] = {3, 8, 9, 2, ENTRY_PRESENT},
	[MODE_LONG] = {4, 8, 9, 9, ENTRY_PRESENT | ENTRY_WRITABLE | ENTRY_USER},
};

struct tables {
	struct vm *vm;
	const struct paging *form;
	uint64_t root;
	uint64_t next; /* gpa of the next free page */
	uint64_t end;
};

static uint64_t new_table(struct tables *t)
{
	uint64_t gpa = t->next;

	assert(gpa < t->end);
	t->next += PAGE_BYTES;
	memset(vm_ram(t->vm, gpa), 0, PAGE_BYTES);
	return gpa;
}

/* Bytes that an entry of a level stands for; level 1 is the lowest. */
static unsigned level_shift(const struct paging *form, unsigned level)
{
	return 12 + (level - 1) * form->bits;
}

static void *entry_at(const struct tables *t, uint64_t table, uint64_t gva, unsigned level)
{
	unsigned bits = level == t->form->levels ? t->form->high_bits : t->form->bits;
	uint64_t index = gva >> level_shift(t->form, level) & ((1u << bits) - 1);

	return vm_ram(t->vm, table + index * t->form->entry_bytes);
}

static uint64_t load_entry(const struct tables *t, const void *entry)
{
	uint64_t value = 0;

	memcpy(&value, entry, t->form->entry_bytes);
	return value;
}

/* The guest's tables are little-endian, as is every host that has KVM for x86. */
static void store_entry(const struct tables *t, void *entry, uint64_t value)
{
	memcpy(entry, &value, t->form->entry_bytes);
}

/* Maps the page of a level (1: 4 KiB, 2: 2 or 4 MiB, 3: 1 GiB) at gva. */
static void map_page(struct tables *t, uint64_t gva, uint64_t gpa, unsigned level)
{
	uint64_t table = t->root;

	for (unsigned l = t->form->levels; l > level; l--) {
		void *entry = entry_at(t, table, gva, l);
		uint64_t flags = ENTRY_PRESENT | ENTRY_WRITABLE | ENTRY_USER;

		if (!load_entry(t, entry)) {
			if (l == t->form->levels)
				flags = t->form->entry_flags;
			store_entry(t, entry, new_table(t) | flags);
		}
		table = load_entry(t, entry) & ~0xfffull;
	}
	store_entry(t, entry_at(t, table, gva, level),
		    gpa | ENTRY_PRESENT | ENTRY_WRITABLE | (level > 1 ? ENTRY_LARGE : 0));
}

/* [gpa, gpa + bytes) in large pages, at base + gpa. */
static void map_direct(struct tables *t, uint64_t base, uint64_t gpa, uint64_t bytes)
{
	uint64_t step = 1ull << level_shift(t->form, 2);

	for (uint64_t at = gpa; at < gpa + bytes; at += step)
		map_page(t, base + at, at, 2);
}

static void map_common(struct tables *t, unsigned cpu)
{
	map_page(t, GVA_CODE, gpa_code(cpu), 1);
	map_page(t, GVA_CODE + COUNTER_OFFSET, gpa_code(cpu) + COUNTER_OFFSET, 1);
	map_page(t, GVA_CODE + MMIO_OFFSET, GPA_MMIO + (uint64_t)cpu * PAGE_BYTES, 1);
	map_page(t, GVA_DATA, GPA_DATA + PAGE_BYTES, 1);
	map_page(t, GVA_DATA + PAGE_BYTES, GPA_DATA, 1);
	map_page(t, GVA_CPU, GPA_CPU + (uint64_t)cpu * PAGE_BYTES, 1);
	map_page(t, GVA_LARGE, GPA_LARGE, 2);
	map_page(t, GVA_LAST, GPA_DATA + 2 * PAGE_BYTES, 1);
}

static void map_long(struct tables *t)
{
	map_page(t, GVA_HUGE, 0, 3);
	map_direct(t, GVA_DIRECT, 0, RAM_BYTES);
	if (!t->vm->vmm->opt.low)
		map_direct(t, GVA_DIRECT, GPA_HIGH, HIGH_BYTES);
}

uint64_t vm_create_tables(struct vm *vm, unsigned cpu)
{
	enum guest_mode mode = vm->vmm->opt.mode;
	struct tables t = {
		.vm = vm,
		.form = &pagings[mode],
		.next = gpa_tables(cpu),
		.end = gpa_tables(cpu) + TABLES_STRIDE,
	};

	t.root = new_table(&t);
	map_common(&t, cpu);
	if (mode == MODE_LONG)
		map_long(&t);
	else
		map_direct(&t, GVA_DIRECT_32, 0, RAM_BYTES);
	return t.root;
}
