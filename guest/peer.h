/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_PEER_H
#define GUEST_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/*
 * Stream sockets to a VMM: non-blocking, with deadlines in milliseconds of
 * peer_now_ms()'s clock, which nobody sets. Errors do not say who the peer is.
 */
int64_t peer_now_ms(void);
/* False when the deadline has passed. */
bool peer_wait(int fd, short events, int64_t deadline);

/*
 * "PATH", "unix:PATH", "HOST:PORT" or "tcp:HOST:PORT"; what has a slash in it or
 * no colon is a path. ERR_BUSY where as many clients wait as the peer lets wait.
 * Caller closes *ret.
 */
struct err *peer_connect(const char *address, int64_t deadline, int *ret) MUST_CHECK;

/* All of it. ERR_GONE when the peer has closed. */
struct err *peer_send(int fd, const void *data, size_t bytes, int64_t deadline) MUST_CHECK;
/* Appends one piece of what has come, without waiting; *ret false: nothing has. ERR_GONE at the end. */
struct err *peer_receive(int fd, struct buf *in, bool *ret) MUST_CHECK;

#endif
