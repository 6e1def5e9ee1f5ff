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

/* What is left of a segment of notes. */
struct notes {
	const uint8_t *data;
	size_t bytes, at;
	unsigned align;
};

static bool take(struct notes *s, size_t bytes, const void **ret)
{
	if (bytes > s->bytes - s->at)
		return false;
	*ret = s->data + s->at;
	s->at += bytes;
	return true;
}

/* Offsets in the segment are aligned, not lengths; the last note may lack its padding. */
static void skip_padding(struct notes *s)
{
	s->at = MIN(ALIGN_UP(s->at, (size_t)s->align), s->bytes);
}

static bool take_header(const struct core *c, struct notes *s, struct note *ret)
{
	const void *bytes;
	Elf64_Nhdr h; /* of both classes */

	if (!take(s, sizeof(h), &bytes))
		return false;
	memcpy(&h, bytes, sizeof(h));
	ret->name_bytes = (uint32_t)load_uint(&h.n_namesz, sizeof(h.n_namesz), c->order);
	ret->desc_bytes = (uint32_t)load_uint(&h.n_descsz, sizeof(h.n_descsz), c->order);
	ret->type = (uint32_t)load_uint(&h.n_type, sizeof(h.n_type), c->order);
	return true;
}

static bool take_body(struct notes *s, struct note *n)
{
	const void *name, *desc;

	if (!take(s, n->name_bytes, &name))
		return false;
	skip_padding(s);
	if (!take(s, n->desc_bytes, &desc))
		return false;
	skip_padding(s);
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

/* The two owners that the kernel uses share one set of types: QEMU has written all those of ppc64 as CORE's. */
static bool is_of(const struct note *n, const struct note_desc *d)
{
	return has_owner(n, d->owner) || (!strcmp(d->owner, "LINUX") && has_owner(n, "CORE"));
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
	return d->type == n->type && d->bytes <= n->desc_bytes && is_of(n, d);
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
	struct notes s = { data, bytes, 0, align };
	struct err *e = NULL;
	struct note n;

	while (!e && take_header(c, &s, &n)) {
		if (!take_body(&s, &n))
			return err_new(ERR_INVALID, "%s is corrupt: one of its notes is cut off", c->path);
		if (n.type == 0 && has_owner(&n, "VMCOREINFO"))
			keep_vmcoreinfo(c, &n);
		else
			e = parse_vcpu_note(c, &n);
	}
	return e;
}
