/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_KVM_HOST_H
#define GUEST_KVM_HOST_H

#include <linux/kvm.h>
#include <stdbool.h>

#include "arch/arch.h"
#include "base/err.h"
#include "guest/guardian.h"

/*
 * The registers of a vCPU in the form of the host's KVM ioctls: one file a host,
 * kvm_*.c, chosen by the GNUmakefile.
 */

/* How a vCPU is reached: by a guardian, or what a test has in its place. */
struct kvm_access {
	/* As guardian_ioctls(). */
	struct err *(*ioctls)(void *ctx, struct guardian_ioctl *calls, size_t n);
	/* As kvm_run_page_map() and kvm_run_page_unmap(). */
	struct kvm_run *(*map_run)(void *ctx, int vcpu_fd);
	void (*unmap_run)(struct kvm_run *run);
	void *ctx;
};

/* What a guest of this host's KVM is. */
const struct arch *kvm_host_arch(void);

/* The row of what kvm_process_table() tells; -1: there is none. */
extern const int kvm_host_process_table_row;

/* Those alone that arch->order() asks for, in no more time than a stop has for it. */
struct err *kvm_host_read_order(const struct kvm_access *a, int vcpu_fd, struct regs *ret) MUST_CHECK;
struct err *kvm_host_read_regs(const struct kvm_access *a, int vcpu_fd, struct regs *ret) MUST_CHECK;
/* Writes those rows of from for which changed[row] is true. */
struct err *kvm_host_write_regs(const struct kvm_access *a, int vcpu_fd, const struct regs *from,
				const bool *changed) MUST_CHECK;
/* Tells the guest, where it has asked to be told, that time went on without it. */
struct err *kvm_host_before_resume(const struct kvm_access *a, const int *vcpu_fds, unsigned n) MUST_CHECK;

/* ---- what they have in common: kvm_host.c ---- */

/* One ioctl; its failure is an error that begins with name. */
struct err *kvm_call(const struct kvm_access *a, int fd, const char *name, unsigned long request, void *data,
		     size_t bytes) MUST_CHECK;
/* Issues a SET call when the struct that it takes differs from what was read. */
struct err *kvm_set_if_changed(const struct kvm_access *a, int fd, const char *name, unsigned long request, void *now,
			       const void *before, size_t bytes) MUST_CHECK;

/* Where a row stands in one of KVM's structs, as an integer of the host. */
struct kvm_field {
	uint16_t row;
	uint16_t offset;
	uint8_t bytes;
};

#define KVM_FIELD(row, type, member) { row, offsetof(type, member), sizeof(((type *)0)->member) }

void kvm_fields_get(const struct kvm_field *f, size_t n, const void *from, struct regs *ret);
/* Those that are known. changed: and of which it says so; NULL: all. */
void kvm_fields_put(const struct kvm_field *f, size_t n, const struct regs *regs, const bool *changed, void *to);

/* A row, or count of them, that KVM_GET_ONE_REG and KVM_SET_ONE_REG have under one number, or numbers from it on. */
struct kvm_one {
	uint16_t row, count;
	uint64_t id;
};

/* Rows that this KVM or this guest has not stay unknown. */
struct err *kvm_ones_get(const struct kvm_access *a, int fd, const struct kvm_one *ones, size_t n,
			 struct regs *ret) MUST_CHECK;
struct err *kvm_ones_put(const struct kvm_access *a, int fd, const struct kvm_one *ones, size_t n,
			 const struct regs *from, const bool *changed) MUST_CHECK;

/*
 * ERR_UNSUPPORTED for changed rows that are not known. except: rows that are no
 * register of a CPU, which gdb writes with the pc; the list ends with arch->n_regs.
 */
struct err *kvm_check_changed(const struct regs *now, const bool *changed, const unsigned *except) MUST_CHECK;

#endif
