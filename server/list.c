/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/list.h"

#include <ctype.h>
#include <inttypes.h>

/* Letters of proc(5). */
static const char *state_name(char state)
{
	switch (state) {
	case 'R':
		return "running";
	case 'S':
		return "sleeping";
	case 'D':
		return "waiting";
	case 'T':
		return "stopped";
	case 't':
		return "traced";
	case 'Z':
		return "zombie";
	default:
		return "unknown";
	}
}

static void add_ram(const struct kvm_vmm *vmm, struct buf *out)
{
	struct buf text = { 0 };

	if (vmm->ram_known)
		buf_addf(&text, "%" PRIu64 " MiB", vmm->ram_bytes >> 20);
	else
		buf_addch(&text, '-');
	buf_addf(out, " %12s ", text.data);
	buf_deinit(&text);
}

/* A process names itself: nothing in it may steer the terminal. */
static void add_program(const char *name, struct buf *out)
{
	size_t start = out->len;

	for (; *name; name++)
		buf_addch(out, isprint((unsigned char)*name) ? *name : '?');
	buf_addf(out, "%*s", (int)MAX(0, 24 - (int)(out->len - start)), "");
}

void list_format(const struct kvm_vmm *vmms, size_t n, struct buf *out)
{
	if (n)
		buf_addf(out, "%7s %-24s %3s %5s %12s %s\n", "PID", "PROGRAM", "VMS", "VCPUS", "RAM", "STATE");
	for (size_t i = 0; i < n; i++) {
		buf_addf(out, "%7d ", (int)vmms[i].pid);
		add_program(vmms[i].program, out);
		buf_addf(out, " %3u %5u", vmms[i].n_vms, vmms[i].n_vcpus);
		add_ram(&vmms[i], out);
		buf_addf(out, "%s\n", state_name(vmms[i].state));
	}
}
