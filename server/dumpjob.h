/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SERVER_DUMPJOB_H
#define SERVER_DUMPJOB_H

#include "server/hold.h"
#include "server/inherited.h"
#include "server/job.h"

/*
 * Pauses the guest, plans the vmcore, opens the output (as output.h): all that
 * can be foreseen to fail fails here, with the guest as it was. The work holds
 * the guest until it is finished, unless it is made of a snapshot (picture.h).
 */
struct err *dumpjob_prepare(struct hold *hold, const struct inherited *inherited, const struct dump_options *opt,
			    const char *out, bool snapshot, struct job_work *ret) MUST_CHECK;

#endif
