/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <check.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "guest/kvm_debug.h"
#include "tests/suite.h"

/* Intel SDM volume 3, 18.2. Bits 9 and 10 of DR7 are always set here; G0 is bit 1, G1 bit 3, and so on. */

static const struct {
	struct breakpoint b;
	unsigned n; /* registers; 0: refused */
	uint64_t dr[4];
	uint64_t dr7;
} layouts[] = {
	{ { BREAKPOINT_HARDWARE, 0xffffffff81000000, 1 }, 1, { 0xffffffff81000000 }, 0x602 },
	{ { BREAKPOINT_SOFTWARE, 0x400008, 1 }, 1, { 0x400008 }, 0x602 },
	{ { WATCHPOINT_WRITE, 0x1000, 1 }, 1, { 0x1000 }, 0x10602 },
	{ { WATCHPOINT_WRITE, 0x1002, 2 }, 1, { 0x1002 }, 0x50602 },
	{ { WATCHPOINT_WRITE, 0x1004, 4 }, 1, { 0x1004 }, 0xd0602 },
	{ { WATCHPOINT_WRITE, 0x1008, 8 }, 1, { 0x1008 }, 0x90602 },
	{ { WATCHPOINT_ACCESS, 0x1004, 4 }, 1, { 0x1004 }, 0xf0602 },
	{ { WATCHPOINT_WRITE, 0x1002, 6 }, 2, { 0x1002, 0x1004 }, 0xd5060a },
	{ { WATCHPOINT_WRITE, 0x1001, 2 }, 2, { 0x1001, 0x1002 }, 0x11060a },
	{ { WATCHPOINT_ACCESS, 0x1004, 16 }, 3, { 0x1004, 0x1008, 0x1010 }, 0xfbf062a },
	{ { WATCHPOINT_WRITE, 0x1000, 32 }, 4, { 0x1000, 0x1008, 0x1010, 0x1018 }, 0x999906aa },
	{ { WATCHPOINT_WRITE, 0x1001, 32 }, 0, { 0 }, 0 },
	{ { WATCHPOINT_WRITE, 0x1000, 33 }, 0, { 0 }, 0 },
	{ { WATCHPOINT_WRITE, 0x1000, 0 }, 0, { 0 }, 0 },
	{ { WATCHPOINT_WRITE, 0x1000, UINT64_MAX }, 0, { 0 }, 0 },
	{ { WATCHPOINT_READ, 0x1000, 8 }, 0, { 0 }, 0 },
};

START_TEST(registers_of_a_breakpoint)
{
	struct kvm_arming d = kvm_debug_none();
	unsigned n = 0;
	struct err *e = kvm_debug_registers_of(&layouts[_i].b, &n);

	if (!layouts[_i].n) {
		ck_assert_ptr_nonnull(e);
		ck_assert_int_eq(err_code(e), ERR_UNSUPPORTED);
		err_destroy(e);
		return;
	}
	ck_assert_ptr_null(e);
	ck_assert_uint_eq(n, layouts[_i].n);
	kvm_debug_add_breakpoint(&d, &layouts[_i].b, 0);
	ck_assert_uint_eq(d.debug.control, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_uint_eq(d.debug.arch.debugreg[i], layouts[_i].dr[i]);
	ck_assert_uint_eq(d.debug.arch.debugreg[7], layouts[_i].dr7);
}
END_TEST

START_TEST(registers_of_several)
{
	struct kvm_arming d = kvm_debug_none();
	const struct breakpoint run = { BREAKPOINT_HARDWARE, 0x1000, 1 }, write = { WATCHPOINT_WRITE, 0x2001, 3 },
				last = { BREAKPOINT_HARDWARE, 0x3000, 1 };

	kvm_debug_add_breakpoint(&d, &run, 0);
	kvm_debug_add_breakpoint(&d, &write, 0);
	kvm_debug_add_breakpoint(&d, &last, 0);
	ck_assert_uint_eq(d.debug.arch.debugreg[0], 0x1000);
	ck_assert_uint_eq(d.debug.arch.debugreg[1], 0x2001);
	ck_assert_uint_eq(d.debug.arch.debugreg[2], 0x2002);
	ck_assert_uint_eq(d.debug.arch.debugreg[3], 0x3000);
	ck_assert_uint_eq(d.debug.arch.debugreg[7], 0x51006aa);
}
END_TEST

START_TEST(flags)
{
	struct kvm_arming d = kvm_debug_none();

	ck_assert_uint_eq(d.debug.control, 0);
	kvm_debug_add_flags(&d, KVM_DEBUG_STEP);
	ck_assert_uint_eq(d.debug.control, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP);
	kvm_debug_add_flags(&d, KVM_DEBUG_HOLD_IRQS | KVM_DEBUG_SOFTWARE);
	ck_assert_uint_eq(d.debug.control, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_BLOCKIRQ |
					     KVM_GUESTDBG_USE_SW_BP);
}
END_TEST

#define STEP KVM_DEBUG_STEP
#define SOFT KVM_DEBUG_SOFTWARE
#define BS 0x4000u
#define DB 1u
#define BP 3u

/* Register 0 has a breakpoint at 0x1000, register 1 watches 8 bytes at 0x2000. */
static const struct {
	bool registers;
	unsigned flags;
	uint32_t reason;
	uint32_t exception;
	uint64_t dr6, pc;
	enum kvm_hit_kind kind;
	uint64_t gva;
} exits[] = {
	/* Not for us. */
	{ true, 0, KVM_EXIT_IO, DB, 1, 0x1000, KVM_HIT_NONE, 0 },
	{ false, 0, KVM_EXIT_DEBUG, DB, 1, 0x1000, KVM_HIT_NONE, 0 },
	/* A breakpoint, where it is and nowhere else. */
	{ true, 0, KVM_EXIT_DEBUG, DB, 1, 0x1000, KVM_HIT_EXECUTE, 0x1000 },
	{ true, 0, KVM_EXIT_DEBUG, DB, 1, 0x1001, KVM_HIT_GUESTS, 0 },
	{ true, STEP, KVM_EXIT_DEBUG, DB, 1 | BS, 0x1000, KVM_HIT_EXECUTE, 0x1000 },
	/* A watchpoint tells more than the step it happened in. */
	{ true, 0, KVM_EXIT_DEBUG, DB, 2, 0x1500, KVM_HIT_WATCH, 0x2000 },
	{ true, STEP, KVM_EXIT_DEBUG, DB, 2 | BS, 0x1500, KVM_HIT_WATCH, 0x2000 },
	{ true, 0, KVM_EXIT_DEBUG, DB, 3, 0x1000, KVM_HIT_WATCH, 0x2000 },
	/* Bits of registers that are not enabled mean nothing. */
	{ true, STEP, KVM_EXIT_DEBUG, DB, 4 | BS, 0x1500, KVM_HIT_STEP, 0 },
	{ false, STEP, KVM_EXIT_DEBUG, DB, 1 | BS, 0x1000, KVM_HIT_STEP, 0 },
	{ true, 0, KVM_EXIT_DEBUG, DB, 8, 0x1500, KVM_HIT_GUESTS, 0 },
	/* A guest that steps itself. */
	{ true, 0, KVM_EXIT_DEBUG, DB, BS, 0x1500, KVM_HIT_GUESTS, 0 },
	{ false, STEP, KVM_EXIT_DEBUG, DB, BS, 0x1500, KVM_HIT_STEP, 0 },
	/* A breakpoint instruction. */
	{ false, SOFT, KVM_EXIT_DEBUG, BP, 0, 0x1800, KVM_HIT_SOFTWARE, 0 },
	{ true, SOFT | STEP, KVM_EXIT_DEBUG, BP, 0, 0x1800, KVM_HIT_SOFTWARE, 0 },
	{ true, 0, KVM_EXIT_DEBUG, BP, 0, 0x1800, KVM_HIT_NONE, 0 },
};

START_TEST(what_an_exit_means)
{
	const struct breakpoint run = { BREAKPOINT_HARDWARE, 0x1000, 1 }, access = { WATCHPOINT_ACCESS, 0x2000, 8 };
	struct kvm_run *exit = xcalloc(1, sizeof(*exit));
	struct kvm_arming d = kvm_debug_none();
	struct kvm_hit hit;

	if (exits[_i].registers) {
		kvm_debug_add_breakpoint(&d, &run, 0);
		kvm_debug_add_breakpoint(&d, &access, 0);
	}
	if (exits[_i].flags)
		kvm_debug_add_flags(&d, exits[_i].flags);
	exit->exit_reason = exits[_i].reason;
	exit->debug.arch.exception = exits[_i].exception;
	exit->debug.arch.dr6 = exits[_i].dr6;
	exit->debug.arch.pc = exits[_i].pc;
	kvm_debug_read_exit(exit, &d, &hit);
	ck_assert_int_eq(hit.kind, exits[_i].kind);
	ck_assert_uint_eq(hit.pc, exits[_i].pc);
	if (hit.kind == KVM_HIT_WATCH)
		ck_assert_uint_eq(hit.gva, exits[_i].gva);
	free(exit);
}
END_TEST

START_TEST(exceptions_that_are_the_guests)
{
	struct kvm_arming d = kvm_debug_none();
	const struct kvm_hit step = { .kind = KVM_HIT_GUESTS }, instruction = { .kind = KVM_HIT_SOFTWARE };

	kvm_debug_add_exception(&d, &step);
	ck_assert_uint_eq(d.debug.control, KVM_GUESTDBG_INJECT_DB);
	d = kvm_debug_none();
	kvm_debug_add_exception(&d, &instruction);
	ck_assert_uint_eq(d.debug.control, KVM_GUESTDBG_INJECT_BP);
}
END_TEST

/* Intel SDM volume 3, 18.2.3: DR6 says whether it was a step or a register. */
START_TEST(what_the_guest_is_told)
{
	struct kvm_run *exit = xcalloc(1, sizeof(*exit));
	struct kvm_debugregs regs = { .db = { 1, 2, 3, 4 }, .dr6 = 0xffff0ff0, .dr7 = 0x400 };
	struct kvm_arming d = kvm_debug_none();
	struct kvm_hit hit;

	kvm_debug_add_flags(&d, SOFT);
	exit->exit_reason = KVM_EXIT_DEBUG;
	exit->debug.arch.exception = DB;
	exit->debug.arch.dr6 = 0xffff4ff0;
	kvm_debug_read_exit(exit, &d, &hit);
	ck_assert_int_eq(hit.kind, KVM_HIT_GUESTS);
	kvm_debug_set_cause(&regs, &hit);
	ck_assert_uint_eq(regs.dr6, 0xffff4ff0);
	ck_assert_uint_eq(regs.dr7, 0x400);
	ck_assert_uint_eq(regs.db[3], 4);
	free(exit);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("kvm_debug");
	TCase *tc = tcase_create("kvm_debug");

	tcase_add_loop_test(tc, registers_of_a_breakpoint, 0, ARRAY_LEN(layouts));
	tcase_add_test(tc, registers_of_several);
	tcase_add_test(tc, flags);
	tcase_add_loop_test(tc, what_an_exit_means, 0, ARRAY_LEN(exits));
	tcase_add_test(tc, exceptions_that_are_the_guests);
	tcase_add_test(tc, what_the_guest_is_told);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
