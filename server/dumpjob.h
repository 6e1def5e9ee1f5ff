/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SERVER_DUMPJOB_H
#define SERVER_DUMPJOB_H

#include "server/hold.h"
#include "server/inherited.h"
#include "server/job.h"

/*
 * Opens the output (as output.h), pauses the guest and plans the vmcore: all that
 * can be foreseen to fail fails here, before the pause where it can, with the guest as it was. The work holds
 * the guest until it is finished, unless it is made of a snapshot (picture.h).
 */
struct err *dumpjob_prepare(struct hold *hold, const struct inherited *inherited, const struct dump_options *opt,
			    const char *out, bool snapshot, struct job_work *ret) MUST_CHECK;

/*
 * What that would write, at most: pauses the guest for as long as it takes to look at some of
 * its memory.
 */
struct err *dumpjob_estimate(struct hold *hold, const struct dump_options *opt, bool snapshot,
			     struct dump_estimate *ret) MUST_CHECK;

#endif
