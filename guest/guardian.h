/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_GUARDIAN_H
#define GUEST_GUARDIAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "guest/guest.h"
#include "guest/kvm_debug.h"
#include "guest/vmm_fork.h"
#include "guest/watched.h"

/*
 * The process that does all ptrace work for one VMM. It shares nothing with the
 * front end but a socket; when that closes, for whatever reason, it undoes what it
 * did, lets the VMM go and ends. While the guest runs it traces nothing, unless
 * something is armed in it, or it is to be watched.
 */
struct guardian;

struct err *guardian_start(pid_t pid, struct guardian **ret) MUST_CHECK;
/* Waits until the VMM has been let go; takes NULL. */
void guardian_destroy(struct guardian *g);
/* Becomes readable when the guardian has ended, and when there is something for guardian_take_event(). */
int guardian_fd(const struct guardian *g);
bool guardian_ended(const struct guardian *g);

struct guardian_stopped {
	unsigned parked; /* vCPUs that were in KVM_RUN */
	/* What follows is of a guest that ran by guardian_run(). Its VMM has run nothing but KVM_RUN since. */
	bool undisturbed;
	struct kvm_hit *hits; /* in the order in which they came */
	size_t n_hits;
	int *left; /* descriptors of vCPUs that did not get over the instruction of guardian_vcpu.over */
	size_t n_left;
};

void guardian_stopped_deinit(struct guardian_stopped *s);

/*
 * Stops the VMM with its n_vcpus vCPUs parked. The caller ends *ret with
 * guardian_stopped_deinit(). On failure destroy g: only its end lets go of all that
 * it had stopped.
 */
struct err *guardian_stop(struct guardian *g, unsigned n_vcpus, struct guardian_stopped *ret) MUST_CHECK;
/* Lets the VMM go, with nothing armed. */
struct err *guardian_resume(struct guardian *g) MUST_CHECK;

/* ---- running it with something armed ---- */

/* Where a breakpoint instruction goes. It is in memory only while the guest runs. */
struct guardian_patch {
	uint64_t hva, gva;
};

struct guardian_vcpu {
	int fd;
	enum run_action action;
	bool over; /* first one instruction with over_debug, with all others held and no patches in memory */
	struct kvm_arming debug, over_debug;
	/* Where KVM does not step: in memory for that one instruction alone. */
	struct guardian_patch next[KVM_DEBUG_MAX_NEXT];
	unsigned n_next;
};

struct guardian_run {
	const struct guardian_vcpu *vcpus;
	size_t n_vcpus;
	const struct guardian_patch *patches;
	size_t n_patches;
	bool arm_new; /* vCPUs that come up meanwhile get new_debug before they run */
	struct kvm_arming new_debug;
};

/*
 * Of a stopped VMM; n_vcpus: of the whole process, as for guardian_stop(). The guest
 * runs until guardian_stop(), or until it stops by itself, of which
 * guardian_take_event() tells; all hits come with the next guardian_stop(). Debug
 * registers stay set until the next run, or guardian_resume().
 */
struct err *guardian_run(struct guardian *g, const struct guardian_run *run, unsigned n_vcpus) MUST_CHECK;
/* True once when the guest has stopped by itself. Does not wait. */
bool guardian_take_event(struct guardian *g);

/* ---- watching what it asks of KVM ---- */

/*
 * Lets a VMM go, stopped or free, with nothing armed, and follows all of its system
 * calls until guardian_resume(): other stops and runs may come in between. hold: the
 * guest stops before a vCPU runs, of which guardian_take_event() tells.
 */
struct err *guardian_watch(struct guardian *g, bool hold) MUST_CHECK;
/* What it was seen to do since the first guardian_watch(). Caller ends *ret with watched_deinit(). */
struct err *guardian_seen(struct guardian *g, struct watched *ret) MUST_CHECK;

/* ---- calls ---- */

/* One ioctl in the name of a stopped VMM. data is copied in and, on success or not, out. */
struct guardian_ioctl {
	int fd;
	unsigned long request;
	void *data;
	size_t bytes;
	long result; /* out: as the system call's, -errno on failure */
	/* Where in data there is a pointer of 8 bytes, 0: nowhere; it is set to where data's byte points_to is then. */
	uint32_t pointer_at, points_to;
};

/*
 * Runs them in order; an ioctl that fails says so in its result and does not end
 * the others. After an error of its own the guardian may end, and let the VMM go.
 */
struct err *guardian_ioctls(struct guardian *g, struct guardian_ioctl *calls, size_t n) MUST_CHECK;

/*
 * A copy-on-write copy of a stopped VMM, which holds these ranges of its private memory
 * (vmm_fork.h): a process that lives until it gets SIGKILL, or the guardian ends. uffd: a
 * userfaultfd of the VMM is wanted too; the caller closes it.
 */
struct err *guardian_fork(struct guardian *g, const struct vmm_range *ranges, size_t n, bool uffd,
			  struct vmm_forked *ret) MUST_CHECK;

#endif
