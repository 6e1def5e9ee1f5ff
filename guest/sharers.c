/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/sharers.h"

#include <stdlib.h>
#include <string.h>

static bool writes_same(const struct proc_map *a, const struct proc_map *b)
{
	return b->shared && b->writable && b->inode == a->inode && b->dev == a->dev;
}

static bool maps_it(pid_t pid, const struct proc_map *map)
{
	struct proc_map *maps;
	size_t n;
	struct err *e = proc_maps_read(pid, &maps, &n);
	bool found = false;

	if (e) {
		/* It has ended meanwhile. */
		err_destroy(e);
		return false;
	}
	for (size_t i = 0; i < n && !found; i++)
		found = writes_same(map, &maps[i]);
	proc_maps_free(maps, n);
	return found;
}

struct err *sharers_find(pid_t pid, const struct proc_map *map, pid_t *ret)
{
	pid_t *pids;
	size_t n;
	struct err *e = proc_pids(&pids, &n);

	if (e)
		return e;
	*ret = 0;
	for (size_t i = 0; i < n && !*ret; i++)
		if (pids[i] != pid && maps_it(pids[i], map))
			*ret = pids[i];
	free(pids);
	return NULL;
}

static bool is_fixed_ring(pid_t pid, int fd)
{
	struct buf info = { 0 };
	uint64_t n = 1;
	struct err *e = proc_read(&info, "/proc/%d/fdinfo/%d", pid, fd);
	bool known = !e && proc_status_field(buf_str(&info), "UserBufs", 10, &n);

	err_destroy(e);
	buf_deinit(&info);
	return !known || n;
}

bool sharers_has_fixed_buffers(pid_t pid)
{
	struct proc_fd *fds;
	size_t n;
	struct err *e = proc_fds(pid, &fds, &n);
	bool found = e != NULL;

	err_destroy(e);
	for (size_t i = 0; !e && i < n && !found; i++)
		found = !strcmp(fds[i].link, "anon_inode:[io_uring]") && is_fixed_ring(pid, fds[i].fd);
	if (!e)
		free(fds);
	return found;
}
