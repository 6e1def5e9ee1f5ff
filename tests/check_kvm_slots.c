/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <check.h>
#include <linux/btf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest/kvm_slots.h"
#include "tests/btf_build.h"
#include "tests/suite.h"

/* A kernel's memory of our own making: an array at a made-up address. */
#define KBASE 0xffff888000000000ull
#define KBYTES 65536u
#define PAGE 4096u

static uint8_t kmem[KBYTES];

static struct err *kread(void *ctx, uint64_t addr, void *ret, size_t bytes)
{
	(void)ctx;
	if (addr < KBASE || addr - KBASE > KBYTES - bytes)
		return err_new(ERR_UNMAPPED, "0x%llx", (unsigned long long)addr);
	memcpy(ret, kmem + (addr - KBASE), bytes);
	return NULL;
}

static struct err *kcurrent(void *ctx, uint64_t *ret)
{
	(void)ctx;
	*ret = KBASE + 0x100;
	return NULL;
}

static const struct kpeek peek = { kread, kcurrent, NULL, NULL };

static void put64(uint64_t addr, uint64_t value)
{
	memcpy(kmem + (addr - KBASE), &value, sizeof(value));
}

static void put32(uint64_t addr, uint32_t value)
{
	memcpy(kmem + (addr - KBASE), &value, sizeof(value));
}

static void put16(uint64_t addr, int16_t value)
{
	memcpy(kmem + (addr - KBASE), &value, sizeof(value));
}

/* Offsets that no real kernel has, so that only what BTF says can find anything. */
static struct kvm_layout layout_of(enum kvm_slots_form form)
{
	return (struct kvm_layout){
		.form = form,
		.task_files = 0x18, .files_fdt = 0x20, .fdtable_fd = 8, .file_private_data = 0x28,
		.kvm_memslots = 0x40, .n_spaces = 2, .vcpu_kvm = 0x10,
		.slots_generation = 0x18, .slots_id_hash = 0x30, .n_hash = 4, .slots_node_idx = 0x60,
		.slots_used = 0x14, .slots_array = 0x80,
		.slot_bytes = 0x70, .slot_id_node = 8, .node_bytes = 16, .slot_base_gfn = 0x28, .slot_npages = 0x30,
		.slot_userspace_addr = 0x38, .slot_flags = 0x40, .slot_id = 0x46,
	};
}

static void put_slot(const struct kvm_layout *l, uint64_t at, int id, uint64_t gfn, uint64_t pages, uint64_t hva,
		     uint32_t flags)
{
	put64(at + l->slot_base_gfn, gfn);
	put64(at + l->slot_npages, pages);
	put64(at + l->slot_userspace_addr, hva);
	put32(at + l->slot_flags, flags);
	put16(at + l->slot_id, (int16_t)id);
}

#define KVM (KBASE + 0x1000)
#define SPACE0 (KBASE + 0x2000)
#define SPACE1 (KBASE + 0x3000)
#define SLOTS (KBASE + 0x4000)

static void check_slot(const struct kvm_slot *s, size_t n, int id, unsigned space, uint64_t gpa, uint64_t bytes,
		       uint64_t hva, uint32_t flags)
{
	for (size_t i = 0; i < n; i++) {
		if (s[i].id != id || s[i].space != space)
			continue;
		ck_assert_uint_eq(s[i].gpa, gpa);
		ck_assert_uint_eq(s[i].bytes, bytes);
		ck_assert_uint_eq(s[i].hva, hva);
		ck_assert_uint_eq(s[i].flags, flags);
		return;
	}
	ck_abort_msg("no slot %d in space %u", id, space);
}

/* Linux 5.17 and later: slot i is linked through its node of the set in use. */
static void build_hash(const struct kvm_layout *l, uint32_t idx)
{
	uint64_t node = l->slot_id_node + idx * l->node_bytes;

	memset(kmem, 0, sizeof(kmem));
	put64(KVM + l->kvm_memslots, SPACE0);
	put64(KVM + l->kvm_memslots + 8, SPACE1);
	put32(SPACE0 + l->slots_node_idx, idx);
	put32(SPACE1 + l->slots_node_idx, 1 - idx);
	put_slot(l, SLOTS, 0, 0, 0x100, 0x7f0000000000, 0);
	put_slot(l, SLOTS + 0x100, 4, 0x100000, 0x80, 0x7f1000000000, 2);
	put_slot(l, SLOTS + 0x200, -3, 0xfee00, 1, 0x7f2000000000, 0);
	put_slot(l, SLOTS + 0x300, 9, 0x500, 0, 0, 0);
	put64(SPACE0 + l->slots_id_hash, SLOTS + node);
	put64(SLOTS + node, SLOTS + 0x100 + node);
	put64(SPACE0 + l->slots_id_hash + 8, SLOTS + 0x200 + node);
	put64(SPACE0 + l->slots_id_hash + 24, SLOTS + 0x300 + node);
	put_slot(l, SLOTS + 0x400, 1, 0xa0, 0x20, 0x7f3000000000, 0);
	put64(SPACE1 + l->slots_id_hash + 16, SLOTS + 0x400 + l->slot_id_node + (1 - idx) * l->node_bytes);
}

START_TEST(walks_hash_lists)
{
	struct kvm_layout l = layout_of(KVM_SLOTS_HASH);
	struct kvm_slot *s;
	size_t n;
	struct err *e;

	build_hash(&l, (uint32_t)_i);
	e = kvm_slots_walk(&peek, &l, KVM, PAGE, &s, &n);
	ck_assert_msg(!e, "%s", e ? err_text(e) : "");
	ck_assert_uint_eq(n, 4); /* the slot of no pages is none */
	check_slot(s, n, 0, 0, 0, 0x100000, 0x7f0000000000, 0);
	check_slot(s, n, 4, 0, 0x100000000, 0x80000, 0x7f1000000000, 2);
	check_slot(s, n, -3, 0, 0xfee00000, 0x1000, 0x7f2000000000, 0);
	check_slot(s, n, 1, 1, 0xa0000, 0x20000, 0x7f3000000000, 0);
	free(s);
}
END_TEST

/* Whatever changes slots changes one of these numbers. */
START_TEST(generation_of_each_space)
{
	struct kvm_layout l = layout_of(KVM_SLOTS_HASH);
	struct kvm_generation before, after;

	build_hash(&l, 0);
	put64(SPACE0 + l.slots_generation, 10);
	put64(SPACE1 + l.slots_generation, 11);
	ck_assert_ptr_null(kvm_slots_generation(&peek, &l, KVM, &before));
	ck_assert_uint_eq(before.kvm, KVM);
	ck_assert_uint_eq(before.slots[0], SPACE0);
	ck_assert_uint_eq(before.slots[1], SPACE1);
	ck_assert_uint_eq(before.generation[0], 10);
	ck_assert_uint_eq(before.generation[1], 11);
	put64(SPACE1 + l.slots_generation, 13);
	ck_assert_ptr_null(kvm_slots_generation(&peek, &l, KVM, &after));
	ck_assert_uint_eq(after.generation[1], 13);
}
END_TEST

START_TEST(ends_on_a_list_without_end)
{
	struct kvm_layout l = layout_of(KVM_SLOTS_HASH);
	struct kvm_slot *s;
	size_t n;
	struct err *e;

	build_hash(&l, 0);
	put64(SLOTS + 0x300 + l.slot_id_node, SLOTS + 0x300 + l.slot_id_node);
	e = kvm_slots_walk(&peek, &l, KVM, PAGE, &s, &n);
	ck_assert_ptr_nonnull(e);
	ck_assert_int_eq(err_code(e), ERR_INVALID);
	err_destroy(e);
}
END_TEST

START_TEST(says_when_memory_is_not_there)
{
	struct kvm_layout l = layout_of(KVM_SLOTS_HASH);
	struct kvm_slot *s;
	size_t n;
	struct err *e;

	build_hash(&l, 0);
	put64(SPACE0 + l.slots_id_hash, 0xdead0000);
	e = kvm_slots_walk(&peek, &l, KVM, PAGE, &s, &n);
	ck_assert_ptr_nonnull(e);
	ck_assert_int_eq(err_code(e), ERR_UNMAPPED);
	err_destroy(e);
}
END_TEST

/* Up to Linux 5.16: an array, of which used_slots count. */
START_TEST(walks_arrays)
{
	struct kvm_layout l = layout_of(KVM_SLOTS_ARRAY);
	struct kvm_slot *s;
	size_t n;
	struct err *e;

	memset(kmem, 0, sizeof(kmem));
	put64(KVM + l.kvm_memslots, SPACE0);
	put32(SPACE0 + l.slots_used, 2);
	put_slot(&l, SPACE0 + l.slots_array, 7, 0x100000, 0x10, 0x7f0000000000, 1);
	put_slot(&l, SPACE0 + l.slots_array + l.slot_bytes, 2, 0, 0xa0, 0x7f1000000000, 0);
	put_slot(&l, SPACE0 + l.slots_array + 2 * l.slot_bytes, 5, 9, 9, 9, 9);
	e = kvm_slots_walk(&peek, &l, KVM, PAGE, &s, &n);
	ck_assert_msg(!e, "%s", e ? err_text(e) : "");
	ck_assert_uint_eq(n, 2);
	check_slot(s, n, 7, 0, 0x100000000, 0x10000, 0x7f0000000000, 1);
	check_slot(s, n, 2, 0, 0, 0xa0000, 0x7f1000000000, 0);
	free(s);
	put32(SPACE0 + l.slots_used, 0x10000);
	e = kvm_slots_walk(&peek, &l, KVM, PAGE, &s, &n);
	ck_assert_ptr_nonnull(e);
	err_destroy(e);
}
END_TEST

START_TEST(follows_a_descriptor)
{
	struct kvm_layout l = layout_of(KVM_SLOTS_HASH);
	uint64_t task = KBASE + 0x100, files = KBASE + 0x200, fdt = KBASE + 0x300, fds = KBASE + 0x400,
		 file = KBASE + 0x600, found;
	struct err *e;

	memset(kmem, 0, sizeof(kmem));
	put64(task + l.task_files, files);
	put64(files + l.files_fdt, fdt);
	put64(fdt + l.fdtable_fd, fds);
	put64(fds + 8 * 11, file);
	put64(file + l.file_private_data, KVM);
	e = kvm_private_data(&peek, &l, 11, &found);
	ck_assert_msg(!e, "%s", e ? err_text(e) : "");
	ck_assert_uint_eq(found, KVM);
	e = kvm_private_data(&peek, &l, 12, &found);
	ck_assert_ptr_nonnull(e);
	err_destroy(e);
}
END_TEST

/* The members that both forms of KVM have, at offsets that follow from the order here. */
static void build_btf(struct buf *out, bool hash)
{
	struct btf_build b;
	uint32_t u64_id, pointers, heads, node, nodes, slots, arch;

	btf_build_init(&b, 1);
	u64_id = btf_build_int(&b, "u64", 8);
	pointers = btf_build_array(&b, u64_id, 2);
	node = btf_build_struct(&b, BTF_KIND_STRUCT, "hlist_node", 16,
				(struct btf_build_member[]){ { "next", u64_id, 0 } }, 1);
	heads = btf_build_array(&b, u64_id, 128);
	nodes = btf_build_array(&b, node, 2);
	slots = btf_build_array(&b, u64_id, 509);
	btf_build_struct(&b, BTF_KIND_STRUCT, "task_struct", 4096,
			 (struct btf_build_member[]){ { "files", u64_id, 0x600 * 8 } }, 1);
	btf_build_struct(&b, BTF_KIND_STRUCT, "files_struct", 64,
			 (struct btf_build_member[]){ { "fdt", u64_id, 0x20 * 8 } }, 1);
	btf_build_struct(&b, BTF_KIND_STRUCT, "fdtable", 64, (struct btf_build_member[]){ { "fd", u64_id, 64 } }, 1);
	btf_build_struct(&b, BTF_KIND_STRUCT, "file", 256,
			 (struct btf_build_member[]){ { "private_data", u64_id, 0xc8 * 8 } }, 1);
	arch = btf_build_struct(&b, BTF_KIND_STRUCT, "kvm_arch", 256,
				(struct btf_build_member[]){ { hash ? "process_table" : "other", u64_id, 0x30 * 8 } }, 1);
	btf_build_struct(&b, BTF_KIND_STRUCT, "kvm", 4096,
			 (struct btf_build_member[]){ { "memslots", pointers, 0x88 * 8 }, { "arch", arch, 0x400 * 8 } },
			 2);
	btf_build_struct(&b, BTF_KIND_STRUCT, "kvm_vcpu", 4096,
			 (struct btf_build_member[]){ { "kvm", u64_id, 0 }, { "guest_debug", u64_id, 0x90 * 8 } }, 2);
	btf_build_struct(&b, BTF_KIND_STRUCT, "kvm_memory_slot", 0x90,
			 (struct btf_build_member[]){ { "base_gfn", u64_id, 0x50 * 8 }, { "npages", u64_id, 0x58 * 8 },
						      { "userspace_addr", u64_id, 0x70 * 8 }, { "flags", u64_id, 0x78 * 8 },
						      { "id", u64_id, 0x7c * 8 }, { hash ? "id_node" : "other", nodes, 0 } },
			 6);
	btf_build_struct(&b, BTF_KIND_STRUCT, "kvm_memslots", 4096,
			 (struct btf_build_member[]){ { "generation", u64_id, 0x10 * 8 },
						      { hash ? "id_hash" : "memslots", hash ? heads : slots, 0x20 * 8 },
						      { hash ? "node_idx" : "used_slots", u64_id, 0x420 * 8 } },
			 3);
	btf_build_finish(&b, out);
}

START_TEST(layout_comes_from_btf)
{
	bool hash = _i;
	struct buf data = { 0 };
	struct kvm_layout l;
	struct btf *btf;
	struct err *e;

	build_btf(&data, hash);
	e = btf_parse(data.data, data.len, NULL, &btf);
	if (!e)
		e = kvm_layout_from_btf(btf, &l);
	ck_assert_msg(!e, "%s", e ? err_text(e) : "");
	ck_assert_int_eq(l.form, hash ? KVM_SLOTS_HASH : KVM_SLOTS_ARRAY);
	ck_assert_uint_eq(l.task_files, 0x600);
	ck_assert_uint_eq(l.file_private_data, 0xc8);
	ck_assert_uint_eq(l.kvm_memslots, 0x88);
	ck_assert_uint_eq(l.n_spaces, 2);
	ck_assert_uint_eq(l.slot_bytes, 0x90);
	ck_assert_uint_eq(l.slot_id, 0x7c);
	ck_assert_uint_eq(l.vcpu_guest_debug, 0x90);
	ck_assert_uint_eq(l.kvm_process_table, hash ? 0x430 : 0);
	ck_assert_uint_eq(l.slots_generation, 0x10);
	if (hash) {
		ck_assert_uint_eq(l.slots_id_hash, 0x20);
		ck_assert_uint_eq(l.n_hash, 128);
		ck_assert_uint_eq(l.node_bytes, 16);
		ck_assert_uint_eq(l.slots_node_idx, 0x420);
	} else {
		ck_assert_uint_eq(l.slots_array, 0x20);
		ck_assert_uint_eq(l.slots_used, 0x420);
	}
	btf_close(btf);
	buf_deinit(&data);
}
END_TEST

START_TEST(process_table_of_a_guest)
{
	struct kvm_layout l = layout_of(KVM_SLOTS_HASH);
	uint64_t table = 0;
	struct err *e;

	memset(kmem, 0, sizeof(kmem));
	l.kvm_process_table = 0x430;
	put64(KVM + 0x430, 0x8000000000100004);
	e = kvm_process_table(&peek, &l, KVM, &table);
	ck_assert_ptr_null(e);
	ck_assert_uint_eq(table, 0x8000000000100004);
}
END_TEST

START_TEST(a_kernel_without_kvm_is_refused)
{
	struct buf data = { 0 };
	struct btf_build b;
	struct kvm_layout l;
	struct btf *btf;
	struct err *e;

	btf_build_init(&b, 1);
	btf_build_int(&b, "u64", 8);
	btf_build_finish(&b, &data);
	e = btf_parse(data.data, data.len, NULL, &btf);
	ck_assert_ptr_null(e);
	e = kvm_layout_from_btf(btf, &l);
	ck_assert_ptr_nonnull(e);
	ck_assert_int_eq(err_code(e), ERR_UNSUPPORTED);
	err_destroy(e);
	btf_close(btf);
	buf_deinit(&data);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("kvm_slots");
	TCase *tc = tcase_create("kvm_slots");

	tcase_add_loop_test(tc, walks_hash_lists, 0, 2);
	tcase_add_test(tc, generation_of_each_space);
	tcase_add_test(tc, ends_on_a_list_without_end);
	tcase_add_test(tc, says_when_memory_is_not_there);
	tcase_add_test(tc, walks_arrays);
	tcase_add_test(tc, follows_a_descriptor);
	tcase_add_loop_test(tc, layout_comes_from_btf, 0, 2);
	tcase_add_test(tc, process_table_of_a_guest);
	tcase_add_test(tc, a_kernel_without_kvm_is_refused);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
