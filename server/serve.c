/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/serve.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "rsp/rsp.h"
#include "server/refuse.h"
#include "server/target.h"

/* What a pipe that poll calls writable takes without blocking: POSIX's PIPE_BUF here. */
#define PIPE_BYTES 4096u
#define CATCH_UP_READS 16

struct server;

struct listener {
	struct server *server;
	size_t i;
};

struct client {
	struct comm_client conn;
	struct rsp_session *session; /* NULL: there is no client */
	struct target *target;       /* NULL: it has none */
	struct loop_source *reader, *writer;
};

struct server {
	struct serve_config config;
	struct target *given;   /* of the command line; NULL: none */
	struct target *targets; /* all: that one, and those that clients attached to */
	struct refusals *refusals;
	struct listener *listeners;
	struct client client;
	bool held;         /* no client has come yet to a guest that waits for one */
	bool leaving;      /* quit as soon as no dump runs */
	struct err *error; /* what serve_run() returns */
};

/* ---- targets ---- */

static bool dumping(const struct server *s)
{
	for (const struct target *t = s->targets; t; t = t->next)
		if (monitor_dumping(t->monitor))
			return true;
	return false;
}

/* Takes t off the list; what was attached to is let go of. */
static void drop_target(struct server *s, struct target *t)
{
	struct target **link = &s->targets;
	struct guest *g = t == s->given ? NULL : t->guest;

	while (*link != t)
		link = &(*link)->next;
	*link = t->next;
	target_destroy(t);
	guest_destroy(g);
}

/* Whatever no client and no dump uses any more. */
static void drop_unused(struct server *s)
{
	struct target *t = s->targets;

	while (t) {
		struct target *next = t->next;

		if (t != s->given && t != s->client.target && !monitor_dumping(t->monitor))
			drop_target(s, t);
		t = next;
	}
}

/* The client goes from the target that it has, if any, to t, which is entered, or NULL. */
static void switch_target(struct server *s, struct target *t)
{
	struct target *old = s->client.target;

	s->client.target = t;
	if (old)
		target_leave(old);
	drop_unused(s);
}

/* ---- the end of a client, and of all ---- */

static void quit_if_done(struct server *s)
{
	if (s->leaving && !dumping(s))
		loop_quit(s->config.loop);
}

static void warn(struct err *e)
{
	if (e)
		log_warn("%s", err_text(e));
	err_destroy(e);
}

static void close_client(struct server *s)
{
	struct client *c = &s->client;

	if (!c->session)
		return;
	log_debug("client %s has left", c->conn.name);
	/* A monitor command that it waits for is told to the session. */
	if (c->target)
		monitor_cancel(c->target->monitor);
	rsp_session_destroy(c->session);
	loop_remove(c->reader);
	loop_remove(c->writer);
	comm_close_client(&c->conn);
	switch_target(s, NULL);
	*c = (struct client){ 0 };
	s->leaving |= s->config.once || !comm_count(s->config.comm);
	quit_if_done(s);
}

/* Takes over e, NULL for a good end. */
static void quit(struct server *s, struct err *e)
{
	close_client(s);
	if (s->error)
		err_destroy(e);
	else
		s->error = e;
	for (struct target *t = s->targets; t; t = t->next)
		monitor_cancel_dump(t->monitor);
	loop_quit(s->config.loop);
}

/* ---- bytes ---- */

static ssize_t send_some(int fd, const struct buf *out)
{
	ssize_t n = send(fd, out->data, out->len, MSG_DONTWAIT | MSG_NOSIGNAL);
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	if (n >= 0 || errno != ENOTSOCK)
		return n;
	/* O_NONBLOCK would be shared with whoever else has this pipe or terminal. */
	if (poll(&p, 1, 0) == 0) {
		errno = EAGAIN;
		return -1;
	}
	return write(fd, out->data, MIN(out->len, PIPE_BYTES));
}

/* False when the connection is broken. */
static bool flush(struct client *c)
{
	struct buf *out = rsp_session_output(c->session);

	while (out->len) {
		ssize_t n = send_some(c->conn.out, out);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		buf_drop(out, (size_t)n);
	}
	return true;
}

/* A client that does not read its replies is not listened to. */
static void update_events(struct client *c)
{
	loop_set_events(c->reader, rsp_session_full(c->session) ? 0 : POLLIN);
	loop_set_events(c->writer, rsp_session_output(c->session)->len ? POLLOUT : 0);
}

/* After anything that may have made output; the client may be gone behind it. */
static void service_client(struct server *s)
{
	struct client *c = &s->client;

	if (!c->session)
		return;
	if (!flush(c)) {
		close_client(s);
		return;
	}
	/* What it answers now is sent in the loop's next turn: others have theirs before. */
	rsp_session_sent(c->session);
	if (rsp_session_ended(c->session) && !rsp_session_output(c->session)->len)
		close_client(s);
	else
		update_events(c);
}

static void on_readable(void *arg, short revents)
{
	struct server *s = arg;
	char data[65536];
	ssize_t n = read(s->client.conn.in, data, sizeof(data));

	(void)revents;
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n > 0)
		rsp_session_input(s->client.session, data, (size_t)n);
	service_client(s);
	if (n <= 0)
		close_client(s);
}

static void on_writable(void *arg, short revents)
{
	(void)revents;
	service_client(arg);
}

/* ---- gdb's monitor ---- */

static void monitor_output(void *arg, const char *text, size_t bytes)
{
	struct server *s = arg;

	rsp_session_console(s->client.session, text, bytes);
	update_events(&s->client);
}

static void monitor_done(void *arg, struct err *e)
{
	struct server *s = arg;

	rsp_session_monitor_done(s->client.session, e);
	update_events(&s->client);
}

static void on_monitor(void *arg, struct rsp_session *session, const char *command)
{
	struct server *s = arg;
	struct monitor_client client = { .output = monitor_output,
					 .done = monitor_done,
					 .progress = PROGRESS_LINES,
					 .arg = s };

	(void)session;
	monitor_run(s->client.target->monitor, &client, command);
}

/* A client is told while its guest runs: at any other time it listens to answers alone. */
static void on_dump_ended(void *arg, const char *line, bool failed)
{
	struct server *s = arg;
	struct client *c = &s->client;

	(void)failed;
	log_warn("%s", line);
	if (c->session && rsp_session_running(c->session)) {
		rsp_session_console(c->session, line, strlen(line));
		rsp_session_console(c->session, "\n", 1);
		update_events(c);
	}
	quit_if_done(s);
}

/* ---- the guest ---- */

/* An attached target has gone, or cannot be served any more; the client may go on. Takes over e. */
static void lose_target(struct server *s, struct target *t, struct err *e)
{
	const struct guest_event gone = { .kind = GUEST_EVENT_GONE };

	warn(err_prefix(e, "%s", t->name));
	monitor_cancel_dump(t->monitor);
	if (s->client.target == t) {
		rsp_session_event(s->client.session, &gone);
		rsp_session_forget_guest(s->client.session);
		switch_target(s, NULL);
		service_client(s);
	} else {
		drop_target(s, t);
	}
}

static void on_event(void *arg, struct target *t, const struct guest_event *ev, struct err *e)
{
	struct server *s = arg;

	if (!e && ev->kind == GUEST_EVENT_GONE)
		e = err_new(ERR_GONE, "its VMM has exited");
	if (e && t != s->given) {
		lose_target(s, t, e);
		return;
	}
	if (s->client.target == t) {
		rsp_session_event(s->client.session, ev);
		service_client(s);
	}
	if (e)
		quit(s, err_prefix(e, "%s", t->name));
}

static struct target *add_target(struct server *s, struct guest *g, pid_t pid, const char *name)
{
	struct target_config config = { .loop = s->config.loop,
					.inherited = s->config.inherited,
					.event = on_event,
					.dump_ended = on_dump_ended,
					.arg = s };
	struct target *t = target_create(&config, g, pid, name);

	t->next = s->targets;
	s->targets = t;
	return t;
}

/* ---- gdb's attach and detach ---- */

static struct err *find_target(struct server *s, pid_t pid, struct target **ret)
{
	struct guest *g = NULL;
	struct err *e;
	char name[32];

	for (*ret = s->targets; *ret; *ret = (*ret)->next)
		if ((*ret)->pid == pid)
			return NULL;
	if (!s->config.attach)
		return err_new(ERR_UNSUPPORTED, "this server is for one guest; one with --multi attaches to others");
	e = s->config.attach(s->config.arg, pid, &g);
	if (e)
		return e;
	snprintf(name, sizeof(name), "process %d", (int)pid);
	*ret = add_target(s, g, pid, name);
	return NULL;
}

static struct err *on_attach(void *arg, pid_t pid, struct guest **ret)
{
	struct server *s = arg;
	struct target *t = NULL;
	struct err *e = find_target(s, pid, &t);

	if (!e)
		e = target_enter(t);
	if (e) {
		drop_unused(s);
		return e;
	}
	switch_target(s, t);
	*ret = t->guest;
	return NULL;
}

static void on_detach(void *arg)
{
	switch_target(arg, NULL);
}

/* ---- clients ---- */

static struct err *open_client(struct server *s, const struct comm_client *conn)
{
	struct rsp_host host = { .monitor = on_monitor, .attach = on_attach, .detach = on_detach, .arg = s };
	struct client *c = &s->client;
	struct err *e = s->given ? target_enter(s->given) : NULL;

	if (e)
		return e;
	if (s->held)
		warn(hold_drop(&s->given->hold));
	s->held = false;
	log_debug("client %s", conn->name);
	c->conn = *conn;
	c->target = s->given;
	c->session = rsp_session_create(s->config.guest, &host);
	c->reader = loop_add_fd(s->config.loop, conn->in, POLLIN, on_readable, s);
	c->writer = loop_add_fd(s->config.loop, conn->out, 0, on_writable, s);
	return NULL;
}

static void admit_client(struct server *s, struct comm_client *conn)
{
	struct err *e = open_client(s, conn);

	if (!e)
		return;
	comm_close_client(conn);
	if (err_code(e) == ERR_GONE || !comm_count(s->config.comm))
		quit(s, err_prefix(e, "%s", s->given->name));
	else
		warn(err_prefix(e, "client %s", conn->name));
}

/*
 * A client that leaves and comes again at once may be seen to come first: hear
 * the one that is here out, as far as it has something to say.
 */
static void catch_up(struct server *s)
{
	for (int i = 0; i < CATCH_UP_READS && s->client.session; i++) {
		struct pollfd p = { .fd = s->client.conn.in, .events = POLLIN };

		if (rsp_session_full(s->client.session) || poll(&p, 1, 0) <= 0)
			break;
		on_readable(s, p.revents);
	}
}

static void on_listener(void *arg, short revents)
{
	struct listener *l = arg;
	struct server *s = l->server;
	struct comm_client conn;
	struct err *e = comm_accept(s->config.comm, l->i, &conn);

	(void)revents;
	if (e) {
		/* A client that has left again is nobody's concern. */
		if (err_errno(e) == EAGAIN || err_errno(e) == ECONNABORTED)
			err_destroy(e);
		else
			warn(e);
		return;
	}
	catch_up(s);
	if (!s->client.session && !s->leaving) {
		admit_client(s, &conn);
		return;
	}
	log_warn("refused client %s: %s is being served", conn.name,
		 s->client.session ? s->client.conn.name : "the last one");
	refusals_add(s->refusals, &conn, "vmgdbserver serves another client; it takes one at a time");
}

static void on_signal(void *arg, int signo)
{
	log_debug("signal %d: detaching", signo);
	quit(arg, NULL);
}

/* ---- all of it ---- */

static void listen_to_all(struct server *s)
{
	size_t n = comm_count(s->config.comm);

	s->listeners = xcalloc(n, sizeof(*s->listeners));
	for (size_t i = 0; i < n; i++) {
		s->listeners[i] = (struct listener){ s, i };
		loop_add_fd(s->config.loop, comm_fd(s->config.comm, i), POLLIN, on_listener, &s->listeners[i]);
		/* In gdbserver's words: programs wait for this line. */
		fprintf(stderr, "Listening on %s\n", comm_name(s->config.comm, i));
	}
}

struct err *serve_run(const struct serve_config *config)
{
	struct server s = { .config = *config };
	struct comm_client conn;
	struct err *e = loop_add_signals(config->loop, on_signal, &s);

	if (e)
		return e;
	if (config->guest)
		s.given = add_target(&s, config->guest, config->pid, config->target);
	s.held = config->held;
	if (s.held)
		hold_adopt(&s.given->hold);
	s.refusals = refusals_create(config->loop);
	listen_to_all(&s);
	if (comm_take_stdio(config->comm, &conn))
		admit_client(&s, &conn);
	loop_run(config->loop);
	close_client(&s);
	while (s.targets)
		drop_target(&s, s.targets);
	refusals_destroy(s.refusals);
	free(s.listeners);
	return s.error;
}
