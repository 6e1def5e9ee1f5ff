/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/fake.h"

#include <assert.h>
#include <errno.h>
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
	free(f);
}

static struct err *fake_stop(struct guest *g)
{
	fake_of(g)->stops++;
	return NULL;
}

static struct err *fake_resume(struct guest *g)
{
	fake_of(g)->resumes++;
	return NULL;
}

static struct err *fake_read(struct guest *g, const struct mem_block *b, uint64_t gpa, void *ret, size_t bytes,
			     size_t *ret_bytes)
{
	(void)b;
	if (fake_of(g)->fail_reads)
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
	return NULL;
}

static int fake_poll_fd(struct guest *g)
{
	return fake_of(g)->event_fds[0];
}

static struct err *fake_poll(struct guest *g, struct guest_event *ret)
{
	struct fake *f = fake_of(g);
	char c;

	if (f->pending.kind == GUEST_EVENT_NONE)
		return NULL;
	if (read(f->event_fds[0], &c, 1) != 1)
		return err_sys(errno, "cannot take the event");
	*ret = f->pending;
	f->pending.kind = GUEST_EVENT_NONE;
	if (ret->kind == GUEST_EVENT_GONE)
		g->state = GUEST_GONE;
	return NULL;
}

void fake_raise(struct guest *g, const struct guest_event *ev)
{
	struct fake *f = fake_of(g);
	ssize_t n = write(f->event_fds[1], "", 1);

	assert(n == 1);
	f->pending = *ev;
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
	.write_phys = fake_write,
	.next_data = fake_next_data,
	.read_regs = fake_read_regs,
	.write_regs = fake_write_regs,
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
	for (unsigned i = 0; i < n_vcpus; i++)
		f->regs[i] = regs_create(arch, order);
	add_blocks(g, blocks, n_blocks);
	return g;
}
