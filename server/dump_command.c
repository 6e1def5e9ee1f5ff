/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/dump_command.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/dumpjob.h"
#include "server/panic.h"
#include "server/progress.h"

struct run {
	struct dump_command cmd;
	struct hold hold;
	struct panic_watch *watch;
	struct job *job;
	struct progress progress;
	struct dump_outcome *outcome;
	struct err *error;
};

static void show(struct buf *text)
{
	fputs(buf_str(text), stderr);
	buf_deinit(text);
}

static void on_progress(void *arg, const struct dump_progress *p)
{
	struct run *r = arg;
	struct buf text = { 0 };

	progress_update(&r->progress, p, &text);
	show(&text);
}

static void on_end(void *arg, const struct dump_progress *p, struct err *e)
{
	struct run *r = arg;
	struct buf text = { 0 };

	r->job = NULL;
	r->error = e;
	r->outcome->progress = *p;
	progress_end(&r->progress, &text);
	if (!e && !r->cmd.quiet) {
		buf_addf(&text, "%s: ", strcmp(r->cmd.out, "-") ? r->cmd.out : "standard output");
		progress_format_total(p, &text);
		buf_addch(&text, '\n');
	}
	if (r->cmd.snapshot && !r->cmd.quiet && r->hold.was_running && !r->hold.holders)
		buf_addf(&text, "the guest was paused for %" PRId64 " ms\n", r->hold.paused_ms);
	show(&text);
	loop_quit(r->cmd.loop);
}

/* ---- from the start to the job ---- */

static struct err *start_job(struct run *r)
{
	struct job_watcher watcher = { on_progress, on_end, r };
	struct job_work work;
	struct err *e = dumpjob_prepare(&r->hold, r->cmd.inherited, &r->cmd.options, r->cmd.out, r->cmd.snapshot,
					&work);

	if (e)
		return e;
	r->job = job_start(r->cmd.loop, work, &watcher);
	r->outcome->started = true;
	return NULL;
}

/* The guest stays stopped from its panic to the dump, which holds it too. */
static void on_panic(void *arg, struct err *e)
{
	struct run *r = arg;
	struct panic_watch *watch = r->watch;

	r->watch = NULL;
	if (!e && !r->cmd.quiet)
		fputs("the guest has panicked\n", stderr);
	if (!e)
		e = start_job(r);
	r->error = e;
	e = panic_watch_end(watch);
	if (r->error)
		err_destroy(e);
	else
		r->error = e;
	if (!r->job)
		loop_quit(r->cmd.loop);
}

static struct err *start_watch(struct run *r)
{
	struct panic_config config = { r->cmd.loop, &r->hold, on_panic, r };
	struct err *e = panic_watch_start(&config, &r->watch);

	if (!e && !panic_watch_is_over(r->watch) && !r->cmd.quiet)
		fputs("waiting for the guest to panic\n", stderr);
	return e;
}

static void on_signal(void *arg, int signo)
{
	struct run *r = arg;

	(void)signo;
	if (r->job) {
		job_cancel(r->job);
	} else if (r->watch) {
		r->error = panic_watch_end(r->watch);
		r->watch = NULL;
		if (!r->error)
			r->error = err_new(ERR_CANCELLED, "the guest has not panicked so far; it is not waited for any longer");
		loop_quit(r->cmd.loop);
	}
}

struct err *dump_command_run(const struct dump_command *cmd, struct dump_outcome *ret)
{
	struct run r = { .cmd = *cmd, .outcome = ret };
	struct err *e = loop_add_signals(cmd->loop, on_signal, &r);

	*ret = (struct dump_outcome){ 0 };
	if (!cmd->quiet && isatty(STDERR_FILENO))
		r.progress.mode = PROGRESS_TERMINAL;
	hold_init(&r.hold, cmd->guest);
	if (!e)
		e = cmd->on_panic ? start_watch(&r) : start_job(&r);
	if (!e)
		loop_run(cmd->loop);
	if (r.hold.was_running)
		ret->pause_seconds = (double)r.hold.paused_ms / 1000;
	return e ? e : r.error;
}
