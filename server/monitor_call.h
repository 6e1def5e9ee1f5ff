/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SERVER_MONITOR_CALL_H
#define SERVER_MONITOR_CALL_H

#include "base/cursor.h"
#include "server/job.h"
#include "server/monitor.h"

/* What the files of the monitor share; nobody else includes this. */

/* A command of its own, or a dump beside others, that takes its time. */
struct monitor_job {
	struct monitor *monitor;
	struct job *job; /* NULL: none */
	bool is_dump;
	struct monitor_client client; /* of one in the foreground */
	struct progress progress;
	char *name; /* where it writes to */
};

/* The latest dump, as `info dump` tells. */
struct monitor_dump {
	char *name; /* NULL: there was none */
	struct dump_progress progress;
	char *error;
};

struct monitor {
	struct monitor_config config;
	struct guest *guest;
	unsigned cpu;   /* of `cpu` */
	bool paused;    /* the console's hold is taken */
	struct monitor_job foreground, background;
	struct monitor_dump dump;
};

struct monitor_call {
	struct monitor *monitor;
	const struct monitor_client *client;
	const struct monitor_command *command;
	struct cursor args;
	struct buf out;
	bool later; /* a job ends the command */
};

/* For handlers. */
struct err *call_take_number(struct monitor_call *call, uint64_t *ret) MUST_CHECK; /* expr.h */
struct err *call_take_vcpu(struct monitor_call *call, unsigned *ret) MUST_CHECK;
/* A file's name, in double quotes where it holds white space; caller frees. */
struct err *call_take_file(struct monitor_call *call, char **ret) MUST_CHECK;
/* "usage: x [/FMT] ADDR" */
struct err *call_usage(const struct monitor_call *call) MUST_CHECK;
/* The arguments must end here. */
struct err *call_end(struct monitor_call *call) MUST_CHECK;

typedef struct err *monitor_handler(struct monitor_call *call);

/* monitor.c */
monitor_handler monitor_help, monitor_info, monitor_stop, monitor_cont, monitor_exit, monitor_cpu;
/* monitor_info.c */
monitor_handler monitor_version, monitor_info_status, monitor_info_registers, monitor_info_cpus, monitor_info_mem,
	monitor_info_mtree, monitor_info_linux, monitor_info_kaslr,
	monitor_info_symbol;
/* monitor_memory.c */
monitor_handler monitor_x, monitor_xp, monitor_print, monitor_gva2gpa, monitor_gpa2hva;
/* monitor_dump.c */
monitor_handler monitor_dump_guest_memory, monitor_dump_cancel, monitor_info_dump, monitor_memsave,
	monitor_pmemsave;

#endif
