/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/host.h"

bool host_has_vm_readv(void)
{
	char from = 1, to;
	struct iovec local = { &to, 1 }, remote = { &from, 1 };

	return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) >= 0 || errno != ENOSYS;
}

/* No process has the pid -1: a kernel that knows the call says ESRCH. */
bool host_has_ptrace(void)
{
	return ptrace(PTRACE_PEEKUSER, -1, NULL, NULL) >= 0 || errno != ENOSYS;
}

/* A filter at no address: EFAULT where there are filters. */
bool host_has_seccomp(void)
{
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL) >= 0 || errno == EFAULT;
}

bool host_is_kernel_order(void)
{
	const uint16_t btf_magic = 0xeb9f, swapped = 0x9feb;
	FILE *f = fopen("/sys/kernel/btf/vmlinux", "rb");
	uint16_t found = btf_magic;
	size_t n = f ? fread(&found, sizeof(found), 1, f) : 0;

	if (f)
		fclose(f);
	return n == 0 || found != swapped;
}

void host_need(bool has, const char *test, const char *what)
{
	if (has)
		return;
	fprintf(stderr, "SKIP %s: this host lacks %s\n", test, what);
	exit(EXIT_SUCCESS);
}
