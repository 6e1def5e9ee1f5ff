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

struct injector {
	struct tracees *ts;
	struct tracee *t;
	struct host_gadgets gadgets;
	struct host_frame frame;
	uint64_t scratch;    /* hva, INJECT_SCRATCH_BYTES of it */
	uint64_t saved_addr; /* what the frame and the scratch lie on, and its bytes */
	struct buf saved;
	uint64_t sigmask;
	bool seccomp_off;    /* its filter is suspended for the time */
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

/* Brings the thread back into its trap, its memory and registers as they were. */
struct err *inject_end(struct injector *in) MUST_CHECK;

/*
 * The same behind calls that gave e, which it takes over. *ret_stuck is set when the
 * thread could not be put right: it finds its way back once nobody traces it.
 */
struct err *inject_end_after(struct injector *in, struct err *e, bool *ret_stuck) MUST_CHECK;

#endif
