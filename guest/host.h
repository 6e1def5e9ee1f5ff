/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_HOST_H
#define GUEST_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/*
 * What ptrace work needs to know of the host's processor: one file a host,
 * host_*.c, chosen by the GNUmakefile. Nothing here touches a thread; it only
 * reads and changes copies of its registers.
 */

/* The general registers of a stopped thread: the NT_PRSTATUS regset as ptrace gives it, and what belongs to it. */
#define HOST_REGS_BYTES 512
struct host_regs {
	_Alignas(16) uint8_t bytes[HOST_REGS_BYTES];
	size_t n; /* of NT_PRSTATUS, which is shorter in 32-bit code */
};

/*
 * Which regsets that is; NT_PRSTATUS first, at 0. They are set from the last to the
 * first, so that a thread whose tracer dies in between still has its own registers.
 */
struct host_regset {
	unsigned note;
	size_t offset, bytes; /* at most; in struct host_regs */
};
extern const struct host_regset host_regsets[];
extern const size_t host_n_regsets;
/* Called when they have been read: takes out what cannot be set as it was read. */
void host_settle_regs(struct host_regs *r);

/* Linux of at least this version, and subversion, restarts calls as these files know it. */
extern const unsigned host_least_linux[2];
/* ERR_UNSUPPORTED: it is an older one. */
struct err *host_check_linux(void) MUST_CHECK;

/* Another regset of a stopped thread. *bytes: how many there may be, and are. name: for the error. */
struct err *host_read_regset(pid_t tid, unsigned note, const char *name, void *ret, size_t *bytes) MUST_CHECK;

struct host_syscall {
	long nr;
	uint64_t args[6];
	long result; /* of a syscall that was interrupted: may be a kernel-internal restart code */
};

/* Of a thread in a PTRACE_EVENT_STOP, the system call that it has just left; false: none. */
bool host_syscall_of(const struct host_regs *r, struct host_syscall *ret);

/*
 * Calls that only some hosts have among those that give up with a plain EINTR and can
 * be made again: the list ends with nr -1.
 */
struct host_repeatable {
	long nr;
	long which; /* the call's first argument; -1: any */
};
extern const struct host_repeatable host_repeatable[];

/*
 * Makes the kernel run an interrupted system call again when no signal handler
 * is to run (as ERESTARTNOHAND does). Valid in a PTRACE_EVENT_STOP only.
 */
void host_ask_restart(struct host_regs *r);

/* At the exit stop of a system call: what it returns instead. */
void host_set_result(struct host_regs *r, long result);

/* The same as a restart without the kernel's help: the registers before the call. For a frame. */
void host_rewind_syscall(struct host_regs *r);

/* 0 for a thread in code of a kind that no call can be injected into. */
uint64_t host_stack_pointer(const struct host_regs *r);
/* Bytes below the stack pointer that the ABI lets a leaf function use. */
extern const size_t host_red_zone_bytes;

/* Code of the VMM's own that an injected system call runs on. */
struct host_gadgets {
	uint64_t call;        /* makes the call, and gets to sigreturn by itself, or by host_set_call() */
	uint64_t sigreturn;   /* calls rt_sigreturn */
	uint64_t call_return; /* makes any call, and returns to its caller whatever that gives; 0: not all have it */
};

/* Byte strings to look for in executable mappings, at multiples of host_insn_align; each list ends with a NULL. */
struct host_pattern {
	const uint8_t *bytes;
	size_t n;
};
extern const size_t host_insn_align;
extern const struct host_pattern host_call_patterns[];
extern const struct host_pattern host_sigreturn_patterns[];
extern const struct host_pattern host_call_return_patterns[];

/*
 * The signal frame by which an orphaned thread returns to where it was: the
 * registers r, the signal mask and the extended state that ptrace gave
 * (NT_X86_XSTATE and the like); tid 0: none of that, for a frame that is not the last
 * to be returned through. top: the end of what may be used.
 * Appends the frame's bytes to out; *ret_addr is where they go, *ret_sp the
 * stack pointer with which a return from the injected call reaches sigreturn.
 */
struct host_frame {
	uint64_t addr;
	uint64_t sp;
};
struct err *host_build_frame(pid_t tid, const struct host_regs *r, const struct host_gadgets *g, uint64_t sigmask,
			     uint64_t top, struct buf *out, struct host_frame *ret) MUST_CHECK;

/* At a trap: go to the call gadget as rt_sigreturn, which undoes everything by itself. */
void host_enter_gadget(struct host_regs *r, const struct host_gadgets *g, const struct host_frame *f);
/* At the entry stop of that: make it this call instead, one that returns into rt_sigreturn. */
void host_set_call(struct host_regs *r, const struct host_gadgets *g, const struct host_frame *f, long nr,
		   const uint64_t args[6]);
/* At the exit stop of any call. */
long host_call_result(const struct host_regs *r);
/*
 * Registers, for a frame, with which a thread makes this call by itself at
 * call_return and then returns through f.
 */
void host_make_call(struct host_regs *r, const struct host_gadgets *g, const struct host_frame *f, long nr,
		    const uint64_t args[6]);
/* The arguments of clone(2), whose order differs. sp: of the child; child_tid_hva gets its pid. */
void host_clone_args(uint64_t flags, uint64_t sp, uint64_t child_tid_hva, uint64_t ret[6]);

#endif
