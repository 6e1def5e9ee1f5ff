/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/kvm_host.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86_64/x86_64.h"
#include "base/alloc.h"

#define MAX_CPUID 256u
#define CPUID_1_ECX_AVX (1u << 28)
/* With all of AMX; KVM_GET_XSAVE2 is for what KVM_GET_XSAVE's 4 KiB do not hold. */
#define XSAVE2_BYTES 12288u

#define FIELD KVM_FIELD
#define CALL(vcpu_fd, ioctl, arg, size) \
	(struct guardian_ioctl){ .fd = vcpu_fd, .request = ioctl, .data = arg, .bytes = size }

static const struct kvm_field regs_fields[] = {
	FIELD(X86_RAX, struct kvm_regs, rax), FIELD(X86_RBX, struct kvm_regs, rbx),
	FIELD(X86_RCX, struct kvm_regs, rcx), FIELD(X86_RDX, struct kvm_regs, rdx),
	FIELD(X86_RSI, struct kvm_regs, rsi), FIELD(X86_RDI, struct kvm_regs, rdi),
	FIELD(X86_RSP, struct kvm_regs, rsp), FIELD(X86_RBP, struct kvm_regs, rbp),
	FIELD(X86_R8, struct kvm_regs, r8),   FIELD(X86_R9, struct kvm_regs, r9),
	FIELD(X86_R10, struct kvm_regs, r10), FIELD(X86_R11, struct kvm_regs, r11),
	FIELD(X86_R12, struct kvm_regs, r12), FIELD(X86_R13, struct kvm_regs, r13),
	FIELD(X86_R14, struct kvm_regs, r14), FIELD(X86_R15, struct kvm_regs, r15),
	FIELD(X86_RIP, struct kvm_regs, rip), FIELD(X86_EFLAGS, struct kvm_regs, rflags),
};

static const struct kvm_field sregs_fields[] = {
	FIELD(X86_CR0, struct kvm_sregs, cr0),   FIELD(X86_CR2, struct kvm_sregs, cr2),
	FIELD(X86_CR3, struct kvm_sregs, cr3),   FIELD(X86_CR4, struct kvm_sregs, cr4),
	FIELD(X86_CR8, struct kvm_sregs, cr8),   FIELD(X86_EFER, struct kvm_sregs, efer),
	FIELD(X86_APIC_BASE, struct kvm_sregs, apic_base),
	FIELD(X86_GDTR_BASE, struct kvm_sregs, gdt.base), FIELD(X86_GDTR_LIMIT, struct kvm_sregs, gdt.limit),
	FIELD(X86_IDTR_BASE, struct kvm_sregs, idt.base), FIELD(X86_IDTR_LIMIT, struct kvm_sregs, idt.limit),
};

static const struct kvm_field debug_fields[] = {
	FIELD(X86_DR0, struct kvm_debugregs, db[0]), FIELD(X86_DR1, struct kvm_debugregs, db[1]),
	FIELD(X86_DR2, struct kvm_debugregs, db[2]), FIELD(X86_DR3, struct kvm_debugregs, db[3]),
	FIELD(X86_DR6, struct kvm_debugregs, dr6),   FIELD(X86_DR7, struct kvm_debugregs, dr7),
};

static const struct {
	uint16_t row;
	uint32_t index; /* of the MSR: Intel SDM volume 4, AMD APM volume 2 appendix A */
} msrs[] = {
	{ X86_SYSENTER_CS, 0x174 },      { X86_SYSENTER_ESP, 0x175 }, { X86_SYSENTER_EIP, 0x176 },
	{ X86_PAT, 0x277 },              { X86_STAR, 0xc0000081 },    { X86_LSTAR, 0xc0000082 },
	{ X86_CSTAR, 0xc0000083 },       { X86_FMASK, 0xc0000084 },   { X86_K_GS_BASE, 0xc0000102 },
	{ X86_TSC_AUX, 0xc0000103 },
};

#define N_MSRS ARRAY_LEN(msrs)

struct one_msr {
	struct kvm_msrs head;
	struct kvm_msr_entry entry;
};

struct all_msrs {
	struct kvm_msrs head;
	struct kvm_msr_entry entries[N_MSRS];
};

static const uint16_t segment_offsets[X86_N_SEGMENTS] = {
	[X86_SEG_CS] = offsetof(struct kvm_sregs, cs),   [X86_SEG_DS] = offsetof(struct kvm_sregs, ds),
	[X86_SEG_ES] = offsetof(struct kvm_sregs, es),   [X86_SEG_FS] = offsetof(struct kvm_sregs, fs),
	[X86_SEG_GS] = offsetof(struct kvm_sregs, gs),   [X86_SEG_SS] = offsetof(struct kvm_sregs, ss),
	[X86_SEG_LDT] = offsetof(struct kvm_sregs, ldt), [X86_SEG_TR] = offsetof(struct kvm_sregs, tr),
};

struct state {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_debugregs debug;
	uint8_t xsave[XSAVE2_BYTES];
	size_t xsave_bytes;
	struct one_msr msrs[N_MSRS];
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[MAX_CPUID];
	} cpuid;
};

/* The calls that read a state, in this order. */
enum call { CALL_REGS, CALL_SREGS, CALL_DEBUG, CALL_XSAVE, CALL_CPUID, CALL_MSRS, N_CALLS };

static const char *const call_names[] = { "KVM_GET_REGS", "KVM_GET_SREGS", "KVM_GET_DEBUGREGS", "KVM_GET_XSAVE" };

static struct err *read_big_xsave(const struct kvm_access *a, int fd, struct state *s)
{
	s->xsave_bytes = sizeof(s->xsave);
	return kvm_call(a, fd, "KVM_GET_XSAVE2", KVM_GET_XSAVE2, s->xsave, sizeof(s->xsave));
}

static void list_msrs(struct all_msrs *all)
{
	all->head.nmsrs = N_MSRS;
	for (size_t i = 0; i < N_MSRS; i++)
		all->entries[i].index = msrs[i].index;
}

/* The kernel stops at the first MSR that it does not know: then each is asked for by itself. */
static struct err *read_each_msr(const struct kvm_access *a, int fd, struct state *s)
{
	struct guardian_ioctl calls[N_MSRS];
	struct err *e;

	for (size_t i = 0; i < N_MSRS; i++) {
		s->msrs[i].head.nmsrs = 1;
		s->msrs[i].entry.index = msrs[i].index;
		calls[i] = CALL(fd, KVM_GET_MSRS, &s->msrs[i], sizeof(s->msrs[i]));
	}
	e = a->ioctls(a->ctx, calls, N_MSRS);
	for (size_t i = 0; i < N_MSRS; i++)
		s->msrs[i].head.nmsrs = calls[i].result == 1;
	return e;
}

/* n_read: how many of all the kernel says that it read. */
static struct err *take_msrs(const struct kvm_access *a, int fd, const struct all_msrs *all, long n_read, struct state *s)
{
	if (n_read != (long)N_MSRS)
		return read_each_msr(a, fd, s);
	for (size_t i = 0; i < N_MSRS; i++) {
		s->msrs[i].head.nmsrs = 1;
		s->msrs[i].entry = all->entries[i];
	}
	return NULL;
}

static struct err *read_state(const struct kvm_access *a, int fd, struct state *s)
{
	struct all_msrs all = { 0 };
	struct guardian_ioctl calls[N_CALLS] = {
		[CALL_REGS] = CALL(fd, KVM_GET_REGS, &s->regs, sizeof(s->regs)),
		[CALL_SREGS] = CALL(fd, KVM_GET_SREGS, &s->sregs, sizeof(s->sregs)),
		[CALL_DEBUG] = CALL(fd, KVM_GET_DEBUGREGS, &s->debug, sizeof(s->debug)),
		[CALL_XSAVE] = CALL(fd, KVM_GET_XSAVE, s->xsave, sizeof(struct kvm_xsave)),
		[CALL_CPUID] = CALL(fd, KVM_GET_CPUID2, &s->cpuid, sizeof(s->cpuid)),
		[CALL_MSRS] = CALL(fd, KVM_GET_MSRS, &all, sizeof(all)),
	};
	struct err *e;

	s->cpuid.head.nent = MAX_CPUID;
	s->xsave_bytes = sizeof(struct kvm_xsave);
	list_msrs(&all);
	e = a->ioctls(a->ctx, calls, N_CALLS);
	if (!e && calls[CALL_XSAVE].result == -EINVAL) {
		e = read_big_xsave(a, fd, s);
		calls[CALL_XSAVE].result = 0;
	}
	for (size_t i = 0; !e && i < ARRAY_LEN(call_names); i++)
		if (calls[i].result < 0)
			e = err_sys((int)-calls[i].result, "%s", call_names[i]);
	if (!e)
		e = take_msrs(a, fd, &all, calls[CALL_MSRS].result, s);
	if (calls[CALL_CPUID].result < 0)
		s->cpuid.head.nent = 0;
	return e;
}

static bool guest_has_avx(const struct state *s)
{
	for (uint32_t i = 0; i < MIN(s->cpuid.head.nent, MAX_CPUID); i++)
		if (s->cpuid.entries[i].function == 1)
			return s->cpuid.entries[i].ecx & CPUID_1_ECX_AVX;
	return false;
}

static void get_segment(const struct kvm_segment *from, const struct x86_64_segment_rows *rows, struct regs *ret)
{
	struct x86_64_attr attr = {
		.type = from->type, .s = from->s, .dpl = from->dpl, .present = from->present && !from->unusable,
		.avl = from->avl, .l = from->l, .db = from->db, .g = from->g,
	};

	regs_set(ret, rows->selector, from->selector);
	regs_set(ret, rows->base, from->base);
	regs_set(ret, rows->limit, from->limit);
	regs_set(ret, rows->attr, x86_64_attr_pack(&attr));
}

static void put_segment(const struct regs *regs, const struct x86_64_segment_rows *rows, struct kvm_segment *to)
{
	struct x86_64_attr attr = x86_64_attr_unpack((uint32_t)regs_get_or(regs, rows->attr, 0));

	to->selector = (uint16_t)regs_get_or(regs, rows->selector, 0);
	to->base = regs_get_or(regs, rows->base, 0);
	to->limit = (uint32_t)regs_get_or(regs, rows->limit, 0);
	to->type = attr.type;
	to->s = attr.s;
	to->dpl = attr.dpl;
	to->present = attr.present;
	to->unusable = !attr.present;
	to->avl = attr.avl;
	to->l = attr.l;
	to->db = attr.db;
	to->g = attr.g;
}

static struct kvm_segment *segment_of(struct kvm_sregs *s, size_t i)
{
	return (struct kvm_segment *)((char *)s + segment_offsets[i]);
}

static void state_to_regs(struct state *s, struct regs *ret)
{
	kvm_fields_get(regs_fields, ARRAY_LEN(regs_fields), &s->regs, ret);
	kvm_fields_get(sregs_fields, ARRAY_LEN(sregs_fields), &s->sregs, ret);
	kvm_fields_get(debug_fields, ARRAY_LEN(debug_fields), &s->debug, ret);
	for (size_t i = 0; i < X86_N_SEGMENTS; i++)
		get_segment(segment_of(&s->sregs, i), &x86_64_segments[i], ret);
	for (size_t i = 0; i < N_MSRS; i++)
		if (s->msrs[i].head.nmsrs)
			regs_set(ret, msrs[i].row, s->msrs[i].entry.data);
	x86_64_xsave_put(ret, s->xsave);
	if (!guest_has_avx(s))
		for (unsigned r = X86_YMM0H; r <= X86_YMM15H; r++)
			regs_forget(ret, r);
}

static void regs_to_state(const struct regs *regs, struct state *s)
{
	kvm_fields_put(regs_fields, ARRAY_LEN(regs_fields), regs, NULL, &s->regs);
	kvm_fields_put(sregs_fields, ARRAY_LEN(sregs_fields), regs, NULL, &s->sregs);
	kvm_fields_put(debug_fields, ARRAY_LEN(debug_fields), regs, NULL, &s->debug);
	for (size_t i = 0; i < X86_N_SEGMENTS; i++)
		put_segment(regs, &x86_64_segments[i], segment_of(&s->sregs, i));
	for (size_t i = 0; i < N_MSRS; i++)
		s->msrs[i].entry.data = regs_get_or(regs, msrs[i].row, s->msrs[i].entry.data);
	x86_64_xsave_get(regs, s->xsave);
}

const int kvm_host_process_table_row = -1;

const struct arch *kvm_host_arch(void)
{
	return &arch_x86_64;
}

/* It is always the same. */
struct err *kvm_host_read_order(const struct kvm_access *a, int vcpu_fd, struct regs *ret)
{
	(void)a, (void)vcpu_fd, (void)ret;
	return NULL;
}

struct err *kvm_host_read_regs(const struct kvm_access *a, int vcpu_fd, struct regs *ret)
{
	struct state *s = xcalloc(1, sizeof(*s));
	struct err *e = read_state(a, vcpu_fd, s);

	if (!e)
		state_to_regs(s, ret);
	free(s);
	return e;
}

static struct err *set_msrs(const struct kvm_access *a, int fd, struct state *now, const struct state *before)
{
	struct err *e = NULL;

	for (size_t i = 0; !e && i < N_MSRS; i++) {
		struct guardian_ioctl call = CALL(fd, KVM_SET_MSRS, &now->msrs[i], sizeof(now->msrs[i]));

		if (now->msrs[i].entry.data == before->msrs[i].entry.data)
			continue;
		now->msrs[i].head.nmsrs = 1;
		e = a->ioctls(a->ctx, &call, 1);
		if (!e && call.result != 1)
			e = err_new(ERR_INVALID, "KVM_SET_MSRS does not take this value of MSR 0x%x", msrs[i].index);
	}
	return e;
}

static struct err *set_state(const struct kvm_access *a, int fd, struct state *now, const struct state *before)
{
	struct err *e = kvm_set_if_changed(a, fd, "KVM_SET_SREGS", KVM_SET_SREGS, &now->sregs, &before->sregs,
				       sizeof(now->sregs));

	if (!e)
		e = kvm_set_if_changed(a, fd, "KVM_SET_REGS", KVM_SET_REGS, &now->regs, &before->regs, sizeof(now->regs));
	if (!e)
		e = kvm_set_if_changed(a, fd, "KVM_SET_DEBUGREGS", KVM_SET_DEBUGREGS, &now->debug, &before->debug,
				   sizeof(now->debug));
	if (!e)
		e = kvm_set_if_changed(a, fd, "KVM_SET_XSAVE", KVM_SET_XSAVE, now->xsave, before->xsave, now->xsave_bytes);
	return e ? e : set_msrs(a, fd, now, before);
}

struct err *kvm_host_write_regs(const struct kvm_access *a, int vcpu_fd, const struct regs *from, const bool *changed)
{
	struct state *before = xcalloc(1, sizeof(*before)), *now = xcalloc(1, sizeof(*now));
	struct regs *regs = regs_create(&arch_x86_64, ORDER_LITTLE);
	struct err *e = read_state(a, vcpu_fd, before);

	if (!e) {
		state_to_regs(before, regs);
		e = kvm_check_changed(regs, changed, (const unsigned[]){ X86_ORIG_RAX, X86_N_REGS });
	}
	if (!e) {
		/* What a round trip changes by itself, a reserved bit say, is not written. */
		regs_to_state(regs, before);
		for (unsigned r = 0; r < X86_N_REGS; r++)
			if (changed[r])
				regs_set_bytes(regs, r, regs_bytes(from, r));
		*now = *before;
		regs_to_state(regs, now);
		e = set_state(a, vcpu_fd, now, before);
	}
	regs_destroy(regs);
	free(before);
	free(now);
	return e;
}

struct err *kvm_host_before_resume(const struct kvm_access *a, const int *vcpu_fds, unsigned n)
{
	struct guardian_ioctl *calls = xcalloc(n, sizeof(*calls));
	struct err *e;

	/* EINVAL from a vCPU whose guest uses no KVM clock. */
	for (unsigned i = 0; i < n; i++)
		calls[i] = CALL(vcpu_fds[i], KVM_KVMCLOCK_CTRL, NULL, 0);
	e = a->ioctls(a->ctx, calls, n);
	free(calls);
	return e;
}
