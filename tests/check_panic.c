/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/panic.h"

#include "guest/fake.h"
#include "guest/os.h"
#include "tests/fake_guest.h"
#include "tests/suite.h"

#define POINT 0xffffffff81000040ull
#define HARDWARE (1u << BREAKPOINT_HARDWARE)
#define SOFTWARE (1u << BREAKPOINT_SOFTWARE)

/* ---- a system that panics, and a VMM that may tell ---- */

static struct {
	bool known, before, told;
} made_up;

static struct err *fake_panic(struct os *os, uint64_t *ret_gva, bool *ret_done)
{
	(void)os;
	if (!made_up.known)
		return err_new(ERR_UNKNOWN, "no symbols");
	*ret_gva = POINT;
	*ret_done = made_up.before;
	return NULL;
}

static bool fake_panicked(struct guest *g)
{
	ck_assert_int_eq(g->state, GUEST_STOPPED);
	return made_up.told;
}

static const struct os_ops os_ops = { .name = "made up", .panic = fake_panic };

struct fixture {
	struct guest *guest;
	struct guest_ops ops; /* the fake's, with more */
	struct os os;
	struct loop *loop;
	struct hold hold;
	struct panic_watch *watch;
	struct err *error;
	bool ended;
};

static void on_done(void *arg, struct err *e)
{
	struct fixture *f = arg;

	ck_assert(!f->ended);
	f->ended = true;
	f->error = e;
	loop_quit(f->loop);
}

static void set_up(struct fixture *f, bool vmm_tells, bool known, bool before)
{
	made_up.known = known;
	made_up.before = before;
	made_up.told = false;
	*f = (struct fixture){ .guest = fake_guest_create(2), .loop = loop_create() };
	f->ops = *f->guest->ops;
	f->ops.panicked = vmm_tells ? fake_panicked : NULL;
	f->guest->ops = &f->ops;
	f->os = (struct os){ .ops = &os_ops, .guest = f->guest };
	f->guest->os = &f->os;
	hold_init(&f->hold, f->guest);
	ck_assert_ptr_null(guest_resume(f->guest));
}

static struct err *start(struct fixture *f)
{
	struct panic_config config = { f->loop, &f->hold, on_done, f };

	return panic_watch_start(&config, &f->watch);
}

static void tear_down(struct fixture *f)
{
	ck_assert_ptr_null(panic_watch_end(f->watch));
	ck_assert_int_ne(f->guest->state, GUEST_STOPPED);
	ck_assert(f->guest->state == GUEST_GONE || !fake_of(f->guest)->n_armed);
	ck_assert_uint_eq(f->hold.holders, 0);
	loop_destroy(f->loop);
	guest_destroy(f->guest);
}

static void quit(void *arg)
{
	loop_quit(arg);
}

/* What the guest reports, and all that comes of it. */
static void report(struct fixture *f, const struct guest_event *ev)
{
	struct loop_source *last;

	fake_raise(f->guest, ev);
	last = loop_add_timer(f->loop, 20, quit, f->loop);
	loop_run(f->loop);
	loop_remove(last);
}

static const struct guest_event HIT = { .kind = GUEST_EVENT_STOPPED, .signal = 5, .cause = STOP_BREAKPOINT,
					.breakpoint = BREAKPOINT_HARDWARE, .gva = POINT };
static const struct guest_event ELSEWHERE = { .kind = GUEST_EVENT_STOPPED, .signal = 5, .cause = STOP_BREAKPOINT,
					      .breakpoint = BREAKPOINT_HARDWARE, .gva = POINT + 4 };
static const struct guest_event PAUSED = { .kind = GUEST_EVENT_STOPPED, .signal = 2 };
static const struct guest_event GONE = { .kind = GUEST_EVENT_GONE };

/* ---- tests ---- */

START_TEST(at_its_breakpoint)
{
	struct fixture f;

	set_up(&f, false, true, false);
	fake_of(f.guest)->misses = true;
	fake_of(f.guest)->refused = _i ? HARDWARE : 0;
	ck_assert_ptr_null(start(&f));
	ck_assert(!panic_watch_is_over(f.watch));
	ck_assert_int_eq(f.guest->state, GUEST_RUNNING);
	ck_assert_uint_eq(fake_of(f.guest)->n_armed, 1);
	ck_assert_int_eq(fake_of(f.guest)->armed[0].kind, _i ? BREAKPOINT_SOFTWARE : BREAKPOINT_HARDWARE);
	ck_assert_uint_eq(fake_of(f.guest)->armed[0].gva, POINT);
	report(&f, &PAUSED);
	report(&f, &ELSEWHERE);
	ck_assert(!f.ended);
	ck_assert_int_eq(f.guest->state, GUEST_RUNNING);
	report(&f, &HIT);
	ck_assert(f.ended);
	ck_assert_ptr_null(f.error);
	ck_assert_int_eq(f.guest->state, GUEST_STOPPED);
	tear_down(&f);
}
END_TEST

START_TEST(told_by_the_vmm)
{
	struct fixture f;

	set_up(&f, true, false, false);
	ck_assert_ptr_null(start(&f));
	report(&f, &PAUSED);
	ck_assert(!f.ended);
	made_up.told = true;
	report(&f, &PAUSED);
	ck_assert(f.ended);
	ck_assert_ptr_null(f.error);
	ck_assert_int_eq(f.guest->state, GUEST_STOPPED);
	tear_down(&f);
}
END_TEST

/* It has panicked before: by its own memory, or by what the VMM says. */
START_TEST(too_late_to_wait)
{
	struct fixture f;

	set_up(&f, true, true, !_i);
	made_up.told = _i;
	ck_assert_ptr_null(start(&f));
	ck_assert(panic_watch_is_over(f.watch));
	ck_assert(!f.ended);
	loop_run(f.loop);
	ck_assert(f.ended);
	ck_assert_ptr_null(f.error);
	ck_assert_int_eq(f.guest->state, GUEST_STOPPED);
	tear_down(&f);
}
END_TEST

START_TEST(gone_without_one)
{
	struct fixture f;

	set_up(&f, false, true, false);
	fake_of(f.guest)->misses = true;
	ck_assert_ptr_null(start(&f));
	report(&f, &GONE);
	ck_assert(f.ended);
	ck_assert_int_eq(err_code(f.error), ERR_GONE);
	err_destroy(f.error);
	tear_down(&f);
}
END_TEST

/* No symbols and a VMM that tells nothing; no breakpoint of either kind. The guest goes on. */
START_TEST(would_not_be_noticed)
{
	struct fixture f;
	struct err *e;

	set_up(&f, false, _i, false);
	fake_of(f.guest)->refused = HARDWARE | SOFTWARE;
	e = start(&f);
	ck_assert_ptr_nonnull(e);
	err_destroy(e);
	ck_assert_ptr_null(f.watch);
	tear_down(&f);
}
END_TEST

START_TEST(not_waited_for_any_longer)
{
	struct fixture f;

	set_up(&f, false, true, false);
	fake_of(f.guest)->misses = true;
	ck_assert_ptr_null(start(&f));
	tear_down(&f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("panic");
	TCase *tc = tcase_create("panic");

	tcase_add_loop_test(tc, at_its_breakpoint, 0, 2);
	tcase_add_test(tc, told_by_the_vmm);
	tcase_add_loop_test(tc, too_late_to_wait, 0, 2);
	tcase_add_test(tc, gone_without_one);
	tcase_add_loop_test(tc, would_not_be_noticed, 0, 2);
	tcase_add_test(tc, not_waited_for_any_longer);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
