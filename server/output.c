/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/output.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/cursor.h"

/* *ret_fd is -1 and *ret_path set, or the other way round. */
static struct err *parse(const char *text, const struct inherited *inherited, const char **ret_path, int *ret_fd)
{
	struct cursor c = cursor_of_string(text);
	uint64_t fd;

	*ret_path = NULL;
	*ret_fd = -1;
	if (cursor_equals(&c, "-")) {
		*ret_fd = STDOUT_FILENO;
		return inherited_check(inherited, *ret_fd);
	}
	if (cursor_take_string(&c, "fd:")) {
		if (!cursor_take_number(&c, &fd) || !cursor_at_end(&c) || fd > INT_MAX)
			return err_new(ERR_INVALID, "%s: fd: wants the number of a descriptor", text);
		*ret_fd = (int)fd;
		return inherited_check(inherited, *ret_fd);
	}
	cursor_take_string(&c, "file:");
	if (cursor_at_end(&c))
		return err_new(ERR_INVALID, "the name of the output file is empty");
	*ret_path = c.at;
	return NULL;
}

struct err *output_open(const char *text, const struct inherited *inherited, uint64_t need_bytes,
			struct dump_sink **ret)
{
	const char *path;
	int fd;
	struct err *e = parse(text, inherited, &path, &fd);

	if (e)
		return e;
	if (path)
		return dump_sink_open_path(path, need_bytes, ret);
	return dump_sink_open_fd(fd, strcmp(text, "-") ? text : "standard output", ret);
}
