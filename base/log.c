/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/buf.h"

static bool debug_on;

void log_set_debug(bool on)
{
	debug_on = on;
}

bool log_debug_on(void)
{
	return debug_on;
}

/* One write a line, so that lines of two processes do not mix. */
static void line(const char *fmt, va_list ap)
{
	struct buf b = { 0 };

	buf_adds(&b, "vmgdbserver: ");
	buf_addv(&b, fmt, ap);
	buf_addch(&b, '\n');
	fputs(buf_str(&b), stderr);
	buf_deinit(&b);
}

void log_debug(const char *fmt, ...)
{
	va_list ap;

	if (!debug_on)
		return;
	va_start(ap, fmt);
	line(fmt, ap);
	va_end(ap);
}

void log_warn(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	line(fmt, ap);
	va_end(ap);
}
