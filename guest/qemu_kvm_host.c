/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <fcntl.h>
#include <unistd.h>

#include "guest/kvm_debug.h"
#include "guest/qemu_kvm.h"

void qemu_kvm_test(struct qemu_kvm *k)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	struct kvm_debug_caps caps = { 0 };

	if (fd < 0)
		return;
	kvm_debug_test(fd, &caps);
	close(fd);
	k->known = caps.tested;
	k->works[BREAKPOINT_SOFTWARE] = caps.software;
	k->works[BREAKPOINT_HARDWARE] = caps.execute;
	k->works[WATCHPOINT_WRITE] = caps.watch;
	k->works[WATCHPOINT_ACCESS] = caps.access;
}
