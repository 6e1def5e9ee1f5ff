/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/kvm_fds.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "guest/proc.h"

static void sort_in(struct kvm_fds *f, const struct proc_fd *p)
{
	unsigned id = 0;

	if (!strcmp(p->link, "anon_inode:kvm-vm")) {
		f->vms = xreallocarray(f->vms, f->n_vms + 1, sizeof(*f->vms));
		f->vms[f->n_vms++] = (struct kvm_vm_fd){ p->fd, 0 };
	} else if (!strcmp(p->link, "anon_inode:kvm-vcpu") || sscanf(p->link, "anon_inode:kvm-vcpu:%u", &id) == 1) {
		f->vcpus = xreallocarray(f->vcpus, f->n_vcpus + 1, sizeof(*f->vcpus));
		f->vcpus[f->n_vcpus++] = (struct kvm_vcpu_fd){ .fd = p->fd, .id = id };
	}
	f->io_uring |= !strcmp(p->link, "anon_inode:[io_uring]");
	f->vhost |= !strncmp(p->link, "/dev/vhost", 10);
	f->vfio |= !strncmp(p->link, "/dev/vfio", 9) || !strncmp(p->link, "anon_inode:[vfio", 16);
}

static int by_id(const void *a, const void *b)
{
	const struct kvm_vcpu_fd *x = a, *y = b;

	return x->id != y->id ? (x->id > y->id) - (x->id < y->id) : x->fd - y->fd;
}

struct err *kvm_fds_read(pid_t pid, struct kvm_fds *ret)
{
	struct kvm_fds f = { 0 };
	struct proc_fd *fds;
	size_t n;
	struct err *e = proc_fds(pid, &fds, &n);

	if (e)
		return e;
	for (size_t i = 0; i < n; i++)
		sort_in(&f, &fds[i]);
	free(fds);
	if (!f.n_vms) {
		kvm_fds_deinit(&f);
		return err_new(ERR_UNSUPPORTED, "process %d runs no KVM guest (it has no kvm-vm descriptor); "
						"`vmgdbserver list` shows those that do", pid);
	}
	if (f.n_vcpus)
		qsort(f.vcpus, f.n_vcpus, sizeof(*f.vcpus), by_id);
	*ret = f;
	return NULL;
}

void kvm_fds_deinit(struct kvm_fds *f)
{
	free(f->vms);
	free(f->vcpus);
	*f = (struct kvm_fds){ 0 };
}

static struct err *private_of(int pidfd, int fd, const struct kpeek *k, const struct kvm_layout *l, uint64_t *ret)
{
	int own = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	struct err *e;

	if (own < 0 && errno == EPERM)
		return err_sys(errno, "cannot look at the VMM's descriptors: be its user, or have CAP_SYS_PTRACE");
	if (own < 0)
		return err_sys(errno, "cannot copy descriptor %d of the VMM", fd);
	e = kvm_private_data(k, l, own, ret);
	close(own);
	return e;
}

static bool has_vm(const struct kvm_fds *f, size_t n, uint64_t kvm)
{
	for (size_t i = 0; i < n; i++)
		if (f->vms[i].kvm == kvm)
			return true;
	return false;
}

static bool has_vcpu(const struct kvm_fds *f, size_t n, const struct kvm_vcpu_fd *v)
{
	for (size_t i = 0; i < n; i++)
		if (f->vcpus[i].kvm == v->kvm && f->vcpus[i].id == v->id)
			return true;
	return false;
}

struct err *kvm_fds_sort_out(struct kvm_fds *f, int pidfd, const struct kpeek *k, const struct kvm_layout *l)
{
	struct err *e = NULL;
	size_t vms = 0, vcpus = 0;

	for (size_t i = 0; !e && i < f->n_vms; i++) {
		struct kvm_vm_fd vm = f->vms[i];

		e = private_of(pidfd, vm.fd, k, l, &vm.kvm);
		if (!e && !has_vm(f, vms, vm.kvm))
			f->vms[vms++] = vm;
	}
	for (size_t i = 0; !e && i < f->n_vcpus; i++) {
		struct kvm_vcpu_fd v = f->vcpus[i];

		e = private_of(pidfd, v.fd, k, l, &v.vcpu);
		if (!e)
			e = kpeek_u64(k, v.vcpu + l->vcpu_kvm, &v.kvm);
		if (!e && !has_vcpu(f, vcpus, &v))
			f->vcpus[vcpus++] = v;
	}
	if (!e) {
		f->n_vms = vms;
		f->n_vcpus = vcpus;
	}
	return e;
}

static bool same_links(const struct kvm_fds *a, const struct kvm_fds *b)
{
	if (a->n_vms != b->n_vms || a->n_vcpus != b->n_vcpus)
		return false;
	for (size_t i = 0; i < a->n_vms; i++)
		if (a->vms[i].fd != b->vms[i].fd)
			return false;
	for (size_t i = 0; i < a->n_vcpus; i++)
		if (a->vcpus[i].fd != b->vcpus[i].fd || a->vcpus[i].id != b->vcpus[i].id)
			return false;
	return true;
}

bool kvm_fds_unchanged(const struct kvm_fds *f, pid_t pid, int pidfd, size_t vm, const struct kpeek *k,
		       const struct kvm_layout *l)
{
	struct kvm_fds now = { 0 };
	struct err *e = kvm_fds_read(pid, &now);
	uint64_t kvm = 0;
	bool same = !e && same_links(f, &now);

	if (same)
		e = private_of(pidfd, f->vms[vm].fd, k, l, &kvm);
	same = same && !e && kvm == f->vms[vm].kvm;
	err_destroy(e);
	kvm_fds_deinit(&now);
	return same;
}
