/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_GUEST_H
#define GUEST_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch/arch.h"
#include "base/err.h"

/*
 * A guest: the virtual machine that is looked at, through one backend. Callers
 * use the guest_*() functions below; they check ranges once, so backends need
 * not. One thread only, but for guest_read_beside().
 */

struct guest;
struct os;

#define MEM_ROM 1u        /* the guest cannot write it */
#define MEM_PRIVATE 2u    /* exists, but its bytes cannot be read (confidential guests) */
#define MEM_ONE_THREAD 4u /* guest_ops.read_beside does not have it */

/* One contiguous run of guest RAM or ROM. Blocks of a guest are sorted and disjoint. */
struct mem_block {
	uint64_t gpa;
	uint64_t bytes; /* > 0; gpa + bytes <= 2^64 */
	uint64_t hva;   /* where the VMM has it; 0 when the backend has no such thing */
	uint32_t flags; /* MEM_* */
};

enum guest_state {
	GUEST_RUNNING, /* vCPUs run, or would if they had anything to do */
	GUEST_STOPPED, /* by us: nothing in it moves until guest_resume() */
	GUEST_GONE,    /* the VMM has exited, or a core was closed */
};

enum breakpoint_kind { /* numbers of gdb's Z packets */
	BREAKPOINT_SOFTWARE,
	BREAKPOINT_HARDWARE,
	WATCHPOINT_WRITE,
	WATCHPOINT_READ,
	WATCHPOINT_ACCESS,
};
#define N_BREAKPOINT_KINDS 5u

/* Is it hit by what is executed, and not by what is accessed? */
static inline bool breakpoint_executes(enum breakpoint_kind kind)
{
	return kind == BREAKPOINT_SOFTWARE || kind == BREAKPOINT_HARDWARE;
}

struct breakpoint {
	enum breakpoint_kind kind;
	uint64_t gva;   /* linear */
	uint64_t bytes; /* watchpoints: what is watched; else gdb's kind of the instruction */
};

/* What guest_poll() found. */
enum guest_event_kind {
	GUEST_EVENT_NONE,
	GUEST_EVENT_STOPPED, /* nothing in it moves any more; guest_stop() makes it known */
	GUEST_EVENT_GONE,
};

enum stop_cause {
	STOP_OTHER, /* its owner paused it, a panic, a reset: see signal */
	STOP_STEP,
	STOP_BREAKPOINT,
};

/*
 * One stop of one vCPU. Where several vCPUs stopped at once each gets its event: the
 * rest is reported, one at a time, as soon as the guest is to run again, unless a
 * breakpoint has been removed meanwhile or the vCPU sent elsewhere.
 */
struct guest_event {
	enum guest_event_kind kind;
	unsigned vcpu;
	int signal; /* gdb's number, 5 for a trap */
	enum stop_cause cause;
	/* STOP_BREAKPOINT: which of those that were set; gva of a watchpoint is what was accessed, if that is known */
	enum breakpoint_kind breakpoint;
	uint64_t gva;
};

/* What a vCPU does while the guest runs. */
enum run_action {
	RUN_CONTINUE,
	RUN_STEP, /* one instruction, then the guest stops */
	RUN_HOLD, /* nothing */
};

struct vcpu_run {
	enum run_action action;
	uint64_t range_start, range_end; /* RUN_STEP: and on, as long as pc is in [start, end) */
};

/*
 * A backend. NULL in place of a function means unsupported. Ranges have been
 * checked: a read or write lies inside one memory block, vcpu < n_vcpus, the
 * guest is stopped where it must be. Errors need no prefix with gpa or vcpu.
 */
struct guest_ops {
	const char *name; /* "kvm" */

	/* Lets go of the target: it runs again if it did before. Frees priv. */
	void (*close)(struct guest *g);

	/*
	 * Pauses every vCPU with complete registers; afterwards g->blocks and
	 * g->n_vcpus are those of this stop (guest_set_blocks()).
	 */
	struct err *(*stop)(struct guest *g);
	struct err *(*resume)(struct guest *g);

	/*
	 * A picture of the stopped guest: registers and memory of this instant, which the guest
	 * no longer changes when it goes on. It is a guest that is stopped for ever, without
	 * run control or writes. ERR_UNSUPPORTED: its RAM cannot be had so; the text says why.
	 */
	struct err *(*snapshot)(struct guest *g, struct guest **ret);
	/* What of that can be done while the guest runs, so that its pause is shorter. NULL: nothing. */
	void (*prepare_snapshot)(struct guest *g);

	struct err *(*read_phys)(struct guest *g, const struct mem_block *b, uint64_t gpa, void *ret,
				 size_t bytes, size_t *ret_bytes);
	/*
	 * The same from any thread, several at once and beside every other function, while an image
	 * holds the guest: it looks at nothing that changes meanwhile. Whether the guest still stood
	 * still is for check_held() to say afterwards. NULL: there is no such way.
	 */
	struct err *(*read_beside)(struct guest *g, const struct mem_block *b, uint64_t gpa, void *ret,
				   size_t bytes, size_t *ret_bytes);
	/* Fails when the guest does not stand still any more. NULL: it always does. */
	struct err *(*check_held)(struct guest *g);
	struct err *(*write_phys)(struct guest *g, const struct mem_block *b, uint64_t gpa,
				  const void *from, size_t bytes);
	/*
	 * The first run of pages at or above gpa inside block b that may hold
	 * anything but zeros; *ret_bytes 0 when there is none up to the block's
	 * end. Runs may be shorter than they could be. NULL: all may.
	 */
	struct err *(*next_data)(struct guest *g, const struct mem_block *b, uint64_t gpa,
				 uint64_t *ret_gpa, uint64_t *ret_bytes);

	struct err *(*read_regs)(struct guest *g, unsigned vcpu, struct regs *ret);
	/* Writes those registers of from for which changed[reg] is true. */
	struct err *(*write_regs)(struct guest *g, unsigned vcpu, const struct regs *from,
				  const bool *changed);

	/*
	 * As resume, with an action for each vCPU. A breakpoint where a vCPU stands is
	 * passed over if a stop of the vCPU there was reported: else it has yet to be hit.
	 */
	struct err *(*run)(struct guest *g, const enum run_action *actions);
	/*
	 * For all vCPUs, from the next run until cleared; vcpu is the one whose page
	 * tables tell where a software breakpoint goes. While the guest is stopped its
	 * memory reads as if there were none. Each is set once and cleared once.
	 */
	struct err *(*set_breakpoint)(struct guest *g, unsigned vcpu, const struct breakpoint *b);
	struct err *(*clear_breakpoint)(struct guest *g, const struct breakpoint *b);

	/* Becomes readable when guest_poll() may have something to say; -1: never. */
	int (*poll_fd)(struct guest *g);
	struct err *(*poll)(struct guest *g, struct guest_event *ret);

	/* The target itself says that its system has panicked, or that KVM cannot run it; NULL: it never says. */
	bool (*panicked)(struct guest *g);

	/* A vCPU in words for `info threads`: "running", "halted", ... NULL: none. */
	void (*describe_vcpu)(struct guest *g, unsigned vcpu, struct buf *out);
	/* Lines for `info status`, and for `info mtree`, beyond what every guest has. */
	void (*describe)(struct guest *g, struct buf *out);
	void (*describe_memory)(struct guest *g, struct buf *out);

	/* The pid that a core says a vCPU ran; false: none. */
	bool (*vcpu_pid)(struct guest *g, unsigned vcpu, uint32_t *ret);
	/* A VMCOREINFO that the target hands out itself (a core's note); NULL: none. Borrowed. */
	const char *(*vmcoreinfo)(struct guest *g, size_t *ret_bytes);
};

#define MAX_TRANSLATIONS 16u

/* What a vCPU's page tables said of one page. */
struct translation {
	unsigned vcpu;
	struct mapping mapping;
};

/* Filled by a backend's open function and by guest_set_*(). */
struct guest {
	const struct guest_ops *ops;
	void *priv;
	const struct arch *arch;
	enum byte_order order;
	enum guest_state state;
	bool was_paused;  /* the VMM had paused it before we came */
	unsigned n_vcpus;
	struct mem_block *blocks;
	size_t n_blocks;
	struct regs **cache; /* one a vCPU, NULL until read at this stop */
	struct translation translations[MAX_TRANSLATIONS]; /* the last ones, until a page table or register may change */
	size_t n_translations;                             /* how many there were */
	struct os *os;       /* what is known of its operating system (guest/os.h); may be NULL */
	struct breakpoint *breakpoints; /* that are set */
	size_t n_breakpoints;
	struct vcpu_run *runs; /* of the run under way, unless all continue; for range steps */
	unsigned n_runs;
	bool step_holds_irqs; /* interrupts wait while a vCPU steps, where the backend can do that */
	unsigned holds;      /* images that need it to stay stopped */
	uint64_t stops;      /* counts stops: what was cached at another count is stale */
};

/*
 * Of a stopped guest; see guest_ops.snapshot. Caller ends *ret with guest_destroy(), before g.
 * Both can be used side by side.
 */
struct err *guest_snapshot(struct guest *g, struct guest **ret) MUST_CHECK;
/* Before it is stopped for that. No need, but the pause may be shorter. */
void guest_prepare_snapshot(struct guest *g);

/* For backends: takes over priv. n_vcpus is set with guest_set_vcpus(). */
struct guest *guest_create(const struct guest_ops *ops, const struct arch *arch, void *priv);
void guest_set_vcpus(struct guest *g, unsigned n);
/* Copies, sorts and checks: no empty, no overlapping block, none past 2^64. */
struct err *guest_set_blocks(struct guest *g, const struct mem_block *blocks, size_t n) MUST_CHECK;

/* Resumes it if it was running before, frees everything; takes NULL. */
void guest_destroy(struct guest *g);

/* Both are no-ops in the state they would lead to. */
struct err *guest_stop(struct guest *g) MUST_CHECK;
/* All vCPUs continue; steps under way are given up. ERR_BUSY while an image holds it, ERR_UNSUPPORTED for a core. */
struct err *guest_resume(struct guest *g) MUST_CHECK;

/*
 * Guest-physical memory of a stopped guest. *ret_bytes counts the bytes before
 * the first that cannot be had; an error only when that is none of them.
 * Reads go on from one block into the next where they adjoin.
 */
struct err *guest_read_phys(struct guest *g, uint64_t gpa, void *ret, size_t bytes, size_t *ret_bytes) MUST_CHECK;
/* All or nothing as far as blocks go: nothing is written when a byte is outside of them. */
struct err *guest_write_phys(struct guest *g, uint64_t gpa, const void *from, size_t bytes) MUST_CHECK;

/* Can other threads read this range, which lies in blocks, by guest_read_beside()? */
bool guest_reads_beside(const struct guest *g, uint64_t gpa, uint64_t bytes);
/* All bytes or an error, from any thread while an image holds the guest; see guest_ops.read_beside. */
struct err *guest_read_beside(struct guest *g, uint64_t gpa, void *ret, size_t bytes) MUST_CHECK;
struct err *guest_check_held(struct guest *g) MUST_CHECK;

/* As guest_read_phys() and guest_write_phys(), through the page tables of a vCPU. */
struct err *guest_read_virt(struct guest *g, unsigned vcpu, uint64_t gva, void *ret, size_t bytes,
			    size_t *ret_bytes) MUST_CHECK;
struct err *guest_write_virt(struct guest *g, unsigned vcpu, uint64_t gva, const void *from,
			     size_t bytes) MUST_CHECK;
struct err *guest_translate(struct guest *g, unsigned vcpu, uint64_t gva, struct mapping *ret) MUST_CHECK;

/* All bytes or an error; for page-table walks and searches. ctx is the guest. */
struct phys_reader guest_phys_reader(struct guest *g);

/* The block that holds gpa, or NULL. Borrowed until the next stop. */
const struct mem_block *guest_block_at(const struct guest *g, uint64_t gpa);

/* As guest_ops.next_data, over all blocks and below end (exclusive; 0 is 2^64). */
struct err *guest_next_data(struct guest *g, uint64_t gpa, uint64_t end, uint64_t *ret_gpa,
			    uint64_t *ret_bytes) MUST_CHECK;

/*
 * How many bytes of memory may hold anything but zeros, of a guest that may run: as far as is
 * known of it since it was last looked at. 0: nothing is known.
 */
uint64_t guest_touched_bytes(struct guest *g);

/* Borrowed until the guest runs or its registers are written. */
struct err *guest_regs(struct guest *g, unsigned vcpu, const struct regs **ret) MUST_CHECK;
struct err *guest_write_reg(struct guest *g, unsigned vcpu, unsigned reg, const void *bytes) MUST_CHECK;
/* Writes every register for which changed[] is true from from. */
struct err *guest_write_regs(struct guest *g, unsigned vcpu, const struct regs *from,
			     const bool *changed) MUST_CHECK;

/*
 * Run control; ERR_UNSUPPORTED with the backend's name where it has none.
 * runs: one a vCPU. The stop comes by guest_poll(), or by guest_stop().
 */
struct err *guest_run(struct guest *g, const struct vcpu_run *runs) MUST_CHECK;

/*
 * Of a stopped guest. Setting one that is set, and clearing one that is not, are no
 * errors, as gdb expects. vcpu: whose page tables tell where a software breakpoint
 * goes; ERR_UNMAPPED where nothing is mapped there.
 */
struct err *guest_set_breakpoint(struct guest *g, unsigned vcpu, const struct breakpoint *b) MUST_CHECK;
struct err *guest_clear_breakpoint(struct guest *g, const struct breakpoint *b) MUST_CHECK;
/*
 * All of them. Stops a guest that runs, and leaves it stopped; of one that is gone
 * there are none. Those that cannot be cleared stay set; the error is the first one's.
 */
struct err *guest_clear_breakpoints(struct guest *g) MUST_CHECK;

int guest_poll_fd(struct guest *g); /* -1: none */
/* A step that has ended inside of its range goes on here, once a call, and is no event. */
struct err *guest_poll(struct guest *g, struct guest_event *ret) MUST_CHECK;

/* As guest_ops.panicked, of a guest that has stopped. */
bool guest_panicked(struct guest *g);

void guest_describe_vcpu(struct guest *g, unsigned vcpu, struct buf *out);

#endif
