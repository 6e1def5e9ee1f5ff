/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "guest/backends.h"
#include "linux/linux.h"
#include "server/comm.h"
#include "server/console.h"
#include "server/dump_command.h"
#include "server/list.h"
#include "server/loop.h"
#include "server/options.h"
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
static struct err *serve_target(struct options *o, const struct comm_spec *spec, struct guest *g,
				struct inherited *inherited)
{
	struct serve_config config = { .guest = g, .pid = o->pid, .inherited = inherited, .once = o->once,
				       .attach = o->multi ? attach : NULL, .arg = o };
	struct buf target = { 0 };
	struct err *e = comm_open(spec, o->allow_remote, inherited, &config.comm);

	if (e)
		return e;
	name_target(o, &target);
	config.target = buf_str(&target);
	config.loop = loop_create();
	e = serve_run(&config);
	loop_destroy(config.loop);
	comm_destroy(config.comm);
	buf_deinit(&target);
	return e;
}

static int serve(struct options *o, struct inherited *inherited)
{
	struct comm_spec spec;
	struct guest *g = NULL;
	struct err *e = comm_parse(o->comm, &spec);

	if (e)
		return report(e);
	if (options_have_target(o))
		e = open_target(o, &g);
	if (!e)
		e = serve_target(o, &spec, g, inherited);
	guest_destroy(g);
	comm_spec_deinit(&spec);
	return report(e);
}

static int dump(struct options *o, struct inherited *inherited)
{
	struct dump_command cmd = { .inherited = inherited, .options = o->dump, .out = o->out, .quiet = o->quiet };
	struct err *e = open_target(o, &cmd.guest);

	if (e)
		return report(e);
	cmd.loop = loop_create();
	e = dump_command_run(&cmd);
	loop_destroy(cmd.loop);
	guest_destroy(cmd.guest);
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
