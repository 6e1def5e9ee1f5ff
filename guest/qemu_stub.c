/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/qemu_stub.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/log.h"

/* QEMU's name of its stub's chardev; ours has it too, so that others see it. */
#define CHARDEV "gdb"
#define FD_NAME "vmgdbserver-gdb"
/* Of the private directory; tells a stub of ours that outlived us from an owner's. */
#define DIR_PREFIX "vmgdbserver-"

/* ---- what QEMU says of its stub ---- */

struct found {
	bool exists;
	bool free;
	char *place; /* "unix:PATH", "tcp:HOST:PORT" or something else; NULL when there is none */
};

/* "disconnected:unix:/path,server=on" */
static void read_filename(const char *filename, struct found *ret)
{
	static const char prefix[] = "disconnected:";
	const char *end = NULL;

	ret->exists = true;
	ret->free = !strncmp(filename, prefix, strlen(prefix));
	if (ret->free)
		filename += strlen(prefix);
	for (const char *p = filename; (p = strstr(p, ",server")); p++)
		end = p;
	ret->place = end ? xstrndup(filename, (size_t)(end - filename)) : xstrdup(filename);
}

static struct err *find(struct qmp *q, struct found *ret)
{
	struct json_object *list;
	struct err *e = qmp_execute(q, "query-chardev", NULL, &list);

	if (e)
		return e;
	for (size_t i = 0; !ret->exists && i < qmp_array_len(list); i++) {
		struct json_object *dev = json_object_array_get_idx(list, i);

		if (!strcmp(qmp_string(dev, "label"), CHARDEV))
			read_filename(qmp_string(dev, "filename"), ret);
	}
	json_object_put(list);
	return NULL;
}

/* HMP's gdbserver command; QMP reports success whatever it says. */
static struct err *gdbserver(struct qmp *q, const char *device, const char *success)
{
	struct buf line = { 0 };
	char *text;
	struct err *e;

	buf_addf(&line, "gdbserver %s", device);
	e = qmp_hmp(q, -1, buf_str(&line), &text);
	buf_deinit(&line);
	if (e)
		return e;
	if (!strstr(text, success))
		e = err_new(ERR_UNSUPPORTED, "QEMU starts no gdbstub: %.*s", (int)strcspn(text, "\r\n"), text);
	free(text);
	return e;
}

static void end_ours(struct qmp *q, const char *place)
{
	struct found now = { 0 };
	struct err *e = find(q, &now);

	if (!e && now.exists && !strcmp(now.place, place))
		e = gdbserver(q, "none", "Disabled");
	if (e)
		log_debug("%s", err_text(e));
	err_destroy(e);
	free(now.place);
}

/* ---- starting one ---- */

struct listener {
	char dir[64];
	char path[80];
	int fd;
};

static void listener_close(struct listener *l)
{
	if (l->fd >= 0)
		close(l->fd);
	unlink(l->path);
	rmdir(l->dir);
}

/* A socket that nobody but this user reaches, wherever QEMU runs and whoever it is. */
static struct err *listener_open(struct listener *ret)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct listener l = { .dir = "/tmp/" DIR_PREFIX "XXXXXX" };
	int error;

	if (!mkdtemp(l.dir))
		return err_sys(errno, "cannot make a directory %s", l.dir);
	snprintf(l.path, sizeof(l.path), "%s/" CHARDEV, l.dir);
	memcpy(addr.sun_path, l.path, sizeof(l.path));
	l.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (l.fd < 0 || bind(l.fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(l.fd, 1)) {
		error = errno;
		listener_close(&l);
		return err_sys(error, "cannot listen at %s", l.path);
	}
	*ret = l;
	return NULL;
}

/* {"id": CHARDEV, "backend": a server socket whose descriptor is FD_NAME} */
static struct json_object *chardev_arguments(void)
{
	struct json_object *o = json_object_new_object(), *backend = json_object_new_object();
	struct json_object *data = json_object_new_object(), *addr = json_object_new_object();
	struct json_object *str = json_object_new_object();

	json_object_object_add(str, "str", json_object_new_string(FD_NAME));
	json_object_object_add(addr, "type", json_object_new_string("fd"));
	json_object_object_add(addr, "data", str);
	json_object_object_add(data, "addr", addr);
	json_object_object_add(data, "server", json_object_new_boolean(true));
	json_object_object_add(data, "wait", json_object_new_boolean(false));
	json_object_object_add(backend, "type", json_object_new_string("socket"));
	json_object_object_add(backend, "data", data);
	json_object_object_add(o, "id", json_object_new_string(CHARDEV));
	json_object_object_add(o, "backend", backend);
	return o;
}

/* Tries to undo a step; that it fails as well tells nothing more. */
static void undo(struct qmp *q, const char *command, const char *key, const char *value)
{
	struct json_object *arguments = json_object_new_object();

	json_object_object_add(arguments, key, json_object_new_string(value));
	err_destroy(qmp_run(q, command, arguments));
}

static struct err *give_listener(struct qmp *q, int fd)
{
	struct err *e = qmp_send_fd(q, FD_NAME, fd);

	if (e)
		return e;
	e = qmp_run(q, "chardev-add", chardev_arguments());
	if (e) {
		undo(q, "closefd", "fdname", FD_NAME);
		return e;
	}
	e = gdbserver(q, "chardev:" CHARDEV, "Waiting for gdb");
	if (e)
		undo(q, "chardev-remove", "id", CHARDEV);
	return e;
}

/* Whoever reaches QMP's own TCP port of this machine can do no more by this one. */
static struct err *start_on_loopback(struct qmp *q, struct qemu_stub *s)
{
	bool v6 = !strcmp(qmp_host(q), "::1");
	struct found now = { 0 };
	struct err *e;

	if (!v6 && strncmp(qmp_host(q), "127.", 4))
		return err_new(ERR_UNSUPPORTED, "no gdbstub runs, and none is started that other machines could reach; "
						"its owner may: gdbserver tcp:ADDRESS:PORT");
	e = gdbserver(q, v6 ? "tcp:[::1]:0" : "tcp:127.0.0.1:0", "Waiting for gdb");
	if (!e)
		e = find(q, &now);
	if (e)
		return e;
	s->ours = true;
	s->place = now.place ? now.place : xstrdup("");
	return stub_connect(s->place, &s->stub);
}

static struct err *start(struct qmp *q, struct qemu_stub *s)
{
	struct listener l;
	struct buf place = { 0 };
	struct err *e;

	if (qmp_host(q))
		return start_on_loopback(q, s);
	e = listener_open(&l);
	if (e)
		return e;
	e = give_listener(q, l.fd);
	if (!e) {
		buf_addf(&place, "unix:%s", l.path);
		s->ours = true;
		s->place = buf_take(&place);
		e = stub_connect(s->place, &s->stub);
	}
	listener_close(&l);
	return e;
}

/* ---- the owner's ---- */

/* One of ours whose process was killed: its socket has no name any more, so nobody can connect. */
static bool is_orphan(const char *place)
{
	const char prefix[] = "unix:/tmp/" DIR_PREFIX;

	return !strncmp(place, prefix, strlen(prefix)) && access(place + strlen("unix:"), F_OK) && errno == ENOENT;
}

/* A path is QEMU's, which may have another root and another working directory. */
static struct err *connect_path(struct qmp *q, const char *path, struct stub **ret)
{
	struct buf other = { 0 };
	struct err *e, *first = NULL;

	buf_addf(&other, "unix:%s", path);
	e = *path == '/' ? stub_connect(buf_str(&other), ret) : NULL;
	if ((e || *path != '/') && qmp_pid(q)) {
		first = e;
		buf_reset(&other);
		buf_addf(&other, "unix:/proc/%d/%s%s", qmp_pid(q), *path == '/' ? "root" : "cwd/", path);
		e = stub_connect(buf_str(&other), ret);
	}
	buf_deinit(&other);
	if (!e || !first) {
		err_destroy(first);
		return e;
	}
	err_destroy(e);
	return first;
}

/* tcp:HOST:PORT, whose host may be any address of QEMU's machine. */
static struct err *connect_port(struct qmp *q, const char *place, struct stub **ret)
{
	const char *port = strrchr(place, ':'), *host = qmp_host(q);
	struct buf address = { 0 };
	struct err *e;

	if (!strncmp(place, "tcp:0.0.0.0:", 12) || !strncmp(place, "tcp:[::]:", 9)) {
		host = host ? host : place[4] == '[' ? "::1" : "127.0.0.1";
		buf_addf(&address, strchr(host, ':') ? "tcp:[%s]%s" : "tcp:%s%s", host, port);
	} else {
		buf_adds(&address, place);
	}
	e = stub_connect(buf_str(&address), ret);
	buf_deinit(&address);
	return e;
}

static struct err *connect_owners(struct qmp *q, struct qemu_stub *s)
{
	if (!strncmp(s->place, "unix:", 5))
		return connect_path(q, s->place + 5, &s->stub);
	if (!strncmp(s->place, "tcp:", 4))
		return connect_port(q, s->place, &s->stub);
	return err_new(ERR_UNSUPPORTED, "QEMU's gdbstub is at %s, which can be no client's", s->place);
}

/* ---- all of it ---- */

static struct err *open_stub(struct qmp *q, struct qemu_stub *s)
{
	struct found now = { 0 };
	struct err *e = find(q, &now);

	if (e)
		return e;
	if (now.exists && now.free && is_orphan(now.place)) {
		end_ours(q, now.place);
		now.exists = false;
	}
	if (!now.exists) {
		free(now.place);
		return start(q, s);
	}
	s->place = now.place;
	return now.free ? connect_owners(q, s) :
			  err_new(ERR_BUSY, "QEMU's gdbstub at %s is in use by another client", s->place);
}

static struct err *check_stub(struct qemu_stub *s, const struct arch *arch, unsigned n_vcpus)
{
	unsigned n = stub_vcpus(s->stub);

	if (n != n_vcpus)
		return err_new(ERR_UNSUPPORTED, "QEMU's gdbstub tells of %u vCPUs, QMP of %u", n, n_vcpus);
	return stub_map_registers(s->stub, arch);
}

static void disconnect(struct qemu_stub *s)
{
	stub_close(s->stub, false);
	s->stub = NULL;
}

static void say_why(struct qemu_stub *s, struct err *e)
{
	free(s->why);
	s->why = xstrdup(err_text(e));
	log_debug("%s", s->why);
	err_destroy(e);
}

void qemu_stub_open(struct qmp *q, const struct arch *arch, unsigned n_vcpus, struct qemu_stub *ret)
{
	struct qemu_stub s = { 0 };
	struct err *e = open_stub(q, &s);

	if (!e)
		e = check_stub(&s, arch, n_vcpus);
	if (e) {
		qemu_stub_close(q, &s);
		say_why(&s, e);
	}
	*ret = s;
}

void qemu_stub_close(struct qmp *q, struct qemu_stub *s)
{
	disconnect(s);
	if (s->ours)
		end_ours(q, s->place);
	free(s->place);
	free(s->why);
	*s = (struct qemu_stub){ 0 };
}

struct err *qemu_stub_check(struct qemu_stub *s, struct err *e)
{
	if (!e || (err_code(e) != ERR_GONE && err_code(e) != ERR_TIMEOUT && err_code(e) != ERR_INVALID &&
		   err_code(e) != ERR_SYSTEM))
		return e;
	disconnect(s);
	say_why(s, err_prefix(e, "QEMU's gdbstub is lost"));
	return NULL;
}
