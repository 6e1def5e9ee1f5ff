/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/dump_command.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/dumpjob.h"
#include "server/progress.h"

struct run {
	struct dump_command cmd;
	struct hold hold;
	struct job *job;
	struct progress progress;
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
	progress_end(&r->progress, &text);
	if (!e && !r->cmd.quiet) {
		buf_addf(&text, "%s: ", strcmp(r->cmd.out, "-") ? r->cmd.out : "standard output");
		progress_format_total(p, &text);
		buf_addch(&text, '\n');
	}
	show(&text);
	loop_quit(r->cmd.loop);
}

static void on_signal(void *arg, int signo)
{
	struct run *r = arg;

	(void)signo;
	if (r->job)
		job_cancel(r->job);
}

struct err *dump_command_run(const struct dump_command *cmd)
{
	struct run r = { .cmd = *cmd };
	struct job_watcher watcher = { on_progress, on_end, &r };
	struct job_work work;
	struct err *e = loop_add_signals(cmd->loop, on_signal, &r);

	if (!cmd->quiet && isatty(STDERR_FILENO))
		r.progress.mode = PROGRESS_TERMINAL;
	hold_init(&r.hold, cmd->guest);
	if (!e)
		e = dumpjob_prepare(&r.hold, cmd->inherited, &cmd->options, cmd->out, &work);
	if (e)
		return e;
	r.job = job_start(cmd->loop, work, &watcher);
	loop_run(cmd->loop);
	return r.error;
}
