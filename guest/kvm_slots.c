/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/kvm_slots.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"

/* KVM_MEM_SLOTS_NUM is at most SHRT_MAX; a list that is longer is one that changed under us. */
#define MAX_SLOTS 32767u
#define MAX_HASH 1024u

struct wanted {
	const char *type, *member;
	uint32_t *ret;
	bool optional;
};

static struct err *find_members(const struct btf *b, const struct wanted *w, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct btf_place p;

		if (btf_find_member(b, btf_struct(b, w[i].type), w[i].member, &p))
			*w[i].ret = p.offset;
		else if (!w[i].optional)
			return err_new(ERR_UNSUPPORTED, "this kernel's BTF has no %s.%s; its KVM is not known here",
				       w[i].type, w[i].member);
	}
	return NULL;
}

/* The number of elements of an array member. */
static uint32_t member_len(const struct btf *b, const char *type, const char *member)
{
	struct btf_place p;

	return btf_find_member(b, btf_struct(b, type), member, &p) ? btf_array_len(b, p.type) : 0;
}

static bool has_member(const struct btf *b, const char *type, const char *member)
{
	struct btf_place p;

	return btf_find_member(b, btf_struct(b, type), member, &p);
}

static struct err *find_form(const struct btf *b, struct kvm_layout *l)
{
	const struct wanted hash[] = {
		{ "kvm_memslots", "id_hash", &l->slots_id_hash, false },
		{ "kvm_memslots", "node_idx", &l->slots_node_idx, false },
		{ "kvm_memory_slot", "id_node", &l->slot_id_node, false },
	};
	const struct wanted array[] = {
		{ "kvm_memslots", "used_slots", &l->slots_used, false },
		{ "kvm_memslots", "memslots", &l->slots_array, false },
	};

	if (!has_member(b, "kvm_memslots", "id_hash")) {
		l->form = KVM_SLOTS_ARRAY;
		return find_members(b, array, ARRAY_LEN(array));
	}
	l->form = KVM_SLOTS_HASH;
	l->n_hash = member_len(b, "kvm_memslots", "id_hash");
	l->node_bytes = (uint32_t)btf_size(b, btf_struct(b, "hlist_node"));
	return find_members(b, hash, ARRAY_LEN(hash));
}

/* A member of struct kvm's own part of the architecture; 0: there is none. */
static uint32_t find_in_arch(const struct btf *b, const char *member)
{
	struct btf_place arch, p;

	if (!btf_find_member(b, btf_struct(b, "kvm"), "arch", &arch) || !btf_find_member(b, arch.type, member, &p))
		return 0;
	return arch.offset + p.offset;
}

struct err *kvm_layout_from_btf(const struct btf *b, struct kvm_layout *ret)
{
	struct kvm_layout l = { 0 };
	const struct wanted common[] = {
		{ "task_struct", "files", &l.task_files, false },
		{ "files_struct", "fdt", &l.files_fdt, false },
		{ "fdtable", "fd", &l.fdtable_fd, false },
		{ "file", "private_data", &l.file_private_data, false },
		{ "kvm", "memslots", &l.kvm_memslots, false },
		{ "kvm_vcpu", "kvm", &l.vcpu_kvm, false },
		{ "kvm_vcpu", "guest_debug", &l.vcpu_guest_debug, true },
		{ "kvm_memslots", "generation", &l.slots_generation, false },
		{ "kvm_memory_slot", "base_gfn", &l.slot_base_gfn, false },
		{ "kvm_memory_slot", "npages", &l.slot_npages, false },
		{ "kvm_memory_slot", "userspace_addr", &l.slot_userspace_addr, false },
		{ "kvm_memory_slot", "flags", &l.slot_flags, false },
		{ "kvm_memory_slot", "id", &l.slot_id, false },
	};
	struct err *e = find_members(b, common, ARRAY_LEN(common));

	if (!e)
		e = find_form(b, &l);
	if (e)
		return e;
	l.kvm_process_table = find_in_arch(b, "process_table");
	l.n_spaces = member_len(b, "kvm", "memslots");
	l.slot_bytes = (uint32_t)btf_size(b, btf_struct(b, "kvm_memory_slot"));
	if (!l.n_spaces || !l.slot_bytes || (l.form == KVM_SLOTS_HASH && (!l.n_hash || l.n_hash > MAX_HASH)))
		return err_new(ERR_UNSUPPORTED, "this kernel's BTF tells no sizes of KVM's memory slots");
	*ret = l;
	return NULL;
}

static struct err *no_btf(struct err *e)
{
	if (err_errno(e) == ENOENT)
		e = err_suffix(e, "; this kernel has no BTF: one with CONFIG_DEBUG_INFO_BTF is needed");
	return err_prefix(e, "cannot learn the layout of KVM's memory slots");
}

struct err *kvm_layout_of_host(struct kvm_layout *ret)
{
	struct btf *vmlinux = NULL, *kvm = NULL;
	struct err *e = btf_open("/sys/kernel/btf/vmlinux", NULL, &vmlinux);

	if (e)
		return no_btf(e);
	if (!btf_struct(vmlinux, "kvm_memslots"))
		e = btf_open("/sys/kernel/btf/kvm", vmlinux, &kvm);
	e = e ? no_btf(e) : kvm_layout_from_btf(kvm ? kvm : vmlinux, ret);
	btf_close(kvm);
	btf_close(vmlinux);
	return e;
}

struct slot_list {
	const struct kpeek *k;
	const struct kvm_layout *l;
	uint64_t page_bytes;
	unsigned space;
	struct kvm_slot *slots;
	size_t n, seen;
};

static struct err *read_slot(struct slot_list *list, uint64_t addr)
{
	const struct kvm_layout *l = list->l;
	struct kvm_slot s = { .space = list->space };
	uint64_t gfn, pages;
	int16_t id;
	struct err *e = kpeek_u64(list->k, addr + l->slot_base_gfn, &gfn);

	if (!e)
		e = kpeek_u64(list->k, addr + l->slot_npages, &pages);
	if (!e)
		e = kpeek_u64(list->k, addr + l->slot_userspace_addr, &s.hva);
	if (!e)
		e = kpeek_u32(list->k, addr + l->slot_flags, &s.flags);
	if (!e)
		e = list->k->read(list->k->ctx, addr + l->slot_id, &id, sizeof(id));
	if (!e && list->seen++ == MAX_SLOTS)
		e = err_new(ERR_INVALID, "KVM's list of memory slots has no end");
	if (e || !pages)
		return e;
	s.id = id;
	s.gpa = gfn * list->page_bytes;
	s.bytes = pages * list->page_bytes;
	list->slots = xreallocarray(list->slots, list->n + 1, sizeof(s));
	list->slots[list->n++] = s;
	return NULL;
}

/* Lists of hlist_node: the set that is in use is the one node_idx names. */
static struct err *walk_hash(struct slot_list *list, uint64_t slots)
{
	const struct kvm_layout *l = list->l;
	uint64_t heads[MAX_HASH];
	uint32_t idx;
	struct err *e = kpeek_u32(list->k, slots + l->slots_node_idx, &idx);

	if (!e)
		e = list->k->read(list->k->ctx, slots + l->slots_id_hash, heads, l->n_hash * sizeof(heads[0]));
	if (!e && idx > 1)
		e = err_new(ERR_INVALID, "KVM's memory slots have node index %u", idx);
	for (uint32_t i = 0; !e && i < l->n_hash; i++)
		for (uint64_t node = heads[i]; !e && node; e = e ? e : kpeek_u64(list->k, node, &node))
			e = read_slot(list, node - l->slot_id_node - (uint64_t)idx * l->node_bytes);
	return e;
}

static struct err *walk_array(struct slot_list *list, uint64_t slots)
{
	const struct kvm_layout *l = list->l;
	uint32_t used;
	struct err *e = kpeek_u32(list->k, slots + l->slots_used, &used);

	if (!e && used > MAX_SLOTS)
		e = err_new(ERR_INVALID, "KVM has %u memory slots", used);
	for (uint32_t i = 0; !e && i < used; i++)
		e = read_slot(list, slots + l->slots_array + (uint64_t)i * l->slot_bytes);
	return e;
}

struct err *kvm_slots_walk(const struct kpeek *k, const struct kvm_layout *l, uint64_t kvm, uint64_t page_bytes,
			   struct kvm_slot **ret, size_t *ret_n)
{
	struct slot_list list = { .k = k, .l = l, .page_bytes = page_bytes };
	struct err *e = NULL;

	for (; !e && list.space < l->n_spaces; list.space++) {
		uint64_t slots;

		e = kpeek_u64(k, kvm + l->kvm_memslots + 8 * (uint64_t)list.space, &slots);
		if (!e && slots)
			e = l->form == KVM_SLOTS_HASH ? walk_hash(&list, slots) : walk_array(&list, slots);
	}
	if (e) {
		free(list.slots);
		return err_prefix(e, "cannot read the memory slots of KVM");
	}
	*ret = list.slots;
	*ret_n = list.n;
	return NULL;
}

struct err *kvm_process_table(const struct kpeek *k, const struct kvm_layout *l, uint64_t kvm, uint64_t *ret)
{
	return kpeek_u64(k, kvm + l->kvm_process_table, ret);
}

struct err *kvm_private_data(const struct kpeek *k, const struct kvm_layout *l, int own_fd, uint64_t *ret)
{
	uint64_t at;
	struct err *e = k->current_task(k->ctx, &at);

	if (!e)
		e = kpeek_u64(k, at + l->task_files, &at);
	if (!e)
		e = kpeek_u64(k, at + l->files_fdt, &at);
	if (!e)
		e = kpeek_u64(k, at + l->fdtable_fd, &at);
	if (!e)
		e = kpeek_u64(k, at + 8 * (uint64_t)own_fd, &at);
	if (!e)
		e = kpeek_u64(k, at + l->file_private_data, &at);
	if (!e)
		*ret = at;
	return err_prefix(e, "cannot find KVM's struct behind a descriptor");
}

struct err *kvm_slots_generation(const struct kpeek *k, const struct kvm_layout *l, uint64_t kvm,
				 struct kvm_generation *ret)
{
	struct err *e = NULL;

	*ret = (struct kvm_generation){ .kvm = kvm };
	for (uint32_t i = 0; !e && i < MIN(l->n_spaces, KVM_MAX_SPACES); i++) {
		e = kpeek_u64(k, kvm + l->kvm_memslots + 8 * i, &ret->slots[i]);
		if (!e)
			e = kpeek_u64(k, ret->slots[i] + l->slots_generation, &ret->generation[i]);
	}
	return e;
}
