/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/hmp_regs.h"

#include <string.h>

#include "base/buf.h"
#include "base/cursor.h"
#include "base/hex.h"
#include "guest/hmp_table.h"

#define MAX_HEX_DIGITS 16u

static bool is_space(char ch)
{
	return ch == ' ' || ch == '\t' || ch == '\r' || ch == '\n';
}

static void skip_blanks(struct cursor *c)
{
	while (cursor_take_char(c, ' ') || cursor_take_char(c, '\t'))
		;
}

/* Vector registers have no space between their words, so 16 digits are one. */
static bool take_word(struct cursor *c, bool decimal, uint64_t *ret)
{
	int base = decimal ? 10 : 16;
	uint64_t value = 0;
	unsigned n;

	skip_blanks(c);
	for (n = 0; !cursor_at_end(c) && (decimal || n < MAX_HEX_DIGITS); n++) {
		int digit = hex_digit(*c->at);

		if (digit < 0 || digit >= base)
			break;
		if (__builtin_mul_overflow(value, (uint64_t)base, &value) ||
		    __builtin_add_overflow(value, (uint64_t)digit, &value))
			return false;
		c->at++;
	}
	*ret = value;
	return n > 0;
}

/* All words of a field or none. */
static bool take_words(struct cursor c, const struct hmp_field *f, uint64_t *ret)
{
	const char *start = c.at;

	skip_blanks(&c);
	cursor_take_char(&c, '=');
	if (c.at == start)
		return false;
	for (unsigned i = 0; i < f->n_words; i++)
		if (!take_word(&c, f->decimal, &ret[i]))
			return false;
	return true;
}

/* The first place where key is a word of its own with such words behind it. */
static bool find_words(const struct cursor *text, const char *key, const struct hmp_field *f, uint64_t *ret)
{
	size_t bytes = strlen(key);
	struct cursor c = *text;

	while (!cursor_at_end(&c)) {
		bool starts = c.at == text->at || is_space(c.at[-1]);

		if (starts && cursor_take_string(&c, key)) {
			if (take_words(c, f, ret))
				return true;
			c.at -= bytes;
		}
		c.at++;
	}
	return false;
}

static void set_bits(struct regs *regs, unsigned reg, unsigned shift, uint64_t value)
{
	size_t all = reg_bytes(regs->arch, reg), above = shift / 8;
	size_t bytes = MIN(all - above, sizeof(value));

	if (!regs->valid[reg])
		regs_set(regs, reg, 0);
	store_uint(regs->slots[reg] + (regs->order == ORDER_BIG ? all - above - bytes : above), bytes, regs->order,
		   value);
}

static void read_key(const struct cursor *text, const struct hmp_field *f, const char *key, unsigned nth,
		     struct regs *ret)
{
	uint64_t words[HMP_MAX_WORDS];

	if (!find_words(text, key, f, words))
		return;
	for (unsigned i = 0; i < f->n_words; i++)
		if (f->words[i].reg != HMP_SKIP)
			set_bits(ret, f->words[i].reg + nth, f->words[i].shift, words[i]);
}

static void read_field(const struct cursor *text, const struct hmp_field *f, struct regs *ret)
{
	struct buf key = { 0 };

	if (!f->step) {
		read_key(text, f, f->key, 0, ret);
		return;
	}
	for (unsigned n = f->first; n <= f->last; n += f->step) {
		buf_reset(&key);
		buf_addf(&key, "%s%0*u", f->key, f->digits, n);
		read_key(text, f, buf_str(&key), n - f->first, ret);
	}
	buf_deinit(&key);
}

static struct cursor first_vcpu(const char *text)
{
	const char *start = text + strspn(text, " \t\r\n"), *next = strstr(start, "\nCPU#");

	return cursor_of(start, next ? (size_t)(next - start) : strlen(start));
}

static void merge(struct regs *to, const struct regs *from)
{
	for (unsigned reg = 0; reg < from->arch->n_regs; reg++)
		if (from->valid[reg])
			regs_set_bytes(to, reg, from->slots[reg]);
}

struct err *hmp_regs_parse(const char *text, struct regs *ret)
{
	const struct hmp_table *table = hmp_table_of(ret->arch);
	struct cursor c = first_vcpu(text);
	struct regs *told;
	struct err *e = NULL;

	if (!table)
		return err_new(ERR_UNSUPPORTED, "what QEMU's info registers tells for %s is not known", ret->arch->name);
	told = regs_create(ret->arch, ret->order);
	for (size_t i = 0; i < table->n_fields; i++)
		read_field(&c, &table->fields[i], told);
	if (!told->valid[ret->arch->pc])
		e = err_new(ERR_INVALID, "QEMU's info registers tells nothing of %s: \"%.60s\"", ret->arch->name,
			    c.at);
	else if (table->finish)
		table->finish(told);
	if (!e)
		merge(ret, told);
	regs_destroy(told);
	return e;
}
