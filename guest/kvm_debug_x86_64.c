/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/kvm_debug.h"

#include <assert.h>

/* Intel SDM volume 3, 18.2: DR7's fields of debug register i, and DR6. */
#define DR7_GLOBAL(i) (2ull << (2 * (i)))
#define DR7_ENABLED(i) (3ull << (2 * (i)))
#define DR7_RW_SHIFT(i) (16 + 4 * (i))
#define DR7_LEN_SHIFT(i) (18 + 4 * (i))
#define DR7_FIXED 0x600ull /* GE, and a bit that is always set */
#define DR6_BS 0x4000ull

#define RW_EXECUTE 0u
#define RW_WRITE 1u
#define RW_ACCESS 3u

#define N_REGISTERS 4u
#define DR7_INDEX 7
#define MAX_WATCH_BYTES 8u

#define VECTOR_DB 1u
#define VECTOR_BP 3u

const uint8_t kvm_debug_insn[] = { 0xcc };
const size_t kvm_debug_insn_bytes = sizeof(kvm_debug_insn);
const enum kvm_debug_foreign kvm_debug_foreign = KVM_FOREIGN_EXCEPTION;
const size_t kvm_debug_pointer_at = 0;
struct err *(*const kvm_debug_next)(struct guest *, unsigned, uint64_t[KVM_DEBUG_MAX_NEXT], unsigned *) = NULL;
const unsigned kvm_debug_irq_flag = KVM_GUESTDBG_BLOCKIRQ;
const unsigned kvm_debug_n_registers = N_REGISTERS;
const bool kvm_debug_watches_memory = false;
const unsigned long kvm_debug_get_cause = KVM_GET_DEBUGREGS;
const unsigned long kvm_debug_put_cause = KVM_SET_DEBUGREGS;
static_assert(sizeof(struct kvm_debugregs) == KVM_DEBUG_CAUSE_BYTES, "the ioctls' argument");

/* The largest aligned piece at gva that a register can hold. */
static unsigned piece_bytes(uint64_t gva, uint64_t left)
{
	unsigned n = MAX_WATCH_BYTES;

	while (n > left || gva % n)
		n /= 2;
	return n;
}

struct err *kvm_debug_registers_of(const struct breakpoint *b, unsigned *ret)
{
	uint64_t left = b->bytes;
	unsigned n = 0;

	if (b->kind == WATCHPOINT_READ)
		return err_new(ERR_UNSUPPORTED, "x86 processors cannot watch for reads alone; an access watchpoint "
						"(awatch) stops at reads and writes");
	*ret = 1;
	if (breakpoint_executes(b->kind))
		return NULL;
	for (uint64_t at = b->gva; left && n <= N_REGISTERS; n++) {
		unsigned bytes = piece_bytes(at, left);

		at += bytes;
		left -= bytes;
	}
	if (!n || n > N_REGISTERS)
		return err_new(ERR_UNSUPPORTED, "%llu bytes there are %s than the processor's %u debug registers can "
						"watch, 8 aligned bytes each", (unsigned long long)b->bytes,
			       n ? "more" : "less", N_REGISTERS);
	*ret = n;
	return NULL;
}

void kvm_debug_add_flags(struct kvm_arming *d, unsigned flags)
{
	d->debug.control |= KVM_GUESTDBG_ENABLE;
	if (flags & KVM_DEBUG_STEP)
		d->debug.control |= KVM_GUESTDBG_SINGLESTEP;
	if (flags & KVM_DEBUG_HOLD_IRQS)
		d->debug.control |= KVM_GUESTDBG_BLOCKIRQ;
	if (flags & KVM_DEBUG_SOFTWARE)
		d->debug.control |= KVM_GUESTDBG_USE_SW_BP;
}

static void add_register(struct kvm_arming *d, uint64_t gva, unsigned rw, unsigned bytes)
{
	static const uint8_t len_code[] = { [1] = 0, [2] = 1, [4] = 3, [8] = 2 };
	__u64 *dr7 = &d->debug.arch.debugreg[DR7_INDEX];
	unsigned i = 0;

	while (i < N_REGISTERS && *dr7 & DR7_ENABLED(i))
		i++;
	assert(i < N_REGISTERS);
	d->debug.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
	d->debug.arch.debugreg[i] = gva;
	*dr7 |= DR7_FIXED | DR7_GLOBAL(i) | (uint64_t)rw << DR7_RW_SHIFT(i) |
		(uint64_t)len_code[bytes] << DR7_LEN_SHIFT(i);
}

void kvm_debug_add_breakpoint(struct kvm_arming *d, const struct breakpoint *b, uint64_t gpa)
{
	(void)gpa;
	if (breakpoint_executes(b->kind)) {
		add_register(d, b->gva, RW_EXECUTE, 1);
		return;
	}
	for (uint64_t done = 0; done < b->bytes;) {
		unsigned n = piece_bytes(b->gva + done, b->bytes - done);

		add_register(d, b->gva + done, b->kind == WATCHPOINT_WRITE ? RW_WRITE : RW_ACCESS, n);
		done += n;
	}
}

/* The register that fired, of those that d has; watchpoints first: they say more than a step. */
static enum kvm_hit_kind fired(const struct kvm_debug_exit_arch *x, const struct kvm_arming *d, uint64_t *ret_gva)
{
	uint64_t dr7 = d->debug.control & KVM_GUESTDBG_USE_HW_BP ? d->debug.arch.debugreg[DR7_INDEX] : 0;
	enum kvm_hit_kind kind = KVM_HIT_NONE;

	for (unsigned i = 0; i < N_REGISTERS; i++) {
		if (!(dr7 & DR7_ENABLED(i)) || !(x->dr6 & 1ull << i))
			continue;
		*ret_gva = d->debug.arch.debugreg[i];
		if (dr7 >> DR7_RW_SHIFT(i) & 3)
			return KVM_HIT_WATCH;
		if (d->debug.arch.debugreg[i] == x->pc)
			kind = KVM_HIT_EXECUTE;
	}
	return kind;
}

static enum kvm_hit_kind debug_exception(const struct kvm_debug_exit_arch *x, const struct kvm_arming *d,
					 uint64_t *ret_gva)
{
	enum kvm_hit_kind kind = fired(x, d, ret_gva);

	if (kind == KVM_HIT_NONE && x->dr6 & DR6_BS && d->debug.control & KVM_GUESTDBG_SINGLESTEP)
		kind = KVM_HIT_STEP;
	return kind == KVM_HIT_NONE ? KVM_HIT_GUESTS : kind;
}

void kvm_debug_read_exit(const struct kvm_run *run, const struct kvm_arming *d, struct kvm_hit *ret)
{
	const struct kvm_debug_exit_arch *x = &run->debug.arch;

	ret->kind = KVM_HIT_NONE;
	ret->pc = x->pc;
	ret->gva = 0;
	ret->cause = x->dr6;
	if (run->exit_reason != KVM_EXIT_DEBUG || !(d->debug.control & KVM_GUESTDBG_ENABLE))
		return;
	if (x->exception == VECTOR_BP && d->debug.control & KVM_GUESTDBG_USE_SW_BP)
		ret->kind = KVM_HIT_SOFTWARE;
	else if (x->exception == VECTOR_DB)
		ret->kind = debug_exception(x, d, &ret->gva);
}

void kvm_debug_hide_exit(struct kvm_run *run, const struct kvm_hit *hit)
{
	(void)hit;
	run->exit_reason = KVM_EXIT_INTR;
}

void kvm_debug_add_exception(struct kvm_arming *d, const struct kvm_hit *hit)
{
	d->debug.control |= hit->kind == KVM_HIT_SOFTWARE ? KVM_GUESTDBG_INJECT_BP : KVM_GUESTDBG_INJECT_DB;
}

void kvm_debug_set_cause(void *regs, const struct kvm_hit *hit)
{
	struct kvm_debugregs *r = regs;

	r->dr6 = hit->cause;
}
