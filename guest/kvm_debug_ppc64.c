/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/kvm_debug.h"

#include <string.h>

#include "arch/ppc64/ppc64.h"

/*
 * Of guest debug, KVM has breakpoint instructions on server processors, in guests of
 * both its kinds, and nothing else: no debug register, and a step only in one of the
 * two. So a step is done by breakpoint instructions where it can end.
 */

/* What KVM_REG_PPC_DEBUG_INST says: an illegal instruction that KVM knows. */
const uint8_t kvm_debug_insn[] = { 0x00, 0xdd, 0xdd, 0x00 };
const size_t kvm_debug_insn_bytes = sizeof(kvm_debug_insn);
const enum kvm_debug_foreign kvm_debug_foreign = KVM_FOREIGN_STOP;
const size_t kvm_debug_pointer_at = 0;
const unsigned kvm_debug_n_registers = 0;
const bool kvm_debug_watches_memory = false;

struct err *kvm_debug_registers_of(const struct breakpoint *b, unsigned *ret)
{
	(void)b;
	(void)ret;
	return err_new(ERR_UNSUPPORTED, "KVM gives no debug registers of this processor: take software breakpoints");
}

void kvm_debug_add_flags(struct kvm_arming *d, unsigned flags)
{
	d->debug.control |= KVM_GUESTDBG_ENABLE;
	if (flags & KVM_DEBUG_SOFTWARE)
		d->debug.control |= KVM_GUESTDBG_USE_SW_BP;
}

/* kvm_debug_registers_of() takes none. */
void kvm_debug_add_breakpoint(struct kvm_arming *d, const struct breakpoint *b, uint64_t gpa)
{
	(void)d;
	(void)b;
	(void)gpa;
}

/* Which kind it was, debug.arch.status, is not set for breakpoint instructions. */
void kvm_debug_read_exit(const struct kvm_run *run, const struct kvm_arming *d, struct kvm_hit *ret)
{
	bool ours = run->exit_reason == KVM_EXIT_DEBUG && d->debug.control & KVM_GUESTDBG_USE_SW_BP;

	ret->kind = ours ? KVM_HIT_SOFTWARE : KVM_HIT_NONE;
	ret->pc = run->debug.arch.address;
	ret->gva = ret->cause = 0;
}

void kvm_debug_hide_exit(struct kvm_run *run, const struct kvm_hit *hit)
{
	(void)hit;
	run->exit_reason = KVM_EXIT_INTR;
}

/* ---- where an instruction leads to ---- */

/* Power ISA 3.0B book I, 2.4 and book III, 4.3.1: branches, and returns from interrupts. */
#define OPCODE(insn) ((insn) >> 26)
#define OP_PREFIX 1u
#define OP_BC 16u
#define OP_B 18u
#define OP_19 19u
#define OP_31 31u
#define XO(insn) ((insn) >> 1 & 0x3ff)
#define XO19_BCLR 16u
#define XO19_RFID 18u
#define XO19_RFSCV 82u
#define XO19_BCCTR 528u
#define XO19_BCTAR 560u
#define ABSOLUTE(insn) ((insn) & 2)
#define BO_SHIFT 21
#define BO_ALWAYS 0x14u

#define INSN_BYTES 4u
#define PREFIXED_BYTES 8u
/* A reservation does not survive a stop: a sequence from load to store is one step. */
#define MAX_ATOMIC 16u

struct place {
	struct guest *g;
	unsigned vcpu;
	const struct regs *regs;
	enum byte_order order; /* of instructions, now */
};

static struct err *fetch(const struct place *p, uint64_t at, uint32_t *ret)
{
	uint8_t bytes[INSN_BYTES];
	size_t got = 0;
	struct err *e = guest_read_virt(p->g, p->vcpu, at, bytes, sizeof(bytes), &got);

	if (!e && got != sizeof(bytes))
		e = err_new(ERR_UNMAPPED, "there is no instruction at 0x%llx", (unsigned long long)at);
	if (!e)
		*ret = (uint32_t)load_uint(bytes, sizeof(bytes), p->order);
	return e;
}

static uint64_t sign_extend(uint64_t value, unsigned bits)
{
	uint64_t sign = 1ull << (bits - 1);

	return (value ^ sign) - sign;
}

/* lbarx, lharx, lwarx, ldarx, lqarx, and their stores. */
static bool is_load_reserved(uint32_t insn)
{
	unsigned xo = XO(insn);

	return OPCODE(insn) == OP_31 && (xo == 20 || xo == 52 || xo == 84 || xo == 116 || xo == 276);
}

static bool is_store_conditional(uint32_t insn)
{
	unsigned xo = XO(insn);

	return OPCODE(insn) == OP_31 && (xo == 150 || xo == 214 || xo == 694 || xo == 726 || xo == 182);
}

static uint64_t target_of_branch(uint32_t insn, uint64_t at)
{
	uint64_t offset = OPCODE(insn) == OP_B ? sign_extend(insn & 0x3fffffc, 26) : sign_extend(insn & 0xfffc, 16);

	return ABSOLUTE(insn) ? offset : at + offset;
}

/* Branches to registers; false: it is none. */
static bool target_in_register(const struct regs *regs, uint32_t insn, uint64_t *ret)
{
	static const struct {
		unsigned xo, row;
	} registers[] = {
		{ XO19_BCLR, PPC64_LR },   { XO19_BCCTR, PPC64_CTR }, { XO19_BCTAR, PPC64_TAR },
		{ XO19_RFID, PPC64_SRR0 }, { XO19_RFSCV, PPC64_LR },
	};

	for (size_t i = 0; OPCODE(insn) == OP_19 && i < ARRAY_LEN(registers); i++)
		if (XO(insn) == registers[i].xo) {
			*ret = regs_get_or(regs, registers[i].row, 0) & ~3ull;
			return true;
		}
	return false;
}

static void add(uint64_t at, uint64_t ret[KVM_DEBUG_MAX_NEXT], unsigned *ret_n)
{
	if (*ret_n < KVM_DEBUG_MAX_NEXT && !(*ret_n && ret[0] == at))
		ret[(*ret_n)++] = at;
}

/* Branches that do not come to what is behind them: unconditional ones, and returns from interrupts. */
static bool never_falls_through(uint32_t insn)
{
	unsigned xo = XO(insn);

	if (OPCODE(insn) == OP_B)
		return true;
	if (OPCODE(insn) == OP_19 && (xo == XO19_RFID || xo == XO19_RFSCV))
		return true;
	if (OPCODE(insn) == OP_19 && xo != XO19_BCLR && xo != XO19_BCCTR && xo != XO19_BCTAR)
		return false;
	return (OPCODE(insn) == OP_BC || OPCODE(insn) == OP_19) && (insn >> BO_SHIFT & BO_ALWAYS) == BO_ALWAYS;
}

/* A return to where addresses mean something else cannot be followed from here. */
static struct err *check_return(const struct place *p, uint32_t insn, uint64_t pc)
{
	uint64_t changes = regs_get_or(p->regs, PPC64_MSR, 0) ^ regs_get_or(p->regs, PPC64_SRR1, 0);

	if (OPCODE(insn) != OP_19 || XO(insn) != XO19_RFID || !(changes & (PPC64_MSR_IR | PPC64_MSR_DR)))
		return NULL;
	return err_new(ERR_UNSUPPORTED, "the rfid at 0x%llx turns the translation of addresses on or off",
		       (unsigned long long)pc);
}

/* Behind the store, and where a branch in between leads out. *ret_n stays 0 where that is not all. */
static void next_of_atomic(const struct place *p, uint64_t at, uint64_t ret[KVM_DEBUG_MAX_NEXT], unsigned *ret_n)
{
	uint64_t start = at, out = 0;
	bool branches = false;

	for (unsigned i = 0; i < MAX_ATOMIC; i++) {
		uint32_t insn = 0;
		struct err *e;

		at += INSN_BYTES;
		e = fetch(p, at, &insn);
		if (e || OPCODE(insn) == OP_B || OPCODE(insn) == OP_19) {
			err_destroy(e);
			return;
		}
		if (OPCODE(insn) == OP_BC) {
			uint64_t target = target_of_branch(insn, at);

			if (branches && target != out)
				return;
			branches = true;
			out = target;
		}
		if (!is_store_conditional(insn))
			continue;
		add(at + INSN_BYTES, ret, ret_n);
		if (branches && !(out >= start && out <= at))
			add(out, ret, ret_n);
		return;
	}
}

static struct err *next_of(const struct place *p, uint64_t pc, uint64_t ret[KVM_DEBUG_MAX_NEXT], unsigned *ret_n)
{
	uint64_t target;
	uint32_t insn;
	struct err *e = fetch(p, pc, &insn);

	*ret_n = 0;
	if (!e)
		e = check_return(p, insn, pc);
	if (e)
		return e;
	if (is_load_reserved(insn))
		next_of_atomic(p, pc, ret, ret_n);
	if (*ret_n)
		return NULL;
	if (!never_falls_through(insn))
		add(pc + (OPCODE(insn) == OP_PREFIX ? PREFIXED_BYTES : INSN_BYTES), ret, ret_n);
	if (OPCODE(insn) == OP_B || OPCODE(insn) == OP_BC)
		add(target_of_branch(insn, pc), ret, ret_n);
	else if (target_in_register(p->regs, insn, &target))
		add(target, ret, ret_n);
	return NULL;
}

static struct err *next(struct guest *g, unsigned vcpu, uint64_t ret[KVM_DEBUG_MAX_NEXT], unsigned *ret_n)
{
	struct place p = { .g = g, .vcpu = vcpu };
	struct err *e = guest_regs(g, vcpu, &p.regs);

	if (e)
		return e;
	p.order = regs_get_or(p.regs, PPC64_MSR, 0) & PPC64_MSR_LE ? ORDER_LITTLE : ORDER_BIG;
	return err_prefix(next_of(&p, regs_get_or(p.regs, PPC64_PC, 0), ret, ret_n), "cannot step");
}

struct err *(*const kvm_debug_next)(struct guest *, unsigned, uint64_t[KVM_DEBUG_MAX_NEXT], unsigned *) = next;
