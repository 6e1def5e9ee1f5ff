/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <gelf.h>
#include <string.h>

#include "dump/plan.h"

#define NOTE_ALIGN 4u

static void pad(struct buf *b)
{
	size_t bytes = ALIGN_UP(b->len, (size_t)NOTE_ALIGN) - b->len;

	memset(buf_extend(b, bytes), 0, bytes);
}

/* Header and owner; returns room for the descriptor, padded, valid until b changes. */
static void *add_note(struct buf *b, enum byte_order order, const char *owner, uint32_t type, size_t bytes)
{
	size_t name_bytes = strlen(owner) + 1, at;
	GElf_Nhdr nhdr;

	store_uint(&nhdr.n_namesz, sizeof(nhdr.n_namesz), order, name_bytes);
	store_uint(&nhdr.n_descsz, sizeof(nhdr.n_descsz), order, bytes);
	store_uint(&nhdr.n_type, sizeof(nhdr.n_type), order, type);
	buf_add(b, &nhdr, sizeof(nhdr));
	buf_add(b, owner, name_bytes);
	pad(b);
	at = b->len;
	buf_extend(b, bytes);
	pad(b);
	return b->data + at;
}

static void add_vcpu_note(const struct guest_image *img, unsigned vcpu, const struct note_desc *d,
			  struct buf *b)
{
	const struct regs *regs = img->vcpus[vcpu];

	if (d->needs_reg >= 0 && !regs_bytes(regs, (unsigned)d->needs_reg))
		return;
	note_fill(d, regs, img->pids[vcpu], add_note(b, img->order, d->owner, d->type, d->bytes));
}

void dump_notes_build(const struct guest_image *img, uint16_t machine, struct buf *ret)
{
	const struct note_set *set = arch_notes(img->arch, machine);

	for (size_t g = 0; g < set->n_groups; g++)
		for (unsigned i = 0; i < img->n_vcpus; i++)
			for (size_t k = 0; k < set->groups[g].n_notes; k++)
				add_vcpu_note(img, i, set->groups[g].notes[k], ret);
	if (img->vmcoreinfo)
		memcpy(add_note(ret, img->order, "VMCOREINFO", 0, img->vmcoreinfo_bytes), img->vmcoreinfo,
		       img->vmcoreinfo_bytes);
}
