/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/kvm_control.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "guest/kvm.h"
#include "guest/proc.h"

#define SIGNAL_TRAP 5
/* A pause as long as this is one that the guest is told of. */
#define NOTED_PAUSE_MS 500
#define PAGE_BYTES 4096u

struct err *kvm_control_init(struct kvm_control *c)
{
	*c = (struct kvm_control){ .event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	return c->event_fd < 0 ? err_sys(errno, "cannot make an eventfd") : NULL;
}

void kvm_control_deinit(struct kvm_control *c)
{
	if (c->event_fd >= 0)
		close(c->event_fd);
	free(c->points);
	free(c->next);
	free(c->seen);
}

/* ---- what this host's KVM can do ---- */

/* The VMM's own descriptor, where we may not open the device ourselves. */
static int copy_kvm_fd(const struct kvm *k)
{
	struct proc_fd *fds = NULL;
	size_t n = 0;
	struct err *e = proc_fds(k->pid, &fds, &n);
	int fd = -1;

	for (size_t i = 0; i < n && fd < 0; i++)
		if (!strcmp(fds[i].link, "/dev/kvm"))
			fd = (int)syscall(SYS_pidfd_getfd, k->pidfd, fds[i].fd, 0);
	err_destroy(e);
	free(fds);
	return fd;
}

static const struct kvm_debug_caps *need_caps(struct kvm *k)
{
	struct kvm_debug_caps *caps = &k->control.caps;
	int fd;

	if (caps->tested)
		return caps;
	fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		fd = copy_kvm_fd(k);
	kvm_debug_test(fd, caps);
	if (fd >= 0)
		close(fd);
	return caps;
}

static struct err *cannot(const struct kvm_debug_caps *caps, const char *what, const char *way_out)
{
	if (!caps->tested)
		return err_new(ERR_UNSUPPORTED, "what this host's KVM can do is not known: /dev/kvm cannot be opened "
						"here, nor copied from the VMM");
	return err_new(ERR_UNSUPPORTED, "this host's KVM does no %s: it failed when tried on a guest of our own; %s",
		       what, way_out);
}

/* Where KVM does not step, breakpoint instructions behind the next one do it. */
static bool can_step(const struct kvm_debug_caps *caps)
{
	return caps->step || (kvm_debug_next && caps->software);
}

static struct err *check_step(const struct kvm_debug_caps *caps)
{
	return can_step(caps) ? NULL : cannot(caps, "single steps", "use breakpoints");
}

/* Does a breakpoint of this kind work here? */
static struct err *check_kind(const struct kvm_debug_caps *caps, enum breakpoint_kind kind)
{
	static const char *const instead = "step, or break where the data is used";

	switch (kind) {
	case BREAKPOINT_SOFTWARE:
		if (caps->software || caps->execute)
			return check_step(caps);
		return cannot(caps, "breakpoints", "single steps may work");
	case BREAKPOINT_HARDWARE:
		return caps->execute ? check_step(caps) : cannot(caps, "hardware breakpoints", "use software ones");
	case WATCHPOINT_WRITE:
		return caps->watch ? NULL : cannot(caps, "write watchpoints", instead);
	case WATCHPOINT_READ:
	case WATCHPOINT_ACCESS:
		return caps->access ? NULL : cannot(caps, "access watchpoints", instead);
	}
	return err_new(ERR_UNSUPPORTED, "there is no breakpoint of kind %d", (int)kind);
}

/* KVM keeps one set of debug registers a vCPU for all comers: who was there first has them. */
static struct err *check_unused(struct kvm *k)
{
	uint64_t flags = 0;
	struct err *e = NULL;

	if (k->control.armed || k->watched || !k->layout.vcpu_guest_debug)
		return NULL;
	for (size_t i = 0; !e && !flags && i < k->fds.n_vcpus; i++)
		if (k->fds.vcpus[i].kvm == k->fds.vms[k->vm].kvm)
			e = kpeek_u64(&k->peek, k->fds.vcpus[i].vcpu + k->layout.vcpu_guest_debug, &flags);
	if (!e && flags)
		e = err_new(ERR_BUSY, "the VMM, process %d, debugs its guest itself (a debugger at QEMU's gdbstub): "
				      "detach that one first, or use it", k->pid);
	return e;
}

/* ---- breakpoints ---- */

static struct err *check_room(const struct kvm *k, const struct breakpoint *b)
{
	unsigned need, used = 0, n;
	struct err *e = kvm_debug_registers_of(b, &need);

	for (size_t i = 0; !e && i < k->control.n_points; i++) {
		if (!k->control.points[i].in_register)
			continue;
		e = kvm_debug_registers_of(&k->control.points[i].b, &n);
		used += e ? 0 : n;
	}
	if (!e && used + need > kvm_debug_n_registers)
		e = err_new(ERR_UNSUPPORTED, "no debug register is free: the processor has %u, and %u are in use%s",
			    kvm_debug_n_registers, used,
			    b->kind == BREAKPOINT_SOFTWARE ? " (this host's KVM fails breakpoint instructions)" : "");
	return e;
}

/* Where the instruction of a software breakpoint goes. */
static struct err *find_place(struct guest *g, unsigned vcpu, const struct breakpoint *b, uint64_t *ret_gpa)
{
	const struct mem_block *block;
	struct mapping m;
	struct err *e = guest_translate(g, vcpu, b->gva, &m);

	if (e)
		return e;
	*ret_gpa = m.gpa + (b->gva - m.gva);
	block = guest_block_at(g, *ret_gpa);
	if (!block)
		return err_new(ERR_UNMAPPED, "0x%" PRIx64 " is no memory (physical 0x%" PRIx64 ")", b->gva, *ret_gpa);
	if (block->flags & MEM_ROM)
		return err_new(ERR_UNSUPPORTED, "0x%" PRIx64 " is in ROM", b->gva);
	return NULL;
}

static struct err *find_software(struct guest *g, unsigned vcpu, const struct breakpoint *b, uint64_t *ret_gpa)
{
	struct err *e = find_place(g, vcpu, b, ret_gpa);

	if (!e || !kvm_debug_n_registers)
		return e;
	return err_suffix(e, err_code(e) == ERR_UNSUPPORTED ? ": take a hardware breakpoint (hbreak)" :
							      "; a hardware breakpoint (hbreak) needs no mapping");
}

/* For a host that must be told where in memory it is: in one piece. */
static struct err *find_watched(struct guest *g, unsigned vcpu, const struct breakpoint *b, uint64_t *ret_gpa)
{
	const struct breakpoint last = { b->kind, b->gva + b->bytes - 1, 1 };
	uint64_t last_gpa;
	struct err *e = find_place(g, vcpu, b, ret_gpa);

	if (!e)
		e = find_place(g, vcpu, &last, &last_gpa);
	if (!e && last_gpa - *ret_gpa != b->bytes - 1)
		e = err_new(ERR_UNSUPPORTED, "the %" PRIu64 " bytes at 0x%" PRIx64 " are not in one piece in the guest's memory",
			    b->bytes, b->gva);
	return e;
}

static void add_point(struct kvm_control *c, const struct kvm_point *p)
{
	c->points = xreallocarray(c->points, c->n_points + 1, sizeof(*c->points));
	c->points[c->n_points++] = *p;
}

struct err *kvm_set_breakpoint(struct guest *g, unsigned vcpu, const struct breakpoint *b)
{
	struct kvm *k = g->priv;
	struct kvm_point p = { .b = *b, .in_register = b->kind != BREAKPOINT_SOFTWARE };
	struct err *e = kvm_check_held(g);

	if (!e)
		e = check_kind(need_caps(k), b->kind);
	if (!e)
		e = check_unused(k);
	if (!e && b->kind == BREAKPOINT_SOFTWARE) {
		p.in_register = !k->control.caps.software;
		e = find_software(g, vcpu, b, &p.gpa);
		/* What a register can do without a place in memory it does. */
		if (e && p.in_register && err_code(e) == ERR_UNSUPPORTED) {
			err_destroy(e);
			e = NULL;
		}
	} else if (!e && !breakpoint_executes(b->kind) && kvm_debug_watches_memory) {
		e = find_watched(g, vcpu, b, &p.gpa);
	}
	if (!e && p.in_register)
		e = check_room(k, b);
	if (!e)
		add_point(&k->control, &p);
	return e;
}

struct err *kvm_clear_breakpoint(struct guest *g, const struct breakpoint *b)
{
	struct kvm_control *c = &((struct kvm *)g->priv)->control;

	for (size_t i = 0; i < c->n_points; i++) {
		const struct breakpoint *x = &c->points[i].b;

		if (x->kind != b->kind || x->gva != b->gva || x->bytes != b->bytes)
			continue;
		c->points[i] = c->points[--c->n_points];
		break;
	}
	return NULL;
}

/* The first that the hit can be of; NULL: it has been removed. */
static const struct kvm_point *point_of(const struct kvm_control *c, const struct kvm_hit *hit)
{
	for (size_t i = 0; i < c->n_points; i++) {
		const struct breakpoint *b = &c->points[i].b;

		if (hit->kind == KVM_HIT_WATCH ? !breakpoint_executes(b->kind) && hit->gva - b->gva < b->bytes :
						 breakpoint_executes(b->kind) && b->gva == hit->pc)
			return &c->points[i];
	}
	return NULL;
}

/* ---- vCPUs ---- */

static struct kvm_seen *find_seen(struct kvm_control *c, int fd)
{
	for (unsigned i = 0; i < c->n_seen; i++)
		if (c->seen[i].fd == fd)
			return &c->seen[i];
	return NULL;
}

void kvm_control_set_vcpus(struct kvm *k)
{
	struct kvm_control *c = &k->control;
	struct kvm_seen *seen = xcalloc(k->n_vcpus, sizeof(*seen));

	for (unsigned i = 0; i < k->n_vcpus; i++) {
		const struct kvm_seen *old = find_seen(c, k->vcpu_fds[i]);

		seen[i] = old ? *old : (struct kvm_seen){ .fd = k->vcpu_fds[i] };
	}
	free(c->seen);
	c->seen = seen;
	c->n_seen = k->n_vcpus;
}

void kvm_control_moved(struct kvm *k, unsigned vcpu)
{
	k->control.seen[vcpu] = (struct kvm_seen){ .fd = k->vcpu_fds[vcpu] };
}

void kvm_control_forget(struct kvm *k)
{
	for (unsigned i = 0; i < k->control.n_seen; i++)
		k->control.seen[i] = (struct kvm_seen){ .fd = k->control.seen[i].fd };
	k->control.armed = k->control.running = k->control.stopped = false;
}

/* ---- hits ---- */

/* The page may be mapped elsewhere too: what counts is that the instruction is still to be there. */
static bool is_of_an_instruction(const struct kvm_control *c, uint64_t pc)
{
	for (size_t i = 0; i < c->n_points; i++)
		if (!c->points[i].in_register && !((c->points[i].b.gva ^ pc) % PAGE_BYTES))
			return true;
	return false;
}

static bool is_reportable(const struct kvm_control *c, const struct kvm_seen *s)
{
	if (!s->has_hit || s->hit.kind == KVM_HIT_STEP)
		return s->has_hit;
	return point_of(c, &s->hit) || (s->hit.kind == KVM_HIT_SOFTWARE && is_of_an_instruction(c, s->hit.pc));
}

static void report(const struct kvm_control *c, struct kvm_seen *s, unsigned vcpu, struct guest_event *ret)
{
	const struct kvm_point *p = point_of(c, &s->hit);

	*ret = (struct guest_event){ .kind = GUEST_EVENT_STOPPED, .vcpu = vcpu, .signal = SIGNAL_TRAP,
				     .cause = s->hit.kind == KVM_HIT_STEP ? STOP_STEP : STOP_BREAKPOINT };
	if (ret->cause == STOP_BREAKPOINT) {
		ret->breakpoint = p ? p->b.kind : BREAKPOINT_SOFTWARE;
		ret->gva = s->hit.kind == KVM_HIT_WATCH ? s->hit.gva : s->hit.pc;
	}
	s->has_hit = false;
	s->told = true;
	s->pc = s->hit.pc;
}

/* The first in the order of vCPUs; false: none. */
static bool report_next(struct kvm_control *c, struct guest_event *ret)
{
	for (unsigned i = 0; i < c->n_seen; i++) {
		if (!is_reportable(c, &c->seen[i]))
			continue;
		report(c, &c->seen[i], i, ret);
		return true;
	}
	return false;
}

/* A vCPU that is new stands last until this stop's are known. */
static struct kvm_seen *need_seen(struct kvm_control *c, int fd)
{
	struct kvm_seen *s = find_seen(c, fd);

	if (s)
		return s;
	c->seen = xreallocarray(c->seen, c->n_seen + 1, sizeof(*c->seen));
	c->seen[c->n_seen] = (struct kvm_seen){ .fd = fd };
	return &c->seen[c->n_seen++];
}

static void take_stopped(struct kvm *k, struct guardian_stopped *st)
{
	struct kvm_control *c = &k->control;

	k->n_parked = st->parked;
	c->undisturbed = st->undisturbed;
	for (size_t i = 0; i < st->n_hits; i++) {
		struct kvm_seen *s = need_seen(c, st->hits[i].vcpu_fd);

		s->has_hit = true;
		s->hit = st->hits[i];
	}
	for (size_t i = 0; i < st->n_left; i++) {
		struct kvm_seen *s = find_seen(c, st->left[i]);

		if (s)
			s->told = true;
	}
	guardian_stopped_deinit(st);
}

static struct err *collect(struct guest *g)
{
	struct kvm *k = g->priv;
	struct guardian_stopped st;
	struct err *e = guardian_stop(k->guardian, (unsigned)k->fds.n_vcpus, &st);

	if (e)
		return kvm_explain_failure(g, e);
	take_stopped(k, &st);
	k->control.stopped = true;
	k->control.stopped_ms = clock_ms();
	return NULL;
}

static void clear_event(const struct kvm_control *c)
{
	eventfd_t n;

	eventfd_read(c->event_fd, &n);
}

struct err *kvm_control_stop(struct guest *g)
{
	struct kvm_control *c = &((struct kvm *)g->priv)->control;
	struct err *e = c->stopped ? NULL : collect(g);

	clear_event(c);
	c->running = c->stopped = false;
	/* A step that nobody was told of is forgotten: whoever interrupts it looks for himself. */
	for (unsigned i = 0; i < c->n_seen; i++)
		if (c->seen[i].has_hit && c->seen[i].hit.kind == KVM_HIT_STEP)
			c->seen[i].has_hit = false;
	return e;
}

struct err *kvm_control_poll(struct guest *g, struct guest_event *ret)
{
	struct kvm *k = g->priv;
	struct kvm_control *c = &k->control;
	struct err *e = NULL;

	if (!c->stopped && guardian_take_event(k->guardian))
		e = collect(g);
	if (e || !c->stopped)
		return e;
	clear_event(c);
	if (!report_next(c, ret))
		*ret = (struct guest_event){ .kind = GUEST_EVENT_STOPPED, .signal = SIGNAL_TRAP, .cause = STOP_OTHER };
	return NULL;
}

/* ---- running ---- */

bool kvm_control_needed(const struct kvm *k)
{
	for (unsigned i = 0; i < k->control.n_seen; i++)
		if (is_reportable(&k->control, &k->control.seen[i]))
			return true;
	return k->control.n_points > 0;
}

static enum run_action action_of(const enum run_action *actions, unsigned vcpu)
{
	return actions ? actions[vcpu] : RUN_CONTINUE;
}

static bool has_news(const struct kvm_control *c, const enum run_action *actions)
{
	for (unsigned i = 0; i < c->n_seen; i++)
		if (action_of(actions, i) != RUN_HOLD && is_reportable(c, &c->seen[i]))
			return true;
	return false;
}

/* Is there a breakpoint to be passed over? */
static bool stands_on_one(const struct kvm_control *c, const struct kvm_seen *s)
{
	const struct kvm_hit here = { .kind = KVM_HIT_EXECUTE, .pc = s->pc };

	return s->told && point_of(c, &here);
}

static unsigned step_flags(const struct kvm_control *c, bool hold_irqs)
{
	return KVM_DEBUG_STEP | (hold_irqs && c->caps.holds_irqs ? KVM_DEBUG_HOLD_IRQS : 0);
}

/* All points in registers but those to execute at *but. */
static void add_points(const struct kvm_control *c, const uint64_t *but, struct kvm_arming *d)
{
	for (size_t i = 0; i < c->n_points; i++) {
		const struct kvm_point *p = &c->points[i];

		if (p->in_register && !(but && breakpoint_executes(p->b.kind) && p->b.gva == *but))
			kvm_debug_add_breakpoint(d, &p->b, p->gpa);
	}
}

static bool any_in_memory(const struct kvm_control *c)
{
	for (size_t i = 0; i < c->n_points; i++)
		if (!c->points[i].in_register)
			return true;
	return false;
}

static struct kvm_arming debug_of(const struct kvm_control *c, unsigned flags)
{
	struct kvm_arming d = kvm_debug_none();

	if (any_in_memory(c))
		flags |= KVM_DEBUG_SOFTWARE;
	if (flags)
		kvm_debug_add_flags(&d, flags);
	add_points(c, NULL, &d);
	return d;
}

static struct guardian_vcpu order_for(const struct guest *g, const struct kvm_seen *s, enum run_action action)
{
	const struct kvm_control *c = &((const struct kvm *)g->priv)->control;
	struct guardian_vcpu o = { .fd = s->fd, .action = action };

	o.over = action != RUN_HOLD && stands_on_one(c, s);
	o.debug = debug_of(c, action == RUN_STEP ? step_flags(c, g->step_holds_irqs) : 0);
	if (o.over) {
		kvm_debug_add_flags(&o.over_debug, step_flags(c, action == RUN_CONTINUE || g->step_holds_irqs));
		add_points(c, &s->pc, &o.over_debug);
	}
	return o;
}

/* Its step will be kept in mind, to be undone should the guardian not be able to. */
static struct err *add_next(struct guest *g, unsigned vcpu, uint64_t gva, struct guardian_vcpu *o)
{
	struct kvm_control *c = &((struct kvm *)g->priv)->control;
	const struct breakpoint b = { BREAKPOINT_SOFTWARE, gva, kvm_debug_insn_bytes };
	struct kvm_next next;
	uint64_t gpa;
	struct err *e = find_place(g, vcpu, &b, &gpa);
	size_t got = 0;

	if (!e)
		e = guest_read_phys(g, gpa, next.saved, kvm_debug_insn_bytes, &got);
	if (!e && got != kvm_debug_insn_bytes)
		e = err_new(ERR_UNMAPPED, "0x%" PRIx64 " is at the end of memory", gva);
	if (e)
		return err_prefix(e, "cannot step");
	next.hva = guest_block_at(g, gpa)->hva + (gpa - guest_block_at(g, gpa)->gpa);
	c->next = xreallocarray(c->next, c->n_next + 1, sizeof(*c->next));
	c->next[c->n_next++] = next;
	o->next[o->n_next++] = (struct guardian_patch){ next.hva, gva };
	return NULL;
}

/* A step that KVM does not do: the vCPU runs alone to where its next instruction can be. */
static struct err *add_step(struct guest *g, unsigned vcpu, struct guardian_vcpu *o)
{
	uint64_t next[KVM_DEBUG_MAX_NEXT];
	unsigned n = 0;
	struct err *e;

	if (!kvm_debug_next || !(o->over || o->action == RUN_STEP))
		return NULL;
	o->over = true;
	kvm_debug_add_flags(&o->over_debug, KVM_DEBUG_SOFTWARE);
	e = kvm_debug_next(g, vcpu, next, &n);
	for (unsigned i = 0; !e && i < n; i++)
		e = add_next(g, vcpu, next[i], o);
	return e;
}

/* Where memory was taken away from the guest nothing can be executed. */
static void place_point(struct guest *g, struct kvm_point *p)
{
	const struct mem_block *b = p->in_register ? NULL : guest_block_at(g, p->gpa);
	size_t got = 0;
	struct err *e = b ? guest_read_phys(g, p->gpa, p->saved, kvm_debug_insn_bytes, &got) : NULL;

	p->hva = b && !e && got == kvm_debug_insn_bytes ? b->hva + (p->gpa - b->gpa) : 0;
	err_destroy(e);
}

static size_t list_patches(struct guest *g, struct guardian_patch *ret)
{
	struct kvm_control *c = &((struct kvm *)g->priv)->control;
	size_t n = 0;

	for (size_t i = 0; i < c->n_points; i++) {
		struct kvm_point *p = &c->points[i];

		place_point(g, p);
		if (p->hva)
			ret[n++] = (struct guardian_patch){ p->hva, p->b.gva };
	}
	return n;
}

static struct err *send_run(struct guest *g, const enum run_action *actions)
{
	struct kvm *k = g->priv;
	struct kvm_control *c = &k->control;
	struct guardian_vcpu *vcpus = xcalloc(c->n_seen, sizeof(*vcpus));
	struct guardian_patch *patches = xcalloc(c->n_points, sizeof(*patches));
	struct guardian_run run = { .vcpus = vcpus, .n_vcpus = c->n_seen, .patches = patches };
	struct err *e = NULL;

	c->n_next = 0;
	for (unsigned i = 0; !e && i < c->n_seen; i++) {
		vcpus[i] = order_for(g, &c->seen[i], action_of(actions, i));
		e = add_step(g, i, &vcpus[i]);
	}
	run.n_patches = list_patches(g, patches);
	run.arm_new = k->fds.n_vms == 1;
	run.new_debug = debug_of(c, 0);
	if (!e) {
		c->armed = true;
		e = guardian_run(k->guardian, &run, (unsigned)k->fds.n_vcpus);
	}
	free(vcpus);
	free(patches);
	return e;
}

/* From here on nothing is known of those that run. */
static void unsee(struct kvm_control *c, const enum run_action *actions)
{
	for (unsigned i = 0; i < c->n_seen; i++)
		if (action_of(actions, i) != RUN_HOLD)
			c->seen[i].told = c->seen[i].has_hit = false;
}

static bool any_steps(const struct kvm_control *c, const enum run_action *actions)
{
	for (unsigned i = 0; i < c->n_seen; i++)
		if (action_of(actions, i) == RUN_STEP)
			return true;
	return false;
}

struct err *kvm_control_run(struct guest *g, const enum run_action *actions)
{
	struct kvm *k = g->priv;
	struct kvm_control *c = &k->control;
	struct err *e = kvm_check_held(g);

	if (!e && any_steps(c, actions))
		e = check_step(need_caps(k));
	if (!e)
		e = check_unused(k);
	if (e)
		return e;
	c->running = true;
	c->stopped = has_news(c, actions);
	if (c->stopped) {
		c->undisturbed = true;
		eventfd_write(c->event_fd, 1);
		return NULL;
	}
	if (clock_ms() - c->stopped_ms >= NOTED_PAUSE_MS)
		err_destroy(kvm_host_before_resume(&k->access, k->vcpu_fds, k->n_vcpus));
	e = send_run(g, actions);
	if (e) {
		c->running = false;
		return kvm_explain_failure(g, e);
	}
	unsee(c, actions);
	return NULL;
}

/* ---- after a sudden death ---- */

#define DISARM_AT_ONCE 64u

static struct err *disarm_some(struct guardian *g, const int *vcpu_fds, unsigned n)
{
	struct guardian_ioctl *calls = xcalloc(n, sizeof(*calls));
	struct kvm_arming *none = xcalloc(n, sizeof(*none));
	struct err *e;

	for (unsigned i = 0; i < n; i++)
		calls[i] = (struct guardian_ioctl){
			.fd = vcpu_fds[i], .request = KVM_SET_GUEST_DEBUG, .data = &none[i], .bytes = sizeof(none[i]),
			.pointer_at = (uint32_t)kvm_debug_pointer_at, .points_to = offsetof(struct kvm_arming, list),
		};
	e = guardian_ioctls(g, calls, n);
	free(calls);
	free(none);
	return e;
}

/* What fits into a message. */
static struct err *disarm(struct guardian *g, const int *vcpu_fds, unsigned n)
{
	struct err *e = NULL;

	for (unsigned at = 0; !e && at < n; at += DISARM_AT_ONCE)
		e = disarm_some(g, vcpu_fds + at, MIN(n - at, DISARM_AT_ONCE));
	return e;
}

static struct err *take_out(struct kvm *k, uint64_t hva, const uint8_t *saved)
{
	uint8_t now[KVM_DEBUG_MAX_INSN_BYTES];
	size_t got = 0;
	struct err *e = vmm_mem_read(k->mem, hva, now, kvm_debug_insn_bytes, &got);

	if (e || got != kvm_debug_insn_bytes || memcmp(now, kvm_debug_insn, kvm_debug_insn_bytes))
		return e;
	return vmm_mem_write(k->mem, hva, saved, kvm_debug_insn_bytes);
}

void kvm_control_heal(struct kvm *k)
{
	struct guardian *g = NULL;
	struct guardian_stopped st = { 0 };
	struct err *e = guardian_start(k->pid, &g);

	if (!e)
		e = guardian_stop(g, (unsigned)k->fds.n_vcpus, &st);
	for (size_t i = 0; !e && i < k->control.n_points; i++)
		if (k->control.points[i].hva)
			e = take_out(k, k->control.points[i].hva, k->control.points[i].saved);
	for (size_t i = 0; !e && i < k->control.n_next; i++)
		e = take_out(k, k->control.next[i].hva, k->control.next[i].saved);
	if (!e)
		e = disarm(g, k->vcpu_fds, k->n_vcpus);
	/* A VMM that did not outlive it has nothing armed. */
	err_destroy(e);
	guardian_stopped_deinit(&st);
	guardian_destroy(g);
}

/* ---- for `info status` ---- */

void kvm_control_describe(struct kvm *k, struct buf *out)
{
	const struct kvm_debug_caps *caps = need_caps(k);
	const struct {
		const char *name;
		bool works;
	} all[] = {
		{ "single steps", can_step(caps) },
		{ "hardware breakpoints", caps->execute },
		{ "write watchpoints", caps->watch },
		{ "access watchpoints", caps->access },
		{ "software breakpoints", caps->software },
		{ "holding interrupts while stepping", caps->holds_irqs },
	};

	buf_adds(out, "this host's KVM does:");
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		buf_addf(out, "%s %s %s", i ? "," : "", all[i].name, all[i].works ? "yes" : "no");
	buf_adds(out, "\n");
}
