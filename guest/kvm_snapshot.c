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
#include "guest/shadow.h"
#include "guest/sharers.h"

/* How much of a block shows whether a copy has what the VMM has. */
#define PROBE_BYTES (2u << 20)

struct snapshot {
	struct regs **regs; /* one a vCPU */
	unsigned n_regs;
	pid_t copy;      /* 0: there is no private memory */
	int copy_pidfd;
	int stat_fd;     /* /proc/PID/stat of the copy */
	struct vmm_mem *mem; /* of the copy */
	struct shadow *shadow; /* NULL: there is no shared memory */
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

	shadow_destroy(s->shadow);
	end_copy(s);
	for (unsigned i = 0; i < s->n_regs; i++)
		regs_destroy(s->regs[i]);
	free(s->regs);
	free(s);
}

static struct err *read_copied(const struct snapshot *s, uint64_t hva, void *ret, size_t bytes)
{
	size_t got = 0;
	struct err *e = vmm_mem_read(s->mem, hva, ret, bytes, &got), *lost;

	if (!e && got == bytes)
		return NULL;
	lost = check_intact(s);
	if (!lost)
		return e ? e : err_new(ERR_UNMAPPED, "the VMM had no memory at 0x%" PRIx64, hva + got);
	err_destroy(e);
	return lost;
}

static struct err *snapshot_read_phys(struct guest *g, const struct mem_block *b, uint64_t gpa, void *ret,
				      size_t bytes, size_t *ret_bytes)
{
	const struct snapshot *s = g->priv;
	uint64_t hva = b->hva + (gpa - b->gpa), end = hva + bytes, next;
	struct err *e = NULL;

	for (uint64_t at = hva; !e && at < end; at = next) {
		char *to = (char *)ret + (at - hva);

		if (shadow_has(s->shadow, at, end, &next))
			e = shadow_read(s->shadow, at, to, (size_t)(next - at));
		else
			e = read_copied(s, at, to, (size_t)(next - at));
	}
	*ret_bytes = e ? 0 : bytes;
	return e;
}

static struct err *next_copied(const struct snapshot *s, uint64_t hva, uint64_t end, uint64_t *ret_hva,
			       uint64_t *ret_bytes)
{
	struct err *e = vmm_mem_next_data(s->mem, hva, end, ret_hva, ret_bytes);

	/* Afterwards: what has lost its memory has no data. */
	return e ? e : check_intact(s);
}

static struct err *snapshot_next_data(struct guest *g, const struct mem_block *b, uint64_t gpa, uint64_t *ret_gpa,
				      uint64_t *ret_bytes)
{
	const struct snapshot *s = g->priv;
	uint64_t end = b->hva + b->bytes, next, hva = end, bytes = 0;
	struct err *e = NULL;

	for (uint64_t at = b->hva + (gpa - b->gpa); !e && !bytes && at < end; at = next) {
		if (shadow_has(s->shadow, at, end, &next))
			shadow_next_data(s->shadow, at, next, &hva, &bytes);
		else
			e = next_copied(s, at, next, &hva, &bytes);
	}
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
	.read_beside = snapshot_read_phys, /* nothing of it changes but by the shadow's thread, which it allows for */
	.next_data = snapshot_next_data,
	.read_regs = snapshot_read_regs,
};

/* ---- its registers ---- */

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

/* ---- its memory ---- */

/* The parts of all blocks that are private, and the whole mappings that are shared. */
struct parts {
	struct vmm_range *copied, *shared;
	size_t n_copied, n_shared;
};

static void parts_deinit(struct parts *p)
{
	free(p->copied);
	free(p->shared);
}

static void add_range(struct vmm_range **ranges, size_t *n, uint64_t start, uint64_t end)
{
	for (size_t i = 0; i < *n; i++)
		if ((*ranges)[i].hva == start)
			return;
	*ranges = xreallocarray(*ranges, *n + 1, sizeof(**ranges));
	(*ranges)[(*n)++] = (struct vmm_range){ start, end - start };
}

static struct err *add_block(struct parts *p, struct vmm_mem *mem, const struct mem_block *b)
{
	const struct proc_map *map;
	uint64_t end = b->hva + b->bytes;

	for (uint64_t at = b->hva; at < end; at = map->end) {
		map = vmm_mem_map_at(mem, at);
		if (!map)
			return err_new(ERR_UNMAPPED, "the VMM has unmapped its memory at 0x%" PRIx64, at);
		if (map->shared)
			add_range(&p->shared, &p->n_shared, map->start, map->end);
		else if (!vmm_mem_hugetlb_bytes(mem, at))
			add_range(&p->copied, &p->n_copied, at, MIN(map->end, end));
		else
			return err_new(ERR_UNSUPPORTED, "guest memory at 0x%" PRIx64 " is private in hugetlbfs, of which "
							"as many pages again would have to be free", b->gpa);
	}
	return NULL;
}

static struct err *find_parts(const struct guest *g, struct vmm_mem *mem, struct parts *ret)
{
	struct err *e = NULL;

	for (size_t i = 0; !e && i < g->n_blocks; i++)
		e = add_block(ret, mem, &g->blocks[i]);
	return e;
}

/* ---- who writes shared memory past the VMM's mapping of it ---- */

static bool is_lone(const struct kvm *k, const struct proc_map *map)
{
	for (size_t i = 0; i < k->n_lone_files; i++)
		if (k->lone_files[i].dev == map->dev && k->lone_files[i].inode == map->inode)
			return true;
	return false;
}

static struct err *check_lone(struct kvm *k, const struct proc_map *map)
{
	pid_t other = 0;
	struct err *e = is_lone(k, map) ? NULL : sharers_find(k->pid, map, &other);

	if (e || is_lone(k, map))
		return e;
	if (other)
		return err_new(ERR_UNSUPPORTED, "process %d writes the guest's memory as well (%s)", other, map->path);
	k->lone_files = xreallocarray(k->lone_files, k->n_lone_files + 1, sizeof(*k->lone_files));
	k->lone_files[k->n_lone_files++] = (struct kvm_file){ map->dev, map->inode };
	return NULL;
}

static bool overlaps(const struct proc_map *a, const struct proc_map *b)
{
	return a->offset < b->offset + (b->end - b->start) && b->offset < a->offset + (a->end - a->start);
}

static struct err *check_mapped_once(const struct kvm *k, struct vmm_mem *mem, const struct proc_map *map)
{
	size_t n;
	const struct proc_map *maps = vmm_mem_maps(mem, &n);

	for (size_t i = 0; i < n; i++)
		if (maps[i].start != map->start && maps[i].shared && maps[i].writable && maps[i].dev == map->dev &&
		    maps[i].inode == map->inode && overlaps(&maps[i], map))
			return err_new(ERR_UNSUPPORTED, "process %d has guest memory mapped twice, at 0x%" PRIx64
							" and 0x%" PRIx64, k->pid, map->start, maps[i].start);
	return NULL;
}

static struct err *check_shared(struct kvm *k, struct vmm_mem *mem, const struct parts *p)
{
	const char *device = p->n_shared ? sharers_device(k->pid) : NULL;
	struct err *e = NULL;

	if (device)
		return err_new(ERR_UNSUPPORTED, "%s writes shared memory of process %d past its mappings", device, k->pid);
	for (size_t i = 0; !e && i < p->n_shared; i++) {
		const struct proc_map *map = vmm_mem_map_at(mem, p->shared[i].hva);

		e = check_mapped_once(k, mem, map);
		if (!e)
			e = check_lone(k, map);
	}
	return e;
}

void kvm_prepare_snapshot(struct guest *g)
{
	struct kvm *k = g->priv;
	struct parts parts = { 0 };
	struct vmm_mem *mem;
	struct err *e = vmm_mem_open(k->pid, &mem);

	if (!e) {
		e = find_parts(g, mem, &parts);
		if (!e)
			e = check_shared(k, mem, &parts);
		vmm_mem_close(mem);
	}
	/* What is wrong is found again when it is taken. */
	err_destroy(e);
	parts_deinit(&parts);
}

/* ---- taking it ---- */

/* A mapping may be wiped in children (MADV_WIPEONFORK). */
static struct err *check_copied(struct vmm_mem *own, struct vmm_mem *copy, const struct vmm_range *r)
{
	uint64_t end = r->hva + MIN(r->bytes, (uint64_t)PROBE_BYTES), at[2], bytes[2];
	struct err *e = vmm_mem_next_data(own, r->hva, end, &at[0], &bytes[0]);

	if (!e)
		e = vmm_mem_next_data(copy, r->hva, end, &at[1], &bytes[1]);
	if (!e && (at[0] != at[1] || !vmm_mem_covers(copy, r->hva, r->bytes)))
		e = err_new(ERR_UNSUPPORTED, "the VMM keeps its memory at 0x%" PRIx64 " from being copied", r->hva);
	return e;
}

static struct err *take_memory(struct kvm *k, const struct parts *p, struct snapshot *s)
{
	struct vmm_forked forked;
	struct err *e = guardian_fork(k->guardian, p->copied, p->n_copied, p->n_shared > 0, &forked);

	if (e)
		return e;
	s->copy = forked.copy;
	e = s->copy ? open_copy(s) : NULL;
	if (!e && p->n_shared)
		e = shadow_create(k->pid, forked.uffd, k->mem, p->shared, p->n_shared, &s->shadow);
	else if (p->n_shared)
		close(forked.uffd);
	for (size_t i = 0; !e && i < p->n_copied; i++)
		e = check_copied(k->mem, s->mem, &p->copied[i]);
	return e;
}

static struct err *check_can(struct kvm *k, const struct parts *p)
{
	/* Orphans of its namespace are its children, and so the copy would be. */
	if (p->n_copied && is_reaper(k->pid))
		return err_new(ERR_UNSUPPORTED, "process %d is process 1 of its pid namespace", k->pid);
	return check_shared(k, k->mem, p);
}

static struct err *take(struct guest *g, struct snapshot *s)
{
	struct kvm *k = g->priv;
	struct parts parts = { 0 };
	struct err *e = kvm_check_held(g);

	if (!e)
		e = find_parts(g, k->mem, &parts);
	if (!e)
		e = check_can(k, &parts);
	if (!e)
		e = take_regs(g, s);
	if (!e)
		e = take_memory(k, &parts, s);
	parts_deinit(&parts);
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
