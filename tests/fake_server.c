/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * Serves tests/fake_guest over standard input and output, for
 * `target remote | fake_server [--debug]`. Monitor commands: "echo TEXT",
 * "fail", "slow" (says something at once and ends a moment later) and "trap"
 * (the next continue runs into a trap on vCPU 1).
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "rsp/rsp.h"
#include "tests/fake_guest.h"

#define SLOW_MS 200

struct server {
	struct guest *guest;
	struct rsp_session *session;
	bool slow;
	bool trap;
};

static void monitor(void *arg, struct rsp_session *s, const char *command)
{
	struct server *srv = arg;

	if (!strncmp(command, "echo ", 5)) {
		rsp_session_console(s, command + 5, strlen(command + 5));
		rsp_session_console(s, "\n", 1);
	} else if (!strcmp(command, "slow")) {
		rsp_session_console(s, "wait\n", 5);
		srv->slow = true;
		return;
	} else if (!strcmp(command, "trap")) {
		srv->trap = true;
	} else {
		rsp_session_monitor_done(s, err_new(ERR_USAGE, "%s: no such command", command));
		return;
	}
	rsp_session_monitor_done(s, NULL);
}

static struct err *attach(void *arg, pid_t pid, struct guest **ret)
{
	(void)arg;
	(void)ret;
	return err_new(ERR_UNSUPPORTED, "process %d: the fake guest is no process", (int)pid);
}

static void detach(void *arg)
{
	(void)arg;
}

static bool flush_output(struct rsp_session *s)
{
	struct buf *out = rsp_session_output(s);

	while (out->len) {
		ssize_t n = write(STDOUT_FILENO, out->data, out->len);

		if (n < 0 && errno != EINTR)
			return false;
		buf_drop(out, n < 0 ? 0 : (size_t)n);
		if (!out->len)
			rsp_session_sent(s);
	}
	return true;
}

static bool read_input(struct rsp_session *s)
{
	char piece[4096];
	ssize_t n = read(STDIN_FILENO, piece, sizeof(piece));

	if (n > 0)
		rsp_session_input(s, piece, (size_t)n);
	return n > 0;
}

static void raise_trap(struct server *srv)
{
	const struct guest_event ev = { .kind = GUEST_EVENT_STOPPED, .vcpu = 1, .signal = 5 };

	srv->trap = false;
	fake_raise(srv->guest, &ev);
}

static void take_event(struct server *srv)
{
	struct guest_event ev;
	struct err *e = guest_poll(srv->guest, &ev);

	if (!e)
		rsp_session_event(srv->session, &ev);
	err_destroy(e);
}

/* False when the connection is over. */
static bool serve_once(struct server *srv)
{
	struct pollfd fds[] = {
		{ .fd = STDIN_FILENO, .events = POLLIN },
		{ .fd = guest_poll_fd(srv->guest), .events = POLLIN },
	};

	if (!flush_output(srv->session) || rsp_session_ended(srv->session))
		return false;
	if (srv->trap && rsp_session_running(srv->session))
		raise_trap(srv);
	if (poll(fds, ARRAY_LEN(fds), srv->slow ? SLOW_MS : -1) == 0) {
		srv->slow = false;
		rsp_session_monitor_done(srv->session, NULL);
	}
	if (fds[1].revents)
		take_event(srv);
	return !fds[0].revents || read_input(srv->session);
}

int main(int argc, char **argv)
{
	struct server srv = { .guest = fake_guest_create(2) };
	const struct rsp_host host = { monitor, attach, detach, &srv };

	log_set_debug(argc > 1 && !strcmp(argv[1], "--debug"));
	srv.session = rsp_session_create(srv.guest, &host);
	while (serve_once(&srv))
		;
	rsp_session_destroy(srv.session);
	guest_destroy(srv.guest);
	return 0;
}
