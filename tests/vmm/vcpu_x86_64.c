/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/alloc.h"
#include "base/endian.h"
#include "tests/vmm/core.h"
#include "tests/vmm/state_x86_64.h"
#include "tests/vmm/x86.h"

#define XFEATURES (XFEATURE_X87 | XFEATURE_SSE | XFEATURE_AVX)
#define RFLAGS_FIXED 0x2u
#define RFLAGS_DF 0x400u
#define RFLAGS_ID 0x200000u

struct field {
	const char *name;
	uint16_t offset; /* in struct vcpu_state */
	uint8_t bytes;
};

#define AT(member) offsetof(struct vcpu_state, member), sizeof(((struct vcpu_state *)NULL)->member)
#define GPR(name) {#name, AT(regs.name)}
#define SEGMENT(name) {#name, AT(sregs.name.selector)}, {#name "_base", AT(sregs.name.base)}, \
	{#name "_limit", AT(sregs.name.limit)}
#define TABLE(name) {#name "_base", AT(sregs.name.base)}, {#name "_limit", AT(sregs.name.limit)}
#define FPU(name, at, bytes) {name, offsetof(struct vcpu_state, xsave) + (at), bytes}
#define ST(n) FPU("st" #n, FX_ST(n), 10)
#define VECTOR(n) FPU("xmm" #n, FX_XMM(n), 16), FPU("ymm" #n "h", YMM_HIGH(n), 16)

static const struct field fields[] = {
	GPR(rax), GPR(rbx), GPR(rcx), GPR(rdx), GPR(rsi), GPR(rdi), GPR(rbp), GPR(rsp), GPR(r8), GPR(r9),
	GPR(r10), GPR(r11), GPR(r12), GPR(r13), GPR(r14), GPR(r15), GPR(rip), {"eflags", AT(regs.rflags)},
	SEGMENT(cs), SEGMENT(ss), SEGMENT(ds), SEGMENT(es), SEGMENT(fs), SEGMENT(gs), SEGMENT(ldt),
	SEGMENT(tr), TABLE(gdt), TABLE(idt),
	{"cr0", AT(sregs.cr0)}, {"cr2", AT(sregs.cr2)}, {"cr3", AT(sregs.cr3)}, {"cr4", AT(sregs.cr4)},
	{"cr8", AT(sregs.cr8)}, {"efer", AT(sregs.efer)},
	{"sysenter_cs", AT(msrs[0])}, {"sysenter_esp", AT(msrs[1])}, {"sysenter_eip", AT(msrs[2])},
	{"star", AT(msrs[3])}, {"lstar", AT(msrs[4])}, {"cstar", AT(msrs[5])}, {"fmask", AT(msrs[6])},
	{"k_gs_base", AT(msrs[MSR_K_GS_BASE])}, {"xcr0", AT(xcrs.xcrs[0].value)},
	FPU("fctrl", FX_FCW, 2), FPU("fstat", FX_FSW, 2), FPU("ftw", FX_FTW, 1), FPU("fop", FX_FOP, 2),
	FPU("fip", FX_FIP, 8), FPU("fdp", FX_FDP, 8), FPU("mxcsr", FX_MXCSR, 4),
	ST(0), ST(1), ST(2), ST(3), ST(4), ST(5), ST(6), ST(7),
	VECTOR(0), VECTOR(1), VECTOR(2), VECTOR(3), VECTOR(4), VECTOR(5), VECTOR(6), VECTOR(7),
	VECTOR(8), VECTOR(9), VECTOR(10), VECTOR(11), VECTOR(12), VECTOR(13), VECTOR(14), VECTOR(15),
};

/* By n of KIND_MSR. */
static const uint32_t msr_numbers[N_MSRS] = {
	0x174, 0x175, 0x176, /* sysenter_cs, _esp, _eip */
	0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, /* star, lstar, cstar, fmask */
	[MSR_K_GS_BASE] = 0xc0000102,
};

static void must(const struct vcpu *c, unsigned long request, void *arg, const char *name)
{
	if (ioctl(c->fd, request, arg) < 0)
		die(STATUS_SETUP, "%s of vCPU %u: %m", name, c->index);
}

static uint64_t value_of(const struct vcpu *c, enum pattern_kind kind, unsigned n)
{
	return pattern_value(kind, c->vm->index, c->index, n);
}

/* What a guest of this mode can have as an address. */
static uint64_t addr_of(const struct vcpu *c, enum pattern_kind kind, unsigned n)
{
	uint64_t addr = pattern_addr(kind, c->vm->index, c->index, n);

	return c->vm->vmm->opt.mode == MODE_LONG ? addr : (uint32_t)addr;
}

static void set_regs(const struct vcpu *c, struct kvm_regs *r)
{
	/* In the order of the instruction encoding. */
	__u64 *const gprs[] = {
		&r->rax, &r->rcx, &r->rdx, &r->rbx, &r->rsp, &r->rbp, &r->rsi, &r->rdi, &r->r8,
		&r->r9, &r->r10, &r->r11, &r->r12, &r->r13, &r->r14, &r->r15,
	};
	bool wide = c->vm->vmm->opt.mode == MODE_LONG;

	for (unsigned n = 0; n < ARRAY_LEN(gprs); n++)
		*gprs[n] = wide ? value_of(c, KIND_GPR, n) : n < 8 ? (uint32_t)value_of(c, KIND_GPR, n) : 0;
	r->rsp = addr_of(c, KIND_GPR, 4);
	r->rip = mode_pages(c->vm->vmm->opt.mode) ? GVA_CODE : 0;
	r->rflags = RFLAGS_FIXED | RFLAGS_DF | RFLAGS_ID;
	if (c->vm->vmm->opt.work != WORK_STAMP)
		return;
	r->rax = 0;
	r->rsi = GVA_DIRECT + gpa_stamp(c->index);
	r->rdx = GVA_DIRECT + gpa_stamp(c->index + 1);
}

static void set_segment(const struct vcpu *c, struct kvm_segment *s, unsigned n)
{
	enum guest_mode mode = c->vm->vmm->opt.mode;
	bool wide_base = n >= 4; /* fs, gs, ldt, tr */

	s->selector = (n + 1) * 8 + c->index * 0x100;
	s->base = wide_base ? addr_of(c, KIND_SEGMENT, n) : (uint32_t)addr_of(c, KIND_SEGMENT, n);
	s->limit = (n + 1) << 20 | c->index << 16 | 0xffff;
	s->type = 3; /* data, writable, accessed */
	s->present = 1;
	s->dpl = 0;
	s->db = mode != MODE_LONG;
	s->s = 1;
	s->l = 0;
	s->g = 1;
	s->unusable = 0;
}

/* cs and ds: all there is, from address 0 or, without paging, from the code page. */
static void set_wide(const struct vcpu *c, struct kvm_segment *s)
{
	s->base = mode_pages(c->vm->vmm->opt.mode) ? 0 : gpa_code(c->index);
	s->limit = 0xffffffff;
}

/* ldt and tr: byte limits. */
static void set_system_segment(const struct vcpu *c, struct kvm_segment *s, unsigned n, unsigned type)
{
	set_segment(c, s, n);
	s->limit = (n + 1) << 8 | c->index << 4 | 0xf;
	s->type = type;
	s->db = 0;
	s->s = 0;
	s->g = 0;
}

/* What real mode's loads of segment registers leave behind. */
static void set_real_segment(const struct vcpu *c, struct kvm_segment *s, unsigned n)
{
	bool code = n == 1 || n == 3;

	s->selector = code ? gpa_code(c->index) >> 4 : 0x1000 * (n + 2) + c->index * 0x10;
	s->base = (uint64_t)s->selector << 4;
	s->limit = 0xffff;
	s->db = 0;
	s->g = 0;
}

static void set_segments(const struct vcpu *c, struct kvm_sregs *s)
{
	struct kvm_segment *const all[] = {&s->es, &s->cs, &s->ss, &s->ds, &s->fs, &s->gs};
	enum guest_mode mode = c->vm->vmm->opt.mode;

	for (unsigned n = 0; n < ARRAY_LEN(all); n++) {
		set_segment(c, all[n], n);
		if (mode == MODE_16)
			set_real_segment(c, all[n], n);
	}
	s->cs.type = 11; /* code, readable, accessed */
	if (mode != MODE_16) {
		set_wide(c, &s->cs);
		set_wide(c, &s->ds);
	}
	s->cs.l = mode == MODE_LONG;
	set_system_segment(c, &s->ldt, 6, 2);
	set_system_segment(c, &s->tr, 7, 11);
}

static void set_control(const struct vcpu *c, struct kvm_sregs *s)
{
	enum guest_mode mode = c->vm->vmm->opt.mode;

	s->cr0 = CR0_MP | CR0_ET | CR0_NE;
	s->cr4 = CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT;
	s->cr2 = addr_of(c, KIND_CR, 2);
	s->cr8 = 5 + c->index;
	s->efer = EFER_SCE;
	if (mode != MODE_16)
		s->cr0 |= CR0_PE | CR0_WP | CR0_AM;
	if (!mode_pages(mode))
		return;
	s->cr0 |= CR0_PG;
	s->cr3 = vm_create_tables(c->vm, c->index) | CR3_PWT;
	s->cr4 |= mode == MODE_32 ? CR4_PSE : CR4_PAE;
	if (mode != MODE_32)
		s->efer |= EFER_NXE;
	if (mode == MODE_LONG)
		s->efer |= EFER_LME | EFER_LMA;
}

static void set_sregs(const struct vcpu *c, struct kvm_sregs *s)
{
	set_segments(c, s);
	set_control(c, s);
	s->gdt.base = addr_of(c, KIND_TABLE, 0);
	s->gdt.limit = 0x7ff + 0x1000 * c->index;
	s->idt.base = addr_of(c, KIND_TABLE, 1);
	s->idt.limit = 0xfff + 0x1000 * c->index;
}

static void set_msrs(const struct vcpu *c, uint64_t *msrs)
{
	for (unsigned n = 0; n < N_MSRS; n++)
		msrs[n] = pattern_addr(KIND_MSR, c->vm->index, c->index, n);
	msrs[0] = (uint32_t)msrs[0];
	msrs[3] = value_of(c, KIND_MSR, 3);
	msrs[6] = (uint32_t)msrs[6];
}

static void put(struct vcpu_state *s, unsigned at, unsigned bytes, uint64_t value)
{
	store_uint((char *)s->xsave.region + at, bytes, ORDER_LITTLE, value);
}

static void set_x87(const struct vcpu *c, struct vcpu_state *s)
{
	put(s, FX_FCW, 2, 0x37f | (c->index & 3) << 10);
	put(s, FX_FSW, 2, 0x4100 | ((c->index + 3) & 7) << 11);
	put(s, FX_FTW, 1, 0xff & ~(1u << c->index));
	/* fop, fip and fdp stay 0: AMD's processors do not keep them. */
	for (unsigned n = 0; n < 8; n++) {
		put(s, FX_ST(n), 8, value_of(c, KIND_X87, n) | 1ull << 63);
		put(s, FX_ST(n) + 8, 2, 0x4000 + n);
	}
}

static void set_vectors(const struct vcpu *c, struct vcpu_state *s)
{
	put(s, FX_MXCSR, 4, 0x1f81 + c->index);
	for (unsigned n = 0; n < 16; n++) {
		put(s, FX_XMM(n), 8, value_of(c, KIND_XMM_LOW, n));
		put(s, FX_XMM(n) + 8, 8, value_of(c, KIND_XMM_HIGH, n));
		if (!(s->xcrs.xcrs[0].value & XFEATURE_AVX))
			continue;
		put(s, YMM_HIGH(n), 8, value_of(c, KIND_YMM_LOW, n));
		put(s, YMM_HIGH(n) + 8, 8, value_of(c, KIND_YMM_HIGH, n));
	}
	put(s, XSTATE_BV, 8, s->xcrs.xcrs[0].value);
}

static bool access_msr(struct vcpu *c, unsigned long request, uint32_t number, uint64_t *value)
{
	_Alignas(struct kvm_msrs) char bytes[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)] = {0};
	struct kvm_msrs *list = (struct kvm_msrs *)bytes;

	list->nmsrs = 1;
	list->entries[0] = (struct kvm_msr_entry){.index = number, .data = *value};
	if (ioctl(c->fd, request, list) != 1)
		return false;
	*value = list->entries[0].data;
	return true;
}

static void get_state(struct vcpu *c, struct vcpu_state *ret)
{
	must(c, KVM_GET_REGS, &ret->regs, "KVM_GET_REGS");
	must(c, KVM_GET_SREGS, &ret->sregs, "KVM_GET_SREGS");
	must(c, KVM_GET_XCRS, &ret->xcrs, "KVM_GET_XCRS");
	must(c, KVM_GET_XSAVE, &ret->xsave, "KVM_GET_XSAVE");
	for (unsigned n = 0; n < N_MSRS; n++)
		if (!access_msr(c, KVM_GET_MSRS, msr_numbers[n], &ret->msrs[n]))
			ret->msrs[n] = 0;
}

/* Without AVX xcr0 stays as it is, and what is compared says so. */
static void set_xcrs(struct vcpu *c, struct vcpu_state *s)
{
	s->xcrs.nr_xcrs = 1;
	s->xcrs.xcrs[0].value = XFEATURES;
	if (ioctl(c->fd, KVM_SET_XCRS, &s->xcrs) < 0)
		must(c, KVM_GET_XCRS, &s->xcrs, "KVM_GET_XCRS");
}

static void make_state(const struct vcpu *c, struct vcpu_state *s)
{
	set_regs(c, &s->regs);
	set_sregs(c, &s->sregs);
	set_msrs(c, s->msrs);
	set_x87(c, s);
	set_vectors(c, s);
}

/* What KVM does not take of a core's state it may not have here at all. */
static void must_take(const struct vcpu *c, const struct vcpu_state *s, unsigned long request, const void *arg,
		      const char *name)
{
	const struct kvm_sregs *r = &s->sregs;

	if (!ioctl(c->fd, request, arg))
		return;
	die(c->vm->vmm->core ? STATUS_UNSUPPORTED : STATUS_SETUP,
	    "%s of vCPU %u with cr0 %#llx, cr4 %#llx, efer %#llx, xcr0 %#llx: %m", name, c->index, r->cr0, r->cr4,
	    r->efer, s->xcrs.xcrs[0].value);
}

/* An MSR that KVM does not have shows in the comparison afterwards. */
static void set_state(struct vcpu *c, struct vcpu_state *s)
{
	set_xcrs(c, s);
	if (c->vm->vmm->core)
		core_get_state(c->vm->vmm->core, c->index, s);
	else
		make_state(c, s);
	must_take(c, s, KVM_SET_SREGS, &s->sregs, "KVM_SET_SREGS");
	must_take(c, s, KVM_SET_REGS, &s->regs, "KVM_SET_REGS");
	for (unsigned n = 0; n < N_MSRS; n++)
		access_msr(c, KVM_SET_MSRS, msr_numbers[n], &s->msrs[n]);
	must_take(c, s, KVM_SET_XSAVE, &s->xsave, "KVM_SET_XSAVE");
	c->run->cr8 = s->sregs.cr8;
}

/* Through KVM_RUN and out again before the guest's first instruction: what KVM changes there changes now. */
static void pass_through_run(struct vcpu *c)
{
	c->run->immediate_exit = 1;
	if (ioctl(c->fd, KVM_RUN, 0) != -1 || errno != EINTR)
		die(STATUS_SETUP, "KVM_RUN with immediate_exit: %m");
	c->run->immediate_exit = 0;
}

static void note_missing(struct vcpu *c, const struct vcpu_state *want)
{
	struct vcpu_state got = {0};

	get_state(c, &got);
	/* KVM's PVM backend pages in long mode only, and leaves the bit clear without an error. */
	if (got.sregs.cr0 != want->sregs.cr0)
		die(STATUS_UNSUPPORTED, "UNSUPPORTED mode %s: cr0 is %#llx, not %#llx",
		    mode_name(c->vm->vmm->opt.mode), got.sregs.cr0, want->sregs.cr0);
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		const struct field *f = &fields[i];

		if (memcmp((const char *)want + f->offset, (const char *)&got + f->offset, f->bytes))
			buf_addf(&c->missing, "%s\"%s\"", c->missing.len ? "," : "", f->name);
	}
}

void vcpu_print(struct vcpu *c, struct buf *out)
{
	struct vcpu_state state = {0};

	get_state(c, &state);
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		const struct field *f = &fields[i];

		buf_addf(out, "%s\"%s\":\"0x", i ? "," : "", f->name);
		for (unsigned n = f->bytes; n-- > 0;)
			buf_addf(out, "%02x", ((const uint8_t *)&state)[f->offset + n]);
		buf_adds(out, "\"");
	}
}

/* The guest gets every feature that this host's KVM has. */
static void set_cpuid(struct vcpu *c)
{
	const unsigned max = 256;
	struct kvm_cpuid2 *cpuid = xcalloc(1, sizeof(*cpuid) + max * sizeof(cpuid->entries[0]));

	cpuid->nent = max;
	if (ioctl(c->vm->vmm->kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid) < 0)
		die(STATUS_SETUP, "KVM_GET_SUPPORTED_CPUID: %m");
	must(c, KVM_SET_CPUID2, cpuid, "KVM_SET_CPUID2");
	free(cpuid);
}

/*
 * With an interrupt controller in the kernel all vCPUs but the first wait for a
 * start-up message. One of a core waits inside KVM_RUN for an interrupt that never comes.
 */
static void set_mp_state(struct vcpu *c)
{
	struct kvm_mp_state state = {
		.mp_state = c->vm->vmm->core ? KVM_MP_STATE_HALTED : KVM_MP_STATE_RUNNABLE,
	};

	if (c->vm->vmm->opt.work == WORK_HALT)
		must(c, KVM_SET_MP_STATE, &state, "KVM_SET_MP_STATE");
}

void vcpu_set_up(struct vcpu *c)
{
	struct vcpu_state state = {0};

	set_cpuid(c);
	set_mp_state(c);
	get_state(c, &state);
	set_state(c, &state);
	pass_through_run(c);
	note_missing(c, &state);
}
