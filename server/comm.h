/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SERVER_COMM_H
#define SERVER_COMM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "server/inherited.h"

/* Where clients come from: the COMM of the command line. */

enum comm_kind {
	COMM_TCP,
	COMM_UNIX,
	COMM_STDIO,
};

struct comm_spec {
	enum comm_kind kind;
	char *host; /* COMM_TCP; NULL: loopback */
	char *port; /* COMM_TCP: decimal, 0 to 65535 */
	char *path; /* COMM_UNIX */
};

/* ERR_USAGE. Caller ends *ret with comm_spec_deinit(). */
struct err *comm_parse(const char *text, struct comm_spec *ret) MUST_CHECK;
void comm_spec_deinit(struct comm_spec *spec);

struct comm;

/*
 * Listens. ERR_USAGE where an address is not loopback and allow_remote is not
 * set; ERR_BUSY where a living server has the unix socket. A unix socket is of
 * mode 0600 from its first moment and is removed by comm_destroy(). COMM_STDIO
 * takes descriptors 0 and 1: from here on what is written to standard output
 * goes to standard error.
 */
struct err *comm_open(const struct comm_spec *spec, bool allow_remote, struct inherited *inherited,
		      struct comm **ret) MUST_CHECK;
void comm_destroy(struct comm *c); /* takes NULL */

/* "127.0.0.1:1234", "unix:PATH" for each listening socket; none for stdio. */
size_t comm_count(const struct comm *c);
int comm_fd(const struct comm *c, size_t i);
const char *comm_name(const struct comm *c, size_t i); /* borrowed */

/* A client's two descriptors, which may be one; closed by comm_close_client(). */
struct comm_client {
	int in, out;
	char name[80]; /* for messages */
};

/* Of listening socket i. */
struct err *comm_accept(struct comm *c, size_t i, struct comm_client *ret) MUST_CHECK;
/* COMM_STDIO: its only client; false for the others, and at the second call. */
bool comm_take_stdio(struct comm *c, struct comm_client *ret);
void comm_close_client(struct comm_client *client);

#endif
