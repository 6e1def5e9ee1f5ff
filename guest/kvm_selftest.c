/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/kvm_selftest.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"

/* One experiment may take so long, on a busy machine too; what has not come to an end by then does not work. */
#define TEST_SECONDS 3

static bool set_memory(struct kvm_machine *m)
{
	struct kvm_userspace_memory_region slot = { .memory_size = KVM_MACHINE_RAM_BYTES };

	uint8_t *p = mmap(NULL, 2 * KVM_MACHINE_RAM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return false;
	/* On s390x a slot is whole MiBs of the VMM's memory too. */
	m->ram = (uint8_t *)ALIGN_UP((uintptr_t)p, (uintptr_t)KVM_MACHINE_RAM_BYTES);
	slot.userspace_addr = (uintptr_t)m->ram;
	return !ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &slot);
}

static bool machine_create(int kvm, uint64_t pc, struct kvm_machine *m)
{
	int run_bytes = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

	m->vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (m->vm < 0 || run_bytes < 0 || !set_memory(m))
		return false;
	m->vcpu = ioctl(m->vm, KVM_CREATE_VCPU, 0);
	if (m->vcpu < 0)
		return false;
	m->run = mmap(NULL, (size_t)run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu, 0);
	return m->run != MAP_FAILED && kvm_machine_set_up(kvm, m, pc);
}

static bool set_debug(const struct kvm_machine *m, struct kvm_arming *d)
{
	uint64_t list = (uintptr_t)d->list;

	if (kvm_debug_pointer_at)
		memcpy((char *)d + kvm_debug_pointer_at, &list, sizeof(list));
	return !ioctl(m->vcpu, KVM_SET_GUEST_DEBUG, d);
}

static bool succeeds(int kvm, const struct kvm_experiment *x)
{
	struct kvm_arming d = kvm_debug_none();
	struct kvm_machine m;
	struct kvm_hit hit;

	if (!machine_create(kvm, kvm_machine_code_gpa + x->start, &m))
		return false;
	if (x->flags & KVM_DEBUG_SOFTWARE)
		memcpy(m.ram + kvm_machine_code_gpa + x->pc, kvm_debug_insn, kvm_debug_insn_bytes);
	kvm_debug_add_flags(&d, x->flags);
	if (x->b.bytes)
		kvm_debug_add_breakpoint(&d, &x->b, x->b.gva);
	if (!set_debug(&m, &d) || ioctl(m.vcpu, KVM_RUN, 0))
		return false;
	kvm_debug_read_exit(m.run, &d, &hit);
	return hit.kind == x->kind && hit.pc == kvm_machine_code_gpa + x->pc;
}

static NORETURN void run_experiments(int kvm, int out)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGALRM, SIG_DFL);
	for (size_t i = 0; i < kvm_n_experiments; i++) {
		bool good;

		alarm(TEST_SECONDS);
		good = succeeds(kvm, &kvm_experiments[i]);
		if (write(out, &good, sizeof(good)) != sizeof(good))
			break;
	}
	_exit(0);
}

static void take_results(int in, struct kvm_debug_caps *ret)
{
	struct pollfd p = { .fd = in, .events = POLLIN };
	bool good;

	for (size_t i = 0; i < kvm_n_experiments; i++) {
		if (poll(&p, 1, TEST_SECONDS * 1000) != 1 || read(in, &good, sizeof(good)) != sizeof(good))
			break;
		*(bool *)((char *)ret + kvm_experiments[i].cap) = good;
	}
}

void kvm_debug_test(int kvm_fd, struct kvm_debug_caps *ret)
{
	int ends[2];
	pid_t child;

	*ret = (struct kvm_debug_caps){ .tested = kvm_fd >= 0 };
	if (kvm_fd < 0 || pipe2(ends, O_CLOEXEC))
		return;
	child = fork();
	if (child == 0)
		run_experiments(kvm_fd, ends[1]);
	close(ends[1]);
	if (child > 0) {
		take_results(ends[0], ret);
		kill(child, SIGKILL);
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
	}
	close(ends[0]);
	ret->holds_irqs = kvm_debug_irq_flag &&
			  ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_SET_GUEST_DEBUG2) & kvm_debug_irq_flag;
}
