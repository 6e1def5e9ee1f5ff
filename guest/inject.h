/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_INJECT_H
#define GUEST_INJECT_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "guest/tracee.h"

/*
 * System calls in the name of a thread of the VMM. The thread runs them on code
 * of its own with a signal frame under it: should we die, it returns through the
 * frame to where it was. Every thread of the VMM must be stopped.
 */

/* The largest data of one call. */
#define INJECT_SCRATCH_BYTES 16384u

#define INJECT_MAX_DEFERRED 24u

/* A call that is still to be made before the thread goes back to where it was. */
struct inject_deferred {
	struct host_frame next; /* which it returns through */
	long nr;
	uint64_t args[6];
};

struct injector {
	struct tracees *ts;
	struct tracee *t;
	struct host_gadgets gadgets;
	struct host_frame frame;
	uint64_t scratch;    /* hva, INJECT_SCRATCH_BYTES of it */
	uint64_t low;        /* hva of the last frame; deferred calls have theirs in the scratch, from its end */
	struct inject_deferred deferred[INJECT_MAX_DEFERRED];
	size_t n_deferred;
	uint64_t saved_addr; /* what the frame and the scratch lie on, and its bytes */
	struct buf saved;
	uint64_t sigmask;
	bool seccomp_off;    /* its filter is suspended for the time */
	long options;        /* PTRACE_O_* that it has beyond TRACEE_OPTIONS for the time */
};

/* Finds the code to run calls on; once a process, its text does not change. */
struct err *inject_find_gadgets(struct tracees *ts, struct host_gadgets *ret) MUST_CHECK;

/*
 * Chooses a thread with room on its stack and no system-call filter (or one
 * that can be suspended) and makes it ready. vcpu_fd: the vCPU that the calls are
 * for, whose own thread is taken where it is known; or -1.
 */
struct err *inject_begin(struct tracees *ts, const struct host_gadgets *g, int vcpu_fd,
			 struct injector *ret) MUST_CHECK;

/* *ret: what the call returned, -errno included. Not with calls that block. */
struct err *inject_syscall(struct injector *in, long nr, const uint64_t args[6], long *ret) MUST_CHECK;

/* ioctl(fd, request, data) with data copied in and back; bytes <= INJECT_SCRATCH_BYTES. */
struct err *inject_ioctl(struct injector *in, int fd, unsigned long request, void *data, size_t bytes,
			 long *ret) MUST_CHECK;

/* At an offset in data of an ioctl to come: where its byte points_to will be. */
void inject_set_pointer(const struct injector *in, void *data, size_t at, size_t points_to);

/*
 * Puts this call before all that follows when the thread goes back: inject_undo() makes
 * it, or the thread itself should we die, unless a filter might end the VMM for it. What
 * it returns is lost. ret_arg, unless NULL: where the thread will take args[0] from, which
 * fits into an int and is no other argument; 0: nowhere. ERR_UNSUPPORTED: no room for more.
 * The scratch shrinks to INJECT_NOTE_BYTES until inject_undo().
 */
#define INJECT_NOTE_BYTES 256u
struct err *inject_defer(struct injector *in, long nr, const uint64_t args[6], uint64_t *ret_arg) MUST_CHECK;
/* Makes all deferred calls, the last one first. */
struct err *inject_undo(struct injector *in) MUST_CHECK;
/* A frame for a thread that is to do nothing but make one call, from which it does not come back. */
struct err *inject_place_call(struct injector *in, long nr, const uint64_t args[6],
			      struct host_frame *ret) MUST_CHECK;

/* More ptrace options for the thread until inject_end(). */
struct err *inject_add_options(struct injector *in, long options) MUST_CHECK;
/*
 * A clone(2) whose event is traced, up to that: the new process, and not the end of the
 * call. *ret_child 0: there is none, and *ret is what the call returned.
 */
struct err *inject_clone(struct injector *in, const uint64_t args[6], pid_t *ret_child, long *ret) MUST_CHECK;
/* The rest of it. */
struct err *inject_clone_end(struct injector *in, long *ret) MUST_CHECK;

/* Brings the thread back into its trap, its memory and registers as they were. */
struct err *inject_end(struct injector *in) MUST_CHECK;

/*
 * The same behind calls that gave e, which it takes over. *ret_stuck is set when the
 * thread could not be put right: it finds its way back once nobody traces it.
 */
struct err *inject_end_after(struct injector *in, struct err *e, bool *ret_stuck) MUST_CHECK;

#endif
