/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_SURVIVOR_H
#define GUEST_SURVIVOR_H

#include <stddef.h>

/*
 * Makes the calling process, just forked, one that outlives its parent: in a session
 * of its own, without any of the parent's descriptors but n of keep (ascending, above
 * 2), deaf to signals but SIGCHLD, and the last to go when memory runs out.
 */
void survivor_begin(const char *name, const int *keep, size_t n);

#endif
