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
#include "guest/qemu_debug.h"
#include "guest/qemu_keeper.h"
#include "guest/qemu_mem.h"
#include "guest/qemu_notes.h"
#include "guest/qemu_regs.h"
#include "guest/qemu_run.h"
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
	struct qemu_keeper *keeper;
	struct qemu_debt *debt; /* the keeper's */
	char *version;
	bool kvm;
	int epoll_fd; /* QMP and wake_fd */
	int wake_fd;  /* there is something for guest_poll() that QMP's descriptor does not show any more */
	struct cpu *cpus;
	unsigned n_cpus;
	bool ran;           /* at the last look, while we did not hold it */
	bool held;          /* by us: nothing moves unless somebody else lets it run */
	struct qemu_status found; /* when we came to hold it */
	bool was_reset;     /* while held: what was read is stale */
	struct guest_event pending;
	struct qemu_stub stub; /* while held, or armed */
	struct qemu_debug debug;
	bool disarmed; /* it goes on for the first time without what was set */
	bool waited; /* for its death, since it was last stopped */
	struct qemu_mem *mem;  /* while held */
	struct qemu_notes notes; /* while held */
};

/* ---- run state ---- */

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

/* Also after commands: events that came with the answers do not show at QMP's descriptor. */
static void wake(struct qemu *q)
{
	eventfd_write(q->wake_fd, 1);
}

static bool is_debug_stop(const struct qemu_status *s)
{
	return !strcmp(s->word, "debug");
}

static void raise(struct qemu *q, const struct guest_event *ev)
{
	q->pending = *ev;
	wake(q);
}

/* What is armed in QEMU stays so when the stub goes: breakpoints would stop the guest for nobody. */
static void note_armed(const struct guest *g)
{
	struct qemu *q = g->priv;

	q->debt->steps = qemu_debug_steps(&q->debug);
	q->debt->armed = g->n_breakpoints || q->debt->steps;
}

static struct err *run_on(struct guest *g)
{
	struct qemu *q = g->priv;
	struct err *e;

	q->debt->steps = true;
	e = qemu_debug_go(g, &q->debug);
	q->debt->steps = qemu_debug_steps(&q->debug);
	q->ran = !e;
	return e;
}

/* QEMU counts a guest that sleeps (ACPI S3) as one that does not run; 9.0 pauses it all the same. */
static bool sleeps(const struct qemu_status *s)
{
	return !strcmp(s->word, "suspended");
}

/* A stop that nobody has asked for goes on at once: of a step that another vCPU's stop has cut short. */
static struct err *raise_stopped(struct guest *g, const struct qemu_status *now)
{
	struct qemu *q = g->priv;
	struct guest_event ev = { .kind = GUEST_EVENT_STOPPED, .signal = signal_of(now->word) };
	bool ours = q->debt->armed && is_debug_stop(now);
	struct err *e;

	q->ran = false;
	if (ours)
		ev.kind = GUEST_EVENT_NONE;
	e = qemu_debug_stopped(g, &q->debug, ours, &ev);
	if (e)
		return e;
	if (ev.kind == GUEST_EVENT_NONE)
		return run_on(g);
	raise(q, &ev);
	return NULL;
}

static void drop(struct qemu *q)
{
	if (!q->debt->armed)
		qemu_stub_close(q->qmp, &q->stub);
	qemu_notes_close(&q->notes);
	q->held = false;
}

/* Lets it run if it did before us. A QEMU that does not answer is owed it still. */
static struct err *restore(struct guest *g)
{
	struct qemu *q = g->priv;
	struct qemu_status now;
	struct err *e = NULL;

	qemu_debug_let_go(&q->debug);
	if (q->debt->run)
		e = q->disarmed ? qemu_run_past_stops(q->qmp, &now) : qemu_run(q->qmp, &now);
	if (!q->debt->run || (e && err_code(e) == ERR_TIMEOUT))
		return err_prefix(e, "cannot let the guest run");
	q->debt->run = false;
	if (e)
		return err_suffix(err_prefix(e, "cannot let the guest run"), "; it stays paused until QEMU is told cont");
	q->ran = now.running;
	wake(q);
	return now.running || sleeps(&now) ? NULL : raise_stopped(g, &now);
}

static void lose_hold(struct guest *g)
{
	struct qemu *q = g->priv;

	log_warn("another client of QEMU has let the guest run");
	q->debt->run = false;
	q->ran = true;
	qemu_debug_let_go(&q->debug);
	drop(q);
	g->state = GUEST_RUNNING;
}

/* Somebody has run or stopped it, or it has stopped by itself. resumed: it ran, even if it has stopped since. */
static struct err *on_run_state(struct guest *g, bool resumed)
{
	struct qemu *q = g->priv;
	struct qemu_status now;
	struct err *e = qemu_status_ask(q->qmp, &now);

	if (e)
		return e;
	if (resumed)
		qemu_debug_forget_regs(&q->debug);
	if (q->held && (resumed || now.running))
		lose_hold(g);
	else if (now.running && !q->ran)
		qemu_debug_let_go(&q->debug);
	if (!q->held && !now.running) {
		/* QEMU may do a stop that we have given up waiting for. */
		if (q->debt->run)
			return restore(g);
		/* The events of a stop that was looked at early come after it. */
		if (q->ran || (resumed && q->debug.running))
			return raise_stopped(g, &now);
	}
	q->ran = now.running;
	return NULL;
}

static void on_reset(struct qemu *q)
{
	qemu_debug_forget_regs(&q->debug);
	if (!q->held)
		return;
	if (sleeps(&q->found))
		strcpy(q->found.word, "prelaunch");
	q->was_reset = true;
	wake(q);
}

static bool is_of_run_state(const char *event)
{
	static const char *const names[] = { "STOP", "RESUME", "SUSPEND", "WAKEUP", "GUEST_PANICKED" };

	return qemu_word_is(event, names, ARRAY_LEN(names));
}

/* Those that have come: together they say no more than that one has to look, and whether it has run. */
static struct err *read_events(struct qemu *q, bool *ret_run_state, bool *ret_resumed)
{
	for (;;) {
		struct json_object *o;
		const char *name;
		struct err *e = qmp_next_event(q->qmp, &o);

		if (e || !o)
			return e;
		name = qmp_string(o, "event");
		if (!strcmp(name, "RESET"))
			on_reset(q);
		*ret_run_state |= is_of_run_state(name);
		*ret_resumed |= !strcmp(name, "RESUME") || !strcmp(name, "WAKEUP");
		json_object_put(o);
	}
}

/* What QEMU has told by itself since the last time. */
static struct err *take_events(struct guest *g)
{
	struct err *e = NULL;
	bool some = true;

	while (!e && some) {
		bool resumed = false;

		some = false;
		e = read_events(g->priv, &some, &resumed);
		if (!e && some)
			e = on_run_state(g, resumed);
	}
	if (e && err_code(e) == ERR_GONE)
		g->state = GUEST_GONE;
	return e;
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

/* A QEMU that is being killed fails in many ways before it is seen to have exited. Waits once a stop. */
static struct err *explain_failure(struct guest *g, struct err *e)
{
	struct qemu *q = g->priv;
	struct pollfd p = { .fd = qmp_fd(q->qmp), .events = POLLIN };
	int wait_ms = q->waited ? 0 : DYING_MS;
	struct err *gone;

	if (!e)
		return NULL;
	q->waited = true;
	if (poll(&p, 1, wait_ms) != 1)
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
			.flags = (r[i].kind == QEMU_ROM || r[i].kind == QEMU_ROM_DEVICE ? MEM_ROM : 0) |
				 (qemu_mem_is_parallel(mem, i) ? 0 : MEM_ONE_THREAD),
		};
	}
	e = n ? guest_set_blocks(g, blocks, n) :
		err_new(ERR_UNSUPPORTED, "the guest of the QEMU at %s has no memory", ((struct qemu *)g->priv)->address);
	free(blocks);
	return e;
}

static void set_debug_vcpus(struct qemu *q)
{
	int *indices = xcalloc(q->n_cpus, sizeof(*indices));

	for (unsigned i = 0; i < q->n_cpus; i++)
		indices[i] = q->cpus[i].index;
	qemu_debug_set_vcpus(&q->debug, indices, q->n_cpus);
	free(indices);
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
	if (e)
		return e;
	guest_set_vcpus(g, q->n_cpus);
	set_debug_vcpus(q);
	return NULL;
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
	wake(q);
	return e;
}

static struct err *qemu_write_regs(struct guest *g, unsigned vcpu, const struct regs *from, const bool *changed)
{
	struct qemu *q = g->priv;
	struct err *e = check_held(g);

	qemu_notes_close(&q->notes);
	qemu_debug_forget_regs(&q->debug);
	return e ? e : explain_failure(g, qemu_regs_write(&q->stub, vcpu, from, changed));
}

/* By the monitor, whose numbers have no byte order of their own. */
static struct err *find_order(struct guest *g)
{
	struct qemu *q = g->priv;
	const struct regs *regs;
	struct err *e = qemu_debug_regs(g, &q->debug, 0, &regs);

	if (!e)
		g->order = g->arch->order(regs);
	return e;
}

/* ---- run control ---- */

static struct err *stop_running(struct qemu *q)
{
	struct qemu_status now;
	struct err *e = qmp_run(q->qmp, "stop", NULL);

	if (!e)
		e = qmp_drop_events(q->qmp);
	if (!e)
		e = qemu_status_ask(q->qmp, &now);
	if (e || !now.running)
		return e;
	q->debt->run = false;
	return err_new(ERR_BUSY, "another client of QEMU has let the guest run at once");
}

static bool would_run(const struct qemu *q, const struct qemu_status *s)
{
	return s->running || sleeps(s) || (q->debt->armed && is_debug_stop(s));
}

/* With no event left of what was before it. Where something has run meanwhile it takes one more look. */
static struct err *find_status(struct qemu *q)
{
	bool some, resumed;
	struct err *e;

	do {
		some = resumed = false;
		e = qemu_status_ask(q->qmp, &q->found);
		if (!e)
			e = read_events(q, &some, &resumed);
		if (resumed || q->found.running)
			qemu_debug_forget_regs(&q->debug);
	} while (!e && resumed);
	return e;
}

/* Finds out whether it runs, and pauses it if it does. */
static struct err *pause_guest(struct guest *g)
{
	struct qemu *q = g->priv;
	struct err *e = find_status(q);

	if (e)
		return e;
	if (would_run(q, &q->found))
		q->debt->run = true;
	g->was_paused = !q->debt->run;
	return q->found.running ? stop_running(q) : NULL;
}

/* One that is kept while breakpoints are set has to tell of the vCPUs that there are now. */
static struct err *need_stub(struct guest *g)
{
	struct qemu *q = g->priv;

	/* QEMU closes it without a word. */
	if (q->stub.stub && stub_is_closed(q->stub.stub))
		qemu_stub_leave(&q->stub);
	if (q->stub.stub && stub_vcpus(q->stub.stub) == q->n_cpus)
		return NULL;
	qemu_stub_close(q->qmp, &q->stub);
	qemu_stub_open(q->qmp, g->arch, q->n_cpus, q->debt, &q->stub);
	return g->n_breakpoints && q->stub.stub ? qemu_debug_set_again(g, &q->debug) : NULL;
}

/* It stands still: what it is now. */
static struct err *look_at_stopped(struct guest *g)
{
	struct qemu *q = g->priv;
	struct guest_event unused;
	struct err *e = qemu_debug_stopped(g, &q->debug, false, &unused);

	if (!e)
		e = refresh(g);
	if (!e)
		e = need_stub(g);
	if (!e)
		e = find_order(g);
	wake(q);
	return e;
}

static struct err *qemu_stop(struct guest *g)
{
	struct qemu *q = g->priv;
	struct err *e;

	q->pending.kind = GUEST_EVENT_NONE;
	q->waited = false;
	if (q->held)
		return check_held(g);
	e = pause_guest(g);
	if (e) {
		err_destroy(restore(g));
		return explain_failure(g, e);
	}
	q->held = true;
	q->was_reset = false;
	e = look_at_stopped(g);
	if (!e)
		return NULL;
	drop(q);
	err_destroy(restore(g));
	return explain_failure(g, e);
}

/* Nothing is set in it, or it is its owner who lets it run. */
static struct err *resume_plainly(struct guest *g)
{
	struct qemu *q = g->priv;
	struct err *e = qemu_debug_steps(&q->debug) ? need_stub(g) : NULL;

	/* They cannot end before it wakes up. */
	if (!e && !g->n_breakpoints && !sleeps(&q->found))
		e = qemu_debug_end_steps(&q->debug);
	if (e)
		return e;
	q->disarmed = q->debt->armed && !g->n_breakpoints;
	note_armed(g);
	e = restore(g);
	q->disarmed = false;
	if (!e)
		drop(q);
	return e;
}

static struct err *run_debugged(struct guest *g, const enum run_action *actions)
{
	struct qemu *q = g->priv;
	struct guest_event ev = { .kind = GUEST_EVENT_NONE };
	struct err *e;

	q->debt->armed = q->debt->steps = true;
	qemu_notes_close(&q->notes);
	e = need_stub(g);
	if (!e)
		e = qemu_debug_prepare(g, &q->debug, actions, &ev);
	if (e)
		return e;
	if (ev.kind != GUEST_EVENT_NONE) {
		raise(q, &ev);
		return NULL;
	}
	e = run_on(g);
	if (e)
		return e;
	q->debt->run = false;
	drop(q);
	wake(q);
	return NULL;
}

static struct err *qemu_run_guest(struct guest *g, const enum run_action *actions)
{
	struct qemu *q = g->priv;
	struct err *e = take_events(g);

	if (e || !q->held)
		return e;
	if (actions && !q->debt->run)
		return err_new(ERR_UNSUPPORTED, "the guest was not running when it was attached to (%s): its owner may let it "
						"run, with QEMU's cont", q->found.word);
	if (actions && sleeps(&q->found))
		return err_new(ERR_UNSUPPORTED, "the guest sleeps (ACPI S3): no vCPU runs until it is woken up, with QEMU's "
						"system_wakeup");
	if (actions || (g->n_breakpoints && q->debt->run && !sleeps(&q->found)))
		e = run_debugged(g, actions);
	else
		e = resume_plainly(g);
	return explain_failure(g, e);
}

static struct err *qemu_resume(struct guest *g)
{
	return qemu_run_guest(g, NULL);
}

static struct err *qemu_set_breakpoint(struct guest *g, unsigned vcpu, const struct breakpoint *b)
{
	struct qemu *q = g->priv;
	struct err *e = check_held(g);

	if (e)
		return e;
	q->debt->armed = true;
	e = need_stub(g);
	if (!e)
		e = qemu_debug_set(g, &q->debug, vcpu, b);
	if (e)
		note_armed(g);
	return explain_failure(g, e);
}

static struct err *qemu_clear_breakpoint(struct guest *g, const struct breakpoint *b)
{
	struct qemu *q = g->priv;
	struct err *e = check_held(g);

	if (!e)
		e = need_stub(g);
	return explain_failure(g, e ? e : qemu_debug_clear(&q->debug, b));
}

/* Lets go of the guest; what QEMU does not do now is left to the keeper. */
static void leave(struct guest *g)
{
	struct qemu *q = g->priv;
	struct err *e = NULL;
	pid_t keeper;

	qmp_set_timeout(q->qmp, CLOSE_MS);
	if (g->state == GUEST_GONE)
		*q->debt = (struct qemu_debt){ 0 };
	else if (q->held)
		e = qemu_resume(g);
	else if (!q->debt->armed)
		e = restore(g);
	drop(q);
	qemu_stub_leave(&q->stub);
	if (e && err_code(e) == ERR_GONE)
		*q->debt = (struct qemu_debt){ 0 };
	keeper = qemu_keeper_end(q->keeper);
	if (keeper)
		e = err_suffix(e, "; process %d stays, and does it as soon as QEMU answers", keeper);
	if (e && err_code(e) != ERR_GONE)
		log_warn("%s", err_text(e));
	err_destroy(e);
}

static void qemu_close(struct guest *g)
{
	struct qemu *q = g->priv;

	if (q->keeper)
		leave(g);
	qemu_debug_deinit(&q->debug);
	qemu_notes_deinit(&q->notes);
	qemu_mem_close(q->mem);
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
	if (ret->kind == GUEST_EVENT_STOPPED && ret->cause == STOP_BREAKPOINT)
		qemu_debug_told(&q->debug, ret->vcpu);
	return NULL;
}

static bool qemu_panicked(struct guest *g)
{
	static const char *const states[] = { "guest-panicked", "internal-error" };
	const struct qemu *q = g->priv;

	return q->held && qemu_word_is(q->found.word, states, ARRAY_LEN(states));
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

static struct err *qemu_read_beside(struct guest *g, const struct mem_block *b, uint64_t gpa, void *ret, size_t bytes,
				    size_t *ret_bytes)
{
	struct qemu *q = g->priv;

	(void)b;
	return qemu_mem_read_beside(q->mem, gpa, ret, bytes, ret_bytes);
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
	buf_addf(out, "its status was: %s\n", q->found.word);
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
	.read_beside = qemu_read_beside,
	.check_held = check_held,
	.write_phys = qemu_write_phys,
	.next_data = qemu_next_data,
	.read_regs = qemu_read_regs,
	.write_regs = qemu_write_regs,
	.run = qemu_run_guest,
	.set_breakpoint = qemu_set_breakpoint,
	.clear_breakpoint = qemu_clear_breakpoint,
	.poll_fd = qemu_poll_fd,
	.poll = qemu_poll,
	.panicked = qemu_panicked,
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
	struct qemu_status now;
	struct err *e = qemu_status_ask(q->qmp, &now);

	if (!e)
		e = refresh(g);
	if (e)
		return e;
	q->ran = now.running;
	drop(q);
	/* A guest that runs may look like no file. */
	qemu_mem_close(q->mem);
	q->mem = NULL;
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
		e = qemu_keeper_start(q->qmp, &q->keeper);
	if (!e) {
		q->debt = qemu_keeper_debt(q->keeper);
		e = find_arch(q, &arch);
	}
	g->arch = arch;
	if (!e)
		e = ask_version(q);
	q->debug.qmp = q->qmp;
	q->debug.stub = &q->stub;
	q->debug.kvm = q->kvm;
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
