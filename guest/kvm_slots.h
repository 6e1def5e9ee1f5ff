/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_KVM_SLOTS_H
#define GUEST_KVM_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "guest/btf.h"
#include "guest/kpeek.h"

/*
 * The memory slots of a struct kvm, read from the host kernel's own memory:
 * KVM has no ioctl to ask for them. What differs between kernels is in struct
 * kvm_layout, which comes from BTF; the walk is the same for all.
 */

enum kvm_slots_form {
	KVM_SLOTS_HASH,  /* Linux 5.17 on: id_hash lists, two nodes a slot */
	KVM_SLOTS_ARRAY, /* before: an array of used_slots */
};

/* Offsets in bytes, of host structs. */
struct kvm_layout {
	enum kvm_slots_form form;
	uint32_t task_files, files_fdt, fdtable_fd, file_private_data;
	uint32_t kvm_memslots; /* array of pointers, one an address space */
	uint32_t n_spaces;
	uint32_t kvm_process_table; /* kvm.arch.process_table of ppc64, a u64; 0: not there */
	uint32_t vcpu_kvm;     /* kvm_vcpu.kvm */
	uint32_t vcpu_guest_debug; /* kvm_vcpu.guest_debug, an unsigned long; 0: not there */
	/* struct kvm_memslots */
	uint32_t slots_generation; /* a u64 */
	uint32_t slots_id_hash, n_hash, slots_node_idx; /* KVM_SLOTS_HASH */
	uint32_t slots_used, slots_array;               /* KVM_SLOTS_ARRAY */
	/* struct kvm_memory_slot */
	uint32_t slot_bytes, slot_id_node, node_bytes, slot_base_gfn, slot_npages, slot_userspace_addr,
		slot_flags, slot_id;
};

struct err *kvm_layout_from_btf(const struct btf *b, struct kvm_layout *ret) MUST_CHECK;
/* From the running kernel: /sys/kernel/btf/vmlinux, and .../kvm where KVM is a module. */
struct err *kvm_layout_of_host(struct kvm_layout *ret) MUST_CHECK;

struct kvm_slot {
	uint64_t gpa, bytes, hva;
	uint32_t flags; /* KVM_MEM_* of linux/kvm.h */
	int id;
	unsigned space; /* address space; 1 is SMM on x86 */
};

/*
 * All slots of all address spaces, in no order; caller frees. The walk takes
 * no lock: with a VMM that runs, check the result and repeat. page_bytes: the
 * host's page size.
 */
struct err *kvm_slots_walk(const struct kpeek *k, const struct kvm_layout *l, uint64_t kvm, uint64_t page_bytes,
			   struct kvm_slot **ret, size_t *ret_n) MUST_CHECK;

/* What changes whenever the slots of a struct kvm do. */
#define KVM_MAX_SPACES 4u
struct kvm_generation {
	uint64_t kvm;
	uint64_t slots[KVM_MAX_SPACES], generation[KVM_MAX_SPACES];
};

struct err *kvm_slots_generation(const struct kpeek *k, const struct kvm_layout *l, uint64_t kvm,
				 struct kvm_generation *ret) MUST_CHECK;

/*
 * Of a guest of a ppc64 host, where its page tables start, as KVM_PPC_CONFIGURE_V3_MMU
 * was told; only where the layout has it.
 */
struct err *kvm_process_table(const struct kpeek *k, const struct kvm_layout *l, uint64_t kvm, uint64_t *ret) MUST_CHECK;

/* file->private_data of a descriptor of this process: a struct kvm or struct kvm_vcpu. */
struct err *kvm_private_data(const struct kpeek *k, const struct kvm_layout *l, int own_fd, uint64_t *ret) MUST_CHECK;

#endif
