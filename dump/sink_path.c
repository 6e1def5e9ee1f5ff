/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "dump/sink.h"

#define HIDDEN_SUFFIX ".vmgdbserver"
#define MAX_LINKS 40 /* as the kernel follows */
#define MAX_TRIES 8  /* other dumps may come and go between two steps of ours */

/* The directory part of path, with its slash; empty when there is none. */
static size_t dir_bytes(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (size_t)(slash - path) + 1 : 0;
}

/*
 * Follows symbolic links in the last component, so that the file a link points
 * to is replaced and not the link; it need not exist. Caller frees.
 */
static struct err *follow_links(const char *path, char **ret)
{
	struct buf at = { 0 };
	char target[PATH_MAX];
	ssize_t n = 0;

	buf_adds(&at, path);
	for (int i = 0; i < MAX_LINKS; i++) {
		n = readlink(buf_str(&at), target, sizeof(target));
		if (n < 0)
			break;
		if (target[0] == '/')
			buf_reset(&at);
		else
			at.len = dir_bytes(buf_str(&at));
		buf_add(&at, target, (size_t)n);
	}
	if (n >= 0) {
		buf_deinit(&at);
		return err_sys(ELOOP, "cannot write %s", path);
	}
	*ret = buf_take(&at);
	return NULL;
}

static struct err *open_stream(const char *path, struct dump_sink **ret)
{
	int fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0 && errno == ENXIO)
		return err_sys(errno, "cannot write to %s: nobody reads from it; start the reader first", path);
	if (fd < 0)
		return err_sys(errno, "cannot write to %s", path);
	*ret = dump_sink_create(SINK_STREAM, fd, path);
	return NULL;
}

/* ".NAME.vmgdbserver", with the name cut to what a directory entry holds. */
static char *hidden_name(const char *base)
{
	int room = (int)(NAME_MAX - strlen("." HIDDEN_SUFFIX));
	char name[NAME_MAX + 1];

	snprintf(name, sizeof(name), ".%.*s" HIDDEN_SUFFIX, room, base);
	return xstrdup(name);
}

static bool is_same_file(int fd, int dir_fd, const char *name)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && fstatat(dir_fd, name, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/*
 * Removes what a dump that was killed left behind: a file of the hidden name
 * that nobody has locked. ERR_BUSY when somebody has.
 */
static struct err *reclaim_hidden(const struct dump_sink *s)
{
	int fd = openat(s->dir_fd, s->hidden, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct err *e = NULL;

	if (fd < 0)
		return errno == ENOENT ? NULL : err_sys(errno, "cannot write %s: %s is in the way", s->name, s->hidden);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		e = err_new(ERR_BUSY, "another dump to %s is being written; wait for it, or take another name", s->name);
	else if (is_same_file(fd, s->dir_fd, s->hidden) && unlinkat(s->dir_fd, s->hidden, 0) < 0)
		e = err_sys(errno, "cannot remove %s, which an earlier dump left behind", s->hidden);
	close(fd);
	return e;
}

/* Where a file cannot be nameless: one hidden name, locked while it is written. */
static struct err *create_hidden(struct dump_sink *s)
{
	for (int i = 0; i < MAX_TRIES; i++) {
		struct err *e = reclaim_hidden(s);

		if (e)
			return e;
		s->fd = openat(s->dir_fd, s->hidden, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (s->fd < 0 && errno != EEXIST)
			return err_sys(errno, "cannot create %s", s->name);
		if (s->fd < 0)
			continue;
		s->linked = flock(s->fd, LOCK_EX | LOCK_NB) == 0 && is_same_file(s->fd, s->dir_fd, s->hidden);
		if (s->linked)
			return NULL;
		close(s->fd);
	}
	return err_new(ERR_BUSY, "other dumps to %s are being written", s->name);
}

static struct err *create_file(struct dump_sink *s)
{
	s->fd = openat(s->dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (s->fd >= 0)
		return flock(s->fd, LOCK_EX | LOCK_NB) == 0 ? NULL : err_sys(errno, "cannot lock %s", s->name);
	/* Kernels and file systems that know no O_TMPFILE say so in these ways. */
	if (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT || errno == EINVAL)
		return create_hidden(s);
	return err_sys(errno, "cannot create %s", s->name);
}

struct err *dump_sink_need(const struct dump_sink *s, uint64_t need_bytes)
{
	struct statvfs fs;
	uint64_t free_bytes;

	if (s->kind != SINK_FILE || fstatvfs(s->fd, &fs) < 0 || !fs.f_blocks)
		return NULL;
	if (__builtin_mul_overflow((uint64_t)fs.f_bavail, (uint64_t)fs.f_frsize, &free_bytes) ||
	    free_bytes >= need_bytes)
		return NULL;
	return err_sys(ENOSPC, "cannot write %s: the dump may need %" PRIu64 " bytes, and %" PRIu64
		       " are free; take another file system, or a range",
		       s->name, need_bytes, free_bytes);
}

/* target: path with its links followed; it ends in a name. */
static struct err *open_file(const char *path, const char *target, uint64_t need_bytes, struct dump_sink **ret)
{
	struct dump_sink *s = dump_sink_create(SINK_FILE, -1, path);
	size_t dir_len = dir_bytes(target);
	char *dir = dir_len ? xstrndup(target, dir_len) : xstrdup(".");
	struct err *e;

	s->base = xstrdup(target + dir_len);
	s->hidden = hidden_name(s->base);
	s->dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->dir_fd < 0)
		e = err_sys(errno, "cannot create %s", path);
	else if (strlen(s->base) > NAME_MAX)
		e = err_sys(ENAMETOOLONG, "cannot create %s", path);
	else
		e = create_file(s);
	if (!e)
		e = dump_sink_need(s, need_bytes);
	free(dir);
	if (e)
		dump_sink_destroy(s);
	else
		*ret = s;
	return e;
}

static const char *kind_text(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "a directory";
	case S_IFBLK:
		return "a block device";
	case S_IFSOCK:
		return "a socket";
	default:
		return "no regular file";
	}
}

static struct err *open_file_by_path(const char *path, uint64_t need_bytes, struct dump_sink **ret)
{
	char *target;
	struct err *e = follow_links(path, &target);

	if (e)
		return e;
	if (target[dir_bytes(target)])
		e = open_file(path, target, need_bytes, ret);
	else
		e = err_sys(*target ? EISDIR : ENOENT, "cannot create \"%s\"", path);
	free(target);
	return e;
}

struct err *dump_sink_open_path(const char *path, uint64_t need_bytes, struct dump_sink **ret)
{
	struct stat st;

	if (stat(path, &st) < 0) {
		if (errno != ENOENT)
			return err_sys(errno, "cannot create %s", path);
	} else if (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode)) {
		return open_stream(path, ret);
	} else if (!S_ISREG(st.st_mode)) {
		return err_new(ERR_INVALID, "cannot write %s: it is %s; name a file", path,
			       kind_text(st.st_mode));
	}
	return open_file_by_path(path, need_bytes, ret);
}

/* Gives a nameless file its hidden name. */
static struct err *link_hidden(struct dump_sink *s)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", s->fd);
	for (int i = 0; i < MAX_TRIES; i++) {
		struct err *e;

		if (linkat(AT_FDCWD, path, s->dir_fd, s->hidden, AT_SYMLINK_FOLLOW) == 0) {
			s->linked = true;
			return NULL;
		}
		if (errno != EEXIST)
			return err_sys(errno, "cannot name the finished dump %s", s->name);
		e = reclaim_hidden(s);
		if (e)
			return e;
	}
	return err_new(ERR_BUSY, "other dumps to %s are being written", s->name);
}

struct err *dump_sink_publish(struct dump_sink *s)
{
	struct err *e = s->linked ? NULL : link_hidden(s);

	if (e)
		return e;
	if (renameat(s->dir_fd, s->hidden, s->dir_fd, s->base) < 0)
		return err_sys(errno, "cannot name the finished dump %s", s->name);
	s->linked = false;
	return NULL;
}

void dump_sink_discard(struct dump_sink *s)
{
	if (s->linked)
		unlinkat(s->dir_fd, s->hidden, 0);
}
