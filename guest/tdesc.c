/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/tdesc.h"

#include <expat.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cursor.h"

#define MAX_INCLUDES 256u /* documents in all: an include may name its own document */
#define MAX_DEPTH 8u
#define MAX_NAME_BYTES 256u

struct reading {
	tdesc_fetch fetch;
	void *arg;
	struct tdesc *out;
	unsigned documents, depth;
	uint64_t next_regnum;
	char *feature; /* that the text is in, or NULL */
};

/* One document. */
struct document {
	struct reading *reading;
	const char *annex;
	XML_Parser parser;
	bool in_architecture;
	struct err *e;
};

static struct err *read_document(struct reading *r, const char *annex);

/* The handlers that are called until the parser stops do nothing more. */
static void fail(struct document *d, struct err *e)
{
	d->e = e;
	XML_StopParser(d->parser, XML_FALSE);
}

static void malformed(struct document *d, const char *why)
{
	fail(d, err_new(ERR_INVALID, "%s line %lu: %s", d->annex, (unsigned long)XML_GetCurrentLineNumber(d->parser),
			why));
}

static const char *attribute(const char **attributes, const char *name)
{
	for (; *attributes; attributes += 2)
		if (!strcmp(attributes[0], name))
			return attributes[1];
	return NULL;
}

/* A decimal or hexadecimal attribute from min to max. */
static bool number(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
	struct cursor c = cursor_of_string(text ? text : "");

	return cursor_take_number(&c, ret) && cursor_at_end(&c) && *ret >= min && *ret <= max;
}

static void add_reg(struct document *d, const char *name, uint64_t bits, uint64_t regnum)
{
	struct reading *r = d->reading;
	struct tdesc *t = r->out;

	/* Room for powers of two alone. */
	if (!(t->n_regs & (t->n_regs - 1)))
		t->regs = xreallocarray(t->regs, t->n_regs ? t->n_regs * 2 : 1, sizeof(*t->regs));
	t->regs[t->n_regs++] = (struct tdesc_reg){
		.name = xstrdup(name),
		.feature = xstrdup(r->feature ? r->feature : ""),
		.bits = (uint32_t)bits,
		.regnum = (uint32_t)regnum,
	};
	r->next_regnum = regnum + 1;
}

static void got_reg(struct document *d, const char **attributes)
{
	const char *name = attribute(attributes, "name"), *regnum_text = attribute(attributes, "regnum");
	uint64_t bits, regnum = d->reading->next_regnum;

	if (!name || !*name || strlen(name) > MAX_NAME_BYTES)
		malformed(d, "a register without a name");
	else if (!number(attribute(attributes, "bitsize"), 1, TDESC_MAX_BITS, &bits))
		malformed(d, "a register without a bitsize");
	else if ((regnum_text && !number(regnum_text, 0, INT_MAX, &regnum)) || regnum > INT_MAX)
		malformed(d, "a register's regnum is no number of one");
	else if (d->reading->out->n_regs == TDESC_MAX_REGS)
		malformed(d, "too many registers");
	else
		add_reg(d, name, bits, regnum);
}

static void got_include(struct document *d, const char **attributes)
{
	const char *href = attribute(attributes, "href");
	struct err *e;

	if (!href || !*href || strlen(href) > MAX_NAME_BYTES) {
		malformed(d, "an include of nothing");
		return;
	}
	e = read_document(d->reading, href);
	if (e)
		fail(d, e);
}

static void got_feature(struct document *d, const char **attributes)
{
	const char *name = attribute(attributes, "name");

	free(d->reading->feature);
	d->reading->feature = name ? xstrndup(name, MAX_NAME_BYTES) : NULL;
}

static void XMLCALL start_element(void *arg, const XML_Char *name, const XML_Char **attributes)
{
	struct document *d = arg;

	if (d->e)
		return;
	if (!strcmp(name, "reg"))
		got_reg(d, attributes);
	else if (!strcmp(name, "feature"))
		got_feature(d, attributes);
	else if (!strcmp(name, "xi:include"))
		got_include(d, attributes);
	d->in_architecture = !strcmp(name, "architecture");
}

static void XMLCALL end_element(void *arg, const XML_Char *name)
{
	struct document *d = arg;

	d->in_architecture = false;
	if (!strcmp(name, "feature")) {
		free(d->reading->feature);
		d->reading->feature = NULL;
	}
}

static void XMLCALL got_text(void *arg, const XML_Char *text, int bytes)
{
	struct document *d = arg;
	struct buf b = { 0 };

	if (d->e || !d->in_architecture)
		return;
	buf_adds(&b, d->reading->out->architecture);
	buf_add(&b, text, (size_t)bytes);
	free(d->reading->out->architecture);
	d->reading->out->architecture = buf_take(&b);
	if (strlen(d->reading->out->architecture) > MAX_NAME_BYTES)
		malformed(d, "the architecture's name is too long");
}

static struct err *parse(struct document *d, const struct buf *text)
{
	enum XML_Status status;

	XML_SetUserData(d->parser, d);
	XML_SetElementHandler(d->parser, start_element, end_element);
	XML_SetCharacterDataHandler(d->parser, got_text);
	status = XML_Parse(d->parser, buf_str(text), (int)text->len, XML_TRUE);
	if (status == XML_STATUS_ERROR && !d->e)
		malformed(d, XML_ErrorString(XML_GetErrorCode(d->parser)));
	return d->e;
}

static struct err *parse_document(struct reading *r, const char *annex, const struct buf *text)
{
	struct document d = { .reading = r, .annex = annex };
	struct err *e;

	d.parser = XML_ParserCreate(NULL);
	if (!d.parser || text->len > INT_MAX)
		e = err_new(ERR_INVALID, "%s: too long", annex);
	else
		e = parse(&d, text);
	if (d.parser)
		XML_ParserFree(d.parser);
	return e;
}

static struct err *read_document(struct reading *r, const char *annex)
{
	struct buf text = { 0 };
	struct err *e;

	if (r->documents == MAX_INCLUDES || r->depth == MAX_DEPTH)
		return err_new(ERR_INVALID, "%s: included too often or too deeply", annex);
	r->documents++;
	r->depth++;
	e = r->fetch(r->arg, annex, &text);
	if (!e)
		e = parse_document(r, annex, &text);
	r->depth--;
	buf_deinit(&text);
	return e;
}

struct err *tdesc_read(tdesc_fetch fetch, void *arg, struct tdesc *ret)
{
	struct tdesc t = { .architecture = xstrdup("") };
	struct reading r = { .fetch = fetch, .arg = arg, .out = &t };
	struct err *e = read_document(&r, "target.xml");

	free(r.feature);
	if (e) {
		tdesc_deinit(&t);
		return err_prefix(e, "the target description");
	}
	*ret = t;
	return NULL;
}

void tdesc_deinit(struct tdesc *t)
{
	for (size_t i = 0; i < t->n_regs; i++) {
		free(t->regs[i].name);
		free(t->regs[i].feature);
	}
	free(t->regs);
	free(t->architecture);
	*t = (struct tdesc){ 0 };
}
