/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/endian.h"
#include "tests/vmm/vmm.h"

#define SPIN_SLEEP_US 1000

static void kicked(int sig)
{
	(void)sig;
}

static void vcpu_wait_while_held(struct vcpu *c)
{
	struct vmm *vmm = c->vm->vmm;

	pthread_mutex_lock(&vmm->lock);
	c->parked = true;
	pthread_cond_broadcast(&vmm->changed);
	while (vmm->hold)
		pthread_cond_wait(&vmm->changed, &vmm->lock);
	c->parked = false;
	/* This KVM_RUN goes in and out again before the guest's first instruction. */
	c->run->immediate_exit = vmm->opt.work == WORK_SPIN;
	pthread_mutex_unlock(&vmm->lock);
}

static void vcpu_interrupted(struct vcpu *c)
{
	struct vmm *vmm = c->vm->vmm;

	c->interrupted++;
	if (vmm->opt.work == WORK_SPIN)
		usleep(SPIN_SLEEP_US);
	else if (!vmm->hold && !vmm->opt.tolerate_eintr)
		die(STATUS_EINTR, "KVM_RUN EINTR");
	vcpu_wait_while_held(c);
}

static uint32_t vcpu_next_input(struct vcpu *c)
{
	uint64_t n = __atomic_add_fetch(&c->handed, 1, __ATOMIC_RELAXED);

	return pattern_input(c->index, n);
}

static void vcpu_answer_port(struct vcpu *c)
{
	if (c->run->io.direction != KVM_EXIT_IO_IN || c->run->io.port != IO_PORT || c->run->io.size != 4)
		die(STATUS_EXIT, "port %#x, %u bytes", c->run->io.port, c->run->io.size);
	store_uint((char *)c->run + c->run->io.data_offset, 4, ORDER_LITTLE, vcpu_next_input(c));
}

static void vcpu_answer_mmio(struct vcpu *c)
{
	uint64_t want = GPA_MMIO + 4096ull * c->index;

	if (c->run->mmio.is_write || c->run->mmio.phys_addr != want || c->run->mmio.len != 4)
		die(STATUS_EXIT, "MMIO at %#llx, %u bytes", (unsigned long long)c->run->mmio.phys_addr,
		    c->run->mmio.len);
	store_uint(c->run->mmio.data, 4, ORDER_LITTLE, vcpu_next_input(c));
}

static void vcpu_handle_exit(struct vcpu *c)
{
	uint32_t reason = c->run->exit_reason;

	if (reason < ARRAY_LEN(c->exits))
		c->exits[reason]++;
	if (reason == KVM_EXIT_IO)
		vcpu_answer_port(c);
	else if (reason == KVM_EXIT_MMIO)
		vcpu_answer_mmio(c);
	else if (reason == KVM_EXIT_INTERNAL_ERROR)
		die(STATUS_EXIT, "KVM exit %u suberror %u", reason, c->run->internal.suberror);
	else
		die(STATUS_EXIT, "KVM exit %u", reason);
}

static void *vcpu_main(void *arg)
{
	struct vcpu *c = arg;

	c->tid = gettid();
	pthread_barrier_wait(&c->vm->vmm->started);
	if (c->vm->vmm->opt.jailed)
		jail_enter(JAIL_VCPU);
	vcpu_wait_while_held(c);
	for (;;) {
		if (!ioctl(c->fd, KVM_RUN, 0))
			vcpu_handle_exit(c);
		else if (errno == EINTR)
			vcpu_interrupted(c);
		else
			die(STATUS_EXIT, "KVM_RUN: %m");
	}
	return NULL;
}

void vmm_start_vcpus(struct vmm *vmm)
{
	struct sigaction act = {.sa_handler = kicked};

	sigaction(SIGRTMIN, &act, NULL);
	pthread_barrier_init(&vmm->started, NULL, vmm->opt.vms * vmm->opt.cpus + 1);
	for (unsigned i = 0; i < vmm->opt.vms * vmm->opt.cpus; i++) {
		struct vcpu *c = &vmm->vms[i / vmm->opt.cpus].vcpus[i % vmm->opt.cpus];
		int err = pthread_create(&c->thread, NULL, vcpu_main, c);

		if (err)
			die(STATUS_SETUP, "pthread_create: %s", strerror(err));
	}
	pthread_barrier_wait(&vmm->started);
}

/*
 * The next KVM_RUN completes what the last exit left to do, then returns EINTR;
 * the signal ends one that is under way.
 */
static void vcpu_kick(struct vcpu *c)
{
	c->run->immediate_exit = 1;
	pthread_kill(c->thread, SIGRTMIN);
}

void vmm_pause(struct vmm *vmm)
{
	pthread_mutex_lock(&vmm->lock);
	vmm->hold = true;
	for (unsigned i = 0; i < vmm->opt.vms * vmm->opt.cpus; i++) {
		struct vcpu *c = &vmm->vms[i / vmm->opt.cpus].vcpus[i % vmm->opt.cpus];

		if (!c->parked)
			vcpu_kick(c);
		while (!c->parked)
			pthread_cond_wait(&vmm->changed, &vmm->lock);
	}
	pthread_mutex_unlock(&vmm->lock);
}

void vmm_run(struct vmm *vmm)
{
	if (vmm->opt.no_memory)
		return;
	pthread_mutex_lock(&vmm->lock);
	vmm->hold = false;
	pthread_cond_broadcast(&vmm->changed);
	pthread_mutex_unlock(&vmm->lock);
}
