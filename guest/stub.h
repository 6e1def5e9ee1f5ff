/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_STUB_H
#define GUEST_STUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch/arch.h"
#include "base/err.h"
#include "guest/guest.h"

/*
 * The client's side of the Remote Serial Protocol, for the gdbstub that a QEMU
 * has itself. Every call has a time-out; an answer that is none is ERR_INVALID.
 * After a time-out or damaged packets every call fails (ERR_GONE): what comes then
 * cannot be told from a late answer.
 *
 * Connecting to a stub pauses the guest: the stub does that. Only stub_poll(), stub_wait()
 * and stub_close() may be called while it runs: a stub answers nothing then, but
 * takes the first byte for a demand to pause.
 */
struct stub;

/*
 * "HOST:PORT", "tcp:HOST:PORT" or "unix:PATH" (or a bare path with a slash in it).
 * The stub must be free (query-chardev: "disconnected:"): one that is in use
 * pauses the guest for a client that waited and left, as soon as it gets to it.
 */
struct err *stub_connect(const char *address, struct stub **ret) MUST_CHECK;
/* The same on a connected stream socket, which it takes over even when it fails. name: for messages. */
struct err *stub_open(int fd, const char *name, unsigned timeout_ms, struct stub **ret) MUST_CHECK;
/*
 * Closes; takes NULL. resume: detaches before, and the stub lets the guest run,
 * whatever state it was in before; it must be stopped. Without that it stays as it is.
 */
void stub_close(struct stub *s, bool resume);

/* Readable when stub_poll() has something to say. */
int stub_fd(const struct stub *s);
/*
 * Takes what it said by itself, without waiting: the last stop reply counts. The
 * one that connecting brings is not told, as are those that come while a call
 * waits for its answer. ERR_GONE: it has closed.
 */
struct err *stub_poll(struct stub *s, struct guest_event *ret) MUST_CHECK;
/* The same, but waits for the first of them for so long. A breakpoint of code is a stop like any to QEMU. */
struct err *stub_wait(struct stub *s, unsigned ms, struct guest_event *ret) MUST_CHECK;

/* Has it closed the connection? Waits for nothing. */
bool stub_is_closed(const struct stub *s);

/* How many vCPUs it has; they are numbered from 0 in the order of its thread list. */
unsigned stub_vcpus(const struct stub *s);

/*
 * Run control. What is set in a QEMU by its stub stays there when the connection ends:
 * breakpoints, and that a vCPU is to stop after one instruction, which ends with the
 * first stop reply that names it.
 *
 * stub_run() returns once the stub has let it run. actions: one a vCPU, not all to hold.
 */
struct err *stub_run(struct stub *s, const enum run_action *actions) MUST_CHECK;
/* The vCPU that a stop names which no vCPU has caused. */
struct err *stub_choose(struct stub *s, unsigned vcpu) MUST_CHECK;
/* What a step is to QEMU; 1 is a bare one, others keep interrupts and timers from it. */
struct err *stub_step_flags(struct stub *s, unsigned *ret) MUST_CHECK;
struct err *stub_set_step_flags(struct stub *s, unsigned flags) MUST_CHECK;
/* ERR_UNSUPPORTED when it takes none, or has no room for it. vcpu: whose page tables count. */
struct err *stub_set_breakpoint(struct stub *s, unsigned vcpu, const struct breakpoint *b) MUST_CHECK;
struct err *stub_clear_breakpoint(struct stub *s, const struct breakpoint *b) MUST_CHECK;
/* All, whoever has set them. */
struct err *stub_clear_breakpoints(struct stub *s) MUST_CHECK;

/*
 * Reads its target description and finds for each row of arch a register of
 * it: by feature and name, else by name, else by another name that QEMU has for it.
 * ERR_INVALID when there is none for any row.
 */
struct err *stub_map_registers(struct stub *s, const struct arch *arch) MUST_CHECK;

/*
 * Sets in ret what the stub knows; what it does not know stays as it was. The
 * bytes are in the order of ret, whatever order the stub sends them in, and of the
 * row's width: the low part of a wider register, zeros above a narrower one.
 */
struct err *stub_read_regs(struct stub *s, unsigned vcpu, struct regs *ret) MUST_CHECK;
/*
 * Writes the rows for which changed[] is true; ERR_UNSUPPORTED names one that it
 * lacks, before any is written. QEMU says that it took a register when it did not.
 */
struct err *stub_write_regs(struct stub *s, unsigned vcpu, const struct regs *from,
			    const bool *changed) MUST_CHECK;
/* Can it tell this row? */
bool stub_has_reg(const struct stub *s, unsigned reg);

/* Guest-physical memory (Qqemu.PhyMemMode); *ret_bytes may be less than asked. */
struct err *stub_read_phys(struct stub *s, uint64_t gpa, void *ret, size_t bytes, size_t *ret_bytes) MUST_CHECK;
struct err *stub_write_phys(struct stub *s, uint64_t gpa, const void *from, size_t bytes) MUST_CHECK;

#endif
