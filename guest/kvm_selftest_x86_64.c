/* SPDX-License-Identifier: GPL-3.0-or-later */
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
#include "guest/kvm_debug.h"

/* One experiment may take so long, on a busy machine too; what has not come to an end by then does not work. */
#define TEST_SECONDS 3
#define MAX_CPUID 256u

/* One MiB at gpa 0, mapped one to one by a page of 2 MiB. */
#define RAM_BYTES 0x100000u
#define GPA_CODE 0x1000u
#define GPA_DATA 0x2000u
#define GPA_PML4 0x3000u
#define GPA_PDPT 0x4000u
#define GPA_PD 0x5000u

/* Intel SDM volume 3: 2.5 control registers, 4.5 paging entries, volume 4 for EFER. */
#define PTE_PRESENT_WRITABLE 0x3ull
#define PTE_LARGE 0x80ull
#define CR0_LONG 0x80000033ull /* PG, NE, ET, MP, PE */
#define CR4_PAE 0x20ull
#define EFER_LONG 0x500ull /* LMA, LME */
#define RFLAGS_FIXED 0x2ull

/* The guest: a nop, a write of GPA_DATA, a read of it, and the end. */
#define AT_WRITE 1u
#define AT_READ 8u
#define AT_END 15u
static const uint8_t code[] = {
	0x90,
	0x88, 0x04, 0x25, 0x00, GPA_DATA >> 8, 0, 0, /* mov %al, GPA_DATA */
	0x8a, 0x04, 0x25, 0x00, GPA_DATA >> 8, 0, 0, /* mov GPA_DATA, %al */
	0xf4,
};

/* A guest that has not run yet. */
struct machine {
	int vm, vcpu;
	uint8_t *ram;
	struct kvm_run *run;
};

static bool set_cpuid(int kvm, int vcpu)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[MAX_CPUID];
	} cpuid = { .head.nent = MAX_CPUID };

	return !ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid) && !ioctl(vcpu, KVM_SET_CPUID2, &cpuid);
}

static void put_entry(uint8_t *ram, uint64_t gpa, uint64_t entry)
{
	memcpy(ram + gpa, &entry, sizeof(entry));
}

static bool set_memory(struct machine *m)
{
	struct kvm_userspace_memory_region slot = { .memory_size = RAM_BYTES };

	m->ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m->ram == MAP_FAILED)
		return false;
	memcpy(m->ram + GPA_CODE, code, sizeof(code));
	put_entry(m->ram, GPA_PML4, GPA_PDPT | PTE_PRESENT_WRITABLE);
	put_entry(m->ram, GPA_PDPT, GPA_PD | PTE_PRESENT_WRITABLE);
	put_entry(m->ram, GPA_PD, PTE_PRESENT_WRITABLE | PTE_LARGE);
	slot.userspace_addr = (uintptr_t)m->ram;
	return !ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &slot);
}

static bool set_long_mode(struct machine *m)
{
	struct kvm_segment flat = { .limit = 0xffffffff, .present = 1, .s = 1, .g = 1 };
	struct kvm_sregs s;

	if (ioctl(m->vcpu, KVM_GET_SREGS, &s))
		return false;
	s.cr0 = CR0_LONG;
	s.cr3 = GPA_PML4;
	s.cr4 = CR4_PAE;
	s.efer = EFER_LONG;
	s.cs = s.ds = s.es = s.ss = flat;
	s.cs.type = 11;
	s.cs.l = 1;
	s.cs.selector = 8;
	s.ds.type = s.es.type = s.ss.type = 3;
	s.ds.db = s.es.db = s.ss.db = 1;
	s.ds.selector = s.es.selector = s.ss.selector = 16;
	return !ioctl(m->vcpu, KVM_SET_SREGS, &s);
}

static bool machine_create(int kvm, struct machine *m)
{
	int run_bytes = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

	m->vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (m->vm < 0 || run_bytes < 0 || !set_memory(m))
		return false;
	m->vcpu = ioctl(m->vm, KVM_CREATE_VCPU, 0);
	if (m->vcpu < 0)
		return false;
	m->run = mmap(NULL, (size_t)run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu, 0);
	return m->run != MAP_FAILED && set_cpuid(kvm, m->vcpu) && set_long_mode(m);
}

/* One experiment; the machine goes with the process. */
struct experiment {
	struct breakpoint b; /* bytes 0: none */
	unsigned flags;      /* KVM_DEBUG_* */
	unsigned start;      /* where in the code it begins */
	enum kvm_hit_kind kind;
	unsigned pc; /* in the code, of the hit that must come */
	bool *(*result)(struct kvm_debug_caps *caps);
};

static bool *cap_step(struct kvm_debug_caps *c)
{
	return &c->step;
}

static bool *cap_execute(struct kvm_debug_caps *c)
{
	return &c->execute;
}

static bool *cap_watch(struct kvm_debug_caps *c)
{
	return &c->watch;
}

static bool *cap_access(struct kvm_debug_caps *c)
{
	return &c->access;
}

static bool *cap_software(struct kvm_debug_caps *c)
{
	return &c->software;
}

static const struct experiment experiments[] = {
	{ { 0 }, KVM_DEBUG_STEP, 0, KVM_HIT_STEP, AT_WRITE, cap_step },
	{ { BREAKPOINT_HARDWARE, GPA_CODE + AT_READ, 1 }, 0, 0, KVM_HIT_EXECUTE, AT_READ, cap_execute },
	{ { WATCHPOINT_WRITE, GPA_DATA, 8 }, 0, 0, KVM_HIT_WATCH, AT_READ, cap_watch },
	{ { WATCHPOINT_ACCESS, GPA_DATA, 8 }, 0, AT_READ, KVM_HIT_WATCH, AT_END, cap_access },
	{ { 0 }, KVM_DEBUG_SOFTWARE, 0, KVM_HIT_SOFTWARE, AT_WRITE, cap_software },
};

static bool succeeds(int kvm, const struct experiment *x)
{
	struct kvm_regs regs = { .rip = GPA_CODE + x->start, .rflags = RFLAGS_FIXED };
	struct kvm_guest_debug d = kvm_debug_none();
	struct machine m;
	struct kvm_hit hit;

	if (!machine_create(kvm, &m) || ioctl(m.vcpu, KVM_SET_REGS, &regs))
		return false;
	if (x->flags & KVM_DEBUG_SOFTWARE)
		memcpy(m.ram + GPA_CODE + x->pc, kvm_debug_insn, KVM_DEBUG_INSN_BYTES);
	kvm_debug_add_flags(&d, x->flags);
	if (x->b.bytes)
		kvm_debug_add_breakpoint(&d, &x->b);
	if (ioctl(m.vcpu, KVM_SET_GUEST_DEBUG, &d) || ioctl(m.vcpu, KVM_RUN, 0))
		return false;
	kvm_debug_read_exit(m.run, &d, &hit);
	return hit.kind == x->kind && hit.pc == GPA_CODE + x->pc;
}

static NORETURN void run_experiments(int kvm, int out)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGALRM, SIG_DFL);
	for (size_t i = 0; i < ARRAY_LEN(experiments); i++) {
		bool good;

		alarm(TEST_SECONDS);
		good = succeeds(kvm, &experiments[i]);
		if (write(out, &good, sizeof(good)) != sizeof(good))
			break;
	}
	_exit(0);
}

static void take_results(int in, struct kvm_debug_caps *ret)
{
	struct pollfd p = { .fd = in, .events = POLLIN };
	bool good;

	for (size_t i = 0; i < ARRAY_LEN(experiments); i++) {
		if (poll(&p, 1, TEST_SECONDS * 1000) != 1 || read(in, &good, sizeof(good)) != sizeof(good))
			break;
		*experiments[i].result(ret) = good;
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
	ret->holds_irqs = ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_SET_GUEST_DEBUG2) & KVM_GUESTDBG_BLOCKIRQ;
}
