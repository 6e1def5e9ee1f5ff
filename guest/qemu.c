/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "guest/backends.h"
#include "guest/qemu_mem.h"
#include "guest/qemu_notes.h"
#include "guest/qemu_regs.h"
#include "guest/qemu_stub.h"
#include "guest/qmp.h"

/* A QEMU that hangs keeps nobody from leaving for longer. */
#define CLOSE_MS 5000u
/* From the first sign of its death to the last of a QEMU. */
#define DYING_MS 100

struct cpu {
	int index;     /* QEMU's own */
	int64_t tid;
	char state[16]; /* s390x: "operating", "stopped", ...; else "" */
};

struct qemu {
	char *address;
	struct qmp *qmp;
	char *version;
	bool kvm;
	int epoll_fd; /* QMP and wake_fd */
	int wake_fd;  /* there is something for guest_poll() that QMP's descriptor does not show any more */
	struct cpu *cpus;
	unsigned n_cpus;
	bool ran;           /* at the last look, while we did not hold it */
	bool held;          /* by us: nothing moves unless somebody else lets it run */
	char found[32];     /* the status when we came to hold it */
	bool must_cont;     /* when we let go */
	bool was_reset;     /* while held: what was read is stale */
	struct guest_event pending;
	struct qemu_stub stub; /* while held */
	struct qemu_mem *mem;  /* while held */
	struct qemu_notes notes; /* while held */
};

/* ---- run state ---- */

struct status {
	bool running;
	char word[32]; /* "running", "paused", "inmigrate", ... */
};

static struct err *query_status(struct qemu *q, struct status *ret)
{
	struct json_object *o;
	struct err *e = qmp_execute(q->qmp, "query-status", NULL, &o);

	if (e)
		return e;
	ret->running = json_object_get_boolean(json_object_object_get(o, "running"));
	snprintf(ret->word, sizeof(ret->word), "%s", qmp_string(o, "status"));
	json_object_put(o);
	return NULL;
}

/* Why it stopped, as a gdb signal; QEMU's gdbstub has them so, where it tells more than "unknown". */
static int signal_of(const char *status)
{
	static const struct {
		const char *status;
		int signal;
	} table[] = {
		{ "paused", 2 },	{ "shutdown", 3 },  { "internal-error", 6 },
		{ "guest-panicked", 6 }, { "watchdog", 14 }, { "io-error", 23 },
	};

	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (!strcmp(status, table[i].status))
			return table[i].signal;
	return 5;
}

static void wake(struct qemu *q)
{
	eventfd_write(q->wake_fd, 1);
}

static void raise_stopped(struct qemu *q, const struct status *now)
{
	q->ran = false;
	q->pending = (struct guest_event){ .kind = GUEST_EVENT_STOPPED, .signal = signal_of(now->word) };
	wake(q);
}

static void drop(struct qemu *q)
{
	qemu_stub_close(q->qmp, &q->stub);
	qemu_mem_close(q->mem);
	q->mem = NULL;
	qemu_notes_close(&q->notes);
	q->held = false;
}

/* Somebody has run or stopped it, or it has stopped by itself. */
static struct err *on_run_state(struct guest *g)
{
	struct qemu *q = g->priv;
	struct status now;
	struct err *e = query_status(q, &now);

	if (e)
		return e;
	if (q->held && now.running) {
		log_warn("another client of QEMU has let the guest run");
		drop(q);
		g->state = GUEST_RUNNING;
	}
	if (!q->held && q->ran && !now.running)
		raise_stopped(q, &now);
	q->ran = now.running;
	return NULL;
}

static bool is_one_of(const char *word, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(word, words[i]))
			return true;
	return false;
}

static struct err *handle_event(struct guest *g, const char *name)
{
	static const char *const run_events[] = { "STOP",   "RESUME",	"SUSPEND",
						  "WAKEUP", "SHUTDOWN", "GUEST_PANICKED" };
	struct qemu *q = g->priv;

	if (!strcmp(name, "RESET") && q->held) {
		q->was_reset = true;
		wake(q);
	}
	return is_one_of(name, run_events, ARRAY_LEN(run_events)) ? on_run_state(g) : NULL;
}

/* What QEMU has told by itself since the last time. */
static struct err *take_events(struct guest *g)
{
	struct qemu *q = g->priv;

	for (;;) {
		struct json_object *o = NULL;
		struct err *e = qmp_next_event(q->qmp, &o);

		if (!e && !o)
			return NULL;
		if (!e)
			e = handle_event(g, qmp_string(o, "event"));
		json_object_put(o);
		if (e && err_code(e) == ERR_GONE)
			g->state = GUEST_GONE;
		if (e)
			return e;
	}
}

/* The events that a command of ours made. */
static struct err *pass_over_events(struct qemu *q)
{
	for (;;) {
		struct json_object *o;
		struct err *e = qmp_next_event(q->qmp, &o);

		if (e || !o)
			return e;
		json_object_put(o);
	}
}

static struct err *check_held(struct guest *g)
{
	struct qemu *q = g->priv;
	struct err *e = take_events(g);

	if (e || q->held)
		return e;
	g->state = GUEST_RUNNING;
	return err_new(ERR_BUSY, "another client of QEMU has let the guest run; stop it first");
}

/* A QEMU that is being killed fails in many ways before it is seen to have exited. */
static struct err *explain_failure(struct guest *g, struct err *e)
{
	struct qemu *q = g->priv;
	struct pollfd p = { .fd = qmp_fd(q->qmp), .events = POLLIN };
	struct err *gone;

	if (!e || poll(&p, 1, DYING_MS) != 1)
		return e;
	gone = take_events(g);
	if (!gone)
		return e;
	err_destroy(e);
	return gone;
}

/* ---- what the machine is ---- */

static struct err *read_cpus(struct qemu *q)
{
	struct json_object *list;
	struct err *e = qmp_execute(q->qmp, "query-cpus-fast", NULL, &list);

	if (e)
		return e;
	q->n_cpus = (unsigned)qmp_array_len(list);
	q->cpus = xreallocarray(q->cpus, MAX(q->n_cpus, 1u), sizeof(*q->cpus));
	for (unsigned i = 0; i < q->n_cpus; i++) {
		struct json_object *o = json_object_array_get_idx(list, i);
		struct cpu *c = &q->cpus[i];

		c->index = json_object_get_int(json_object_object_get(o, "cpu-index"));
		c->tid = json_object_get_int64(json_object_object_get(o, "thread-id"));
		snprintf(c->state, sizeof(c->state), "%s", qmp_string(o, "cpu-state"));
	}
	json_object_put(list);
	return q->n_cpus ? NULL : err_new(ERR_UNSUPPORTED, "the QEMU at %s has no vCPU", q->address);
}

static struct err *set_blocks(struct guest *g, const struct qemu_mem *mem)
{
	size_t n_regions, n = 0;
	const struct qemu_region *r = qemu_mem_regions(mem, &n_regions);
	struct mem_block *blocks = xcalloc(n_regions, sizeof(*blocks));
	struct err *e;

	for (size_t i = 0; i < n_regions; i++) {
		if (r[i].kind == QEMU_DEVICE_RAM)
			continue;
		blocks[n++] = (struct mem_block){
			.gpa = r[i].gpa, .bytes = r[i].bytes, .hva = qemu_mem_hva(mem, i),
			.flags = r[i].kind == QEMU_ROM || r[i].kind == QEMU_ROM_DEVICE ? MEM_ROM : 0,
		};
	}
	e = n ? guest_set_blocks(g, blocks, n) :
		err_new(ERR_UNSUPPORTED, "the guest of the QEMU at %s has no memory", ((struct qemu *)g->priv)->address);
	free(blocks);
	return e;
}

/* vCPUs and memory as they are now. */
static struct err *refresh(struct guest *g)
{
	struct qemu *q = g->priv;
	struct err *e = read_cpus(q);

	if (!e)
		e = qemu_mem_open(q->qmp, &q->stub, !q->kvm, &q->mem);
	if (!e)
		e = set_blocks(g, q->mem);
	if (!e)
		guest_set_vcpus(g, q->n_cpus);
	return e;
}

/* ---- registers ---- */

static uint64_t first_ram(const struct guest *g)
{
	size_t i = 0;

	while (i < g->n_blocks - 1 && g->blocks[i].flags & MEM_ROM)
		i++;
	return g->blocks[i].gpa;
}

static struct err *qemu_read_regs(struct guest *g, unsigned vcpu, struct regs *ret)
{
	struct qemu *q = g->priv;
	struct err *e = check_held(g);

	if (!e)
		e = explain_failure(g, qemu_regs_read(q->qmp, &q->stub, vcpu, q->cpus[vcpu].index, ret));
	if (!e)
		qemu_notes_fill(&q->notes, q->qmp, first_ram(g), vcpu, ret);
	return e;
}

static struct err *qemu_write_regs(struct guest *g, unsigned vcpu, const struct regs *from, const bool *changed)
{
	struct qemu *q = g->priv;
	struct err *e = check_held(g);

	qemu_notes_close(&q->notes);
	return e ? e : explain_failure(g, qemu_regs_write(&q->stub, vcpu, from, changed));
}

/* By the monitor, whose numbers have no byte order of their own. */
static struct err *find_order(struct guest *g)
{
	struct qemu *q = g->priv;
	struct regs *regs = regs_create(g->arch, g->order);
	struct err *e = qemu_regs_by_monitor(q->qmp, q->cpus[0].index, regs);

	if (!e)
		g->order = g->arch->order(regs);
	regs_destroy(regs);
	return e;
}

/* ---- run control ---- */

static struct err *restore(struct qemu *q)
{
	/* A guest that was reset or paused again; in any other state it is not ours to run. */
	static const char *const ready[] = { "paused", "prelaunch", "debug" };
	struct status now;
	struct err *e;

	if (!q->must_cont)
		return NULL;
	e = query_status(q, &now);
	if (!e && is_one_of(now.word, ready, ARRAY_LEN(ready)))
		e = qmp_run(q->qmp, "cont", NULL);
	if (!e)
		e = pass_over_events(q);
	if (!e)
		e = query_status(q, &now);
	if (e)
		return err_suffix(err_prefix(e, "cannot let the guest run"), "; it stays paused until QEMU is told cont");
	q->ran = now.running;
	if (!now.running)
		raise_stopped(q, &now);
	return NULL;
}

/* Finds out whether it runs, and pauses it if it does. */
static struct err *pause_guest(struct guest *g)
{
	/* QEMU counts a guest that sleeps (ACPI S3) as one that does not run; 9.0 pauses it all the same. */
	static const char *const lively[] = { "running", "suspended" };
	struct qemu *q = g->priv;
	struct status now;
	struct err *e = query_status(q, &now);

	if (e)
		return e;
	strcpy(q->found, now.word);
	q->must_cont = is_one_of(now.word, lively, ARRAY_LEN(lively));
	g->was_paused = !q->must_cont;
	if (now.running)
		e = qmp_run(q->qmp, "stop", NULL);
	return e ? e : pass_over_events(q);
}

static struct err *qemu_stop(struct guest *g)
{
	struct qemu *q = g->priv;
	struct err *e = pause_guest(g);

	if (e)
		return explain_failure(g, e);
	q->held = true;
	q->was_reset = false;
	q->pending.kind = GUEST_EVENT_NONE;
	e = refresh(g);
	if (!e)
		qemu_stub_open(q->qmp, g->arch, q->n_cpus, &q->stub);
	if (!e)
		e = find_order(g);
	if (!e)
		return NULL;
	drop(q);
	err_destroy(restore(q));
	return explain_failure(g, e);
}

static struct err *qemu_resume(struct guest *g)
{
	struct qemu *q = g->priv;
	struct err *e = take_events(g);

	if (e || !q->held)
		return e;
	e = restore(q);
	if (e)
		return explain_failure(g, e);
	drop(q);
	return NULL;
}

static void qemu_close(struct guest *g)
{
	struct qemu *q = g->priv;
	struct err *e = NULL;

	if (q->held && g->state != GUEST_GONE) {
		qmp_set_timeout(q->qmp, CLOSE_MS);
		e = qemu_resume(g);
	}
	if (e && err_code(e) != ERR_GONE)
		log_warn("%s", err_text(e));
	err_destroy(e);
	drop(q);
	qmp_close(q->qmp);
	if (q->epoll_fd >= 0)
		close(q->epoll_fd);
	if (q->wake_fd >= 0)
		close(q->wake_fd);
	free(q->cpus);
	free(q->version);
	free(q->address);
	free(q);
}

/* ---- events ---- */

static int qemu_poll_fd(struct guest *g)
{
	return ((struct qemu *)g->priv)->epoll_fd;
}

static struct err *qemu_poll(struct guest *g, struct guest_event *ret)
{
	struct qemu *q = g->priv;
	struct err *e = take_events(g);
	eventfd_t count;

	if (e && err_code(e) == ERR_GONE) {
		ret->kind = GUEST_EVENT_GONE;
		err_destroy(e);
		return NULL;
	}
	if (e)
		return e;
	eventfd_read(q->wake_fd, &count);
	if (q->was_reset && q->held) {
		log_warn("another client of QEMU has reset the guest");
		qemu_notes_close(&q->notes);
		guest_set_vcpus(g, q->n_cpus);
		g->stops++;
	}
	q->was_reset = false;
	*ret = q->pending;
	q->pending.kind = GUEST_EVENT_NONE;
	return NULL;
}

/* ---- memory ---- */

static struct err *qemu_read_phys(struct guest *g, const struct mem_block *b, uint64_t gpa, void *ret, size_t bytes,
				  size_t *ret_bytes)
{
	struct qemu *q = g->priv;
	struct err *e = check_held(g);

	(void)b;
	return e ? e : explain_failure(g, qemu_mem_read(q->mem, gpa, ret, bytes, ret_bytes));
}

static struct err *qemu_write_phys(struct guest *g, const struct mem_block *b, uint64_t gpa, const void *from,
				   size_t bytes)
{
	struct qemu *q = g->priv;
	struct err *e = check_held(g);

	(void)b;
	return e ? e : explain_failure(g, qemu_mem_write(q->mem, gpa, from, bytes));
}

static struct err *qemu_next_data(struct guest *g, const struct mem_block *b, uint64_t gpa, uint64_t *ret_gpa,
				  uint64_t *ret_bytes)
{
	struct qemu *q = g->priv;
	struct err *e = check_held(g);

	(void)b;
	return e ? e : explain_failure(g, qemu_mem_next_data(q->mem, gpa, ret_gpa, ret_bytes));
}

/* ---- in words ---- */

static void qemu_describe_vcpu(struct guest *g, unsigned vcpu, struct buf *out)
{
	const struct cpu *c = &((struct qemu *)g->priv)->cpus[vcpu];

	buf_addf(out, "%s%sthread %" PRId64, c->state, *c->state ? ", " : "", c->tid);
}

static void describe_registers(const struct qemu *q, struct buf *out)
{
	if (q->stub.stub)
		buf_addf(out, "registers: by QEMU's gdbstub at %s%s, and by its monitor what that lacks\n", q->stub.place,
			 q->stub.ours ? ", started for this" : "");
	else
		buf_addf(out, "registers: by QEMU's monitor, and read-only: %s\n", q->stub.why);
}

static void qemu_describe(struct guest *g, struct buf *out)
{
	struct qemu *q = g->priv;
	pid_t pid = qmp_pid(q->qmp);

	buf_addf(out, "QEMU %s at %s, %s", q->version, q->address, q->kvm ? "KVM" : "TCG");
	if (pid)
		buf_addf(out, ", process %d", pid);
	buf_addch(out, '\n');
	if (q->kvm && pid)
		buf_addf(out, "reached by QMP, because --qmp was given and needs no privileges; "
			 "ptrace could, too: --attach %d\n", pid);
	if (!q->held)
		return;
	buf_addf(out, "its status was: %s\n", q->found);
	describe_registers(q, out);
	qemu_mem_describe(q->mem, out);
}

static void qemu_describe_memory(struct guest *g, struct buf *out)
{
	struct qemu *q = g->priv;

	if (q->held)
		qemu_mem_describe_regions(q->mem, out);
}

static const struct guest_ops qemu_ops = {
	.name = "qemu",
	.close = qemu_close,
	.stop = qemu_stop,
	.resume = qemu_resume,
	.read_phys = qemu_read_phys,
	.write_phys = qemu_write_phys,
	.next_data = qemu_next_data,
	.read_regs = qemu_read_regs,
	.write_regs = qemu_write_regs,
	.poll_fd = qemu_poll_fd,
	.poll = qemu_poll,
	.describe_vcpu = qemu_describe_vcpu,
	.describe = qemu_describe,
	.describe_memory = qemu_describe_memory,
};

/* ---- opening ---- */

static struct err *find_arch(struct qemu *q, const struct arch **ret)
{
	struct json_object *o;
	struct err *e = qmp_execute(q->qmp, "query-target", NULL, &o);
	const char *name;

	if (e)
		return e;
	name = qmp_string(o, "arch");
	*ret = arch_by_name(strcmp(name, "i386") ? name : "x86_64");
	if (!*ret)
		e = err_new(ERR_UNSUPPORTED, "the QEMU at %s has a guest of an architecture that is not supported: %s",
			    q->address, name);
	json_object_put(o);
	return e;
}

static struct err *ask_version(struct qemu *q)
{
	struct json_object *o, *v;
	struct buf text = { 0 };
	struct err *e = qmp_execute(q->qmp, "query-version", NULL, &o);

	if (e)
		return e;
	v = json_object_object_get(o, "qemu");
	buf_addf(&text, "%d.%d.%d", json_object_get_int(json_object_object_get(v, "major")),
		 json_object_get_int(json_object_object_get(v, "minor")),
		 json_object_get_int(json_object_object_get(v, "micro")));
	q->version = buf_take(&text);
	json_object_put(o);
	e = qmp_execute(q->qmp, "query-kvm", NULL, &o);
	if (e)
		return e;
	q->kvm = json_object_get_boolean(json_object_object_get(o, "enabled"));
	json_object_put(o);
	return NULL;
}

static struct err *watch(struct qemu *q, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN };

	if (epoll_ctl(q->epoll_fd, EPOLL_CTL_ADD, fd, &ev))
		return err_sys(errno, "cannot watch QEMU");
	return NULL;
}

static struct err *watch_all(struct qemu *q)
{
	struct err *e;

	q->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	q->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->epoll_fd < 0 || q->wake_fd < 0)
		return err_sys(errno, "cannot watch QEMU");
	e = watch(q, qmp_fd(q->qmp));
	return e ? e : watch(q, q->wake_fd);
}

/* Looks at everything once without stopping it, so that what cannot be had is told at once. */
static struct err *look(struct guest *g)
{
	struct qemu *q = g->priv;
	struct status now;
	struct err *e = query_status(q, &now);

	if (!e)
		e = refresh(g);
	if (e)
		return e;
	q->ran = now.running;
	drop(q);
	return NULL;
}

struct err *guest_open_qemu(const char *qmp, struct guest **ret)
{
	struct qemu *q = xcalloc(1, sizeof(*q));
	const struct arch *arch = NULL;
	struct guest *g;
	struct err *e;

	*q = (struct qemu){ .address = xstrdup(qmp), .epoll_fd = -1, .wake_fd = -1 };
	g = guest_create(&qemu_ops, NULL, q);
	e = qmp_connect(qmp, &q->qmp);
	if (!e)
		e = find_arch(q, &arch);
	g->arch = arch;
	if (!e)
		e = ask_version(q);
	if (!e)
		e = watch_all(q);
	if (!e)
		e = look(g);
	if (e) {
		guest_destroy(g);
		return e;
	}
	*ret = g;
	return NULL;
}
