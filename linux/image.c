/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "linux/image.h"

#include <inttypes.h>

#include "base/alloc.h"

bool linux_translate(struct guest *g, const struct regs *regs, uint64_t gva, struct mapping *ret)
{
	struct phys_reader mem = guest_phys_reader(g);
	struct err *e = g->arch->translate(regs, &mem, gva, ret);

	err_destroy(e);
	return !e;
}

struct err *linux_read(struct guest *g, const struct regs *regs, uint64_t gva, void *ret, size_t bytes)
{
	struct phys_reader mem = guest_phys_reader(g);
	uint8_t *to = ret;

	while (bytes) {
		struct mapping m;
		struct err *e = g->arch->translate(regs, &mem, gva, &m);
		size_t n = e ? 0 : (size_t)MIN((uint64_t)bytes - 1, m.bytes - 1 - (gva - m.gva)) + 1;

		if (!e)
			e = mem.read(mem.ctx, m.gpa + (gva - m.gva), to, n);
		if (e)
			return err_prefix(e, "0x%" PRIx64, gva);
		gva += n;
		to += n;
		bytes -= n;
	}
	return NULL;
}

struct err *linux_read_uint(struct guest *g, const struct regs *regs, uint64_t gva, size_t bytes, uint64_t *ret)
{
	uint8_t value[sizeof(*ret)];
	struct err *e = linux_read(g, regs, gva, value, bytes);

	if (!e)
		*ret = load_uint(value, bytes, g->order);
	return e;
}

bool linux_read_phys(struct guest *g, uint64_t gpa, size_t bytes, uint64_t *ret)
{
	struct phys_reader mem = guest_phys_reader(g);
	uint8_t value[sizeof(*ret)];
	struct err *e = mem.read(mem.ctx, gpa, value, bytes);

	if (!e)
		*ret = load_uint(value, bytes, g->order);
	err_destroy(e);
	return !e;
}

bool linux_any_vcpu(struct guest *g, bool (*fn)(struct guest *g, const struct regs *vcpu, struct linux_image *ret),
		    struct linux_image *ret)
{
	for (unsigned i = 0; i < g->n_vcpus; i++) {
		const struct regs *regs;
		struct err *e = guest_regs(g, i, &regs);

		if (!e && fn(g, regs, ret))
			return true;
		err_destroy(e);
	}
	return false;
}

void pieces_add(struct pieces *p, const struct mapping *m)
{
	if (p->n == p->cap) {
		p->cap = p->cap ? 2 * p->cap : 64;
		p->v = xreallocarray(p->v, p->cap, sizeof(*p->v));
	}
	p->v[p->n++] = *m;
}
