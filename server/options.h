/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SERVER_OPTIONS_H
#define SERVER_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "dump/dump.h"

/* The command line as a struct. Strings are borrowed from argv. */

enum mode {
	MODE_SERVE,
	MODE_DUMP,
	MODE_CONSOLE,
	MODE_LIST,
	MODE_HELP,
	MODE_VERSION,
};

struct options {
	enum mode mode;
	const char *comm;      /* MODE_SERVE */
	pid_t pid;             /* of --attach, or 0 */
	const char *core;      /* of --core, or NULL */
	const char *qmp;       /* of --qmp, or NULL */
	char **program;        /* to be started, with its arguments and a NULL, or NULL; just one of the four, but see multi */
	bool wait;             /* with pid: hold the guest when it is to run next */
	unsigned vm;           /* which VM of the process */
	bool once;
	bool multi;            /* clients may attach to other VMMs; there may be no target */
	bool allow_remote;
	bool debug;
	bool quiet;
	bool on_panic;         /* MODE_DUMP: wait for a panic of the guest */
	bool estimate;         /* MODE_DUMP: what it would be, and no more; out may be NULL */
	bool json;             /* MODE_DUMP: the result on standard output */
	bool snapshot;         /* MODE_DUMP */
	bool has_begin, has_length;
	uint64_t begin, length;
	struct dump_options dump; /* MODE_DUMP: checked */
	const char *out;          /* MODE_DUMP */
	const char **commands;    /* MODE_CONSOLE: of -c, in order */
	size_t n_commands;
};

/*
 * ERR_USAGE says in one line what is wrong. argv is permuted. Caller ends *ret
 * with options_deinit(), on success only.
 */
struct err *options_parse(int argc, char **argv, struct options *ret) MUST_CHECK;
void options_deinit(struct options *o);

bool options_have_target(const struct options *o);

/* What --help prints. */
void options_usage(struct buf *out);

/* A bit of option_desc.modes beyond those of enum mode: dump-guest-memory of the monitor takes it, too. */
#define OPTION_IN_MONITOR (1u << 31)

/* One option, for the usage text and the manual. */
struct option_desc {
	const char *name;  /* without "--" */
	char letter;       /* 0: none */
	const char *value; /* of its argument, or NULL: it takes none */
	unsigned modes;    /* 1 << enum mode, of where it means something */
	const char *help;
	struct err *(*set)(struct options *o, const char *value);
	size_t flag;       /* where there is no set: the offset of a bool in struct options */
};

/* value is NULL where the option takes none. */
struct err *option_set(const struct option_desc *d, struct options *o, const char *value) MUST_CHECK;

const struct option_desc *options_table(size_t *ret_n);

/*
 * What is known once all words were taken: checks those of a dump against each other, and sets
 * o->dump. out: as o->out, whose suffix says what is around the file; or NULL. ERR_USAGE.
 */
struct err *options_check_dump(struct options *o, const char *out) MUST_CHECK;

#endif
