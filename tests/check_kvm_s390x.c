/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "arch/s390x/s390x.h"
#include "base/alloc.h"
#include "tests/fake_kvm.h"
#include "tests/suite.h"

/* A vCPU with every register that KVM tells, each with a value of its own. */
struct vcpu {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_fpu fpu;
	struct kvm_run *run;
	struct fake_kvm kvm;
	struct kvm_access access;
};

#define VALID (KVM_SYNC_PREFIX | KVM_SYNC_GPRS | KVM_SYNC_ACRS | KVM_SYNC_CRS | KVM_SYNC_ARCH0 | KVM_SYNC_PFAULT)

static const struct {
	unsigned row;
	uint64_t id, value;
	size_t bytes;
} ones[] = {
	{ S390X_TODPR, KVM_REG_S390_TODPR, 0x70d70d01, 4 },
	{ S390X_CPUTM, KVM_REG_S390_CPU_TIMER, 0xc9a0000000000001, 8 },
	{ S390X_CKC, KVM_REG_S390_CLOCK_COMP, 0xcc00000000000002, 8 },
	{ S390X_PP, KVM_REG_S390_PP, 0x9900000000000003, 8 },
	{ S390X_LAST_BREAK, KVM_REG_S390_GBEA, 0x00000000be000004, 8 },
	{ S390X_PFAULT_TOKEN, KVM_REG_S390_PFTOKEN, 0xf000000000000005, 8 },
	{ S390X_PFAULT_SELECT, KVM_REG_S390_PFSELECT, 0xf000000000000006, 8 },
	{ S390X_PFAULT_COMPARE, KVM_REG_S390_PFCOMPARE, 0xf000000000000007, 8 },
};

static void fill(struct vcpu *v)
{
	for (unsigned n = 0; n < 16; n++) {
		v->regs.gprs[n] = 0x4700000000000000 + n;
		v->sregs.acrs[n] = 0xac000000 + n;
		v->sregs.crs[n] = 0xc400000000000000 + n;
		v->fpu.fprs[n] = 0xf900000000000000 + n;
	}
	v->fpu.fpc = 0x00880000;
	v->run->psw_mask = 0x0404c00180000000;
	v->run->psw_addr = 0x0000000000123456;
	v->run->s.regs.prefix = 0x7fe000;
	for (unsigned n = 0; n < 32; n++) {
		v->run->s.regs.vrs[n][0] = (n < 16 ? 0xf900000000000000 : 0x5600000000000000) + n;
		v->run->s.regs.vrs[n][1] = 0x7600000000000000 + n;
	}
	for (unsigned n = 0; n < 4; n++)
		v->run->s.regs.gscb[n] = 0x6500000000000000 + n;
}

static void start(struct vcpu *v, uint64_t more_valid)
{
	memset(v, 0, sizeof(*v));
	v->run = xcalloc(1, sizeof(*v->run));
	v->kvm.run = v->run;
	fill(v);
	v->run->kvm_valid_regs = VALID | more_valid;
	fake_kvm_add_struct(&v->kvm, KVM_GET_REGS, KVM_SET_REGS, &v->regs, sizeof(v->regs));
	fake_kvm_add_struct(&v->kvm, KVM_GET_SREGS, KVM_SET_SREGS, &v->sregs, sizeof(v->sregs));
	fake_kvm_add_struct(&v->kvm, KVM_GET_FPU, KVM_SET_FPU, &v->fpu, sizeof(v->fpu));
	for (size_t i = 0; i < ARRAY_LEN(ones); i++) {
		uint8_t value[8];

		store_uint(value, ones[i].bytes, ORDER_BIG, ones[i].value);
		fake_kvm_add_one(&v->kvm, ones[i].id, value);
	}
	v->access = fake_kvm_access(&v->kvm);
}

START_TEST(reads_every_register)
{
	struct vcpu v;
	struct regs *regs;

	start(&v, KVM_SYNC_VRS | KVM_SYNC_GSCB);
	regs = fake_kvm_read(&v.kvm, ORDER_BIG);
	ck_assert_uint_eq(fake_kvm_value(regs, S390X_PSWM), v.run->psw_mask);
	ck_assert_uint_eq(fake_kvm_value(regs, S390X_PSWA), v.run->psw_addr);
	ck_assert_uint_eq(fake_kvm_value(regs, S390X_PREFIX), 0x7fe000);
	ck_assert_uint_eq(fake_kvm_value(regs, S390X_FPC), 0x00880000);
	for (unsigned n = 0; n < 16; n++) {
		const uint8_t *vr = regs_bytes(regs, S390X_V16 + n);

		ck_assert_uint_eq(fake_kvm_value(regs, S390X_R0 + n), 0x4700000000000000 + n);
		ck_assert_uint_eq(fake_kvm_value(regs, S390X_ACR0 + n), 0xac000000 + n);
		ck_assert_uint_eq(fake_kvm_value(regs, S390X_CR0 + n), 0xc400000000000000 + n);
		ck_assert_uint_eq(fake_kvm_value(regs, S390X_F0 + n), 0xf900000000000000 + n);
		ck_assert_uint_eq(fake_kvm_value(regs, S390X_V0L + n), 0x7600000000000000 + n);
		ck_assert_uint_eq(load_uint(vr, 8, ORDER_BIG), 0x5600000000000010 + n);
		ck_assert_uint_eq(load_uint(vr + 8, 8, ORDER_BIG), 0x7600000000000010 + n);
	}
	for (unsigned n = 0; n < 4; n++)
		ck_assert_uint_eq(fake_kvm_value(regs, S390X_GS_RESERVED + n), 0x6500000000000000 + n);
	for (size_t i = 0; i < ARRAY_LEN(ones); i++)
		ck_assert_uint_eq(fake_kvm_value(regs, ones[i].row), ones[i].value);
	ck_assert_ptr_null(regs_bytes(regs, S390X_ORIG_R2));
	regs_destroy(regs);
	free(v.run);
}
END_TEST

/* An older processor: KVM does not say that they are there. */
START_TEST(what_is_not_valid_is_unknown)
{
	struct vcpu v;
	struct regs *regs;

	start(&v, KVM_SYNC_FPRS);
	regs = fake_kvm_read(&v.kvm, ORDER_BIG);
	for (unsigned row = S390X_V0L; row <= S390X_GSEPLA; row++)
		ck_assert_ptr_null(regs_bytes(regs, row));
	ck_assert_uint_eq(fake_kvm_value(regs, S390X_F0 + 3), 0xf900000000000003);
	ck_assert_uint_eq(fake_kvm_value(regs, S390X_PREFIX), 0x7fe000);
	regs_destroy(regs);
	free(v.run);
}
END_TEST

START_TEST(a_page_that_cannot_be_mapped)
{
	struct vcpu v;
	struct regs *regs = regs_create(kvm_host_arch(), ORDER_BIG);
	struct err *e;

	start(&v, 0);
	v.kvm.run = NULL;
	e = kvm_host_read_regs(&v.access, FAKE_KVM_FD, regs);
	ck_assert_ptr_nonnull(e);
	ck_assert_ptr_nonnull(strstr(err_text(e), "cannot map what KVM tells of vCPU descriptor 7"));
	err_destroy(e);
	regs_destroy(regs);
	free(v.run);
}
END_TEST

/* What each row leads to: a SET call, a register by its number, or a flag of those that KVM takes over. */
static const struct {
	unsigned row;
	int set;        /* struct; -1: none */
	uint64_t one;
	uint64_t dirty;
} writes[] = {
	{ S390X_R0 + 7, 0, 0, 0 },
	{ S390X_ACR0 + 2, 1, 0, 0 },
	{ S390X_CR0 + 14, 1, 0, 0 },
	{ S390X_F0 + 5, 2, 0, 0 },
	{ S390X_FPC, 2, 0, 0 },
	{ S390X_PSWM, -1, 0, 0 },
	{ S390X_PSWA, -1, 0, 0 },
	{ S390X_PREFIX, -1, 0, KVM_SYNC_PREFIX },
	{ S390X_V0L + 9, -1, 0, KVM_SYNC_VRS },
	{ S390X_V16 + 3, -1, 0, KVM_SYNC_VRS },
	{ S390X_GSSM, -1, 0, KVM_SYNC_GSCB },
	{ S390X_TODPR, -1, KVM_REG_S390_TODPR, 0 },
	{ S390X_CPUTM, -1, KVM_REG_S390_CPU_TIMER, 0 },
	{ S390X_CKC, -1, KVM_REG_S390_CLOCK_COMP, 0 },
	{ S390X_PFAULT_TOKEN, -1, KVM_REG_S390_PFTOKEN, 0 },
};

START_TEST(writes_one_and_nothing_else)
{
	struct vcpu v;
	struct regs *before, *after;
	bool changed[S390X_N_REGS] = { false };
	unsigned row = writes[_i].row;
	uint8_t value[16];
	struct err *e;

	start(&v, KVM_SYNC_VRS | KVM_SYNC_GSCB);
	before = fake_kvm_read(&v.kvm, ORDER_BIG);
	memcpy(value, regs_bytes(before, row), reg_bytes(before->arch, row));
	value[reg_bytes(before->arch, row) - 1] ^= 0x55;
	regs_set_bytes(before, row, value);
	changed[row] = true;
	e = kvm_host_write_regs(&v.access, FAKE_KVM_FD, before, changed);
	ck_assert_msg(!e, "%s", e ? err_text(e) : "");
	ck_assert_uint_eq(v.run->kvm_dirty_regs, writes[_i].dirty);
	for (int i = 0; i < 3; i++)
		ck_assert_uint_eq(v.kvm.structs[i].n_set, i == writes[_i].set);
	for (size_t i = 0; i < v.kvm.n_ones; i++)
		ck_assert_int_eq(v.kvm.ones[i].changed, v.kvm.ones[i].id == writes[_i].one);
	after = fake_kvm_read(&v.kvm, ORDER_BIG);
	for (unsigned r = 0; r < S390X_N_REGS; r++)
		if (regs_bytes(before, r))
			ck_assert_mem_eq(regs_bytes(after, r), regs_bytes(before, r), reg_bytes(before->arch, r));
	regs_destroy(before);
	regs_destroy(after);
	free(v.run);
}
END_TEST

START_TEST(refuses_what_is_unknown)
{
	struct vcpu v;
	struct regs *regs;
	bool changed[S390X_N_REGS] = { [S390X_GSD] = true };
	struct err *e;

	start(&v, KVM_SYNC_VRS);
	regs = fake_kvm_read(&v.kvm, ORDER_BIG);
	e = kvm_host_write_regs(&v.access, FAKE_KVM_FD, regs, changed);
	ck_assert_ptr_nonnull(e);
	ck_assert_int_eq(err_code(e), ERR_UNSUPPORTED);
	ck_assert_ptr_nonnull(strstr(err_text(e), "register gsd is not known here"));
	err_destroy(e);
	ck_assert_uint_eq(v.run->kvm_dirty_regs, 0);
	/* gdb writes this one with the pc. */
	changed[S390X_GSD] = false;
	changed[S390X_ORIG_R2] = true;
	e = kvm_host_write_regs(&v.access, FAKE_KVM_FD, regs, changed);
	ck_assert_ptr_null(e);
	regs_destroy(regs);
	free(v.run);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("kvm_s390x");
	TCase *tc = tcase_create("kvm_s390x");

	tcase_add_test(tc, reads_every_register);
	tcase_add_test(tc, what_is_not_valid_is_unknown);
	tcase_add_test(tc, a_page_that_cannot_be_mapped);
	tcase_add_loop_test(tc, writes_one_and_nothing_else, 0, ARRAY_LEN(writes));
	tcase_add_test(tc, refuses_what_is_unknown);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
