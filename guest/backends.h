/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_BACKENDS_H
#define GUEST_BACKENDS_H

#include <sys/types.h>

#include "guest/guest.h"

/* How each backend opens a target. On success *ret is the caller's: guest_destroy(). */

/*
 * The guest of a running KVM VMM, by pid. vm: which of its VMs, 0 the first in
 * order of descriptor. Returns with the guest running, untouched but checked:
 * the pid exists, is a VMM, may be traced, its slots can be read.
 */
struct err *guest_open_kvm(pid_t pid, unsigned vm, struct guest **ret) MUST_CHECK;

/* A vmcore file, read-only; stopped for ever. ERR_INVALID names the file and what is wrong in it. */
struct err *guest_open_core(const char *path, struct guest **ret) MUST_CHECK;

/*
 * Any QEMU, KVM or TCG, by the QMP server socket that its owner gave it: a path,
 * unix:PATH, HOST:PORT or tcp:HOST:PORT. Leaves it in the state it was found in.
 */
struct err *guest_open_qemu(const char *qmp, struct guest **ret) MUST_CHECK;

/* One line of `vmgdbserver list`. */
struct kvm_vmm {
	pid_t pid;
	char program[256];  /* its file name, without the path */
	unsigned n_vms;
	unsigned n_vcpus;
	uint64_t ram_bytes; /* 0 when it cannot be known */
	bool ram_known;
	char state;         /* of /proc/PID/stat: R S D T t Z */
};

/* Every KVM VMM of this host that we may look at; caller frees *ret. */
struct err *kvm_list(struct kvm_vmm **ret, size_t *ret_n) MUST_CHECK;

#endif
