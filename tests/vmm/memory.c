/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/vmm/core.h"

#define PAGE_BYTES 4096u
#define WORDS_A_PAGE (PAGE_BYTES / sizeof(uint64_t))

void *vm_ram(struct vm *vm, uint64_t gpa)
{
	return (char *)vm->slots[0].hva + gpa;
}

static void *map_memory(const struct options *opt, uint64_t bytes)
{
	int flags = opt->shared ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
	int fd = -1;
	void *p;

	if (opt->shared) {
		fd = memfd_create("guest-ram", MFD_CLOEXEC);
		if (fd < 0 || ftruncate(fd, bytes) < 0)
			die(STATUS_SETUP, "memfd: %m");
	}
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, fd, 0);
	if (p == MAP_FAILED)
		die(STATUS_SETUP, "mmap of %llu bytes: %m", (unsigned long long)bytes);
	if (fd >= 0)
		close(fd);
	if (opt->hugepages && madvise(p, bytes, MADV_HUGEPAGE) < 0)
		die(STATUS_SETUP, "MADV_HUGEPAGE: %m");
	return p;
}

static void fill_pattern(uint64_t *page, unsigned vm, uint64_t gpa)
{
	for (size_t i = 0; i < WORDS_A_PAGE; i++)
		page[i] = pattern_word(vm, gpa + i * sizeof(*page));
}

/* xorshift64: bytes that no compressor shrinks. */
static void fill_random(uint64_t *page, uint64_t *seed)
{
	for (size_t i = 0; i < WORDS_A_PAGE; i++) {
		*seed ^= *seed << 13;
		*seed ^= *seed >> 7;
		*seed ^= *seed << 17;
		page[i] = *seed;
	}
}

static void fill_slot(struct vm *vm, const struct slot *s)
{
	const struct options *opt = &vm->vmm->opt;
	uint64_t seed = pattern_word(vm->index, s->gpa) | 1;

	for (uint64_t n = 0; n < s->bytes / PAGE_BYTES; n++) {
		uint64_t *page = (uint64_t *)((char *)s->hva + n * PAGE_BYTES);

		if ((n + 1) * opt->touch_percent / 100 == n * opt->touch_percent / 100)
			continue;
		if (opt->random)
			fill_random(page, &seed);
		else
			fill_pattern(page, vm->index, s->gpa + n * PAGE_BYTES);
	}
}

/* With hva NULL the slot is removed. */
static void tell_kvm(struct vm *vm, const struct slot *s)
{
	struct kvm_userspace_memory_region region = {
		.slot = s - vm->slots,
		.flags = s->readonly ? KVM_MEM_READONLY : 0,
		.guest_phys_addr = s->gpa,
		.memory_size = s->hva ? s->bytes : 0,
		.userspace_addr = (uintptr_t)s->hva,
	};

	if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		die(STATUS_SETUP, "KVM_SET_USER_MEMORY_REGION %#llx: %m", (unsigned long long)s->gpa);
}

static void fill_and_add(struct vm *vm, struct slot *s)
{
	s->hva = map_memory(&vm->vmm->opt, s->bytes);
	fill_slot(vm, s);
	tell_kvm(vm, s);
}

static struct slot *new_slot(struct vm *vm, uint64_t gpa, uint64_t bytes)
{
	struct slot *s = &vm->slots[vm->n_slots++];

	if (vm->n_slots > MAX_SLOTS)
		die(STATUS_SETUP, "more than %d blocks of memory", MAX_SLOTS);
	s->gpa = gpa;
	s->bytes = bytes;
	return s;
}

static void create_code(struct vm *vm)
{
	const struct options *opt = &vm->vmm->opt;
	const char *begin, *end;

	if (!guest_code(opt->mode, opt->work, &begin, &end))
		die(STATUS_USAGE, "no guest of this host has mode %s and work %s", mode_name(opt->mode),
		    work_name(opt->work));
	for (unsigned cpu = 0; cpu < opt->cpus; cpu++) {
		memcpy(vm_ram(vm, gpa_code(cpu)), begin, end - begin);
		memset(vm_ram(vm, gpa_code(cpu) + COUNTER_OFFSET), 0, 16);
	}
}

/* The pages that tests look at are there whatever --touch says. */
static void create_data(struct vm *vm)
{
	for (uint64_t gpa = GPA_DATA; gpa < GPA_DATA + 3 * PAGE_BYTES; gpa += PAGE_BYTES)
		fill_pattern(vm_ram(vm, gpa), vm->index, gpa);
	for (unsigned cpu = 0; cpu < vm->vmm->opt.cpus; cpu++)
		fill_pattern(vm_ram(vm, GPA_CPU + cpu * PAGE_BYTES), vm->index, GPA_CPU + cpu * PAGE_BYTES);
}

/* Loads that overlap or adjoin become one slot. */
static void add_core_slots(struct vm *vm, const struct core *core)
{
	for (size_t i = 0; i < core->n_loads; i++) {
		const struct core_load *load = &core->loads[i];
		struct slot *last = vm->n_slots ? &vm->slots[vm->n_slots - 1] : NULL;

		if (last && load->gpa - last->gpa <= last->bytes)
			last->bytes = MAX(last->bytes, load->gpa - last->gpa + load->bytes);
		else
			new_slot(vm, load->gpa, load->bytes);
	}
}

static void load_core(struct vm *vm, const struct core *core)
{
	add_core_slots(vm, core);
	for (struct slot *s = vm->slots; s < vm->slots + vm->n_slots; s++) {
		s->hva = map_memory(&vm->vmm->opt, s->bytes);
		for (size_t i = 0; i < core->n_loads; i++)
			if (core->loads[i].gpa - s->gpa < s->bytes)
				core_read_load(core, &core->loads[i], (char *)s->hva + (core->loads[i].gpa - s->gpa));
		tell_kvm(vm, s);
	}
}

static void make_memory(struct vm *vm)
{
	const struct options *opt = &vm->vmm->opt;
	struct slot *rom;

	fill_and_add(vm, new_slot(vm, 0, opt->ram_bytes));
	rom = new_slot(vm, GPA_ROM, ROM_BYTES);
	rom->readonly = ioctl(vm->vmm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_READONLY_MEM) > 0;
	fill_and_add(vm, rom);
	if (!opt->low)
		fill_and_add(vm, new_slot(vm, GPA_HIGH, HIGH_BYTES));
	if (opt->change_slots)
		new_slot(vm, GPA_EXTRA, EXTRA_BYTES);
	create_code(vm);
	create_data(vm);
}

void vm_create_memory(struct vm *vm)
{
	if (vm->vmm->core)
		load_core(vm, vm->vmm->core);
	else
		make_memory(vm);
}

void vm_toggle_extra_slot(struct vm *vm)
{
	struct slot *s = &vm->slots[vm->n_slots - 1];
	void *hva = s->hva;

	if (!hva) {
		fill_and_add(vm, s);
		return;
	}
	s->hva = NULL;
	tell_kvm(vm, s);
	munmap(hva, s->bytes);
}
