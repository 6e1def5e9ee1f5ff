/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_KVM_RUN_PAGE_H
#define GUEST_KVM_RUN_PAGE_H

#include <linux/kvm.h>

/* The page of a vCPU that KVM and the VMM share, mapped here too. pidfd: of the VMM. NULL with errno on failure. */
struct kvm_run *kvm_run_page_map(int pidfd, int vcpu_fd);
void kvm_run_page_unmap(struct kvm_run *run); /* takes NULL */

#endif
