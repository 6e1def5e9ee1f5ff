/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_KVM_WAIT_H
#define GUEST_KVM_WAIT_H

#include <sys/types.h>

#include "guest/guest.h"

/* A process that is watched until it runs a guest. */
struct kvm_wait;

/* vm: which of its VMs, as for guest_open_kvm(). The process runs on. */
struct err *kvm_wait_create(pid_t pid, unsigned vm, struct kvm_wait **ret) MUST_CHECK;
void kvm_wait_destroy(struct kvm_wait *w); /* lets it go; takes NULL */

/* Becomes readable when kvm_wait_poll() has something to say. */
int kvm_wait_fd(const struct kvm_wait *w);
/*
 * *ret is the guest, stopped before what it would do next; NULL: not yet. After it,
 * and after an error, only kvm_wait_destroy() may follow. ERR_GONE: the process has exited.
 */
struct err *kvm_wait_poll(struct kvm_wait *w, struct guest **ret) MUST_CHECK;

#endif
