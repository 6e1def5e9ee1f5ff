/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_KVM_H
#define GUEST_KVM_H

#include <stdbool.h>
#include <sys/types.h>

#include "guest/guardian.h"
#include "guest/guest.h"
#include "guest/kpeek.h"
#include "guest/kvm_control.h"
#include "guest/kvm_fds.h"
#include "guest/kvm_host.h"
#include "guest/kvm_slots.h"
#include "guest/vmm_mem.h"

struct kvm_file {
	uint64_t dev, inode; /* as in struct proc_map */
};

/* What the files of the kvm backend share: priv of its guests. */
struct kvm {
	pid_t pid;
	int pidfd;
	int epoll_fd; /* pidfd, the guardian and control.event_fd */
	unsigned vm;  /* index */
	bool watched; /* its slots are known by what the guardian has seen, not by peek */
	struct kpeek peek;
	struct kvm_layout layout;
	int user_slots; /* slots from this number on are KVM's own */
	struct guardian *guardian;
	struct kvm_access access; /* to its vCPUs, while stopped */
	struct kvm_fds fds;
	int *vcpu_fds; /* of this VM, by vCPU */
	unsigned n_vcpus, n_parked;
	struct kvm_slot *slots;
	size_t n_slots;
	struct kvm_generation generation; /* of slots */
	struct vmm_mem *mem;              /* while stopped */
	struct kvm_file *lone_files;      /* of shared memory, that nobody else was seen to have mapped */
	size_t n_lone_files;
	struct kvm_control control;
};

/* While the guest stands still this must be so; a guardian that was killed has let it go. */
struct err *kvm_check_held(struct guest *g) MUST_CHECK;
/* Is the process one that can be attached to, as far as can be told from outside? */
struct err *kvm_check_process(pid_t pid) MUST_CHECK;
/* The guest of a VMM that guardian g holds before it ran: it is stopped. Takes over g, on failure too. */
struct err *kvm_open_held(pid_t pid, unsigned vm, struct guardian *g, struct guest **ret) MUST_CHECK;

/* A VMM that is being killed fails in many ways before it is seen to have exited: says so in place of e. */
struct err *kvm_explain_failure(struct guest *g, struct err *e) MUST_CHECK;

#endif
