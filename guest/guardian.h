/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_GUARDIAN_H
#define GUEST_GUARDIAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/*
 * The process that does all ptrace work for one VMM. It shares nothing with the
 * front end but a socket; when that closes, for whatever reason, it undoes what it
 * did, lets the VMM go and ends. While the guest runs it traces nothing.
 */
struct guardian;

struct err *guardian_start(pid_t pid, struct guardian **ret) MUST_CHECK;
/* Waits until the VMM has been let go; takes NULL. */
void guardian_destroy(struct guardian *g);
/* Becomes readable when the guardian has ended. */
int guardian_fd(const struct guardian *g);

/*
 * Stops the VMM with its n_vcpus vCPUs parked. *ret_parked counts those that were in
 * KVM_RUN. On failure destroy g: only its end lets go of all that it had stopped.
 */
struct err *guardian_stop(struct guardian *g, unsigned n_vcpus, unsigned *ret_parked) MUST_CHECK;
struct err *guardian_resume(struct guardian *g) MUST_CHECK;

/* One ioctl in the name of a stopped VMM. data is copied in and, on success or not, out. */
struct guardian_ioctl {
	int fd;
	unsigned long request;
	void *data;
	size_t bytes;
	long result; /* out: as the system call's, -errno on failure */
};

/*
 * Runs them in order; an ioctl that fails says so in its result and does not end
 * the others. After an error of its own the guardian may end, and let the VMM go.
 */
struct err *guardian_ioctls(struct guardian *g, struct guardian_ioctl *calls, size_t n) MUST_CHECK;

#endif
