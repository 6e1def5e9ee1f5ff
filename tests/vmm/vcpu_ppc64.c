/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <sys/ioctl.h>

#include "base/alloc.h"
#include "base/endian.h"
#include "tests/vmm/vmm.h"

/* Power ISA 3.0B book III, 3.2.1. */
#define MSR_SF (1ull << 63)
#define MSR_VEC (1ull << 25)
#define MSR_VSX (1ull << 23)
#define MSR_FP (1ull << 13)
#define MSR_ME (1ull << 12)
#define MSR_LE 1ull
#define LPCR_ILE (1ull << 25) /* of book III, 2.2 */

/* Book III, 5.7.6.1: radix trees, at GPA_TABLES, of 64 KiB. */
#define PROCESS_TABLE (1ull << 63 | GPA_TABLES | 4)

#define N_GPRS 32u
#define N_VECTORS 32u
#define GPR_MMIO 29u
#define GPR_CODE 31u

struct one {
	const char *name;
	uint64_t id;
	unsigned n; /* of KIND_TABLE */
};

/* Of 64 bits each, and all of them kept. */
static const struct one ones[] = {
	{"tar", KVM_REG_PPC_TAR, 6}, {"dar", KVM_REG_PPC_DAR, 7}, {"ebbhr", KVM_REG_PPC_EBBHR, 8},
	{"spr_dscr", KVM_REG_PPC_DSCR, 9},
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

static void access_one(const struct vcpu *c, unsigned long request, uint64_t id, void *value)
{
	struct kvm_one_reg one = {.id = id, .addr = (uintptr_t)value};

	must(c, request, &one, request == KVM_SET_ONE_REG ? "KVM_SET_ONE_REG" : "KVM_GET_ONE_REG");
}

static void set_regs(const struct vcpu *c)
{
	struct kvm_regs r = {
		.pc = gpa_code(c->index),
		.msr = MSR_SF | MSR_VEC | MSR_VSX | MSR_FP | MSR_ME | (order_of_host() == ORDER_LITTLE ? MSR_LE : 0),
		.cr = 0x12345600 + c->index,
		.xer = 0x20000000,
		.lr = value_of(c, KIND_TABLE, 0),
		.ctr = value_of(c, KIND_TABLE, 1),
		.sprg0 = value_of(c, KIND_TABLE, 2),
		.sprg1 = value_of(c, KIND_TABLE, 3),
		.sprg2 = value_of(c, KIND_TABLE, 4),
		.sprg3 = value_of(c, KIND_TABLE, 5),
	};

	for (unsigned n = 0; n < N_GPRS; n++)
		r.gpr[n] = value_of(c, KIND_GPR, n);
	r.gpr[GPR_CODE] = gpa_code(c->index);
	r.gpr[GPR_MMIO] = GPA_MMIO + 4096ull * c->index;
	must(c, KVM_SET_REGS, &r, "KVM_SET_REGS");
}

/* Two doublewords as one number of 128 bits. */
static void put_vector(uint64_t v[2], uint64_t high, uint64_t low)
{
	unsigned first = order_of_host() == ORDER_LITTLE;

	v[first] = high;
	v[!first] = low;
}

static void set_vectors(const struct vcpu *c)
{
	for (unsigned n = 0; n < N_VECTORS; n++) {
		uint64_t v[2];

		put_vector(v, value_of(c, KIND_X87, n), value_of(c, KIND_YMM_LOW, n));
		access_one(c, KVM_SET_ONE_REG, KVM_REG_PPC_VSR(n), v);
		put_vector(v, value_of(c, KIND_XMM_HIGH, n), value_of(c, KIND_XMM_LOW, n));
		access_one(c, KVM_SET_ONE_REG, KVM_REG_PPC_VR(n), v);
	}
}

/* What tells a guest's byte order. */
static void set_interrupt_order(const struct vcpu *c)
{
	uint64_t lpcr;

	access_one(c, KVM_GET_ONE_REG, KVM_REG_PPC_LPCR_64, &lpcr);
	if (order_of_host() == ORDER_LITTLE)
		lpcr |= LPCR_ILE;
	access_one(c, KVM_SET_ONE_REG, KVM_REG_PPC_LPCR_64, &lpcr);
}

static void set_ones(const struct vcpu *c)
{
	set_interrupt_order(c);
	for (size_t i = 0; i < ARRAY_LEN(ones); i++) {
		uint64_t value = value_of(c, KIND_TABLE, ones[i].n);

		access_one(c, KVM_SET_ONE_REG, ones[i].id, &value);
	}
}

/* The general ones, which are enough to see that the VMM has its own. */
void vcpu_print(struct vcpu *c, struct buf *out)
{
	struct kvm_regs r;

	must(c, KVM_GET_REGS, &r, "KVM_GET_REGS");
	for (unsigned n = 0; n < N_GPRS; n++)
		buf_addf(out, "\"r%u\":\"0x%llx\",", n, (unsigned long long)r.gpr[n]);
	buf_addf(out, "\"pc\":\"0x%llx\",\"lr\":\"0x%llx\",\"ctr\":\"0x%llx\"", (unsigned long long)r.pc,
		 (unsigned long long)r.lr, (unsigned long long)r.ctr);
}

/* No vCPU uses it: they are in real mode. */
static void set_process_table(const struct vm *vm)
{
	struct kvm_ppc_mmuv3_cfg mmu = {
		.flags = KVM_PPC_MMUV3_RADIX | KVM_PPC_MMUV3_GTSE,
		.process_table = PROCESS_TABLE,
	};

	if (ioctl(vm->fd, KVM_PPC_CONFIGURE_V3_MMU, &mmu) < 0)
		die(STATUS_UNSUPPORTED, "KVM_PPC_CONFIGURE_V3_MMU: %m");
}

/* KVM's HV kind runs no other guests than PAPR's. */
void vcpu_set_up(struct vcpu *c)
{
	struct kvm_enable_cap papr = {.cap = KVM_CAP_PPC_PAPR};

	if (c->vm->vmm->core)
		die(STATUS_UNSUPPORTED, "on this host there is no --core");
	must(c, KVM_ENABLE_CAP, &papr, "KVM_ENABLE_CAP of PAPR");
	if (!c->index)
		set_process_table(c->vm);
	set_regs(c);
	set_vectors(c);
	set_ones(c);
}
