/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "tests/vmm/core.h"
#include "tests/vmm/state_x86_64.h"
#include "tests/vmm/x86.h"

/* Where a segment's attributes stand in the second dword of a descriptor, SDM volume 3, section 3.4.5. */
#define ATTR_TYPE_SHIFT 8
#define ATTR_S_SHIFT 12
#define ATTR_DPL_SHIFT 13
#define ATTR_PRESENT_SHIFT 15
#define ATTR_AVL_SHIFT 20
#define ATTR_L_SHIFT 21
#define ATTR_DB_SHIFT 22
#define ATTR_G_SHIFT 23

struct qemu_segment {
	uint32_t selector, limit, attr, pad;
	uint64_t base;
};

/* Version 1 of the note that QEMU's cores have for each vCPU. */
struct qemu_note {
	uint32_t version, size;
	struct kvm_regs regs; /* the order is the same */
	struct qemu_segment cs, ds, es, fs, gs, ss, ldt, tr, gdt, idt;
	uint64_t cr0, cr1, cr2, cr3, cr4;
	uint64_t kernel_gs_base;
};

_Static_assert(sizeof(struct qemu_note) == 440, "as QEMU writes it");

static void get_segment(const struct qemu_segment *from, struct kvm_segment *to)
{
	to->selector = from->selector;
	to->base = from->base;
	to->limit = from->limit;
	to->type = from->attr >> ATTR_TYPE_SHIFT & 0xf;
	to->s = from->attr >> ATTR_S_SHIFT & 1;
	to->dpl = from->attr >> ATTR_DPL_SHIFT & 3;
	to->present = from->attr >> ATTR_PRESENT_SHIFT & 1;
	to->avl = from->attr >> ATTR_AVL_SHIFT & 1;
	to->l = from->attr >> ATTR_L_SHIFT & 1;
	to->db = from->attr >> ATTR_DB_SHIFT & 1;
	to->g = from->attr >> ATTR_G_SHIFT & 1;
	to->unusable = !to->present;
}

static void get_segments(const struct qemu_note *note, struct kvm_sregs *s)
{
	get_segment(&note->cs, &s->cs);
	get_segment(&note->ds, &s->ds);
	get_segment(&note->es, &s->es);
	get_segment(&note->fs, &s->fs);
	get_segment(&note->gs, &s->gs);
	get_segment(&note->ss, &s->ss);
	get_segment(&note->ldt, &s->ldt);
	get_segment(&note->tr, &s->tr);
	s->gdt.base = note->gdt.base;
	s->gdt.limit = note->gdt.limit;
	s->idt.base = note->idt.base;
	s->idt.limit = note->idt.limit;
}

/* No note tells EFER: it is what 64-bit kernels set. */
static void get_control(const struct qemu_note *note, struct kvm_sregs *s)
{
	s->cr0 = note->cr0;
	s->cr2 = note->cr2;
	s->cr3 = note->cr3;
	s->cr4 = note->cr4;
	s->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
}

static void get_fpu(const struct core_cpu *cpu, struct vcpu_state *s)
{
	char *image = (char *)s->xsave.region;
	const char *from = cpu->xstate ? cpu->xstate : cpu->fpregs;
	uint64_t features = XFEATURE_X87 | XFEATURE_SSE;

	if (!from)
		return;
	/* Behind what the processor uses a core has xcr0. */
	memcpy(image, from, FX_UNUSED);
	if (cpu->xstate) {
		memcpy(&features, from + XSTATE_BV, sizeof(features));
		memcpy(image + YMM_HIGH(0), from + YMM_HIGH(0), XSAVE_AVX_END - YMM_HIGH(0));
	}
	memcpy(image + XSTATE_BV, &features, sizeof(features));
}

void core_get_state(const struct core *c, unsigned cpu, struct vcpu_state *s)
{
	struct qemu_note note;

	memcpy(&note, c->cpus[cpu].qemu, sizeof(note));
	if (note.version != 1 || note.size != sizeof(note))
		die(STATUS_SETUP, "%s: QEMU's note of vCPU %u has version %u and says %u bytes", c->path, cpu,
		    note.version, note.size);
	if (!(note.cr0 & CR0_PG) || !(note.cr4 & CR4_PAE))
		die(STATUS_SETUP, "%s: vCPU %u is not in long mode", c->path, cpu);
	s->regs = note.regs;
	get_segments(&note, &s->sregs);
	get_control(&note, &s->sregs);
	s->msrs[MSR_K_GS_BASE] = note.kernel_gs_base;
	get_fpu(&c->cpus[cpu], s);
}
