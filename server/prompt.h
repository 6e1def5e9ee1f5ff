/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SERVER_PROMPT_H
#define SERVER_PROMPT_H

#include <stdbool.h>
#include <stddef.h>

#include "server/loop.h"

/* Lines from a terminal by readline, with history and completion. One a process. */
struct prompt;

struct prompt_config {
	struct loop *loop;
	/* NULL: end of file. The line is borrowed. */
	void (*line)(void *arg, const char *line);
	/* As monitor_complete(). */
	void (*complete)(void *arg, const char *before, const char *word, char ***ret, size_t *ret_n, bool *ret_files);
	void *arg;
};

/* Shows the prompt. */
struct prompt *prompt_create(const struct prompt_config *config);
void prompt_destroy(struct prompt *p); /* saves the history, restores the terminal; takes NULL */

/* While something runs: no prompt, and the terminal as it was. */
void prompt_pause(struct prompt *p);
void prompt_resume(struct prompt *p);

void prompt_clear(struct prompt *p); /* Ctrl-C: a new, empty line */
/* Around a message that comes of itself: the line that is being typed leaves the screen and comes back. */
void prompt_hide(struct prompt *p);
void prompt_unhide(struct prompt *p);

#endif
