/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

#include "base/attr.h"

/* Lines on stderr, each with the program's name before it. */
void log_set_debug(bool on);
bool log_debug_on(void);
void log_debug(const char *fmt, ...) PRINTF_LIKE(1, 2); /* only with --debug */
void log_warn(const char *fmt, ...) PRINTF_LIKE(1, 2);

#endif
