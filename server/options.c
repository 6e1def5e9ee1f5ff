/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/options.h"

#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cursor.h"
#include "guest/os.h"

#define IN_SERVE (1u << MODE_SERVE)
#define IN_DUMP (1u << MODE_DUMP)
#define IN_CONSOLE (1u << MODE_CONSOLE)
#define IN_LIST (1u << MODE_LIST)
#define IN_DUMPS (IN_DUMP | OPTION_IN_MONITOR)
#define WITH_TARGET (IN_SERVE | IN_DUMP | IN_CONSOLE)
#define EVERYWHERE (WITH_TARGET | IN_LIST)

/* ---- one function an option ---- */

static struct err *number(const char *option, const char *value, uint64_t *ret)
{
	struct cursor c = cursor_of_string(value);
	uint64_t n;

	if (!cursor_take_number(&c, &n) || !cursor_at_end(&c))
		return err_new(ERR_USAGE, "--%s: '%s' is not a number of 64 bits", option, value);
	*ret = n;
	return NULL;
}

static struct err *set_attach(struct options *o, const char *value)
{
	uint64_t pid = 0;
	struct err *e = number("attach", value, &pid);

	if (e)
		return e;
	if (!pid || pid > INT_MAX)
		return err_new(ERR_USAGE, "--attach: %s is no process id", value);
	if (o->pid)
		return err_new(ERR_USAGE, "--attach is given twice; there is one target");
	o->pid = (pid_t)pid;
	return NULL;
}

static struct err *set_text(const char *option, const char *value, const char **ret)
{
	if (!*value)
		return err_new(ERR_USAGE, "--%s: its value is empty", option);
	if (*ret)
		return err_new(ERR_USAGE, "--%s is given twice; there is one target", option);
	*ret = value;
	return NULL;
}

static struct err *set_core(struct options *o, const char *value)
{
	return set_text("core", value, &o->core);
}

static struct err *set_qmp(struct options *o, const char *value)
{
	return set_text("qmp", value, &o->qmp);
}

static struct err *set_vm(struct options *o, const char *value)
{
	uint64_t vm = 0;
	struct err *e = number("vm", value, &vm);

	if (e)
		return e;
	if (vm > UINT_MAX)
		return err_new(ERR_USAGE, "--vm: %s is too large", value);
	o->vm = (unsigned)vm;
	return NULL;
}

static struct err *set_format(struct options *o, const char *value)
{
	return err_prefix(dump_format_by_name(value, &o->dump.format), "--format");
}

static struct err *set_begin(struct options *o, const char *value)
{
	o->has_begin = true;
	return number("begin", value, &o->begin);
}

static struct err *set_length(struct options *o, const char *value)
{
	o->has_length = true;
	return number("length", value, &o->length);
}

static struct err *set_exclude(struct options *o, const char *value)
{
	struct cursor c = cursor_of_string(value);

	do {
		struct cursor word = cursor_take_until(&c, ",");
		unsigned i = 0;

		while (i < N_PAGE_CLASSES && !cursor_equals(&word, page_class_names[i]))
			i++;
		if (i == N_PAGE_CLASSES)
			return err_new(ERR_USAGE, "--exclude: '%s' is no list of zero, cache, private, user and free",
				       value);
		o->dump.leave_out |= 1u << i;
	} while (cursor_take_char(&c, ','));
	return NULL;
}

static struct err *set_dump_level(struct options *o, const char *value)
{
	uint64_t level = 0;
	struct err *e = number("dump-level", value, &level);

	if (e)
		return e;
	if (level > PAGES_ALL)
		return err_new(ERR_USAGE, "--dump-level: %s is not from 0 to 31", value);
	o->dump.leave_out |= (unsigned)level;
	return NULL;
}

/* "100M": letters are powers of 1024. */
static struct err *set_bandwidth(struct options *o, const char *value)
{
	static const char units[] = "KMGT";
	struct cursor c = cursor_of_string(value);
	uint64_t rate;
	bool ok = cursor_take_number(&c, &rate);

	for (unsigned i = 0; ok && units[i]; i++)
		if (cursor_take_char(&c, units[i]))
			ok = !__builtin_mul_overflow(rate, 1ull << 10 * (i + 1), &rate) && cursor_at_end(&c);
	if (!ok || !cursor_at_end(&c) || !rate)
		return err_new(ERR_USAGE, "--bandwidth: '%s' is no number of bytes a second, as in 500K, 100M or 2G",
			       value);
	o->dump.bandwidth = rate;
	return NULL;
}

static struct err *set_timeout(struct options *o, const char *value)
{
	uint64_t seconds = 0;
	struct err *e = number("timeout", value, &seconds);

	if (e)
		return e;
	if (!seconds || seconds > INT_MAX)
		return err_new(ERR_USAGE, "--timeout: %s is no number of seconds from 1 to %d", value, INT_MAX);
	o->dump.timeout = (double)seconds;
	return NULL;
}

static struct err *set_command(struct options *o, const char *value)
{
	o->commands = xreallocarray(o->commands, o->n_commands + 1, sizeof(*o->commands));
	o->commands[o->n_commands++] = value;
	return NULL;
}

static struct err *set_help(struct options *o, const char *value)
{
	(void)value;
	o->mode = MODE_HELP;
	return NULL;
}

static struct err *set_version(struct options *o, const char *value)
{
	(void)value;
	o->mode = MODE_VERSION;
	return NULL;
}

#define CALL(fn) .set = (fn)
#define FLAG(member) .flag = offsetof(struct options, member)

static const struct option_desc table[] = {
	{ "attach", 0, "PID", WITH_TARGET, "the guest of this KVM process", CALL(set_attach) },
	{ "core", 0, "FILE", WITH_TARGET, "the guest that this vmcore was written of", CALL(set_core) },
	{ "qmp", 0, "SOCKET", WITH_TARGET, "the guest of the QEMU with this QMP socket: PATH, HOST:PORT", CALL(set_qmp) },
	{ "vm", 0, "N", WITH_TARGET, "which VM of a process that has several, from 0", CALL(set_vm) },
	{ "once", 0, NULL, IN_SERVE, "exit when the first client has left", FLAG(once) },
	{ "multi", 0, NULL, IN_SERVE, "let clients attach to any KVM process; TARGET may be left out", FLAG(multi) },
	{ "wait", 0, NULL, IN_SERVE, "with --attach: hold the guest when it is to run next, for gdb", FLAG(wait) },
	{ "allow-remote", 0, NULL, IN_SERVE, "let COMM be an address that other machines reach", FLAG(allow_remote) },
	{ "quiet", 'q', NULL, IN_DUMP, "no progress and no summary", FLAG(quiet) },
	{ "paging", 'p', NULL, IN_DUMPS, "a program header for each mapping of the page tables", FLAG(dump.paging) },
	{ "snapshot", 0, NULL, IN_DUMPS, "let the guest go on while the dump is written", FLAG(snapshot) },
	{ "format", 0, "NAME", IN_DUMPS, "elf, or kdump-zlib, kdump-lzo, kdump-snappy, kdump-zstd", CALL(set_format) },
	{ "flatten", 0, NULL, IN_DUMPS, "a kdump format for pipes, which makedumpfile -R puts in order", FLAG(dump.flatten) },
	{ "exclude", 0, "LIST", IN_DUMPS, "leave these pages out: zero,cache,private,user,free", CALL(set_exclude) },
	{ "dump-level", 'd', "LEVEL", IN_DUMPS, "the same by number, the sum of 1, 2, 4, 8, 16", CALL(set_dump_level) },
	{ "begin", 0, "A", IN_DUMP, "only guest-physical memory from this address on", CALL(set_begin) },
	{ "length", 0, "N", IN_DUMP, "and only this many bytes of it", CALL(set_length) },
	{ "bandwidth", 0, "RATE", IN_DUMPS, "write at most so many bytes a second: 100M", CALL(set_bandwidth) },
	{ "timeout", 0, "SECONDS", IN_DUMPS, "give the dump up when it takes longer", CALL(set_timeout) },
	{ "on-panic", 0, NULL, IN_DUMP, "wait until the guest panics, and dump it then", FLAG(on_panic) },
	{ "estimate", 0, NULL, IN_DUMP, "print how large the file would be, and write nothing", FLAG(estimate) },
	{ "json", 0, NULL, IN_DUMP, "print the result as JSON on standard output", FLAG(json) },
	{ "sha256", 0, NULL, IN_DUMPS, "with the SHA-256 of what was written", FLAG(dump.sha256) },
	{ "command", 'c', "COMMAND", IN_CONSOLE, "run this and exit; may be given again", CALL(set_command) },
	{ "debug", 0, NULL, EVERYWHERE, "log packets and decisions on stderr", FLAG(debug) },
	{ "help", 'h', NULL, EVERYWHERE, "print this and exit", CALL(set_help) },
	{ "version", 0, NULL, EVERYWHERE, "print the version and exit", CALL(set_version) },
};

struct err *option_set(const struct option_desc *d, struct options *o, const char *value)
{
	if (d->set)
		return d->set(o, value);
	*(bool *)((char *)o + d->flag) = true;
	return NULL;
}

const struct option_desc *options_table(size_t *ret_n)
{
	*ret_n = ARRAY_LEN(table);
	return table;
}

/* ---- the words ---- */

static const char *const mode_names[] = {
	[MODE_SERVE] = "serving gdb",
	[MODE_DUMP] = "dump",
	[MODE_CONSOLE] = "console",
	[MODE_LIST] = "list",
};

static int count_targets(const struct options *o)
{
	return (o->pid != 0) + (o->core != NULL) + (o->qmp != NULL) + (o->program != NULL);
}

bool options_have_target(const struct options *o)
{
	return count_targets(o) > 0;
}

static struct err *check_target(const struct options *o)
{
	int n = count_targets(o);

	if (n > 1)
		return err_new(ERR_USAGE, "more than one of --attach, --core, --qmp and -- PROGRAM is given; "
					  "there is one target");
	if (o->wait && !o->pid)
		return err_new(ERR_USAGE, "--wait is for --attach PID; a program that is started is always held");
	if (n || o->multi)
		return NULL;
	return err_new(ERR_USAGE, "no target: give --attach PID, --core FILE%s", o->mode == MODE_SERVE ?
		       ", --qmp SOCKET or -- PROGRAM" : " or --qmp SOCKET");
}

/* n words behind the subcommand, which is words[0] but in MODE_SERVE. */
static struct err *take_words(struct options *o, char **words, int n)
{
	int want = o->mode == MODE_SERVE || o->mode == MODE_DUMP;

	if (n < want && !o->estimate)
		return err_new(ERR_USAGE, o->mode == MODE_DUMP ? "dump: no OUT is given: a path, fd:N or -" :
								 "no COMM is given: :PORT, HOST:PORT, unix:PATH or -");
	if (n > want)
		return err_new(ERR_USAGE, "'%s' is one word too many", words[want]);
	if (o->mode == MODE_SERVE)
		o->comm = words[0];
	if (o->mode == MODE_DUMP && n)
		o->out = words[0];
	return NULL;
}

static enum mode mode_of_word(const char *word)
{
	for (int m = MODE_DUMP; m <= MODE_LIST; m++) {
		if (!strcmp(word, mode_names[m]))
			return (enum mode)m;
	}
	return MODE_SERVE;
}

/* seen: one bit for each row of the table. */
static struct err *check_modes(const struct options *o, uint64_t seen)
{
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		if ((seen & 1ull << i) && !(table[i].modes & 1u << o->mode))
			return err_new(ERR_USAGE, "--%s means nothing with %s", table[i].name, mode_names[o->mode]);
	}
	return NULL;
}

/* The words behind "--", of which there are n, or -1 where there is no such word. */
static struct err *take_program(struct options *o, char **words, int n)
{
	if (n == 0)
		return err_new(ERR_USAGE, "no PROGRAM is given behind --");
	o->program = n > 0 ? words : NULL;
	return NULL;
}

struct err *options_check_dump(struct options *o, const char *out)
{
	if (out)
		o->dump.wrap = dump_wrap_of_name(out);
	if (o->estimate && o->on_panic)
		return err_new(ERR_USAGE, "--estimate looks at the guest as it is now; it cannot wait for --on-panic");
	if (o->json && out && (!strcmp(out, "-") || !strcmp(out, "fd:1")))
		return err_new(ERR_USAGE, "--json needs standard output, where the dump is to go: name a file or fd:N");
	return dump_options_check(o->has_begin, o->begin, o->has_length, o->length, &o->dump);
}

/* n_behind: how many of the words stand behind "--", or -1. */
static struct err *finish(struct options *o, char **words, int n_words, int n_behind, uint64_t seen)
{
	struct err *e;

	if (o->mode == MODE_HELP || o->mode == MODE_VERSION)
		return NULL;
	if (n_words)
		o->mode = mode_of_word(words[0]);
	if (o->mode != MODE_SERVE) {
		words++;
		n_words--;
	}
	e = check_modes(o, seen);
	if (!e && o->mode == MODE_SERVE) {
		n_words -= MAX(n_behind, 0);
		e = take_program(o, words + n_words, n_behind);
	}
	if (!e)
		e = take_words(o, words, n_words);
	if (!e && o->mode != MODE_LIST)
		e = check_target(o);
	if (!e && o->mode == MODE_DUMP)
		e = options_check_dump(o, o->out);
	return e;
}

/* ---- getopt ---- */

/* Long options return their row + 1, below every letter. */
static void make_getopt_tables(struct option *longs, char *shorts)
{
	*shorts++ = ':';
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		longs[i] = (struct option){ table[i].name, table[i].value ? required_argument : no_argument, NULL,
					    (int)i + 1 };
		if (table[i].letter) {
			*shorts++ = table[i].letter;
			if (table[i].value)
				*shorts++ = ':';
		}
	}
	*shorts = '\0';
}

static int row_of(int found)
{
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		if (found == (int)i + 1 || (table[i].letter && found == table[i].letter))
			return (int)i;
	}
	return -1;
}

/* getopt leaves a row or a letter in optopt, or 0 for a long option that it does not know. */
static struct err *getopt_error(int found, char **argv)
{
	int row = row_of(optopt);

	if (found == ':')
		return err_new(ERR_USAGE, "--%s needs a value: %s", table[row].name, table[row].value);
	if (row >= 0)
		return err_new(ERR_USAGE, "--%s takes no value", table[row].name);
	if (optopt)
		return err_new(ERR_USAGE, "unknown option -%c", optopt);
	return err_new(ERR_USAGE, "unknown option %s", argv[optind - 1]);
}

static int count_behind(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--"))
			return argc - 1 - i;
	return -1;
}

struct err *options_parse(int argc, char **argv, struct options *ret)
{
	struct option longs[ARRAY_LEN(table) + 1] = { { 0 } };
	char shorts[2 * ARRAY_LEN(table) + 2];
	struct options o = { 0 };
	struct err *e = NULL;
	uint64_t seen = 0;
	int found, n_behind = count_behind(argc, argv);

	make_getopt_tables(longs, shorts);
	opterr = 0;
	optind = 0; /* glibc: start anew */
	while (!e && o.mode == MODE_SERVE && (found = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		int row = found == '?' || found == ':' ? -1 : row_of(found);

		if (row >= 0)
			seen |= 1ull << row;
		e = row < 0 ? getopt_error(found, argv) : option_set(&table[row], &o, optarg);
	}
	if (!e)
		e = finish(&o, argv + optind, argc - optind, n_behind, seen);
	if (e) {
		options_deinit(&o);
		return e;
	}
	*ret = o;
	return NULL;
}

void options_deinit(struct options *o)
{
	free(o->commands);
	o->commands = NULL;
	o->n_commands = 0;
}

/* ---- help ---- */

static void usage_row(const struct option_desc *d, struct buf *out)
{
	size_t start = out->len;

	buf_addf(out, d->letter ? "  -%c, " : "      ", d->letter);
	buf_addf(out, "--%s%s%s", d->name, d->value ? " " : "", d->value ? d->value : "");
	buf_addf(out, "%*s%s\n", (int)MAX(1, 27 - (int)(out->len - start)), "", d->help);
}

void options_usage(struct buf *out)
{
	buf_adds(out, "A gdbserver for virtual machines.\n\n"
		      "vmgdbserver [OPTIONS] COMM TARGET            serve gdb\n"
		      "vmgdbserver [OPTIONS] COMM -- PROGRAM ...    the same; starts the VMM, and holds its guest\n"
		      "vmgdbserver [OPTIONS] --multi COMM           the same; gdb says what to attach to\n"
		      "vmgdbserver dump [OPTIONS] TARGET OUT        write a vmcore\n"
		      "vmgdbserver console TARGET [-c COMMAND]...   monitor commands at a prompt\n"
		      "vmgdbserver list                             KVM guests of this host\n\n"
		      "TARGET: --attach PID | --core FILE | --qmp SOCKET\n"
		      "COMM:   :PORT, HOST:PORT, [ADDRESS]:PORT, unix:PATH or - (standard input and output)\n"
		      "OUT:    a path, fd:N or - (standard output)\n\n"
		      "Options, in any order:\n");
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		usage_row(&table[i], out);
	buf_adds(out, "\nExit status: 0 done, 1 the target or the output failed, 2 usage.\n");
}
