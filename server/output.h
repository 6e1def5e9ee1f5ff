/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SERVER_OUTPUT_H
#define SERVER_OUTPUT_H

#include "dump/dump.h"
#include "server/inherited.h"

/*
 * Opens what the user named as a place to write to: file:PATH, fd:N (an
 * inherited descriptor), "-" (standard output) or a plain path. need_bytes of
 * it must be free.
 */
struct err *output_open(const char *text, const struct inherited *inherited, uint64_t need_bytes,
			struct dump_sink **ret) MUST_CHECK;
#endif
