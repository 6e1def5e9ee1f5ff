/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SERVER_HOLD_H
#define SERVER_HOLD_H

#include <stdbool.h>

#include "base/attr.h"
#include "guest/guest.h"

/*
 * Why a guest is paused: a client, a dump and the console each take a hold.
 * The first pauses it; the last to be dropped lets it go on, if it ran before.
 */
struct hold {
	struct guest *guest; /* borrowed */
	unsigned holders;
	bool was_running;
	int64_t since_ms;  /* of clock_ms(): when it was paused last */
	int64_t paused_ms; /* how long the last pause took that has ended */
};

void hold_init(struct hold *h, struct guest *g);
/* A guest that has not run yet, but is to: it is stopped, with a hold of the caller's. */
void hold_adopt(struct hold *h);
/* An error leaves the guest as it was, and nothing to drop. */
struct err *hold_take(struct hold *h) MUST_CHECK;
/* An error means that the guest could not go on; the hold is dropped all the same. */
struct err *hold_drop(struct hold *h) MUST_CHECK;
/* The same behind something that ended with first: returns that, unless it is NULL. */
struct err *hold_drop_after(struct hold *h, struct err *first) MUST_CHECK;

#endif
