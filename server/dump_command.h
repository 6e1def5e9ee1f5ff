/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SERVER_DUMP_COMMAND_H
#define SERVER_DUMP_COMMAND_H

#include "dump/dump.h"
#include "server/hold.h"
#include "server/inherited.h"
#include "server/loop.h"

struct dump_command {
	struct loop *loop;
	struct guest *guest;
	const struct inherited *inherited;
	struct dump_options options;
	const char *out; /* as output.h */
	bool quiet;
	bool on_panic;   /* wait until the guest panics first */
	bool snapshot;   /* let the guest go on meanwhile, and say how long it stood still */
};

/* How it went, whether it failed or not. */
struct dump_outcome {
	bool started;         /* and progress is the last of it */
	struct dump_progress progress;
	double pause_seconds; /* how long a guest that ran stood still for it */
};

/*
 * `vmgdbserver dump`: progress, where it is a terminal, and a summary go to
 * standard error. ERR_CANCELLED after SIGINT or SIGTERM.
 */
struct err *dump_command_run(const struct dump_command *cmd, struct dump_outcome *ret) MUST_CHECK;

#endif
