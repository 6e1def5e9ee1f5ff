/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/kvm_debug.h"

/* Of hosts whose KVM ends no KVM_RUN for an exception of the guest's own. */

const unsigned kvm_debug_irq_flag = 0;
const unsigned long kvm_debug_get_cause = 0;
const unsigned long kvm_debug_put_cause = 0;

void kvm_debug_add_exception(struct kvm_arming *d, const struct kvm_hit *hit)
{
	(void)d;
	(void)hit;
}

void kvm_debug_set_cause(void *regs, const struct kvm_hit *hit)
{
	(void)regs;
	(void)hit;
}
