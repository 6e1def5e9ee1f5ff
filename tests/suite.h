/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_SUITE_H
#define TESTS_SUITE_H

#include <check.h>

/* Runs a suite and frees it; the result is the exit status of the program. */
int suite_run(Suite *s);

#endif
