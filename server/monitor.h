/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SERVER_MONITOR_H
#define SERVER_MONITOR_H

#include <stdbool.h>
#include <stddef.h>

#include "server/hold.h"
#include "server/inherited.h"
#include "server/loop.h"
#include "server/progress.h"

/*
 * The monitor: one table of commands for gdb's `monitor`, the console and
 * `console -c`. docs/monitor.md lists them.
 */
struct monitor;

/* Who gives commands. */
struct monitor_client {
	void (*output)(void *arg, const char *text, size_t bytes);
	/* Ends each monitor_run(), now or later, just once; takes over e, NULL is success. */
	void (*done)(void *arg, struct err *e);
	void (*leave)(void *arg); /* of `exit`; NULL: gdb, which leaves by itself and alone runs the guest */
	enum progress_mode progress;
	void *arg;
};

struct monitor_config {
	struct loop *loop;
	struct hold *hold; /* and its guest */
	const struct inherited *inherited;
	/* A background dump has ended, one way or the other: one line without a newline. */
	void (*dump_ended)(void *arg, const char *line, bool failed);
	void *arg;
};

/* Borrows all that config points to. */
struct monitor *monitor_create(const struct monitor_config *config);
void monitor_destroy(struct monitor *m); /* cancels what is under way; takes NULL */

/* One line. No other command is under way. */
void monitor_run(struct monitor *m, const struct monitor_client *client, const char *line);
/* Cancels the command under way, which then ends with its error. */
void monitor_cancel(struct monitor *m);
bool monitor_busy(const struct monitor *m);

bool monitor_dumping(const struct monitor *m); /* in the background */
void monitor_cancel_dump(struct monitor *m);

/*
 * The console's own hold: `stop` takes it and `cont` drops it. Nothing happens
 * in the state that it would lead to.
 */
struct err *monitor_pause(struct monitor *m) MUST_CHECK;
struct err *monitor_continue(struct monitor *m) MUST_CHECK;

/* A new client starts with vCPU 0. */
void monitor_reset(struct monitor *m);

/*
 * What the word at the end of a line could become. before is what stands in
 * front of it. The array and its strings are the caller's to free; *ret_files:
 * a file name could stand there.
 */
size_t monitor_complete(const struct monitor *m, const char *before, const char *word, char ***ret,
			bool *ret_files);

/* The table, for help and the manual. */
struct monitor_call;

struct monitor_command {
	const char *name;  /* one word, or "info" and another */
	const char *alias; /* or NULL */
	const char *args;  /* "": none */
	const char *help;  /* one line, no full stop */
	bool pauses;       /* the guest is paused while it runs */
	/* Fills call->out; takes all of call->args, or leaves the rest to be refused. */
	struct err *(*run)(struct monitor_call *call);
};

const struct monitor_command *monitor_commands(size_t *ret_n);

#endif
