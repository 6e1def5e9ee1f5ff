/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "tests/vmm/core.h"

void die(enum exit_status status, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text) - 1, fmt, ap);
	va_end(ap);
	strcat(text, "\n");
	if (write(STDOUT_FILENO, text, strlen(text)) < 0)
		_exit(STATUS_SETUP);
	_exit(status);
}

/* Before any thread is made, so that none but the main loop ever sees them. */
static void block_signals(struct vmm *vmm)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	vmm->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (vmm->signal_fd < 0)
		die(STATUS_SETUP, "signalfd: %m");
}

static void vcpu_create(struct vcpu *c, struct vm *vm, unsigned index)
{
	c->vm = vm;
	c->index = index;
	c->fd = ioctl(vm->fd, KVM_CREATE_VCPU, index);
	if (c->fd < 0)
		die(STATUS_SETUP, "KVM_CREATE_VCPU: %m");
	c->run = mmap(NULL, vm->vmm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
	if (c->run == MAP_FAILED)
		die(STATUS_SETUP, "mmap of kvm_run: %m");
	if (!vm->vmm->opt.no_memory)
		vcpu_set_up(c);
}

static void vmm_create_vm(struct vmm *vmm, unsigned index)
{
	struct vm *vm = &vmm->vms[index];

	vm->vmm = vmm;
	vm->index = index;
	vm->fd = ioctl(vmm->kvm_fd, KVM_CREATE_VM, 0);
	if (vm->fd < 0)
		die(STATUS_SETUP, "KVM_CREATE_VM: %m");
	/* With a local APIC in the kernel a halted vCPU sleeps inside KVM_RUN. */
	if (vmm->opt.work == WORK_HALT && ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0) < 0)
		die(STATUS_SETUP, "KVM_CREATE_IRQCHIP: %m");
	if (!vmm->opt.no_memory)
		vm_create_memory(vm);
	vm->vcpus = xcalloc(vmm->opt.cpus, sizeof(*vm->vcpus));
	for (unsigned i = 0; i < vmm->opt.cpus; i++)
		vcpu_create(&vm->vcpus[i], vm, i);
}

static void vmm_create(struct vmm *vmm)
{
	int run_bytes;

	vmm->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vmm->kvm_fd < 0)
		die(STATUS_SETUP, "/dev/kvm: %m");
	run_bytes = ioctl(vmm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (run_bytes < 0)
		die(STATUS_SETUP, "KVM_GET_VCPU_MMAP_SIZE: %m");
	vmm->run_bytes = run_bytes;
	pthread_mutex_init(&vmm->lock, NULL);
	pthread_cond_init(&vmm->changed, NULL);
	vmm->hold = vmm->opt.paused;
	block_signals(vmm);
	if (vmm->opt.core) {
		vmm->core = core_open(vmm->opt.core);
		vmm->opt.cpus = vmm->core->n_cpus;
	}
	vmm->vms = xcalloc(vmm->opt.vms, sizeof(*vmm->vms));
	for (unsigned i = 0; i < vmm->opt.vms; i++)
		vmm_create_vm(vmm, i);
}

static void vmm_take_signal(struct vmm *vmm)
{
	struct signalfd_siginfo info;

	if (read(vmm->signal_fd, &info, sizeof(info)) != sizeof(info))
		die(STATUS_SETUP, "signalfd: %m");
	if (info.ssi_signo == SIGUSR1)
		vmm_run(vmm);
	if (info.ssi_signo == SIGUSR2 && vmm->opt.change_slots) {
		for (unsigned i = 0; i < vmm->opt.vms; i++)
			vm_toggle_extra_slot(&vmm->vms[i]);
		vmm_report_slots(vmm);
	}
}

static void vmm_take_input(struct vmm *vmm)
{
	char bytes[256];
	ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));

	if (n <= 0)
		_exit(0);
	for (ssize_t i = 0; i < n; i++) {
		if (bytes[i] != '\n') {
			buf_addch(&vmm->line, bytes[i]);
			continue;
		}
		vmm_command(vmm, buf_str(&vmm->line));
		buf_reset(&vmm->line);
	}
}

static void vmm_loop(struct vmm *vmm)
{
	struct pollfd fds[] = {
		{.fd = STDIN_FILENO, .events = POLLIN},
		{.fd = vmm->signal_fd, .events = POLLIN},
	};

	for (;;) {
		if (poll(fds, ARRAY_LEN(fds), -1) < 0)
			die(STATUS_RESTART, "RESTART-FAIL poll of the main thread %m");
		if (fds[0].revents)
			vmm_take_input(vmm);
		if (fds[1].revents)
			vmm_take_signal(vmm);
	}
}

int main(int argc, char **argv)
{
	struct vmm vmm = {0};

	options_parse(&vmm.opt, argc, argv);
	vmm_create(&vmm);
	vmm_start_vcpus(&vmm);
	blockers_start(vmm.opt.threads, vmm.opt.jailed);
	if (vmm.opt.jailed)
		jail_enter(JAIL_MAIN);
	vmm_report_start(&vmm);
	vmm_loop(&vmm);
}
