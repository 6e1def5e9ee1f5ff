/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <sys/utsname.h>

#include "guest/backends.h"
#include "guest/kvm_wait.h"

/* In place of the kvm backend, on hosts whose processor it does not know. */

static struct err *no_backend(void)
{
	struct utsname u;

	return err_new(ERR_UNSUPPORTED, "this build has no kvm backend for %s hosts yet: a QEMU can be reached by --qmp",
		       uname(&u) ? "such" : u.machine);
}

struct err *guest_open_kvm(pid_t pid, unsigned vm, struct guest **ret)
{
	(void)pid;
	(void)vm;
	(void)ret;
	return no_backend();
}

struct err *kvm_wait_create(pid_t pid, unsigned vm, struct kvm_wait **ret)
{
	(void)pid;
	(void)vm;
	(void)ret;
	return no_backend();
}

void kvm_wait_destroy(struct kvm_wait *w)
{
	(void)w;
}

int kvm_wait_fd(const struct kvm_wait *w)
{
	(void)w;
	return -1;
}

struct err *kvm_wait_poll(struct kvm_wait *w, struct guest **ret)
{
	(void)w;
	(void)ret;
	return no_backend();
}

struct err *kvm_list(struct kvm_vmm **ret, size_t *ret_n)
{
	(void)ret;
	(void)ret_n;
	return no_backend();
}
