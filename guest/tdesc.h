/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_TDESC_H
#define GUEST_TDESC_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* gdb's target description, as far as it tells which registers a stub has. */

#define TDESC_MAX_REGS 8192u
#define TDESC_MAX_BITS 65536u

struct tdesc_reg {
	char *name;
	char *feature; /* "org.gnu.gdb.i386.core"; empty where it stands in none */
	uint32_t bits; /* 1 to TDESC_MAX_BITS */
	uint32_t regnum;
};

struct tdesc {
	char *architecture; /* "i386:x86-64"; empty where it tells none */
	struct tdesc_reg *regs; /* in the order of the text */
	size_t n_regs;
};

/* Appends the text of one of its documents: "target.xml" and what that includes. */
typedef struct err *(*tdesc_fetch)(void *arg, const char *annex, struct buf *ret);

/*
 * Reads target.xml and everything it includes. ERR_INVALID names the document
 * and the line of it. Caller ends *ret with tdesc_deinit().
 */
struct err *tdesc_read(tdesc_fetch fetch, void *arg, struct tdesc *ret) MUST_CHECK;
void tdesc_deinit(struct tdesc *t);

#endif
