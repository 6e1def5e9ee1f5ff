/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>

#include "base/attr.h"

/*
 * An error on the heap: a code, an errno where a system call failed, and one
 * line of text that says what failed on what, why, and the way out. A function
 * that can fail returns struct err *: NULL is success, anything else belongs
 * to the caller, who passes it on or ends it with err_destroy(). Outputs are
 * untouched on failure unless the declaration says otherwise.
 */
struct err;

enum err_code {
	ERR_SYSTEM,      /* a system call failed: err_errno() */
	ERR_USAGE,       /* the user's words are wrong: exit status 2 */
	ERR_INVALID,     /* malformed or inconsistent input from a peer, guest or file */
	ERR_UNMAPPED,    /* no memory at that address */
	ERR_UNKNOWN,     /* a value that exists but cannot be known here */
	ERR_UNSUPPORTED, /* this backend, host or guest cannot do it */
	ERR_GONE,        /* the target has exited or the peer has left */
	ERR_BUSY,        /* somebody else holds it, or a dump is running */
	ERR_TIMEOUT,
	ERR_CANCELLED,
};

struct err *err_new(enum err_code code, const char *fmt, ...) PRINTF_LIKE(2, 3) MUST_CHECK;

/* ERR_SYSTEM: the text is followed by ": " and strerror(errnum). */
struct err *err_sys(int errnum, const char *fmt, ...) PRINTF_LIKE(2, 3) MUST_CHECK;

/* Puts "text: " before what e says and returns e; NULL stays NULL. */
struct err *err_prefix(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3) MUST_CHECK;

/* Puts text behind what e says (a way out) and returns e; NULL stays NULL. */
struct err *err_suffix(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3) MUST_CHECK;

enum err_code err_code(const struct err *e);
int err_errno(const struct err *e); /* 0 unless ERR_SYSTEM */
const char *err_text(const struct err *e); /* borrowed until e ends */
void err_destroy(struct err *e); /* takes NULL */

/* Rebuilds an error that crossed a process boundary as its parts. */
struct err *err_rebuild(enum err_code code, int errnum, const char *text) MUST_CHECK;

#endif
