/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/log.h"
#include "guest/backends.h"
#include "guest/launch.h"
#include "linux/linux.h"
#include "server/await.h"
#include "server/comm.h"
#include "server/console.h"
#include "server/dump_command.h"
#include "server/dumpjob.h"
#include "server/list.h"
#include "server/loop.h"
#include "server/options.h"
#include "server/progress.h"
#include "server/result.h"
#include "server/serve.h"

/* The exit status; takes over e. */
static int report(struct err *e)
{
	int status;

	if (!e)
		return 0;
	status = err_code(e) == ERR_USAGE ? 2 : 1;
	log_warn("%s%s", err_text(e), status == 2 ? " (try --help)" : "");
	err_destroy(e);
	return status;
}

static struct err *know_system(struct err *e, struct guest *const *g)
{
	if (!e)
		(*g)->os = linux_os_create(*g);
	return e;
}

static struct err *open_process(const struct options *o, pid_t pid, struct guest **ret)
{
	return know_system(guest_open_kvm(pid, o->vm, ret), ret);
}

static struct err *open_target(const struct options *o, struct guest **ret)
{
	if (o->pid)
		return open_process(o, o->pid, ret);
	return know_system(o->core ? guest_open_core(o->core, ret) : guest_open_qemu(o->qmp, ret), ret);
}

static void name_target(const struct options *o, struct buf *ret)
{
	if (o->core || o->qmp)
		buf_adds(ret, o->core ? o->core : o->qmp);
	else
		buf_addf(ret, "process %d", (int)o->pid);
}

/* A full disk or a closed pipe behind standard output is found here at the latest. */
static struct err *print(const char *text)
{
	if (fputs(text, stdout) < 0 || fflush(stdout))
		return err_sys(errno, "standard output");
	return NULL;
}

/* ---- one function a mode ---- */

static struct err *attach(void *arg, pid_t pid, struct guest **ret)
{
	return open_process(arg, pid, ret);
}

/* g NULL: there is no target yet. */
static struct err *serve_target(struct options *o, struct comm *comm, struct guest *g, struct inherited *inherited)
{
	struct serve_config config = { .guest = g, .pid = o->pid, .inherited = inherited, .once = o->once,
				       .held = o->program || o->wait, .comm = comm,
				       .attach = o->multi ? attach : NULL, .arg = o };
	struct buf target = { 0 };
	struct err *e;

	name_target(o, &target);
	config.target = buf_str(&target);
	config.loop = loop_create();
	e = serve_run(&config);
	loop_destroy(config.loop);
	buf_deinit(&target);
	return e;
}

static struct err *serve_open(struct options *o, const struct comm_spec *spec, struct inherited *inherited)
{
	struct guest *g = NULL;
	struct comm *comm = NULL;
	struct err *e = options_have_target(o) ? open_target(o, &g) : NULL;

	if (!e)
		e = comm_open(spec, o->allow_remote, inherited, &comm);
	if (!e)
		e = serve_target(o, comm, g, inherited);
	comm_destroy(comm);
	guest_destroy(g);
	return e;
}

/* In gdbserver's words, as far as they go. */
static struct err *start_program(void *arg)
{
	struct launch *l = arg;
	struct err *e = launch_go(l);

	if (!e)
		fprintf(stderr, "Process %s created; pid = %d\n", l->program, (int)l->pid);
	return e;
}

static int tell_end(int status)
{
	if (WIFEXITED(status))
		fprintf(stderr, "Child exited with status %d\n", WEXITSTATUS(status));
	else
		fprintf(stderr, "Child terminated with signal = 0x%x (%s)\n", WTERMSIG(status),
			strsignal(WTERMSIG(status)));
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : 1;
}

/* l NULL: the process of --attach. *ret_had: it came as far as having a guest. */
static struct err *serve_when_ready(struct options *o, struct comm *comm, struct launch *l,
				    struct inherited *inherited, bool *ret_had)
{
	struct guest *g = NULL;
	struct err *e = await_guest(o->pid, o->vm, l ? start_program : NULL, l, &g);

	*ret_had = g != NULL;
	if (!g)
		return e;
	g->os = linux_os_create(g);
	e = serve_target(o, comm, g, inherited);
	guest_destroy(g);
	return e;
}

static int serve_program(struct options *o, struct comm *comm, struct inherited *inherited)
{
	struct launch l;
	bool had;
	int status;
	struct err *e = launch_prepare(o->program, &l);

	if (e)
		return report(e);
	o->pid = l.pid;
	e = serve_when_ready(o, comm, &l, inherited, &had);
	if (!launch_end(&l, &status) || !had)
		return report(e);
	err_destroy(e);
	return tell_end(status);
}

/* Clients that come before there is a guest wait. */
static int serve_held(struct options *o, const struct comm_spec *spec, struct inherited *inherited)
{
	struct comm *comm;
	struct err *e = comm_open(spec, o->allow_remote, inherited, &comm);
	bool had;
	int status;

	if (e)
		return report(e);
	if (o->program)
		status = serve_program(o, comm, inherited);
	else
		status = report(serve_when_ready(o, comm, NULL, inherited, &had));
	comm_destroy(comm);
	return status;
}

static int serve(struct options *o, struct inherited *inherited)
{
	struct comm_spec spec;
	struct err *e = comm_parse(o->comm, &spec);
	int status;

	if (e)
		return report(e);
	if (o->program || o->wait)
		status = serve_held(o, &spec, inherited);
	else
		status = report(serve_open(o, &spec, inherited));
	comm_spec_deinit(&spec);
	return status;
}

/* Takes over e. */
static struct err *print_result(const struct options *o, const struct dump_outcome *outcome, struct err *e)
{
	struct dump_result result = { .out = o->out, .options = &o->dump, .error = e,
				      .progress = outcome->started ? &outcome->progress : NULL,
				      .pause_seconds = outcome->pause_seconds };
	struct buf text = { 0 };
	struct err *failed;

	result_format(&result, &text);
	failed = print(buf_str(&text));
	buf_deinit(&text);
	if (!e)
		return failed;
	err_destroy(failed);
	return e;
}

static struct err *estimate(const struct options *o, struct guest *g)
{
	struct dump_estimate estimate;
	struct buf text = { 0 };
	struct hold hold;
	struct err *e;

	hold_init(&hold, g);
	e = dumpjob_estimate(&hold, &o->dump, o->snapshot, &estimate);
	if (e)
		return e;
	if (o->json)
		result_format_estimate(&estimate, &o->dump, &text);
	else
		progress_format_estimate(&estimate, &text);
	e = print(buf_str(&text));
	buf_deinit(&text);
	return e;
}

static struct err *write_dump(const struct options *o, struct guest *g, struct inherited *inherited,
			      struct dump_outcome *ret)
{
	struct dump_command cmd = { .guest = g, .inherited = inherited, .options = o->dump, .out = o->out,
				    .quiet = o->quiet, .on_panic = o->on_panic, .snapshot = o->snapshot };
	struct err *e;

	cmd.loop = loop_create();
	e = dump_command_run(&cmd, ret);
	loop_destroy(cmd.loop);
	return e;
}

static int dump(struct options *o, struct inherited *inherited)
{
	struct dump_outcome outcome = { 0 };
	struct guest *g = NULL;
	struct err *e = open_target(o, &g);

	if (!e && o->estimate)
		e = estimate(o, g);
	else if (!e)
		e = write_dump(o, g, inherited, &outcome);
	guest_destroy(g);
	if (o->json && !o->estimate)
		e = print_result(o, &outcome, e);
	return report(e);
}

static int console(struct options *o, struct inherited *inherited)
{
	struct console_config config = { .inherited = inherited, .commands = o->commands, .n_commands = o->n_commands };
	struct err *e = open_target(o, &config.guest);
	int status;

	if (e)
		return report(e);
	config.loop = loop_create();
	status = console_run(&config);
	loop_destroy(config.loop);
	guest_destroy(config.guest);
	return status;
}

static int list(struct options *o, struct inherited *inherited)
{
	struct kvm_vmm *vmms = NULL;
	struct buf out = { 0 };
	size_t n = 0;
	struct err *e = kvm_list(&vmms, &n);

	(void)o;
	(void)inherited;
	if (!e && !n)
		log_warn("no KVM guest was found that this user may look at");
	list_format(vmms, n, &out);
	free(vmms);
	if (!e)
		e = print(buf_str(&out));
	buf_deinit(&out);
	return report(e);
}

static int help(struct options *o, struct inherited *inherited)
{
	struct buf out = { 0 };
	struct err *e;

	(void)o;
	(void)inherited;
	options_usage(&out);
	e = print(buf_str(&out));
	buf_deinit(&out);
	return report(e);
}

static int version(struct options *o, struct inherited *inherited)
{
	(void)o;
	(void)inherited;
	return report(print("vmgdbserver " VMGDBSERVER_VERSION "\n"));
}

int command_main(int argc, char **argv, struct inherited *inherited)
{
	static int (*const modes[])(struct options *, struct inherited *) = {
		[MODE_SERVE] = serve,
		[MODE_DUMP] = dump,
		[MODE_CONSOLE] = console,
		[MODE_LIST] = list,
		[MODE_HELP] = help,
		[MODE_VERSION] = version,
	};
	struct options o;
	struct err *e = options_parse(argc, argv, &o);
	int status;

	if (e)
		return report(e);
	log_set_debug(o.debug);
	status = modes[o.mode](&o, inherited);
	options_deinit(&o);
	return status;
}
