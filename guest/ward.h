/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_WARD_H
#define GUEST_WARD_H

#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "guest/kvm_debug.h"

/*
 * The guardian's own process, and what it and the front end say to each other over
 * their socket. Both ends are the same program. A request is a struct ward_request
 * and what its op has; each has one reply, which is a struct ward_reply and the same.
 * Between them the guardian may send an event.
 */
enum ward_op {
	WARD_STOP,   /* n: vCPUs. Reply: struct ward_stopped, its hits, descriptors */
	WARD_RESUME,
	WARD_IOCTLS, /* n calls, each a struct ward_call and its data. Reply: the same */
	WARD_RUN,    /* n: vCPUs of the process. struct ward_run, its vCPUs, patches */
	WARD_WATCH,  /* n: 1 to hold the guest when it is to run */
	WARD_SEEN,   /* Reply: watched_put() */
	WARD_FORK,   /* n ranges: a struct ward_fork, each a struct vmm_range. Reply: the pid, an int32_t, or 0; a descriptor */
};

struct ward_request {
	uint32_t op;
	uint32_t n;
};

enum ward_reply_kind {
	WARD_DONE,
	WARD_FAILED, /* code, errnum; the text follows */
	WARD_EVENT,  /* no reply: a guest that ran armed, or was to be held, has stopped by itself */
};

struct ward_reply {
	uint32_t kind;
	uint32_t code; /* enum err_code */
	int32_t errnum;
};

struct ward_call {
	int32_t fd;
	uint32_t bytes;
	uint64_t request;
	int64_t result;
	uint32_t pointer_at, points_to; /* as guardian_ioctl has them */
};

struct ward_run {
	uint32_t n_vcpus, n_patches;
	uint32_t arm_new;
	struct kvm_arming new_debug;
};

struct ward_fork {
	uint32_t uffd;
};

struct ward_stopped {
	uint32_t parked;
	uint32_t undisturbed;
	uint32_t n_hits, n_left;
};

#define WARD_MAX_MESSAGE_BYTES 196608u

/* Holds process pid for whom sock leads to, and ends with it. */
void ward_main(int sock, pid_t pid) NORETURN;

#endif
