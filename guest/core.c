/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/core.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "guest/backends.h"

/* The run that holds gpa, which a block holds, too. */
static const struct core_run *run_at(const struct core *c, uint64_t gpa)
{
	size_t lo = 0, hi = c->n_runs;

	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (c->runs[mid].gpa <= gpa)
			lo = mid;
		else
			hi = mid;
	}
	assert(lo < c->n_runs && gpa - c->runs[lo].gpa < c->runs[lo].bytes);
	return &c->runs[lo];
}

struct err *core_read_run(const struct core *c, const struct core_run *r, uint64_t gpa, void *ret, size_t bytes)
{
	if (r->in_file)
		return core_pread(c, r->offset + (gpa - r->gpa), ret, bytes);
	memset(ret, 0, bytes);
	return NULL;
}

static struct err *core_read_phys(struct guest *g, const struct mem_block *b, uint64_t gpa, void *ret,
				  size_t bytes, size_t *ret_bytes)
{
	const struct core *c = g->priv;

	(void)b;
	*ret_bytes = 0;
	while (*ret_bytes < bytes) {
		uint64_t at = gpa + *ret_bytes;
		const struct core_run *r = run_at(c, at);
		size_t n = (size_t)MIN(bytes - *ret_bytes, r->bytes - (at - r->gpa));
		struct err *e = core_read_run(c, r, at, (char *)ret + *ret_bytes, n);

		if (e)
			return e;
		*ret_bytes += n;
	}
	return NULL;
}

/*
 * The next data in the file at or behind the offset, below end; false when
 * there is only a hole. A file system that knows no holes has data everywhere.
 */
static bool seek_data(int fd, uint64_t offset, uint64_t end, uint64_t *ret, uint64_t *ret_bytes)
{
	off_t data = lseek(fd, (off_t)offset, SEEK_DATA), hole;

	if (data < 0 && errno == ENXIO)
		return false;
	if (data < 0)
		data = (off_t)offset;
	if ((uint64_t)data >= end)
		return false;
	hole = lseek(fd, data, SEEK_HOLE);
	*ret = (uint64_t)data;
	*ret_bytes = (hole > data ? MIN((uint64_t)hole, end) : end) - (uint64_t)data;
	return true;
}

static struct err *core_next_data(struct guest *g, const struct mem_block *b, uint64_t gpa, uint64_t *ret_gpa,
				  uint64_t *ret_bytes)
{
	const struct core *c = g->priv;
	const struct core_run *r = run_at(c, gpa), *end = c->runs + c->n_runs;
	uint64_t last = b->gpa + (b->bytes - 1);

	*ret_bytes = 0;
	for (; r < end && r->gpa <= last; r++) {
		uint64_t skip = MAX(gpa, r->gpa) - r->gpa, at;

		if (!r->in_file || !seek_data(c->fd, r->offset + skip, r->offset + r->bytes, &at, ret_bytes))
			continue;
		*ret_gpa = r->gpa + (at - r->offset);
		break;
	}
	return NULL;
}

#define MAX_PID (1u << 22) /* Linux's PID_MAX_LIMIT */

static struct err *core_read_regs(struct guest *g, unsigned vcpu, struct regs *ret)
{
	const struct core *c = g->priv;

	regs_copy(ret, c->vcpus[vcpu].regs);
	return NULL;
}

/* QEMU writes those of s390x in the order of its host; others are made up. */
static bool core_vcpu_pid(struct guest *g, unsigned vcpu, uint32_t *ret)
{
	const struct core *c = g->priv;

	*ret = c->vcpus[vcpu].pid;
	return *ret <= MAX_PID;
}

static const char *core_vmcoreinfo(struct guest *g, size_t *ret_bytes)
{
	const struct core *c = g->priv;

	*ret_bytes = c->vmcoreinfo_bytes;
	return c->vmcoreinfo;
}

static void core_describe(struct guest *g, struct buf *out)
{
	const struct core *c = g->priv;

	buf_addf(out, "core %s: %zu runs of memory, %" PRIu64 " bytes of file\n", c->path, c->n_runs,
		 c->file_bytes);
}

static void core_destroy(struct core *c)
{
	for (unsigned i = 0; i < c->n_vcpus; i++)
		regs_destroy(c->vcpus[i].regs);
	if (c->fd >= 0)
		close(c->fd);
	free(c->vcpus);
	free(c->group_vcpus);
	free(c->runs);
	free(c->vmcoreinfo);
	free(c->path);
	free(c);
}

static void core_close(struct guest *g)
{
	core_destroy(g->priv);
}

static const struct guest_ops core_ops = {
	.name = "core",
	.close = core_close,
	.read_phys = core_read_phys,
	.read_beside = core_read_phys, /* of a file, at offsets */
	.next_data = core_next_data,
	.read_regs = core_read_regs,
	.vcpu_pid = core_vcpu_pid,
	.vmcoreinfo = core_vmcoreinfo,
	.describe = core_describe,
};

struct err *core_pread(const struct core *c, uint64_t offset, void *ret, size_t bytes)
{
	for (size_t done = 0; done < bytes;) {
		ssize_t n = pread(c->fd, (char *)ret + done, bytes - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(errno, "%s: cannot read at offset %" PRIu64, c->path, offset + done);
		if (!n)
			return err_new(ERR_GONE, "%s: ends at offset %" PRIu64 "; it has become shorter", c->path,
				       offset + done);
		done += (size_t)n;
	}
	return NULL;
}

/* Runs that adjoin make one block, wherever the file has them. */
static struct err *set_blocks(struct guest *g, const struct core *c)
{
	struct mem_block *blocks = xcalloc(c->n_runs, sizeof(*blocks));
	struct err *e;
	size_t n = 0;

	for (size_t i = 0; i < c->n_runs; i++) {
		const struct core_run *r = &c->runs[i];

		if (n && blocks[n - 1].gpa + blocks[n - 1].bytes == r->gpa)
			blocks[n - 1].bytes += r->bytes;
		else
			blocks[n++] = (struct mem_block){ .gpa = r->gpa, .bytes = r->bytes };
	}
	e = guest_set_blocks(g, blocks, n);
	free(blocks);
	return err_prefix(e, "%s is corrupt", c->path);
}

static struct regs *swapped(const struct regs *from, enum byte_order order)
{
	struct regs *regs = regs_create(from->arch, order);

	for (unsigned r = 0; r < from->arch->n_regs; r++) {
		const uint8_t *bytes = regs_bytes(from, r);
		size_t n = reg_bytes(from->arch, r);
		uint8_t reversed[ARCH_MAX_REG_BYTES];

		for (size_t i = 0; bytes && i < n; i++)
			reversed[i] = bytes[n - 1 - i];
		if (bytes)
			regs_set_bytes(regs, r, reversed);
	}
	return regs;
}

static void swap_vcpus(struct core *c)
{
	for (unsigned i = 0; i < c->n_vcpus; i++) {
		struct regs *regs = swapped(c->vcpus[i].regs, ORDER_LITTLE);

		regs_destroy(c->vcpus[i].regs);
		c->vcpus[i].regs = regs;
	}
	c->order = ORDER_LITTLE;
}

/*
 * QEMU has written big-endian cores of little-endian guests (ppc64). A vCPU of
 * such a guest may be in big-endian firmware; the contrary does not happen.
 */
static struct err *find_order(struct core *c)
{
	bool is_little = false;

	for (unsigned i = 0; i < c->n_vcpus; i++)
		is_little |= c->arch->order(c->vcpus[i].regs) == ORDER_LITTLE;
	if (!c->arch->lldb_triple_big && is_little != (c->order == ORDER_LITTLE))
		return err_new(ERR_INVALID, "%s is corrupt: its byte order is not that of %s", c->path,
			       c->arch->name);
	if (is_little && c->order == ORDER_BIG)
		swap_vcpus(c);
	return NULL;
}

static struct err *open_guest(struct core *c, struct guest **ret)
{
	struct guest *g = guest_create(&core_ops, c->arch, c);
	struct err *e = find_order(c);

	g->order = c->order;
	g->state = GUEST_STOPPED;
	g->was_paused = true;
	guest_set_vcpus(g, c->n_vcpus);
	if (!e)
		e = set_blocks(g, c);
	if (e)
		guest_destroy(g);
	else
		*ret = g;
	return e;
}

struct err *guest_open_core(const char *path, struct guest **ret)
{
	struct core *c = xcalloc(1, sizeof(*c));
	struct err *e;

	c->path = xstrdup(path);
	c->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	e = c->fd < 0 ? err_sys(errno, "cannot open the core %s", path) : core_parse(c);
	if (e) {
		core_destroy(c);
		return e;
	}
	return open_guest(c, ret);
}
