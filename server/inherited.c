/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/inherited.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"

static void add(struct inherited *in, int fd)
{
	in->fds = xreallocarray(in->fds, in->n_fds + 1, sizeof(*in->fds));
	in->fds[in->n_fds++] = fd;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* Without /proc only these three can be told from what a library opened. */
static void record_standard(struct inherited *in)
{
	for (int fd = 0; fd <= 2; fd++) {
		if (is_open(fd))
			add(in, fd);
	}
}

static void record_listed(struct inherited *in, DIR *dir)
{
	struct dirent *entry;

	while ((entry = readdir(dir))) {
		int fd;

		if (entry->d_name[0] == '.')
			continue;
		fd = atoi(entry->d_name);
		if (fd != dirfd(dir))
			add(in, fd);
	}
}

static void fill_standard(void)
{
	for (int fd = 0; fd <= 2; fd++) {
		/* The lowest free number is taken, and those below are open. */
		if (!is_open(fd) && open("/dev/null", O_RDWR) < 0)
			abort();
	}
}

void inherited_record(struct inherited *ret)
{
	DIR *dir = opendir("/proc/self/fd");

	*ret = (struct inherited){ 0 };
	if (dir) {
		record_listed(ret, dir);
		closedir(dir);
	} else {
		record_standard(ret);
	}
	fill_standard();
}

void inherited_deinit(struct inherited *in)
{
	free(in->fds);
	*in = (struct inherited){ 0 };
}

void inherited_claim(struct inherited *in, int fd)
{
	for (size_t i = 0; i < in->n_fds; i++) {
		if (in->fds[i] == fd)
			in->fds[i] = -1;
	}
}

static bool contains(const struct inherited *in, int fd)
{
	for (size_t i = 0; i < in->n_fds; i++) {
		if (in->fds[i] == fd)
			return true;
	}
	return false;
}

struct err *inherited_check(const struct inherited *in, int fd)
{
	if (fd >= 0 && contains(in, fd) && is_open(fd))
		return NULL;
	return err_new(ERR_INVALID, "fd:%d: no descriptor %d was handed over when vmgdbserver started; "
		       "open it in the shell, as in %d>FILE", fd, fd, fd);
}
