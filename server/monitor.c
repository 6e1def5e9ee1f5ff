/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/monitor.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "server/expr.h"
#include "server/monitor_call.h"

/* docs/monitor.md has a row for each of these, and no other. */
static const struct monitor_command commands[] = {
	{ "help", "?", "[COMMAND]", "list the commands, or say what one does", false, monitor_help },
	{ "version", NULL, "", "print the version of vmgdbserver", false, monitor_version },
	{ "info", NULL, "[SUBJECT]", "list what info can tell", false, monitor_info },
	{ "info version", NULL, "", "print the version of vmgdbserver", false, monitor_version },
	{ "info status", NULL, "", "say whether the guest runs, and what is known of its VMM", false,
	  monitor_info_status },
	{ "info registers", NULL, "[-a | -v VCPU]", "print the registers of the selected vCPU, of all or of another",
	  true, monitor_info_registers },
	{ "info cpus", NULL, "", "list the vCPUs", true, monitor_info_cpus },
	{ "info mem", NULL, "", "list what the page tables of the selected vCPU map", true, monitor_info_mem },
	{ "info mtree", NULL, "", "list the blocks of guest-physical memory", true, monitor_info_mtree },
	{ "info linux", NULL, "", "say which Linux the guest runs, by its own data", true, monitor_info_linux },
	{ "info kaslr", NULL, "", "say where the guest's kernel runs, and where it was linked", true,
	  monitor_info_kaslr },
	{ "info symbol", NULL, "ADDR", "name the kernel's symbol that covers an address", true, monitor_info_symbol },
	{ "info dump", NULL, "", "say how far the latest dump is", false, monitor_info_dump },
	{ "cpu", NULL, "VCPU", "select the vCPU of x, gva2gpa, memsave and info", false, monitor_cpu },
	{ "x", NULL, "[/FMT] ADDR", "print guest-virtual memory", true, monitor_x },
	{ "xp", NULL, "[/FMT] ADDR", "print guest-physical memory", true, monitor_xp },
	{ "print", "p", "ADDR", "print what an expression comes to", true, monitor_print },
	{ "gva2gpa", NULL, "ADDR", "translate a guest-virtual address to a guest-physical one", true, monitor_gva2gpa },
	{ "gpa2hva", NULL, "ADDR", "say where the VMM has a guest-physical address in its own memory", true,
	  monitor_gpa2hva },
	{ "stop", "s", "", "pause the guest", false, monitor_stop },
	{ "cont", "c", "", "let the guest go on", false, monitor_cont },
	{ "dump-guest-memory", NULL, "[-pdzls] [--OPTION [VALUE]]... FILE [BEGIN LENGTH]",
	  "write a vmcore; -p: every mapping of the page tables, -d: in the background, -z, -l, -s: compressed", true,
	  monitor_dump_guest_memory },
	{ "dump-cancel", NULL, "", "end a dump that is written in the background", false, monitor_dump_cancel },
	{ "memsave", NULL, "ADDR SIZE FILE", "write guest-virtual memory to a file as it is", true, monitor_memsave },
	{ "pmemsave", NULL, "ADDR SIZE FILE", "write guest-physical memory to a file as it is", true,
	  monitor_pmemsave },
	{ "exit", "quit", "", "leave the console", false, monitor_exit },
};

const struct monitor_command *monitor_commands(size_t *ret_n)
{
	*ret_n = ARRAY_LEN(commands);
	return commands;
}

/* ---- life ---- */

struct monitor *monitor_create(const struct monitor_config *config)
{
	struct monitor *m = xcalloc(1, sizeof(*m));

	m->config = *config;
	m->guest = config->hold->guest;
	m->foreground.monitor = m->background.monitor = m;
	return m;
}

void monitor_destroy(struct monitor *m)
{
	if (!m)
		return;
	monitor_cancel(m);
	monitor_cancel_dump(m);
	free(m->dump.name);
	free(m->dump.error);
	free(m);
}

bool monitor_busy(const struct monitor *m)
{
	return m->foreground.job;
}

void monitor_cancel(struct monitor *m)
{
	if (m->foreground.job)
		job_cancel(m->foreground.job);
}

bool monitor_dumping(const struct monitor *m)
{
	return m->background.job;
}

void monitor_cancel_dump(struct monitor *m)
{
	if (m->background.job)
		job_cancel(m->background.job);
}

void monitor_reset(struct monitor *m)
{
	m->cpu = 0;
}

struct err *monitor_pause(struct monitor *m)
{
	struct err *e;

	if (m->paused)
		return NULL;
	e = hold_take(m->config.hold);
	m->paused = !e;
	return e;
}

struct err *monitor_continue(struct monitor *m)
{
	if (m->paused) {
		struct err *e = hold_drop(m->config.hold);

		m->paused = false;
		if (e)
			return e;
	}
	return guest_resume(m->guest);
}

/* ---- lookup ---- */

/* Behind a command's name comes white space, the end, or gdb's "/FMT". */
static bool takes_name(struct cursor *c, const char *name)
{
	struct cursor at = *c;

	for (;;) {
		size_t n = strcspn(name, " ");

		cursor_skip_space(&at);
		if (cursor_left(&at) < n || memcmp(at.at, name, n))
			return false;
		at.at += n;
		if (!cursor_at_end(&at) && !strchr(" \t\n/", *at.at))
			return false;
		if (!name[n])
			break;
		name += n + 1;
	}
	*c = at;
	return true;
}

/* The longest name that fits: "info mem" before "info". */
static const struct monitor_command *take_command(struct cursor *c)
{
	const struct monitor_command *best = NULL;
	struct cursor rest = *c;

	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		const struct monitor_command *cmd = &commands[i];
		struct cursor at = *c;

		if (!takes_name(&at, cmd->name) && !(cmd->alias && takes_name(&at, cmd->alias)))
			continue;
		if (best && strlen(best->name) > strlen(cmd->name))
			continue;
		best = cmd;
		rest = at;
	}
	*c = rest;
	return best;
}

/* ---- running ---- */

struct err *call_usage(const struct monitor_call *call)
{
	return err_new(ERR_INVALID, "usage: %s%s%s", call->command->name, *call->command->args ? " " : "",
		       call->command->args);
}

struct err *call_end(struct monitor_call *call)
{
	struct cursor word;
	struct err *e;
	char *text;

	if (!cursor_take_word(&call->args, &word))
		return NULL;
	text = cursor_dup(&word);
	e = err_new(ERR_INVALID, "unexpected '%s'; usage: %s %s", text, call->command->name, call->command->args);
	free(text);
	return e;
}

struct err *call_take_number(struct monitor_call *call, uint64_t *ret)
{
	cursor_skip_space(&call->args);
	if (cursor_at_end(&call->args))
		return call_usage(call);
	return expr_take(&call->args, call->monitor->guest, call->monitor->cpu, ret);
}

struct err *call_take_vcpu(struct monitor_call *call, unsigned *ret)
{
	unsigned n = call->monitor->guest->n_vcpus;
	uint64_t vcpu = 0;
	struct err *e = call_take_number(call, &vcpu);

	if (e)
		return e;
	if (vcpu >= n)
		return err_new(ERR_INVALID, "there is no such vCPU; the guest has %u, from 0", n);
	*ret = (unsigned)vcpu;
	return NULL;
}

struct err *call_take_file(struct monitor_call *call, char **ret)
{
	struct cursor word;

	cursor_skip_space(&call->args);
	if (cursor_take_char(&call->args, '"')) {
		word = cursor_take_until(&call->args, "\"");
		if (!cursor_take_char(&call->args, '"'))
			return err_new(ERR_INVALID, "the quotes around the file's name do not end");
	} else if (!cursor_take_word(&call->args, &word)) {
		return call_usage(call);
	}
	*ret = cursor_dup(&word);
	return NULL;
}

static struct err *unknown(struct cursor c)
{
	struct cursor word = { c.at, c.at };
	struct err *e;
	char *text;

	cursor_take_word(&c, &word);
	text = cursor_dup(&word);
	e = err_new(ERR_INVALID, "unknown command '%s'; help lists them", text);
	free(text);
	return e;
}

static struct err *run_paused(struct monitor_call *call)
{
	struct hold *hold = call->monitor->config.hold;
	struct err *e;

	if (!call->command->pauses)
		return call->command->run(call);
	e = hold_take(hold);
	return e ? e : hold_drop_after(hold, call->command->run(call));
}

static struct err *run(struct monitor_call *call)
{
	struct err *e = *call->command->args ? NULL : call_end(call);

	if (!e)
		e = run_paused(call);
	/* A job has no arguments left: its handler saw to that before it began. */
	return e || call->later ? e : call_end(call);
}

void monitor_run(struct monitor *m, const struct monitor_client *client, const char *line)
{
	struct monitor_call call = { .monitor = m, .client = client, .args = cursor_of_string(line) };
	struct err *e = NULL;

	cursor_skip_space(&call.args);
	if (!cursor_at_end(&call.args)) {
		call.command = take_command(&call.args);
		e = call.command ? run(&call) : unknown(call.args);
	}
	if (call.out.len)
		client->output(client->arg, call.out.data, call.out.len);
	buf_deinit(&call.out);
	if (!call.later)
		client->done(client->arg, e);
}

/* ---- commands about commands and the run state ---- */

static void add_summary(const struct monitor_command *cmd, struct buf *out)
{
	size_t start = out->len;

	buf_adds(out, cmd->name);
	if (cmd->alias)
		buf_addf(out, "|%s", cmd->alias);
	buf_addf(out, "%s%s", *cmd->args ? " " : "", cmd->args);
	buf_addf(out, "%*s -- %s\n", (int)MAX(0, 31 - (int)(out->len - start)), "", cmd->help);
}

static void add_summaries(const char *prefix, struct buf *out)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (!strncmp(commands[i].name, prefix, strlen(prefix)))
			add_summary(&commands[i], out);
	}
}

struct err *monitor_help(struct monitor_call *call)
{
	const struct monitor_command *cmd;

	cursor_skip_space(&call->args);
	if (cursor_at_end(&call->args)) {
		add_summaries("", &call->out);
		return NULL;
	}
	cmd = take_command(&call->args);
	if (!cmd)
		return unknown(call->args);
	add_summary(cmd, &call->out);
	return NULL;
}

struct err *monitor_info(struct monitor_call *call)
{
	cursor_skip_space(&call->args);
	if (!cursor_at_end(&call->args))
		return err_prefix(unknown(call->args), "info");
	add_summaries("info ", &call->out);
	return NULL;
}

struct err *monitor_stop(struct monitor_call *call)
{
	return call->client->leave ? monitor_pause(call->monitor) : NULL;
}

struct err *monitor_cont(struct monitor_call *call)
{
	if (!call->client->leave)
		return err_new(ERR_UNSUPPORTED, "gdb holds the guest: use its continue or detach");
	return monitor_continue(call->monitor);
}

struct err *monitor_exit(struct monitor_call *call)
{
	if (!call->client->leave)
		return err_new(ERR_UNSUPPORTED, "use gdb's detach, or quit gdb");
	call->client->leave(call->client->arg);
	return NULL;
}

struct err *monitor_cpu(struct monitor_call *call)
{
	return call_take_vcpu(call, &call->monitor->cpu);
}
