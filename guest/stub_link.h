/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_STUB_LINK_H
#define GUEST_STUB_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

/* Packets to and from a gdb stub: one question, one answer. */
struct stub_link;

/* Takes over fd, a connected stream socket. */
struct stub_link *stub_link_create(int fd, const char *name, unsigned timeout_ms);
void stub_link_destroy(struct stub_link *l); /* takes NULL */

int stub_link_fd(const struct stub_link *l);

/*
 * Puts the answer to a request in place of what ret holds: without run lengths,
 * escapes still in it. Stop replies before it are dropped. After any error the
 * link is of no use: ERR_GONE from then on.
 */
struct err *stub_link_ask(struct stub_link *l, const char *request, struct buf *ret) MUST_CHECK;
struct err *stub_link_askf(struct stub_link *l, struct buf *ret, const char *fmt, ...) PRINTF_LIKE(3, 4) MUST_CHECK;

/*
 * The same in two halves: questions go out together with the first stub_link_receive(),
 * which must be called once for each, in their order. A damaged answer is an error.
 */
void stub_link_queue(struct stub_link *l, const char *request);
struct err *stub_link_receive(struct stub_link *l, struct buf *ret) MUST_CHECK;

/* For a request whose answer is a stop reply: returns once it has been taken, and acts. */
struct err *stub_link_tell(struct stub_link *l, const char *request) MUST_CHECK;

/*
 * The next stop reply in place of what ret holds; *ret_some false: none has come until
 * the deadline, in ms of peer_now_ms()'s clock, or yet when that is 0.
 */
struct err *stub_link_poll(struct stub_link *l, int64_t deadline, struct buf *ret, bool *ret_some) MUST_CHECK;

#endif
