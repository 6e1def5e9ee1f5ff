/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef RSP_RSP_H
#define RSP_RSP_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"
#include "guest/guest.h"

/*
 * The gdb Remote Serial Protocol, over no transport: bytes in, bytes out. One
 * session is one connection. docs/protocol.md lists the packets.
 */
struct rsp_session;

/* What the server gives a session. arg is passed back. */
struct rsp_host {
	/*
	 * Runs a monitor command (gdb's `monitor`, decoded). The command says
	 * what it has to say with rsp_session_console() and ends, now or later,
	 * with exactly one rsp_session_monitor_done().
	 */
	void (*monitor)(void *arg, struct rsp_session *s, const char *command);
	/*
	 * gdb's attach: the guest of this process, stopped, in place of the one that
	 * the session has, if any, which is let go of. An error changes nothing.
	 */
	struct err *(*attach)(void *arg, pid_t pid, struct guest **ret);
	/* Lets go of the guest; the session goes on without one. */
	void (*detach)(void *arg);
	void *arg;
};

/*
 * Borrows g, which must outlive it or rsp_session_forget_guest(); the guest is
 * stopped. NULL: none, until the client attaches to one.
 */
struct rsp_session *rsp_session_create(struct guest *g, const struct rsp_host *host);
void rsp_session_destroy(struct rsp_session *s); /* takes NULL */

/* Bytes from the client, in pieces of any size. Replies gather in rsp_session_output(). */
void rsp_session_input(struct rsp_session *s, const void *data, size_t bytes);
/* What is to be sent; the caller drops (buf_drop) what it has sent, and then calls rsp_session_sent(). */
struct buf *rsp_session_output(struct rsp_session *s);
/* So much waits to be sent that nothing more is answered, and no input wanted, until some of it is. */
bool rsp_session_full(const struct rsp_session *s);
/* Some output was dropped: answers what was left because of rsp_session_full(). */
void rsp_session_sent(struct rsp_session *s);

/* The guest stopped, or is gone: answers a continue that is under way. */
void rsp_session_event(struct rsp_session *s, const struct guest_event *ev);
/* A guest that is gone ends here; the session goes on without one. */
void rsp_session_forget_guest(struct rsp_session *s);

/*
 * Text for the client's console (O packets); any length, text or not. Dropped
 * while the client waits for nothing: it would take it for an answer.
 */
void rsp_session_console(struct rsp_session *s, const char *text, size_t bytes);
/* Ends the monitor command under way; takes over e, NULL is success. */
void rsp_session_monitor_done(struct rsp_session *s, struct err *e);
bool rsp_session_in_monitor(const struct rsp_session *s);

/* The client said D or k: close when the output is sent. */
bool rsp_session_ended(const struct rsp_session *s);
/* The session has left the guest running (continue is under way). */
bool rsp_session_running(const struct rsp_session *s);

#endif
