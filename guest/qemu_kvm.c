/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/qemu_kvm.h"

struct err *qemu_kvm_kind(struct qemu_kvm *k, bool here, enum breakpoint_kind kind, enum breakpoint_kind *ret)
{
	static const char *const names[N_BREAKPOINT_KINDS] = {
		[BREAKPOINT_SOFTWARE] = "breakpoints",	     [BREAKPOINT_HARDWARE] = "hardware breakpoints",
		[WATCHPOINT_WRITE] = "write watchpoints",    [WATCHPOINT_READ] = "read watchpoints",
		[WATCHPOINT_ACCESS] = "access watchpoints",
	};

	if (!k->tested && here)
		qemu_kvm_test(k);
	k->tested = true;
	if (kind == BREAKPOINT_SOFTWARE && !k->works[kind] && (!k->known || k->works[BREAKPOINT_HARDWARE]))
		kind = BREAKPOINT_HARDWARE;
	if (k->known && !k->works[kind])
		return err_new(ERR_UNSUPPORTED, "this host's KVM does no %s: it failed when tried on a guest of our own; "
						"single steps may work", names[kind]);
	*ret = kind;
	return NULL;
}
