/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

struct err {
	enum err_code code;
	int errnum;
	char *text;
};

static char *format(const char *fmt, va_list ap)
{
	char *text;

	return vasprintf(&text, fmt, ap) < 0 ? xstrdup(fmt) : text;
}

/* "a" sep "b"; frees both. */
static char *join(char *a, const char *sep, char *b)
{
	char *text = xmalloc(strlen(a) + strlen(sep) + strlen(b) + 1);

	strcpy(text, a);
	strcat(text, sep);
	strcat(text, b);
	free(a);
	free(b);
	return text;
}

static struct err *make(enum err_code code, int errnum, char *text)
{
	struct err *e = xmalloc(sizeof(*e));

	*e = (struct err){ code, errnum, text };
	return e;
}

struct err *err_new(enum err_code code, const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = format(fmt, ap);
	va_end(ap);
	return make(code, 0, text);
}

struct err *err_sys(int errnum, const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = format(fmt, ap);
	va_end(ap);
	return make(ERR_SYSTEM, errnum, join(text, ": ", xstrdup(strerror(errnum))));
}

struct err *err_prefix(struct err *e, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return NULL;
	va_start(ap, fmt);
	e->text = join(format(fmt, ap), ": ", e->text);
	va_end(ap);
	return e;
}

struct err *err_suffix(struct err *e, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return NULL;
	va_start(ap, fmt);
	e->text = join(e->text, "", format(fmt, ap));
	va_end(ap);
	return e;
}

struct err *err_rebuild(enum err_code code, int errnum, const char *text)
{
	return make(code, errnum, xstrdup(text));
}

enum err_code err_code(const struct err *e)
{
	return e->code;
}

int err_errno(const struct err *e)
{
	return e->errnum;
}

const char *err_text(const struct err *e)
{
	return e->text;
}

void err_destroy(struct err *e)
{
	if (!e)
		return;
	free(e->text);
	free(e);
}
