/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/job.h"

#include <poll.h>
#include <stdlib.h>

#include "base/alloc.h"

struct job {
	struct loop *loop;
	struct job_work work;
	struct job_watcher watcher;
	struct loop_source *source; /* idle while it can step, else its wait_fd */
};

static void end(struct job *j)
{
	struct job_watcher w = j->watcher;
	struct dump_progress p;
	struct err *e;

	loop_remove(j->source);
	j->work.ops->progress(j->work.priv, &p);
	e = j->work.ops->finish(j->work.priv);
	free(j);
	w.ended(w.arg, &p, e);
}

static void on_writable(void *arg, short revents);

static bool would_block(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	return fd >= 0 && poll(&p, 1, 0) == 0;
}

static void on_idle(void *arg)
{
	struct job *j = arg;
	struct dump_progress p;
	int fd = j->work.ops->wait_fd(j->work.priv);

	if (would_block(fd)) {
		loop_remove(j->source);
		j->source = loop_add_fd(j->loop, fd, POLLOUT, on_writable, j);
		return;
	}
	if (!j->work.ops->step(j->work.priv)) {
		end(j);
		return;
	}
	j->work.ops->progress(j->work.priv, &p);
	j->watcher.progress(j->watcher.arg, &p);
}

static void on_writable(void *arg, short revents)
{
	struct job *j = arg;

	(void)revents;
	loop_remove(j->source);
	j->source = loop_add_idle(j->loop, on_idle, j);
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
