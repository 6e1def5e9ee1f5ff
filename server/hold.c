/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/hold.h"

#include <assert.h>

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
	struct err *e = guest_stop(h->guest);

	if (e)
		return e;
	if (!h->holders++)
		h->was_running = running;
	return NULL;
}

struct err *hold_drop(struct hold *h)
{
	assert(h->holders);
	if (--h->holders || !h->was_running || h->guest->state == GUEST_GONE)
		return NULL;
	return guest_resume(h->guest);
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
