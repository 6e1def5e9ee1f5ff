/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/qemu_regs.h"

#include <stdlib.h>
#include <string.h>

#include "arch/ppc64/ppc64.h"
#include "arch/x86_64/x86_64.h"
#include "base/alloc.h"
#include "guest/hmp_regs.h"

#define N_X87 8u

static bool is_x86(const struct regs *regs)
{
	return !strcmp(regs->arch->name, "x86_64");
}

struct err *qemu_regs_by_monitor(struct qmp *q, int index, struct regs *ret, bool *ret_halted)
{
	char *text;
	struct err *e = qmp_hmp(q, index, "info registers", &text);

	if (e)
		return e;
	if (ret_halted)
		*ret_halted = strstr(text, " HLT=1");
	e = hmp_regs_parse(text, ret);
	free(text);
	return e;
}

bool qemu_regs_is_low_half(const struct regs *half, const struct regs *whole, unsigned reg)
{
	uint64_t low, all;

	return reg_bytes(half->arch, reg) == sizeof(all) && regs_get(half, reg, &low) && regs_get(whole, reg, &all) &&
	       low == (uint32_t)all;
}

/* Of a vCPU in 32-bit code of long mode QEMU's stub has zeros for those that this code cannot name. */
static void forget_hidden(struct regs *ret, const struct regs *monitor)
{
	if (!is_x86(ret) || !x86_64_long_mode(ret))
		return;
	if (!regs_bytes(monitor, X86_RIP) || regs_bytes(monitor, X86_R8))
		return;
	for (unsigned r = X86_R8; r <= X86_R15; r++)
		regs_forget(ret, r);
}

/* QEMU's stub has no more than constants for these; the monitor tells the first. */
static void forget_constants(struct regs *ret)
{
	for (unsigned r = X86_FTAG; r <= X86_FOP; r++)
		regs_forget(ret, r);
}

/* x87's registers are told by their physical numbers; ret[i] is which of those st(i) is. */
static void x87_places(const struct regs *regs, unsigned *ret)
{
	for (unsigned i = 0; i < N_X87; i++)
		ret[i] = ((regs_get_or(regs, X86_FSTAT, 0) >> 11) + i) % N_X87;
}

static void physical_to_stack(struct regs *ret)
{
	struct regs *told = regs_dup(ret);
	unsigned places[N_X87];

	x87_places(told, places);
	for (unsigned i = 0; i < N_X87; i++)
		if (regs_bytes(told, X86_ST0 + places[i]))
			regs_set_bytes(ret, X86_ST0 + i, regs_bytes(told, X86_ST0 + places[i]));
	regs_destroy(told);
}

/* Moves which change, too. */
static void stack_to_physical(struct regs *regs, const struct regs *wanted, bool *changed)
{
	bool stack[N_X87];
	unsigned places[N_X87];

	x87_places(wanted, places);
	memcpy(stack, changed + X86_ST0, sizeof(stack));
	for (unsigned i = 0; i < N_X87; i++) {
		changed[X86_ST0 + places[i]] = stack[i];
		if (regs_bytes(wanted, X86_ST0 + i))
			regs_set_bytes(regs, X86_ST0 + places[i], regs_bytes(wanted, X86_ST0 + i));
	}
}

static void merge(struct regs *ret, const struct regs *monitor)
{
	if (is_x86(ret))
		forget_constants(ret);
	for (unsigned r = 0; r < ret->arch->n_regs; r++) {
		const uint8_t *bytes = regs_bytes(monitor, r);

		if (bytes && (!regs_bytes(ret, r) || qemu_regs_is_low_half(ret, monitor, r)))
			regs_set_bytes(ret, r, bytes);
	}
	forget_hidden(ret, monitor);
}

static struct err *read_stub(struct qemu_stub *s, unsigned vcpu, struct regs *ret)
{
	struct err *e = s->stub ? qemu_stub_check(s, stub_read_regs(s->stub, vcpu, ret)) : NULL;

	if (!e && s->stub && is_x86(ret))
		physical_to_stack(ret);
	return e;
}

static struct err *write_stub(struct qemu_stub *s, unsigned vcpu, const struct regs *from, const bool *changed)
{
	bool *own_changed;
	struct regs *own;
	struct err *e;

	if (!is_x86(from))
		return qemu_stub_check(s, stub_write_regs(s->stub, vcpu, from, changed));
	own = regs_dup(from);
	own_changed = xcalloc(from->arch->n_regs, sizeof(*own_changed));
	memcpy(own_changed, changed, from->arch->n_regs * sizeof(*own_changed));
	stack_to_physical(own, from, own_changed);
	e = qemu_stub_check(s, stub_write_regs(s->stub, vcpu, own, own_changed));
	free(own_changed);
	regs_destroy(own);
	return e;
}

/* QEMU 7.2's stub has special-purpose registers of the first vCPU alone; without this one page tables are of no use. */
static void add_pid(struct qmp *q, int index, struct regs *ret)
{
	char *text = NULL, *end;
	uint64_t value;
	struct err *e;

	if (strcmp(ret->arch->name, "ppc64") || regs_bytes(ret, PPC64_PID))
		return;
	e = qmp_hmp(q, index, "print /x $pid", &text);
	value = e ? 0 : strtoull(text, &end, 0);
	if (!e && end != text)
		regs_set(ret, PPC64_PID, value);
	err_destroy(e);
	free(text);
}

struct err *qemu_regs_read(struct qmp *q, struct qemu_stub *s, unsigned vcpu, int index, struct regs *ret)
{
	struct regs *monitor = regs_create(ret->arch, ret->order);
	struct err *no_monitor = qemu_regs_by_monitor(q, index, monitor, NULL), *e = read_stub(s, vcpu, ret);

	if (!e) {
		merge(ret, monitor);
		add_pid(q, index, ret);
	}
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
		e = write_stub(s, vcpu, from, changed);
	if (!e && s->stub)
		e = read_stub(s, vcpu, now);
	if (!e && s->stub)
		e = check_taken(before, now, from, changed);
	else if (!e)
		e = err_new(ERR_UNSUPPORTED, "QEMU's monitor cannot, and its gdbstub is not to be had: %s", s->why);
	regs_destroy(before);
	regs_destroy(now);
	return e;
}
