/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/sharers.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

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

static const char *device_behind(pid_t pid, const struct proc_fd *fd)
{
	static const struct {
		const char *link, *name;
	} devices[] = {
		{ "/dev/vfio", "VFIO" },
		{ "anon_inode:[vfio", "VFIO" },
		{ "/dev/iommu", "iommufd" },
		{ "/dev/vhost-vdpa", "vDPA" },
	};

	for (size_t i = 0; i < ARRAY_LEN(devices); i++)
		if (!strncmp(fd->link, devices[i].link, strlen(devices[i].link)))
			return devices[i].name;
	return !strcmp(fd->link, "anon_inode:[io_uring]") && is_fixed_ring(pid, fd->fd) ? "io_uring" : NULL;
}

const char *sharers_device(pid_t pid)
{
	struct proc_fd *fds;
	size_t n;
	struct err *e = proc_fds(pid, &fds, &n);
	const char *found = e ? "what cannot be known" : NULL;

	if (e) {
		err_destroy(e);
		return found;
	}
	for (size_t i = 0; i < n && !found; i++)
		found = device_behind(pid, &fds[i]);
	free(fds);
	return found;
}
