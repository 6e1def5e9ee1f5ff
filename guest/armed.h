/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_ARMED_H
#define GUEST_ARMED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "guest/guardian.h"
#include "guest/tracee.h"

/*
 * What is armed in a VMM, and its guest while it runs so; of the guardian's half. It
 * knows at each moment what has to be undone: debug registers of vCPUs, and
 * breakpoint instructions in guest memory, which are there only while the guest runs.
 */
struct armed;

/* Borrows both. The VMM is stopped. */
struct err *armed_create(struct tracees *ts, const struct host_gadgets *gadgets, struct armed **ret) MUST_CHECK;

/*
 * Undoes everything; the VMM is stopped, or gone. *ret_stuck as inject_end_after().
 * Takes NULL.
 */
void armed_destroy(struct armed *a, bool *ret_stuck);

/* Lets the stopped guest run. n_vcpus: of the whole process. On failure some of it may run: halt it. */
struct err *armed_start(struct armed *a, const struct guardian_run *run, unsigned n_vcpus) MUST_CHECK;

/* Handles what happened since. *ret_hit: there is something to stop for. */
struct err *armed_turn(struct armed *a, bool *ret_hit) MUST_CHECK;
/* When the next turn is due even if nothing happens, in ms; -1: never. */
int armed_timeout(const struct armed *a);

/* Stops all, as tracees_stop(), and takes breakpoint instructions out of memory. */
struct err *armed_halt(struct armed *a) MUST_CHECK;

/* What is to be told of the run that was halted; borrowed until the next one. */
void armed_report(const struct armed *a, struct guardian_stopped *ret);

/* A thread of the VMM could not be put right: see inject_end_after(). */
bool armed_is_stuck(const struct armed *a);

#endif
