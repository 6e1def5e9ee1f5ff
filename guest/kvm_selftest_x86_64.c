/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/kvm_selftest.h"

#include <string.h>
#include <sys/ioctl.h>

#include "base/alloc.h"

#define MAX_CPUID 256u

/* Memory is mapped one to one by a page of 2 MiB. */
#define GPA_CODE 0x1000u
#define GPA_DATA 0x2000u
#define GPA_PML4 0x3000u
#define GPA_PDPT 0x4000u
#define GPA_PD 0x5000u

/* Intel SDM volume 3: 2.5 control registers, 4.5 paging entries, volume 4 for EFER. */
#define PTE_PRESENT_WRITABLE 0x3ull
#define PTE_LARGE 0x80ull
#define CR0_LONG 0x80000033ull /* PG, NE, ET, MP, PE */
#define CR4_PAE 0x20ull
#define EFER_LONG 0x500ull /* LMA, LME */
#define RFLAGS_FIXED 0x2ull

const uint64_t kvm_machine_code_gpa = GPA_CODE;

/* The guest: a nop, a write of GPA_DATA, a read of it, and the end. */
#define AT_WRITE 1u
#define AT_READ 8u
#define AT_END 15u
static const uint8_t code[] = {
	0x90,
	0x88, 0x04, 0x25, 0x00, GPA_DATA >> 8, 0, 0, /* mov %al, GPA_DATA */
	0x8a, 0x04, 0x25, 0x00, GPA_DATA >> 8, 0, 0, /* mov GPA_DATA, %al */
	0xf4,
};

static bool set_cpuid(int kvm, int vcpu)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[MAX_CPUID];
	} cpuid = { .head.nent = MAX_CPUID };

	return !ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid) && !ioctl(vcpu, KVM_SET_CPUID2, &cpuid);
}

static void put_entry(uint8_t *ram, uint64_t gpa, uint64_t entry)
{
	memcpy(ram + gpa, &entry, sizeof(entry));
}

static void fill_memory(uint8_t *ram)
{
	memcpy(ram + GPA_CODE, code, sizeof(code));
	put_entry(ram, GPA_PML4, GPA_PDPT | PTE_PRESENT_WRITABLE);
	put_entry(ram, GPA_PDPT, GPA_PD | PTE_PRESENT_WRITABLE);
	put_entry(ram, GPA_PD, PTE_PRESENT_WRITABLE | PTE_LARGE);
}

static bool set_long_mode(const struct kvm_machine *m)
{
	struct kvm_segment flat = { .limit = 0xffffffff, .present = 1, .s = 1, .g = 1 };
	struct kvm_sregs s;

	if (ioctl(m->vcpu, KVM_GET_SREGS, &s))
		return false;
	s.cr0 = CR0_LONG;
	s.cr3 = GPA_PML4;
	s.cr4 = CR4_PAE;
	s.efer = EFER_LONG;
	s.cs = s.ds = s.es = s.ss = flat;
	s.cs.type = 11;
	s.cs.l = 1;
	s.cs.selector = 8;
	s.ds.type = s.es.type = s.ss.type = 3;
	s.ds.db = s.es.db = s.ss.db = 1;
	s.ds.selector = s.es.selector = s.ss.selector = 16;
	return !ioctl(m->vcpu, KVM_SET_SREGS, &s);
}

bool kvm_machine_set_up(int kvm, const struct kvm_machine *m, uint64_t pc)
{
	struct kvm_regs regs = { .rip = pc, .rflags = RFLAGS_FIXED };

	fill_memory(m->ram);
	return set_cpuid(kvm, m->vcpu) && set_long_mode(m) && !ioctl(m->vcpu, KVM_SET_REGS, &regs);
}

#define CAP(member) offsetof(struct kvm_debug_caps, member)

const struct kvm_experiment kvm_experiments[] = {
	{ { 0 }, KVM_DEBUG_STEP, 0, KVM_HIT_STEP, AT_WRITE, CAP(step) },
	{ { BREAKPOINT_HARDWARE, GPA_CODE + AT_READ, 1 }, 0, 0, KVM_HIT_EXECUTE, AT_READ, CAP(execute) },
	{ { WATCHPOINT_WRITE, GPA_DATA, 8 }, 0, 0, KVM_HIT_WATCH, AT_READ, CAP(watch) },
	{ { WATCHPOINT_ACCESS, GPA_DATA, 8 }, 0, AT_READ, KVM_HIT_WATCH, AT_END, CAP(access) },
	{ { 0 }, KVM_DEBUG_SOFTWARE, 0, KVM_HIT_SOFTWARE, AT_WRITE, CAP(software) },
};
const size_t kvm_n_experiments = ARRAY_LEN(kvm_experiments);
