/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/fake_kvm.h"

#include <check.h>
#include <errno.h>
#include <string.h>

/* The last one that gave its page out, for a call that is told nothing else. */
static struct fake_kvm *mapped;

void fake_kvm_add_struct(struct fake_kvm *k, unsigned long get, unsigned long set, void *data, size_t bytes)
{
	ck_assert_uint_lt(k->n_structs, ARRAY_LEN(k->structs));
	k->structs[k->n_structs++] = (struct fake_struct){ get, set, data, bytes, 0 };
}

static size_t one_bytes(uint64_t id)
{
	return (size_t)1 << ((id & KVM_REG_SIZE_MASK) >> KVM_REG_SIZE_SHIFT);
}

void fake_kvm_add_one(struct fake_kvm *k, uint64_t id, const void *value)
{
	struct fake_one *one = &k->ones[k->n_ones++];

	ck_assert_uint_le(k->n_ones, FAKE_KVM_MAX);
	ck_assert_uint_le(one_bytes(id), sizeof(one->value));
	one->id = id;
	memcpy(one->value, value, one_bytes(id));
}

struct fake_one *fake_kvm_one(struct fake_kvm *k, uint64_t id)
{
	for (size_t i = 0; i < k->n_ones; i++)
		if (k->ones[i].id == id)
			return &k->ones[i];
	return NULL;
}

/* As the kernel takes it, of a VMM whose scratch is where the data is. */
static long access_one(struct fake_kvm *k, struct guardian_ioctl *c)
{
	struct kvm_one_reg head;
	struct fake_one *one;
	uint8_t *value = (uint8_t *)c->data + c->points_to;

	ck_assert_uint_eq(c->pointer_at, offsetof(struct kvm_one_reg, addr));
	memcpy(&head, c->data, sizeof(head));
	one = fake_kvm_one(k, head.id);
	if (!one)
		return -EINVAL;
	ck_assert_uint_ge(c->bytes, c->points_to + one_bytes(head.id));
	if (c->request == KVM_GET_ONE_REG) {
		memcpy(value, one->value, one_bytes(head.id));
	} else {
		memcpy(one->value, value, one_bytes(head.id));
		one->changed = true;
	}
	return 0;
}

static long call(struct fake_kvm *k, struct guardian_ioctl *c)
{
	ck_assert_int_eq(c->fd, FAKE_KVM_FD);
	if (c->request == KVM_GET_ONE_REG || c->request == KVM_SET_ONE_REG)
		return access_one(k, c);
	for (size_t i = 0; i < k->n_structs; i++) {
		struct fake_struct *s = &k->structs[i];

		if (c->request != s->get && c->request != s->set)
			continue;
		ck_assert_uint_eq(c->bytes, s->bytes);
		if (c->request == s->get) {
			memcpy(c->data, s->data, s->bytes);
		} else {
			memcpy(s->data, c->data, s->bytes);
			s->n_set++;
		}
		return 0;
	}
	return -ENOTTY;
}

static struct err *ioctls(void *ctx, struct guardian_ioctl *calls, size_t n)
{
	for (size_t i = 0; i < n; i++)
		calls[i].result = call(ctx, &calls[i]);
	return NULL;
}

static struct kvm_run *map_run(void *ctx, int vcpu_fd)
{
	mapped = ctx;
	ck_assert_int_eq(vcpu_fd, FAKE_KVM_FD);
	errno = ENOMEM;
	mapped->n_mapped += mapped->run != NULL;
	return mapped->run;
}

static void unmap_run(struct kvm_run *run)
{
	ck_assert_ptr_eq(run, mapped->run);
	mapped->n_mapped--;
}

struct kvm_access fake_kvm_access(struct fake_kvm *k)
{
	return (struct kvm_access){ ioctls, map_run, unmap_run, k };
}

struct regs *fake_kvm_read(struct fake_kvm *k, enum byte_order order)
{
	struct kvm_access access = fake_kvm_access(k);
	struct regs *regs = regs_create(kvm_host_arch(), order);
	struct err *e = kvm_host_read_regs(&access, FAKE_KVM_FD, regs);

	ck_assert_msg(!e, "%s", e ? err_text(e) : "");
	ck_assert_uint_eq(k->n_mapped, 0);
	return regs;
}

uint64_t fake_kvm_value(const struct regs *regs, unsigned row)
{
	uint64_t value = 0;

	ck_assert_msg(regs_get(regs, row, &value), "%s", regs->arch->regs[row].name);
	return value;
}
