/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/vmm/vmm.h"

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, value)
#define SKIP_IF(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)

#define MAX_CALLS 32

struct jail {
	const int *calls;
	size_t n_calls;
	unsigned request; /* the one ioctl that is allowed; 0: none */
};

/* clock_gettime: the vDSO makes a call of it on a machine whose TSC cannot be relied upon. */
static const int main_calls[] = {
	SYS_read, SYS_write, SYS_poll, SYS_futex, SYS_tgkill, SYS_getpid, SYS_brk, SYS_mmap, SYS_munmap,
	SYS_memfd_create, SYS_ftruncate, SYS_close, SYS_rt_sigprocmask, SYS_rt_sigreturn,
	SYS_restart_syscall, SYS_exit_group, SYS_clock_gettime,
};

/* For a signal's handler, a held guest, one that spins and the end of the process. */
static const int vcpu_calls[] = {
	SYS_futex, SYS_clock_nanosleep, SYS_write, SYS_rt_sigreturn, SYS_restart_syscall, SYS_exit_group,
};

static const int blocker_calls[] = {
	SYS_nanosleep, SYS_clock_nanosleep, SYS_ppoll, SYS_epoll_wait, SYS_epoll_pwait, SYS_futex,
	SYS_rt_sigtimedwait, SYS_read, SYS_recvfrom, SYS_semtimedop, SYS_io_getevents, SYS_accept,
	SYS_pause, SYS_write, SYS_rt_sigreturn, SYS_restart_syscall, SYS_exit_group, SYS_clock_gettime,
};

static const struct jail jails[] = {
	[JAIL_MAIN] = {main_calls, ARRAY_LEN(main_calls), KVM_SET_USER_MEMORY_REGION},
	[JAIL_VCPU] = {vcpu_calls, ARRAY_LEN(vcpu_calls), KVM_RUN},
	[JAIL_BLOCKER] = {blocker_calls, ARRAY_LEN(blocker_calls), 0},
};

static size_t add_ioctl(struct sock_filter *at, unsigned request)
{
	const struct sock_filter filter[] = {
		SKIP_IF(SYS_ioctl, 0, 3),
		LOAD(args[1]),
		SKIP_IF(request, 0, 1),
		RETURN(SECCOMP_RET_ALLOW),
		LOAD(nr),
	};

	for (size_t i = 0; i < ARRAY_LEN(filter); i++)
		at[i] = filter[i];
	return ARRAY_LEN(filter);
}

void jail_enter(enum jail_kind kind)
{
	const struct jail *jail = &jails[kind];
	struct sock_filter filter[2 * MAX_CALLS + 16];
	struct sock_fprog prog = {.filter = filter};
	size_t n = 0;

	filter[n++] = (struct sock_filter)LOAD(arch);
	filter[n++] = (struct sock_filter)SKIP_IF(AUDIT_ARCH_X86_64, 1, 0);
	filter[n++] = (struct sock_filter)RETURN(SECCOMP_RET_KILL_PROCESS);
	filter[n++] = (struct sock_filter)LOAD(nr);
	if (jail->request)
		n += add_ioctl(filter + n, jail->request);
	for (size_t i = 0; i < jail->n_calls; i++) {
		filter[n++] = (struct sock_filter)SKIP_IF(jail->calls[i], 0, 1);
		filter[n++] = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
	}
	filter[n++] = (struct sock_filter)RETURN(SECCOMP_RET_KILL_PROCESS);
	prog.len = n;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
		die(STATUS_SETUP, "seccomp: %m");
}
