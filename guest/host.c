/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/host.h"

#include <errno.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/utsname.h>

struct err *host_read_regset(pid_t tid, unsigned note, const char *name, void *ret, size_t *bytes)
{
	struct iovec v = { ret, *bytes };

	if (ptrace(PTRACE_GETREGSET, tid, (void *)(uintptr_t)note, &v))
		return err_sys(errno, "cannot read the %s of thread %d", name, tid);
	*bytes = v.iov_len;
	return NULL;
}

struct err *host_check_linux(void)
{
	unsigned version = 0, sub = 0;
	struct utsname u;

	if (uname(&u) || sscanf(u.release, "%u.%u", &version, &sub) != 2)
		return NULL;
	if (version > host_least_linux[0] || (version == host_least_linux[0] && sub >= host_least_linux[1]))
		return NULL;
	return err_new(ERR_UNSUPPORTED, "this host runs Linux %s: attaching needs %u.%u on this processor; a QEMU can be "
					"reached by --qmp", u.release, host_least_linux[0], host_least_linux[1]);
}
