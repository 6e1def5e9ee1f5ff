/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SERVER_REFUSE_H
#define SERVER_REFUSE_H

#include "server/comm.h"
#include "server/loop.h"

/*
 * Takes over a client that comes while another is served: tells it why in
 * gdb's own words, and waits for it to leave, for a while. The bytes would be
 * lost if the connection were closed on what the client has sent meanwhile.
 */
struct refusals;

struct refusals *refusals_create(struct loop *l);
void refusals_destroy(struct refusals *r); /* closes them; takes NULL */
void refusals_add(struct refusals *r, struct comm_client *client, const char *why);

#endif
