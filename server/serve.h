/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SERVER_SERVE_H
#define SERVER_SERVE_H

#include <stdbool.h>

#include "guest/guest.h"
#include "server/comm.h"
#include "server/inherited.h"
#include "server/loop.h"

struct serve_config {
	struct loop *loop;
	struct guest *guest;
	struct comm *comm;
	const struct inherited *inherited;
	const char *target; /* for messages: "process 123" */
	bool once;          /* end when the first client has left */
};

/*
 * Serves gdb, one client at a time: the guest is paused while there is one, and
 * goes on afterwards if it ran before. Returns at SIGINT or SIGTERM, and after
 * the only client of stdio or once, with the guest as it was found; or with an
 * error when the guest is gone.
 */
struct err *serve_run(const struct serve_config *config) MUST_CHECK;

#endif
