/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_QMP_H
#define GUEST_QMP_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

/*
 * A client of QEMU's Machine Protocol. Every call has a time-out (ERR_TIMEOUT
 * names the command); a QEMU that has exited is ERR_GONE.
 */
struct qmp;

/* "PATH", "unix:PATH", "HOST:PORT" or "tcp:HOST:PORT". Reads the greeting and negotiates. */
struct err *qmp_connect(const char *address, struct qmp **ret) MUST_CHECK;
void qmp_close(struct qmp *q); /* takes NULL */

/*
 * For a copy of q in a forked process, when the original has ended: goes on with its
 * connection, whatever was being said on it. From then on commands wait for as long
 * as it takes.
 */
struct err *qmp_take_over(struct qmp *q) MUST_CHECK;

/* Readable when an event may be there, or the end. */
int qmp_fd(const struct qmp *q);
/* Of the process at the other end (SO_PEERCRED); 0 when it cannot be known (TCP). */
pid_t qmp_pid(const struct qmp *q);
/* The numeric address at the other end of a TCP connection; NULL for a unix socket. Borrowed. */
const char *qmp_host(const struct qmp *q);
/* By a unix socket, or an address that means this machine to it: what it says of files may be true here. */
bool qmp_is_local(const struct qmp *q);
/* Of commands from now on; it is 20 s at first. After a time-out it is 1 s until QEMU says something. */
void qmp_set_timeout(struct qmp *q, unsigned ms);

/*
 * arguments: an object, taken over, or NULL. *ret: the value of "return"; the
 * caller ends it with json_object_put(). QEMU's own error is ERR_UNSUPPORTED
 * with its class and text. Events that come in between are kept.
 */
struct err *qmp_execute(struct qmp *q, const char *command, struct json_object *arguments,
			struct json_object **ret) MUST_CHECK;
/* The same for a command whose answer says nothing. */
struct err *qmp_run(struct qmp *q, const char *command, struct json_object *arguments) MUST_CHECK;

/* Gives QEMU a copy of fd under a name (getfd); ERR_UNSUPPORTED over TCP. */
struct err *qmp_send_fd(struct qmp *q, const char *name, int fd) MUST_CHECK;

/* human-monitor-command; *ret is its text, which the caller frees. vcpu -1: the monitor's own. */
struct err *qmp_hmp(struct qmp *q, int vcpu, const char *line, char **ret) MUST_CHECK;

/* The next event that has come, without waiting: its object, which the caller ends; NULL: none. */
struct err *qmp_next_event(struct qmp *q, struct json_object **ret) MUST_CHECK;

/* How many devices have gone, of which events have come up to the last answer, whoever has taken them. */
unsigned qmp_unplugs(const struct qmp *q);

/* Forgets those that have come, for who asks then for what they told. */
struct err *qmp_drop_events(struct qmp *q) MUST_CHECK;

/* For answers, which may be anything: 0 for what is no array, "" for what has no such string. */
size_t qmp_array_len(const struct json_object *o);
const char *qmp_string(const struct json_object *o, const char *key); /* borrowed from o */

#endif
