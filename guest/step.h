/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_STEP_H
#define GUEST_STEP_H

/*
 * Called after everything that is done to a VMM's threads, and after every
 * message between front end and guardian or QEMU. The program links a version that does
 * nothing; the tests link one that ends or stops the process at a chosen step.
 * what: a constant name of the step; who: "guardian" or "front".
 */
void step_point(const char *who, const char *what);

#endif
