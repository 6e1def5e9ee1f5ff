/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_TRACEE_H
#define GUEST_TRACEE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "guest/host.h"

/*
 * The threads of a VMM under ptrace; the guardian's half of the kvm backend.
 * Whatever instruction of this we die at, the kernel lets every thread go on as if
 * it had only been interrupted. SIGCHLD must be blocked.
 */

enum tracee_state {
	TRACEE_RUNNING,
	TRACEE_TRAPPED, /* in a PTRACE_EVENT_STOP; the only state it is left in at rest */
	TRACEE_SYSCALL, /* in a syscall stop */
	TRACEE_LISTENING, /* in a group stop, until that ends or we interrupt it */
	TRACEE_GONE,
};

struct tracee {
	pid_t tid;
	enum tracee_state state;
	bool seek;        /* run on to the next KVM_RUN and park there, instead of stopping at once */
	bool watched;     /* while threads run: it stops at each system call, as it runs a vCPU, or may come to do so */
	bool interrupted; /* an INTERRUPT is on its way; every stop takes it back */
	bool parked;      /* stopped in KVM_RUN, with complete vCPU registers */
	bool group_stop;  /* trapped in a stop of the whole process by a signal */
	int vcpu_fd;      /* whose KVM_RUN that is, or was last; -1: none was seen */
	uint64_t fit_sp;  /* for inject.c: with this stack pointer it can be made to call; 0: not known */
	unsigned calls;   /* system calls made while watched, but for KVM_RUN */
	struct host_syscall call; /* as its last syscall stop told; nr -1: none has */
	bool hid_exit;            /* that was at its exit, whose result was changed; no other stop came since */
	struct host_regs regs; /* at the trap; what it goes on with */
};

/* What is asked about vCPUs while their threads are traced and run. */
struct tracee_hooks {
	/* May it run guest code now? If not its thread is parked before it does. */
	bool (*may_enter)(void *ctx, int vcpu_fd);
	/* KVM_RUN came back without an error: was the exit made by us? Then the VMM sees an interrupted call. */
	bool (*is_ours)(void *ctx, int vcpu_fd);
	/* Called when the result says so: from here on the exit is the hook's to remember. */
	void (*take_exit)(void *ctx, int vcpu_fd);
	void *ctx;
};

/* Is shown every system call of every thread that runs, once set. */
struct tracee_watch {
	/* entry: it is about to be made; else it has come back with its result. */
	void (*call)(void *ctx, pid_t tid, bool entry, const struct host_syscall *s);
	void *ctx;
};

struct tracees {
	pid_t pid;
	struct tracee *t;
	size_t n;
	int mem_fd; /* /proc/PID/mem, or -1 */
	const struct tracee_hooks *hooks; /* borrowed; NULL: none */
	const struct tracee_watch *watch; /* borrowed; NULL: none */
	bool running; /* threads go on when they have stopped */
	bool strayed; /* while running: a watched thread did something else than KVM_RUN */
};

/* Which thread ran a vCPU at an earlier stop: saves looking for it. */
struct vcpu_thread {
	pid_t tid;
	int vcpu_fd;
};

/*
 * Seizes every thread of pid and stops it, vCPU threads first and inside
 * KVM_RUN, so that their registers are complete. n_vcpus: how many vCPUs there are
 * to wait for. A VMM that has itself paused them is found out by time-outs.
 * On failure too, what has been seized by then is held until tracees_release().
 */
struct err *tracees_stop(struct tracees *ts, pid_t pid, unsigned n_vcpus, const struct vcpu_thread *hints,
			 size_t n_hints) MUST_CHECK;

/*
 * Lets every thread go on as if nothing had been. False when one is not at rest
 * and so cannot be detached from: only the end of this process lets that one go.
 */
bool tracees_release(struct tracees *ts);

/*
 * True when the VMM's main thread has exited. Call when SIGCHLD has come, after a
 * release too: the VMM's own parent cannot reap what has died until we have.
 */
bool tracees_reap(struct tracees *ts);

/*
 * Runs traced threads: the caller sets running, hooks and watched, and lets threads
 * go that are trapped. tracees_take_events() handles what has happened since, after
 * SIGCHLD; threads that were parked are left so, and are the caller's to let go.
 */
struct err *tracee_let_go(struct tracees *ts, struct tracee *t) MUST_CHECK;
struct err *tracees_take_events(struct tracees *ts, size_t *ret_n) MUST_CHECK;
/* Stops them all again, as tracees_stop(). new_threads: some may have been made. */
struct err *tracees_halt(struct tracees *ts, unsigned n_vcpus, bool new_threads) MUST_CHECK;

/* Opens the memory of pid anew, which has executed another program. */
struct err *tracees_open_mem(struct tracees *ts) MUST_CHECK;

/* Takes over e; NULL in its place where it is that a thread is gone. */
struct err *tracee_ignore_gone(struct err *e) MUST_CHECK;

/* ---- for inject.c ---- */

/* What every thread is seized with. */
#define TRACEE_OPTIONS (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE)

/* A ptrace request of a stopped thread, with its error in words. addr, data as ptrace(2). */
struct err *tracee_ptrace(int request, const char *name, struct tracee *t, void *addr, void *data) MUST_CHECK;
struct err *tracee_get_regs(struct tracee *t, struct host_regs *ret) MUST_CHECK;
struct err *tracee_set_regs(struct tracee *t, const struct host_regs *regs) MUST_CHECK;
/*
 * Lets it run by PTRACE_SYSCALL or PTRACE_CONT, with a signal or 0, until its
 * next stop; *ret_status as waitpid(2).
 */
struct err *tracee_run(struct tracees *ts, struct tracee *t, int request, int signal, int *ret_status) MUST_CHECK;
/* The wait of it alone. */
struct err *tracee_wait(struct tracees *ts, struct tracee *t, int *ret_status) MUST_CHECK;
struct err *tracees_read(struct tracees *ts, uint64_t hva, void *ret, size_t bytes) MUST_CHECK;
struct err *tracees_write(struct tracees *ts, uint64_t hva, const void *from, size_t bytes) MUST_CHECK;

#endif
