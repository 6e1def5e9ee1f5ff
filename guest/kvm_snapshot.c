/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/kvm_snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "guest/kvm.h"
#include "guest/proc.h"

/* How much of a block shows whether a copy has what the VMM has. */
#define PROBE_BYTES (2u << 20)

struct snapshot {
	struct regs **regs; /* one a vCPU */
	unsigned n_regs;
	pid_t copy;
	int copy_pidfd;
	int stat_fd; /* /proc/PID/stat of the copy */
	struct vmm_mem *mem; /* of the copy */
};

/* ---- the copy ---- */

/*
 * It is stopped for as long as it lives. One that is being killed may have lost memory
 * before it is seen to have ended.
 */
static bool is_intact(const struct snapshot *s)
{
	char text[512];
	ssize_t n = pread(s->stat_fd, text, sizeof(text) - 1, 0);
	const char *name_end;

	text[MAX(n, 0)] = '\0';
	name_end = strrchr(text, ')');
	return name_end && !strncmp(name_end, ") t", 3);
}

static struct err *check_intact(const struct snapshot *s)
{
	if (is_intact(s))
		return NULL;
	return err_new(ERR_GONE, "the snapshot is lost: process %d, which held it, was killed, by the kernel if "
				 "memory ran out", s->copy);
}

static struct err *open_copy(struct snapshot *s)
{
	char path[64];

	s->copy_pidfd = (int)syscall(SYS_pidfd_open, s->copy, 0);
	if (s->copy_pidfd < 0)
		return err_sys(errno, "cannot open process %d, which holds the snapshot", s->copy);
	snprintf(path, sizeof(path), "/proc/%d/stat", s->copy);
	s->stat_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (s->stat_fd < 0)
		return err_sys(errno, "cannot open %s", path);
	return vmm_mem_open(s->copy, &s->mem);
}

/* The guardian reaps it. */
static void end_copy(struct snapshot *s)
{
	struct pollfd p = { .fd = s->copy_pidfd, .events = POLLIN };

	vmm_mem_close(s->mem);
	if (s->stat_fd >= 0)
		close(s->stat_fd);
	if (s->copy_pidfd < 0)
		return;
	syscall(SYS_pidfd_send_signal, s->copy_pidfd, SIGKILL, NULL, 0);
	while (poll(&p, 1, -1) < 0 && errno == EINTR)
		;
	close(s->copy_pidfd);
}

/* ---- the guest ---- */

static void snapshot_close(struct guest *g)
{
	struct snapshot *s = g->priv;

	end_copy(s);
	for (unsigned i = 0; i < s->n_regs; i++)
		regs_destroy(s->regs[i]);
	free(s->regs);
	free(s);
}

static struct err *snapshot_read_phys(struct guest *g, const struct mem_block *b, uint64_t gpa, void *ret,
				      size_t bytes, size_t *ret_bytes)
{
	struct snapshot *s = g->priv;
	struct err *e = vmm_mem_read(s->mem, b->hva + (gpa - b->gpa), ret, bytes, ret_bytes);
	struct err *lost = e ? check_intact(s) : NULL;

	if (!lost)
		return e;
	err_destroy(e);
	return lost;
}

static struct err *snapshot_next_data(struct guest *g, const struct mem_block *b, uint64_t gpa, uint64_t *ret_gpa,
				      uint64_t *ret_bytes)
{
	struct snapshot *s = g->priv;
	uint64_t hva, bytes;
	struct err *e = vmm_mem_next_data(s->mem, b->hva + (gpa - b->gpa), b->hva + b->bytes, &hva, &bytes);

	/* Afterwards: what has lost its memory has no data. */
	if (!e)
		e = check_intact(s);
	if (e)
		return e;
	*ret_gpa = b->gpa + (hva - b->hva);
	*ret_bytes = bytes;
	return NULL;
}

static struct err *snapshot_read_regs(struct guest *g, unsigned vcpu, struct regs *ret)
{
	struct snapshot *s = g->priv;

	regs_copy(ret, s->regs[vcpu]);
	return NULL;
}

static const struct guest_ops snapshot_ops = {
	.name = "snapshot",
	.close = snapshot_close,
	.read_phys = snapshot_read_phys,
	.next_data = snapshot_next_data,
	.read_regs = snapshot_read_regs,
};

/* ---- taking it ---- */

static struct err *take_regs(struct guest *g, struct snapshot *s)
{
	s->regs = xcalloc(g->n_vcpus, sizeof(*s->regs));
	for (unsigned i = 0; i < g->n_vcpus; i++) {
		const struct regs *regs;
		struct err *e = guest_regs(g, i, &regs);

		if (e)
			return e;
		s->regs[s->n_regs++] = regs_dup(regs);
	}
	return NULL;
}

/* The last number of the line: its pid in its own namespace. */
static bool is_reaper(pid_t pid)
{
	struct buf status = { 0 };
	struct err *e = proc_read(&status, "/proc/%d/status", pid);
	const char *line = e ? NULL : strstr(buf_str(&status), "\nNSpid:");
	bool is = false;

	if (line) {
		size_t n = strcspn(line + 1, "\n");

		is = n > 2 && !memcmp(line + 1 + n - 2, "\t1", 2);
	}
	err_destroy(e);
	buf_deinit(&status);
	return is;
}

static struct err *check_block(struct kvm *k, const struct mem_block *b)
{
	if (vmm_mem_is_shared(k->mem, b->hva, b->bytes))
		return err_new(ERR_UNSUPPORTED, "guest memory at 0x%" PRIx64 " is shared, and cannot be kept as it is "
						"while the guest runs", b->gpa);
	if (vmm_mem_is_hugetlb(k->mem, b->hva))
		return err_new(ERR_UNSUPPORTED, "guest memory at 0x%" PRIx64 " is private in hugetlbfs, of which as many "
						"pages again would have to be free", b->gpa);
	return NULL;
}

static struct err *check_can(struct guest *g)
{
	struct kvm *k = g->priv;
	struct err *e = NULL;

	/* Orphans of its namespace are its children, and so the copy would be. */
	if (is_reaper(k->pid))
		return err_new(ERR_UNSUPPORTED, "process %d is process 1 of its pid namespace", k->pid);
	for (size_t i = 0; !e && i < g->n_blocks; i++)
		e = check_block(k, &g->blocks[i]);
	return e;
}

static struct err *fork_vmm(struct guest *g, struct snapshot *s)
{
	struct kvm *k = g->priv;
	struct vmm_range *ranges = xcalloc(g->n_blocks, sizeof(*ranges));
	struct err *e;

	for (size_t i = 0; i < g->n_blocks; i++)
		ranges[i] = (struct vmm_range){ g->blocks[i].hva, g->blocks[i].bytes };
	e = guardian_fork(k->guardian, ranges, g->n_blocks, &s->copy);
	free(ranges);
	return e ? e : open_copy(s);
}

/* A mapping may be wiped in children (MADV_WIPEONFORK). */
static struct err *check_copied(struct vmm_mem *own, struct vmm_mem *copy, const struct mem_block *b)
{
	uint64_t end = b->hva + MIN(b->bytes, (uint64_t)PROBE_BYTES), at[2], bytes[2];
	struct err *e = vmm_mem_next_data(own, b->hva, end, &at[0], &bytes[0]);

	if (!e)
		e = vmm_mem_next_data(copy, b->hva, end, &at[1], &bytes[1]);
	if (!e && (at[0] != at[1] || !vmm_mem_covers(copy, b->hva, b->bytes)))
		e = err_new(ERR_UNSUPPORTED, "the VMM keeps guest memory at 0x%" PRIx64 " from being copied", b->gpa);
	return e;
}

static struct err *take(struct guest *g, struct snapshot *s)
{
	struct kvm *k = g->priv;
	struct err *e = kvm_check_held(g);

	if (!e)
		e = check_can(g);
	if (!e)
		e = take_regs(g, s);
	if (!e)
		e = fork_vmm(g, s);
	for (size_t i = 0; !e && i < g->n_blocks; i++)
		e = check_copied(k->mem, s->mem, &g->blocks[i]);
	return kvm_explain_failure(g, e);
}

struct err *kvm_snapshot(struct guest *g, struct guest **ret)
{
	struct snapshot *s = xcalloc(1, sizeof(*s));
	struct guest *picture = guest_create(&snapshot_ops, g->arch, s);
	struct err *e;

	s->copy_pidfd = s->stat_fd = -1;
	e = take(g, s);
	if (!e)
		e = guest_set_blocks(picture, g->blocks, g->n_blocks);
	if (e) {
		guest_destroy(picture);
		return err_prefix(e, "cannot take a snapshot");
	}
	picture->order = g->order;
	picture->state = GUEST_STOPPED;
	picture->was_paused = g->was_paused;
	guest_set_vcpus(picture, g->n_vcpus);
	*ret = picture;
	return NULL;
}
