/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "arch/ppc64/ppc64.h"
#include "base/alloc.h"
#include "tests/fake_kvm.h"
#include "tests/suite.h"

/* A vCPU with registers of each form that KVM has. */
struct vcpu {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct fake_kvm kvm;
	struct kvm_access access;
};

#define VSR_HIGH(n) (0xf900000000000000 + (n)) /* is f(n) too */
#define VSR_LOW(n) (0x5600000000000000 + (n))
#define VR_HIGH(n) (0x7600000000000000 + (n))
#define VR_LOW(n) (0x7700000000000000 + (n))

/* As the host's kernel keeps it. */
static void put_number(uint8_t *to, uint64_t high, uint64_t low)
{
	bool little = order_of_host() == ORDER_LITTLE;

	memcpy(to + (little ? 8 : 0), &high, sizeof(high));
	memcpy(to + (little ? 0 : 8), &low, sizeof(low));
}

static void add_ones(struct fake_kvm *k)
{
	const uint64_t lpcr = PPC64_LPCR_ILE, pid = 0x1d, dar = 0xda00000000000001;
	const uint32_t dsisr = 0xd5, vrsave = 0xffff0000, pmc1 = 0x111;

	for (unsigned n = 0; n < 32; n++) {
		const uint64_t f = VSR_HIGH(n);
		uint8_t vector[16];

		fake_kvm_add_one(k, KVM_REG_PPC_FPR(n), &f);
		put_number(vector, VSR_HIGH(n), VSR_LOW(n));
		fake_kvm_add_one(k, KVM_REG_PPC_VSR(n), vector);
		put_number(vector, VR_HIGH(n), VR_LOW(n));
		fake_kvm_add_one(k, KVM_REG_PPC_VR(n), vector);
	}
	fake_kvm_add_one(k, KVM_REG_PPC_LPCR_64, &lpcr);
	fake_kvm_add_one(k, KVM_REG_PPC_PID, &pid);
	fake_kvm_add_one(k, KVM_REG_PPC_DAR, &dar);
	fake_kvm_add_one(k, KVM_REG_PPC_DSISR, &dsisr);
	fake_kvm_add_one(k, KVM_REG_PPC_VRSAVE, &vrsave);
	fake_kvm_add_one(k, KVM_REG_PPC_PMC1, &pmc1);
}

static void start(struct vcpu *v)
{
	memset(v, 0, sizeof(*v));
	for (unsigned n = 0; n < 32; n++)
		v->regs.gpr[n] = 0x4700000000000000 + n;
	v->regs.pc = 0xc000000000001234;
	v->regs.msr = 0x8000000000001033;
	v->regs.cr = 0x24002480;
	v->regs.sprg3 = 0x5993;
	v->sregs.pvr = 0x004e1200;
	fake_kvm_add_struct(&v->kvm, KVM_GET_REGS, KVM_SET_REGS, &v->regs, sizeof(v->regs));
	fake_kvm_add_struct(&v->kvm, KVM_GET_SREGS, KVM_SET_SREGS, &v->sregs, sizeof(v->sregs));
	add_ones(&v->kvm);
	v->access = fake_kvm_access(&v->kvm);
}

/* A guest of either byte order on this host. */
START_TEST(reads_every_register)
{
	const enum byte_order order = _i ? ORDER_BIG : ORDER_LITTLE;
	struct vcpu v;
	struct regs *regs;

	start(&v);
	regs = fake_kvm_read(&v.kvm, order);
	ck_assert_uint_eq(fake_kvm_value(regs, PPC64_PC), v.regs.pc);
	ck_assert_uint_eq(fake_kvm_value(regs, PPC64_MSR), v.regs.msr);
	ck_assert_uint_eq(fake_kvm_value(regs, PPC64_CR), v.regs.cr);
	ck_assert_uint_eq(fake_kvm_value(regs, PPC64_SPRG3), 0x5993);
	ck_assert_uint_eq(fake_kvm_value(regs, PPC64_PVR), 0x004e1200);
	ck_assert_uint_eq(fake_kvm_value(regs, PPC64_LPCR), PPC64_LPCR_ILE);
	ck_assert_uint_eq(fake_kvm_value(regs, PPC64_DSISR), 0xd5);
	ck_assert_uint_eq(fake_kvm_value(regs, PPC64_VRSAVE), 0xffff0000);
	for (unsigned n = 0; n < 32; n++) {
		const uint8_t *vr = regs_bytes(regs, PPC64_VR0 + n);

		ck_assert_uint_eq(fake_kvm_value(regs, PPC64_R0 + n), 0x4700000000000000 + n);
		ck_assert_uint_eq(fake_kvm_value(regs, PPC64_F0 + n), VSR_HIGH(n));
		ck_assert_uint_eq(fake_kvm_value(regs, PPC64_VS0H + n), VSR_LOW(n));
		ck_assert_uint_eq(load_uint(vr + (_i ? 0 : 8), 8, order), VR_HIGH(n));
		ck_assert_uint_eq(load_uint(vr + (_i ? 8 : 0), 8, order), VR_LOW(n));
	}
	/* This KVM has not all that others have. */
	ck_assert_ptr_null(regs_bytes(regs, PPC64_TAR));
	ck_assert_ptr_null(regs_bytes(regs, PPC64_HRMOR));
	regs_destroy(regs);
}
END_TEST

static const struct {
	unsigned row;
	bool regs; /* KVM_SET_REGS, else the register by its number */
	uint64_t id;
} writes[] = {
	{ PPC64_R0 + 3, true, 0 },  { PPC64_PC, true, 0 },
	{ PPC64_MSR, true, 0 },     { PPC64_SPRG0, true, 0 },
	{ PPC64_F0 + 4, false, KVM_REG_PPC_FPR(4) },
	{ PPC64_VR0 + 31, false, KVM_REG_PPC_VR(31) },
	{ PPC64_VS0H + 6, false, KVM_REG_PPC_VSR(6) },
	{ PPC64_LPCR, false, KVM_REG_PPC_LPCR_64 },
	{ PPC64_DSISR, false, KVM_REG_PPC_DSISR },
	{ PPC64_VRSAVE, false, KVM_REG_PPC_VRSAVE },
};

START_TEST(writes_one_and_nothing_else)
{
	const enum byte_order order = order_of_host() == ORDER_LITTLE ? ORDER_BIG : ORDER_LITTLE;
	struct vcpu v;
	struct regs *before, *after;
	bool changed[PPC64_N_REGS] = { false };
	unsigned row = writes[_i].row;
	uint8_t value[16];
	size_t low = order == ORDER_LITTLE ? 0 : reg_bytes(kvm_host_arch(), row) - 1;
	struct err *e;

	start(&v);
	before = fake_kvm_read(&v.kvm, order);
	memcpy(value, regs_bytes(before, row), reg_bytes(before->arch, row));
	value[low] ^= 0x55;
	regs_set_bytes(before, row, value);
	changed[row] = true;
	e = kvm_host_write_regs(&v.access, FAKE_KVM_FD, before, changed);
	ck_assert_msg(!e, "%s", e ? err_text(e) : "");
	ck_assert_uint_eq(v.kvm.structs[0].n_set, writes[_i].regs);
	ck_assert_uint_eq(v.kvm.structs[1].n_set, 0);
	for (size_t i = 0; i < v.kvm.n_ones; i++)
		ck_assert_int_eq(v.kvm.ones[i].changed, v.kvm.ones[i].id == writes[_i].id);
	after = fake_kvm_read(&v.kvm, order);
	ck_assert_mem_eq(regs_bytes(after, row), value, reg_bytes(before->arch, row));
	regs_destroy(before);
	regs_destroy(after);
}
END_TEST

/* The other half of it is a register of its own. */
START_TEST(half_a_vsr_stays)
{
	struct vcpu v;
	struct regs *regs;
	bool changed[PPC64_N_REGS] = { [PPC64_VS0H + 6] = true };
	uint8_t want[16];
	struct err *e;

	start(&v);
	regs = fake_kvm_read(&v.kvm, ORDER_LITTLE);
	regs_set(regs, PPC64_VS0H + 6, 0x1122334455667788);
	e = kvm_host_write_regs(&v.access, FAKE_KVM_FD, regs, changed);
	ck_assert_ptr_null(e);
	put_number(want, VSR_HIGH(6), 0x1122334455667788);
	ck_assert_mem_eq(fake_kvm_one(&v.kvm, KVM_REG_PPC_VSR(6))->value, want, sizeof(want));
	regs_destroy(regs);
}
END_TEST

/* KVM has 32 bits of it, and the row 64. */
START_TEST(refuses_what_does_not_fit)
{
	struct vcpu v;
	struct regs *regs;
	bool changed[PPC64_N_REGS] = { [PPC64_DSISR] = true };
	struct err *e;

	start(&v);
	regs = fake_kvm_read(&v.kvm, ORDER_LITTLE);
	regs_set(regs, PPC64_DSISR, 0x100000000);
	e = kvm_host_write_regs(&v.access, FAKE_KVM_FD, regs, changed);
	ck_assert_ptr_nonnull(e);
	ck_assert_int_eq(err_code(e), ERR_INVALID);
	ck_assert(!fake_kvm_one(&v.kvm, KVM_REG_PPC_DSISR)->changed);
	err_destroy(e);
	regs_destroy(regs);
}
END_TEST

static const unsigned unwritable[] = { PPC64_TAR, PPC64_PVR, PPC64_HRMOR };

START_TEST(refuses_what_cannot_be_set)
{
	struct vcpu v;
	struct regs *regs;
	bool changed[PPC64_N_REGS] = { false };
	struct err *e;

	start(&v);
	regs = fake_kvm_read(&v.kvm, ORDER_BIG);
	changed[unwritable[_i]] = true;
	e = kvm_host_write_regs(&v.access, FAKE_KVM_FD, regs, changed);
	ck_assert_ptr_nonnull(e);
	ck_assert_int_eq(err_code(e), ERR_UNSUPPORTED);
	ck_assert_ptr_nonnull(strstr(err_text(e), kvm_host_arch()->regs[unwritable[_i]].name));
	err_destroy(e);
	regs_destroy(regs);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("kvm_ppc64");
	TCase *tc = tcase_create("kvm_ppc64");

	tcase_add_loop_test(tc, reads_every_register, 0, 2);
	tcase_add_loop_test(tc, writes_one_and_nothing_else, 0, ARRAY_LEN(writes));
	tcase_add_test(tc, half_a_vsr_stays);
	tcase_add_test(tc, refuses_what_does_not_fit);
	tcase_add_loop_test(tc, refuses_what_cannot_be_set, 0, ARRAY_LEN(unwritable));
	suite_add_tcase(s, tc);
	return suite_run(s);
}
