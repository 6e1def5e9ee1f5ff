/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/qemu_kvm.h"

/* On hosts whose processor the kvm backend does not know. */

void qemu_kvm_test(struct qemu_kvm *k)
{
	(void)k;
}
