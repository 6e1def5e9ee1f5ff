/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_FAKE_H
#define GUEST_FAKE_H

#include "guest/guest.h"

/*
 * A guest made of plain memory, for the tests: every architecture, both byte
 * orders, no VM and no root. Counters and switches are the test's to read and set.
 */
struct fake_block {
	struct mem_block block; /* hva is set by fake_create to a made-up address */
	uint8_t *data;          /* block.bytes of it; owned by the fake, zeroed at creation */
};

struct fake {
	struct fake_block *blocks;
	size_t n_blocks;
	struct regs **regs; /* one a vCPU, all unknown at creation: the test sets them */
	unsigned n_vcpus;
	unsigned stops, resumes, runs, steps;
	enum run_action *actions;  /* one a vCPU: what it was told last */
	struct breakpoint *armed;
	size_t n_armed;
	unsigned refused;   /* 1u << enum breakpoint_kind: cannot be set */
	bool misses;        /* vCPUs that continue never come to a breakpoint */
	bool sparse;        /* next_data passes over zero pages */
	bool fail_reads;    /* reads of memory fail as a VMM that has exited; atomic while threads read */
	int event_fds[2];   /* pipe: fake_raise() writes, poll_fd is its read end */
	bool due;           /* the first of queue is to be reported */
	struct guest_event *queue;
	size_t n_queue;
};

/*
 * When it runs, every vCPU that steps goes on by FAKE_STEP_BYTES, and the first of
 * them reports that. Every one that continues runs into the breakpoint that was
 * armed first, in order of vCPUs; without one nothing happens.
 */
#define FAKE_STEP_BYTES 4u

/* A stopped guest with these blocks. The fake lives as long as the guest. */
struct guest *fake_create(const struct arch *arch, enum byte_order order, unsigned n_vcpus,
			  const struct mem_block *blocks, size_t n_blocks);
struct fake *fake_of(struct guest *g);
/* Where the byte of gpa lives; aborts when there is none. */
uint8_t *fake_at(struct guest *g, uint64_t gpa);
/* Makes guest_poll() report this; no other report is due. */
void fake_raise(struct guest *g, const struct guest_event *ev);

#endif
