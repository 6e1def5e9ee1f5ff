/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/qmp.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "guest/peer.h"
#include "guest/step.h"

#define GREETING_MS 5000u
#define COMMAND_MS 20000u
/* Of a QEMU that has not answered the last command. */
#define HUNG_MS 1000u
/* The longest answers are texts of some MiB: info mtree of a large machine. */
#define MESSAGE_MAX_BYTES (64u << 20)
#define MAX_DEPTH 64
/* Events that nobody has asked for are dropped from the oldest on. */
#define MAX_EVENTS 1024u
/* Above every one that the original has used. */
#define TAKEN_OVER_ID (1ll << 32)

struct qmp {
	int fd;
	char *address; /* as it was given, for messages */
	char *host;    /* of a TCP connection, or NULL */
	pid_t pid;
	unsigned timeout_ms;
	bool hung; /* nothing has come since a time-out */
	bool taken_over;
	bool lost; /* what comes may begin inside of a message */
	struct json_tokener *tokener;
	struct buf in;        /* what the tokener has not seen */
	size_t message_bytes; /* seen of the message that is not whole yet */
	struct json_object *events[MAX_EVENTS];
	size_t n_events;
	unsigned n_unplugs;
	int64_t last_id;
};

/* ---- connecting ---- */

static struct err *open_connection(struct qmp *q)
{
	struct err *e = peer_connect(q->address, peer_now_ms() + GREETING_MS, &q->fd);
	struct sockaddr_storage addr;
	socklen_t bytes = sizeof(addr), n = sizeof(struct ucred);
	struct ucred peer = { 0 };
	char host[NI_MAXHOST];

	if (e)
		return err_prefix(e, "QMP at %s", q->address);
	if (getpeername(q->fd, (struct sockaddr *)&addr, &bytes))
		return err_sys(errno, "QMP at %s", q->address);
	if (addr.ss_family == AF_UNIX) {
		q->pid = getsockopt(q->fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) ? 0 : peer.pid;
		return NULL;
	}
	if (getnameinfo((struct sockaddr *)&addr, bytes, host, sizeof(host), NULL, 0, NI_NUMERICHOST))
		return err_new(ERR_INVALID, "QMP at %s: its address has no number", q->address);
	q->host = xstrdup(host);
	return NULL;
}

/* ---- messages ---- */

/* Of sending and receiving; takes NULL. */
static struct err *explain(const struct qmp *q, struct err *e)
{
	if (!e || err_code(e) != ERR_GONE)
		return err_prefix(e, "QMP at %s", q->address);
	err_destroy(e);
	return err_new(ERR_GONE, "QMP at %s: QEMU has closed the connection, so it has exited", q->address);
}

static struct err *not_qmp(const struct qmp *q, const char *why)
{
	return err_new(ERR_INVALID, "%s does not speak QMP: %s; QEMU makes a socket that does with -qmp", q->address,
		       why);
}

/* QEMU begins a line with a brace for a message and, however it is set out, for nothing inside of one. */
static bool find_message(struct qmp *q)
{
	const char *at;

	if (!q->lost)
		return true;
	at = memmem(q->in.data, q->in.len, "\n{", 2);
	buf_drop(&q->in, at ? (size_t)(at - q->in.data) + 1 : q->in.len - 1);
	q->lost = !at;
	return at;
}

/* The next whole message of what has been received; NULL: there is none. Caller ends it. */
static struct err *take_message(struct qmp *q, struct json_object **ret)
{
	enum json_tokener_error problem;
	struct json_object *o;

	*ret = NULL;
	if (!q->in.len || !find_message(q))
		return NULL;
	o = json_tokener_parse_ex(q->tokener, q->in.data, (int)q->in.len);
	problem = json_tokener_get_error(q->tokener);
	q->message_bytes += json_tokener_get_parse_end(q->tokener);
	buf_drop(&q->in, json_tokener_get_parse_end(q->tokener));
	if (problem == json_tokener_continue && q->message_bytes <= MESSAGE_MAX_BYTES)
		return NULL;
	if (problem == json_tokener_continue)
		return err_new(ERR_INVALID, "QMP at %s: a message of over %u MiB", q->address, MESSAGE_MAX_BYTES >> 20);
	if (problem != json_tokener_success)
		return not_qmp(q, json_tokener_error_desc(problem));
	q->message_bytes = 0;
	q->hung = false;
	if (!json_object_is_type(o, json_type_object)) {
		json_object_put(o);
		return not_qmp(q, "a message is no object");
	}
	*ret = o;
	return NULL;
}

static void keep_event(struct qmp *q, struct json_object *o)
{
	q->n_unplugs += !strcmp(qmp_string(o, "event"), "DEVICE_DELETED");
	if (q->n_events == MAX_EVENTS) {
		json_object_put(q->events[0]);
		memmove(q->events, q->events + 1, (MAX_EVENTS - 1) * sizeof(*q->events));
		q->n_events--;
	}
	q->events[q->n_events++] = o;
}

/* The next message that is no event. *ret NULL: none has been received. */
static struct err *take_answer(struct qmp *q, struct json_object **ret)
{
	for (;;) {
		struct err *e = take_message(q, ret);

		if (e || !*ret || !json_object_object_get_ex(*ret, "event", NULL))
			return e;
		keep_event(q, *ret);
	}
}

/* Waits for it; what names it in the error. */
static struct err *wait_answer(struct qmp *q, const char *what, unsigned timeout_ms, struct json_object **ret)
{
	int64_t deadline = peer_now_ms() + timeout_ms;
	bool some;

	for (;;) {
		struct err *e = take_answer(q, ret);

		if (e || *ret)
			return e;
		/* Events that never end do not make it wait for ever. */
		q->hung = peer_now_ms() >= deadline || !peer_wait(q->fd, POLLIN, deadline);
		if (q->hung)
			return err_new(ERR_TIMEOUT, "QMP at %s: no %s within %g s", q->address, what,
				       timeout_ms / 1000.0);
		e = explain(q, peer_receive(q->fd, &q->in, &some));
		if (e)
			return e;
	}
}

/* The first byte of what is sent, and a descriptor with it. */
static struct err *send_first(struct qmp *q, char first, int fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .header = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	struct iovec iov = { &first, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control.bytes) };

	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	if (sendmsg(q->fd, &msg, MSG_NOSIGNAL) != 1)
		return err_sys(errno, "cannot pass a descriptor");
	step_point("front", "descriptor");
	return NULL;
}

/* fd -1: none goes with it. */
static struct err *send_text(struct qmp *q, const char *text, int fd)
{
	int64_t deadline = peer_now_ms() + q->timeout_ms;
	struct err *e = fd < 0 ? NULL : send_first(q, *text++, fd);

	if (!e)
		e = peer_send(q->fd, text, strlen(text), deadline);
	step_point("front", "command");
	return explain(q, e);
}

/* ---- commands ---- */

/* An answer without an id is QEMU's word on something that it could not parse: to us, if nobody else has sent it. */
static bool is_answer_to(const struct qmp *q, const struct json_object *o, int64_t id)
{
	struct json_object *value;

	return json_object_object_get_ex(o, "id", &value) ? json_object_get_int64(value) == id : !q->taken_over;
}

static struct err *read_answer(struct qmp *q, const char *command, struct json_object *o, struct json_object **ret)
{
	struct json_object *value;

	if (json_object_object_get_ex(o, "return", &value)) {
		*ret = json_object_get(value);
		return NULL;
	}
	if (json_object_object_get_ex(o, "error", &value))
		return err_new(ERR_UNSUPPORTED, "QMP %s: %s: %s", command, qmp_string(value, "class"),
			       qmp_string(value, "desc"));
	return not_qmp(q, "an answer has neither a return nor an error");
}

static unsigned patience_ms(const struct qmp *q)
{
	return q->hung ? MIN(q->timeout_ms, HUNG_MS) : q->timeout_ms;
}

static struct err *wait_answer_to(struct qmp *q, const char *command, int64_t id, struct json_object **ret)
{
	struct buf what = { 0 };
	struct json_object *o;
	struct err *e;

	buf_addf(&what, "answer to %s", command);
	do {
		e = wait_answer(q, buf_str(&what), patience_ms(q), &o);
		if (e || is_answer_to(q, o, id))
			break;
		/* What comes too late for a command that was given up. */
		json_object_put(o);
	} while (true);
	buf_deinit(&what);
	step_point("front", "answer");
	if (e)
		return e;
	e = read_answer(q, command, o, ret);
	json_object_put(o);
	return e;
}

static struct err *execute(struct qmp *q, const char *command, struct json_object *arguments, int fd,
			   struct json_object **ret)
{
	struct json_object *o = json_object_new_object();
	struct buf line = { 0 };
	int64_t id = ++q->last_id;
	struct err *e;

	json_object_object_add(o, "execute", json_object_new_string(command));
	if (arguments)
		json_object_object_add(o, "arguments", arguments);
	json_object_object_add(o, "id", json_object_new_int64(id));
	buf_addf(&line, "%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
	json_object_put(o);
	e = send_text(q, buf_str(&line), fd);
	buf_deinit(&line);
	return e ? e : wait_answer_to(q, command, id, ret);
}

struct err *qmp_execute(struct qmp *q, const char *command, struct json_object *arguments, struct json_object **ret)
{
	return execute(q, command, arguments, -1, ret);
}

struct err *qmp_run(struct qmp *q, const char *command, struct json_object *arguments)
{
	struct json_object *nothing;
	struct err *e = qmp_execute(q, command, arguments, &nothing);

	if (!e)
		json_object_put(nothing);
	return e;
}

struct err *qmp_send_fd(struct qmp *q, const char *name, int fd)
{
	struct json_object *arguments, *nothing;
	struct err *e;

	if (q->host)
		return err_new(ERR_UNSUPPORTED, "QMP at %s: no descriptor can be passed over TCP", q->address);
	arguments = json_object_new_object();
	json_object_object_add(arguments, "fdname", json_object_new_string(name));
	e = execute(q, "getfd", arguments, fd, &nothing);
	if (!e)
		json_object_put(nothing);
	return e;
}

struct err *qmp_hmp(struct qmp *q, int vcpu, const char *line, char **ret)
{
	struct json_object *arguments = json_object_new_object(), *text;
	struct err *e;

	json_object_object_add(arguments, "command-line", json_object_new_string(line));
	if (vcpu >= 0)
		json_object_object_add(arguments, "cpu-index", json_object_new_int(vcpu));
	e = qmp_execute(q, "human-monitor-command", arguments, &text);
	if (e)
		return err_prefix(e, "%s", line);
	if (json_object_is_type(text, json_type_string))
		*ret = xstrdup(json_object_get_string(text));
	else
		e = not_qmp(q, "a monitor command's answer is no text");
	json_object_put(text);
	return e;
}

/* Keeps the events of what has been received; answers that nobody waits for are too late. */
static struct err *sort_messages(struct qmp *q)
{
	for (;;) {
		struct json_object *late;
		struct err *e = take_answer(q, &late);

		if (e || !late)
			return e;
		json_object_put(late);
	}
}

struct err *qmp_next_event(struct qmp *q, struct json_object **ret)
{
	struct err *e = sort_messages(q);
	bool some = true;

	while (!e && some && !q->n_events) {
		e = explain(q, peer_receive(q->fd, &q->in, &some));
		if (!e)
			e = sort_messages(q);
	}
	if (e)
		return e;
	*ret = NULL;
	if (q->n_events) {
		*ret = q->events[0];
		memmove(q->events, q->events + 1, --q->n_events * sizeof(*q->events));
	}
	return NULL;
}

unsigned qmp_unplugs(const struct qmp *q)
{
	return q->n_unplugs;
}

struct err *qmp_drop_events(struct qmp *q)
{
	for (;;) {
		struct json_object *o;
		struct err *e = qmp_next_event(q, &o);

		if (e || !o)
			return e;
		json_object_put(o);
	}
}

/* ---- all of it ---- */

static struct err *negotiate(struct qmp *q)
{
	struct json_object *greeting;
	struct err *e = wait_answer(q, "greeting", GREETING_MS, &greeting);

	if (e && err_code(e) == ERR_TIMEOUT)
		return err_suffix(e, "; a QMP socket serves one client at a time: another has it, or QEMU hangs "
				     "(a QEMU takes several -qmp)");
	if (e)
		return e;
	if (!json_object_object_get_ex(greeting, "QMP", NULL))
		e = not_qmp(q, "its first message is no greeting");
	json_object_put(greeting);
	return e ? e : qmp_run(q, "qmp_capabilities", NULL);
}

struct err *qmp_connect(const char *address, struct qmp **ret)
{
	struct qmp *q = xcalloc(1, sizeof(*q));
	struct err *e;

	q->fd = -1;
	q->address = xstrdup(address);
	q->timeout_ms = COMMAND_MS;
	q->tokener = json_tokener_new_ex(MAX_DEPTH);
	e = open_connection(q);
	if (!e)
		e = negotiate(q);
	if (e) {
		qmp_close(q);
		return e;
	}
	*ret = q;
	return NULL;
}

/* QEMU parses what follows an impossible byte afresh, and answers it at once: from that on lines are whole. */
struct err *qmp_take_over(struct qmp *q)
{
	q->lost = q->taken_over = true;
	q->timeout_ms = UINT_MAX;
	q->last_id = TAKEN_OVER_ID;
	return send_text(q, "\xff\n", -1);
}

void qmp_close(struct qmp *q)
{
	if (!q)
		return;
	for (size_t i = 0; i < q->n_events; i++)
		json_object_put(q->events[i]);
	if (q->fd >= 0)
		close(q->fd);
	json_tokener_free(q->tokener);
	buf_deinit(&q->in);
	free(q->host);
	free(q->address);
	free(q);
}

int qmp_fd(const struct qmp *q)
{
	return q->fd;
}

pid_t qmp_pid(const struct qmp *q)
{
	return q->pid;
}

const char *qmp_host(const struct qmp *q)
{
	return q->host;
}

bool qmp_is_local(const struct qmp *q)
{
	return !q->host || !strcmp(q->host, "::1") || !strncmp(q->host, "127.", 4);
}

void qmp_set_timeout(struct qmp *q, unsigned ms)
{
	q->timeout_ms = ms;
}

size_t qmp_array_len(const struct json_object *o)
{
	return json_object_is_type(o, json_type_array) ? json_object_array_length(o) : 0;
}

const char *qmp_string(const struct json_object *o, const char *key)
{
	struct json_object *value;

	if (!json_object_object_get_ex(o, key, &value) || !json_object_is_type(value, json_type_string))
		return "";
	return json_object_get_string(value);
}
