/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SERVER_PROGRESS_H
#define SERVER_PROGRESS_H

#include <stdbool.h>

#include "base/buf.h"
#include "dump/dump.h"

/* What a user sees of work that takes its time. */

enum progress_mode {
	PROGRESS_NONE,
	PROGRESS_TERMINAL, /* one line that is written over, at most 10 times a second */
	PROGRESS_LINES,    /* a line a second */
};

struct progress {
	enum progress_mode mode;
	double last_seconds; /* of the work's own clock; when something was shown */
	bool shown;
};

/* Appends what is to be shown now, if anything. */
void progress_update(struct progress *pr, const struct dump_progress *p, struct buf *out);
/* Appends what takes the line off the terminal, if it is there. */
void progress_end(struct progress *pr, struct buf *out);

/* "1.2 GiB of 4.0 GiB (30%), 812.0 MiB/s, 4 s left", without a newline. */
void progress_format(const struct dump_progress *p, struct buf *out);
/* "536870912 bytes in 0.8 s (640.0 MiB/s), 102.3 MiB written" */
void progress_format_total(const struct dump_progress *p, struct buf *out);

/* "about 1.2 GiB to write of a file of 4.0 GiB, in about 3 s", with a newline. */
void progress_format_estimate(const struct dump_estimate *e, struct buf *out);

#endif
