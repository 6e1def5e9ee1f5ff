/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/qemu_regs.h"

#include <stdlib.h>
#include <string.h>

#include "guest/hmp_regs.h"

struct err *qemu_regs_by_monitor(struct qmp *q, int index, struct regs *ret)
{
	char *text;
	struct err *e = qmp_hmp(q, index, "info registers", &text);

	if (e)
		return e;
	e = hmp_regs_parse(text, ret);
	free(text);
	return e;
}

/* Of a vCPU in 32-bit code QEMU's stub gives the low half of x86's 64-bit system registers. */
static bool is_low_half(const struct regs *stub, const struct regs *monitor, unsigned reg)
{
	uint64_t low, all;

	return regs_get(stub, reg, &low) && regs_get(monitor, reg, &all) && low == (uint32_t)all;
}

static void merge(struct regs *ret, const struct regs *monitor)
{
	for (unsigned r = 0; r < ret->arch->n_regs; r++) {
		const uint8_t *bytes = regs_bytes(monitor, r);

		if (bytes && (!regs_bytes(ret, r) || (reg_bytes(ret->arch, r) == 8 && is_low_half(ret, monitor, r))))
			regs_set_bytes(ret, r, bytes);
	}
}

static struct err *read_stub(struct qemu_stub *s, unsigned vcpu, struct regs *ret)
{
	return s->stub ? qemu_stub_check(s, stub_read_regs(s->stub, vcpu, ret)) : NULL;
}

struct err *qemu_regs_read(struct qmp *q, struct qemu_stub *s, unsigned vcpu, int index, struct regs *ret)
{
	struct regs *monitor = regs_create(ret->arch, ret->order);
	struct err *no_monitor = qemu_regs_by_monitor(q, index, monitor), *e = read_stub(s, vcpu, ret);

	if (!e)
		merge(ret, monitor);
	regs_destroy(monitor);
	if (!e && !s->stub)
		return no_monitor;
	err_destroy(no_monitor);
	return e;
}

static bool same_value(const struct regs *a, const struct regs *b, unsigned reg)
{
	const uint8_t *x = regs_bytes(a, reg), *y = regs_bytes(b, reg);

	return x && y && !memcmp(x, y, reg_bytes(a->arch, reg));
}

/* QEMU says OK to what it does not take. Bits that a register does not have are no failure. */
static struct err *check_taken(const struct regs *before, const struct regs *now, const struct regs *wanted,
			       const bool *changed)
{
	for (unsigned r = 0; r < now->arch->n_regs; r++)
		if (changed[r] && same_value(before, now, r) && !same_value(wanted, now, r))
			return err_new(ERR_UNSUPPORTED, "QEMU's gdbstub does not take %s", now->arch->regs[r].name);
	return NULL;
}

struct err *qemu_regs_write(struct qemu_stub *s, unsigned vcpu, const struct regs *from, const bool *changed)
{
	struct regs *before = regs_create(from->arch, from->order), *now = regs_dup(before);
	struct err *e = read_stub(s, vcpu, before);

	if (!e && s->stub)
		e = qemu_stub_check(s, stub_write_regs(s->stub, vcpu, from, changed));
	if (!e)
		e = read_stub(s, vcpu, now);
	if (!e && s->stub)
		e = check_taken(before, now, from, changed);
	else if (!e)
		e = err_new(ERR_UNSUPPORTED, "QEMU's monitor cannot, and its gdbstub is not to be had: %s", s->why);
	regs_destroy(before);
	regs_destroy(now);
	return e;
}
