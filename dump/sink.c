/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dump/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"

#define ZEROS_BYTES (256u << 10)

struct dump_sink *dump_sink_create(enum sink_kind kind, int fd, const char *name)
{
	struct dump_sink *s = xcalloc(1, sizeof(*s));

	s->kind = kind;
	s->fd = fd;
	s->owns_fd = true;
	s->dir_fd = -1;
	s->name = xstrdup(name);
	return s;
}

/*
 * A pipe's O_NONBLOCK is shared with everyone who inherited it; a descriptor
 * opened anew has flags of its own. Where that is not allowed (the pipe is
 * another user's) the writes block.
 */
static int open_pipe_again(int fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
}

struct err *dump_sink_open_fd(int fd, const char *name, struct dump_sink **ret)
{
	int flags = fcntl(fd, F_GETFL), own = -1;
	struct stat st;

	if (flags < 0 || fstat(fd, &st) < 0)
		return err_sys(errno, "cannot write to %s", name);
	if ((flags & O_ACCMODE) == O_RDONLY || (flags & O_PATH))
		return err_new(ERR_INVALID, "cannot write to %s: it is not open for writing", name);
	if (S_ISFIFO(st.st_mode)) {
		own = open_pipe_again(fd);
		if (own < 0 && errno == ENXIO)
			return err_sys(EPIPE, "cannot write to %s: nobody reads from it", name);
	}
	*ret = dump_sink_create(S_ISSOCK(st.st_mode) ? SINK_SOCKET : SINK_STREAM, own >= 0 ? own : fd, name);
	(*ret)->owns_fd = own >= 0;
	return NULL;
}

const char *dump_sink_name(const struct dump_sink *s)
{
	return s->name;
}

bool dump_sink_seeks(const struct dump_sink *s)
{
	return s->kind == SINK_FILE;
}

int dump_sink_wait_fd(const struct dump_sink *s)
{
	return s->blocked ? s->fd : -1;
}

static ssize_t write_some(struct dump_sink *s, const void *data, size_t bytes)
{
	switch (s->kind) {
	case SINK_FILE:
		return pwrite(s->fd, data, bytes, (off_t)s->at);
	case SINK_SOCKET:
		return send(s->fd, data, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
	default:
		return write(s->fd, data, bytes);
	}
}

static struct err *write_error(const struct dump_sink *s, int errnum)
{
	if (errnum == EPIPE || errnum == ECONNRESET)
		return err_sys(errnum, "cannot write to %s: its reader has gone", s->name);
	if (errnum == EFBIG)
		return err_sys(errnum, "cannot write to %s at offset %llu: raise the limit with ulimit -f",
			       s->name, (unsigned long long)s->at);
	return err_sys(errnum, "cannot write to %s", s->name);
}

void dump_sink_seek(struct dump_sink *s, uint64_t offset)
{
	s->end = MAX(s->end, s->at);
	s->at = offset;
}

static struct err *set_length(const struct dump_sink *s)
{
	return ftruncate(s->fd, (off_t)MAX(s->end, s->at)) == 0 ? NULL : write_error(s, errno);
}

struct err *dump_sink_read(struct dump_sink *s, uint64_t offset, void *ret, size_t bytes, size_t *ret_bytes)
{
	struct err *e = set_length(s);
	ssize_t n = 0;

	if (e)
		return e;
	do
		n = pread(s->fd, ret, bytes, (off_t)offset);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(errno, "cannot read %s back", s->name);
	*ret_bytes = (size_t)n;
	return NULL;
}

struct err *dump_sink_write(struct dump_sink *s, const void *data, size_t bytes, size_t *ret_done)
{
	size_t done = 0;

	s->blocked = false;
	while (done < bytes) {
		ssize_t n = write_some(s, (const char *)data + done, bytes - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return write_error(s, errno);
		if (n <= 0) {
			if (s->kind == SINK_FILE)
				return write_error(s, n ? errno : EIO);
			s->blocked = true;
			break;
		}
		done += (size_t)n;
		s->at += (size_t)n;
	}
	*ret_done = done;
	return NULL;
}

struct err *dump_sink_skip(struct dump_sink *s, uint64_t bytes, uint64_t *ret_done)
{
	static const uint8_t zeros[ZEROS_BYTES];
	size_t done = 0;
	struct err *e;

	if (s->kind == SINK_FILE) {
		s->at += bytes;
		*ret_done = bytes;
		return NULL;
	}
	e = dump_sink_write(s, zeros, (size_t)MIN(bytes, sizeof(zeros)), &done);
	*ret_done = done;
	return e;
}

/* Some file systems tell of a failed write only when a descriptor is closed. */
static struct err *flush(const struct dump_sink *s)
{
	int copy = fcntl(s->fd, F_DUPFD_CLOEXEC, 0);

	if (copy < 0 || close(copy) < 0)
		return write_error(s, errno);
	return NULL;
}

struct err *dump_sink_finish(struct dump_sink *s)
{
	struct err *e = s->kind == SINK_FILE ? set_length(s) : NULL;

	if (!e)
		e = flush(s);
	return e || s->kind != SINK_FILE ? e : dump_sink_publish(s);
}

void dump_sink_destroy(struct dump_sink *s)
{
	if (!s)
		return;
	if (s->kind == SINK_FILE)
		dump_sink_discard(s);
	if (s->owns_fd)
		close(s->fd);
	if (s->dir_fd >= 0)
		close(s->dir_fd);
	free(s->name);
	free(s->base);
	free(s->hidden);
	free(s);
}
