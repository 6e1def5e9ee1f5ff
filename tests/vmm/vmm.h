/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_VMM_VMM_H
#define TESTS_VMM_VMM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/buf.h"
#include "tests/vmm/pattern.h"

/*
 * A small KVM VMM, made to be looked at by somebody else. It prints one JSON
 * line when its guests run, and answers one line of JSON to each command line on
 * standard input: counters, exits, slots, pause, run, regs VM VCPU (of a
 * paused guest), quit. End of input ends it. With --core its guest is that of a
 * vmcore, whose vCPUs execute nothing: registers and memory stay as they were.
 */

enum exit_status {
	STATUS_SETUP = 1,
	STATUS_USAGE = 2,
	STATUS_RESTART = 3, /* a blocking system call did not survive */
	STATUS_EINTR = 4,   /* KVM_RUN was interrupted and nobody had sent a signal */
	STATUS_EXIT = 5,    /* the guest did what it never does */
	STATUS_UNSUPPORTED = 6, /* this machine's KVM lacks the mode, or what a core needs */
};

/* One line to standard output, then ends the process at once. */
void die(enum exit_status status, const char *fmt, ...) PRINTF_LIKE(2, 3) NORETURN;

/* MODE_FLAT: 32-bit protected mode without paging. MODE_REAL: of ppc64, and alone there. */
enum guest_mode { MODE_16, MODE_FLAT, MODE_32, MODE_PAE, MODE_LONG, MODE_REAL };
/* WORK_SPIN, of a core alone: in and out of KVM_RUN. With WORK_HALT its vCPUs stay there. */
enum guest_work { WORK_COUNT, WORK_HALT, WORK_PORT, WORK_MMIO, WORK_STAMP, WORK_SPIN };

struct options {
	unsigned cpus, vms;
	unsigned threads;       /* that sit in blocking system calls */
	unsigned touch_percent; /* of each block's pages */
	enum guest_mode mode;
	enum guest_work work;
	uint64_t ram_bytes;     /* of the first block */
	const char *core;       /* path of a vmcore; NULL: guests of our own making */
	bool paused;            /* until SIGUSR1 */
	bool jailed;            /* a strict seccomp filter for each thread */
	bool shared;            /* RAM is a memfd */
	bool hugepages;
	bool low;               /* no block at 4 GiB */
	bool change_slots;      /* at SIGUSR2 */
	bool tolerate_eintr;    /* or else an unexpected EINTR of KVM_RUN ends the process */
	bool random;            /* instead of the pattern */
	bool no_memory;         /* no slot, and vCPUs that were never set up and never run */
};

/* Ends the process when the words make no sense. */
void options_parse(struct options *opt, int argc, char **argv);
const char *mode_name(enum guest_mode mode);
/* Does the mode have page tables? */
bool mode_pages(enum guest_mode mode);
const char *work_name(enum guest_work work);

#define MAX_SLOTS 16

struct slot {
	uint64_t gpa, bytes;
	void *hva; /* NULL: the slot is not there now */
	bool readonly;
};

struct vm;

struct vcpu {
	struct vm *vm;
	unsigned index;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	pid_t tid;
	struct buf missing;   /* JSON strings: what this machine's KVM did not keep */
	uint64_t handed;      /* inputs that were answered */
	uint64_t exits[64];   /* by reason */
	uint64_t interrupted; /* KVM_RUN returned EINTR */
	bool parked;
};

struct vm {
	struct vmm *vmm;
	unsigned index;
	int fd;
	struct slot slots[MAX_SLOTS];
	size_t n_slots;
	struct vcpu *vcpus; /* opt->cpus of them */
};

struct core;

struct vmm {
	struct options opt;
	struct core *core; /* of opt.core */
	int kvm_fd;
	size_t run_bytes; /* of struct kvm_run as mapped */
	struct vm *vms;   /* opt.vms of them */
	pthread_barrier_t started;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool hold; /* vCPU threads stay out of KVM_RUN */
	int signal_fd;
	struct buf line; /* of standard input, as far as it came */
};

/* ---- memory.c ---- */

void vm_create_memory(struct vm *vm);
/* Adds the slot at GPA_EXTRA, or takes it away. */
void vm_toggle_extra_slot(struct vm *vm);
/* Where a gpa of the first block lives. */
void *vm_ram(struct vm *vm, uint64_t gpa);

/* ---- paging_x86_64.c ---- */

/* Makes the page tables of a vCPU whose mode has them; returns its cr3. */
uint64_t vm_create_tables(struct vm *vm, unsigned cpu);

/* ---- code_*.c and vcpu_*.c, of the host ---- */

extern const enum guest_mode default_mode;
/* What the vCPUs run; false where the mode or the work is not of this host. */
bool guest_code(enum guest_mode mode, enum guest_work work, const char **ret_begin, const char **ret_end);

/* Gives a vCPU that has just been made its registers. */
void vcpu_set_up(struct vcpu *c);
/* Appends "name":value pairs of all of its registers. */
void vcpu_print(struct vcpu *c, struct buf *out);

/* ---- run.c ---- */

void vmm_start_vcpus(struct vmm *vmm);
/* Returns when every vCPU thread waits outside of KVM_RUN. */
void vmm_pause(struct vmm *vmm);
void vmm_run(struct vmm *vmm);

/* ---- threads.c ---- */

/* Starts n threads that block; the kinds of blocking are taken in turn. */
void blockers_start(unsigned n, bool jailed);

/* ---- jail.c ---- */

enum jail_kind { JAIL_MAIN, JAIL_VCPU, JAIL_BLOCKER };
/* From here on the calling thread may do what its kind needs; anything else kills the process. */
void jail_enter(enum jail_kind kind);

/* ---- report.c ---- */

void vmm_report_start(struct vmm *vmm);
void vmm_report_slots(struct vmm *vmm);
/* Runs a command line and prints its answer. */
void vmm_command(struct vmm *vmm, const char *line);

#endif
