/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "arch/ppc64/ppc64.h"
#include "base/alloc.h"
#include "guest/fake.h"
#include "guest/kvm_debug.h"
#include "tests/suite.h"

#define PC 0x1000u
#define LR 0x2000u
#define CTR 0x3000u
#define TAR 0x4000u
#define SRR0 0x5000u

/* Instructions at PC, and the addresses that they lead to. Power ISA 3.0B book I, 2.4; forms as an assembler has them. */
static const struct {
	const char *name;
	uint32_t code[8];
	uint64_t next[KVM_DEBUG_MAX_NEXT];
	unsigned n;
} steps[] = {
	{ "addi", { 0x3bde0001 }, { PC + 4 }, 1 },
	{ "b .", { 0x48000000 }, { PC }, 1 },
	{ "b .+0x100", { 0x48000100 }, { PC + 0x100 }, 1 },
	{ "b .-8", { 0x4bfffff8 }, { PC - 8 }, 1 },
	{ "bl .+0x40", { 0x48000041 }, { PC + 0x40 }, 1 },
	{ "ba 0x600", { 0x48000602 }, { 0x600 }, 1 },
	{ "bne .+0x10", { 0x40820010 }, { PC + 4, PC + 0x10 }, 2 },
	{ "bdnz .-0x20", { 0x4200ffe0 }, { PC + 4, PC - 0x20 }, 2 },
	{ "beq .+4", { 0x41820004 }, { PC + 4 }, 1 },
	{ "blr", { 0x4e800020 }, { LR }, 1 },
	{ "beqlr", { 0x4d820020 }, { PC + 4, LR }, 2 },
	{ "bctrl", { 0x4e800421 }, { CTR }, 1 },
	{ "bctar", { 0x4e800460 }, { TAR }, 1 },
	{ "isync", { 0x4c00012c }, { PC + 4 }, 1 },
	{ "rfid", { 0x4c000024 }, { SRR0 }, 1 },
	{ "sc", { 0x44000002 }, { PC + 4 }, 1 },
	{ "prefixed pli", { 0x06000000, 0x38600001 }, { PC + 8 }, 1 },
	/* ldarx, addi, stdcx., bne-: one step, up to behind the store */
	{ "atomic", { 0x7c6020a8, 0x38630001, 0x7c6021ad, 0x40a2fff4 }, { PC + 12 }, 1 },
	/* lwarx, cmpw, bne- out, stwcx. */
	{ "atomic with a way out", { 0x7c601828, 0x7c032000, 0x40820014, 0x7ca0192d }, { PC + 16, PC + 0x1c }, 2 },
	/* lwarx, two ways out, stwcx.: no more than its first instruction */
	{ "atomic with two ways out", { 0x7c601828, 0x40820014, 0x40820020, 0x7ca0192d }, { PC + 4 }, 1 },
	/* lwarx, blr, stwcx. of the next function */
	{ "atomic load alone", { 0x7c601828, 0x4e800020, 0x7ca0192d }, { PC + 4 }, 1 },
	/* lwarx with no store behind it */
	{ "alone", { 0x7c601828 }, { PC + 4 }, 1 },
};

static struct guest *guest_with(const uint32_t *code, size_t n, enum byte_order order)
{
	const struct mem_block ram = { .gpa = 0, .bytes = 0x10000 };
	struct guest *g = fake_create(&arch_ppc64, order, 1, &ram, 1);
	struct regs *regs = fake_of(g)->regs[0];

	regs_set(regs, PPC64_PC, PC);
	regs_set(regs, PPC64_MSR, order == ORDER_LITTLE ? PPC64_MSR_LE : 0);
	regs_set(regs, PPC64_LR, LR);
	regs_set(regs, PPC64_CTR, CTR);
	regs_set(regs, PPC64_TAR, TAR);
	regs_set(regs, PPC64_SRR0, SRR0);
	regs_set(regs, PPC64_SRR1, regs_get_or(regs, PPC64_MSR, 0));
	for (size_t i = 0; i < n; i++)
		store_uint(fake_at(g, PC + 4 * i), 4, order, code[i]);
	return g;
}

static void check_step(size_t i, enum byte_order order)
{
	struct guest *g = guest_with(steps[i].code, ARRAY_LEN(steps[i].code), order);
	uint64_t next[KVM_DEBUG_MAX_NEXT] = { 0 };
	unsigned n = 0;
	struct err *e = kvm_debug_next(g, 0, next, &n);

	ck_assert_msg(!e, "%s: %s", steps[i].name, e ? err_text(e) : "");
	ck_assert_msg(n == steps[i].n, "%s: %u", steps[i].name, n);
	for (unsigned k = 0; k < n; k++)
		ck_assert_msg(next[k] == steps[i].next[k], "%s: 0x%llx", steps[i].name, (unsigned long long)next[k]);
	guest_destroy(g);
}

START_TEST(where_a_step_ends)
{
	check_step((size_t)_i, ORDER_LITTLE);
	check_step((size_t)_i, ORDER_BIG);
}
END_TEST

START_TEST(no_step_to_other_addresses)
{
	const uint32_t rfid = 0x4c000024;
	struct guest *g = guest_with(&rfid, 1, ORDER_LITTLE);
	uint64_t next[KVM_DEBUG_MAX_NEXT];
	unsigned n;
	struct err *e;

	regs_set(fake_of(g)->regs[0], PPC64_SRR1, PPC64_MSR_LE | PPC64_MSR_IR | PPC64_MSR_DR);
	e = kvm_debug_next(g, 0, next, &n);
	ck_assert_ptr_nonnull(e);
	ck_assert_int_eq(err_code(e), ERR_UNSUPPORTED);
	ck_assert_ptr_nonnull(strstr(err_text(e), "turns the translation of addresses on or off"));
	err_destroy(e);
	guest_destroy(g);
}
END_TEST

START_TEST(no_step_from_nowhere)
{
	struct guest *g = guest_with(NULL, 0, ORDER_LITTLE);
	uint64_t next[KVM_DEBUG_MAX_NEXT];
	unsigned n;
	struct err *e;

	regs_set(fake_of(g)->regs[0], PPC64_PC, 0x20000);
	e = kvm_debug_next(g, 0, next, &n);
	ck_assert_ptr_nonnull(e);
	ck_assert_ptr_nonnull(strstr(err_text(e), "cannot step"));
	err_destroy(e);
	guest_destroy(g);
}
END_TEST

static const struct {
	unsigned flags;
	uint32_t reason;
	enum kvm_hit_kind kind;
} exits[] = {
	{ KVM_DEBUG_SOFTWARE, KVM_EXIT_DEBUG, KVM_HIT_SOFTWARE },
	{ KVM_DEBUG_STEP | KVM_DEBUG_SOFTWARE, KVM_EXIT_DEBUG, KVM_HIT_SOFTWARE },
	{ KVM_DEBUG_STEP, KVM_EXIT_DEBUG, KVM_HIT_NONE },
	{ 0, KVM_EXIT_DEBUG, KVM_HIT_NONE },
	{ KVM_DEBUG_SOFTWARE, KVM_EXIT_PAPR_HCALL, KVM_HIT_NONE },
};

START_TEST(what_an_exit_means)
{
	struct kvm_run *run = xcalloc(1, sizeof(*run));
	struct kvm_arming d = kvm_debug_none();
	struct kvm_hit hit;

	if (exits[_i].flags)
		kvm_debug_add_flags(&d, exits[_i].flags);
	run->exit_reason = exits[_i].reason;
	run->debug.arch.address = 0x1234;
	run->debug.arch.status = 0xff; /* of an earlier exit */
	kvm_debug_read_exit(run, &d, &hit);
	ck_assert_int_eq(hit.kind, exits[_i].kind);
	if (hit.kind == KVM_HIT_SOFTWARE)
		ck_assert_uint_eq(hit.pc, 0x1234);
	free(run);
}
END_TEST

START_TEST(has_no_debug_registers)
{
	const struct breakpoint b = { BREAKPOINT_HARDWARE, PC, 4 };
	unsigned n;
	struct err *e = kvm_debug_registers_of(&b, &n);

	ck_assert_ptr_nonnull(e);
	ck_assert_int_eq(err_code(e), ERR_UNSUPPORTED);
	err_destroy(e);
	ck_assert_uint_eq(kvm_debug_n_registers, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("kvm_debug_ppc64");
	TCase *tc = tcase_create("kvm_debug_ppc64");

	tcase_add_loop_test(tc, where_a_step_ends, 0, ARRAY_LEN(steps));
	tcase_add_test(tc, no_step_to_other_addresses);
	tcase_add_test(tc, no_step_from_nowhere);
	tcase_add_loop_test(tc, what_an_exit_means, 0, ARRAY_LEN(exits));
	tcase_add_test(tc, has_no_debug_registers);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
