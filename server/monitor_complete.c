/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "server/monitor_call.h"

struct list {
	char **words;
	size_t n;
};

static void add(struct list *l, const char *text, size_t bytes)
{
	for (size_t i = 0; i < l->n; i++) {
		if (strlen(l->words[i]) == bytes && !memcmp(l->words[i], text, bytes))
			return;
	}
	l->words = xreallocarray(l->words, l->n + 1, sizeof(*l->words));
	l->words[l->n++] = xstrndup(text, bytes);
}

static void add_registers(struct list *l, const struct arch *arch, const char *word)
{
	for (size_t i = 0; i < arch->n_regs; i++) {
		struct buf name = { 0 };

		buf_addf(&name, "$%s", arch->regs[i].name);
		if (!strncmp(name.data, word, strlen(word)))
			add(l, name.data, name.len);
		buf_deinit(&name);
	}
}

/* The words of before with one space behind each, and no "help" in front. */
static void normalise(const char *before, struct buf *ret)
{
	struct cursor c = cursor_of_string(before), word;

	while (cursor_take_word(&c, &word)) {
		if (!ret->len && cursor_equals(&word, "help"))
			continue;
		buf_add(ret, word.at, cursor_left(&word));
		buf_addch(ret, ' ');
	}
}

/* The next word of each name that goes on from prefix with word. */
static void add_names(struct list *l, const char *prefix, const char *word)
{
	size_t n, prefix_bytes = strlen(prefix);
	const struct monitor_command *commands = monitor_commands(&n);

	for (size_t i = 0; i < n; i++) {
		const char *name = commands[i].name, *next;

		if (strncmp(name, prefix, prefix_bytes))
			continue;
		next = name + prefix_bytes;
		if (!strncmp(next, word, strlen(word)))
			add(l, next, strcspn(next, " "));
	}
}

/* Does the command that the line begins with take a file? */
static bool takes_file(const char *line)
{
	size_t n;
	const struct monitor_command *commands = monitor_commands(&n);

	for (size_t i = 0; i < n; i++) {
		size_t bytes = strlen(commands[i].name);

		if (!strncmp(line, commands[i].name, bytes) && line[bytes] == ' ' && strstr(commands[i].args, "FILE"))
			return true;
	}
	return false;
}

size_t monitor_complete(const struct monitor *m, const char *before, const char *word, char ***ret,
			bool *ret_files)
{
	struct buf prefix = { 0 };
	struct list l = { 0 };

	normalise(before, &prefix);
	*ret_files = false;
	if (prefix.len && *word == '$')
		add_registers(&l, m->guest->arch, word);
	else
		add_names(&l, buf_str(&prefix), word);
	if (!l.n)
		*ret_files = takes_file(buf_str(&prefix));
	buf_deinit(&prefix);
	*ret = l.words;
	return l.n;
}
