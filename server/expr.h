/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SERVER_EXPR_H
#define SERVER_EXPR_H

#include "base/attr.h"
#include "base/cursor.h"
#include "guest/guest.h"

/*
 * NUMBER, $REGISTER or the name of one of the guest kernel's symbols, and more of
 * them with + or - between; sums wrap at 64 bits as addresses do. $pc, $sp and $fp
 * are known on every architecture. Skips white space before it, and takes none
 * behind it. Registers are those of vcpu; they and symbols need a stopped guest.
 * ERR_INVALID, or ERR_UNKNOWN for a register or symbol whose value is not known.
 */
struct err *expr_take(struct cursor *c, struct guest *g, unsigned vcpu, uint64_t *ret) MUST_CHECK;

#endif
