/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <check.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "guest/qmp.h"
#include "tests/suite.h"

/*
 * A QMP server in a child process that follows a script. Each line of it:
 * ">TEXT" sends, "<TEXT" waits for a command that has TEXT in it, "!" closes at
 * once. At the end it waits until the client has left.
 */
#define GREETING "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 1, \"minor\": 2, \"major\": 7}}, \"capabilities\": []}}\r\n"
#define READY_SO_FAR ">" GREETING, "<qmp_capabilities", ">{\"return\": {}, \"id\": 1}"
#define READY READY_SO_FAR "\r\n"
#define MAX_STEPS 16

#define SILENT_MS 200u
#define EVENT_MS 5000

struct server {
	char dir[32];
	char address[80];
	int fd;
	pid_t pid;
};

/* ---- the server's half ---- */

static void must(bool ok)
{
	if (!ok)
		_exit(1);
}

static void send_all(int fd, const char *text, size_t bytes)
{
	while (bytes) {
		ssize_t n = send(fd, text, bytes, MSG_NOSIGNAL);

		must(n > 0);
		text += n;
		bytes -= (size_t)n;
	}
}

static void expect_command(int fd, const char *want)
{
	char line[4096] = "";
	size_t n = 0;

	while (!n || line[n - 1] != '\n') {
		must(n < sizeof(line) - 1 && recv(fd, line + n, 1, 0) == 1);
		n++;
	}
	must(strstr(line, want));
}

static void wait_for_end(int fd)
{
	char c;

	while (recv(fd, &c, 1, 0) > 0)
		;
}

static void play(int fd, const char *const *script)
{
	for (; *script; script++) {
		if (**script == '!')
			return;
		if (**script == '>')
			send_all(fd, *script + 1, strlen(*script + 1));
		else
			expect_command(fd, *script + 1);
	}
	wait_for_end(fd);
}

/* The same, a byte at a time. A client may leave before the white space behind its answer. */
static void play_bytes(int fd, const char *const *script)
{
	for (; *script; script++) {
		if (**script == '<')
			expect_command(fd, *script + 1);
		else
			for (const char *p = *script + 1; *p; p++)
				must(send(fd, p, 1, MSG_NOSIGNAL) == 1 || strchr("\r\n", *p));
	}
	wait_for_end(fd);
}

/* ---- the test's half ---- */

static void server_listen(struct server *s)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	strcpy(s->dir, "/tmp/check-qmp-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(s->dir));
	snprintf(s->address, sizeof(s->address), "unix:%s/qmp", s->dir);
	strcpy(addr.sun_path, s->address + 5);
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(s->fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	ck_assert_int_eq(listen(s->fd, 1), 0);
	s->pid = 0;
}

static void server_fork(struct server *s, void (*run)(int fd, const char *const *script), const char *const *script)
{
	s->pid = fork();
	ck_assert_int_ge(s->pid, 0);
	if (!s->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		run(accept(s->fd, NULL, NULL), script);
		_exit(0);
	}
}

static void server_start(struct server *s, const char *const *script)
{
	server_listen(s);
	server_fork(s, play, script);
}

/* It has come to the end of its script. */
static void server_end(struct server *s)
{
	int status = 0;

	if (s->pid) {
		ck_assert_int_eq(waitpid(s->pid, &status, 0), s->pid);
		ck_assert_int_eq(status, 0);
	}
	close(s->fd);
	unlink(s->address + 5);
	rmdir(s->dir);
}

static struct qmp *connect_to(const struct server *s)
{
	struct qmp *q = NULL;
	struct err *e = qmp_connect(s->address, &q);

	ck_assert_msg(!e, "%s", e ? err_text(e) : "");
	return q;
}

static void expect_error(struct err *e, enum err_code code, const char *text)
{
	ck_assert_ptr_nonnull(e);
	ck_assert_msg(err_code(e) == code, "code %d: %s", err_code(e), err_text(e));
	ck_assert_msg(strstr(err_text(e), text) != NULL, "'%s' lacks '%s'", err_text(e), text);
	ck_assert_ptr_null(strchr(err_text(e), '\n'));
	err_destroy(e);
}

/* name NULL: none has come. One that is expected may still be on its way. */
static void expect_event(struct qmp *q, const char *name)
{
	struct pollfd p = { .fd = qmp_fd(q), .events = POLLIN };
	struct json_object *o = NULL;

	do {
		struct err *e = qmp_next_event(q, &o);

		ck_assert_ptr_null(e);
	} while (name && !o && poll(&p, 1, EVENT_MS) == 1);
	if (name)
		ck_assert_str_eq(qmp_string(o, "event"), name);
	else
		ck_assert_ptr_null(o);
	json_object_put(o);
}

/* ---- what goes well ---- */

static const struct {
	const char *script[MAX_STEPS];
	const char *text; /* of the "return" of query-x, as JSON */
	const char *event; /* one that has come by then, or NULL */
} good[] = {
	{ { READY, "<query-x", ">{\"return\": {\"a\": 1}, \"id\": 2}\r\n" }, "{\"a\":1}", NULL },
	/* -mon pretty=on */
	{ { READY, "<query-x", ">{\n    \"return\": [\n        1,\n        2\n    ],\n    \"id\": 2\n}\n" }, "[1,2]", NULL },
	{ { ">{\"event\": \"EARLY\"}\n", READY, "<query-x", ">{\"return\": 3, \"id\": 2}" }, "3", "EARLY" },
	{ { READY, "<query-x", ">{\"event\": \"E\"}\r\n{\"return\": 4, \"id\": 2}\r\n" }, "4", "E" },
	{ { READY, "<query-x", ">{\"return\": 5, \"id\": 2}\r\n{\"event\": \"E\"}\r\n" }, "5", "E" },
	{ { READY, "<query-x", ">{\"return\": \"late\", \"id\": 1}{\"return\": 6, \"id\": 2}" }, "6", NULL },
	{ { READY, "<query-x", ">{\"return\": 7}\r\n" }, "7", NULL },
	{ { READY, "<query-x", ">{\"return\": \"\\u00e9\\n\", \"id\": 2}\r\n" }, "\"\xc3\xa9\\n\"", NULL },
};

static void check_good(int i, void (*run)(int fd, const char *const *script))
{
	struct json_object *o = NULL;
	struct server s;
	struct qmp *q;

	server_listen(&s);
	server_fork(&s, run, good[i].script);
	q = connect_to(&s);
	ck_assert_ptr_null(qmp_execute(q, "query-x", NULL, &o));
	ck_assert_str_eq(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN), good[i].text);
	json_object_put(o);
	if (good[i].event)
		expect_event(q, good[i].event);
	expect_event(q, NULL);
	qmp_close(q);
	server_end(&s);
}

START_TEST(test_good)
{
	check_good(_i, play);
}
END_TEST

START_TEST(test_byte_at_a_time)
{
	check_good(_i, play_bytes);
}
END_TEST

/* What the other process has left unread, QEMU's word on the byte that it did not expect, and the answer. */
#define NOT_JSON "{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error\"}}\r\n"
#define TAKEN_OVER "<\xff", ">" NOT_JSON, "<query-x", ">{\"return\": \"late\", \"id\": 2}\r\n{\"return\": 7, \"id\": 4294967297}\r\n"

static const struct {
	const char *script[MAX_STEPS];
	const char *event;
} taken_over[] = {
	{ { READY, TAKEN_OVER }, NULL },
	{ { READY, ">{\"return\": 1, \"id\": 2}\r\n", TAKEN_OVER }, NULL },
	{ { READY, ">\r\n", TAKEN_OVER }, NULL },
	{ { READY, ">: {\"a\": {}}}, \"id\": 2}\r\n{\"event\": \"E\"}\r\n", TAKEN_OVER }, "E" },
	/* The rest of a line, the beginning of which has been read. */
	{ { READY_SO_FAR, ">{\"b\": 1}}}\r\n{\"return\": 2, \"id\": 2}\r\n", TAKEN_OVER }, NULL },
	{ { READY, ">  1\n    ],\n    \"id\": 2\n}\n{\n    \"event\": \"E\"\n}\n", TAKEN_OVER }, "E" },
	{ { READY, TAKEN_OVER, ">{\"event\": \"E\"}\n" }, "E" },
};

static void check_taken_over(int i, void (*run)(int fd, const char *const *script))
{
	struct json_object *o = NULL;
	struct server s;
	struct qmp *q;

	server_listen(&s);
	server_fork(&s, run, taken_over[i].script);
	q = connect_to(&s);
	ck_assert_ptr_null(qmp_take_over(q));
	ck_assert_ptr_null(qmp_execute(q, "query-x", NULL, &o));
	ck_assert_int_eq(json_object_get_int(o), 7);
	json_object_put(o);
	if (taken_over[i].event)
		expect_event(q, taken_over[i].event);
	expect_event(q, NULL);
	qmp_close(q);
	server_end(&s);
}

START_TEST(test_taken_over)
{
	check_taken_over(_i, play);
}
END_TEST

START_TEST(test_taken_over_byte_at_a_time)
{
	check_taken_over(_i, play_bytes);
}
END_TEST

START_TEST(test_commands)
{
	static const char *const script[] = {
		READY,
		"<\"arguments\":{\"command-line\":\"info \\\"x\\\"\"},\"id\":2",
		">{\"return\": \"text\\r\\n\", \"id\": 2}",
		"<\"arguments\":{\"command-line\":\"info y\",\"cpu-index\":3},\"id\":3",
		">{\"return\": \"\", \"id\": 3}",
		"<{\"execute\":\"stop\",\"id\":4}",
		">{\"return\": {}, \"id\": 4}",
		NULL,
	};
	struct server s;
	struct qmp *q;
	char *text;

	server_start(&s, script);
	q = connect_to(&s);
	ck_assert_int_eq(qmp_pid(q), getpid());
	ck_assert_ptr_null(qmp_host(q));
	ck_assert_ptr_null(qmp_hmp(q, -1, "info \"x\"", &text));
	ck_assert_str_eq(text, "text\r\n");
	free(text);
	ck_assert_ptr_null(qmp_hmp(q, 3, "info y", &text));
	ck_assert_str_eq(text, "");
	free(text);
	ck_assert_ptr_null(qmp_run(q, "stop", NULL));
	qmp_close(q);
	server_end(&s);
}
END_TEST

static void play_long(int fd, const char *const *script)
{
	static char text[3 << 20];

	(void)script;
	send_all(fd, GREETING, strlen(GREETING));
	expect_command(fd, "qmp_capabilities");
	send_all(fd, "{\"return\": {}}", 14);
	expect_command(fd, "info mtree");
	memset(text, 'x', sizeof(text));
	send_all(fd, "{\"id\": 2, \"return\": \"", 21);
	send_all(fd, text, sizeof(text));
	send_all(fd, "\"}", 2);
	wait_for_end(fd);
}

START_TEST(test_long_text)
{
	struct server s;
	struct qmp *q;
	char *text;

	server_listen(&s);
	server_fork(&s, play_long, NULL);
	q = connect_to(&s);
	ck_assert_ptr_null(qmp_hmp(q, -1, "info mtree", &text));
	ck_assert_uint_eq(strlen(text), 3 << 20);
	ck_assert_uint_eq(strspn(text, "x"), 3 << 20);
	free(text);
	qmp_close(q);
	server_end(&s);
}
END_TEST

/* ---- events ---- */

START_TEST(test_events_without_a_command)
{
	static const char *const script[] = { READY, ">{\"event\": \"A\"}\r\n{\"event\": \"B\"}\r\n{\"eve", "!", NULL };
	struct json_object *o;
	struct server s;
	struct qmp *q;

	server_start(&s, script);
	q = connect_to(&s);
	server_end(&s);
	expect_event(q, "A");
	expect_event(q, "B");
	expect_error(qmp_next_event(q, &o), ERR_GONE, "QEMU");
	expect_error(qmp_next_event(q, &o), ERR_GONE, "QEMU");
	qmp_close(q);
}
END_TEST

static void play_many_events(int fd, const char *const *script)
{
	char line[64];

	(void)script;
	send_all(fd, GREETING, strlen(GREETING));
	expect_command(fd, "qmp_capabilities");
	for (int i = 0; i < 3000; i++) {
		snprintf(line, sizeof(line), "{\"event\": \"E%d\"}\r\n", i);
		send_all(fd, line, strlen(line));
	}
	send_all(fd, "{\"return\": {}}\r\n", 16);
	wait_for_end(fd);
}

START_TEST(test_old_events_are_dropped)
{
	struct json_object *o = NULL;
	char last[16] = "";
	struct server s;
	struct qmp *q;
	int n = 0;

	server_listen(&s);
	server_fork(&s, play_many_events, NULL);
	q = connect_to(&s);
	while (!qmp_next_event(q, &o) && o) {
		n++;
		snprintf(last, sizeof(last), "%s", qmp_string(o, "event"));
		json_object_put(o);
	}
	ck_assert_int_ge(n, 100);
	ck_assert_int_lt(n, 3000);
	ck_assert_str_eq(last, "E2999");
	qmp_close(q);
	server_end(&s);
}
END_TEST

static void play_flood(int fd, const char *const *script)
{
	static const char event[] = "{\"event\": \"E\"}\r\n";

	(void)script;
	send_all(fd, GREETING, strlen(GREETING));
	expect_command(fd, "qmp_capabilities");
	send_all(fd, "{\"return\": {}}\r\n", 16);
	while (send(fd, event, strlen(event), MSG_NOSIGNAL) > 0)
		;
}

START_TEST(test_events_are_no_answer)
{
	struct json_object *o;
	struct server s;
	struct qmp *q;

	server_listen(&s);
	server_fork(&s, play_flood, NULL);
	q = connect_to(&s);
	qmp_set_timeout(q, SILENT_MS);
	expect_error(qmp_execute(q, "query-x", NULL, &o), ERR_TIMEOUT, "query-x");
	qmp_close(q);
	server_end(&s);
}
END_TEST

/* ---- what goes wrong at a command ---- */

static const struct {
	const char *script[MAX_STEPS];
	enum err_code code;
	const char *text;
} bad[] = {
	{ { READY, "<query-x", ">{\"id\": 2, \"error\": {\"class\": \"CommandNotFound\", \"desc\": \"no such\"}}" },
	  ERR_UNSUPPORTED, "QMP query-x: CommandNotFound: no such" },
	{ { READY, "<query-x", ">{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error\"}}" },
	  ERR_UNSUPPORTED, "GenericError: JSON parse error" },
	{ { READY, "<query-x", ">{\"error\": 7, \"id\": 2}" }, ERR_UNSUPPORTED, "query-x" },
	{ { READY, "<query-x" }, ERR_TIMEOUT, "query-x" },
	{ { READY, "<query-x", ">{\"return\": {\"a\": " }, ERR_TIMEOUT, "query-x" },
	{ { READY, "<query-x", ">{\"return\": 1, \"id\": 1}" }, ERR_TIMEOUT, "query-x" },
	{ { READY, "<query-x", "!" }, ERR_GONE, "has exited" },
	{ { READY, "<query-x", ">{\"return\": {\"a\": ", "!" }, ERR_GONE, "has exited" },
	{ { READY, "<query-x", ">garbage\n" }, ERR_INVALID, "does not speak QMP" },
	{ { READY, "<query-x", ">{\"return\": }" }, ERR_INVALID, "does not speak QMP" },
	{ { READY, "<query-x", ">[1, 2]\n" }, ERR_INVALID, "no object" },
	{ { READY, "<query-x", ">7\n" }, ERR_INVALID, "no object" },
	{ { READY, "<query-x", ">{\"id\": 2}\n" }, ERR_INVALID, "neither" },
	{ { READY, "<query-x", ">[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[" }, ERR_INVALID,
	  "does not speak QMP" },
};

START_TEST(test_bad)
{
	struct json_object *o = NULL;
	struct server s;
	struct qmp *q;

	server_start(&s, bad[_i].script);
	q = connect_to(&s);
	if (bad[_i].code == ERR_TIMEOUT)
		qmp_set_timeout(q, SILENT_MS);
	expect_error(qmp_execute(q, "query-x", NULL, &o), bad[_i].code, bad[_i].text);
	ck_assert_ptr_null(o);
	qmp_close(q);
	server_end(&s);
}
END_TEST

START_TEST(test_a_late_answer_is_not_the_next)
{
	static const char *const script[] = { READY,
					      "<query-x",
					      "<query-y",
					      ">{\"return\": 2, \"id\": 2}\r\n{\"return\": 3, \"id\": 3}\r\n",
					      NULL };
	struct json_object *o;
	struct server s;
	struct qmp *q;

	server_start(&s, script);
	q = connect_to(&s);
	qmp_set_timeout(q, SILENT_MS);
	expect_error(qmp_execute(q, "query-x", NULL, &o), ERR_TIMEOUT, "query-x");
	qmp_set_timeout(q, 20000);
	ck_assert_ptr_null(qmp_execute(q, "query-y", NULL, &o));
	ck_assert_int_eq(json_object_get_int(o), 3);
	json_object_put(o);
	qmp_close(q);
	server_end(&s);
}
END_TEST

static void play_endless_string(int fd, const char *const *script)
{
	static char text[1 << 20];

	(void)script;
	memset(text, 'x', sizeof(text));
	send_all(fd, "{\"QMP\": \"", 9);
	while (send(fd, text, sizeof(text), MSG_NOSIGNAL) > 0)
		;
}

START_TEST(test_endless_message)
{
	struct server s;
	struct qmp *q;

	server_listen(&s);
	server_fork(&s, play_endless_string, NULL);
	expect_error(qmp_connect(s.address, &q), ERR_INVALID, "64 MiB");
	server_end(&s);
}
END_TEST

/* ---- what goes wrong at the start ---- */

static const struct {
	const char *script[MAX_STEPS];
	enum err_code code;
	const char *text;
} bad_starts[] = {
	{ { "!" }, ERR_GONE, "has exited" },
	{ { ">{\"QMP\": ", "!" }, ERR_GONE, "has exited" },
	{ { ">QEMU 7.2.0 monitor - type 'help' for more information\r\n(qemu) " }, ERR_INVALID, "does not speak QMP" },
	{ { ">SSH-2.0-OpenSSH_9.2\r\n" }, ERR_INVALID, "does not speak QMP" },
	{ { ">\x01\x02\xff\xfe" }, ERR_INVALID, "does not speak QMP" },
	{ { ">{\"return\": {}}" }, ERR_INVALID, "no greeting" },
	{ { ">" GREETING, "<qmp_capabilities", "!" }, ERR_GONE, "has exited" },
	{ { ">" GREETING, "<qmp_capabilities", ">{\"error\": {\"class\": \"C\", \"desc\": \"d\"}}" }, ERR_UNSUPPORTED, "C: d" },
};

START_TEST(test_bad_start)
{
	struct server s;
	struct qmp *q;

	server_start(&s, bad_starts[_i].script);
	expect_error(qmp_connect(s.address, &q), bad_starts[_i].code, bad_starts[_i].text);
	server_end(&s);
}
END_TEST

/* As a QEMU whose one client is somebody else. */
START_TEST(test_no_greeting)
{
	struct server s;
	struct qmp *q;

	server_listen(&s);
	expect_error(qmp_connect(s.address, &q), ERR_TIMEOUT, "one client at a time");
	server_end(&s);
}
END_TEST

START_TEST(test_others_wait)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct server s;
	struct qmp *q;
	int fds[8], n = 0;

	server_listen(&s);
	strcpy(addr.sun_path, s.address + 5);
	do
		fds[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	while (!connect(fds[n], (struct sockaddr *)&addr, sizeof(addr)) && ++n < 7);
	expect_error(qmp_connect(s.address, &q), ERR_BUSY, "waiting");
	while (n >= 0)
		close(fds[n--]);
	server_end(&s);
}
END_TEST

static const struct {
	const char *address;
	enum err_code code;
	const char *text;
} bad_addresses[] = {
	{ "/no/such/socket", ERR_SYSTEM, "No such file" },
	{ "unix:/no/such/socket", ERR_SYSTEM, "/no/such/socket" },
	{ "no-such-socket", ERR_SYSTEM, "No such file" },
	{ "/dev/null", ERR_SYSTEM, "refused" },
	{ "localhost:", ERR_USAGE, "HOST:PORT" },
	{ "tcp:7", ERR_USAGE, "HOST:PORT" },
	{ "127.0.0.1:no-such-port", ERR_USAGE, "127.0.0.1:no-such-port" },
	{ "/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
	  "0123456789", ERR_USAGE, "at most" },
};

START_TEST(test_bad_address)
{
	struct qmp *q;

	expect_error(qmp_connect(bad_addresses[_i].address, &q), bad_addresses[_i].code, bad_addresses[_i].text);
}
END_TEST

/* ---- descriptors, TCP ---- */

/* Takes one with the command and writes into it. */
static void play_getfd(int fd, const char *const *script)
{
	char data[256], control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { data, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	int got;

	play(fd, (const char *const[]){ READY, "!", NULL });
	(void)script;
	must(recvmsg(fd, &msg, 0) == 1 && data[0] == '{');
	c = CMSG_FIRSTHDR(&msg);
	must(c && c->cmsg_type == SCM_RIGHTS);
	memcpy(&got, CMSG_DATA(c), sizeof(got));
	expect_command(fd, "\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"name\"},\"id\":2}");
	must(write(got, "hello", 5) == 5);
	send_all(fd, "{\"return\": {}, \"id\": 2}", 23);
	wait_for_end(fd);
}

START_TEST(test_send_fd)
{
	struct server s;
	struct qmp *q;
	char text[8] = "";
	int fds[2];

	server_listen(&s);
	server_fork(&s, play_getfd, NULL);
	q = connect_to(&s);
	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_ptr_null(qmp_send_fd(q, "name", fds[1]));
	ck_assert_int_eq(read(fds[0], text, sizeof(text)), 5);
	ck_assert_str_eq(text, "hello");
	close(fds[0]);
	close(fds[1]);
	qmp_close(q);
	server_end(&s);
}
END_TEST

START_TEST(test_tcp)
{
	static const char *const script[] = { READY, NULL };
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t bytes = sizeof(addr);
	struct server s;
	struct qmp *q;
	int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(tcp, (struct sockaddr *)&addr, sizeof(addr)), 0);
	ck_assert_int_eq(listen(tcp, 1), 0);
	ck_assert_int_eq(getsockname(tcp, (struct sockaddr *)&addr, &bytes), 0);
	server_listen(&s);
	dup2(tcp, s.fd);
	close(tcp);
	server_fork(&s, play, script);
	unlink(s.address + 5);
	snprintf(s.address, sizeof(s.address), _i ? "localhost:%u" : "tcp:127.0.0.1:%u", ntohs(addr.sin_port));
	q = connect_to(&s);
	ck_assert_int_eq(qmp_pid(q), 0);
	ck_assert_str_eq(qmp_host(q), "127.0.0.1");
	expect_error(qmp_send_fd(q, "name", 0), ERR_UNSUPPORTED, "TCP");
	qmp_close(q);
	server_end(&s);
}
END_TEST

/* ---- answers that are none ---- */

START_TEST(test_readers)
{
	struct json_object *o = json_tokener_parse("{\"s\": \"text\", \"n\": 7, \"a\": [1, 2], \"z\": null}");

	ck_assert_str_eq(qmp_string(o, "s"), "text");
	ck_assert_str_eq(qmp_string(o, "n"), "");
	ck_assert_str_eq(qmp_string(o, "z"), "");
	ck_assert_str_eq(qmp_string(o, "none"), "");
	ck_assert_str_eq(qmp_string(NULL, "s"), "");
	ck_assert_str_eq(qmp_string(json_object_object_get(o, "a"), "s"), "");
	ck_assert_uint_eq(qmp_array_len(json_object_object_get(o, "a")), 2);
	ck_assert_uint_eq(qmp_array_len(o), 0);
	ck_assert_uint_eq(qmp_array_len(NULL), 0);
	json_object_put(o);
}
END_TEST

static Suite *qmp_suite(void)
{
	Suite *s = suite_create("qmp");
	TCase *t = tcase_create("qmp");

	tcase_set_timeout(t, 30);
	tcase_add_loop_test(t, test_good, 0, ARRAY_LEN(good));
	tcase_add_loop_test(t, test_byte_at_a_time, 0, ARRAY_LEN(good));
	tcase_add_loop_test(t, test_taken_over, 0, ARRAY_LEN(taken_over));
	tcase_add_loop_test(t, test_taken_over_byte_at_a_time, 0, ARRAY_LEN(taken_over));
	tcase_add_test(t, test_commands);
	tcase_add_test(t, test_long_text);
	tcase_add_test(t, test_events_without_a_command);
	tcase_add_test(t, test_old_events_are_dropped);
	tcase_add_test(t, test_events_are_no_answer);
	tcase_add_loop_test(t, test_bad, 0, ARRAY_LEN(bad));
	tcase_add_test(t, test_a_late_answer_is_not_the_next);
	tcase_add_test(t, test_endless_message);
	tcase_add_loop_test(t, test_bad_start, 0, ARRAY_LEN(bad_starts));
	tcase_add_test(t, test_no_greeting);
	tcase_add_test(t, test_others_wait);
	tcase_add_loop_test(t, test_bad_address, 0, ARRAY_LEN(bad_addresses));
	tcase_add_test(t, test_send_fd);
	tcase_add_loop_test(t, test_tcp, 0, 2);
	tcase_add_test(t, test_readers);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return suite_run(qmp_suite());
}
