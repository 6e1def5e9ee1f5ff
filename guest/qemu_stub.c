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
#include "guest/proc.h"
#include "guest/qemu_keeper.h"
#include "guest/qemu_run.h"

/* QEMU's name of its stub's chardev; ours has it too, so that others see it. */
#define CHARDEV "gdb"
#define FD_NAME "vmgdbserver-gdb"
/* Of the private directory; tells a stub of ours that outlived us from an owner's. */
#define DIR_PREFIX "vmgdbserver-"
/* Of a stop that has been answered by QMP. */
#define STOP_MS 1000u
#define LEFT_TRIES 50u
#define LEFT_WAIT_US 20000u

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

static void find_label(const struct json_object *list, const char *label, struct found *ret)
{
	for (size_t i = 0; !ret->exists && i < qmp_array_len(list); i++) {
		struct json_object *dev = json_object_array_get_idx(list, i);

		if (!strcmp(qmp_string(dev, "label"), label))
			read_filename(qmp_string(dev, "filename"), ret);
	}
}

/* What is behind the last -gdb of QEMU's command line, if it names a chardev; else NULL. Caller frees it. */
static char *read_option(pid_t pid)
{
	static const char prefix[] = "chardev:";
	struct buf text = { 0 };
	struct err *e = proc_read(&text, "/proc/%d/cmdline", pid);
	const char *option = "", *label = NULL;
	char *ret;

	for (size_t at = 0; !e && at < text.len; at += strlen(text.data + at) + 1) {
		const char *word = text.data + at;

		if (!strcmp(option, "-gdb") || !strcmp(option, "--gdb"))
			label = strncmp(word, prefix, strlen(prefix)) ? NULL : word + strlen(prefix);
		option = word;
	}
	err_destroy(e);
	ret = label ? xstrdup(label) : NULL;
	buf_deinit(&text);
	return ret;
}

static struct err *find(struct qmp *q, struct found *ret)
{
	struct json_object *list;
	struct err *e = qmp_execute(q, "query-chardev", NULL, &list);
	char *option;

	if (e)
		return e;
	find_label(list, CHARDEV, ret);
	option = qmp_pid(q) ? read_option(qmp_pid(q)) : NULL;
	if (option)
		find_label(list, option, ret);
	free(option);
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

/* ---- starting one ---- */

struct listener {
	char dir[64];
	char path[80];
	int fd;
};

/* The path in the place of a stub of ours; NULL: it is another's, or at a port. */
static const char *own_path(const char *place)
{
	static const char prefix[] = "unix:/tmp/" DIR_PREFIX;

	return strncmp(place, prefix, strlen(prefix)) ? NULL : place + strlen("unix:");
}

/* "/tmp/vmgdbserver-XXXXXX/gdb": of its listener, which needs it until we have connected. */
static void remove_name(const char *path)
{
	char *dir = xstrndup(path, (size_t)(strrchr(path, '/') - path));

	unlink(path);
	rmdir(dir);
	free(dir);
}

static void listener_close(struct listener *l)
{
	if (l->fd >= 0)
		close(l->fd);
	remove_name(l->path);
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

static struct err *give_listener(struct qmp *q, int fd)
{
	struct err *e = qmp_send_fd(q, FD_NAME, fd);

	if (e)
		return e;
	e = qmp_run(q, "chardev-add", chardev_arguments());
	return e ? e : gdbserver(q, "chardev:" CHARDEV, "Waiting for gdb");
}

static void set_place(struct qemu_stub *s, const char *place)
{
	free(s->place);
	s->place = xstrdup(place);
	s->ours = true;
	snprintf(s->debt->stub, sizeof(s->debt->stub), "%s", place);
}

/* Whoever reaches QMP's own TCP port of this machine can do no more by this one. */
static struct err *start_on_loopback(struct qmp *q, struct qemu_stub *s)
{
	struct found now = { 0 };
	struct err *e;

	if (!qmp_is_local(q))
		return err_new(ERR_UNSUPPORTED, "no gdbstub runs, and none is started that other machines could reach; "
						"its owner may: gdbserver tcp:ADDRESS:PORT");
	set_place(s, "tcp:127.0.0.1:");
	e = gdbserver(q, "tcp:127.0.0.1:0", "Waiting for gdb");
	if (!e)
		e = find(q, &now);
	if (!e && now.exists)
		set_place(s, now.place);
	free(now.place);
	return e ? e : stub_connect(s->place, &s->stub);
}

static struct err *start(struct qmp *q, struct qemu_stub *s)
{
	struct listener l;
	char place[sizeof("unix:") + sizeof(l.path)];
	struct err *e;

	if (qmp_host(q))
		return start_on_loopback(q, s);
	e = listener_open(&l);
	if (e)
		return e;
	snprintf(place, sizeof(place), "unix:%s", l.path);
	set_place(s, place);
	e = give_listener(q, l.fd);
	if (!e)
		e = stub_connect(place, &s->stub);
	listener_close(&l);
	return e;
}

/* ---- ending it ---- */

static struct err *find_at(struct qmp *q, const char *place, bool *ret)
{
	struct found now = { 0 };
	struct err *e = find(q, &now);

	if (!e)
		*ret = now.exists && !strncmp(now.place, place, strlen(place));
	free(now.place);
	return e;
}

/* Undoes a step of starting one, if it was made. */
static void undo(struct qmp *q, const char *command, const char *key, const char *value)
{
	struct json_object *arguments = json_object_new_object();

	json_object_object_add(arguments, key, json_object_new_string(value));
	err_destroy(qmp_run(q, command, arguments));
}

struct err *qemu_stub_end(struct qmp *q, const char *place)
{
	bool there = false;
	struct err *e = find_at(q, place, &there);

	if (own_path(place))
		remove_name(own_path(place));
	if (!e && !there)
		undo(q, "closefd", "fdname", FD_NAME);
	if (e || !there)
		return e;
	e = gdbserver(q, "none", "Disabled");
	if (!e)
		e = find_at(q, place, &there);
	if (!e && there)
		undo(q, "chardev-remove", "id", CHARDEV);
	return e;
}

/* ---- the owner's ---- */

/* One of ours whose processes were killed: its socket has no name any more, so nobody can connect. */
static bool is_orphan(const char *place)
{
	const char *path = own_path(place);

	return path && access(path, F_OK) && errno == ENOENT;
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
		err_destroy(qemu_stub_end(q, now.place));
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

void qemu_stub_open(struct qmp *q, const struct arch *arch, unsigned n_vcpus, struct qemu_debt *debt,
		    struct qemu_stub *ret)
{
	struct qemu_stub s = { .debt = debt };
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
	struct err *e = NULL;

	disconnect(s);
	if (s->ours) {
		e = qemu_stub_end(q, s->place);
		if (!e)
			*s->debt->stub = '\0';
	}
	if (e)
		log_debug("%s", err_text(e));
	err_destroy(e);
	qemu_stub_leave(s);
}

void qemu_stub_leave(struct qemu_stub *s)
{
	disconnect(s);
	free(s->place);
	free(s->why);
	*s = (struct qemu_stub){ 0 };
}

/* ---- what was left in it ---- */

static struct err *check_ready(struct qmp *q)
{
	struct qemu_status status;
	struct err *e = qemu_status_ask(q, &status);

	return e ? e : qemu_check_ready(&status);
}

/* By the stub: QEMU 8.1 and later tell stops of no other run. */
static struct err *run_all(struct stub *stub)
{
	enum run_action *all_continue = xcalloc(stub_vcpus(stub), sizeof(*all_continue));
	struct err *e = stub_run(stub, all_continue);

	free(all_continue);
	return e;
}

/* That it is over is seen by the stop reply, which names the chosen vCPU or one that has stopped by itself. */
struct err *qemu_stub_end_step(struct qmp *q, struct qemu_stub *s, unsigned vcpu)
{
	struct guest_event ev = { .kind = GUEST_EVENT_NONE };
	struct err *e = NULL;

	for (unsigned tries = 0; !e && tries <= stub_vcpus(s->stub); tries++) {
		e = check_ready(q);
		if (!e)
			e = stub_choose(s->stub, vcpu);
		if (!e)
			e = run_all(s->stub);
		if (!e)
			e = qmp_run(q, "stop", NULL);
		if (!e)
			e = stub_wait(s->stub, STOP_MS, &ev);
		if (!e)
			e = qmp_drop_events(q);
		if (ev.kind == GUEST_EVENT_STOPPED && ev.vcpu == vcpu)
			break;
	}
	return e;
}

/* QEMU may not have seen yet that the client has gone. */
static struct err *open_left(struct qmp *q, struct qemu_stub *s)
{
	struct err *e = open_stub(q, s);

	for (unsigned i = 0; e && err_code(e) == ERR_BUSY && i < LEFT_TRIES; i++) {
		struct qemu_debt *debt = s->debt;

		err_destroy(e);
		qemu_stub_leave(s);
		s->debt = debt;
		usleep(LEFT_WAIT_US);
		e = open_stub(q, s);
	}
	return e;
}

struct err *qemu_stub_disarm(struct qmp *q, struct qemu_debt *debt, bool steps)
{
	struct qemu_stub s = { .debt = debt };
	struct err *e = open_left(q, &s);

	if (!e)
		e = stub_clear_breakpoints(s.stub);
	for (unsigned i = 0; !e && steps && i < stub_vcpus(s.stub); i++)
		e = qemu_stub_end_step(q, &s, i);
	qemu_stub_close(q, &s);
	return e;
}

/* ---- its loss ---- */

struct err *qemu_stub_check(struct qemu_stub *s, struct err *e)
{
	if (!e || (err_code(e) != ERR_GONE && err_code(e) != ERR_TIMEOUT && err_code(e) != ERR_INVALID &&
		   err_code(e) != ERR_SYSTEM))
		return e;
	disconnect(s);
	say_why(s, err_prefix(e, "QEMU's gdbstub is lost"));
	return NULL;
}
