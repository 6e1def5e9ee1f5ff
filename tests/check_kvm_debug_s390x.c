/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "guest/kvm_debug.h"
#include "tests/suite.h"

static const struct {
	struct breakpoint b;
	uint64_t gpa;
	uint8_t type; /* 0: refused */
	uint64_t phys, len;
} lists[] = {
	{ { BREAKPOINT_HARDWARE, 0x1000, 2 }, 0, KVM_HW_BP, 0, 1 },
	{ { BREAKPOINT_SOFTWARE, 0x1000, 2 }, 0x5000, KVM_HW_BP, 0, 1 },
	{ { WATCHPOINT_WRITE, 0x2000, 8 }, 0x7000, KVM_HW_WP_WRITE, 0x7000, 8 },
	{ { WATCHPOINT_WRITE, 0x2001, 64 }, 0x7001, KVM_HW_WP_WRITE, 0x7001, 64 },
	{ { WATCHPOINT_WRITE, 0x2000, 65 }, 0, 0, 0, 0 },
	{ { WATCHPOINT_WRITE, 0x2000, 0 }, 0, 0, 0, 0 },
	{ { WATCHPOINT_READ, 0x2000, 8 }, 0, 0, 0, 0 },
	{ { WATCHPOINT_ACCESS, 0x2000, 8 }, 0, 0, 0, 0 },
};

START_TEST(entry_of_a_breakpoint)
{
	struct kvm_arming d = kvm_debug_none();
	struct kvm_hw_breakpoint entry;
	unsigned n = 0;
	struct err *e = kvm_debug_registers_of(&lists[_i].b, &n);

	if (!lists[_i].type) {
		ck_assert_ptr_nonnull(e);
		ck_assert_int_eq(err_code(e), ERR_UNSUPPORTED);
		err_destroy(e);
		return;
	}
	ck_assert_ptr_null(e);
	ck_assert_uint_eq(n, 1);
	kvm_debug_add_breakpoint(&d, &lists[_i].b, lists[_i].gpa);
	memcpy(&entry, d.list, sizeof(entry));
	ck_assert_uint_eq(d.debug.control, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP);
	ck_assert_uint_eq(d.debug.arch.nr_hw_bp, 1);
	ck_assert_uint_eq(entry.addr, lists[_i].b.gva);
	ck_assert_uint_eq(entry.phys_addr, lists[_i].phys);
	ck_assert_uint_eq(entry.len, lists[_i].len);
	ck_assert_uint_eq(entry.type, lists[_i].type);
}
END_TEST

/* As many as it says that there are, and the pointer is where the injected call puts it. */
START_TEST(list_of_all)
{
	const struct breakpoint b = { BREAKPOINT_HARDWARE, 0x1000, 2 };
	struct kvm_arming d = kvm_debug_none();

	for (unsigned i = 0; i < kvm_debug_n_registers; i++)
		kvm_debug_add_breakpoint(&d, &b, 0);
	ck_assert_uint_eq(d.debug.arch.nr_hw_bp, kvm_debug_n_registers);
	ck_assert_uint_eq(kvm_debug_pointer_at, (size_t)((char *)&d.debug.arch.hw_bp - (char *)&d));
}
END_TEST

#define SIEIC KVM_EXIT_S390_SIEIC

static const struct {
	bool enabled;
	uint32_t reason;
	uint8_t type;
	uint8_t icpt;
	uint16_t ipa;
	uint32_t ipb;
	enum kvm_hit_kind kind;
	uint64_t pc;
} exits[] = {
	{ true, KVM_EXIT_DEBUG, KVM_SINGLESTEP, 0, 0, 0, KVM_HIT_STEP, 0x5004 },
	{ true, KVM_EXIT_DEBUG, KVM_HW_BP, 0, 0, 0, KVM_HIT_EXECUTE, 0x5000 },
	{ true, KVM_EXIT_DEBUG, KVM_HW_WP_WRITE, 0, 0, 0, KVM_HIT_WATCH, 0x5004 },
	{ true, KVM_EXIT_DEBUG, 0, 0, 0, 0, KVM_HIT_NONE, 0 },
	{ false, KVM_EXIT_DEBUG, KVM_SINGLESTEP, 0, 0, 0, KVM_HIT_NONE, 0 },
	{ true, SIEIC, 0, 4, 0x8324, 0x05010000, KVM_HIT_SOFTWARE, 0x5000 },
	/* Another DIAGNOSE, another intercept, another instruction: the VMM's. */
	{ true, SIEIC, 0, 4, 0x8324, 0x05000000, KVM_HIT_NONE, 0 },
	{ true, SIEIC, 0, 4, 0x8310, 0x05010000, KVM_HIT_NONE, 0 },
	{ true, SIEIC, 0, 8, 0x8324, 0x05010000, KVM_HIT_NONE, 0 },
	{ true, KVM_EXIT_INTR, KVM_HW_BP, 4, 0x8324, 0x05010000, KVM_HIT_NONE, 0 },
};

START_TEST(what_an_exit_means)
{
	struct kvm_run *run = xcalloc(1, sizeof(*run));
	struct kvm_arming d = kvm_debug_none();
	struct kvm_hit hit;

	if (exits[_i].enabled)
		kvm_debug_add_flags(&d, KVM_DEBUG_STEP);
	run->exit_reason = exits[_i].reason;
	run->psw_addr = 0x5004;
	if (run->exit_reason == SIEIC) {
		run->s390_sieic.icptcode = exits[_i].icpt;
		run->s390_sieic.ipa = exits[_i].ipa;
		run->s390_sieic.ipb = exits[_i].ipb;
	} else {
		run->debug.arch.addr = 0x5000;
		run->debug.arch.type = exits[_i].type;
	}
	kvm_debug_read_exit(run, &d, &hit);
	ck_assert_int_eq(hit.kind, exits[_i].kind);
	if (hit.kind == KVM_HIT_WATCH)
		ck_assert_uint_eq(hit.gva, 0x5000);
	if (hit.kind != KVM_HIT_NONE) {
		ck_assert_uint_eq(hit.pc, exits[_i].pc);
		kvm_debug_hide_exit(run, &hit);
		ck_assert_uint_eq(run->exit_reason, KVM_EXIT_INTR);
		ck_assert_uint_eq(run->psw_addr, hit.kind == KVM_HIT_SOFTWARE ? 0x5000 : 0x5004);
	}
	free(run);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("kvm_debug_s390x");
	TCase *tc = tcase_create("kvm_debug_s390x");

	tcase_add_loop_test(tc, entry_of_a_breakpoint, 0, ARRAY_LEN(lists));
	tcase_add_test(tc, list_of_all);
	tcase_add_loop_test(tc, what_an_exit_means, 0, ARRAY_LEN(exits));
	suite_add_tcase(s, tc);
	return suite_run(s);
}
