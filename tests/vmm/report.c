/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cursor.h"
#include "tests/vmm/vmm.h"

/* Ends a line of JSON and sends it in one piece. */
static void send_line(struct buf *line)
{
	buf_addch(line, '\n');
	if (write(STDOUT_FILENO, line->data, line->len) != (ssize_t)line->len)
		_exit(STATUS_SETUP);
	buf_deinit(line);
}

/* Puts a comma between the members of a list. */
static void next(struct buf *out, size_t i)
{
	if (i)
		buf_addch(out, ',');
}

static void add_slots(const struct vm *vm, struct buf *out)
{
	bool first = true;

	buf_adds(out, "\"slots\":[");
	for (size_t i = 0; i < vm->n_slots; i++) {
		const struct slot *s = &vm->slots[i];

		if (!s->hva)
			continue;
		next(out, !first);
		first = false;
		buf_addf(out, "{\"gpa\":%llu,\"bytes\":%llu,\"hva\":%llu,\"readonly\":%s}",
			 (unsigned long long)s->gpa, (unsigned long long)s->bytes,
			 (unsigned long long)(uintptr_t)s->hva, s->readonly ? "true" : "false");
	}
	buf_adds(out, "]");
}

/* The guest's own; where there is none, how often the vCPU came back from KVM_RUN. */
static const uint64_t *counter_at(const struct vcpu *c)
{
	if (c->vm->vmm->core || !c->vm->n_slots)
		return &c->interrupted;
	return vm_ram(c->vm, gpa_code(c->index) + COUNTER_OFFSET);
}

static void add_vcpu(const struct vcpu *c, struct buf *out)
{
	uint64_t code_gpa = gpa_code(c->index);

	buf_addf(out, "{\"tid\":%d,\"code_gpa\":%llu,\"counter_gpa\":%llu,\"counter_hva\":%llu,", c->tid,
		 (unsigned long long)code_gpa, (unsigned long long)code_gpa + COUNTER_OFFSET,
		 (unsigned long long)(uintptr_t)counter_at(c));
	buf_addf(out, "\"handed_hva\":%llu,\"missing\":[%s]}",
		 (unsigned long long)(uintptr_t)&c->handed, buf_str(&c->missing));
}

static void add_vm(const struct vm *vm, struct buf *out)
{
	buf_adds(out, "{");
	add_slots(vm, out);
	buf_adds(out, ",\"vcpus\":[");
	for (unsigned i = 0; i < vm->vmm->opt.cpus; i++) {
		next(out, i);
		add_vcpu(&vm->vcpus[i], out);
	}
	buf_adds(out, "]}");
}

void vmm_report_start(struct vmm *vmm)
{
	const struct options *opt = &vmm->opt;
	struct buf out = {0};

	buf_addf(&out, "{\"pid\":%d,\"mode\":\"%s\",\"work\":\"%s\",\"touch\":%u,\"vms\":[", getpid(),
		 mode_name(opt->mode), work_name(opt->work), opt->touch_percent);
	for (unsigned i = 0; i < opt->vms; i++) {
		next(&out, i);
		add_vm(&vmm->vms[i], &out);
	}
	buf_adds(&out, "]}");
	send_line(&out);
}

void vmm_report_slots(struct vmm *vmm)
{
	struct buf out = {0};

	buf_adds(&out, "[");
	for (unsigned i = 0; i < vmm->opt.vms; i++) {
		next(&out, i);
		buf_adds(&out, "{");
		add_slots(&vmm->vms[i], &out);
		buf_adds(&out, "}");
	}
	buf_adds(&out, "]");
	send_line(&out);
}

/* [[a number for each vCPU] for each VM] */
static void report_numbers(struct vmm *vmm, uint64_t (*number)(const struct vcpu *))
{
	struct buf out = {0};

	buf_adds(&out, "[");
	for (unsigned i = 0; i < vmm->opt.vms; i++) {
		next(&out, i);
		buf_adds(&out, "[");
		for (unsigned n = 0; n < vmm->opt.cpus; n++) {
			next(&out, n);
			buf_addf(&out, "%llu", (unsigned long long)number(&vmm->vms[i].vcpus[n]));
		}
		buf_adds(&out, "]");
	}
	buf_adds(&out, "]");
	send_line(&out);
}

static uint64_t counter_of(const struct vcpu *c)
{
	return *(const volatile uint64_t *)counter_at(c);
}

static void report_exits(struct vmm *vmm)
{
	struct buf out = {0};

	buf_adds(&out, "[");
	for (unsigned i = 0; i < vmm->opt.vms * vmm->opt.cpus; i++) {
		const struct vcpu *c = &vmm->vms[i / vmm->opt.cpus].vcpus[i % vmm->opt.cpus];

		next(&out, i);
		buf_addf(&out, "{\"eintr\":%llu", (unsigned long long)c->interrupted);
		for (unsigned reason = 0; reason < ARRAY_LEN(c->exits); reason++)
			if (c->exits[reason])
				buf_addf(&out, ",\"%u\":%llu", reason, (unsigned long long)c->exits[reason]);
		buf_adds(&out, "}");
	}
	buf_adds(&out, "]");
	send_line(&out);
}

static void report_ok(void)
{
	struct buf out = {0};

	buf_adds(&out, "{}");
	send_line(&out);
}

static void report_error(const char *text)
{
	struct buf out = {0};

	buf_addf(&out, "{\"error\":\"%s\"}", text);
	send_line(&out);
}

static void report_regs(struct vmm *vmm, struct cursor *args)
{
	struct buf out = {0};
	uint64_t vm, cpu;

	cursor_skip_space(args);
	if (!cursor_take_number(args, &vm) || vm >= vmm->opt.vms)
		return report_error("no such VM");
	cursor_skip_space(args);
	if (!cursor_take_number(args, &cpu) || cpu >= vmm->opt.cpus)
		return report_error("no such vCPU");
	if (vmm->opt.jailed)
		return report_error("this thread's jail does not allow it");
	if (!vmm->vms[vm].vcpus[cpu].parked)
		return report_error("not paused");
	buf_adds(&out, "{");
	vcpu_print(&vmm->vms[vm].vcpus[cpu], &out);
	buf_adds(&out, "}");
	send_line(&out);
}

void vmm_command(struct vmm *vmm, const char *line)
{
	struct cursor c = cursor_of_string(line);
	struct cursor word;

	if (!cursor_take_word(&c, &word))
		report_error("no command");
	else if (cursor_equals(&word, "counters"))
		report_numbers(vmm, counter_of);
	else if (cursor_equals(&word, "exits"))
		report_exits(vmm);
	else if (cursor_equals(&word, "slots"))
		vmm_report_slots(vmm);
	else if (cursor_equals(&word, "regs"))
		report_regs(vmm, &c);
	else if (cursor_equals(&word, "pause")) {
		vmm_pause(vmm);
		report_ok();
	} else if (cursor_equals(&word, "run")) {
		vmm_run(vmm);
		report_ok();
	} else if (cursor_equals(&word, "quit"))
		_exit(0);
	else
		report_error("unknown command");
}
