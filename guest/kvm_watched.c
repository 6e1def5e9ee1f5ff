/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/kvm_watched.h"

#include <stdlib.h>

#include "base/alloc.h"

/* In place of a struct kvm; never 0. */
static uint64_t id_of(int vm_fd)
{
	return (uint64_t)vm_fd + 1;
}

static bool has_vm(const struct watched *w, int fd)
{
	for (size_t i = 0; i < w->n_vms; i++)
		if (w->vms[i] == fd)
			return true;
	return false;
}

static int vm_of_vcpu(const struct watched *w, int fd)
{
	for (size_t i = 0; i < w->n_vcpus; i++)
		if (w->vcpus[i].vcpu_fd == fd)
			return w->vcpus[i].vm_fd;
	return -1;
}

/* A descriptor that was not seen to be made is a copy of one that was. */
static void drop_unseen(struct kvm_fds *f, const struct watched *w)
{
	size_t vms = 0, vcpus = 0;

	for (size_t i = 0; i < f->n_vms; i++) {
		struct kvm_vm_fd vm = { f->vms[i].fd, id_of(f->vms[i].fd) };

		if (has_vm(w, vm.fd))
			f->vms[vms++] = vm;
	}
	for (size_t i = 0; i < f->n_vcpus; i++) {
		struct kvm_vcpu_fd v = f->vcpus[i];
		int vm = vm_of_vcpu(w, v.fd);

		v.kvm = id_of(vm);
		if (vm >= 0)
			f->vcpus[vcpus++] = v;
	}
	f->n_vms = vms;
	f->n_vcpus = vcpus;
}

struct err *kvm_watched_sort_out(struct kvm_fds *f, pid_t pid, struct guardian *g)
{
	struct watched w;
	struct err *e = guardian_seen(g, &w);

	if (e)
		return e;
	drop_unseen(f, &w);
	watched_deinit(&w);
	if (!f->n_vms)
		return err_new(ERR_UNKNOWN, "process %d set up its guest's memory before it was watched: have CAP_BPF "
					    "and CAP_PERFMON, or let vmgdbserver start it (-- PROGRAM)", pid);
	return NULL;
}

struct err *kvm_watched_slots(struct guardian *g, int vm_fd, struct kvm_slot **ret, size_t *ret_n)
{
	struct watched w;
	struct err *e = guardian_seen(g, &w);
	struct kvm_slot *slots;
	size_t n = 0;

	if (e)
		return e;
	slots = xcalloc(w.n_slots, sizeof(*slots));
	for (size_t i = 0; i < w.n_slots; i++) {
		const struct watched_slot *s = &w.slots[i];

		if (s->vm_fd == vm_fd)
			slots[n++] = (struct kvm_slot){ .gpa = s->gpa, .bytes = s->bytes, .hva = s->hva,
							.flags = s->flags, .id = (int)(s->slot & 0xffff),
							.space = s->slot >> 16 };
	}
	watched_deinit(&w);
	*ret = slots;
	*ret_n = n;
	return NULL;
}
