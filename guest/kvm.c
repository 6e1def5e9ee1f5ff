/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "guest/backends.h"
#include "guest/kvm.h"
#include "guest/kvm_run_page.h"
#include "guest/kvm_snapshot.h"
#include "guest/kvm_watched.h"
#include "guest/proc.h"

/* KVM_USER_MEM_SLOTS where KVM cannot be asked: SHRT_MAX less its own slots. */
#define DEFAULT_USER_SLOTS 32764
/* The walk takes no lock; a VMM that changes its slots all the time is not waited for longer. */
#define WALK_TRIES 8
/* From the first sign of its death to the last of a VMM. */
#define DYING_MS 100
/* The same where a thread of it is gone already, on a machine that is busy. */
#define SURELY_DYING_MS 5000

/* ---- what the process is ---- */

struct err *kvm_check_process(pid_t pid)
{
	struct buf status = { 0 };
	struct err *e = proc_read(&status, "/proc/%d/status", pid);
	uint64_t tgid = 0;
	char state = proc_state(pid);

	if (e && (err_errno(e) == ENOENT || err_errno(e) == ESRCH)) {
		err_destroy(e);
		e = err_new(ERR_GONE, "there is no process %d", pid);
	} else if (!e && proc_status_field(buf_str(&status), "Tgid", 10, &tgid) && tgid != (uint64_t)pid) {
		e = err_new(ERR_UNSUPPORTED, "%d is a thread; attach to its process, %" PRIu64, pid, tgid);
	} else if (!e && (state == 'Z' || state == 'X')) {
		e = err_new(ERR_GONE, "process %d has exited", pid);
	} else if (!e && proc_status_field(buf_str(&status), "TracerPid", 10, &tgid) && tgid) {
		e = err_new(ERR_BUSY, "process %d is already traced by pid %" PRIu64 "; end that tracer first", pid,
			    tgid);
	}
	buf_deinit(&status);
	return e;
}

static int ask_user_slots(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int n = fd < 0 ? 0 : ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS);

	if (fd >= 0)
		close(fd);
	return n > 0 ? n : DEFAULT_USER_SLOTS;
}

static struct err *explain_fds(struct err *e, pid_t pid)
{
	if (e && (err_errno(e) == EACCES || err_errno(e) == EPERM))
		return err_suffix(e, "; be the user of process %d, or have CAP_SYS_PTRACE", pid);
	return e;
}

/* The descriptors as they are now, those of our VM chosen from them. */
static struct err *read_fds(struct kvm *k)
{
	struct kvm_fds f = { 0 };
	struct err *e = explain_fds(kvm_fds_read(k->pid, &f), k->pid);
	unsigned n = 0;

	if (!e)
		e = k->watched ? kvm_watched_sort_out(&f, k->pid, k->guardian) :
				 kvm_fds_sort_out(&f, k->pidfd, &k->peek, &k->layout);
	if (!e && k->vm >= f.n_vms)
		e = err_new(ERR_INVALID, "process %d has %zu VMs; there is no VM %u, they count from 0", k->pid,
			    f.n_vms, k->vm);
	if (e) {
		kvm_fds_deinit(&f);
		return e;
	}
	kvm_fds_deinit(&k->fds);
	k->fds = f;
	k->vcpu_fds = xreallocarray(k->vcpu_fds, f.n_vcpus, sizeof(*k->vcpu_fds));
	for (size_t i = 0; i < f.n_vcpus; i++)
		if (f.vcpus[i].kvm == f.vms[k->vm].kvm)
			k->vcpu_fds[n++] = f.vcpus[i].fd;
	k->n_vcpus = n;
	return NULL;
}

/* ---- memory blocks ---- */

static bool is_guest_memory(const struct kvm *k, const struct vmm_mem *mem, const struct kvm_slot *s)
{
	return s->space == 0 && s->id >= 0 && s->id < k->user_slots && !vmm_mem_is_device(mem, s->hva);
}

static struct err *set_blocks(struct guest *g, const struct vmm_mem *mem)
{
	struct kvm *k = g->priv;
	struct mem_block *blocks = xcalloc(k->n_slots, sizeof(*blocks));
	struct err *e = NULL;
	size_t n = 0;

	for (size_t i = 0; !e && i < k->n_slots; i++) {
		const struct kvm_slot *s = &k->slots[i];

		if (!is_guest_memory(k, mem, s))
			continue;
		if (!vmm_mem_covers(mem, s->hva, s->bytes))
			e = err_new(ERR_BUSY, "process %d has a memory slot at 0x%" PRIx64
					      " that it does not have mapped", k->pid, s->gpa);
		blocks[n++] = (struct mem_block){
			.gpa = s->gpa, .bytes = s->bytes, .hva = s->hva,
			.flags = s->flags & KVM_MEM_READONLY ? MEM_ROM : 0,
		};
	}
	if (!e)
		e = guest_set_blocks(g, blocks, n);
	free(blocks);
	return e;
}

static struct err *renew_mappings(struct guest *g)
{
	struct kvm *k = g->priv;
	struct vmm_mem *mem;
	struct err *e = vmm_mem_open(k->pid, &mem);

	if (e)
		return explain_fds(e, k->pid);
	e = set_blocks(g, mem);
	vmm_mem_close(k->mem);
	k->mem = mem;
	return e;
}

static struct err *walk_slots(struct kvm *k, struct kvm_slot **ret, size_t *ret_n)
{
	uint64_t kvm = k->fds.vms[k->vm].kvm;
	struct err *e = kvm_slots_generation(&k->peek, &k->layout, kvm, &k->generation);

	return e ? e : kvm_slots_walk(&k->peek, &k->layout, kvm, (uint64_t)sysconf(_SC_PAGESIZE), ret, ret_n);
}

static struct err *read_slots_once(struct guest *g)
{
	struct kvm *k = g->priv;
	struct kvm_slot *slots;
	size_t n;
	struct err *e = k->watched ? kvm_watched_slots(k->guardian, k->fds.vms[k->vm].fd, &slots, &n) :
				     walk_slots(k, &slots, &n);

	if (e)
		return e;
	free(k->slots);
	k->slots = slots;
	k->n_slots = n;
	return renew_mappings(g);
}

static struct err *read_slots(struct guest *g)
{
	struct err *e = read_slots_once(g);

	for (int i = 1; e && i < WALK_TRIES; i++) {
		err_destroy(e);
		e = read_slots_once(g);
	}
	return e;
}

/* ---- the guardian ---- */

static bool is_readable(int fd, int wait_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return fd >= 0 && poll(&p, 1, wait_ms) == 1;
}

struct err *kvm_check_held(struct guest *g)
{
	struct kvm *k = g->priv;

	if (is_readable(k->pidfd, 0)) {
		g->state = GUEST_GONE;
		return err_new(ERR_GONE, "the VMM, process %d, has exited", k->pid);
	}
	if (k->guardian && guardian_ended(k->guardian)) {
		g->state = GUEST_RUNNING;
		return err_new(ERR_GONE, "the guardian process of VMM %d has ended; the guest runs on by itself",
			       k->pid);
	}
	return NULL;
}

struct err *kvm_explain_failure(struct guest *g, struct err *e)
{
	struct kvm *k = g->priv;
	bool surely = e && err_code(e) == ERR_GONE && k->guardian && !guardian_ended(k->guardian);

	if (!e || !is_readable(k->pidfd, surely ? SURELY_DYING_MS : DYING_MS))
		return e;
	err_destroy(e);
	return kvm_check_held(g);
}

static struct err *watch(struct kvm *k, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN };

	if (epoll_ctl(k->epoll_fd, EPOLL_CTL_ADD, fd, &ev))
		return err_sys(errno, "cannot watch the VMM");
	return NULL;
}

static void drop_guardian(struct kvm *k)
{
	bool killed = k->guardian && guardian_ended(k->guardian);

	guardian_destroy(k->guardian);
	k->guardian = NULL;
	if (killed && k->control.armed) {
		/* vCPUs that came up since the stop are armed too. */
		if (!k->watched)
			err_destroy(read_fds(k));
		kvm_control_heal(k);
	}
	kvm_control_forget(k);
}

/* A guardian that has ended is replaced. */
static struct err *need_guardian(struct kvm *k)
{
	struct err *e;

	if (k->guardian && !guardian_ended(k->guardian))
		return NULL;
	if (k->watched)
		return err_new(ERR_GONE, "the guardian process that had watched VMM %d has ended: where its guest's "
					 "memory is can only be known with CAP_BPF and CAP_PERFMON now", k->pid);
	drop_guardian(k);
	e = guardian_start(k->pid, &k->guardian);
	return e ? e : watch(k, guardian_fd(k->guardian));
}

/* ---- stop and resume ---- */

static struct err *read_all(struct guest *g)
{
	struct kvm *k = g->priv;
	struct err *e = read_fds(k);

	if (!e)
		e = read_slots(g);
	if (!e && !k->n_vcpus)
		e = err_new(ERR_UNSUPPORTED, "process %d has no vCPU yet", k->pid);
	if (!e && !g->n_blocks)
		e = err_new(ERR_UNSUPPORTED, "the guest of process %d has no memory yet", k->pid);
	return e;
}

/* Slots and descriptors are what they were; mappings of the VMM need not be. */
static bool is_unchanged(const struct kvm *k)
{
	struct kvm_generation now;
	struct err *e;

	if (k->watched || !k->n_slots || !kvm_fds_unchanged(&k->fds, k->pid, k->pidfd, k->vm, &k->peek, &k->layout))
		return false;
	e = kvm_slots_generation(&k->peek, &k->layout, k->fds.vms[k->vm].kvm, &now);
	if (!e)
		return !memcmp(&now, &k->generation, sizeof(now));
	err_destroy(e);
	return false;
}

/* What the guest consists of at this stop. */
static struct err *refresh(struct guest *g)
{
	struct kvm *k = g->priv;
	struct err *e = NULL;

	if (!is_unchanged(k))
		e = read_all(g);
	else
		e = renew_mappings(g);
	if (!e)
		kvm_control_set_vcpus(k);
	return e;
}

static struct err *stop_all(struct guest *g)
{
	struct kvm *k = g->priv;
	struct guardian_stopped st = { 0 };
	struct err *e = NULL;

	k->control.undisturbed = false;
	if (k->control.running)
		return kvm_control_stop(g);
	e = need_guardian(k);
	if (!e && !is_unchanged(k))
		e = read_fds(k);
	if (!e)
		e = guardian_stop(k->guardian, (unsigned)k->fds.n_vcpus, &st);
	k->n_parked = st.parked;
	guardian_stopped_deinit(&st);
	return e;
}

/* As it was before the stop: watched, or not traced at all. */
static struct err *set_free(const struct kvm *k)
{
	return k->watched ? guardian_watch(k->guardian, false) : guardian_resume(k->guardian);
}

/* At each stop: firmware and system may differ in it. */
static struct err *find_order(struct guest *g)
{
	struct kvm *k = g->priv;
	struct regs *regs = regs_create(g->arch, order_of_host());
	struct err *e = kvm_host_read_order(&k->access, k->vcpu_fds[0], regs);

	g->order = g->arch->order(regs);
	regs_destroy(regs);
	return e;
}

static struct err *kvm_stop(struct guest *g)
{
	struct kvm *k = g->priv;
	struct err *e = stop_all(g);

	if (e) {
		e = kvm_explain_failure(g, e);
		drop_guardian(k);
		return e;
	}
	if (!k->control.undisturbed)
		e = kvm_explain_failure(g, refresh(g));
	if (!e)
		e = kvm_explain_failure(g, find_order(g));
	if (e)
		err_destroy(set_free(k));
	else
		guest_set_vcpus(g, k->n_vcpus);
	g->was_paused = !k->n_parked;
	return e;
}

/* Lets go of it, whatever is set. */
static struct err *let_go(struct guest *g)
{
	struct kvm *k = g->priv;
	struct err *e = kvm_check_held(g);

	if (e)
		return e;
	err_destroy(kvm_host_before_resume(&k->access, k->vcpu_fds, k->n_vcpus));
	e = set_free(k);
	if (e) {
		err_destroy(kvm_check_held(g));
		return e;
	}
	kvm_control_forget(k);
	vmm_mem_close(k->mem);
	k->mem = NULL;
	return NULL;
}

static struct err *kvm_resume(struct guest *g)
{
	return kvm_control_needed(g->priv) ? kvm_control_run(g, NULL) : let_go(g);
}

static void kvm_close(struct guest *g)
{
	struct kvm *k = g->priv;

	k->watched = false;
	if (g->state == GUEST_STOPPED)
		err_destroy(let_go(g));
	drop_guardian(k);
	kvm_control_deinit(&k->control);
	vmm_mem_close(k->mem);
	kvm_fds_deinit(&k->fds);
	kpeek_close(&k->peek);
	if (k->epoll_fd >= 0)
		close(k->epoll_fd);
	if (k->pidfd >= 0)
		close(k->pidfd);
	free(k->vcpu_fds);
	free(k->slots);
	free(k->lone_files);
	free(k);
}

/* ---- accessors ---- */

static struct err *kvm_read_phys(struct guest *g, const struct mem_block *b, uint64_t gpa, void *ret, size_t bytes,
				 size_t *ret_bytes)
{
	struct kvm *k = g->priv;
	struct err *e = vmm_mem_read(k->mem, b->hva + (gpa - b->gpa), ret, bytes, ret_bytes);
	struct err *held = kvm_check_held(g);

	if (!held)
		return e;
	err_destroy(e);
	return held;
}

/* A system call, and no more. */
static struct err *kvm_read_beside(struct guest *g, const struct mem_block *b, uint64_t gpa, void *ret, size_t bytes,
				   size_t *ret_bytes)
{
	struct kvm *k = g->priv;

	return vmm_mem_read(k->mem, b->hva + (gpa - b->gpa), ret, bytes, ret_bytes);
}

static struct err *kvm_write_phys(struct guest *g, const struct mem_block *b, uint64_t gpa, const void *from,
				  size_t bytes)
{
	struct kvm *k = g->priv;
	struct err *e = kvm_check_held(g);

	return e ? e : kvm_explain_failure(g, vmm_mem_write(k->mem, b->hva + (gpa - b->gpa), from, bytes));
}

static struct err *kvm_next_data(struct guest *g, const struct mem_block *b, uint64_t gpa, uint64_t *ret_gpa,
				 uint64_t *ret_bytes)
{
	struct kvm *k = g->priv;
	uint64_t hva;
	struct err *e = vmm_mem_next_data(k->mem, b->hva + (gpa - b->gpa), b->hva + b->bytes, &hva, ret_bytes);

	if (!e)
		*ret_gpa = b->gpa + (hva - b->hva);
	return e;
}

/* What no ioctl tells, where the kernel's memory can be read. */
static struct err *add_process_table(struct kvm *k, struct regs *ret)
{
	uint64_t value;
	struct err *e;

	if (kvm_host_process_table_row < 0 || k->watched || !k->layout.kvm_process_table)
		return NULL;
	e = kvm_process_table(&k->peek, &k->layout, k->fds.vms[k->vm].kvm, &value);
	if (!e)
		regs_set(ret, (unsigned)kvm_host_process_table_row, value);
	return e;
}

static struct err *kvm_read_regs(struct guest *g, unsigned vcpu, struct regs *ret)
{
	struct kvm *k = g->priv;
	struct err *e = kvm_check_held(g);

	if (!e)
		e = kvm_explain_failure(g, kvm_host_read_regs(&k->access, k->vcpu_fds[vcpu], ret));
	return e ? e : add_process_table(k, ret);
}

static struct err *kvm_write_regs(struct guest *g, unsigned vcpu, const struct regs *from, const bool *changed)
{
	struct kvm *k = g->priv;
	struct err *e = kvm_check_held(g);

	if (!e && changed[g->arch->pc])
		kvm_control_moved(k, vcpu);
	return e ? e : kvm_explain_failure(g, kvm_host_write_regs(&k->access, k->vcpu_fds[vcpu], from, changed));
}

static int kvm_poll_fd(struct guest *g)
{
	return ((struct kvm *)g->priv)->epoll_fd;
}

static struct err *kvm_poll(struct guest *g, struct guest_event *ret)
{
	struct kvm *k = g->priv;
	bool free = g->state == GUEST_RUNNING && !k->control.running;
	struct err *e = kvm_check_held(g);

	if (!e)
		return k->control.running ? kvm_control_poll(g, ret) : NULL;
	if (g->state == GUEST_GONE)
		ret->kind = GUEST_EVENT_GONE;
	else
		drop_guardian(k);
	/* One that held nothing is replaced at the next stop. */
	if (g->state != GUEST_GONE && !free)
		return e;
	err_destroy(e);
	return NULL;
}

static void describe_slot(const struct kvm *k, const struct kvm_slot *s, struct buf *out)
{
	buf_addf(out, "slot %d as-id %u: 0x%" PRIx64 "-0x%" PRIx64 " at hva 0x%" PRIx64 "%s%s\n", s->id, s->space,
		 s->gpa, s->gpa + s->bytes, s->hva, s->flags & KVM_MEM_READONLY ? " rom" : "",
		 s->id >= k->user_slots ? " kvm-internal" : k->mem && vmm_mem_is_device(k->mem, s->hva) ? " device" : "");
}

static void kvm_describe(struct guest *g, struct buf *out)
{
	struct kvm *k = g->priv;

	kvm_control_describe(k, out);
	if (k->watched)
		buf_adds(out, "memory slots are those that the VMM was seen to set: all of its system calls are traced\n");
	buf_addf(out, "VMM process %d, VM %u of %zu, %u of %zu vCPUs were in KVM_RUN at the stop\n", k->pid, k->vm,
		 k->fds.n_vms, k->n_parked, k->fds.n_vcpus);
	if (k->fds.io_uring || k->fds.vhost || k->fds.vfio)
		buf_addf(out, "guest memory may still change while it is stopped, by:%s%s%s\n",
			 k->fds.io_uring ? " io_uring" : "", k->fds.vhost ? " vhost" : "", k->fds.vfio ? " VFIO" : "");
}

static void kvm_describe_memory(struct guest *g, struct buf *out)
{
	struct kvm *k = g->priv;

	for (size_t i = 0; i < k->n_slots; i++)
		describe_slot(k, &k->slots[i], out);
}

static const struct guest_ops kvm_ops = {
	.name = "kvm",
	.close = kvm_close,
	.stop = kvm_stop,
	.resume = kvm_resume,
	.snapshot = kvm_snapshot,
	.prepare_snapshot = kvm_prepare_snapshot,
	.read_phys = kvm_read_phys,
	.read_beside = kvm_read_beside,
	.check_held = kvm_check_held,
	.write_phys = kvm_write_phys,
	.next_data = kvm_next_data,
	.read_regs = kvm_read_regs,
	.write_regs = kvm_write_regs,
	.run = kvm_control_run,
	.set_breakpoint = kvm_set_breakpoint,
	.clear_breakpoint = kvm_clear_breakpoint,
	.poll_fd = kvm_poll_fd,
	.poll = kvm_poll,
	.describe = kvm_describe,
	.describe_memory = kvm_describe_memory,
};

/* ---- opening ---- */

static struct err *open_process(struct kvm *k)
{
	struct err *e;

	k->pidfd = (int)syscall(SYS_pidfd_open, k->pid, 0);
	if (k->pidfd < 0)
		return errno == ESRCH ? err_new(ERR_GONE, "there is no process %d", k->pid) :
					err_sys(errno, "cannot open process %d (Linux 5.6 is needed)", k->pid);
	k->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (k->epoll_fd < 0)
		return err_sys(errno, "cannot watch the VMM");
	e = watch(k, k->pidfd);
	if (!e)
		e = kvm_control_init(&k->control);
	if (!e)
		e = watch(k, k->control.event_fd);
	k->user_slots = ask_user_slots();
	return e;
}

static struct err *open_peek(struct kvm *k)
{
	struct err *e = kvm_layout_of_host(&k->layout);

	return e ? e : kpeek_open_bpf(&k->peek);
}

static struct err *access_ioctls(void *ctx, struct guardian_ioctl *calls, size_t n)
{
	return guardian_ioctls(((struct kvm *)ctx)->guardian, calls, n);
}

static struct kvm_run *access_map_run(void *ctx, int vcpu_fd)
{
	return kvm_run_page_map(((struct kvm *)ctx)->pidfd, vcpu_fd);
}

static struct guest *create_guest(pid_t pid, unsigned vm, struct guardian *guardian)
{
	struct kvm *k = xcalloc(1, sizeof(*k));

	*k = (struct kvm){ .pid = pid, .pidfd = -1, .epoll_fd = -1, .vm = vm, .guardian = guardian,
			   .control.event_fd = -1 };
	k->access = (struct kvm_access){ access_ioctls, access_map_run, kvm_run_page_unmap, k };
	return guest_create(&kvm_ops, kvm_host_arch(), k);
}

struct err *guest_open_kvm(pid_t pid, unsigned vm, struct guest **ret)
{
	struct kvm_fds probe;
	struct err *e = kvm_check_process(pid);
	struct guest *g;

	if (!e)
		e = host_check_linux();
	if (!e)
		e = explain_fds(kvm_fds_read(pid, &probe), pid);
	if (e)
		return e;
	kvm_fds_deinit(&probe);
	g = create_guest(pid, vm, NULL);
	e = open_process(g->priv);
	if (!e)
		e = open_peek(g->priv);
	if (!e)
		e = refresh(g);
	if (e) {
		guest_destroy(g);
		return e;
	}
	*ret = g;
	return NULL;
}

struct err *kvm_open_held(pid_t pid, unsigned vm, struct guardian *guardian, struct guest **ret)
{
	struct guest *g = create_guest(pid, vm, guardian);
	struct kvm *k = g->priv;
	struct err *e = open_process(k);
	struct err *blind = open_peek(k);

	k->watched = blind != NULL;
	err_destroy(blind);
	if (!e)
		e = watch(k, guardian_fd(guardian));
	if (!e)
		e = guest_stop(g);
	if (e) {
		guest_destroy(g);
		return e;
	}
	*ret = g;
	return NULL;
}
