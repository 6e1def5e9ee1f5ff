/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SERVER_TARGET_H
#define SERVER_TARGET_H

#include <sys/types.h>

#include "server/hold.h"
#include "server/inherited.h"
#include "server/loop.h"
#include "server/monitor.h"

/* A guest that gdb is served, and what goes with it. */
struct target;

struct target_config {
	struct loop *loop;
	const struct inherited *inherited;
	/* Its guest has something to say: takes over e, with which ev says nothing. May destroy t. */
	void (*event)(void *arg, struct target *t, const struct guest_event *ev, struct err *e);
	void (*dump_ended)(void *arg, const char *line, bool failed); /* as in struct monitor_config */
	void *arg;
};

struct target {
	struct target *next; /* the owner's */
	struct target_config config;
	struct guest *guest;
	pid_t pid;           /* of its VMM; 0: it was not reached by that */
	char *name;          /* for messages: "process 123" */
	struct hold hold;
	struct monitor *monitor;
	struct loop_source *source; /* NULL: this kind of guest never says anything */
};

/* Borrows the guest, which runs on until target_enter(). */
struct target *target_create(const struct target_config *config, struct guest *g, pid_t pid, const char *name);
void target_destroy(struct target *t); /* ends its dump; takes NULL */

/* A client comes: the guest stops. An error leaves it as it was. */
struct err *target_enter(struct target *t) MUST_CHECK;
/* A client leaves: nothing that it set stays in the guest, which goes on if it ran before. */
void target_leave(struct target *t);

#endif
