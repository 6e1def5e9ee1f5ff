/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/kvm_run_page.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE_BYTES 4096u

struct kvm_run *kvm_run_page_map(int pidfd, int vcpu_fd)
{
	int own = (int)syscall(SYS_pidfd_getfd, pidfd, vcpu_fd, 0);
	void *run = own < 0 ? MAP_FAILED : mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, own, 0);
	int errnum = errno;

	if (own >= 0)
		close(own);
	errno = errnum;
	return run == MAP_FAILED ? NULL : run;
}

void kvm_run_page_unmap(struct kvm_run *run)
{
	if (run)
		munmap(run, PAGE_BYTES);
}
