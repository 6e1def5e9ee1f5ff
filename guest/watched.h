/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_WATCHED_H
#define GUEST_WATCHED_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/*
 * What a VMM was seen to ask of KVM since its start: its VMs, their vCPUs and memory
 * slots, by the VMM's descriptors.
 */

struct watched_vcpu {
	int32_t vm_fd, vcpu_fd;
};

struct watched_slot {
	int32_t vm_fd;
	uint32_t slot;  /* its number, and above 16 bits the address space's */
	uint32_t flags; /* KVM_MEM_* */
	uint64_t gpa, bytes, hva;
};

struct watched {
	int32_t *vms;
	size_t n_vms;
	struct watched_vcpu *vcpus;
	size_t n_vcpus;
	struct watched_slot *slots;
	size_t n_slots;
};

void watched_deinit(struct watched *w);

/* Each replaces whatever was known of the same. */
void watched_set_vm(struct watched *w, int vm_fd);
void watched_set_vcpu(struct watched *w, int vm_fd, int vcpu_fd);
/* bytes 0: there is no such slot any more. */
void watched_set_slot(struct watched *w, const struct watched_slot *s);

/* From the guardian to the front end. */
void watched_put(const struct watched *w, struct buf *out);
/* Off the front of in. Caller ends *ret. */
struct err *watched_take(struct buf *in, struct watched *ret) MUST_CHECK;

#endif
