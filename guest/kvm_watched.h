/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_KVM_WATCHED_H
#define GUEST_KVM_WATCHED_H

#include <sys/types.h>

#include "guest/guardian.h"
#include "guest/kvm_fds.h"
#include "guest/kvm_slots.h"

/*
 * What kvm_fds.h and kvm_slots.h read out of the kernel, from what the guardian has
 * seen the VMM do since its start: this needs no privilege.
 */

/*
 * As kvm_fds_sort_out(). VMs and vCPUs stand by their descriptors in place of KVM's
 * structs. ERR_UNKNOWN where a VM was there before the guardian came.
 */
struct err *kvm_watched_sort_out(struct kvm_fds *f, pid_t pid, struct guardian *g) MUST_CHECK;

/* Those of the VM of this descriptor, in no order; caller frees. */
struct err *kvm_watched_slots(struct guardian *g, int vm_fd, struct kvm_slot **ret, size_t *ret_n) MUST_CHECK;

#endif
