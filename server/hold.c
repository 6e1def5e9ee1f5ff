/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/hold.h"

#include <assert.h>

#include "base/clock.h"
#include "base/log.h"

void hold_init(struct hold *h, struct guest *g)
{
	*h = (struct hold){ .guest = g };
}

void hold_adopt(struct hold *h)
{
	assert(!h->holders && h->guest->state == GUEST_STOPPED);
	h->holders = 1;
	h->was_running = true;
}

struct err *hold_take(struct hold *h)
{
	bool running = h->guest->state == GUEST_RUNNING;
	int64_t now = clock_ms();
	struct err *e = guest_stop(h->guest);

	if (e)
		return e;
	if (h->holders++)
		return NULL;
	h->was_running = running;
	h->since_ms = now;
	return NULL;
}

struct err *hold_drop(struct hold *h)
{
	struct err *e;

	assert(h->holders);
	if (--h->holders || !h->was_running || h->guest->state == GUEST_GONE)
		return NULL;
	e = guest_resume(h->guest);
	h->paused_ms = clock_ms() - h->since_ms;
	return e;
}

struct err *hold_drop_after(struct hold *h, struct err *first)
{
	struct err *e = hold_drop(h);

	if (!first)
		return e;
	/* That it is gone is what the first one said. */
	if (e && err_code(e) != ERR_GONE)
		log_warn("%s", err_text(e));
	err_destroy(e);
	return first;
}
