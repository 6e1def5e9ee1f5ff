/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/kvm_debug.h"

#include <assert.h>

#include "base/attr.h"

/* KVM's list has more room; each is compared at each instruction that the guest runs then. */
#define N_REGISTERS 4u
/* KVM keeps a copy of what is watched, of no more than 100 bytes. */
#define MAX_WATCH_BYTES 64u

_Static_assert(sizeof(struct kvm_hw_breakpoint) == 32 && sizeof(struct kvm_debug_exit_arch) == 16 &&
		       sizeof(struct kvm_guest_debug) == 24 && offsetof(struct kvm_guest_debug, arch.hw_bp) == 16,
	       "asm/kvm.h");
_Static_assert(N_REGISTERS * sizeof(struct kvm_hw_breakpoint) <= KVM_DEBUG_LIST_WORDS * sizeof(uint64_t), "list fits");
_Static_assert(KVM_SET_GUEST_DEBUG == 0x4018ae9b, "linux/kvm.h");

/*
 * DIAGNOSE with the code that QEMU has for it too: KVM leaves it to the VMM, as an
 * instruction that it does not know. Not in the guest's user space, where it is privileged.
 */
#define DIAG_BREAKPOINT 0x0501u
#define DIAG_OPCODE 0x83u
const uint8_t kvm_debug_insn[] = { DIAG_OPCODE, 0x24, DIAG_BREAKPOINT >> 8, DIAG_BREAKPOINT & 0xff };
const size_t kvm_debug_insn_bytes = sizeof(kvm_debug_insn);
const enum kvm_debug_foreign kvm_debug_foreign = KVM_FOREIGN_PASS;
#define INTERCEPT_INSTRUCTION 4

const size_t kvm_debug_pointer_at = offsetof(struct kvm_arming, debug.arch.hw_bp);
struct err *(*const kvm_debug_next)(struct guest *, unsigned, uint64_t[KVM_DEBUG_MAX_NEXT], unsigned *) = NULL;
const unsigned kvm_debug_n_registers = N_REGISTERS;
const bool kvm_debug_watches_memory = true;

struct err *kvm_debug_registers_of(const struct breakpoint *b, unsigned *ret)
{
	if (!breakpoint_executes(b->kind) && b->kind != WATCHPOINT_WRITE)
		return err_new(ERR_UNSUPPORTED, "KVM cannot watch for reads on this processor; a write watchpoint (watch) "
						"stops where the value changes");
	if (!breakpoint_executes(b->kind) && (!b->bytes || b->bytes > MAX_WATCH_BYTES))
		return err_new(ERR_UNSUPPORTED, "%llu bytes are not from 1 to %u, which KVM can watch at once",
			       (unsigned long long)b->bytes, MAX_WATCH_BYTES);
	*ret = 1;
	return NULL;
}

void kvm_debug_add_flags(struct kvm_arming *d, unsigned flags)
{
	d->debug.control |= KVM_GUESTDBG_ENABLE;
	if (flags & KVM_DEBUG_STEP)
		d->debug.control |= KVM_GUESTDBG_SINGLESTEP;
}

void kvm_debug_add_breakpoint(struct kvm_arming *d, const struct breakpoint *b, uint64_t gpa)
{
	struct kvm_hw_breakpoint *list = (struct kvm_hw_breakpoint *)d->list;

	assert(d->debug.arch.nr_hw_bp < N_REGISTERS);
	d->debug.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
	list[d->debug.arch.nr_hw_bp++] = (struct kvm_hw_breakpoint){
		.addr = b->gva,
		.phys_addr = breakpoint_executes(b->kind) ? 0 : gpa,
		.len = breakpoint_executes(b->kind) ? 1 : b->bytes,
		.type = breakpoint_executes(b->kind) ? KVM_HW_BP : KVM_HW_WP_WRITE,
	};
}

/* The instruction is behind the guest then. */
static bool is_breakpoint_insn(const struct kvm_run *run)
{
	return run->exit_reason == KVM_EXIT_S390_SIEIC && run->s390_sieic.icptcode == INTERCEPT_INSTRUCTION &&
	       run->s390_sieic.ipa == (kvm_debug_insn[0] << 8 | kvm_debug_insn[1]) &&
	       run->s390_sieic.ipb >> 16 == DIAG_BREAKPOINT;
}

static enum kvm_hit_kind kind_of(uint8_t type)
{
	switch (type) {
	case KVM_HW_BP:
		return KVM_HIT_EXECUTE;
	case KVM_HW_WP_WRITE:
		return KVM_HIT_WATCH;
	case KVM_SINGLESTEP:
		return KVM_HIT_STEP;
	default:
		return KVM_HIT_NONE;
	}
}

/* An event that the guest has asked for itself KVM gives to it, and ends no KVM_RUN for it. */
void kvm_debug_read_exit(const struct kvm_run *run, const struct kvm_arming *d, struct kvm_hit *ret)
{
	const struct kvm_debug_exit_arch *x = &run->debug.arch;

	ret->kind = KVM_HIT_NONE;
	ret->pc = run->psw_addr;
	ret->gva = ret->cause = 0;
	if (!(d->debug.control & KVM_GUESTDBG_ENABLE))
		return;
	if (is_breakpoint_insn(run)) {
		ret->kind = KVM_HIT_SOFTWARE;
		ret->pc -= kvm_debug_insn_bytes;
		return;
	}
	if (run->exit_reason != KVM_EXIT_DEBUG)
		return;
	ret->kind = kind_of(x->type);
	if (ret->kind == KVM_HIT_EXECUTE)
		ret->pc = x->addr;
	if (ret->kind == KVM_HIT_WATCH)
		ret->gva = x->addr;
}

/* KVM takes the PSW from there at each KVM_RUN. */
void kvm_debug_hide_exit(struct kvm_run *run, const struct kvm_hit *hit)
{
	if (is_breakpoint_insn(run))
		run->psw_addr = hit->pc;
	run->exit_reason = KVM_EXIT_INTR;
}
