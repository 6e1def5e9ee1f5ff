/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "linux/vmcoreinfo.h"

#include <elf.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/keyvalue.h"

#define CHUNK_BYTES (1u << 20)
/* The kernel reserves a page for the text; later ones may need more. */
#define MAX_TEXT_BYTES (64u << 10)

/* The owner with its padding, and what every kernel's text starts with. */
static const char NEEDLE[] = "VMCOREINFO\0\0OSRELEASE=";
#define NEEDLE_BYTES (sizeof(NEEDLE) - 1)
#define OWNER_BYTES 11u /* with its NUL */
#define OWNER_PADDED 12u

void vmcoreinfo_deinit(struct vmcoreinfo *v)
{
	free(v->text);
	*v = (struct vmcoreinfo){ 0 };
}

static bool is_text(struct cursor line)
{
	for (; line.at < line.end; line.at++)
		if (*line.at < ' ' || *line.at > '~')
			return false;
	return true;
}

/* Only whole lines, each with a key; among them those that every kernel writes. */
static bool is_sound(const struct vmcoreinfo *v)
{
	struct cursor c = cursor_of(v->text, v->bytes);
	bool has_page_size = false;

	while (!cursor_at_end(&c)) {
		struct cursor line = cursor_take_until(&c, "\n"), key = cursor_take_until(&line, "=");

		if (!cursor_take_char(&c, '\n') || cursor_left(&key) == 0 || cursor_at_end(&line) ||
		    !is_text(key) || !is_text(line))
			return false;
		has_page_size |= cursor_equals(&key, "PAGESIZE");
	}
	return has_page_size;
}

bool vmcoreinfo_value(const struct vmcoreinfo *v, const char *key, struct cursor *ret)
{
	return keyvalue_find(v->text, v->bytes, key, ret);
}

bool vmcoreinfo_number(const struct vmcoreinfo *v, const char *key, int base, uint64_t *ret)
{
	return keyvalue_number(v->text, v->bytes, key, base, ret);
}

struct err *vmcoreinfo_need(const struct vmcoreinfo *v, const char *key, int base, uint64_t *ret)
{
	if (vmcoreinfo_number(v, key, base, ret))
		return NULL;
	return err_new(ERR_UNKNOWN, "the kernel's VMCOREINFO has no %s", key);
}

struct err *vmcoreinfo_senseless(const char *key, uint64_t value)
{
	return err_new(ERR_UNKNOWN, "the kernel's VMCOREINFO makes no sense: %s is %" PRIu64, key, value);
}

bool vmcoreinfo_symbol(const struct vmcoreinfo *v, const char *name, uint64_t *ret)
{
	struct buf key = { 0 };
	bool found;

	buf_addf(&key, "SYMBOL(%s)", name);
	found = vmcoreinfo_number(v, buf_str(&key), 16, ret);
	buf_deinit(&key);
	return found;
}

static bool read_text(struct guest *g, uint64_t gpa, uint32_t bytes, struct vmcoreinfo *ret)
{
	struct phys_reader mem = guest_phys_reader(g);
	char *text = xmalloc(bytes);
	struct err *e = mem.read(mem.ctx, gpa + sizeof(Elf64_Nhdr) + OWNER_PADDED, text, bytes);

	*ret = (struct vmcoreinfo){ text, bytes, gpa };
	if (!e && is_sound(ret))
		return true;
	err_destroy(e);
	vmcoreinfo_deinit(ret);
	return false;
}

bool vmcoreinfo_read(struct guest *g, uint64_t gpa, vmcoreinfo_fn fn, void *arg, struct vmcoreinfo *ret)
{
	uint8_t head[sizeof(Elf64_Nhdr) + NEEDLE_BYTES];
	struct phys_reader mem = guest_phys_reader(g);
	struct err *e = mem.read(mem.ctx, gpa, head, sizeof(head));
	uint64_t text_bytes;

	if (e) {
		err_destroy(e);
		return false;
	}
	text_bytes = load_uint(head + 4, 4, g->order);
	if (load_uint(head, 4, g->order) != OWNER_BYTES || load_uint(head + 8, 4, g->order) != 0 ||
	    memcmp(head + sizeof(Elf64_Nhdr), NEEDLE, NEEDLE_BYTES) || text_bytes > MAX_TEXT_BYTES ||
	    text_bytes < NEEDLE_BYTES - OWNER_PADDED)
		return false;
	if (!read_text(g, gpa, (uint32_t)text_bytes, ret))
		return false;
	if (fn(arg, ret))
		return true;
	vmcoreinfo_deinit(ret);
	return false;
}

/* The end of what was searched and the bytes before it, in which a note may begin. */
struct search {
	struct guest *g;
	vmcoreinfo_fn fn;
	void *arg;
	uint8_t *buf; /* carry bytes of tail, then the chunk */
	size_t carry;
	uint64_t end;
};

/* Looks at every needle in buf, the first byte of which is at gpa. */
static bool search_buf(const struct search *s, uint64_t gpa, size_t bytes, struct vmcoreinfo *ret)
{
	const uint8_t *at = s->buf, *end = s->buf + bytes;

	while ((at = memmem(at, (size_t)(end - at), NEEDLE, NEEDLE_BYTES))) {
		uint64_t note = gpa + (uint64_t)(at - s->buf) - sizeof(Elf64_Nhdr);

		if (note % 4 == 0 && vmcoreinfo_read(s->g, note, s->fn, s->arg, ret))
			return true;
		at++;
	}
	return false;
}

static struct err *search_chunk(struct search *s, uint64_t gpa, size_t bytes, bool *ret_found,
				struct vmcoreinfo *ret)
{
	struct phys_reader mem = guest_phys_reader(s->g);
	struct err *e;

	if (gpa != s->end)
		s->carry = 0;
	e = mem.read(mem.ctx, gpa, s->buf + s->carry, bytes);
	if (e)
		return e;
	bytes += s->carry;
	*ret_found = search_buf(s, gpa - s->carry, bytes, ret);
	s->end = gpa - s->carry + bytes;
	s->carry = MIN(bytes, NEEDLE_BYTES - 1);
	memmove(s->buf, s->buf + bytes - s->carry, s->carry);
	return NULL;
}

static struct err *search_all(struct search *s, bool *ret_found, struct vmcoreinfo *ret)
{
	uint64_t gpa = 0, run;

	for (;;) {
		struct err *e = guest_next_data(s->g, gpa, 0, &gpa, &run);
		size_t n = (size_t)MIN(run, CHUNK_BYTES);

		if (e || !run)
			return e;
		e = search_chunk(s, gpa, n, ret_found, ret);
		gpa += n;
		if (e || *ret_found || !gpa)
			return e;
	}
}

struct err *vmcoreinfo_search(struct guest *g, vmcoreinfo_fn fn, void *arg, struct vmcoreinfo *ret)
{
	struct search s = { .g = g, .fn = fn, .arg = arg, .buf = xmalloc(CHUNK_BYTES + NEEDLE_BYTES) };
	bool found = false;
	struct err *e = search_all(&s, &found, ret);

	free(s.buf);
	if (!e && !found)
		e = err_new(ERR_UNKNOWN, "the guest's memory holds no VMCOREINFO of the kernel that runs");
	return e;
}
