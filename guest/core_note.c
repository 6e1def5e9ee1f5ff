/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "guest/core.h"

/* Linux has at most 8192 CPUs, KVM at most 4096. */
#define MAX_VCPUS 8192u

/* One note; name and desc are borrowed. */
struct note {
	const char *name;
	uint32_t name_bytes;
	uint32_t type;
	const uint8_t *desc;
	uint32_t desc_bytes;
};

/* Takes bytes and the padding behind them; the last note may lack that. */
static bool take_padded(const uint8_t **at, size_t *left, size_t bytes, unsigned align, const void **ret)
{
	size_t padded;

	if (bytes > *left)
		return false;
	padded = MIN(ALIGN_UP(bytes, (size_t)align), *left);
	*ret = *at;
	*at += padded;
	*left -= padded;
	return true;
}

static bool take_header(const struct core *c, const uint8_t **at, size_t *left, struct note *ret)
{
	const void *bytes;
	Elf64_Nhdr h; /* of both classes */

	if (!take_padded(at, left, sizeof(h), 1, &bytes))
		return false;
	memcpy(&h, bytes, sizeof(h));
	ret->name_bytes = (uint32_t)load_uint(&h.n_namesz, sizeof(h.n_namesz), c->order);
	ret->desc_bytes = (uint32_t)load_uint(&h.n_descsz, sizeof(h.n_descsz), c->order);
	ret->type = (uint32_t)load_uint(&h.n_type, sizeof(h.n_type), c->order);
	return true;
}

static bool take_body(const uint8_t **at, size_t *left, unsigned align, struct note *n)
{
	const void *name, *desc;

	if (!take_padded(at, left, n->name_bytes, align, &name) ||
	    !take_padded(at, left, n->desc_bytes, align, &desc))
		return false;
	n->name = name;
	n->desc = desc;
	return true;
}

/* Writers differ in whether the size of a name counts its NUL. */
static bool has_owner(const struct note *n, const char *owner)
{
	size_t bytes = strlen(owner);

	return (n->name_bytes == bytes || (n->name_bytes == bytes + 1 && !n->name[bytes])) &&
	       !memcmp(n->name, owner, bytes);
}

static void keep_vmcoreinfo(struct core *c, const struct note *n)
{
	if (c->vmcoreinfo || !n->desc_bytes)
		return;
	c->vmcoreinfo_bytes = n->desc_bytes;
	c->vmcoreinfo = xmalloc(n->desc_bytes);
	memcpy(c->vmcoreinfo, n->desc, n->desc_bytes);
}

static struct err *add_vcpu(struct core *c)
{
	if (c->n_vcpus == MAX_VCPUS)
		return err_new(ERR_INVALID, "%s is corrupt: it has more than %u vCPUs", c->path, MAX_VCPUS);
	c->vcpus = xreallocarray(c->vcpus, c->n_vcpus + 1, sizeof(*c->vcpus));
	c->vcpus[c->n_vcpus++] = (struct core_vcpu){ .regs = regs_create(c->arch, c->order) };
	return NULL;
}

static bool is_note(const struct note *n, const struct note_desc *d)
{
	return d->type == n->type && d->bytes <= n->desc_bytes && has_owner(n, d->owner);
}

/* The group that a note is of; false when it is of none. */
static bool find_desc(const struct note_set *set, const struct note *n, size_t *ret_group, size_t *ret_note)
{
	for (size_t g = 0; g < set->n_groups; g++)
		for (size_t k = 0; k < set->groups[g].n_notes; k++)
			if (is_note(n, set->groups[g].notes[k])) {
				*ret_group = g;
				*ret_note = k;
				return true;
			}
	return false;
}

/*
 * The notes of a group come vCPU by vCPU and its first one always does, so
 * that one begins the next vCPU and the others belong to the latest. The first
 * group has the PRSTATUS, which alone says that there is a vCPU.
 */
static struct err *parse_vcpu_note(struct core *c, const struct note *n)
{
	const struct note_set *set = arch_notes(c->arch, c->machine);
	struct core_vcpu *v;
	size_t group, k;
	struct err *e;

	if (!find_desc(set, n, &group, &k))
		return NULL;
	c->group_vcpus[group] += k == 0;
	if (group == 0 && k == 0) {
		e = add_vcpu(c);
		if (e)
			return e;
	}
	if (!c->group_vcpus[group] || c->group_vcpus[group] > c->n_vcpus)
		return NULL;
	v = &c->vcpus[c->group_vcpus[group] - 1];
	note_parse(set->groups[group].notes[k], n->desc, v->regs, &v->pid);
	return NULL;
}

struct err *core_parse_notes(struct core *c, const void *data, size_t bytes, unsigned align)
{
	const uint8_t *at = data;
	struct err *e = NULL;
	struct note n;

	while (!e && take_header(c, &at, &bytes, &n)) {
		if (!take_body(&at, &bytes, align, &n))
			return err_new(ERR_INVALID, "%s is corrupt: one of its notes is cut off", c->path);
		if (n.type == 0 && has_owner(&n, "VMCOREINFO"))
			keep_vmcoreinfo(c, &n);
		else
			e = parse_vcpu_note(c, &n);
	}
	return e;
}
