/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_PROC_H
#define GUEST_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/* What /proc tells of a process. Formats: proc(5). */

/* The whole of a small file under /proc; path is a printf format. */
struct err *proc_read(struct buf *out, const char *path, ...) PRINTF_LIKE(2, 3) MUST_CHECK;

/* The number behind "Key:" in a status text in the given base; false when there is none. */
bool proc_status_field(const char *status, const char *key, int base, uint64_t *ret);

struct proc_map {
	uint64_t start, end; /* hva, end exclusive */
	uint64_t offset;     /* in the file */
	uint64_t inode;      /* 0: anonymous */
	uint64_t dev;        /* major << 32 | minor */
	bool readable, writable, executable, shared;
	char *path; /* "" when it has none */
};

/* Sorted by address. Caller ends them with proc_maps_free(). */
struct err *proc_maps_read(pid_t pid, struct proc_map **ret, size_t *ret_n) MUST_CHECK;
void proc_maps_free(struct proc_map *maps, size_t n);
/* The mapping that holds hva, or NULL. */
const struct proc_map *proc_map_at(const struct proc_map *maps, size_t n, uint64_t hva);

/* Thread ids of a process, in no order; caller frees. */
struct err *proc_threads(pid_t pid, pid_t **ret, size_t *ret_n) MUST_CHECK;

/* The pids of all processes; caller frees. */
struct err *proc_pids(pid_t **ret, size_t *ret_n) MUST_CHECK;

/*
 * A worker of the kernel in the thread list (vhost, io_uring, kvm): it can be
 * seized and never stops. From the flags of /proc/PID/task/TID/stat.
 */
bool proc_thread_is_kernel(pid_t pid, pid_t tid);

/*
 * From -1000 (the last to be killed when memory runs out) to 1000 (the first). To lower
 * one's own below what root gave it needs CAP_SYS_RESOURCE.
 */
void proc_set_oom_score(pid_t pid, int score);
int proc_oom_score(pid_t pid); /* 0 where it cannot be known */

/* State letter of /proc/PID/stat; 0 when there is no such process. */
char proc_state(pid_t pid);

/* One descriptor of a process and what its link says ("anon_inode:kvm-vm"). */
struct proc_fd {
	int fd;
	char link[64]; /* cut off where longer */
};

/* Sorted by fd; caller frees. */
struct err *proc_fds(pid_t pid, struct proc_fd **ret, size_t *ret_n) MUST_CHECK;

#endif
