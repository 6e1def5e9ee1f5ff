/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LINUX_TASK_H
#define LINUX_TASK_H

#include "linux/kernel.h"

/* What pid_t can be (PID_MAX_LIMIT), exclusive. */
#define LINUX_MAX_PID (1u << 22)

/*
 * The pid of the task (of a thread, where there are several) whose task_struct is
 * at gva, by the kernel's types, and where it has none by the form of what stands
 * there. False when that is no task.
 */
bool task_pid(struct linux_kernel *k, uint64_t gva, uint32_t *ret);
/* By form alone; for a gva that may be anything. */
bool task_pid_by_form(const struct linux_kernel *k, uint64_t gva, uint32_t *ret);

#endif
