/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_KVM_FDS_H
#define GUEST_KVM_FDS_H

#include <sys/types.h>

#include "guest/kpeek.h"
#include "guest/kvm_slots.h"

/* KVM's descriptors of a process, as their links under /proc/PID/fd tell. */
struct kvm_vcpu_fd {
	int fd;
	unsigned id;   /* KVM's vcpu_id */
	uint64_t vcpu; /* struct kvm_vcpu, and its struct kvm; 0 until kvm_fds_sort_out() */
	uint64_t kvm;
};

struct kvm_vm_fd {
	int fd;
	uint64_t kvm;
};

struct kvm_fds {
	struct kvm_vm_fd *vms; /* by descriptor */
	size_t n_vms;
	struct kvm_vcpu_fd *vcpus; /* by vCPU id */
	size_t n_vcpus;
	/* Others that go on writing guest memory while all threads stand still. */
	bool io_uring, vhost, vfio;
};

/* ERR_UNSUPPORTED when the process has no VM. */
struct err *kvm_fds_read(pid_t pid, struct kvm_fds *ret) MUST_CHECK;
void kvm_fds_deinit(struct kvm_fds *f);

/*
 * Finds the struct kvm of each descriptor by copies of them in this process,
 * which are closed again, and drops duplicates. pidfd: of the VMM.
 */
struct err *kvm_fds_sort_out(struct kvm_fds *f, int pidfd, const struct kpeek *k,
			     const struct kvm_layout *l) MUST_CHECK;

/* Do the descriptors look the same as when f was read, and is VM number vm still the same? */
bool kvm_fds_unchanged(const struct kvm_fds *f, pid_t pid, int pidfd, size_t vm, const struct kpeek *k,
		       const struct kvm_layout *l);

#endif
