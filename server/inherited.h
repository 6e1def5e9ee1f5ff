/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SERVER_INHERITED_H
#define SERVER_INHERITED_H

#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"

/* The descriptors that were open when the program started: what fd:N may name. */
struct inherited {
	int *fds;
	size_t n_fds;
};

/*
 * Call before anything is opened. Opens /dev/null on those of 0, 1 and 2 that
 * are closed, which do not count as inherited, so that no file of ours lands there.
 */
void inherited_record(struct inherited *ret);
void inherited_deinit(struct inherited *in);

/* From now on fd is ours and fd:N may not name it. */
void inherited_claim(struct inherited *in, int fd);

/* NULL when fd was inherited and is not claimed. */
struct err *inherited_check(const struct inherited *in, int fd) MUST_CHECK;

#endif
