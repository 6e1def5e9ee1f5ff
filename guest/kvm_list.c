/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "guest/backends.h"
#include "guest/kvm_fds.h"
#include "guest/proc.h"

static uint64_t ram_of(struct guest *g)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < g->n_blocks; i++)
		bytes += g->blocks[i].flags & MEM_ROM ? 0 : g->blocks[i].bytes;
	return bytes;
}

static void program_of(pid_t pid, char *ret, size_t bytes)
{
	struct buf text = { 0 };
	struct err *e = proc_read(&text, "/proc/%d/cmdline", pid);
	const char *name = buf_str(&text), *slash = strrchr(name, '/');

	if (!e)
		snprintf(ret, bytes, "%s", slash ? slash + 1 : name);
	err_destroy(e);
	buf_deinit(&text);
}

static struct kvm_vmm describe_vmm(pid_t pid, const struct kvm_fds *f)
{
	struct kvm_vmm v = { .pid = pid, .n_vms = (unsigned)f->n_vms, .n_vcpus = (unsigned)f->n_vcpus,
			     .state = proc_state(pid) };

	program_of(pid, v.program, sizeof(v.program));
	v.ram_known = true;
	for (unsigned vm = 0; vm < v.n_vms; vm++) {
		struct guest *g;
		struct err *e = guest_open_kvm(pid, vm, &g);

		v.ram_known = v.ram_known && !e;
		if (!e) {
			v.ram_bytes += ram_of(g);
			guest_destroy(g);
		}
		err_destroy(e);
	}
	return v;
}

struct err *kvm_list(struct kvm_vmm **ret, size_t *ret_n)
{
	struct kvm_vmm *list = NULL;
	pid_t *pids;
	size_t n_pids, n = 0;
	struct err *e = proc_pids(&pids, &n_pids);

	if (e)
		return e;
	for (size_t i = 0; i < n_pids; i++) {
		struct kvm_fds f;
		struct err *not_vmm = kvm_fds_read(pids[i], &f);

		if (not_vmm) {
			err_destroy(not_vmm);
			continue;
		}
		list = xreallocarray(list, n + 1, sizeof(*list));
		list[n++] = describe_vmm(pids[i], &f);
		kvm_fds_deinit(&f);
	}
	free(pids);
	*ret = list;
	*ret_n = n;
	return NULL;
}
