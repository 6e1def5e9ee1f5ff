/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SERVER_RESULT_H
#define SERVER_RESULT_H

#include "base/buf.h"
#include "dump/dump.h"

/* How a dump ended, for programs; the manual lists the members. */
struct dump_result {
	const char *out;
	const struct dump_options *options;
	const struct dump_progress *progress; /* NULL: it has not begun */
	double pause_seconds;  /* how long the guest stood still for it */
	const struct err *error; /* NULL: it is whole */
};

/* Appends one JSON object and a newline. */
void result_format(const struct dump_result *r, struct buf *out);

/* The same of what a dump would be. */
void result_format_estimate(const struct dump_estimate *e, const struct dump_options *opt, struct buf *out);

#endif
