/* SPDX-License-Identifier: GPL-3.0-or-later */

/* The command line, the event loop, sockets, and serving clients on a fake guest. */
#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/packet.h"
#include "server/comm.h"
#include "server/command.h"
#include "server/history.h"
#include "server/hold.h"
#include "server/list.h"
#include "server/loop.h"
#include "server/options.h"
#include "server/output.h"
#include "server/progress.h"
#include "server/serve.h"
#include "tests/fake_guest.h"
#include "tests/suite.h"
#include "tests/text_file.h"

#define MAX_WORDS 16

/* ---- the command line ---- */

/* Splits at blanks; "_" stands for an empty word. */
static int split(char *line, char **words)
{
	int n = 0;

	words[n++] = xstrdup("vmgdbserver");
	for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
		words[n++] = xstrdup(strcmp(word, "_") ? word : "");
	words[n] = NULL;
	return n;
}

struct parsed {
	struct options o;
	struct err *e;
	char *words[MAX_WORDS];
	int n;
};

static void parse(struct parsed *p, const char *line)
{
	char *copy = xstrdup(line);

	memset(p, 0, sizeof(*p));
	p->n = split(copy, p->words);
	p->e = options_parse(p->n, p->words, &p->o);
	free(copy);
}

static void parsed_deinit(struct parsed *p)
{
	if (!p->e)
		options_deinit(&p->o);
	err_destroy(p->e);
	for (int i = 0; i < p->n; i++)
		free(p->words[i]);
}

static const struct {
	const char *line;
	struct options o;
} good_lines[] = {
	{ ":1 --attach 7", { .mode = MODE_SERVE, .comm = ":1", .pid = 7 } },
	{ "--attach 7 :1", { .mode = MODE_SERVE, .comm = ":1", .pid = 7 } },
	{ "--attach=7 --once - --debug",
	  { .mode = MODE_SERVE, .comm = "-", .pid = 7, .once = true, .debug = true } },
	{ "unix:a --core=b --allow-remote",
	  { .mode = MODE_SERVE, .comm = "unix:a", .core = "b", .allow_remote = true } },
	{ ":1 --attach 0x10 --vm 2", { .mode = MODE_SERVE, .comm = ":1", .pid = 16, .vm = 2 } },
	{ ":1 --attach 2147483647", { .mode = MODE_SERVE, .comm = ":1", .pid = 2147483647 } },
	{ ":1 --multi", { .mode = MODE_SERVE, .comm = ":1", .multi = true } },
	{ ":1 --attach 7 --wait", { .mode = MODE_SERVE, .comm = ":1", .pid = 7, .wait = true } },
	{ "--multi --core c -", { .mode = MODE_SERVE, .comm = "-", .core = "c", .multi = true } },
	{ "dump --attach 7 out", { .mode = MODE_DUMP, .pid = 7, .out = "out" } },
	{ "dump out --attach 7", { .mode = MODE_DUMP, .pid = 7, .out = "out" } },
	{ "--attach 7 -q dump -p -", { .mode = MODE_DUMP, .pid = 7, .out = "-", .quiet = true, .dump.paging = true } },
	{ "console --qmp=unix:/run/q", { .mode = MODE_CONSOLE, .qmp = "unix:/run/q" } },
	{ "dump -qp --core c fd:3",
	  { .mode = MODE_DUMP, .core = "c", .out = "fd:3", .quiet = true, .dump.paging = true } },
	{ "dump -d 31 --core c o", { .mode = MODE_DUMP, .core = "c", .out = "o", .dump.leave_out = PAGES_ALL } },
	{ "dump --dump-level 0 --core c o", { .mode = MODE_DUMP, .core = "c", .out = "o" } },
	{ "dump --exclude free --core c o",
	  { .mode = MODE_DUMP, .core = "c", .out = "o", .dump.leave_out = PAGES_FREE } },
	{ "dump --exclude zero,cache,private --exclude user --core c o",
	  { .mode = MODE_DUMP, .core = "c", .out = "o", .dump.leave_out = PAGES_ALL & ~PAGES_FREE } },
	{ "dump --paging --quiet --core c o",
	  { .mode = MODE_DUMP, .core = "c", .out = "o", .quiet = true, .dump.paging = true } },
	{ "dump -p --begin 0x1000 --length=4096 --core c o",
	  { .mode = MODE_DUMP, .core = "c", .out = "o",
	    .dump = { .paging = true, .has_range = true, .begin = 0x1000, .length = 0x1000 } } },
	{ "dump --length 1 --begin 0xffffffffffffffff --core c o",
	  { .mode = MODE_DUMP, .core = "c", .out = "o",
	    .dump = { .has_range = true, .begin = UINT64_MAX, .length = 1 } } },
	{ "dump --format kdump-zstd --flatten --core c -",
	  { .mode = MODE_DUMP, .core = "c", .out = "-", .dump = { .format = DUMP_KDUMP_ZSTD, .flatten = true } } },
	{ "dump --core c -- --once", { .mode = MODE_DUMP, .core = "c", .out = "--once" } },
	{ "console --attach 7", { .mode = MODE_CONSOLE, .pid = 7 } },
	{ "console -c a --attach 7 --command=b -cc", { .mode = MODE_CONSOLE, .pid = 7, .n_commands = 3 } },
	{ "list", { .mode = MODE_LIST } },
	{ "list --debug", { .mode = MODE_LIST, .debug = true } },
	{ "--help", { .mode = MODE_HELP } },
	{ "-h", { .mode = MODE_HELP } },
	{ "dump --help", { .mode = MODE_HELP } },
	{ "--version", { .mode = MODE_VERSION } },
};

static void expect_text(const char *got, const char *want)
{
	ck_assert_int_eq(!got, !want);
	if (want)
		ck_assert_str_eq(got, want);
}

static void expect_options(const struct options *got, const struct options *want)
{
	ck_assert_int_eq(got->mode, want->mode);
	expect_text(got->comm, want->comm);
	expect_text(got->core, want->core);
	expect_text(got->qmp, want->qmp);
	expect_text(got->out, want->out);
	ck_assert_int_eq(got->pid, want->pid);
	ck_assert_uint_eq(got->vm, want->vm);
	ck_assert_int_eq(got->once, want->once);
	ck_assert_int_eq(got->debug, want->debug);
	ck_assert_int_eq(got->quiet, want->quiet);
	ck_assert_uint_eq(got->dump.leave_out, want->dump.leave_out);
	ck_assert_int_eq(got->allow_remote, want->allow_remote);
	ck_assert_int_eq(got->multi, want->multi);
	ck_assert_int_eq(got->wait, want->wait);
	ck_assert_ptr_null(got->program);
	ck_assert_int_eq(got->dump.format, want->dump.format);
	ck_assert_int_eq(got->dump.flatten, want->dump.flatten);
	ck_assert_int_eq(got->dump.paging, want->dump.paging);
	ck_assert_int_eq(got->dump.has_range, want->dump.has_range);
	ck_assert_uint_eq(got->n_commands, want->n_commands);
	if (want->dump.has_range) {
		ck_assert_uint_eq(got->dump.begin, want->dump.begin);
		ck_assert_uint_eq(got->dump.length, want->dump.length);
	}
}

START_TEST(test_good_line)
{
	struct parsed p;

	parse(&p, good_lines[_i].line);
	ck_assert_msg(!p.e, "%s: %s", good_lines[_i].line, p.e ? err_text(p.e) : "");
	expect_options(&p.o, &good_lines[_i].o);
	parsed_deinit(&p);
}
END_TEST

static const struct {
	const char *line, *error;
} bad_lines[] = {
	{ "", "no COMM" },
	{ "--attach 7", "no COMM" },
	{ ":1", "no target" },
	{ "dump out", "no target" },
	{ "dump out --multi --core c", "--multi means nothing with dump" },
	{ "--multi", "no COMM" },
	{ "console", "no target" },
	{ ":1 --attach 7 --core c", "more than one of" },
	{ ":1 --qmp s --core c", "more than one of" },
	{ ":1 --attach 7 --attach 8", "twice" },
	{ ":1 --core c --core d", "twice" },
	{ ":1 --attach", "--attach needs a value: PID" },
	{ "dump -q --core c o --begin", "--begin needs a value: A" },
	{ "console --attach 7 -c", "--command needs a value: COMMAND" },
	{ ":1 --attach 0", "no process id" },
	{ ":1 --attach -7", "not a number" },
	{ ":1 --attach 7x", "not a number" },
	{ ":1 --attach _", "not a number" },
	{ ":1 --attach 2147483648", "no process id" },
	{ ":1 --attach 18446744073709551616", "not a number" },
	{ ":1 --core _", "empty" },
	{ ":1 --qmp _", "--qmp: its value is empty" },
	{ ":1 --qmp a --qmp b", "twice" },
	{ ":1 --attach 7 --vm x", "--vm" },
	{ ":1 --attach 7 --vm 4294967296", "--vm" },
	{ ":1 --attach 7 --once=yes", "--once takes no value" },
	{ ":1 --attach 7 --bogus", "unknown option --bogus" },
	{ ":1 --attach 7 -z", "unknown option -z" },
	{ ":1 :2 --attach 7", "':2' is one word too many" },
	{ ":1 --attach 7 -q", "--quiet means nothing with serving gdb" },
	{ ":1 --attach 7 -c a", "--command means nothing" },
	{ "dump --attach 7", "no OUT" },
	{ "dump --attach 7 a b", "'b' is one word too many" },
	{ "dump --attach 7 --once a", "--once means nothing with dump" },
	{ "dump --core c --begin 1 o", "length" },
	{ "dump --core c --length 1 o", "begin" },
	{ "dump --core c --begin 1 --length 0 o", "zero" },
	{ "dump --core c --begin 2 --length 0xffffffffffffffff o", "" },
	{ "dump --core c --begin x --length 1 o", "--begin: 'x'" },
	{ "dump --core c --begin 1 --length 08 o", "--length: '08'" },
	{ "dump --core c --format kdump o", "--format: 'kdump' is no format of a dump; there are elf, kdump-zlib" },
	{ "dump --core c --format kdump-zlib -p o", "kdump-zlib has no program headers" },
	{ "dump --core c --format kdump-zlib --begin 0 --length 1 o", "kdump-zlib holds the whole guest" },
	{ "dump --core c --flatten o", "take a kdump format" },
	{ "console --attach 7 word", "'word' is one word too many" },
	{ "dump --attach 7 -d 32 o", "--dump-level: 32 is not from 0 to 31" },
	{ "dump --attach 7 -d x o", "--dump-level: 'x' is not a number of 64 bits" },
	{ "dump --attach 7 --exclude all o", "--exclude: 'all' is no list of zero, cache, private, user and free" },
	{ "dump --attach 7 --exclude free, o", "--exclude: 'free,' is no list of zero, cache, private, user and free" },
	{ "dump --attach 7 --exclude= o", "--exclude: '' is no list of zero, cache, private, user and free" },
	{ "console --attach 7 -d 31", "--dump-level means nothing with console" },
	{ "console --attach 7 -p", "--paging means nothing with console" },
	{ "list --attach 7", "--attach means nothing with list" },
	{ "list x", "one word too many" },
	{ ":1 --", "no PROGRAM" },
	{ "-- vmm", "no COMM" },
	{ ":1 :2 -- vmm", "':2' is one word too many" },
	{ ":1 --attach 7 -- vmm", "more than one of" },
	{ ":1 --qmp s -- vmm", "more than one of" },
	{ ":1 --wait -- vmm", "--wait is for --attach" },
	{ ":1 --wait --core c", "--wait is for --attach" },
	{ "console --wait --attach 7", "--wait means nothing with console" },
};

START_TEST(test_bad_line)
{
	struct parsed p;

	parse(&p, bad_lines[_i].line);
	ck_assert_msg(p.e != NULL, "%s", bad_lines[_i].line);
	ck_assert_int_eq(err_code(p.e), ERR_USAGE);
	ck_assert_msg(strstr(err_text(p.e), bad_lines[_i].error) != NULL, "%s: %s", bad_lines[_i].line, err_text(p.e));
	ck_assert_ptr_null(strchr(err_text(p.e), '\n'));
	parsed_deinit(&p);
}
END_TEST

/* Behind "--" nothing is ours: the program's options and a second "--" are its own. */
static const struct {
	const char *line;
	const char *program[5];
	bool once;
} program_lines[] = {
	{ ":1 -- vmm", { "vmm" }, false },
	{ ":1 --once -- vmm --help -x word", { "vmm", "--help", "-x", "word" }, true },
	{ "--once :1 -- dump -- --attach", { "dump", "--", "--attach" }, true },
};

START_TEST(test_program)
{
	struct parsed p;
	size_t i;

	parse(&p, program_lines[_i].line);
	ck_assert_ptr_null(p.e);
	ck_assert_int_eq(p.o.mode, MODE_SERVE);
	ck_assert_str_eq(p.o.comm, ":1");
	ck_assert_int_eq(p.o.once, program_lines[_i].once);
	for (i = 0; program_lines[_i].program[i]; i++)
		ck_assert_str_eq(p.o.program[i], program_lines[_i].program[i]);
	ck_assert_ptr_null(p.o.program[i]);
	parsed_deinit(&p);
}
END_TEST

START_TEST(test_commands_in_order)
{
	struct parsed p;

	parse(&p, "console -c a --attach 7 --command=b -cc");
	ck_assert_ptr_null(p.e);
	ck_assert_str_eq(p.o.commands[0], "a");
	ck_assert_str_eq(p.o.commands[1], "b");
	ck_assert_str_eq(p.o.commands[2], "c");
	parsed_deinit(&p);
}
END_TEST

/* What command_main() returns and prints on stderr and stdout. */
static int run_command(const char *line, struct buf *ret)
{
	struct inherited inherited;
	char *copy = xstrdup(line), *words[MAX_WORDS], text[4096];
	int fds[2], status, n = split(copy, words);
	ssize_t bytes;

	ck_assert_int_eq(pipe(fds), 0);
	inherited_record(&inherited);
	fflush(stdout);
	dup2(fds[1], STDERR_FILENO);
	dup2(fds[1], STDOUT_FILENO);
	close(fds[1]);
	status = command_main(n, words, &inherited);
	fflush(stdout);
	close(STDERR_FILENO);
	close(STDOUT_FILENO);
	while ((bytes = read(fds[0], text, sizeof(text))) > 0)
		buf_add(ret, text, (size_t)bytes);
	inherited_deinit(&inherited);
	free(copy);
	for (int i = 0; i < n; i++)
		free(words[i]);
	return status;
}

static const struct {
	const char *line;
	int status;
	const char *text;
} statuses[] = {
	{ "--version", 0, "vmgdbserver " VMGDBSERVER_VERSION "\n" },
	{ "--help", 0, "Exit status: 0 done, 1 the target or the output failed, 2 usage.\n" },
	{ "", 2, "vmgdbserver: no COMM is given" },
	{ ":1 --bogus", 2, "vmgdbserver: unknown option --bogus (try --help)\n" },
	{ "nonsense --core /dev/null", 2, "vmgdbserver: COMM 'nonsense': there is no port" },
	{ ":0 --core /nonexistent/core", 1, "/nonexistent/core" },
	{ "dump --core /nonexistent/core out", 1, "/nonexistent/core" },
	{ "console --core /nonexistent/core", 1, "/nonexistent/core" },
	{ "dump --core c --begin 1 out", 2, "(try --help)\n" },
};

START_TEST(test_status)
{
	struct buf text = { 0 };

	ck_assert_int_eq(run_command(statuses[_i].line, &text), statuses[_i].status);
	ck_assert_ptr_nonnull(strstr(buf_str(&text), statuses[_i].text));
	if (statuses[_i].status) {
		ck_assert_int_eq(strncmp(buf_str(&text), "vmgdbserver: ", 13), 0);
		ck_assert_ptr_eq(strchr(buf_str(&text), '\n'), text.data + text.len - 1);
	}
	buf_deinit(&text);
}
END_TEST

/* ---- the manual page ---- */

/* troff's minus sign is "\-". */
static void add_troff(struct buf *out, const char *text)
{
	for (; *text; text++)
		buf_addf(out, *text == '-' ? "\\%c" : "%c", *text);
}

static void add_option(struct buf *out, const struct option_desc *d)
{
	buf_adds(out, "\n.TP\n");
	if (d->letter)
		buf_addf(out, "\\fB\\-%c\\fR, ", d->letter);
	buf_adds(out, "\\fB\\-\\-");
	add_troff(out, d->name);
	buf_addf(out, d->value ? "\\fR \\fI%s\\fR\n" : "\\fR\n", d->value);
}

/* Every option is in the manual and in --help, and the manual has no other. */
START_TEST(test_manual)
{
	char *text = text_file_read("docs/vmgdbserver.1");
	struct buf usage = { 0 };
	size_t n, in_manual = 0;
	const struct option_desc *options = options_table(&n);

	options_usage(&usage);
	for (size_t i = 0; i < n; i++) {
		struct buf row = { 0 };

		add_option(&row, &options[i]);
		ck_assert_msg(strstr(text, row.data) != NULL, "docs/vmgdbserver.1 has no%s", row.data);
		buf_reset(&row);
		buf_addf(&row, "--%s%s%s ", options[i].name, options[i].value ? " " : "",
			 options[i].value ? options[i].value : "");
		ck_assert_msg(strstr(usage.data, row.data) != NULL, "--help has no %s", row.data);
		buf_deinit(&row);
	}
	for (const char *at = text; (at = strstr(at, "\n.TP\n\\fB\\-")); at++)
		in_manual++;
	ck_assert_uint_eq(in_manual, n);
	buf_deinit(&usage);
	free(text);
}
END_TEST

/* ---- COMM ---- */

static const struct {
	const char *text;
	bool ok;
	struct comm_spec spec;
} comms[] = {
	{ "-", true, { .kind = COMM_STDIO } },
	{ ":1234", true, { .kind = COMM_TCP, .port = (char *)"1234" } },
	{ ":0", true, { .kind = COMM_TCP, .port = (char *)"0" } },
	{ ":65535", true, { .kind = COMM_TCP, .port = (char *)"65535" } },
	{ "localhost:1", true, { .kind = COMM_TCP, .host = (char *)"localhost", .port = (char *)"1" } },
	{ "127.0.0.1:1", true, { .kind = COMM_TCP, .host = (char *)"127.0.0.1", .port = (char *)"1" } },
	{ "[::1]:1", true, { .kind = COMM_TCP, .host = (char *)"::1", .port = (char *)"1" } },
	{ "[fe80::1%lo]:1", true, { .kind = COMM_TCP, .host = (char *)"fe80::1%lo", .port = (char *)"1" } },
	{ "unix:/a/b", true, { .kind = COMM_UNIX, .path = (char *)"/a/b" } },
	{ "unix:a:1", true, { .kind = COMM_UNIX, .path = (char *)"a:1" } },
	{ "", false, { 0 } },
	{ "1234", false, { 0 } },
	{ "host", false, { 0 } },
	{ ":", false, { 0 } },
	{ "host:", false, { 0 } },
	{ ":65536", false, { 0 } },
	{ ":123456", false, { 0 } },
	{ ":-1", false, { 0 } },
	{ ":+1", false, { 0 } },
	{ ": 1", false, { 0 } },
	{ ":1x", false, { 0 } },
	{ ":http", false, { 0 } },
	{ "::1:1", false, { 0 } },
	{ "[::1]", false, { 0 } },
	{ "[::1]1", false, { 0 } },
	{ "[::1:1", false, { 0 } },
	{ "[]:1", false, { 0 } },
	{ "unix:", false, { 0 } },
	{ "unix:/1234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890"
	  "1234567",
	  false,
	  { 0 } },
};

START_TEST(test_comm)
{
	struct comm_spec spec = { 0 };
	struct err *e = comm_parse(comms[_i].text, &spec);

	ck_assert_msg(!e == comms[_i].ok, "%s", comms[_i].text);
	if (e) {
		ck_assert_int_eq(err_code(e), ERR_USAGE);
	} else {
		ck_assert_int_eq(spec.kind, comms[_i].spec.kind);
		expect_text(spec.host, comms[_i].spec.host);
		expect_text(spec.port, comms[_i].spec.port);
		expect_text(spec.path, comms[_i].spec.path);
	}
	err_destroy(e);
	comm_spec_deinit(&spec);
}
END_TEST

static struct err *open_comm(const char *text, bool allow_remote, struct comm **ret)
{
	struct inherited inherited = { 0 };
	struct comm_spec spec;
	struct err *e = comm_parse(text, &spec);

	ck_assert_ptr_null(e);
	e = comm_open(&spec, allow_remote, &inherited, ret);
	comm_spec_deinit(&spec);
	return e;
}

START_TEST(test_remote)
{
	static const struct {
		const char *comm;
		bool local;
	} addresses[] = {
		{ "127.0.0.1:0", true }, { "127.1.2.3:0", true }, { ":0", true }, { "0.0.0.0:0", false },
	};
	struct comm *comm = NULL;
	struct err *e = open_comm(addresses[_i].comm, false, &comm);

	ck_assert_int_eq(!e, addresses[_i].local);
	if (e) {
		ck_assert_int_eq(err_code(e), ERR_USAGE);
		ck_assert_ptr_nonnull(strstr(err_text(e), "--allow-remote"));
		err_destroy(e);
		e = open_comm(addresses[_i].comm, true, &comm);
	}
	ck_assert_ptr_null(e);
	comm_destroy(comm);
}
END_TEST

START_TEST(test_port_in_use)
{
	struct comm *comm, *other;
	struct err *e = open_comm("127.0.0.1:0", false, &comm);
	unsigned port = 0;

	ck_assert_ptr_null(e);
	ck_assert_uint_eq(comm_count(comm), 1);
	ck_assert_int_eq(sscanf(comm_name(comm, 0), "127.0.0.1:%u", &port), 1);
	ck_assert_uint_gt(port, 0);
	e = open_comm(comm_name(comm, 0), false, &other);
	ck_assert_ptr_nonnull(e);
	ck_assert_ptr_nonnull(strstr(err_text(e), "in use"));
	err_destroy(e);
	comm_destroy(comm);
}
END_TEST

static int option(int fd, int level, int name)
{
	int value = 0;
	socklen_t bytes = sizeof(value);

	ck_assert(!getsockopt(fd, level, name, &value, &bytes));
	return value;
}

/* A client whose machine has died is known to be gone within a minute. */
START_TEST(test_dead_peer)
{
	struct comm *comm;
	struct comm_client client;
	struct sockaddr_storage a;
	socklen_t bytes = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), seconds;

	ck_assert_ptr_null(open_comm("127.0.0.1:0", false, &comm));
	ck_assert(!getsockname(comm_fd(comm, 0), (struct sockaddr *)&a, &bytes));
	ck_assert(!connect(fd, (struct sockaddr *)&a, bytes));
	ck_assert_ptr_null(comm_accept(comm, 0, &client));
	ck_assert_int_ne(option(client.in, SOL_SOCKET, SO_KEEPALIVE), 0);
	seconds = option(client.in, IPPROTO_TCP, TCP_KEEPIDLE) +
		  option(client.in, IPPROTO_TCP, TCP_KEEPINTVL) * option(client.in, IPPROTO_TCP, TCP_KEEPCNT);
	ck_assert_int_le(seconds, 60);
	comm_close_client(&client);
	close(fd);
	comm_destroy(comm);
}
END_TEST

/* Of mode 0600 whatever the umask, kept by the living, taken from the dead, removed at the end. */
START_TEST(test_unix_socket)
{
	char dir[] = "/tmp/check_server.XXXXXX";
	struct comm *comm, *other;
	struct stat st;
	struct err *e;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	umask(0);
	e = open_comm("unix:s", false, &comm);
	ck_assert_ptr_null(e);
	ck_assert_int_eq(stat("s", &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	e = open_comm("unix:s", false, &other);
	ck_assert_int_eq(err_code(e), ERR_BUSY);
	err_destroy(e);
	if (!fork()) {
		/* Dies with the socket in its place. */
		e = open_comm("unix:dead", false, &other);
		_exit(e != NULL);
	}
	wait(NULL);
	e = open_comm("unix:dead", false, &other);
	ck_assert_ptr_null(e);
	comm_destroy(other);
	ck_assert_int_ne(stat("dead", &st), 0);
	comm_destroy(comm);
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

START_TEST(test_no_socket)
{
	char path[] = "/tmp/check_server.XXXXXX", comm_text[64];
	struct comm *comm;
	struct err *e;

	close(mkstemp(path));
	snprintf(comm_text, sizeof(comm_text), "unix:%s", path);
	e = open_comm(comm_text, false, &comm);
	ck_assert_ptr_nonnull(strstr(err_text(e), "no socket"));
	err_destroy(e);
	ck_assert_int_eq(unlink(path), 0);
}
END_TEST

/* ---- descriptors ---- */

START_TEST(test_inherited)
{
	int before = open("/dev/null", O_WRONLY), after;
	struct inherited in;
	struct err *e;

	inherited_record(&in);
	after = open("/dev/null", O_WRONLY);
	e = inherited_check(&in, before);
	ck_assert_ptr_null(e);
	e = inherited_check(&in, 1);
	ck_assert_ptr_null(e);
	e = inherited_check(&in, after);
	ck_assert_int_eq(err_code(e), ERR_INVALID);
	err_destroy(e);
	e = inherited_check(&in, -1);
	ck_assert_ptr_nonnull(e);
	err_destroy(e);
	inherited_claim(&in, before);
	e = inherited_check(&in, before);
	ck_assert_ptr_nonnull(e);
	err_destroy(e);
	inherited_deinit(&in);
}
END_TEST

/* Closed ones are filled, so that nothing of ours lands there, and do not count. */
START_TEST(test_closed_at_start)
{
	struct inherited in;
	struct err *e;

	close(_i);
	inherited_record(&in);
	ck_assert_int_ge(fcntl(_i, F_GETFD), 0);
	e = inherited_check(&in, _i);
	ck_assert_ptr_nonnull(e);
	err_destroy(e);
	inherited_deinit(&in);
}
END_TEST

START_TEST(test_output)
{
	static const struct {
		const char *text;
		bool ok;
	} outputs[] = {
		{ "/tmp/a", true },  { "file:/tmp/a", true }, { "fd:1", true }, { "-", true },
		{ "", false },	     { "file:", false },  { "fd:", false },   { "fd:-1", false },
		{ "fd:1x", false }, { "fd:99", false }, { "fd:4294967297", false },
	};
	struct dump_sink *sink = NULL;
	struct inherited in;
	struct err *e;

	inherited_record(&in);
	e = output_open(outputs[_i].text, &in, 1, &sink);
	ck_assert_msg(!e == outputs[_i].ok, "%s", outputs[_i].text);
	dump_sink_destroy(sink);
	err_destroy(e);
	inherited_deinit(&in);
}
END_TEST

/* ---- small parts ---- */

struct ticks {
	struct loop *loop;
	struct loop_source *timer, *idle, *reader;
	unsigned timers, idles, reads;
	int fds[2];
};

static void on_read(void *arg, short revents)
{
	struct ticks *t = arg;
	char c;

	ck_assert_int_eq(revents & POLLIN, POLLIN);
	ck_assert_int_eq(read(t->fds[0], &c, 1), 1);
	t->reads++;
	loop_remove(t->reader);
	loop_quit(t->loop);
}

static void on_tick(void *arg)
{
	struct ticks *t = arg;

	if (++t->timers < 3)
		return;
	loop_remove(t->timer);
	t->reader = loop_add_fd(t->loop, t->fds[0], POLLIN, on_read, t);
	ck_assert_int_eq(write(t->fds[1], "xx", 2), 2);
}

static void on_idle(void *arg)
{
	struct ticks *t = arg;

	t->idles++;
	loop_remove(t->idle);
}

START_TEST(test_loop)
{
	struct ticks t = { .loop = loop_create() };

	ck_assert_int_eq(pipe(t.fds), 0);
	t.idle = loop_add_idle(t.loop, on_idle, &t);
	t.timer = loop_add_timer(t.loop, 5, on_tick, &t);
	loop_run(t.loop);
	ck_assert_uint_eq(t.idles, 1);
	ck_assert_uint_eq(t.timers, 3);
	ck_assert_uint_eq(t.reads, 1);
	loop_quit(t.loop);
	loop_run(t.loop);
	loop_destroy(t.loop);
}
END_TEST

static void on_signal(void *arg, int signo)
{
	struct ticks *t = arg;

	t->reads = (unsigned)signo;
	loop_quit(t->loop);
}

START_TEST(test_signals)
{
	struct ticks t = { .loop = loop_create() };
	struct err *e;

	signal(SIGINT, _i ? SIG_IGN : SIG_DFL);
	e = loop_add_signals(t.loop, on_signal, &t);
	ck_assert_ptr_null(e);
	raise(SIGINT);
	raise(SIGTERM);
	loop_run(t.loop);
	/* The lower number comes first. One that is ignored does not come. */
	ck_assert_uint_eq(t.reads, _i ? SIGTERM : SIGINT);
	loop_destroy(t.loop);
}
END_TEST

START_TEST(test_hold)
{
	struct guest *g = fake_guest_create(1);
	struct hold h;
	struct err *e;

	g->state = GUEST_RUNNING;
	hold_init(&h, g);
	e = hold_take(&h);
	ck_assert_ptr_null(e);
	e = hold_take(&h);
	ck_assert_ptr_null(e);
	ck_assert_uint_eq(fake_of(g)->stops, 1);
	e = hold_drop(&h);
	ck_assert_ptr_null(e);
	ck_assert_int_eq(g->state, GUEST_STOPPED);
	e = hold_drop(&h);
	ck_assert_ptr_null(e);
	ck_assert_int_eq(g->state, GUEST_RUNNING);
	/* What was paused before stays so. */
	e = guest_stop(g);
	ck_assert_ptr_null(e);
	e = hold_take(&h);
	ck_assert_ptr_null(e);
	e = hold_drop(&h);
	ck_assert_ptr_null(e);
	ck_assert_int_eq(g->state, GUEST_STOPPED);
	guest_destroy(g);
}
END_TEST

/* A guest that has never run goes on with the last hold. */
START_TEST(test_hold_adopt)
{
	struct guest *g = fake_guest_create(1);
	struct hold h;
	struct err *e = guest_stop(g);

	ck_assert_ptr_null(e);
	hold_init(&h, g);
	hold_adopt(&h);
	e = hold_take(&h);
	ck_assert_ptr_null(e);
	e = hold_drop(&h);
	ck_assert_ptr_null(e);
	ck_assert_int_eq(g->state, GUEST_STOPPED);
	e = hold_drop(&h);
	ck_assert_ptr_null(e);
	ck_assert_int_eq(g->state, GUEST_RUNNING);
	guest_destroy(g);
}
END_TEST

START_TEST(test_progress)
{
	struct dump_progress p = { .done_bytes = 512u << 20, .total_bytes = 1u << 30, .seconds = 2 };
	struct progress lines = { .mode = PROGRESS_LINES }, none = { 0 };
	struct buf out = { 0 };

	progress_format(&p, &out);
	ck_assert_str_eq(out.data, "512.0 MiB of 1.0 GiB (50%), 256.0 MiB/s, 2 s left");
	buf_reset(&out);
	progress_format_total(&p, &out);
	ck_assert_str_eq(out.data, "536870912 bytes in 2.0 s (256.0 MiB/s)");
	buf_reset(&out);
	p.written_bytes = 3u << 20;
	progress_format_total(&p, &out);
	ck_assert_str_eq(out.data, "536870912 bytes of the guest in 2.0 s (256.0 MiB/s), 3.0 MiB written");
	buf_reset(&out);
	progress_update(&none, &p, &out);
	ck_assert_uint_eq(out.len, 0);
	/* A line a second, and none within the first. */
	for (unsigned i = 0; i <= 25; i++) {
		p.seconds = i / 10.0;
		progress_update(&lines, &p, &out);
	}
	ck_assert_ptr_nonnull(strchr(out.data, '\n'));
	ck_assert_ptr_eq(strchr(strchr(out.data, '\n') + 1, '\n'), out.data + out.len - 1);
	buf_deinit(&out);
}
END_TEST

START_TEST(test_list)
{
	static const struct kvm_vmm vmms[] = {
		{ 7, "qemu-system-x86_64", 1, 2, 512u << 20, true, 'S' },
		{ 4194304, "a\033[2J", 2, 1, 0, false, 't' },
	};
	struct buf out = { 0 };

	list_format(vmms, 0, &out);
	ck_assert_uint_eq(out.len, 0);
	list_format(vmms, 2, &out);
	ck_assert_str_eq(out.data, "    PID PROGRAM                  VMS VCPUS          RAM STATE\n"
				   "      7 qemu-system-x86_64         1     2      512 MiB sleeping\n"
				   "4194304 a?[2J                      2     1            - traced\n");
	buf_deinit(&out);
}
END_TEST

START_TEST(test_history)
{
	char dir[] = "/tmp/check_server.XXXXXX", want[64];
	struct stat st;
	char *path;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	setenv("HOME", dir, 1);
	unsetenv("XDG_STATE_HOME");
	snprintf(want, sizeof(want), "%s/.local/state/vmgdbserver/history", dir);
	path = history_path();
	ck_assert_str_eq(path, want);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	free(path);
	snprintf(want, sizeof(want), "%s/state", dir);
	setenv("XDG_STATE_HOME", want, 1);
	path = history_path();
	ck_assert_int_eq(strncmp(path, want, strlen(want)), 0);
	free(path);
	setenv("XDG_STATE_HOME", "/dev/null", 1);
	ck_assert_ptr_null(history_path());
	snprintf(want, sizeof(want), "rm -r %s", dir);
	ck_assert_int_eq(system(want), 0);
}
END_TEST

/* ---- serving ---- */

/* What the server's process tells of its guest. */
struct shared {
	unsigned stops, resumes;
	enum guest_state state;
	size_t armed;
	/* What clients attached to. */
	unsigned attached, closed;
	struct {
		enum guest_state state;
		size_t armed;
	} at_close; /* the last of them */
};

#define GIVEN_PID 5
#define OTHER_PID 7

struct serving {
	struct shared *shared;
	pid_t pid;
	int control;  /* a byte makes the guest go away */
	int client;   /* of stdio */
	unsigned port;
};

struct child {
	int control;
	struct guest *guest; /* that a byte on the control pipe ends: the latest */
	struct guest_ops ops; /* of those that clients attach to */
	struct shared *shared;
};

static void on_control(void *arg, short revents)
{
	struct child *child = arg;
	struct guest_event ev = { .kind = GUEST_EVENT_GONE };
	char byte;

	(void)revents;
	if (read(child->control, &byte, 1) == 1)
		fake_raise(child->guest, &ev);
}

static struct child child;

static void close_attached(struct guest *g)
{
	child.shared->closed++;
	child.shared->at_close.state = g->state;
	child.shared->at_close.armed = fake_of(g)->n_armed;
	child.ops.close(g);
}

static struct err *attach_other(void *arg, pid_t pid, struct guest **ret)
{
	static struct guest_ops ops;

	(void)arg;
	if (pid != OTHER_PID)
		return err_new(ERR_INVALID, "process %d: it has no guest", (int)pid);
	*ret = child.guest = fake_guest_create(1);
	child.ops = ops = *child.guest->ops;
	ops.close = close_attached;
	child.guest->ops = &ops;
	child.guest->state = GUEST_RUNNING;
	child.shared->attached++;
	return NULL;
}

/* What the server finds of its own. */
enum target_kind {
	TARGET_GIVEN,
	TARGET_GIVEN_MULTI,
	TARGET_NONE_MULTI,
};

static int serve_child(const char *comm_text, bool once, enum target_kind kind, int control, struct shared *shared)
{
	struct inherited inherited;
	struct guest *g = fake_guest_create(2);
	struct serve_config config = { .inherited = &inherited, .once = once, .target = "the fake",
				       .guest = kind == TARGET_NONE_MULTI ? NULL : g, .pid = GIVEN_PID,
				       .attach = kind == TARGET_GIVEN ? NULL : attach_other };
	struct comm_spec spec;
	struct err *e = comm_parse(comm_text, &spec);

	inherited_record(&inherited);
	config.loop = loop_create();
	child = (struct child){ .control = control, .guest = g, .shared = shared };
	g->state = GUEST_RUNNING;
	fake_of(g)->misses = true;
	loop_add_fd(config.loop, control, POLLIN, on_control, &child);
	if (!e)
		e = comm_open(&spec, false, &inherited, &config.comm);
	comm_spec_deinit(&spec);
	if (!e)
		e = serve_run(&config);
	if (e)
		fprintf(stderr, "%s\n", err_text(e));
	shared->stops = fake_of(g)->stops;
	shared->resumes = fake_of(g)->resumes;
	shared->state = g->state;
	shared->armed = fake_of(g)->n_armed;
	comm_destroy(config.comm);
	guest_destroy(g);
	loop_destroy(config.loop);
	inherited_deinit(&inherited);
	return e ? 1 : 0;
}

static unsigned read_port(int fd)
{
	char text[256] = "";
	unsigned port = 0;

	for (size_t n = 0; n + 1 < sizeof(text) && !strchr(text, '\n'); n++)
		ck_assert_int_eq(read(fd, text + n, 1), 1);
	ck_assert_int_eq(sscanf(text, "Listening on 127.0.0.1:%u\n", &port), 1);
	return port;
}

/* "-" or a TCP address with port 0. */
static void start_serving_as(struct serving *s, const char *comm, bool once, enum target_kind kind)
{
	int control[2], pair[2], log[2];

	s->shared = mmap(NULL, sizeof(*s->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_int_eq(pipe(control) | pipe(log) | socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	s->pid = fork();
	if (!s->pid) {
		dup2(pair[1], STDIN_FILENO);
		dup2(pair[1], STDOUT_FILENO);
		if (strcmp(comm, "-"))
			dup2(log[1], STDERR_FILENO);
		close(pair[0]);
		close(pair[1]);
		close(control[1]);
		_exit(serve_child(comm, once, kind, control[0], s->shared));
	}
	close(control[0]);
	close(pair[1]);
	s->control = control[1];
	s->client = pair[0];
	s->port = strcmp(comm, "-") ? read_port(log[0]) : 0;
}

static void start_serving(struct serving *s, const char *comm, bool once)
{
	start_serving_as(s, comm, once, TARGET_GIVEN);
}

static int end_serving(struct serving *s)
{
	int status;

	ck_assert_int_eq(waitpid(s->pid, &status, 0), s->pid);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int connect_client(const struct serving *s)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)s->port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static void send_packet(int fd, const char *payload)
{
	struct buf frame = { 0 };

	packet_encode(&frame, payload, strlen(payload));
	ck_assert_int_eq(write(fd, frame.data, frame.len), (ssize_t)frame.len);
	buf_deinit(&frame);
}

/* The next byte: the packet before it has been taken, and is seen to before anything else. */
static void expect_ack(int fd)
{
	char c;

	ck_assert_int_eq(read(fd, &c, 1), 1);
	ck_assert_int_eq(c, '+');
}

/* Up to the end of a packet with this payload, or the end of the connection. */
static bool receive(int fd, const char *payload)
{
	struct buf got = { 0 }, want = { 0 };
	bool found = false;
	char c;

	packet_encode(&want, payload, strlen(payload));
	while (!found && read(fd, &c, 1) == 1) {
		buf_addch(&got, c);
		found = got.len >= want.len && !memcmp(got.data + got.len - want.len, want.data, want.len);
	}
	buf_deinit(&got);
	buf_deinit(&want);
	return found;
}

static bool at_end(int fd)
{
	char data[256];
	ssize_t n;

	while ((n = read(fd, data, sizeof(data))) > 0)
		;
	return n == 0;
}

START_TEST(test_stdio)
{
	struct serving s;

	start_serving(&s, "-", false);
	send_packet(s.client, "vMustReplyEmpty");
	ck_assert(receive(s.client, ""));
	if (_i) {
		send_packet(s.client, "D");
		ck_assert(receive(s.client, "OK"));
	} else {
		shutdown(s.client, SHUT_WR);
	}
	ck_assert(at_end(s.client));
	ck_assert_int_eq(end_serving(&s), 0);
	ck_assert_uint_eq(s.shared->stops, 1);
	ck_assert_int_eq(s.shared->state, GUEST_RUNNING);
}
END_TEST

/* gdb's `monitor version`: O packets, then OK. */
START_TEST(test_monitor)
{
	static const char text[] = VMGDBSERVER_VERSION " (";
	char data[256] = "";
	struct buf want = { 0 };
	struct serving s;

	start_serving(&s, "-", false);
	send_packet(s.client, "qRcmd,76657273696f6e");
	buf_adds(&want, "$O");
	buf_add_hex(&want, text, strlen(text));
	for (size_t n = 0; n + 1 < sizeof(data) && !strstr(data, "$OK#9a"); n++)
		ck_assert_int_eq(read(s.client, data + n, 1), 1);
	ck_assert_ptr_nonnull(strstr(data, want.data));
	close(s.client);
	ck_assert_int_eq(end_serving(&s), 0);
	buf_deinit(&want);
}
END_TEST

START_TEST(test_second_client)
{
	struct serving s;
	int first, second;

	start_serving(&s, ":0", true);
	first = connect_client(&s);
	send_packet(first, "vMustReplyEmpty");
	ck_assert(receive(first, ""));
	second = connect_client(&s);
	send_packet(second, "qSupported");
	ck_assert(receive(second, "E.vmgdbserver serves another client; it takes one at a time"));
	ck_assert(at_end(second));
	close(second);
	send_packet(first, "vMustReplyEmpty");
	ck_assert(receive(first, ""));
	close(first);
	ck_assert_int_eq(end_serving(&s), 0);
	ck_assert_uint_eq(s.shared->stops, 1);
	ck_assert_uint_eq(s.shared->resumes, 1);
	ck_assert_int_eq(s.shared->state, GUEST_RUNNING);
}
END_TEST

/* One client after the other, detached or cut off, until a signal cuts the last one off. */
START_TEST(test_many_clients)
{
	struct serving s;
	int client;

	start_serving(&s, ":0", false);
	for (int i = 0; i < 6; i++) {
		client = connect_client(&s);
		send_packet(client, i % 2 ? "vMustReplyEmpty" : "D");
		ck_assert(receive(client, i % 2 ? "" : "OK"));
		close(client);
	}
	client = connect_client(&s);
	send_packet(client, "vMustReplyEmpty");
	ck_assert(receive(client, ""));
	kill(s.pid, SIGTERM);
	ck_assert(at_end(client));
	ck_assert_int_eq(end_serving(&s), 0);
	ck_assert_uint_eq(s.shared->stops, 7);
	ck_assert_uint_eq(s.shared->resumes, 7);
	close(client);
}
END_TEST

START_TEST(test_guest_goes)
{
	struct serving s;
	int client = -1;

	start_serving(&s, ":0", false);
	if (_i) {
		client = connect_client(&s);
		/* A continue is under way. */
		send_packet(client, "vCont;c");
		expect_ack(client);
		ck_assert(_i < 2 || write(client, "\003", 1) == 1);
	}
	ck_assert_int_eq(write(s.control, "", 1), 1);
	ck_assert_int_eq(end_serving(&s), 1);
	ck_assert_int_eq(s.shared->state, GUEST_GONE);
	if (client >= 0)
		ck_assert(at_end(client));
}
END_TEST

static void ask(int fd, const char *payload, const char *want)
{
	send_packet(fd, payload);
	ck_assert_msg(receive(fd, want), "%s", payload);
}

/* The last packet of a client that has set breakpoints; "": it is cut off. */
static const char *const last_packets[] = { "", "D", "k", "vKill;1", "vCont;c", "vCont;r0,ffffffffffffffff:1" };

/* However a session ends, running or not, nothing of it stays in the guest. */
START_TEST(test_breakpoints_go)
{
	struct serving s;
	int client;

	start_serving(&s, ":0", false);
	client = connect_client(&s);
	ask(client, "Z1,5000,1", "OK");
	ask(client, "Z2,5008,8", "OK");
	send_packet(client, last_packets[_i]);
	close(client);
	client = connect_client(&s);
	ask(client, "vMustReplyEmpty", "");
	kill(s.pid, SIGTERM);
	ck_assert_int_eq(end_serving(&s), 0);
	ck_assert_uint_eq(s.shared->armed, 0);
	ck_assert_int_eq(s.shared->state, GUEST_RUNNING);
	close(client);
}
END_TEST

#define STOP_AT_START "T05thread:1;core:0;10:3031323334353637;7:15161718191a1b1c;6:1213141516171819;"

/* One that begins with nothing attaches, lets go and attaches again. */
START_TEST(test_attach)
{
	struct serving s;
	int client;

	start_serving_as(&s, ":0", false, TARGET_NONE_MULTI);
	client = connect_client(&s);
	ask(client, "!", "OK");
	ask(client, "?", "W00");
	ask(client, "qRcmd,76657273696f6e", "E16");
	ask(client, "vAttach;8", "E.process 8: it has no guest");
	ask(client, "vAttach;7", STOP_AT_START);
	ask(client, "Z1,5000,1", "OK");
	ask(client, "D;7", "OK");
	ck_assert_uint_eq(s.shared->closed, 1);
	ck_assert_int_eq(s.shared->at_close.state, GUEST_RUNNING);
	ck_assert_uint_eq(s.shared->at_close.armed, 0);
	ask(client, "?", "W00");
	ask(client, "vAttach;7", STOP_AT_START);
	ask(client, "vAttach;7", STOP_AT_START);
	ck_assert_uint_eq(s.shared->attached, 2);
	close(client);
	client = connect_client(&s);
	ask(client, "?", "W00");
	ck_assert_uint_eq(s.shared->closed, 2);
	kill(s.pid, SIGTERM);
	ck_assert_int_eq(end_serving(&s), 0);
	ck_assert_uint_eq(s.shared->stops, 0);
	close(client);
}
END_TEST

/* From the guest of the command line to another and back; the next client finds the former. */
START_TEST(test_attach_to_another)
{
	struct serving s;
	int client;

	start_serving_as(&s, ":0", false, TARGET_GIVEN_MULTI);
	client = connect_client(&s);
	ask(client, "!", "OK");
	ask(client, "?", STOP_AT_START);
	ask(client, "qfThreadInfo", "m1,2");
	ask(client, "vAttach;7", STOP_AT_START);
	ask(client, "qfThreadInfo", "m1");
	ask(client, "vAttach;5", STOP_AT_START);
	ask(client, "qfThreadInfo", "m1,2");
	ck_assert_uint_eq(s.shared->closed, 1);
	ask(client, "vAttach;7", STOP_AT_START);
	close(client);
	client = connect_client(&s);
	ask(client, "qfThreadInfo", "m1,2");
	close(client);
	kill(s.pid, SIGTERM);
	ck_assert_int_eq(end_serving(&s), 0);
	ck_assert_uint_eq(s.shared->closed, 2);
	ck_assert_uint_eq(s.shared->stops, 3);
	ck_assert_uint_eq(s.shared->resumes, 3);
}
END_TEST

START_TEST(test_attach_without_multi)
{
	struct serving s;
	int client;

	start_serving(&s, ":0", true);
	client = connect_client(&s);
	ask(client, "!", "OK");
	ask(client, "vAttach;7", "E.this server is for one guest; one with --multi attaches to others");
	ask(client, "?", STOP_AT_START);
	ask(client, "D", "OK");
	ask(client, "vAttach;5", STOP_AT_START);
	close(client);
	ck_assert_int_eq(end_serving(&s), 0);
	ck_assert_uint_eq(s.shared->resumes, 2);
}
END_TEST

static void wait_for_closed(const struct serving *s, unsigned n)
{
	for (int i = 0; i < 1000 && *(volatile unsigned *)&s->shared->closed < n; i++)
		usleep(10000);
	ck_assert_uint_eq(s->shared->closed, n);
}

/* The VMM of an attached guest exits, while it runs or not: the server stays. */
START_TEST(test_attached_guest_goes)
{
	struct serving s;
	int client;

	start_serving_as(&s, ":0", true, TARGET_NONE_MULTI);
	client = connect_client(&s);
	ask(client, "!", "OK");
	ask(client, "vAttach;7", STOP_AT_START);
	if (_i) {
		send_packet(client, "vCont;c");
		expect_ack(client);
	}
	ck_assert_int_eq(write(s.control, "", 1), 1);
	wait_for_closed(&s, 1);
	if (_i)
		ck_assert(receive(client, "X09"));
	else
		ask(client, "?", "X09");
	close(client);
	ck_assert_int_eq(end_serving(&s), 0);
}
END_TEST

/* gdb is away while a dump to a full pipe runs: in the foreground it is cancelled, else waited for. */
START_TEST(test_dump_at_detach)
{
	static const char *const packets[] = {
		"qRcmd,64756d702d67756573742d6d656d6f72792066643a3630",
		"qRcmd,64756d702d67756573742d6d656d6f7279202d642066643a3630",
	};
	struct serving s;
	char data[4096];
	int client, fds[2];
	uint64_t bytes = 0;
	ssize_t n;

	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(dup2(fds[1], 60), 60);
	close(fds[1]);
	start_serving(&s, ":0", true);
	close(60);
	client = connect_client(&s);
	send_packet(client, packets[_i]);
	if (_i)
		ck_assert(receive(client, "OK"));
	usleep(100000);
	close(client);
	if (!_i)
		ck_assert_int_eq(end_serving(&s), 0);
	usleep(100000);
	ck_assert(!_i || !waitpid(s.pid, NULL, WNOHANG));
	while ((n = read(fds[0], data, sizeof(data))) > 0)
		bytes += (uint64_t)n;
	if (_i)
		ck_assert_int_eq(end_serving(&s), 0);
	/* The memory alone is more than a pipe holds. */
	ck_assert_int_eq(bytes > 0x12000, _i);
	ck_assert_uint_eq(s.shared->resumes, 1);
	ck_assert_int_eq(s.shared->state, GUEST_RUNNING);
}
END_TEST

static Suite *server_suite(void)
{
	Suite *suite = suite_create("server");
	TCase *tc = tcase_create("command line");

	tcase_add_loop_test(tc, test_good_line, 0, ARRAY_LEN(good_lines));
	tcase_add_loop_test(tc, test_bad_line, 0, ARRAY_LEN(bad_lines));
	tcase_add_loop_test(tc, test_program, 0, ARRAY_LEN(program_lines));
	tcase_add_test(tc, test_commands_in_order);
	tcase_add_loop_test(tc, test_status, 0, ARRAY_LEN(statuses));
	tcase_add_test(tc, test_manual);
	suite_add_tcase(suite, tc);

	tc = tcase_create("parts");
	tcase_add_loop_test(tc, test_comm, 0, ARRAY_LEN(comms));
	tcase_add_loop_test(tc, test_remote, 0, 4);
	tcase_add_test(tc, test_port_in_use);
	tcase_add_test(tc, test_dead_peer);
	tcase_add_test(tc, test_unix_socket);
	tcase_add_test(tc, test_no_socket);
	tcase_add_test(tc, test_inherited);
	tcase_add_loop_test(tc, test_closed_at_start, 0, 3);
	tcase_add_loop_test(tc, test_output, 0, 11);
	tcase_add_test(tc, test_loop);
	tcase_add_loop_test(tc, test_signals, 0, 2);
	tcase_add_test(tc, test_hold);
	tcase_add_test(tc, test_hold_adopt);
	tcase_add_test(tc, test_progress);
	tcase_add_test(tc, test_list);
	tcase_add_test(tc, test_history);
	suite_add_tcase(suite, tc);

	tc = tcase_create("serving");
	tcase_add_loop_test(tc, test_stdio, 0, 2);
	tcase_add_test(tc, test_monitor);
	tcase_add_test(tc, test_second_client);
	tcase_add_test(tc, test_many_clients);
	tcase_add_loop_test(tc, test_guest_goes, 0, 3);
	tcase_add_loop_test(tc, test_dump_at_detach, 0, 2);
	tcase_add_loop_test(tc, test_breakpoints_go, 0, ARRAY_LEN(last_packets));
	tcase_add_test(tc, test_attach);
	tcase_add_test(tc, test_attach_to_another);
	tcase_add_test(tc, test_attach_without_multi);
	tcase_add_loop_test(tc, test_attached_guest_goes, 0, 2);
	suite_add_tcase(suite, tc);
	return suite;
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	return suite_run(server_suite());
}
