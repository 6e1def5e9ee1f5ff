/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_QEMU_KVM_H
#define GUEST_QEMU_KVM_H

#include <stdbool.h>

#include "base/err.h"
#include "guest/guest.h"

/*
 * What becomes of breakpoints where QEMU uses KVM. QEMU says OK to what this host's KVM
 * then does not do; a breakpoint instruction is the end of the guest on some. {0}
 * has not found it out yet.
 */
struct qemu_kvm {
	bool tested, known;
	bool works[N_BREAKPOINT_KINDS];
};

/*
 * *ret: the kind that QEMU is to be asked for. here: QEMU runs on this host.
 * ERR_UNSUPPORTED: none would stop the guest.
 */
struct err *qemu_kvm_kind(struct qemu_kvm *k, bool here, enum breakpoint_kind kind,
			  enum breakpoint_kind *ret) MUST_CHECK;

/* Of a host whose KVM cannot be tried, nothing is known. */
void qemu_kvm_test(struct qemu_kvm *k);

#endif
