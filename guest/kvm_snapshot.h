/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_KVM_SNAPSHOT_H
#define GUEST_KVM_SNAPSHOT_H

#include "guest/guest.h"

/*
 * guest_ops.snapshot and prepare_snapshot of the kvm backend: private memory is that of a
 * copy of the VMM (vmm_fork.h), shared memory is put aside as it is written (shadow.h).
 */
struct err *kvm_snapshot(struct guest *g, struct guest **ret) MUST_CHECK;
void kvm_prepare_snapshot(struct guest *g);

#endif
