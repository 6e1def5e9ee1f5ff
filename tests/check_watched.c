/* SPDX-License-Identifier: GPL-3.0-or-later */

/* What a VMM was seen to set up in KVM. */
#include <check.h>

#include "guest/watched.h"
#include "tests/suite.h"

enum { SET_VM, SET_VCPU, SET_SLOT };

static const struct step {
	int what, vm_fd, fd; /* fd: of a vCPU */
	uint32_t slot;
	uint64_t gpa, bytes, hva;
	/* Afterwards. */
	size_t n_vms, n_vcpus, n_slots;
	uint64_t total; /* of all slots, in bytes */
} steps[] = {
	{ .what = SET_VM, .vm_fd = 5, .n_vms = 1 },
	{ .what = SET_VCPU, .vm_fd = 5, .fd = 6, .n_vms = 1, .n_vcpus = 1 },
	{ SET_SLOT, 5, 0, 0, 0, 0x1000, 0x7000, 1, 1, 1, 0x1000 },
	{ SET_SLOT, 5, 0, 1, 0x1000, 0x2000, 0x9000, 1, 1, 2, 0x3000 },
	/* The same number in another address space is another slot. */
	{ SET_SLOT, 5, 0, 0x10000, 0, 0x4000, 0x8000, 1, 1, 3, 0x7000 },
	/* It is replaced, taken away, and taken away again. */
	{ SET_SLOT, 5, 0, 1, 0x2000, 0x10, 0x9000, 1, 1, 3, 0x5010 },
	{ SET_SLOT, 5, 0, 1, 0, 0, 0, 1, 1, 2, 0x5000 },
	{ SET_SLOT, 5, 0, 1, 0, 0, 0, 1, 1, 2, 0x5000 },
	/* Another VM has its own. */
	{ .what = SET_VM, .vm_fd = 7, .n_vms = 2, .n_vcpus = 1, .n_slots = 2, .total = 0x5000 },
	{ SET_SLOT, 7, 0, 0, 0, 0x100, 0x7000, 2, 1, 3, 0x5100 },
	{ .what = SET_VCPU, .vm_fd = 7, .fd = 8, .n_vms = 2, .n_vcpus = 2, .n_slots = 3, .total = 0x5100 },
	/* A vCPU's descriptor that is used again. */
	{ .what = SET_VCPU, .vm_fd = 7, .fd = 6, .n_vms = 2, .n_vcpus = 2, .n_slots = 3, .total = 0x5100 },
	/* The same of a VM: all that the old one had is gone. */
	{ .what = SET_VM, .vm_fd = 5, .n_vms = 2, .n_vcpus = 2, .n_slots = 1, .total = 0x100 },
	{ .what = SET_VM, .vm_fd = 7, .n_vms = 2 },
};

static void take_step(struct watched *w, const struct step *s)
{
	const struct watched_slot slot = { s->vm_fd, s->slot, 0, s->gpa, s->bytes, s->hva };

	if (s->what == SET_VM)
		watched_set_vm(w, s->vm_fd);
	else if (s->what == SET_VCPU)
		watched_set_vcpu(w, s->vm_fd, s->fd);
	else
		watched_set_slot(w, &slot);
}

static void expect(const struct watched *w, const struct step *s)
{
	uint64_t total = 0;

	for (size_t i = 0; i < w->n_slots; i++)
		total += w->slots[i].bytes;
	ck_assert_uint_eq(w->n_vms, s->n_vms);
	ck_assert_uint_eq(w->n_vcpus, s->n_vcpus);
	ck_assert_uint_eq(w->n_slots, s->n_slots);
	ck_assert_uint_eq(total, s->total);
}

/* Up to step _i. */
START_TEST(what_is_known)
{
	struct watched w = { 0 };

	for (int i = 0; i <= _i; i++)
		take_step(&w, &steps[i]);
	expect(&w, &steps[_i]);
	watched_deinit(&w);
}
END_TEST

START_TEST(what_is_sent)
{
	struct watched w = { 0 }, got;
	struct buf msg = { 0 };
	struct err *e;

	for (int i = 0; i <= _i; i++)
		take_step(&w, &steps[i]);
	watched_put(&w, &msg);
	e = watched_take(&msg, &got);
	ck_assert_ptr_null(e);
	ck_assert_uint_eq(msg.len, 0);
	expect(&got, &steps[_i]);
	for (size_t i = 0; i < w.n_slots; i++)
		ck_assert_uint_eq(got.slots[i].hva, w.slots[i].hva);
	for (size_t i = 0; i < w.n_vcpus; i++)
		ck_assert_int_eq(got.vcpus[i].vcpu_fd, w.vcpus[i].vcpu_fd);
	watched_deinit(&got);
	watched_deinit(&w);
	buf_deinit(&msg);
}
END_TEST

START_TEST(what_is_cut_off)
{
	struct watched w = { 0 }, got;
	struct buf whole = { 0 };

	for (int i = 0; i < 11; i++)
		take_step(&w, &steps[i]);
	watched_put(&w, &whole);
	for (size_t n = 0; n < whole.len; n++) {
		struct buf msg = { 0 };
		struct err *e;

		buf_add(&msg, whole.data, n);
		e = watched_take(&msg, &got);
		ck_assert_ptr_nonnull(e);
		ck_assert_int_eq(err_code(e), ERR_INVALID);
		err_destroy(e);
		buf_deinit(&msg);
	}
	watched_deinit(&w);
	buf_deinit(&whole);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("watched");
	TCase *tc = tcase_create("watched");

	tcase_add_loop_test(tc, what_is_known, 0, ARRAY_LEN(steps));
	tcase_add_loop_test(tc, what_is_sent, 0, ARRAY_LEN(steps));
	tcase_add_test(tc, what_is_cut_off);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
