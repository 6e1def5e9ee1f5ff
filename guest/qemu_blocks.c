/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/qemu_blocks.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cursor.h"

/* memory_region_type() of QEMU's softmmu/memory.c, behind "nv-" where it is non-volatile. */
static const struct {
	const char *word;
	enum qemu_region_kind kind;
} kinds[] = {
	{ "ram", QEMU_RAM },       { "nv-ram", QEMU_NVRAM },	{ "rom", QEMU_ROM },
	{ "nv-rom", QEMU_ROM },    { "romd", QEMU_ROM_DEVICE }, { "nv-romd", QEMU_ROM_DEVICE },
	{ "ramd", QEMU_DEVICE_RAM }, { "nv-ramd", QEMU_DEVICE_RAM },
};

const char *qemu_region_word(enum qemu_region_kind kind)
{
	size_t i = 0;

	while (kinds[i].kind != kind)
		i++;
	return kinds[i].word;
}

static bool kind_of(const struct cursor *word, enum qemu_region_kind *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (!cursor_equals(word, kinds[i].word))
			continue;
		*ret = kinds[i].kind;
		return true;
	}
	return false;
}

/* The next line, without white space at both its ends; false at the end of the text. */
static bool take_line(struct cursor *text, struct cursor *ret)
{
	if (cursor_at_end(text))
		return false;
	*ret = cursor_take_until(text, "\r\n");
	cursor_skip_space(ret);
	if (!cursor_at_end(text))
		text->at++;
	return true;
}

/* NAME, or NAME @OFFSET, and whatever comes behind: an owner, " KVM". */
static void take_name(struct cursor *c, struct qemu_region *r)
{
	struct cursor name = cursor_take_until(c, " ");

	r->offset = 0;
	if (cursor_take_string(c, " @"))
		cursor_take_hex(c, &r->offset);
	r->name = cursor_dup(&name);
}

/* START-LAST (prio N, KIND): NAME; *ret_memory false: it is well-formed, and no memory. */
static bool parse_region(struct cursor c, struct qemu_region *ret, bool *ret_memory)
{
	struct cursor word;
	uint64_t last;

	if (!cursor_take_hex(&c, &ret->gpa) || !cursor_take_char(&c, '-') || !cursor_take_hex(&c, &last) ||
	    !cursor_take_string(&c, " (prio "))
		return false;
	cursor_take_until(&c, ",");
	if (!cursor_take_string(&c, ", "))
		return false;
	word = cursor_take_until(&c, ")");
	if (!cursor_take_string(&c, "): ") || last < ret->gpa)
		return false;
	*ret_memory = kind_of(&word, &ret->kind);
	ret->bytes = last - ret->gpa + 1;
	if (*ret_memory)
		take_name(&c, ret);
	return true;
}

/* Puts text behind the lines that name the address spaces of the view we want. */
static bool find_view(struct cursor *text)
{
	struct cursor line;

	while (take_line(text, &line))
		if (cursor_take_string(&line, "AS \"memory\", root:"))
			return true;
	return false;
}

struct list {
	struct qemu_region *regions;
	size_t n;
};

static struct err *add_region(struct list *l, const struct cursor *line)
{
	struct qemu_region r;
	bool memory;

	if (!parse_region(*line, &r, &memory)) {
		char *text = cursor_dup(line);
		struct err *e = err_new(ERR_INVALID, "QEMU's info mtree -f has a line that is not understood: %.200s",
					text);

		free(text);
		return e;
	}
	if (!memory)
		return NULL;
	if (!r.bytes) {
		free(r.name);
		return err_new(ERR_INVALID, "QEMU's info mtree -f has a region of 2^64 bytes");
	}
	l->regions = xreallocarray(l->regions, l->n + 1, sizeof(*l->regions));
	l->regions[l->n++] = r;
	return NULL;
}

static bool is_heading(struct cursor line)
{
	return cursor_take_string(&line, "AS ") || cursor_take_string(&line, "Root memory region:") ||
	       cursor_take_string(&line, "No rendered FlatView");
}

struct err *qemu_regions_parse(const char *mtree, struct qemu_region **ret, size_t *ret_n)
{
	struct cursor text = cursor_of_string(mtree), line;
	struct list l = { 0 };
	struct err *e = NULL;

	if (!find_view(&text))
		return err_new(ERR_INVALID, "QEMU's info mtree -f shows no address space \"memory\"");
	while (!e && take_line(&text, &line)) {
		struct cursor next = line;

		if (cursor_take_string(&next, "FlatView #"))
			break;
		if (!cursor_at_end(&line) && !is_heading(line))
			e = add_region(&l, &line);
	}
	if (e) {
		qemu_regions_free(l.regions, l.n);
		return e;
	}
	*ret = l.regions;
	*ret_n = l.n;
	return NULL;
}

void qemu_regions_free(struct qemu_region *regions, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(regions[i].name);
	free(regions);
}

/* HMP tells of errors in its text. */
static struct err *quote(const char *command, const char *text)
{
	return err_new(ERR_UNSUPPORTED, "QEMU's %s says: %.*s", command, (int)strcspn(text, "\r\n"), text);
}

/* "Host virtual address for 0x0 (pc.ram) is 0x7fbef3e00000" */
struct err *qemu_parse_gpa2hva(const char *text, uint64_t *ret)
{
	static const char before[] = " is 0x";
	const char *at = NULL;
	struct cursor c;

	for (const char *p = text; (p = strstr(p, before)); p++)
		at = p;
	if (!at)
		return quote("gpa2hva", text);
	c = cursor_of_string(at + strlen(before));
	return cursor_take_hex(&c, ret) ? NULL : quote("gpa2hva", text);
}

/* Lines of "0000000000001000: 0x12 0x34 ..." */
struct err *qemu_parse_xp(const char *text, uint8_t *ret, size_t bytes)
{
	struct cursor c = cursor_of_string(text), word;
	size_t n = 0;

	while (cursor_take_word(&c, &word)) {
		uint64_t value;

		if (word.end[-1] == ':')
			continue;
		if (!cursor_take_string(&word, "0x") || !cursor_take_hex(&word, &value) || !cursor_at_end(&word) ||
		    value > UINT8_MAX || n == bytes)
			return quote("xp", text);
		ret[n++] = (uint8_t)value;
	}
	return n == bytes ? NULL : quote("xp", text);
}
