/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LINUX_VMCOREINFO_H
#define LINUX_VMCOREINFO_H

#include <stdbool.h>

#include "base/cursor.h"
#include "guest/guest.h"

/* The note's text: lines KEY=VALUE. {0} is none; bytes counts no NUL, and none need follow. */
struct vmcoreinfo {
	char *text;
	size_t bytes;
	uint64_t gpa; /* of the note's header */
};

void vmcoreinfo_deinit(struct vmcoreinfo *v);

/* Is it the right one? arg is the caller's. */
typedef bool (*vmcoreinfo_fn)(void *arg, const struct vmcoreinfo *v);

/* Takes the note whose header is at gpa, if there is a sound one that fn takes. */
bool vmcoreinfo_read(struct guest *g, uint64_t gpa, vmcoreinfo_fn fn, void *arg, struct vmcoreinfo *ret);

/*
 * Searches the RAM that was touched for the first note that fn takes.
 * ERR_UNKNOWN when there is none.
 */
struct err *vmcoreinfo_search(struct guest *g, vmcoreinfo_fn fn, void *arg, struct vmcoreinfo *ret) MUST_CHECK;

/*
 * The value of KEY=VALUE as a number in base 10 or 16; false when there is
 * none. A negative one is returned as its two's complement.
 */
bool vmcoreinfo_number(const struct vmcoreinfo *v, const char *key, int base, uint64_t *ret);

/* The same; without the line ERR_UNKNOWN, which names the key. */
struct err *vmcoreinfo_need(const struct vmcoreinfo *v, const char *key, int base, uint64_t *ret) MUST_CHECK;
/* ERR_UNKNOWN: the value of this key cannot be right. */
struct err *vmcoreinfo_senseless(const char *key, uint64_t value) MUST_CHECK;

/* The address that SYMBOL(name) has. */
bool vmcoreinfo_symbol(const struct vmcoreinfo *v, const char *name, uint64_t *ret);

/* What stands behind KEY=, borrowed; false when there is no such line. */
bool vmcoreinfo_value(const struct vmcoreinfo *v, const char *key, struct cursor *ret);

#endif
