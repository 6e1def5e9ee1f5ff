/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/guest.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "guest/os.h"

struct guest *guest_create(const struct guest_ops *ops, const struct arch *arch, void *priv)
{
	struct guest *g = xcalloc(1, sizeof(*g));

	g->ops = ops;
	g->arch = arch;
	g->priv = priv;
	return g;
}

static void forget_regs(struct guest *g)
{
	for (unsigned i = 0; i < g->n_vcpus; i++) {
		regs_destroy(g->cache[i]);
		g->cache[i] = NULL;
	}
	g->n_translations = 0;
}

void guest_set_vcpus(struct guest *g, unsigned n)
{
	forget_regs(g);
	free(g->cache);
	g->cache = xcalloc(n, sizeof(*g->cache));
	g->n_vcpus = n;
}

static int by_gpa(const void *a, const void *b)
{
	const struct mem_block *x = a, *y = b;

	return (x->gpa > y->gpa) - (x->gpa < y->gpa);
}

/* The last byte; a block may end at 2^64, where its end is 0. */
static uint64_t block_last(const struct mem_block *b)
{
	return b->gpa + (b->bytes - 1);
}

static struct err *check_blocks(const struct mem_block *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!b[i].bytes || block_last(&b[i]) < b[i].gpa)
			return err_new(ERR_INVALID, "memory block at 0x%" PRIx64 " has a wrong length 0x%" PRIx64,
				       b[i].gpa, b[i].bytes);
		if (i && block_last(&b[i - 1]) >= b[i].gpa)
			return err_new(ERR_INVALID, "memory blocks at 0x%" PRIx64 " and 0x%" PRIx64 " overlap",
				       b[i - 1].gpa, b[i].gpa);
	}
	return NULL;
}

struct err *guest_set_blocks(struct guest *g, const struct mem_block *blocks, size_t n)
{
	struct mem_block *own = xcalloc(n, sizeof(*own));
	struct err *e;

	if (n)
		memcpy(own, blocks, n * sizeof(*own));
	qsort(own, n, sizeof(*own), by_gpa);
	e = check_blocks(own, n);
	if (e) {
		free(own);
		return e;
	}
	free(g->blocks);
	g->blocks = own;
	g->n_blocks = n;
	return NULL;
}

void guest_destroy(struct guest *g)
{
	if (!g)
		return;
	if (g->os && g->os->ops->destroy)
		g->os->ops->destroy(g->os);
	g->ops->close(g);
	forget_regs(g);
	free(g->cache);
	free(g->blocks);
	free(g->breakpoints);
	free(g->runs);
	free(g);
}

static struct err *unsupported(const struct guest *g, const char *what)
{
	return err_new(ERR_UNSUPPORTED, "the %s backend cannot %s", g->ops->name, what);
}

static struct err *gone(void)
{
	return err_new(ERR_GONE, "the guest is gone: its VMM has exited");
}

/* Range steps end: what is reported next is the caller's. */
static void end_run(struct guest *g)
{
	free(g->runs);
	g->runs = NULL;
	g->n_runs = 0;
}

static struct err *stop(struct guest *g)
{
	struct err *e;

	if (g->state == GUEST_GONE)
		return gone();
	if (g->state == GUEST_STOPPED)
		return NULL;
	if (!g->ops->stop)
		return unsupported(g, "pause the guest");
	forget_regs(g);
	e = g->ops->stop(g);
	if (e)
		return err_prefix(e, "cannot pause the guest");
	g->state = GUEST_STOPPED;
	g->stops++;
	return NULL;
}

struct err *guest_stop(struct guest *g)
{
	end_run(g);
	return stop(g);
}

static struct err *check_resume(struct guest *g)
{
	if (g->state == GUEST_GONE)
		return gone();
	if (g->holds)
		return err_new(ERR_BUSY, "a dump of this guest is being written; wait for it, or end it with dump-cancel");
	if (!g->ops->resume)
		return unsupported(g, "run the guest");
	return NULL;
}

static struct err *run_vcpus(struct guest *g, const struct vcpu_run *runs)
{
	enum run_action *actions = xcalloc(g->n_vcpus, sizeof(*actions));
	struct err *e;

	for (unsigned i = 0; i < g->n_vcpus; i++)
		actions[i] = runs[i].action;
	e = g->ops->run(g, actions);
	free(actions);
	return e;
}

/* runs NULL: all continue. */
static struct err *start(struct guest *g, const struct vcpu_run *runs)
{
	struct err *e = check_resume(g);

	if (e)
		return e;
	forget_regs(g);
	e = runs ? run_vcpus(g, runs) : g->ops->resume(g);
	if (!e)
		g->state = GUEST_RUNNING;
	return e;
}

struct err *guest_resume(struct guest *g)
{
	struct err *e = NULL;

	/* The end of a step would stop it for nobody. */
	if (g->state == GUEST_RUNNING && g->runs)
		e = guest_stop(g);
	if (e || g->state == GUEST_RUNNING)
		return e;
	end_run(g);
	return start(g, NULL);
}

static struct err *need_stopped(const struct guest *g)
{
	if (g->state == GUEST_GONE)
		return gone();
	if (g->state == GUEST_RUNNING)
		return err_new(ERR_BUSY, "the guest is running; stop it first");
	return NULL;
}

/* The first block that ends above gpa; n_blocks when there is none. */
static size_t block_after(const struct guest *g, uint64_t gpa)
{
	size_t lo = 0, hi = g->n_blocks;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (block_last(&g->blocks[mid]) < gpa)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

const struct mem_block *guest_block_at(const struct guest *g, uint64_t gpa)
{
	size_t i = block_after(g, gpa);

	return i < g->n_blocks && g->blocks[i].gpa <= gpa ? &g->blocks[i] : NULL;
}

/* How many of bytes lie in the block from gpa on. */
static size_t bytes_in_block(const struct mem_block *b, uint64_t gpa, size_t bytes)
{
	uint64_t left = b->bytes - (gpa - b->gpa);

	return left < bytes ? (size_t)left : bytes;
}

static struct err *no_memory_at(uint64_t gpa)
{
	return err_new(ERR_UNMAPPED, "no guest memory at physical address 0x%" PRIx64, gpa);
}

struct err *guest_read_phys(struct guest *g, uint64_t gpa, void *ret, size_t bytes, size_t *ret_bytes)
{
	struct err *e = need_stopped(g);
	size_t done = 0;

	while (!e && done < bytes) {
		const struct mem_block *b = guest_block_at(g, gpa + done);
		size_t want, got = 0;

		if (!b) {
			e = no_memory_at(gpa + done);
			break;
		}
		want = bytes_in_block(b, gpa + done, bytes - done);
		e = g->ops->read_phys(g, b, gpa + done, (char *)ret + done, want, &got);
		done += e ? 0 : got;
		if (e || got < want || gpa + done == 0)
			break;
	}
	if (e && !done)
		return e;
	err_destroy(e);
	*ret_bytes = done;
	return NULL;
}

bool guest_reads_beside(const struct guest *g, uint64_t gpa, uint64_t bytes)
{
	for (uint64_t seen = 0; g->ops->read_beside && seen < bytes;) {
		const struct mem_block *b = guest_block_at(g, gpa + seen);

		if (!b || b->flags & MEM_ONE_THREAD)
			return false;
		seen += bytes_in_block(b, gpa + seen, (size_t)(bytes - seen));
	}
	return g->ops->read_beside;
}

struct err *guest_read_beside(struct guest *g, uint64_t gpa, void *ret, size_t bytes)
{
	for (size_t done = 0; done < bytes;) {
		const struct mem_block *b = guest_block_at(g, gpa + done);
		size_t want = bytes_in_block(b, gpa + done, bytes - done), got = 0;
		struct err *e = g->ops->read_beside(g, b, gpa + done, (char *)ret + done, want, &got);

		if (e)
			return e;
		if (!got)
			return no_memory_at(gpa + done);
		done += got;
	}
	return NULL;
}

struct err *guest_check_held(struct guest *g)
{
	return g->ops->check_held ? g->ops->check_held(g) : NULL;
}

static struct err *write_blocks(struct guest *g, uint64_t gpa, const void *from, size_t bytes)
{
	for (size_t done = 0; done < bytes;) {
		const struct mem_block *b = guest_block_at(g, gpa + done);
		size_t n = bytes_in_block(b, gpa + done, bytes - done);
		struct err *e = g->ops->write_phys(g, b, gpa + done, (const char *)from + done, n);

		if (e)
			return e;
		done += n;
	}
	return NULL;
}

/* Every byte of the range lies in a block. */
static struct err *check_covered(const struct guest *g, uint64_t gpa, size_t bytes)
{
	for (size_t seen = 0; seen < bytes;) {
		const struct mem_block *b = guest_block_at(g, gpa + seen);

		if (!b || gpa + seen < gpa)
			return no_memory_at(gpa + seen);
		seen += bytes_in_block(b, gpa + seen, bytes - seen);
	}
	return NULL;
}

struct err *guest_write_phys(struct guest *g, uint64_t gpa, const void *from, size_t bytes)
{
	struct err *e = need_stopped(g);

	if (!e && !g->ops->write_phys)
		e = unsupported(g, "write guest memory");
	if (!e)
		e = check_covered(g, gpa, bytes);
	if (e)
		return e;
	g->n_translations = 0;
	return write_blocks(g, gpa, from, bytes);
}

static struct err *read_all(void *ctx, uint64_t gpa, void *ret, size_t bytes)
{
	size_t got = 0;
	struct err *e = guest_read_phys(ctx, gpa, ret, bytes, &got);

	if (!e && got < bytes)
		e = no_memory_at(gpa + got);
	return e;
}

struct phys_reader guest_phys_reader(struct guest *g)
{
	return (struct phys_reader){ read_all, g };
}

static const struct mapping *find_translation(const struct guest *g, unsigned vcpu, uint64_t gva)
{
	for (size_t i = 0; i < MIN(g->n_translations, MAX_TRANSLATIONS); i++) {
		const struct translation *t = &g->translations[i];

		/* No bytes stand for 2^64. */
		if (t->vcpu == vcpu && gva - t->mapping.gva <= t->mapping.bytes - 1)
			return &t->mapping;
	}
	return NULL;
}

struct err *guest_translate(struct guest *g, unsigned vcpu, uint64_t gva, struct mapping *ret)
{
	struct phys_reader mem = guest_phys_reader(g);
	const struct regs *regs;
	const struct mapping *known;
	struct err *e = guest_regs(g, vcpu, &regs);

	if (e)
		return e;
	known = find_translation(g, vcpu, gva);
	if (known) {
		*ret = *known;
		return NULL;
	}
	e = g->arch->translate(regs, &mem, gva, ret);
	if (!e)
		g->translations[g->n_translations++ % MAX_TRANSLATIONS] = (struct translation){ vcpu, *ret };
	return e;
}

/* The run of bytes from gva to its page's end, as physical memory. */
static struct err *virt_run(struct guest *g, unsigned vcpu, uint64_t gva, size_t bytes, uint64_t *ret_gpa,
			    size_t *ret_bytes)
{
	struct mapping m;
	struct err *e = guest_translate(g, vcpu, gva, &m);
	uint64_t left;

	if (e)
		return e;
	/* 0 stands for 2^64, of which no caller wants all. */
	left = m.bytes - (gva - m.gva) - 1;
	*ret_gpa = m.gpa + (gva - m.gva);
	*ret_bytes = left < bytes ? (size_t)left + 1 : bytes;
	return NULL;
}

struct err *guest_read_virt(struct guest *g, unsigned vcpu, uint64_t gva, void *ret, size_t bytes,
			    size_t *ret_bytes)
{
	struct err *e = NULL;
	size_t done = 0;

	while (done < bytes) {
		uint64_t gpa;
		size_t want, got = 0;

		e = virt_run(g, vcpu, gva + done, bytes - done, &gpa, &want);
		if (!e)
			e = guest_read_phys(g, gpa, (char *)ret + done, want, &got);
		done += got;
		if (e || got < want || gva + done == 0)
			break;
	}
	if (e && !done)
		return e;
	err_destroy(e);
	*ret_bytes = done;
	return NULL;
}

/* One pass over the pages: checks them (write false) or writes them. */
static struct err *write_virt_pass(struct guest *g, unsigned vcpu, uint64_t gva, const char *from,
				   size_t bytes, bool write)
{
	for (size_t done = 0; done < bytes;) {
		uint64_t gpa;
		size_t n;
		struct err *e = virt_run(g, vcpu, gva + done, bytes - done, &gpa, &n);

		if (!e)
			e = write ? guest_write_phys(g, gpa, from + done, n) : check_covered(g, gpa, n);
		if (e)
			return e;
		done += n;
	}
	return NULL;
}

struct err *guest_write_virt(struct guest *g, unsigned vcpu, uint64_t gva, const void *from, size_t bytes)
{
	struct err *e;

	if (bytes && gva + (bytes - 1) < gva)
		return err_new(ERR_INVALID, "0x%zx bytes at 0x%" PRIx64 " pass the end of the address space",
			       bytes, gva);
	e = write_virt_pass(g, vcpu, gva, from, bytes, false);
	return e ? e : write_virt_pass(g, vcpu, gva, from, bytes, true);
}

static struct err *next_in_block(struct guest *g, const struct mem_block *b, uint64_t gpa, uint64_t *ret_gpa,
				 uint64_t *ret_bytes)
{
	if (g->ops->next_data)
		return g->ops->next_data(g, b, gpa, ret_gpa, ret_bytes);
	*ret_gpa = gpa;
	*ret_bytes = b->bytes - (gpa - b->gpa);
	return NULL;
}

struct err *guest_next_data(struct guest *g, uint64_t gpa, uint64_t end, uint64_t *ret_gpa, uint64_t *ret_bytes)
{
	struct err *e = need_stopped(g);

	if (e)
		return e;
	for (size_t i = block_after(g, gpa); i < g->n_blocks; i++) {
		const struct mem_block *b = &g->blocks[i];
		uint64_t at = MAX(gpa, b->gpa), bytes = 0;

		if (end && at >= end)
			break;
		e = next_in_block(g, b, at, &at, &bytes);
		if (e)
			return e;
		if (!bytes || (end && at >= end))
			continue;
		*ret_gpa = at;
		*ret_bytes = end ? MIN(bytes, end - at) : bytes;
		return NULL;
	}
	*ret_gpa = end;
	*ret_bytes = 0;
	return NULL;
}

static struct err *add_touched(struct guest *g, const struct mem_block *b, uint64_t *total)
{
	for (uint64_t at = b->gpa, bytes = 1; bytes && at - b->gpa < b->bytes; at += bytes) {
		struct err *e = g->ops->next_data(g, b, at, &at, &bytes);

		if (e)
			return e;
		*total += bytes;
	}
	return NULL;
}

uint64_t guest_touched_bytes(struct guest *g)
{
	uint64_t total = 0;
	struct err *e = NULL;

	for (size_t i = 0; g->ops->next_data && !e && i < g->n_blocks; i++)
		e = add_touched(g, &g->blocks[i], &total);
	if (e)
		total = 0;
	err_destroy(e);
	return total;
}

static struct err *check_vcpu(const struct guest *g, unsigned vcpu)
{
	struct err *e = need_stopped(g);

	if (!e && vcpu >= g->n_vcpus)
		e = err_new(ERR_INVALID, "there is no vCPU %u; the guest has %u", vcpu, g->n_vcpus);
	return e;
}

struct err *guest_regs(struct guest *g, unsigned vcpu, const struct regs **ret)
{
	struct err *e = check_vcpu(g, vcpu);
	struct regs *regs;

	if (e)
		return e;
	if (!g->cache[vcpu]) {
		regs = regs_create(g->arch, g->order);
		e = g->ops->read_regs(g, vcpu, regs);
		if (e) {
			regs_destroy(regs);
			return err_prefix(e, "cannot read the registers of vCPU %u", vcpu);
		}
		os_enrich_regs(g, regs);
		g->cache[vcpu] = regs;
	}
	*ret = g->cache[vcpu];
	return NULL;
}

struct err *guest_snapshot(struct guest *g, struct guest **ret)
{
	if (!g->ops->snapshot)
		return unsupported(g, "take a snapshot of guest memory");
	return g->ops->snapshot(g, ret);
}

void guest_prepare_snapshot(struct guest *g)
{
	if (g->ops->prepare_snapshot)
		g->ops->prepare_snapshot(g);
}

struct err *guest_write_regs(struct guest *g, unsigned vcpu, const struct regs *from, const bool *changed)
{
	struct err *e = check_vcpu(g, vcpu);

	if (e)
		return e;
	if (!g->ops->write_regs)
		return unsupported(g, "write registers");
	e = g->ops->write_regs(g, vcpu, from, changed);
	g->n_translations = 0;
	regs_destroy(g->cache[vcpu]);
	g->cache[vcpu] = NULL;
	return err_prefix(e, "cannot write the registers of vCPU %u", vcpu);
}

struct err *guest_write_reg(struct guest *g, unsigned vcpu, unsigned reg, const void *bytes)
{
	const struct regs *now;
	struct err *e = guest_regs(g, vcpu, &now);
	bool *changed;
	struct regs *regs;

	if (e)
		return e;
	assert(reg < g->arch->n_regs);
	regs = regs_dup(now);
	regs_set_bytes(regs, reg, bytes);
	changed = xcalloc(g->arch->n_regs, sizeof(*changed));
	changed[reg] = true;
	e = guest_write_regs(g, vcpu, regs, changed);
	free(changed);
	regs_destroy(regs);
	return e;
}

/* ---- run control ---- */

static bool all_continue(const struct guest *g, const struct vcpu_run *runs)
{
	for (unsigned i = 0; i < g->n_vcpus; i++)
		if (runs[i].action != RUN_CONTINUE)
			return false;
	return true;
}

struct err *guest_run(struct guest *g, const struct vcpu_run *runs)
{
	struct err *e;

	if (all_continue(g, runs))
		return guest_resume(g);
	e = need_stopped(g);
	if (e)
		return e;
	if (!g->ops->run)
		return unsupported(g, "step a vCPU, or let one run alone");
	end_run(g);
	e = start(g, runs);
	if (e)
		return e;
	g->n_runs = g->n_vcpus;
	g->runs = xcalloc(g->n_runs, sizeof(*g->runs));
	memcpy(g->runs, runs, g->n_runs * sizeof(*g->runs));
	return NULL;
}

static size_t find_breakpoint(const struct guest *g, const struct breakpoint *b)
{
	size_t i;

	for (i = 0; i < g->n_breakpoints; i++) {
		const struct breakpoint *x = &g->breakpoints[i];

		if (x->kind == b->kind && x->gva == b->gva && x->bytes == b->bytes)
			break;
	}
	return i;
}

struct err *guest_set_breakpoint(struct guest *g, unsigned vcpu, const struct breakpoint *b)
{
	struct err *e = check_vcpu(g, vcpu);

	if (e)
		return e;
	if (!g->ops->set_breakpoint)
		return unsupported(g, "set breakpoints");
	if (find_breakpoint(g, b) < g->n_breakpoints)
		return NULL;
	e = g->ops->set_breakpoint(g, vcpu, b);
	if (e)
		return e;
	g->breakpoints = xreallocarray(g->breakpoints, g->n_breakpoints + 1, sizeof(*g->breakpoints));
	g->breakpoints[g->n_breakpoints++] = *b;
	return NULL;
}

struct err *guest_clear_breakpoint(struct guest *g, const struct breakpoint *b)
{
	size_t i = find_breakpoint(g, b);
	struct err *e = need_stopped(g);

	if (e)
		return e;
	if (!g->ops->clear_breakpoint)
		return unsupported(g, "clear breakpoints");
	if (i == g->n_breakpoints)
		return NULL;
	e = g->ops->clear_breakpoint(g, b);
	if (!e)
		g->breakpoints[i] = g->breakpoints[--g->n_breakpoints];
	return e;
}

struct err *guest_clear_breakpoints(struct guest *g)
{
	struct err *first;

	if (g->state == GUEST_GONE)
		g->n_breakpoints = 0;
	first = g->n_breakpoints ? guest_stop(g) : NULL;
	if (first)
		return first;
	for (size_t i = g->n_breakpoints; i-- > 0;) {
		struct breakpoint b = g->breakpoints[i];
		struct err *e = guest_clear_breakpoint(g, &b);

		if (first)
			err_destroy(e);
		else
			first = e;
	}
	return first;
}

int guest_poll_fd(struct guest *g)
{
	return g->ops->poll_fd ? g->ops->poll_fd(g) : -1;
}

/* The backend passes over one where a vCPU starts: a range step must not start there again. */
static bool has_breakpoint_at(const struct guest *g, uint64_t gva)
{
	for (size_t i = 0; i < g->n_breakpoints; i++) {
		const struct breakpoint *b = &g->breakpoints[i];

		if (b->gva == gva && breakpoint_executes(b->kind))
			return true;
	}
	return false;
}

static bool is_range_step(const struct guest *g, const struct guest_event *ev)
{
	const struct vcpu_run *run;

	if (ev->kind != GUEST_EVENT_STOPPED || ev->cause != STOP_STEP || ev->vcpu >= g->n_runs)
		return false;
	run = &g->runs[ev->vcpu];
	return run->action == RUN_STEP && run->range_start < run->range_end;
}

/* After a step: does the range go on where the vCPU stands? */
static struct err *check_range(struct guest *g, unsigned vcpu, bool *ret)
{
	const struct vcpu_run *run = &g->runs[vcpu];
	const struct regs *regs;
	uint64_t pc;
	struct err *e = stop(g);

	/* vCPUs that came meanwhile have no action. */
	if (e || g->n_vcpus != g->n_runs)
		return e;
	e = guest_regs(g, vcpu, &regs);
	if (e)
		return e;
	*ret = regs_get(regs, g->arch->pc, &pc) && pc >= run->range_start && pc < run->range_end &&
	       !has_breakpoint_at(g, pc);
	return NULL;
}

struct err *guest_poll(struct guest *g, struct guest_event *ret)
{
	bool again = false;
	struct err *e;

	*ret = (struct guest_event){ .kind = GUEST_EVENT_NONE };
	e = g->ops->poll ? g->ops->poll(g, ret) : NULL;
	if (e || !is_range_step(g, ret))
		return e;
	e = check_range(g, ret->vcpu, &again);
	if (e || !again)
		return e;
	e = start(g, g->runs);
	/* What keeps it from going on is said to whoever lets it run next; this step has ended. */
	if (!e)
		ret->kind = GUEST_EVENT_NONE;
	err_destroy(e);
	return NULL;
}

bool guest_panicked(struct guest *g)
{
	return g->ops->panicked && g->ops->panicked(g);
}

void guest_describe_vcpu(struct guest *g, unsigned vcpu, struct buf *out)
{
	if (g->ops->describe_vcpu)
		g->ops->describe_vcpu(g, vcpu, out);
}
