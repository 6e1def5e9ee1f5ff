/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/expr.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "guest/os.h"

static int reg_by_alias(const struct arch *arch, const char *name)
{
	int reg = arch_reg_by_name(arch, name);

	if (reg >= 0)
		return reg;
	if (!strcmp(name, "pc"))
		return arch->pc;
	if (!strcmp(name, "sp"))
		return arch->sp;
	return strcmp(name, "fp") ? -1 : arch->fp;
}

static struct err *reg_value(struct guest *g, unsigned vcpu, const char *name, uint64_t *ret)
{
	int reg = reg_by_alias(g->arch, name);
	const struct regs *regs;
	struct err *e;

	if (reg < 0)
		return err_new(ERR_INVALID, "$%s: %s has no such register", name, g->arch->name);
	e = guest_regs(g, vcpu, &regs);
	if (e)
		return e;
	if (!regs_get(regs, (unsigned)reg, ret))
		return err_new(ERR_UNKNOWN, "$%s: its value is not known", name);
	return NULL;
}

static bool starts_symbol(const struct cursor *c)
{
	return !cursor_at_end(c) && (isalpha((unsigned char)*c->at) || *c->at == '_' || *c->at == '.');
}

static struct err *take_symbol(struct cursor *c, struct guest *g, uint64_t *ret)
{
	struct cursor word = cursor_take_until(c, " \t+-");
	char *name = cursor_dup(&word);
	struct err *e = os_symbol(g, name, ret);

	e = err_prefix(e, "'%s' is neither a number of 64 bits nor $REGISTER, and as a symbol", name);
	free(name);
	return e;
}

static struct err *take_term(struct cursor *c, struct guest *g, unsigned vcpu, uint64_t *ret)
{
	struct cursor word, number;
	struct err *e;
	char *name;

	cursor_skip_space(c);
	number = *c;
	if (cursor_take_char(c, '$')) {
		word = cursor_take_until(c, " \t+-");
		name = cursor_dup(&word);
		e = reg_value(g, vcpu, name, ret);
		free(name);
		return e;
	}
	if (starts_symbol(c))
		return take_symbol(c, g, ret);
	if (cursor_at_end(c))
		return err_new(ERR_INVALID, "a number, $REGISTER or symbol is missing");
	if (cursor_take_number(&number, ret) && (cursor_at_end(&number) || strchr(" \t+-", *number.at))) {
		*c = number;
		return NULL;
	}
	word = cursor_take_until(c, " \t");
	name = cursor_dup(&word);
	e = err_new(ERR_INVALID, "'%s' is neither a number of 64 bits nor $REGISTER or a symbol", name);
	free(name);
	return e;
}

struct err *expr_take(struct cursor *c, struct guest *g, unsigned vcpu, uint64_t *ret)
{
	struct cursor at = *c;
	uint64_t sum = 0, term;
	bool minus = false;

	for (;;) {
		struct cursor next;
		struct err *e = take_term(&at, g, vcpu, &term);

		if (e)
			return e;
		sum = minus ? sum - term : sum + term;
		next = at;
		cursor_skip_space(&next);
		minus = cursor_take_char(&next, '-');
		if (!minus && !cursor_take_char(&next, '+'))
			break;
		at = next;
	}
	*c = at;
	*ret = sum;
	return NULL;
}
