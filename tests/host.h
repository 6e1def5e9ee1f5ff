/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_HOST_H
#define TESTS_HOST_H

#include <stdbool.h>

/*
 * What the machine that runs the tests may lack: user-mode emulation passes on
 * few of the system calls by which one process looks at another, and the bytes
 * that a kernel of the other byte order writes into /proc and /sys.
 */

bool host_has_vm_readv(void);
bool host_has_ptrace(void);
bool host_has_seccomp(void);
/* False where the kernel's own numbers are not in order_of_host(). */
bool host_is_kernel_order(void);

/* Ends a test that needs what is not there, and says so; does nothing when has. */
void host_need(bool has, const char *test, const char *what);

#endif
