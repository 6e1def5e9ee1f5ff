/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"

/* include/linux/sched.h; PF_IO_WORKER and PF_KTHREAD, and PF_USER_WORKER of vhost and kvm. */
#define PF_IO_WORKER 0x10u
#define PF_USER_WORKER 0x4000u
#define PF_KTHREAD 0x200000u

static struct err *read_fd(int fd, struct buf *out)
{
	for (;;) {
		size_t len = out->len;
		ssize_t n = read(fd, buf_extend(out, 16384), 16384);

		out->len = len + (n > 0 ? (size_t)n : 0);
		out->data[out->len] = '\0';
		if (n == 0)
			return NULL;
		if (n < 0 && errno != EINTR)
			return err_sys(errno, "cannot read it");
	}
}

struct err *proc_read(struct buf *out, const char *path, ...)
{
	char name[PATH_MAX];
	struct err *e;
	va_list ap;
	int fd;

	va_start(ap, path);
	vsnprintf(name, sizeof(name), path, ap);
	va_end(ap);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(errno, "cannot open %s", name);
	buf_reset(out);
	e = read_fd(fd, out);
	close(fd);
	return err_prefix(e, "%s", name);
}

bool proc_status_field(const char *status, const char *key, int base, uint64_t *ret)
{
	size_t n = strlen(key);
	uint64_t value;
	char *end;

	for (const char *line = status; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, n) || line[n] != ':')
			continue;
		value = strtoull(line + n + 1, &end, base);
		if (end == line + n + 1)
			return false;
		*ret = value;
		return true;
	}
	return false;
}

static bool parse_map(const char *line, struct proc_map *ret)
{
	unsigned major, minor;
	char perm[5];
	int path = 0;
	struct proc_map m;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 " %n", &m.start, &m.end, perm,
		   &m.offset, &major, &minor, &m.inode, &path) < 7 ||
	    m.end <= m.start)
		return false;
	m.dev = (uint64_t)major << 32 | minor;
	m.readable = perm[0] == 'r';
	m.writable = perm[1] == 'w';
	m.executable = perm[2] == 'x';
	m.shared = perm[3] == 's';
	m.path = xstrdup(path ? line + path : "");
	*ret = m;
	return true;
}

struct err *proc_maps_read(pid_t pid, struct proc_map **ret, size_t *ret_n)
{
	struct proc_map *maps = NULL;
	struct buf text = { 0 };
	struct err *e = proc_read(&text, "/proc/%d/maps", pid);
	char *next = NULL;
	size_t n = 0, cap = 0;

	if (e)
		goto out;
	for (char *line = strtok_r(text.data, "\n", &next); line; line = strtok_r(NULL, "\n", &next)) {
		if (n == cap) {
			cap = cap ? 2 * cap : 64;
			maps = xreallocarray(maps, cap, sizeof(*maps));
		}
		n += parse_map(line, &maps[n]);
	}
	*ret = maps;
	*ret_n = n;
out:
	buf_deinit(&text);
	return e;
}

void proc_maps_free(struct proc_map *maps, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(maps[i].path);
	free(maps);
}

const struct proc_map *proc_map_at(const struct proc_map *maps, size_t n, uint64_t hva)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (maps[mid].end <= hva)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < n && maps[lo].start <= hva ? &maps[lo] : NULL;
}

/* Calls add for each entry of a directory whose name is a number. */
static struct err *each_number(const char *path, void (*add)(void *arg, int dir_fd, const char *name), void *arg)
{
	DIR *d = opendir(path);
	struct dirent *entry;

	if (!d)
		return err_sys(errno, "cannot list %s", path);
	while ((entry = readdir(d)))
		if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9')
			add(arg, dirfd(d), entry->d_name);
	closedir(d);
	return NULL;
}

struct tid_list {
	pid_t *tids;
	size_t n;
};

static void add_tid(void *arg, int dir_fd, const char *name)
{
	struct tid_list *list = arg;

	(void)dir_fd;
	list->tids = xreallocarray(list->tids, list->n + 1, sizeof(*list->tids));
	list->tids[list->n++] = (pid_t)strtol(name, NULL, 10);
}

static struct err *list_tids(const char *path, pid_t **ret, size_t *ret_n)
{
	struct tid_list list = { 0 };
	struct err *e = each_number(path, add_tid, &list);

	if (e)
		return e;
	*ret = list.tids;
	*ret_n = list.n;
	return NULL;
}

struct err *proc_threads(pid_t pid, pid_t **ret, size_t *ret_n)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	return list_tids(path, ret, ret_n);
}

struct err *proc_pids(pid_t **ret, size_t *ret_n)
{
	return list_tids("/proc", ret, ret_n);
}

/* What follows the command name, which may itself hold spaces and brackets. */
static const char *after_comm(const struct buf *stat)
{
	const char *p = strrchr(buf_str(stat), ')');

	return p && p[1] == ' ' ? p + 2 : NULL;
}

bool proc_thread_is_kernel(pid_t pid, pid_t tid)
{
	struct buf stat = { 0 };
	struct err *e = proc_read(&stat, "/proc/%d/task/%d/stat", pid, tid);
	const char *p = e ? NULL : after_comm(&stat);
	unsigned flags = 0;

	if (p && sscanf(p, "%*c %*d %*d %*d %*d %*d %u", &flags) != 1)
		flags = 0;
	err_destroy(e);
	buf_deinit(&stat);
	return flags & (PF_IO_WORKER | PF_USER_WORKER | PF_KTHREAD);
}

char proc_state(pid_t pid)
{
	struct buf stat = { 0 };
	struct err *e = proc_read(&stat, "/proc/%d/stat", pid);
	const char *p = e ? NULL : after_comm(&stat);
	char state = p ? *p : '\0';

	err_destroy(e);
	buf_deinit(&stat);
	return state;
}

struct fd_list {
	struct proc_fd *fds;
	size_t n;
	int error; /* why one may not be read; 0: all may */
};

static void add_fd(void *arg, int dir_fd, const char *name)
{
	struct fd_list *list = arg;
	struct proc_fd f = { .fd = (int)strtol(name, NULL, 10) };
	ssize_t n = readlinkat(dir_fd, name, f.link, sizeof(f.link) - 1);

	if (n < 0) {
		/* Its owner sees the names, but without CAP_SYS_PTRACE maybe not what they are. */
		if (errno == EACCES || errno == EPERM)
			list->error = errno;
		return;
	}
	list->fds = xreallocarray(list->fds, list->n + 1, sizeof(*list->fds));
	list->fds[list->n++] = f;
}

static int by_fd(const void *a, const void *b)
{
	return ((const struct proc_fd *)a)->fd - ((const struct proc_fd *)b)->fd;
}

struct err *proc_fds(pid_t pid, struct proc_fd **ret, size_t *ret_n)
{
	struct fd_list list = { 0 };
	char path[64];
	struct err *e;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	e = each_number(path, add_fd, &list);
	if (!e && list.error)
		e = err_sys(list.error, "cannot read %s", path);
	if (e) {
		free(list.fds);
		return e;
	}
	if (list.n)
		qsort(list.fds, list.n, sizeof(*list.fds), by_fd);
	*ret = list.fds;
	*ret_n = list.n;
	return NULL;
}

void proc_set_oom_score(pid_t pid, int score)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", pid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	/* Where that is refused it stays as it is. */
	dprintf(fd, "%d", score);
	close(fd);
}

int proc_oom_score(pid_t pid)
{
	struct buf text = { 0 };
	struct err *e = proc_read(&text, "/proc/%d/oom_score_adj", pid);
	int score = e ? 0 : atoi(buf_str(&text));

	err_destroy(e);
	buf_deinit(&text);
	return score;
}
