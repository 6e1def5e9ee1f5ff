/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/console.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "server/monitor.h"
#include "server/prompt.h"

struct console {
	struct console_config config;
	struct hold hold;
	struct monitor *monitor;
	struct prompt *prompt;        /* on a terminal */
	struct loop_source *input;    /* of plain lines and -c; NULL: none is wanted */
	struct buf text;              /* plain input that no newline has ended */
	bool at_end;                  /* of the input */
	size_t next;                  /* of the commands */
	bool in_command;
	bool leaving;                 /* as soon as nothing runs */
	int status;
};

static void want_input(struct console *c);

/* ---- the end ---- */

static void quit_if_done(struct console *c)
{
	if (c->leaving && !c->in_command && !monitor_dumping(c->monitor))
		loop_quit(c->config.loop);
}

static void leave(void *arg)
{
	struct console *c = arg;

	c->leaving = true;
	loop_remove(c->input);
	c->input = NULL;
	if (c->prompt)
		prompt_pause(c->prompt);
	if (monitor_dumping(c->monitor))
		log_warn("waiting for the dump; Ctrl-C cancels it");
	quit_if_done(c);
}

/* ---- commands ---- */

static void on_output(void *arg, const char *text, size_t bytes)
{
	(void)arg;
	fwrite(text, 1, bytes, stdout);
	fflush(stdout);
}

static void report(struct console *c, struct err *e)
{
	if (!e)
		return;
	log_warn("%s", err_text(e));
	err_destroy(e);
	c->status = 1;
}

static void on_done(void *arg, struct err *e)
{
	struct console *c = arg;
	bool failed = e;

	c->in_command = false;
	report(c, e);
	if (failed && c->config.n_commands && !c->leaving)
		leave(c);
	else if (c->leaving)
		quit_if_done(c);
	else
		want_input(c);
}

static void run_line(struct console *c, const char *line)
{
	struct monitor_client client = { .output = on_output,
					 .done = on_done,
					 .leave = leave,
					 .progress = c->prompt ? PROGRESS_TERMINAL : PROGRESS_NONE,
					 .arg = c };

	c->in_command = true;
	if (c->prompt)
		prompt_pause(c->prompt);
	monitor_run(c->monitor, &client, line);
}

/* Between what a user types. */
static void announce(struct console *c, const char *line)
{
	if (c->prompt)
		prompt_hide(c->prompt);
	log_warn("%s", line);
	if (c->prompt)
		prompt_unhide(c->prompt);
}

static void on_dump_ended(void *arg, const char *line, bool failed)
{
	struct console *c = arg;

	announce(c, line);
	if (failed)
		c->status = 1;
	quit_if_done(c);
}

/* ---- plain lines ---- */

/* The first whole line of the text, or what is left at the end; caller frees. NULL: none yet. */
static char *take_line(struct console *c)
{
	char *newline = c->text.len ? memchr(c->text.data, '\n', c->text.len) : NULL;
	size_t n = newline ? (size_t)(newline - c->text.data) : c->text.len;
	char *line;

	if (!newline && (!c->at_end || !n))
		return NULL;
	line = xstrndup(buf_str(&c->text), n);
	buf_drop(&c->text, n + (newline ? 1 : 0));
	return line;
}

static void on_readable(void *arg, short revents)
{
	struct console *c = arg;
	char data[4096];
	ssize_t n = read(STDIN_FILENO, data, sizeof(data));

	(void)revents;
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n > 0)
		buf_add(&c->text, data, (size_t)n);
	c->at_end = n <= 0;
	loop_remove(c->input);
	want_input(c);
}

static void next_line(struct console *c)
{
	char *line = take_line(c);

	if (line)
		run_line(c, line);
	else if (c->at_end)
		leave(c);
	else
		c->input = loop_add_fd(c->config.loop, STDIN_FILENO, POLLIN, on_readable, c);
	free(line);
}

static void next_command(struct console *c)
{
	if (c->next < c->config.n_commands)
		run_line(c, c->config.commands[c->next++]);
	else
		leave(c);
}

/* From the loop, so that a long list of commands is no deep recursion. */
static void on_wanted(void *arg)
{
	struct console *c = arg;

	loop_remove(c->input);
	c->input = NULL;
	if (c->config.n_commands)
		next_command(c);
	else
		next_line(c);
}

static void want_input(struct console *c)
{
	if (c->prompt)
		prompt_resume(c->prompt);
	else
		c->input = loop_add_idle(c->config.loop, on_wanted, c);
}

/* ---- a terminal ---- */

static void on_prompt_line(void *arg, const char *line)
{
	struct console *c = arg;

	if (line)
		run_line(c, line);
	else
		leave(c);
}

static void complete(void *arg, const char *before, const char *word, char ***ret, size_t *ret_n, bool *ret_files)
{
	struct console *c = arg;

	*ret_n = monitor_complete(c->monitor, before, word, ret, ret_files);
}

static void cancel_dump(struct console *c)
{
	if (monitor_dumping(c->monitor))
		c->status = 1;
	monitor_cancel_dump(c->monitor);
}

/* Ctrl-C ends what the user waits for; where that is nothing it clears the line, or ends a script. */
static void on_signal(void *arg, int signo)
{
	struct console *c = arg;
	bool waits_for_dump = c->leaving && monitor_dumping(c->monitor);
	bool was_busy = monitor_busy(c->monitor) || waits_for_dump;

	monitor_cancel(c->monitor);
	if (waits_for_dump || signo != SIGINT)
		cancel_dump(c);
	if (signo == SIGINT && was_busy)
		return;
	if (signo == SIGINT && c->prompt) {
		prompt_clear(c->prompt);
		return;
	}
	cancel_dump(c);
	if (!c->leaving)
		leave(c);
}

/* ---- all of it ---- */

static void choose_input(struct console *c)
{
	struct prompt_config prompt = { c->config.loop, on_prompt_line, complete, c };

	if (!c->config.n_commands && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
		c->prompt = prompt_create(&prompt);
	else
		want_input(c);
}

static void on_guest(void *arg, short revents)
{
	struct console *c = arg;
	struct guest_event ev = { .kind = GUEST_EVENT_NONE };
	struct err *e = guest_poll(c->config.guest, &ev);

	(void)revents;
	if (!e && ev.kind != GUEST_EVENT_GONE)
		return;
	if (c->prompt)
		prompt_pause(c->prompt);
	report(c, e ? e : err_new(ERR_GONE, "the guest is gone: its VMM has exited"));
	monitor_cancel(c->monitor);
	monitor_cancel_dump(c->monitor);
	loop_quit(c->config.loop);
}

static void watch_guest(struct console *c)
{
	int fd = guest_poll_fd(c->config.guest);

	if (fd >= 0)
		loop_add_fd(c->config.loop, fd, POLLIN, on_guest, c);
}

static struct err *start(struct console *c)
{
	struct monitor_config monitor = { .loop = c->config.loop,
					  .hold = &c->hold,
					  .inherited = c->config.inherited,
					  .dump_ended = on_dump_ended,
					  .arg = c };
	struct err *e = loop_add_signals(c->config.loop, on_signal, c);

	hold_init(&c->hold, c->config.guest);
	c->monitor = monitor_create(&monitor);
	if (!e)
		e = monitor_pause(c->monitor);
	return e;
}

int console_run(const struct console_config *config)
{
	struct console c = { .config = *config };
	struct err *e = start(&c);

	if (!e) {
		watch_guest(&c);
		choose_input(&c);
		loop_run(config->loop);
	}
	report(&c, e);
	if (c.prompt && config->guest->state != GUEST_GONE)
		c.status = 0;
	prompt_destroy(c.prompt);
	monitor_destroy(c.monitor);
	buf_deinit(&c.text);
	return c.status;
}
