/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/watched.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

struct head {
	uint64_t n_vms, n_vcpus, n_slots;
};

void watched_deinit(struct watched *w)
{
	free(w->vms);
	free(w->vcpus);
	free(w->slots);
	*w = (struct watched){ 0 };
}

static void forget_vcpu(struct watched *w, size_t i)
{
	w->vcpus[i] = w->vcpus[--w->n_vcpus];
}

static void forget_slot(struct watched *w, size_t i)
{
	w->slots[i] = w->slots[--w->n_slots];
}

/* A descriptor that KVM hands out anew was closed before. */
static void forget_vm(struct watched *w, int vm_fd)
{
	for (size_t i = w->n_vcpus; i-- > 0;)
		if (w->vcpus[i].vm_fd == vm_fd)
			forget_vcpu(w, i);
	for (size_t i = w->n_slots; i-- > 0;)
		if (w->slots[i].vm_fd == vm_fd)
			forget_slot(w, i);
	for (size_t i = w->n_vms; i-- > 0;)
		if (w->vms[i] == vm_fd)
			w->vms[i] = w->vms[--w->n_vms];
}

void watched_set_vm(struct watched *w, int vm_fd)
{
	forget_vm(w, vm_fd);
	w->vms = xreallocarray(w->vms, w->n_vms + 1, sizeof(*w->vms));
	w->vms[w->n_vms++] = vm_fd;
}

void watched_set_vcpu(struct watched *w, int vm_fd, int vcpu_fd)
{
	for (size_t i = w->n_vcpus; i-- > 0;)
		if (w->vcpus[i].vcpu_fd == vcpu_fd)
			forget_vcpu(w, i);
	w->vcpus = xreallocarray(w->vcpus, w->n_vcpus + 1, sizeof(*w->vcpus));
	w->vcpus[w->n_vcpus++] = (struct watched_vcpu){ vm_fd, vcpu_fd };
}

void watched_set_slot(struct watched *w, const struct watched_slot *s)
{
	for (size_t i = w->n_slots; i-- > 0;)
		if (w->slots[i].vm_fd == s->vm_fd && w->slots[i].slot == s->slot)
			forget_slot(w, i);
	if (!s->bytes)
		return;
	w->slots = xreallocarray(w->slots, w->n_slots + 1, sizeof(*w->slots));
	w->slots[w->n_slots++] = *s;
}

void watched_put(const struct watched *w, struct buf *out)
{
	const struct head h = { w->n_vms, w->n_vcpus, w->n_slots };

	buf_add(out, &h, sizeof(h));
	buf_add(out, w->vms, w->n_vms * sizeof(*w->vms));
	buf_add(out, w->vcpus, w->n_vcpus * sizeof(*w->vcpus));
	buf_add(out, w->slots, w->n_slots * sizeof(*w->slots));
}

static bool take_array(struct buf *in, uint64_t n, size_t bytes, void **ret, size_t *ret_n)
{
	if (n > in->len / bytes)
		return false;
	*ret = xcalloc(n, bytes);
	if (n)
		memcpy(*ret, in->data, n * bytes);
	buf_drop(in, n * bytes);
	*ret_n = n;
	return true;
}

struct err *watched_take(struct buf *in, struct watched *ret)
{
	struct watched w = { 0 };
	struct head h = { 0 };
	void *vms = NULL, *vcpus = NULL, *slots = NULL;
	bool ok = in->len >= sizeof(h);

	if (ok) {
		memcpy(&h, in->data, sizeof(h));
		buf_drop(in, sizeof(h));
	}
	ok = ok && take_array(in, h.n_vms, sizeof(*w.vms), &vms, &w.n_vms) &&
	     take_array(in, h.n_vcpus, sizeof(*w.vcpus), &vcpus, &w.n_vcpus) &&
	     take_array(in, h.n_slots, sizeof(*w.slots), &slots, &w.n_slots);
	w.vms = vms;
	w.vcpus = vcpus;
	w.slots = slots;
	if (!ok) {
		watched_deinit(&w);
		return err_new(ERR_INVALID, "what was seen of the VMM is cut off");
	}
	*ret = w;
	return NULL;
}
