/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SERVER_CONSOLE_H
#define SERVER_CONSOLE_H

#include "server/hold.h"
#include "server/inherited.h"
#include "server/loop.h"

struct console_config {
	struct loop *loop;
	struct guest *guest;
	const struct inherited *inherited;
	const char *const *commands; /* of -c; with none lines come from standard input */
	size_t n_commands;
};

/*
 * Runs monitor commands with the guest paused: at a readline prompt on a
 * terminal, else as plain lines. Errors are printed as they come. Of -c the
 * first that fails is the last that runs. Returns the exit status: 1 after a
 * failure, but for those that a user at a terminal has seen.
 */
int console_run(const struct console_config *config);

#endif
