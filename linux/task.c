/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "linux/task.h"

/* The pid stands in the first part of a task_struct, at 1 to 3 KiB. */
#define SEARCHED_BYTES 8192u
#define POINTER_BYTES 8u

/*
 * include/linux/sched.h: pid and tgid are followed by these, in any configuration
 * that does not shuffle the members, with stack_canary between where there is one.
 */
enum family { /* in pointers, from the first on */
	REAL_PARENT = 0,
	PARENT = 1,
	CHILDREN = 2,
	SIBLING = 4,
	GROUP_LEADER = 6,
	N_FAMILY = 7,
};

/* A place in a task_struct where its pid may be. */
struct form {
	const struct linux_kernel *k;
	uint64_t task;
	size_t pid_at, family_at;
	uint64_t pid, tgid;
	uint64_t family[N_FAMILY];
};

static bool is_pointer(uint64_t value)
{
	return value && value % POINTER_BYTES == 0;
}

/* The neighbours of a list's head or entry point back to it. */
static bool is_list(const struct form *f, unsigned member)
{
	uint64_t self = f->task + f->family_at + POINTER_BYTES * member, next, prev;

	return kernel_read_uint(f->k, f->family[member] + POINTER_BYTES, 8, &prev) && prev == self &&
	       kernel_read_uint(f->k, f->family[member + 1], 8, &next) && next == self;
}

/* The leader of the thread group has its tgid as pid, and leads itself. */
static bool has_leader(const struct form *f)
{
	uint64_t leader = f->family[GROUP_LEADER], pid, tgid, own;

	return kernel_read_uint(f->k, leader + f->pid_at, 4, &pid) && pid == f->tgid &&
	       kernel_read_uint(f->k, leader + f->pid_at + 4, 4, &tgid) && tgid == f->tgid &&
	       kernel_read_uint(f->k, leader + f->family_at + POINTER_BYTES * GROUP_LEADER, 8, &own) &&
	       own == leader && (leader == f->task) == (f->pid == f->tgid);
}

static bool fits(struct form *f, const uint8_t *bytes)
{
	for (unsigned i = 0; i < N_FAMILY; i++) {
		f->family[i] = load_uint(bytes + f->family_at + POINTER_BYTES * i, 8, f->k->guest->order);
		if (!is_pointer(f->family[i]))
			return false;
	}
	return is_list(f, CHILDREN) && is_list(f, SIBLING) && has_leader(f);
}

bool task_pid_by_form(const struct linux_kernel *k, uint64_t gva, uint32_t *ret)
{
	struct form f = { .k = k, .task = gva };
	uint8_t bytes[SEARCHED_BYTES];
	struct err *e = is_pointer(gva) ? kernel_read(k, gva, bytes, sizeof(bytes)) : NULL;

	if (!is_pointer(gva) || e) {
		err_destroy(e);
		return false;
	}
	for (f.pid_at = 0; f.pid_at + 16 + N_FAMILY * POINTER_BYTES <= sizeof(bytes); f.pid_at += POINTER_BYTES) {
		f.pid = load_uint(bytes + f.pid_at, 4, k->guest->order);
		f.tgid = load_uint(bytes + f.pid_at + 4, 4, k->guest->order);
		if (f.pid >= LINUX_MAX_PID || f.tgid >= LINUX_MAX_PID)
			continue;
		for (f.family_at = f.pid_at + 8; f.family_at <= f.pid_at + 16; f.family_at += POINTER_BYTES)
			if (fits(&f, bytes)) {
				*ret = (uint32_t)f.pid;
				return true;
			}
	}
	return false;
}

bool task_pid(struct linux_kernel *k, uint64_t gva, uint32_t *ret)
{
	uint32_t offset;
	uint64_t pid;

	if (!kernel_member(k, "task_struct", "pid", &offset))
		return task_pid_by_form(k, gva, ret);
	if (!kernel_read_uint(k, gva + offset, 4, &pid) || pid >= LINUX_MAX_PID)
		return false;
	*ret = (uint32_t)pid;
	return true;
}
