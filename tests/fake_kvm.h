/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_FAKE_KVM_H
#define TESTS_FAKE_KVM_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/kvm_host.h"

/*
 * A vCPU in place of KVM's, for the code that reads and writes registers: it answers
 * ioctls from structs that the test fills in, by their numbers, and knows registers
 * by theirs. What was asked of it is recorded.
 */

#define FAKE_KVM_FD 7
#define FAKE_KVM_MAX 128u

struct fake_struct {
	unsigned long get, set;
	void *data; /* borrowed */
	size_t bytes;
	unsigned n_set; /* how often it was */
};

struct fake_one {
	uint64_t id;
	uint8_t value[16]; /* as many as the id says are used */
	bool changed;
};

struct fake_kvm {
	struct fake_struct structs[8];
	size_t n_structs;
	struct fake_one ones[FAKE_KVM_MAX];
	size_t n_ones;
	struct kvm_run *run; /* borrowed; NULL cannot be mapped */
	unsigned n_mapped;   /* and not unmapped */
};

void fake_kvm_add_struct(struct fake_kvm *k, unsigned long get, unsigned long set, void *data, size_t bytes);
/* value: as many bytes as the id says. */
void fake_kvm_add_one(struct fake_kvm *k, uint64_t id, const void *value);
struct fake_one *fake_kvm_one(struct fake_kvm *k, uint64_t id);

/* Its registers as the host's code reads them; caller destroys. */
struct regs *fake_kvm_read(struct fake_kvm *k, enum byte_order order);
/* One that must be known. */
uint64_t fake_kvm_value(const struct regs *regs, unsigned row);

/* The way to it, as long as *k stays where it is. */
struct kvm_access fake_kvm_access(struct fake_kvm *k);

#endif
