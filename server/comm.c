/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/comm.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cursor.h"

/* A peer that nothing is heard of is asked, and asked again: within a minute it is known to be gone. */
#define KEEP_IDLE_SECONDS 30
#define KEEP_INTERVAL_SECONDS 10
#define KEEP_PROBES 3

struct listener {
	int fd;
	char *name;
};

struct comm {
	struct listener *listeners;
	size_t n_listeners;
	char *path; /* of a unix socket, to be removed while it is this one: */
	dev_t dev;
	ino_t ino;
	int in, out; /* of stdio until they are taken; -1: none */
};

/* ---- parsing ---- */

static struct err *bad_comm(const char *text, const char *why)
{
	return err_new(ERR_USAGE, "COMM '%s': %s; it is :PORT, HOST:PORT, [ADDRESS]:PORT, unix:PATH or -", text, why);
}

static struct err *parse_unix(const char *text, const char *path, struct comm_spec *ret)
{
	if (!*path)
		return bad_comm(text, "the path is empty");
	if (strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
		return bad_comm(text, "a socket's path has at most 107 bytes");
	*ret = (struct comm_spec){ .kind = COMM_UNIX, .path = xstrdup(path) };
	return NULL;
}

/* What stands before the port: nothing, a name, an IPv4 address or [an IPv6 address]. */
static bool take_host(struct cursor *c, struct cursor *ret)
{
	if (cursor_take_char(c, '[')) {
		*ret = cursor_take_until(c, "]");
		return cursor_left(ret) && cursor_take_char(c, ']');
	}
	*ret = cursor_take_until(c, ":");
	return true;
}

static bool is_port(const struct cursor *c)
{
	char *text = cursor_dup(c);
	bool ok = *text && strlen(text) <= 5 && strspn(text, "0123456789") == strlen(text) && atoi(text) <= 65535;

	free(text);
	return ok;
}

struct err *comm_parse(const char *text, struct comm_spec *ret)
{
	struct cursor c = cursor_of_string(text);
	struct cursor host;

	if (!strcmp(text, "-")) {
		*ret = (struct comm_spec){ .kind = COMM_STDIO };
		return NULL;
	}
	if (cursor_take_string(&c, "unix:"))
		return parse_unix(text, c.at, ret);
	if (!take_host(&c, &host) || !cursor_take_char(&c, ':'))
		return bad_comm(text, "there is no port");
	if (!is_port(&c))
		return bad_comm(text, "the port is not a number from 0 to 65535");
	*ret = (struct comm_spec){ .kind = COMM_TCP,
				   .host = cursor_at_end(&host) ? NULL : cursor_dup(&host),
				   .port = cursor_dup(&c) };
	return NULL;
}

void comm_spec_deinit(struct comm_spec *spec)
{
	free(spec->host);
	free(spec->port);
	free(spec->path);
	*spec = (struct comm_spec){ 0 };
}

/* ---- TCP ---- */

static void add_listener(struct comm *c, int fd, char *name)
{
	c->listeners = xreallocarray(c->listeners, c->n_listeners + 1, sizeof(*c->listeners));
	c->listeners[c->n_listeners++] = (struct listener){ fd, name };
}

static bool is_loopback(const struct sockaddr *a)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)a;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)a;

	if (a->sa_family == AF_INET)
		return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
	return a->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

static char *address_name(const struct sockaddr *a, socklen_t bytes)
{
	char host[NI_MAXHOST], port[NI_MAXSERV];
	struct buf b = { 0 };

	if (getnameinfo(a, bytes, host, sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV))
		return xstrdup("?");
	buf_addf(&b, a->sa_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
	return buf_take(&b);
}

static char *bound_name(int fd, in_port_t *ret_port)
{
	struct sockaddr_storage a = { 0 };
	socklen_t bytes = sizeof(a);

	getsockname(fd, (struct sockaddr *)&a, &bytes);
	/* The port stands at the same place for both families. */
	*ret_port = ((struct sockaddr_in *)&a)->sin_port;
	return address_name((struct sockaddr *)&a, bytes);
}

static int listen_at(const struct addrinfo *a)
{
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1, saved;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	/* An IPv4 address has a socket of its own. */
	if (a->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (!bind(fd, a->ai_addr, a->ai_addrlen) && !listen(fd, 8))
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

/* Of several addresses those behind the first may be missing on this host. */
static struct err *open_address(struct comm *c, const struct addrinfo *a, bool any_port, in_port_t *port)
{
	int fd;

	/* Port 0 picked one at the first address; the others take the same. */
	if (c->n_listeners && any_port)
		((struct sockaddr_in *)a->ai_addr)->sin_port = *port;
	fd = listen_at(a);
	if (fd >= 0) {
		add_listener(c, fd, bound_name(fd, port));
		return NULL;
	}
	if (errno == EADDRNOTAVAIL || errno == EAFNOSUPPORT || (c->n_listeners && any_port))
		return NULL;
	return err_sys(errno, "listen");
}

static struct err *check_local(const struct addrinfo *list, bool allow_remote)
{
	for (const struct addrinfo *a = list; a && !allow_remote; a = a->ai_next) {
		char *name;
		struct err *e;

		if (is_loopback(a->ai_addr))
			continue;
		name = address_name(a->ai_addr, a->ai_addrlen);
		e = err_new(ERR_USAGE, "%s is no loopback address, and other machines could read and change the guest: "
			    "use :PORT, or --allow-remote if that is meant", name);
		free(name);
		return e;
	}
	return NULL;
}

/* Every address that a host name stands for. *port: what port 0 picked, 0 until it has. */
static struct err *open_host(struct comm *c, const char *host, const char *port_text, bool allow_remote,
			     in_port_t *port)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	struct addrinfo *list;
	int rc = getaddrinfo(host, port_text, &hints, &list);
	struct err *e;

	if (rc)
		return err_new(ERR_INVALID, "%s", gai_strerror(rc));
	e = check_local(list, allow_remote);
	for (const struct addrinfo *a = list; a && !e; a = a->ai_next)
		e = open_address(c, a, atoi(port_text) == 0, port);
	freeaddrinfo(list);
	return e;
}

/* getaddrinfo's own order for no host puts ::1 first; users expect 127.0.0.1 there. */
static struct err *open_tcp(struct comm *c, const struct comm_spec *spec, bool allow_remote)
{
	static const char *const loopback[] = { "127.0.0.1", "::1" };
	const char *const *hosts = spec->host ? (const char *const *)&spec->host : loopback;
	size_t n_hosts = spec->host ? 1 : ARRAY_LEN(loopback);
	struct err *e = NULL;
	in_port_t port = 0;

	for (size_t i = 0; i < n_hosts && !e; i++)
		e = open_host(c, hosts[i], spec->port, allow_remote, &port);
	if (!e && !c->n_listeners)
		e = err_new(ERR_INVALID, "this host has no such address");
	return err_prefix(e, "%s:%s", spec->host ? spec->host : "", spec->port);
}

/* ---- unix sockets ---- */

/* NULL when what stands at the path is the socket of a server that has died; it is removed. */
static struct err *remove_stale(int fd, const struct sockaddr_un *a)
{
	struct stat st;

	if (lstat(a->sun_path, &st))
		return err_sys(errno, "stat");
	if (!S_ISSOCK(st.st_mode))
		return err_new(ERR_INVALID, "it exists and is no socket");
	if (!connect(fd, (const struct sockaddr *)a, sizeof(*a)) || errno == EAGAIN)
		return err_new(ERR_BUSY, "another server is listening there");
	if (errno != ECONNREFUSED)
		return err_sys(errno, "connect");
	if (unlink(a->sun_path))
		return err_sys(errno, "remove the socket of a server that has died");
	return NULL;
}

/* The mode of a socket's inode becomes that of its file at bind(): no moment with another one. */
static int private_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd >= 0 && fchmod(fd, 0600)) {
		close(fd);
		return -1;
	}
	return fd;
}

static struct err *bind_unix(int fd, const struct sockaddr_un *a)
{
	int probe;
	struct err *e;

	if (!bind(fd, (const struct sockaddr *)a, sizeof(*a)))
		return NULL;
	if (errno != EADDRINUSE)
		return err_sys(errno, "bind");
	probe = private_socket();
	if (probe < 0)
		return err_sys(errno, "socket");
	e = remove_stale(probe, a);
	close(probe);
	if (!e && bind(fd, (const struct sockaddr *)a, sizeof(*a)))
		e = err_sys(errno, "bind");
	return e;
}

static struct err *open_unix(struct comm *c, const struct comm_spec *spec)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct buf name = { 0 };
	struct stat st = { 0 };
	struct err *e;
	int fd = private_socket();

	if (fd < 0)
		return err_sys(errno, "socket");
	memcpy(a.sun_path, spec->path, strlen(spec->path));
	e = bind_unix(fd, &a);
	if (!e && (listen(fd, 8) || lstat(spec->path, &st)))
		e = err_sys(errno, "listen");
	if (e) {
		close(fd);
		return err_prefix(e, "unix:%s", spec->path);
	}
	c->path = xstrdup(spec->path);
	c->dev = st.st_dev;
	c->ino = st.st_ino;
	buf_addf(&name, "unix:%s", spec->path);
	add_listener(c, fd, buf_take(&name));
	return NULL;
}

static void remove_own_socket(const struct comm *c)
{
	struct stat st;

	if (c->path && !lstat(c->path, &st) && st.st_dev == c->dev && st.st_ino == c->ino)
		unlink(c->path);
}

/* ---- stdio ---- */

static struct err *open_stdio(struct comm *c, struct inherited *inherited)
{
	c->in = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	c->out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	if (c->in < 0 || c->out < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		return err_sys(errno, "standard input and output");
	inherited_claim(inherited, STDIN_FILENO);
	inherited_claim(inherited, STDOUT_FILENO);
	return NULL;
}

/* ---- the interface ---- */

struct err *comm_open(const struct comm_spec *spec, bool allow_remote, struct inherited *inherited, struct comm **ret)
{
	struct comm *c = xcalloc(1, sizeof(*c));
	struct err *e = NULL;

	c->in = c->out = -1;
	switch (spec->kind) {
	case COMM_TCP:
		e = open_tcp(c, spec, allow_remote);
		break;
	case COMM_UNIX:
		e = open_unix(c, spec);
		break;
	case COMM_STDIO:
		e = open_stdio(c, inherited);
		break;
	}
	if (e) {
		comm_destroy(c);
		return e;
	}
	*ret = c;
	return NULL;
}

static void close_if_open(int fd)
{
	if (fd >= 0)
		close(fd);
}

void comm_destroy(struct comm *c)
{
	if (!c)
		return;
	remove_own_socket(c);
	for (size_t i = 0; i < c->n_listeners; i++) {
		close(c->listeners[i].fd);
		free(c->listeners[i].name);
	}
	close_if_open(c->in);
	close_if_open(c->out);
	free(c->listeners);
	free(c->path);
	free(c);
}

size_t comm_count(const struct comm *c)
{
	return c->n_listeners;
}

int comm_fd(const struct comm *c, size_t i)
{
	return c->listeners[i].fd;
}

const char *comm_name(const struct comm *c, size_t i)
{
	return c->listeners[i].name;
}

static void name_client(const struct comm *c, size_t i, const struct sockaddr *a, socklen_t bytes,
			struct comm_client *ret)
{
	char *name = c->path ? xstrdup(c->listeners[i].name) : address_name(a, bytes);

	snprintf(ret->name, sizeof(ret->name), "%s", name);
	free(name);
}

static void set_option(int fd, int level, int name, int value)
{
	setsockopt(fd, level, name, &value, sizeof(value));
}

/* A peer whose machine died would hold the guest paused for ever. */
static void keep_alive(int fd)
{
	set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_SECONDS);
	set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEP_INTERVAL_SECONDS);
	set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEP_PROBES);
}

struct err *comm_accept(struct comm *c, size_t i, struct comm_client *ret)
{
	struct sockaddr_storage a = { 0 };
	socklen_t bytes = sizeof(a);
	int fd = accept4(c->listeners[i].fd, (struct sockaddr *)&a, &bytes, SOCK_CLOEXEC);

	if (fd < 0)
		return err_sys(errno, "accept");
	if (!c->path) {
		set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
		keep_alive(fd);
	}
	ret->in = ret->out = fd;
	name_client(c, i, (struct sockaddr *)&a, bytes, ret);
	return NULL;
}

bool comm_take_stdio(struct comm *c, struct comm_client *ret)
{
	if (c->in < 0)
		return false;
	ret->in = c->in;
	ret->out = c->out;
	snprintf(ret->name, sizeof(ret->name), "standard input");
	c->in = c->out = -1;
	return true;
}

void comm_close_client(struct comm_client *client)
{
	close(client->in);
	if (client->out != client->in)
		close(client->out);
	client->in = client->out = -1;
}
