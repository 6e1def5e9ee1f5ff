/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/job.h"

#include <poll.h>
#include <stdlib.h>

#include "base/alloc.h"

struct job {
	struct loop *loop;
	struct job_work work;
	struct job_watcher watcher;
	struct loop_source *source; /* idle while it can step, else what it waits for */
	struct loop_source *timer;  /* while it waits for so long at most */
};

static void end(struct job *j)
{
	struct job_watcher w = j->watcher;
	struct dump_progress p;
	struct err *e;

	loop_remove(j->source);
	loop_remove(j->timer);
	j->work.ops->progress(j->work.priv, &p);
	e = j->work.ops->finish(j->work.priv);
	free(j);
	w.ended(w.arg, &p, e);
}

static void on_idle(void *arg);

/* Whatever it waited for, what comes first ends the wait. */
static void end_wait(struct job *j)
{
	loop_remove(j->source);
	loop_remove(j->timer);
	j->timer = NULL;
	j->source = loop_add_idle(j->loop, on_idle, j);
}

static void on_ready(void *arg, short revents)
{
	(void)revents;
	end_wait(arg);
}

static void on_time(void *arg)
{
	end_wait(arg);
}

static bool has_to_wait(const struct dump_wait *w)
{
	struct pollfd p = { .fd = w->fd, .events = w->events };

	return w->fd >= 0 ? w->ms && poll(&p, 1, 0) == 0 : w->ms > 0;
}

static void start_wait(struct job *j, const struct dump_wait *w)
{
	loop_remove(j->source);
	j->source = w->fd >= 0 ? loop_add_fd(j->loop, w->fd, w->events, on_ready, j) : NULL;
	if (w->ms > 0)
		j->timer = loop_add_timer(j->loop, (unsigned)w->ms, on_time, j);
}

static void on_idle(void *arg)
{
	struct job *j = arg;
	struct dump_progress p;
	struct dump_wait w;

	j->work.ops->wait(j->work.priv, &w);
	if (has_to_wait(&w)) {
		start_wait(j, &w);
		return;
	}
	if (!j->work.ops->step(j->work.priv)) {
		end(j);
		return;
	}
	j->work.ops->progress(j->work.priv, &p);
	j->watcher.progress(j->watcher.arg, &p);
}

struct job *job_start(struct loop *l, struct job_work work, const struct job_watcher *watcher)
{
	struct job *j = xcalloc(1, sizeof(*j));

	j->loop = l;
	j->work = work;
	j->watcher = *watcher;
	j->source = loop_add_idle(l, on_idle, j);
	return j;
}

void job_cancel(struct job *j)
{
	j->work.ops->cancel(j->work.priv);
	end(j);
}

void job_progress(const struct job *j, struct dump_progress *ret)
{
	j->work.ops->progress(j->work.priv, ret);
}
