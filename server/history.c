/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/history.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"

/* The XDG base directory specification: an unset or relative value does not count. */
static bool add_state_dir(struct buf *path)
{
	const char *state = getenv("XDG_STATE_HOME");
	const char *home = getenv("HOME");

	if (state && *state == '/')
		buf_adds(path, state);
	else if (home && *home == '/')
		buf_addf(path, "%s/.local/state", home);
	return path->len;
}

/* Makes every directory above the last slash. */
static bool make_parents(char *path)
{
	for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
		int rc;

		*p = '\0';
		rc = mkdir(path, 0700);
		*p = '/';
		if (rc && errno != EEXIST)
			return false;
	}
	return true;
}

static bool make_file(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

char *history_path(void)
{
	struct buf path = { 0 };

	if (!add_state_dir(&path))
		return NULL;
	buf_adds(&path, "/vmgdbserver/history");
	if (make_parents(path.data) && make_file(path.data))
		return buf_take(&path);
	buf_deinit(&path);
	return NULL;
}
