/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/prompt.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <readline/history.h>
#include <readline/readline.h>

#include "base/alloc.h"
#include "server/history.h"

#define HISTORY_LINES 1000

struct prompt {
	struct prompt_config config;
	struct loop_source *input;
	bool shown;
	char *history;    /* file, or NULL */
	/* What completion found, handed to readline one by one. */
	char **words;
	size_t n_words, next_word;
};

/* readline's callbacks have no argument, and it serves one terminal a process. */
static struct prompt *the_prompt;

static void on_input(void *arg, short revents);

/* ---- lines ---- */

static void on_line(char *line)
{
	struct prompt *p = the_prompt;

	if (line && *line)
		add_history(line);
	if (!line)
		rl_crlf();
	p->config.line(p->config.arg, line);
	free(line);
}

static void show(struct prompt *p)
{
	if (p->shown)
		return;
	rl_callback_handler_install("(vmgdbserver) ", on_line);
	p->input = loop_add_fd(p->config.loop, STDIN_FILENO, POLLIN, on_input, p);
	p->shown = true;
}

void prompt_pause(struct prompt *p)
{
	if (!p->shown)
		return;
	rl_callback_handler_remove();
	loop_remove(p->input);
	p->shown = false;
}

static void on_input(void *arg, short revents)
{
	(void)arg;
	(void)revents;
	rl_callback_read_char();
}

void prompt_resume(struct prompt *p)
{
	show(p);
}

void prompt_clear(struct prompt *p)
{
	if (!p->shown)
		return;
	rl_callback_sigcleanup();
	fputs("^C", rl_outstream);
	rl_crlf();
	rl_replace_line("", 0);
	rl_on_new_line();
	rl_redisplay();
}

void prompt_hide(struct prompt *p)
{
	if (!p->shown)
		return;
	rl_clear_visible_line();
	fflush(rl_outstream);
}

void prompt_unhide(struct prompt *p)
{
	if (!p->shown)
		return;
	rl_on_new_line();
	rl_redisplay();
}

/* ---- completion ---- */

static char *next_word(const char *word, int state)
{
	struct prompt *p = the_prompt;

	(void)word;
	if (!state)
		p->next_word = 0;
	return p->next_word < p->n_words ? xstrdup(p->words[p->next_word++]) : NULL;
}

static char **complete(const char *word, int start, int end)
{
	struct prompt *p = the_prompt;
	char *before = xstrndup(rl_line_buffer, (size_t)start);
	bool files = false;
	char **found;

	(void)end;
	p->config.complete(p->config.arg, before, word, &p->words, &p->n_words, &files);
	free(before);
	rl_attempted_completion_over = !files;
	found = p->n_words ? rl_completion_matches(word, next_word) : NULL;
	for (size_t i = 0; i < p->n_words; i++)
		free(p->words[i]);
	free(p->words);
	p->words = NULL;
	p->n_words = 0;
	return found;
}

/* ---- life ---- */

struct prompt *prompt_create(const struct prompt_config *config)
{
	struct prompt *p = xcalloc(1, sizeof(*p));

	p->config = *config;
	the_prompt = p;
	rl_readline_name = "vmgdbserver";
	rl_catch_signals = 0; /* the loop has them */
	rl_attempted_completion_function = complete;
	rl_basic_word_break_characters = " \t\n\"";
	rl_completer_word_break_characters = " \t\n\"";
	using_history();
	stifle_history(HISTORY_LINES);
	p->history = history_path();
	if (p->history)
		read_history(p->history);
	show(p);
	return p;
}

void prompt_destroy(struct prompt *p)
{
	if (!p)
		return;
	prompt_pause(p);
	if (p->history)
		write_history(p->history);
	clear_history();
	the_prompt = NULL;
	free(p->history);
	free(p);
}
