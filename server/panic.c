/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/panic.h"

#include <poll.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "guest/os.h"

struct panic_watch {
	struct panic_config config;
	struct loop_source *source; /* of the guest's events, while it is waited for */
	struct breakpoint point;
	bool has_point;
	bool held; /* has a hold of its own */
};

/* ---- where ---- */

static struct err *arm(struct panic_watch *w, uint64_t gva)
{
	struct guest *g = w->config.hold->guest;
	struct err *e;

	w->point = (struct breakpoint){ BREAKPOINT_HARDWARE, gva, 1 };
	e = guest_set_breakpoint(g, 0, &w->point);
	if (e && err_code(e) != ERR_GONE) {
		err_destroy(e);
		w->point.kind = BREAKPOINT_SOFTWARE;
		e = guest_set_breakpoint(g, 0, &w->point);
	}
	w->has_point = !e;
	return err_prefix(e, "cannot wait for a panic");
}

/* Of a stopped guest. *ret_done: it has panicked before. */
static struct err *prepare(struct panic_watch *w, bool *ret_done)
{
	struct guest *g = w->config.hold->guest;
	uint64_t gva = 0;
	struct err *e;

	*ret_done = guest_panicked(g);
	if (*ret_done)
		return NULL;
	e = os_panic(g, &gva, ret_done);
	if (!e)
		return *ret_done ? NULL : arm(w, gva);
	if (!g->ops->panicked || err_code(e) == ERR_GONE)
		return e;
	log_warn("%s; a panic is noticed only if the VMM hears of it (by a pvpanic device, for one) and pauses "
		 "the guest", err_text(e));
	err_destroy(e);
	return NULL;
}

/* ---- when ---- */

/* The watch has ended; whoever is told ends it. */
static void tell(struct panic_watch *w, struct err *e)
{
	loop_remove(w->source);
	w->source = NULL;
	w->config.done(w->config.arg, e);
}

static struct err *let_go(struct panic_watch *w)
{
	w->held = false;
	return hold_drop(w->config.hold);
}

static struct err *take(struct panic_watch *w)
{
	struct err *e = hold_take(w->config.hold);

	w->held = !e;
	return e;
}

/* A stop that is no panic (its owner has paused it, say) is none of ours. */
static struct err *on_stop(struct panic_watch *w, const struct guest_event *ev, bool *ret_done)
{
	struct err *e = take(w);

	if (e)
		return e;
	*ret_done = guest_panicked(w->config.hold->guest) ||
		    (w->has_point && ev->cause == STOP_BREAKPOINT && ev->gva == w->point.gva);
	return *ret_done ? NULL : let_go(w);
}

static void on_event(void *arg, short revents)
{
	struct panic_watch *w = arg;
	struct guest_event ev = { .kind = GUEST_EVENT_NONE };
	struct err *e = guest_poll(w->config.hold->guest, &ev);
	bool done = false;

	(void)revents;
	if (!e && ev.kind == GUEST_EVENT_GONE)
		e = err_new(ERR_GONE, "the VMM has exited, and its guest did not panic before");
	if (!e && ev.kind == GUEST_EVENT_STOPPED)
		e = on_stop(w, &ev, &done);
	if (e || done)
		tell(w, e);
}

static void on_done(void *arg)
{
	tell(arg, NULL);
}

struct err *panic_watch_start(const struct panic_config *config, struct panic_watch **ret)
{
	struct panic_watch *w = xcalloc(1, sizeof(*w));
	int fd = guest_poll_fd(config->hold->guest);
	bool done = false;
	struct err *e;

	w->config = *config;
	e = fd < 0 ? err_new(ERR_UNSUPPORTED, "a saved core does not panic: --on-panic is for a live guest") : take(w);
	if (!e)
		e = prepare(w, &done);
	if (!e && !done)
		e = let_go(w);
	if (e) {
		err_destroy(panic_watch_end(w));
		return e;
	}
	w->source = done ? loop_add_idle(config->loop, on_done, w) :
			   loop_add_fd(config->loop, fd, POLLIN, on_event, w);
	*ret = w;
	return NULL;
}

bool panic_watch_is_over(const struct panic_watch *w)
{
	return w->held;
}

struct err *panic_watch_end(struct panic_watch *w)
{
	struct err *e = NULL;

	if (!w)
		return NULL;
	loop_remove(w->source);
	if (w->has_point && w->config.hold->guest->state != GUEST_GONE) {
		if (!w->held)
			e = take(w);
		if (!e)
			e = guest_clear_breakpoint(w->config.hold->guest, &w->point);
	}
	if (w->held)
		e = hold_drop_after(w->config.hold, e);
	free(w);
	return e;
}
