/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SERVER_JOB_H
#define SERVER_JOB_H

#include <stdbool.h>

#include "dump/dump.h"
#include "server/loop.h"

/* Work that the event loop does beside everything else, step by step. */

struct job_ops {
	bool (*step)(void *priv);             /* false: it has ended */
	void (*wait)(const void *priv, struct dump_wait *ret); /* before the next step */
	void (*cancel)(void *priv);           /* the next step ends it */
	void (*progress)(const void *priv, struct dump_progress *ret);
	struct err *(*finish)(void *priv);    /* how it ended; frees priv and lets go of the guest */
};

struct job_work {
	const struct job_ops *ops;
	void *priv;
};

/* Who is told. */
struct job_watcher {
	void (*progress)(void *arg, const struct dump_progress *p); /* after each step */
	/* Takes over e. The job is gone; called once, from the loop or from job_cancel(). */
	void (*ended)(void *arg, const struct dump_progress *p, struct err *e);
	void *arg;
};

struct job;

/* Takes over the work. The job frees itself when it has ended. */
struct job *job_start(struct loop *l, struct job_work work, const struct job_watcher *watcher);
/* Ends it now. */
void job_cancel(struct job *j);
void job_progress(const struct job *j, struct dump_progress *ret);

#endif
