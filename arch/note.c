/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "arch/arch.h"

#include <string.h>

/* Copies an unsigned integer of any length between lengths, in one byte order. */
static void copy_uint(uint8_t *to, size_t to_bytes, const uint8_t *from, size_t from_bytes,
		      enum byte_order order)
{
	size_t n = MIN(to_bytes, from_bytes);

	memset(to, 0, to_bytes);
	if (order == ORDER_BIG)
		memcpy(to + to_bytes - n, from + from_bytes - n, n);
	else
		memcpy(to, from, n);
}

static void fill_reg(const struct note_field *f, const struct regs *regs, uint8_t *to)
{
	const uint8_t *bytes = regs_bytes(regs, f->reg);

	if (bytes)
		copy_uint(to, f->bytes, bytes, reg_bytes(regs->arch, f->reg), regs->order);
	else if (f->value)
		store_uint(to, f->bytes, regs->order, f->value);
}

static void parse_reg(const struct note_field *f, const uint8_t *from, struct regs *regs)
{
	uint8_t bytes[ARCH_MAX_REG_BYTES];

	if ((f->value || f->kind == NOTE_NONZERO) && load_uint(from, f->bytes, regs->order) == f->value) {
		regs_forget(regs, f->reg);
		return;
	}
	copy_uint(bytes, reg_bytes(regs->arch, f->reg), from, f->bytes, regs->order);
	regs_set_bytes(regs, f->reg, bytes);
}

void note_overlay(const struct note_desc *desc, const struct regs *regs, uint32_t pid, uint8_t *bytes)
{
	for (size_t i = 0; i < desc->n_fields; i++) {
		const struct note_field *f = &desc->fields[i];
		uint8_t *at = bytes + f->offset;

		switch ((enum note_field_kind)f->kind) {
		case NOTE_REG:
		case NOTE_NONZERO:
			fill_reg(f, regs, at);
			break;
		case NOTE_PID:
			store_uint(at, f->bytes, regs->order, pid);
			break;
		case NOTE_CONST:
			store_uint(at, f->bytes, regs->order, f->value);
			break;
		case NOTE_CONV:
			f->conv->get(regs, at, f->bytes);
			break;
		}
	}
}

void note_fill(const struct note_desc *desc, const struct regs *regs, uint32_t pid, uint8_t *ret)
{
	memset(ret, 0, desc->bytes);
	note_overlay(desc, regs, pid, ret);
}

void note_parse(const struct note_desc *desc, const uint8_t *bytes, struct regs *regs, uint32_t *ret_pid)
{
	for (size_t i = 0; i < desc->n_fields; i++) {
		const struct note_field *f = &desc->fields[i];
		const uint8_t *at = bytes + f->offset;

		switch ((enum note_field_kind)f->kind) {
		case NOTE_REG:
		case NOTE_NONZERO:
			parse_reg(f, at, regs);
			break;
		case NOTE_PID:
			if (ret_pid)
				*ret_pid = (uint32_t)load_uint(at, f->bytes, regs->order);
			break;
		case NOTE_CONST:
			break;
		case NOTE_CONV:
			if (f->conv->put)
				f->conv->put(regs, at, f->bytes);
			break;
		}
	}
}
