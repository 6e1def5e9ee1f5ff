/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/qemu_notes.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "guest/backends.h"
#include "guest/qemu_regs.h"

#define FD_NAME "vmgdbserver-notes"

static struct err *dump_page(struct qmp *q, uint64_t gpa, uint64_t bytes, int fd)
{
	struct json_object *arguments;
	struct err *e = qmp_send_fd(q, FD_NAME, fd);

	if (e)
		return e;
	arguments = json_object_new_object();
	json_object_object_add(arguments, "paging", json_object_new_boolean(false));
	json_object_object_add(arguments, "protocol", json_object_new_string("fd:" FD_NAME));
	json_object_object_add(arguments, "begin", json_object_new_int64((int64_t)gpa));
	json_object_object_add(arguments, "length", json_object_new_int64((int64_t)bytes));
	e = qmp_run(q, "dump-guest-memory", arguments);
	if (e) {
		/* It takes the descriptor only when it begins. */
		arguments = json_object_new_object();
		json_object_object_add(arguments, "fdname", json_object_new_string(FD_NAME));
		err_destroy(qmp_run(q, "closefd", arguments));
	}
	return e;
}

static struct err *open_core(struct qmp *q, uint64_t gpa, uint64_t bytes, struct guest **ret)
{
	int fd = memfd_create("vmgdbserver-notes", MFD_CLOEXEC);
	char path[64];
	struct err *e;

	if (fd < 0)
		return err_sys(errno, "cannot make a file in memory");
	e = dump_page(q, gpa, bytes, fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (!e)
		e = guest_open_core(path, ret);
	close(fd);
	return e;
}

static bool is_in(const struct note_desc *note, unsigned reg)
{
	if (note->type == NT_PRSTATUS && !strcmp(note->owner, "CORE"))
		return false;
	for (size_t i = 0; i < note->n_fields; i++)
		if (note->fields[i].kind == NOTE_REG && note->fields[i].reg == reg)
			return true;
	return false;
}

static bool is_in_notes(const struct arch *arch, unsigned reg)
{
	for (size_t m = 0; m < arch->n_machines; m++) {
		const struct note_set *set = &arch->machines[m].notes;

		for (size_t g = 0; g < set->n_groups; g++)
			for (size_t i = 0; i < set->groups[g].n_notes; i++)
				if (is_in(set->groups[g].notes[i], reg))
					return true;
	}
	return false;
}

static bool is_wanted(const struct qemu_notes *n, const struct regs *regs, unsigned reg)
{
	return !regs_bytes(regs, reg) && !(n->untold && n->untold[reg]) && is_in_notes(regs->arch, reg);
}

static bool wants_any(const struct qemu_notes *n, const struct regs *regs)
{
	for (unsigned r = 0; r < regs->arch->n_regs; r++)
		if (is_wanted(n, regs, r))
			return true;
	return false;
}

static void note_untold(struct qemu_notes *n, const struct regs *regs)
{
	if (!n->untold)
		n->untold = xcalloc(regs->arch->n_regs, sizeof(*n->untold));
	for (unsigned r = 0; r < regs->arch->n_regs; r++)
		n->untold[r] |= is_wanted(n, regs, r);
}

static void copy_wanted(const struct qemu_notes *n, struct regs *ret, const struct regs *from)
{
	for (unsigned r = 0; r < ret->arch->n_regs; r++) {
		uint64_t value;

		if (!is_wanted(n, ret, r) && !qemu_regs_is_low_half(ret, from, r))
			continue;
		if (regs_bytes(from, r) && from->order == ret->order)
			regs_set_bytes(ret, r, regs_bytes(from, r));
		else if (reg_bytes(ret->arch, r) <= sizeof(value) && regs_get(from, r, &value))
			regs_set(ret, r, value);
	}
}

void qemu_notes_fill(struct qemu_notes *n, struct qmp *q, uint64_t ram_gpa, unsigned vcpu, struct regs *ret)
{
	const struct regs *told = NULL;
	struct err *e = NULL;

	if (!wants_any(n, ret))
		return;
	if (!n->tried)
		e = open_core(q, ram_gpa, ret->arch->page_bytes, &n->core);
	n->tried = true;
	if (!e && n->core && n->core->arch == ret->arch && vcpu < n->core->n_vcpus)
		e = guest_regs(n->core, vcpu, &told);
	if (told) {
		copy_wanted(n, ret, told);
		note_untold(n, ret);
	}
	if (e)
		log_debug("no notes of QEMU's: %s", err_text(e));
	err_destroy(e);
}

void qemu_notes_close(struct qemu_notes *n)
{
	guest_destroy(n->core);
	n->core = NULL;
	n->tried = false;
}

void qemu_notes_deinit(struct qemu_notes *n)
{
	qemu_notes_close(n);
	free(n->untold);
	n->untold = NULL;
}
