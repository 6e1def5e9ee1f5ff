/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/host.h"

#include <errno.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

struct err *host_read_regset(pid_t tid, unsigned note, const char *name, void *ret, size_t *bytes)
{
	struct iovec v = { ret, *bytes };

	if (ptrace(PTRACE_GETREGSET, tid, (void *)(uintptr_t)note, &v))
		return err_sys(errno, "cannot read the %s of thread %d", name, tid);
	*bytes = v.iov_len;
	return NULL;
}
