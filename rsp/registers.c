/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rsp/session.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"

static struct regs *regs_at_connect(struct guest *g)
{
	const struct regs *regs;
	struct err *e = guest_regs(g, 0, &regs);

	if (!e)
		return regs_dup(regs);
	log_warn("%s; registers that only some guests have are left out", err_text(e));
	err_destroy(e);
	return regs_create(g->arch, g->order);
}

void rsp_registers_init(struct rsp_session *s)
{
	const struct arch *arch = s->guest->arch;
	struct regs *regs = regs_at_connect(s->guest);

	arch_target_xml(regs, &s->target_xml);
	s->present = xcalloc(arch->n_regs, sizeof(*s->present));
	for (size_t r = 0; r < arch->n_regs; r++)
		s->present[r] = arch_has_feature(regs, arch->regs[r].feature);
	regs_destroy(regs);
}

static void add_reg(const struct regs *regs, unsigned reg, struct buf *out)
{
	size_t bytes = reg_bytes(regs->arch, reg);
	const uint8_t *value = regs_bytes(regs, reg);

	if (value)
		buf_add_hex(out, value, bytes);
	else
		memset(buf_extend(out, 2 * bytes), 'x', 2 * bytes);
}

void rsp_add_expedited(struct rsp_session *s, unsigned vcpu, struct buf *out)
{
	const struct arch *arch = s->guest->arch;
	const uint16_t rows[] = { arch->pc, arch->sp, arch->fp };
	const struct regs *regs;
	struct err *e = guest_regs(s->guest, vcpu, &regs);

	for (size_t i = 0; !e && i < ARRAY_LEN(rows); i++) {
		if (!s->present[rows[i]] || !regs_bytes(regs, rows[i]))
			continue;
		buf_addf(out, "%x:", rows[i]);
		add_reg(regs, rows[i], out);
		buf_addch(out, ';');
	}
	err_destroy(e);
}

struct err *rsp_g(struct rsp_session *s, struct cursor *args)
{
	const struct regs *regs;
	unsigned vcpu;
	struct err *e = rsp_take_suffix(s, args, &vcpu);

	if (!e)
		e = guest_regs(s->guest, vcpu, &regs);
	for (unsigned r = 0; !e && r < s->guest->arch->n_regs; r++)
		if (s->present[r])
			add_reg(regs, r, &s->reply);
	return e;
}

/* All of a register's digits as 'x': it is not known, or not to be written. */
static bool take_unknown(struct cursor *c, size_t bytes)
{
	if (cursor_left(c) / 2 < bytes)
		return false;
	for (size_t i = 0; i < 2 * bytes; i++)
		if (c->at[i] != 'x')
			return false;
	c->at += 2 * bytes;
	return true;
}

static bool take_reg(struct cursor *c, struct regs *regs, unsigned reg, bool *ret_changed)
{
	size_t bytes = reg_bytes(regs->arch, reg);
	const uint8_t *old = regs_bytes(regs, reg);
	uint8_t value[ARCH_MAX_REG_BYTES];

	if (take_unknown(c, bytes))
		return true;
	if (!cursor_take_hex_bytes(c, value, bytes))
		return false;
	*ret_changed = !old || memcmp(old, value, bytes) != 0;
	regs_set_bytes(regs, reg, value);
	return true;
}

static struct err *write_all(struct rsp_session *s, unsigned vcpu, struct cursor *digits, struct regs *regs,
			     bool *changed)
{
	for (unsigned r = 0; r < regs->arch->n_regs; r++)
		if (s->present[r] && !take_reg(digits, regs, r, &changed[r]))
			return rsp_malformed();
	if (!cursor_at_end(digits))
		return rsp_malformed();
	return guest_write_regs(s->guest, vcpu, regs, changed);
}

struct err *rsp_G(struct rsp_session *s, struct cursor *args)
{
	struct cursor digits = cursor_take_until(args, ";");
	const struct regs *now;
	struct regs *regs;
	unsigned vcpu;
	struct err *e = rsp_take_suffix(s, args, &vcpu);
	bool *changed;

	if (!e)
		e = guest_regs(s->guest, vcpu, &now);
	if (e)
		return e;
	regs = regs_dup(now);
	changed = xcalloc(s->guest->arch->n_regs, sizeof(*changed));
	e = write_all(s, vcpu, &digits, regs, changed);
	free(changed);
	regs_destroy(regs);
	return e ? e : rsp_ok(s);
}

static struct err *take_reg_number(const struct rsp_session *s, struct cursor *c, unsigned *ret)
{
	uint64_t reg;

	if (!cursor_take_hex(c, &reg))
		return rsp_malformed();
	if (reg >= s->guest->arch->n_regs || !s->present[reg])
		return err_new(ERR_INVALID, "the target description has no register %" PRIu64, reg);
	*ret = (unsigned)reg;
	return NULL;
}

struct err *rsp_p(struct rsp_session *s, struct cursor *args)
{
	const struct regs *regs;
	unsigned reg, vcpu;
	struct err *e = take_reg_number(s, args, &reg);

	if (!e)
		e = rsp_take_suffix(s, args, &vcpu);
	if (!e)
		e = guest_regs(s->guest, vcpu, &regs);
	if (!e)
		add_reg(regs, reg, &s->reply);
	return e;
}

struct err *rsp_P(struct rsp_session *s, struct cursor *args)
{
	uint8_t value[ARCH_MAX_REG_BYTES];
	unsigned reg, vcpu;
	struct err *e = take_reg_number(s, args, &reg);

	if (e)
		return e;
	if (!cursor_take_char(args, '=') || !cursor_take_hex_bytes(args, value, reg_bytes(s->guest->arch, reg)))
		return rsp_malformed();
	e = rsp_take_suffix(s, args, &vcpu);
	if (!e)
		e = guest_write_reg(s->guest, vcpu, reg, value);
	return e ? e : rsp_ok(s);
}
