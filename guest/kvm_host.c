/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/kvm_host.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

struct err *kvm_call(const struct kvm_access *a, int fd, const char *name, unsigned long request, void *data,
		     size_t bytes)
{
	struct guardian_ioctl call = { .fd = fd, .request = request, .data = data, .bytes = bytes };
	struct err *e = a->ioctls(a->ctx, &call, 1);

	if (!e && call.result < 0)
		e = err_sys((int)-call.result, "%s", name);
	return e;
}

struct err *kvm_set_if_changed(const struct kvm_access *a, int fd, const char *name, unsigned long request, void *now,
			       const void *before, size_t bytes)
{
	if (!memcmp(now, before, bytes))
		return NULL;
	return kvm_call(a, fd, name, request, now, bytes);
}

/* ---- structs ---- */

void kvm_fields_get(const struct kvm_field *f, size_t n, const void *from, struct regs *ret)
{
	for (size_t i = 0; i < n; i++)
		regs_set(ret, f[i].row, load_uint((const char *)from + f[i].offset, f[i].bytes, order_of_host()));
}

void kvm_fields_put(const struct kvm_field *f, size_t n, const struct regs *regs, const bool *changed, void *to)
{
	uint64_t value;

	for (size_t i = 0; i < n; i++)
		if ((!changed || changed[f[i].row]) && regs_get(regs, f[i].row, &value))
			store_uint((char *)to + f[i].offset, f[i].bytes, order_of_host(), value);
}

/* ---- one register a call ---- */

/* What KVM_GET_ONE_REG takes, and behind it the register, of up to 16 bytes. */
struct one_call {
	struct kvm_one_reg head;
	uint8_t value[16];
};

static size_t value_bytes(uint64_t id)
{
	return 1u << ((id & KVM_REG_SIZE_MASK) >> KVM_REG_SIZE_SHIFT);
}

static void reverse(uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n / 2; i++) {
		uint8_t low = bytes[i];

		bytes[i] = bytes[n - 1 - i];
		bytes[n - 1 - i] = low;
	}
}

/* Longer ones are numbers of 128 bits on both sides. */
static void value_to_row(const struct one_call *c, unsigned row, struct regs *ret)
{
	size_t bytes = value_bytes(c->head.id);
	uint8_t value[16];

	if (bytes <= sizeof(uint64_t)) {
		regs_set(ret, row, load_uint(c->value, bytes, order_of_host()));
		return;
	}
	memcpy(value, c->value, sizeof(value));
	if (ret->order != order_of_host())
		reverse(value, sizeof(value));
	regs_set_bytes(ret, row, value);
}

static struct err *row_to_value(const struct regs *from, unsigned row, struct one_call *c)
{
	size_t bytes = value_bytes(c->head.id);
	uint64_t value = regs_get_or(from, row, 0);

	if (bytes <= sizeof(uint64_t)) {
		store_uint(c->value, bytes, order_of_host(), value);
		if (load_uint(c->value, bytes, order_of_host()) != value)
			return err_new(ERR_INVALID, "register %s has %zu bits in KVM", from->arch->regs[row].name, 8 * bytes);
		return NULL;
	}
	memcpy(c->value, regs_bytes(from, row), sizeof(c->value));
	if (from->order != order_of_host())
		reverse(c->value, sizeof(c->value));
	return NULL;
}

static struct guardian_ioctl call_of(int fd, unsigned long request, struct one_call *c)
{
	return (struct guardian_ioctl){
		.fd = fd, .request = request, .data = c, .bytes = sizeof(*c),
		.pointer_at = offsetof(struct kvm_one_reg, addr), .points_to = offsetof(struct one_call, value),
	};
}

static size_t count_rows(const struct kvm_one *ones, size_t n)
{
	size_t total = 0;

	for (size_t i = 0; i < n; i++)
		total += ones[i].count;
	return total;
}

struct err *kvm_ones_get(const struct kvm_access *a, int fd, const struct kvm_one *ones, size_t n, struct regs *ret)
{
	size_t total = count_rows(ones, n), at = 0;
	struct one_call *values = xcalloc(total, sizeof(*values));
	struct guardian_ioctl *calls = xcalloc(total, sizeof(*calls));
	struct err *e;

	for (size_t i = 0; i < n; i++)
		for (unsigned r = 0; r < ones[i].count; r++, at++) {
			values[at].head.id = ones[i].id + r;
			calls[at] = call_of(fd, KVM_GET_ONE_REG, &values[at]);
		}
	e = a->ioctls(a->ctx, calls, total);
	at = 0;
	for (size_t i = 0; !e && i < n; i++)
		for (unsigned r = 0; r < ones[i].count; r++, at++)
			if (!calls[at].result)
				value_to_row(&values[at], ones[i].row + r, ret);
	free(calls);
	free(values);
	return e;
}

struct err *kvm_ones_put(const struct kvm_access *a, int fd, const struct kvm_one *ones, size_t n,
			 const struct regs *from, const bool *changed)
{
	struct err *e = NULL;

	for (size_t i = 0; !e && i < n; i++)
		for (unsigned r = 0; !e && r < ones[i].count; r++) {
			struct one_call c = { .head.id = ones[i].id + r };
			struct guardian_ioctl call = call_of(fd, KVM_SET_ONE_REG, &c);

			if (!changed[ones[i].row + r])
				continue;
			e = row_to_value(from, ones[i].row + r, &c);
			if (!e)
				e = a->ioctls(a->ctx, &call, 1);
			if (!e && call.result < 0)
				e = err_sys((int)-call.result, "KVM does not take this value of register %s",
					    from->arch->regs[ones[i].row + r].name);
		}
	return e;
}

/* ---- what cannot be written ---- */

static bool is_listed(const unsigned *list, unsigned row, unsigned end)
{
	while (*list != row && *list != end)
		list++;
	return *list == row;
}

struct err *kvm_check_changed(const struct regs *now, const bool *changed, const unsigned *except)
{
	for (unsigned r = 0; r < now->arch->n_regs; r++)
		if (changed[r] && !regs_bytes(now, r) && !is_listed(except, r, (unsigned)now->arch->n_regs))
			return err_new(ERR_UNSUPPORTED, "register %s is not known here and cannot be set",
				       now->arch->regs[r].name);
	return NULL;
}
