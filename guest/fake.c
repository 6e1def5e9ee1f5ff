/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/fake.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"

#define FAKE_HVA 0x7f0000000000u
#define FAKE_PAGE 4096u

struct fake *fake_of(struct guest *g)
{
	return g->priv;
}

uint8_t *fake_at(struct guest *g, uint64_t gpa)
{
	struct fake *f = fake_of(g);

	for (size_t i = 0; i < f->n_blocks; i++) {
		const struct mem_block *b = &f->blocks[i].block;

		if (gpa - b->gpa < b->bytes && gpa >= b->gpa)
			return f->blocks[i].data + (gpa - b->gpa);
	}
	abort();
}

static void fake_close(struct guest *g)
{
	struct fake *f = fake_of(g);

	for (size_t i = 0; i < f->n_blocks; i++)
		free(f->blocks[i].data);
	for (unsigned i = 0; i < f->n_vcpus; i++)
		regs_destroy(f->regs[i]);
	close(f->event_fds[0]);
	close(f->event_fds[1]);
	free(f->blocks);
	free(f->regs);
	free(f->actions);
	free(f->armed);
	free(f->queue);
	free(f);
}

/* ---- events ---- */

static void add_event(struct fake *f, const struct guest_event *ev)
{
	f->queue = xreallocarray(f->queue, f->n_queue + 1, sizeof(*f->queue));
	f->queue[f->n_queue++] = *ev;
}

static void make_due(struct fake *f)
{
	ssize_t n = write(f->event_fds[1], "", 1);

	assert(n == 1 && !f->due);
	f->due = true;
}

static void take_due(struct fake *f)
{
	char c;
	ssize_t n = read(f->event_fds[0], &c, 1);

	assert(n == 1);
	f->due = false;
}

/* Forgets the events for which gone() is true. */
static void drop_events(struct fake *f, bool (*gone)(const struct guest_event *ev, const void *arg), const void *arg)
{
	size_t kept = 0;

	for (size_t i = 0; i < f->n_queue; i++)
		if (!gone(&f->queue[i], arg))
			f->queue[kept++] = f->queue[i];
	f->n_queue = kept;
}

static bool is_step(const struct guest_event *ev, const void *arg)
{
	(void)arg;
	return ev->cause == STOP_STEP;
}

static bool is_hit_of(const struct guest_event *ev, const void *arg)
{
	const struct breakpoint *b = arg;

	return ev->cause == STOP_BREAKPOINT && ev->breakpoint == b->kind && ev->gva == b->gva;
}

static bool is_of_vcpu(const struct guest_event *ev, const void *arg)
{
	return ev->vcpu == *(const unsigned *)arg;
}

/* ---- running ---- */

static struct err *fake_stop(struct guest *g)
{
	struct fake *f = fake_of(g);

	f->stops++;
	if (f->due && f->queue[0].kind != GUEST_EVENT_GONE)
		take_due(f);
	drop_events(f, is_step, NULL);
	return NULL;
}

static void step_vcpu(struct guest *g, unsigned vcpu, bool report)
{
	struct guest_event ev = { .kind = GUEST_EVENT_STOPPED, .vcpu = vcpu, .signal = 5, .cause = STOP_STEP };
	struct regs *regs = fake_of(g)->regs[vcpu];

	fake_of(g)->steps++;
	regs_set(regs, g->arch->pc, regs_get_or(regs, g->arch->pc, 0) + FAKE_STEP_BYTES);
	if (report)
		add_event(fake_of(g), &ev);
}

static void hit(struct guest *g, unsigned vcpu, const struct breakpoint *b)
{
	struct guest_event ev = { .kind = GUEST_EVENT_STOPPED, .vcpu = vcpu, .signal = 5, .cause = STOP_BREAKPOINT,
				  .breakpoint = b->kind, .gva = b->gva };

	if (breakpoint_executes(b->kind))
		regs_set(fake_of(g)->regs[vcpu], g->arch->pc, b->gva);
	add_event(fake_of(g), &ev);
}

/* A test may have taken some away, or made up more. */
static unsigned live_vcpus(struct guest *g)
{
	return MIN(fake_of(g)->n_vcpus, g->n_vcpus);
}

static void move_vcpus(struct guest *g)
{
	struct fake *f = fake_of(g);
	bool stepped = false;

	for (unsigned i = 0; i < live_vcpus(g); i++) {
		if (f->actions[i] == RUN_STEP) {
			step_vcpu(g, i, !stepped);
			stepped = true;
		} else if (f->actions[i] == RUN_CONTINUE && f->n_armed && !f->misses) {
			hit(g, i, &f->armed[0]);
		}
	}
}

/* What is left of the last stop comes first. */
static void go(struct guest *g)
{
	struct fake *f = fake_of(g);

	if (!f->n_queue)
		move_vcpus(g);
	if (f->n_queue)
		make_due(f);
}

static struct err *fake_resume(struct guest *g)
{
	struct fake *f = fake_of(g);

	f->resumes++;
	for (unsigned i = 0; i < live_vcpus(g); i++)
		f->actions[i] = RUN_CONTINUE;
	go(g);
	return NULL;
}

static struct err *fake_run(struct guest *g, const enum run_action *actions)
{
	struct fake *f = fake_of(g);

	f->runs++;
	memcpy(f->actions, actions, live_vcpus(g) * sizeof(*actions));
	go(g);
	return NULL;
}

static struct err *fake_set_breakpoint(struct guest *g, unsigned vcpu, const struct breakpoint *b)
{
	struct fake *f = fake_of(g);
	struct mapping m;

	if (f->refused & 1u << b->kind)
		return err_new(ERR_UNSUPPORTED, "the fake backend has no breakpoints of type %d", b->kind);
	if (b->kind == BREAKPOINT_SOFTWARE) {
		struct err *e = guest_translate(g, vcpu, b->gva, &m);

		if (e)
			return e;
	}
	f->armed = xreallocarray(f->armed, f->n_armed + 1, sizeof(*f->armed));
	f->armed[f->n_armed++] = *b;
	return NULL;
}

static struct err *fake_clear_breakpoint(struct guest *g, const struct breakpoint *b)
{
	struct fake *f = fake_of(g);
	size_t i = 0;

	if (f->refused & 1u << b->kind)
		return err_new(ERR_INVALID, "the fake backend cannot clear this one");
	while (i < f->n_armed && (f->armed[i].kind != b->kind || f->armed[i].gva != b->gva ||
				  f->armed[i].bytes != b->bytes))
		i++;
	assert(i < f->n_armed);
	f->n_armed--;
	memmove(&f->armed[i], &f->armed[i + 1], (f->n_armed - i) * sizeof(*f->armed));
	drop_events(f, is_hit_of, b);
	return NULL;
}

/* ---- memory and registers ---- */

static struct err *fake_read(struct guest *g, const struct mem_block *b, uint64_t gpa, void *ret, size_t bytes,
			     size_t *ret_bytes)
{
	(void)b;
	if (__atomic_load_n(&fake_of(g)->fail_reads, __ATOMIC_RELAXED))
		return err_new(ERR_GONE, "the fake VMM has exited");
	memcpy(ret, fake_at(g, gpa), bytes);
	*ret_bytes = bytes;
	return NULL;
}

static struct err *fake_write(struct guest *g, const struct mem_block *b, uint64_t gpa, const void *from,
			      size_t bytes)
{
	(void)b;
	memcpy(fake_at(g, gpa), from, bytes);
	return NULL;
}

static bool is_zero(const uint8_t *p, size_t bytes)
{
	return !bytes || (!p[0] && !memcmp(p, p + 1, bytes - 1));
}

static struct err *fake_next_data(struct guest *g, const struct mem_block *b, uint64_t gpa, uint64_t *ret_gpa,
				  uint64_t *ret_bytes)
{
	uint64_t last = b->gpa + (b->bytes - 1);

	*ret_gpa = gpa;
	*ret_bytes = last - gpa + 1;
	if (!fake_of(g)->sparse)
		return NULL;
	for (;; gpa = ALIGN_DOWN(gpa, FAKE_PAGE) + FAKE_PAGE) {
		uint64_t page_last = MIN(ALIGN_DOWN(gpa, FAKE_PAGE) + (FAKE_PAGE - 1), last);

		*ret_gpa = gpa;
		*ret_bytes = page_last - gpa + 1;
		if (!is_zero(fake_at(g, gpa), (size_t)*ret_bytes))
			return NULL;
		if (page_last == last)
			break;
	}
	*ret_bytes = 0;
	return NULL;
}

static struct err *fake_read_regs(struct guest *g, unsigned vcpu, struct regs *ret)
{
	regs_copy(ret, fake_of(g)->regs[vcpu]);
	return NULL;
}

static struct err *fake_write_regs(struct guest *g, unsigned vcpu, const struct regs *from, const bool *changed)
{
	for (unsigned r = 0; r < g->arch->n_regs; r++)
		if (changed[r])
			regs_set_bytes(fake_of(g)->regs[vcpu], r, regs_bytes(from, r));
	if (changed[g->arch->pc])
		drop_events(fake_of(g), is_of_vcpu, &vcpu);
	return NULL;
}

static int fake_poll_fd(struct guest *g)
{
	return fake_of(g)->event_fds[0];
}

static struct err *fake_poll(struct guest *g, struct guest_event *ret)
{
	struct fake *f = fake_of(g);

	if (!f->due)
		return NULL;
	take_due(f);
	*ret = f->queue[0];
	f->n_queue--;
	memmove(&f->queue[0], &f->queue[1], f->n_queue * sizeof(*f->queue));
	if (ret->kind == GUEST_EVENT_GONE)
		g->state = GUEST_GONE;
	return NULL;
}

void fake_raise(struct guest *g, const struct guest_event *ev)
{
	add_event(fake_of(g), ev);
	make_due(fake_of(g));
}

static void fake_describe_vcpu(struct guest *g, unsigned vcpu, struct buf *out)
{
	(void)g;
	buf_addf(out, "fake %u", vcpu);
}

static const struct guest_ops fake_ops = {
	.name = "fake",
	.close = fake_close,
	.stop = fake_stop,
	.resume = fake_resume,
	.read_phys = fake_read,
	.read_beside = fake_read,
	.write_phys = fake_write,
	.next_data = fake_next_data,
	.read_regs = fake_read_regs,
	.write_regs = fake_write_regs,
	.run = fake_run,
	.set_breakpoint = fake_set_breakpoint,
	.clear_breakpoint = fake_clear_breakpoint,
	.poll_fd = fake_poll_fd,
	.poll = fake_poll,
	.describe_vcpu = fake_describe_vcpu,
};

static void add_blocks(struct guest *g, const struct mem_block *blocks, size_t n)
{
	struct fake *f = fake_of(g);
	struct mem_block *placed = xcalloc(n, sizeof(*placed));
	uint64_t hva = FAKE_HVA;
	struct err *e;

	f->blocks = xcalloc(n, sizeof(*f->blocks));
	f->n_blocks = n;
	for (size_t i = 0; i < n; i++) {
		placed[i] = blocks[i];
		placed[i].hva = hva;
		hva += ALIGN_UP(blocks[i].bytes, FAKE_PAGE);
		f->blocks[i].block = placed[i];
		f->blocks[i].data = xcalloc(1, blocks[i].bytes);
	}
	e = guest_set_blocks(g, placed, n);
	assert(!e);
	free(placed);
}

struct guest *fake_create(const struct arch *arch, enum byte_order order, unsigned n_vcpus,
			  const struct mem_block *blocks, size_t n_blocks)
{
	struct fake *f = xcalloc(1, sizeof(*f));
	struct guest *g = guest_create(&fake_ops, arch, f);
	int rc = pipe(f->event_fds);

	assert(rc == 0);
	g->order = order;
	g->state = GUEST_STOPPED;
	guest_set_vcpus(g, n_vcpus);
	f->n_vcpus = n_vcpus;
	f->regs = xcalloc(n_vcpus, sizeof(*f->regs));
	f->actions = xcalloc(n_vcpus, sizeof(*f->actions));
	for (unsigned i = 0; i < n_vcpus; i++)
		f->regs[i] = regs_create(arch, order);
	add_blocks(g, blocks, n_blocks);
	return g;
}
