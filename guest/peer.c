/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/peer.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"

#define PIECE_BYTES 65536u

int64_t peer_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

bool peer_wait(int fd, short events, int64_t deadline)
{
	for (;;) {
		struct pollfd p = { .fd = fd, .events = events };
		int64_t left = deadline - peer_now_ms();
		int n = poll(&p, 1, left > 0 ? (int)MIN(left, INT_MAX) : 0);

		/* A peer that never falls silent has no more time than another. */
		if (n > 0 || left <= 0)
			return left > 0;
	}
}

static struct err *connect_fd(int fd, const struct sockaddr *addr, socklen_t bytes, int64_t deadline)
{
	int error = 0;
	socklen_t n = sizeof(error);

	if (!connect(fd, addr, bytes))
		return NULL;
	if (errno == EAGAIN)
		return err_new(ERR_BUSY, "other clients are waiting for it already");
	if (errno != EINPROGRESS && errno != EINTR)
		return err_sys(errno, "connect");
	if (!peer_wait(fd, POLLOUT, deadline))
		return err_new(ERR_TIMEOUT, "connect: no answer in time");
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n);
	return error ? err_sys(error, "connect") : NULL;
}

static struct err *connect_address(const struct sockaddr *addr, socklen_t bytes, int64_t deadline, int *ret)
{
	int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1;
	struct err *e;

	if (fd < 0)
		return err_sys(errno, "socket");
	e = connect_fd(fd, addr, bytes, deadline);
	if (e) {
		close(fd);
		return e;
	}
	/* Questions are short, and each waits for its answer. */
	if (addr->sa_family != AF_UNIX)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	*ret = fd;
	return NULL;
}

static struct err *connect_unix(const char *path, int64_t deadline, int *ret)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(addr.sun_path))
		return err_new(ERR_USAGE, "a socket's path is at most %zu bytes long: give one from a directory above it",
			       sizeof(addr.sun_path) - 1);
	strcpy(addr.sun_path, path);
	return connect_address((const struct sockaddr *)&addr, sizeof(addr), deadline, ret);
}

static struct err *connect_host(const char *host, const char *port, int64_t deadline, int *ret)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list;
	struct err *e = NULL;
	int rc = getaddrinfo(host, port, &hints, &list);

	if (rc)
		return err_new(ERR_USAGE, "%s", gai_strerror(rc));
	for (const struct addrinfo *a = list; a; a = a->ai_next) {
		err_destroy(e);
		e = connect_address(a->ai_addr, a->ai_addrlen, deadline, ret);
		if (!e)
			break;
	}
	freeaddrinfo(list);
	return e;
}

static struct err *connect_tcp(const char *text, int64_t deadline, int *ret)
{
	char *copy = xstrdup(text), *colon = strrchr(copy, ':'), *host = copy;
	struct err *e;

	if (!colon || colon == copy || !colon[1]) {
		e = err_new(ERR_USAGE, "it is no HOST:PORT and no path");
	} else {
		*colon = '\0';
		if (*host == '[' && colon[-1] == ']') {
			colon[-1] = '\0';
			host++;
		}
		e = connect_host(host, colon + 1, deadline, ret);
	}
	free(copy);
	return e;
}

static const char *after_prefix(const char *s, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(s, prefix, n) ? NULL : s + n;
}

struct err *peer_connect(const char *address, int64_t deadline, int *ret)
{
	const char *path = after_prefix(address, "unix:"), *tcp = after_prefix(address, "tcp:");

	if (!path && !tcp && (strchr(address, '/') || !strchr(address, ':')))
		path = address;
	return path ? connect_unix(path, deadline, ret) : connect_tcp(tcp ? tcp : address, deadline, ret);
}

static struct err *gone(void)
{
	return err_new(ERR_GONE, "the connection has been closed from the other side");
}

struct err *peer_send(int fd, const void *data, size_t bytes, int64_t deadline)
{
	const char *p = data;

	while (bytes) {
		ssize_t n = send(fd, p, bytes, MSG_NOSIGNAL);

		if (n >= 0) {
			p += n;
			bytes -= (size_t)n;
		} else if (errno == EPIPE || errno == ECONNRESET) {
			return gone();
		} else if (errno != EAGAIN && errno != EINTR) {
			return err_sys(errno, "send");
		} else if (!peer_wait(fd, POLLOUT, deadline)) {
			return err_new(ERR_TIMEOUT, "what is sent is not taken in time");
		}
	}
	return NULL;
}

struct err *peer_receive(int fd, struct buf *in, bool *ret)
{
	size_t len = in->len;
	ssize_t n = recv(fd, buf_extend(in, PIECE_BYTES), PIECE_BYTES, 0);
	int error = errno;

	in->len = len + (n > 0 ? (size_t)n : 0);
	in->data[in->len] = '\0';
	*ret = n > 0;
	if (n > 0 || (n < 0 && (error == EAGAIN || error == EINTR)))
		return NULL;
	return n == 0 || error == ECONNRESET ? gone() : err_sys(error, "receive");
}
