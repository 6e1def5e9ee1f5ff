/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SERVER_AWAIT_H
#define SERVER_AWAIT_H

#include <sys/types.h>

#include "guest/guest.h"

/*
 * Waits until process pid runs a guest, and gives that, stopped. ready, unless NULL, is
 * called when the process is being watched. *ret is NULL after SIGINT or SIGTERM.
 */
struct err *await_guest(pid_t pid, unsigned vm, struct err *(*ready)(void *arg), void *arg,
			struct guest **ret) MUST_CHECK;

#endif
