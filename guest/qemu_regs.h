/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_QEMU_REGS_H
#define GUEST_QEMU_REGS_H

#include <stdbool.h>

#include "arch/arch.h"
#include "base/err.h"
#include "guest/qemu_stub.h"
#include "guest/qmp.h"

/* The registers of a QEMU's vCPU. index: QEMU's own number of it. */

/* Sets in ret what `info registers` tells. *ret_halted: it waits for an interrupt, as x86's text says; NULL: unasked. */
struct err *qemu_regs_by_monitor(struct qmp *q, int index, struct regs *ret, bool *ret_halted) MUST_CHECK;

/* By the gdbstub, and by the monitor what that lacks; by the monitor alone where there is no stub. */
struct err *qemu_regs_read(struct qmp *q, struct qemu_stub *s, unsigned vcpu, int index, struct regs *ret) MUST_CHECK;

/*
 * Has half of a register of 64 bits only the low ones that whole has? QEMU cuts some
 * of x86's for a vCPU in 32-bit code.
 */
bool qemu_regs_is_low_half(const struct regs *half, const struct regs *whole, unsigned reg);

/* ERR_UNSUPPORTED where there is no stub, or it does not take one of those for which changed[] is true. */
struct err *qemu_regs_write(struct qemu_stub *s, unsigned vcpu, const struct regs *from, const bool *changed) MUST_CHECK;

#endif
