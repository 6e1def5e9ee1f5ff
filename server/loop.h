/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SERVER_LOOP_H
#define SERVER_LOOP_H

#include "base/attr.h"
#include "base/err.h"

/*
 * The event loop: one thread, poll. Sources may be added and removed inside
 * of any callback; a removed one is never called again.
 */
struct loop;
struct loop_source;

typedef void (*loop_fd_fn)(void *arg, short revents);
typedef void (*loop_signal_fn)(void *arg, int signo);
typedef void (*loop_fn)(void *arg);

struct loop *loop_create(void);
void loop_destroy(struct loop *l); /* with every source; takes NULL */

/* fd is borrowed; events as for poll. */
struct loop_source *loop_add_fd(struct loop *l, int fd, short events, loop_fd_fn fn, void *arg);
void loop_set_events(struct loop_source *s, short events);
/* Again and again, every interval_ms. */
struct loop_source *loop_add_timer(struct loop *l, unsigned interval_ms, loop_fn fn, void *arg);
/* Every turn; while there is one the loop does not wait. */
struct loop_source *loop_add_idle(struct loop *l, loop_fn fn, void *arg);
void loop_remove(struct loop_source *s); /* takes NULL */

/*
 * SIGINT and SIGTERM as callbacks. One that is ignored stays so. They stay
 * blocked when the loop has ended: an impatient second one must not cut off
 * the clean-up. Once a loop.
 */
struct err *loop_add_signals(struct loop *l, loop_signal_fn fn, void *arg) MUST_CHECK;

/* Returns after loop_quit(), which may come first. */
void loop_run(struct loop *l);
void loop_quit(struct loop *l);

#endif
