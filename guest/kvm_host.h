/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_KVM_HOST_H
#define GUEST_KVM_HOST_H

#include <stdbool.h>

#include "arch/arch.h"
#include "base/err.h"
#include "guest/guardian.h"

/*
 * The registers of a vCPU in the form of the host's KVM ioctls: one file a host,
 * kvm_*.c, chosen by the GNUmakefile.
 */

/* What a guest of this host's KVM is. */
const struct arch *kvm_host_arch(void);

struct err *kvm_host_read_regs(struct guardian *g, int vcpu_fd, struct regs *ret) MUST_CHECK;
/* Writes those rows of from for which changed[row] is true. */
struct err *kvm_host_write_regs(struct guardian *g, int vcpu_fd, const struct regs *from,
				const bool *changed) MUST_CHECK;
/* Tells the guest, where it has asked to be told, that time went on without it. */
struct err *kvm_host_before_resume(struct guardian *g, const int *vcpu_fds, unsigned n) MUST_CHECK;

#endif
