/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/target.h"

#include <poll.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"

static void on_guest(void *arg, short revents)
{
	struct target *t = arg;
	struct guest_event ev = { .kind = GUEST_EVENT_NONE };
	struct err *e = guest_poll(t->guest, &ev);

	(void)revents;
	t->config.event(t->config.arg, t, &ev, e);
}

struct target *target_create(const struct target_config *config, struct guest *g, pid_t pid, const char *name)
{
	struct target *t = xcalloc(1, sizeof(*t));
	struct monitor_config monitor = { .loop = config->loop,
					  .hold = &t->hold,
					  .inherited = config->inherited,
					  .dump_ended = config->dump_ended,
					  .arg = config->arg };
	int fd = guest_poll_fd(g);

	t->config = *config;
	t->guest = g;
	t->pid = pid;
	t->name = xstrdup(name);
	hold_init(&t->hold, g);
	t->monitor = monitor_create(&monitor);
	if (fd >= 0)
		t->source = loop_add_fd(config->loop, fd, POLLIN, on_guest, t);
	return t;
}

void target_destroy(struct target *t)
{
	if (!t)
		return;
	monitor_destroy(t->monitor);
	loop_remove(t->source);
	free(t->name);
	free(t);
}

struct err *target_enter(struct target *t)
{
	struct err *e = hold_take(&t->hold);

	if (!e)
		monitor_reset(t->monitor);
	return e;
}

static void warn(struct err *e)
{
	if (e)
		log_warn("%s", err_text(e));
	err_destroy(e);
}

void target_leave(struct target *t)
{
	monitor_cancel(t->monitor);
	warn(guest_clear_breakpoints(t->guest));
	warn(hold_drop(&t->hold));
}
