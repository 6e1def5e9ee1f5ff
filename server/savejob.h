/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SERVER_SAVEJOB_H
#define SERVER_SAVEJOB_H

#include "server/hold.h"
#include "server/inherited.h"
#include "server/job.h"

/* One run of guest memory, to be written as it is. */
struct save_range {
	bool is_virtual;
	unsigned vcpu;   /* whose page tables translate, where it is virtual */
	uint64_t at;
	uint64_t bytes;  /* > 0 */
};

/*
 * Pauses the guest and opens the output (as output.h), after a check that
 * physical memory is all there. An unmapped page ends the work with an error;
 * a file is written whole or not at all.
 */
struct err *savejob_prepare(struct hold *hold, const struct inherited *inherited, const struct save_range *range,
			    const char *out, struct job_work *ret) MUST_CHECK;

#endif
