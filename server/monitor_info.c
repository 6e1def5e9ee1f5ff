/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <string.h>

#include "guest/os.h"
#include "server/monitor_call.h"

#define LINE_WIDTH 100u

/* Programs that look for QEMU (Linux's scripts/gdb) are content with any answer; people are not. */
struct err *monitor_version(struct monitor_call *call)
{
	buf_adds(&call->out, VMGDBSERVER_VERSION " (vmgdbserver, with commands as in QEMU's monitor)\n");
	return NULL;
}

struct err *monitor_info_status(struct monitor_call *call)
{
	struct guest *g = call->monitor->guest;
	static const char *const states[] = {
		[GUEST_RUNNING] = "running",
		[GUEST_STOPPED] = "paused",
		[GUEST_GONE] = "gone",
	};

	buf_addf(&call->out, "VM status: %s\n", states[g->state]);
	buf_addf(&call->out, "Backend: %s, %s, %u vCPUs\n", g->ops->name, g->arch->name, g->n_vcpus);
	if (g->was_paused && g->ops->resume)
		buf_adds(&call->out, "Its VMM had paused it before: it stays so when vmgdbserver leaves\n");
	if (g->ops->describe)
		g->ops->describe(g, &call->out);
	return NULL;
}

/* ---- registers ---- */

static void add_value(const struct regs *regs, unsigned reg, struct buf *out)
{
	size_t n = reg_bytes(regs->arch, reg);
	const uint8_t *bytes = regs_bytes(regs, reg);

	if (!bytes)
		buf_addch(out, '-');
	for (size_t i = 0; bytes && i < n; i++)
		buf_add_hex(out, &bytes[regs->order == ORDER_BIG ? i : n - 1 - i], 1);
}

static size_t cell_width(const struct arch *arch, const char *group)
{
	size_t width = 0;

	for (unsigned i = 0; i < arch->n_regs; i++) {
		if (!strcmp(arch->regs[i].group, group))
			width = MAX(width, strlen(arch->regs[i].name) + 1 + 2 * reg_bytes(arch, i));
	}
	return width;
}

/* "  rax=0000000000000001 rbx=-                ..." */
static void add_group(const struct regs *regs, const char *group, struct buf *out)
{
	const struct arch *arch = regs->arch;
	size_t width = cell_width(arch, group);
	size_t per_line = MAX((LINE_WIDTH - 1) / (width + 1), 1u);
	size_t n = 0, pad = 0;

	buf_addf(out, "%s:", group);
	for (unsigned i = 0; i < arch->n_regs; i++) {
		size_t start;

		if (strcmp(arch->regs[i].group, group) || !arch_has_feature(regs, arch->regs[i].feature))
			continue;
		if (n++ % per_line == 0)
			buf_adds(out, "\n  ");
		else
			buf_addf(out, "%*s", (int)pad + 1, "");
		start = out->len;
		buf_addf(out, "%s=", arch->regs[i].name);
		add_value(regs, i, out);
		pad = width - (out->len - start);
	}
	buf_addch(out, '\n');
}

/* A group is printed where its first register that the guest has stands. */
static bool starts_group(const struct regs *regs, unsigned reg)
{
	const struct arch *arch = regs->arch;

	if (!arch_has_feature(regs, arch->regs[reg].feature))
		return false;
	for (unsigned i = 0; i < reg; i++) {
		if (!strcmp(arch->regs[i].group, arch->regs[reg].group) &&
		    arch_has_feature(regs, arch->regs[i].feature))
			return false;
	}
	return true;
}

static struct err *add_registers(struct monitor_call *call, unsigned vcpu)
{
	const struct regs *regs;
	struct err *e = guest_regs(call->monitor->guest, vcpu, &regs);

	if (e)
		return e;
	buf_addf(&call->out, "CPU#%u\n", vcpu);
	for (unsigned i = 0; i < regs->arch->n_regs; i++) {
		if (starts_group(regs, i))
			add_group(regs, regs->arch->regs[i].group, &call->out);
	}
	return NULL;
}

struct err *monitor_info_registers(struct monitor_call *call)
{
	unsigned first = call->monitor->cpu, end;
	struct err *e = NULL;

	cursor_skip_space(&call->args);
	end = first + 1;
	if (cursor_take_string(&call->args, "-a")) {
		first = 0;
		end = call->monitor->guest->n_vcpus;
	} else if (cursor_take_string(&call->args, "-v")) {
		e = call_take_vcpu(call, &first);
		end = first + 1;
	}
	if (!e)
		e = call_end(call);
	for (unsigned i = first; i < end && !e; i++)
		e = add_registers(call, i);
	return e;
}

struct err *monitor_info_cpus(struct monitor_call *call)
{
	struct guest *g = call->monitor->guest;

	for (unsigned i = 0; i < g->n_vcpus; i++) {
		const struct regs *regs;
		struct err *e = guest_regs(g, i, &regs);
		uint64_t pc;

		if (e)
			return e;
		buf_addf(&call->out, "%c CPU #%u:", i == call->monitor->cpu ? '*' : ' ', i);
		if (regs_get(regs, g->arch->pc, &pc))
			buf_addf(&call->out, " %s=0x%016" PRIx64, g->arch->regs[g->arch->pc].name, pc);
		if (g->ops->describe_vcpu)
			buf_addch(&call->out, ' ');
		guest_describe_vcpu(g, i, &call->out);
		buf_addch(&call->out, '\n');
	}
	return NULL;
}

/* ---- memory ---- */

/* Neighbours in virtual memory with the same rights, as QEMU prints them. */
struct mem_run {
	struct mapping m;
	bool any;
	struct buf *out;
};

static void add_run(const struct mem_run *run)
{
	uint32_t flags = run->m.flags;

	if (run->any)
		buf_addf(run->out, "%016" PRIx64 "-%016" PRIx64 " %016" PRIx64 " %cr%c%c\n", run->m.gva,
			 run->m.gva + run->m.bytes, run->m.bytes, flags & MAPPING_USER ? 'u' : '-',
			 flags & MAPPING_WRITABLE ? 'w' : '-', flags & MAPPING_EXECUTABLE ? 'x' : '-');
}

static struct err *on_mapping(void *arg, const struct mapping *m)
{
	struct mem_run *run = arg;

	if (run->any && run->m.gva + run->m.bytes == m->gva && run->m.flags == m->flags) {
		run->m.bytes += m->bytes;
		return NULL;
	}
	add_run(run);
	run->m = *m;
	run->any = true;
	return NULL;
}

struct err *monitor_info_mem(struct monitor_call *call)
{
	struct guest *g = call->monitor->guest;
	struct phys_reader mem = guest_phys_reader(g);
	struct mem_run run = { .out = &call->out };
	const struct regs *regs;
	struct err *e = guest_regs(g, call->monitor->cpu, &regs);

	if (!e)
		e = g->arch->walk(regs, &mem, on_mapping, &run);
	if (e)
		return e;
	add_run(&run);
	if (!run.any)
		buf_adds(&call->out, "paging is off\n");
	return NULL;
}

struct err *monitor_info_mtree(struct monitor_call *call)
{
	struct guest *g = call->monitor->guest;

	for (size_t i = 0; i < g->n_blocks; i++) {
		const struct mem_block *b = &g->blocks[i];

		buf_addf(&call->out, "%016" PRIx64 "-%016" PRIx64 " %s", b->gpa, b->gpa + (b->bytes - 1),
			 b->flags & MEM_PRIVATE ? "private" : b->flags & MEM_ROM ? "rom" : "ram");
		if (b->hva)
			buf_addf(&call->out, " hva 0x%" PRIx64, b->hva);
		buf_addch(&call->out, '\n');
	}
	if (g->ops->describe_memory)
		g->ops->describe_memory(g, &call->out);
	return NULL;
}

/* ---- the operating system ---- */

struct err *monitor_info_linux(struct monitor_call *call)
{
	return os_describe(call->monitor->guest, &call->out);
}

struct err *monitor_info_kaslr(struct monitor_call *call)
{
	struct guest *g = call->monitor->guest;
	uint64_t slide = 0, start = 0;
	struct err *e = os_slide(g, &slide);

	if (!e)
		e = os_symbol(g, "_stext", &start);
	if (e)
		return e;
	buf_addf(&call->out, "_stext: 0x%" PRIx64 "\n", start);
	buf_addf(&call->out, "Linked at: 0x%" PRIx64 "\n", start - slide);
	buf_addf(&call->out, "Slide: 0x%" PRIx64 "\n", slide);
	if (slide)
		buf_addf(&call->out, "In gdb: symbol-file -o 0x%" PRIx64 " vmlinux\n", slide);
	return NULL;
}

/* As gdb's command of this name prints it. */
struct err *monitor_info_symbol(struct monitor_call *call)
{
	uint64_t gva = 0, offset = 0;
	struct err *e = call_take_number(call, &gva);

	if (!e)
		e = call_end(call);
	if (!e)
		e = os_symbol_at(call->monitor->guest, gva, &call->out, &offset);
	if (e)
		return e;
	if (offset)
		buf_addf(&call->out, " + %" PRIu64, offset);
	buf_addch(&call->out, '\n');
	return NULL;
}
