/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SERVER_PICTURE_H
#define SERVER_PICTURE_H

#include <stdbool.h>

#include "server/hold.h"

/* What a dump is made of: a guest that stands still until it ends, or a snapshot of it. */
struct picture {
	struct guest *guest;    /* to be read */
	struct hold *hold;      /* that is held for it; NULL: of a snapshot */
	struct guest *snapshot; /* NULL: there is none */
};

/*
 * With snapshot the guest has gone on when this returns. One that cannot be had so
 * stays paused, after a warning. An error leaves the guest as it was, and nothing to end.
 */
struct err *picture_take(struct hold *hold, bool snapshot, struct picture *ret) MUST_CHECK;
/* Behind what ended with first, as hold_drop_after(). */
struct err *picture_end(struct picture *p, struct err *first) MUST_CHECK;

#endif
