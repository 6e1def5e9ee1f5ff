/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/host.h"

#include <asm/ptrace.h>
#include <asm/sigcontext.h>
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/syscall.h>

#include "base/alloc.h"

/* include/linux/errno.h: what the kernel leaves in r3 for itself. */
#define ERESTARTNOHAND 514

#define INSN_BYTES 4
#define CR0_SO 0x10000000ul /* sc says with it that r3 is an errno; scv leaves that negative instead */

/*
 * arch/powerpc/include/asm/ptrace.h: how the kernel was entered. Bits below say, of
 * one kernel or another, that the call will not be restarted any more.
 */
#define TRAP_SC 0xc00ul
#define TRAP_SCV 0x3000ul
#define TRAP_NO_RESTART 0x11ul

/* Power ISA 3.0B book III, 3.2.1; TS: in a transaction, which a system call would end. */
#define MSR_TS (3ul << 33)
#define MSR_VEC (1ul << 25)
#define MSR_VSX (1ul << 23)

#define FRAME_ALIGN 128

const unsigned host_least_linux[] = { 0, 0 };
/* What the kernel keeps free for leaf functions; the ABI asks for 288. */
const size_t host_red_zone_bytes = 512;
const size_t host_insn_align = INSN_BYTES;

const struct host_regset host_regsets[] = { { NT_PRSTATUS, 0, sizeof(elf_gregset_t) } };
const size_t host_n_regsets = ARRAY_LEN(host_regsets);

/* The C library still makes these of older kernels' one call for all of System V. */
const struct host_repeatable host_repeatable[] = {
	{ SYS_accept, -1 }, { SYS_recv, -1 }, { SYS_send, -1 }, { SYS_ipc, 1 /* SEMOP */ }, { SYS_ipc, 4 /* SEMTIMEDOP */ },
	{ -1, -1 },
};

_Static_assert(sizeof(elf_gregset_t) <= HOST_REGS_BYTES, "regset fits");

static struct pt_regs *user(struct host_regs *r)
{
	return (struct pt_regs *)r->bytes;
}

static const struct pt_regs *user_const(const struct host_regs *r)
{
	return (const struct pt_regs *)r->bytes;
}

static bool is_64bit(const struct host_regs *r)
{
	return r->n == sizeof(elf_gregset_t);
}

static bool is_scv(const struct pt_regs *u)
{
	return (u->trap & ~TRAP_NO_RESTART) == TRAP_SCV;
}

static bool is_in_call(const struct pt_regs *u)
{
	return (u->trap & ~TRAP_NO_RESTART) == TRAP_SC || is_scv(u);
}

/*
 * The kernel would not take that it is past its restart, and might restart it once
 * more. What is behind that are traces of the last trap, and no registers of the thread.
 */
void host_settle_regs(struct host_regs *r)
{
	struct pt_regs *u = user(r);

	if (!is_64bit(r))
		return;
	if (u->trap & TRAP_NO_RESTART)
		u->trap = 0;
	u->dar = u->dsisr = u->result = 0;
}

static long result_of(const struct pt_regs *u)
{
	return !is_scv(u) && u->ccr & CR0_SO ? -(long)u->gpr[3] : (long)u->gpr[3];
}

static void set_result(struct pt_regs *u, long result)
{
	bool failed = result < 0;

	u->ccr &= ~CR0_SO;
	if (failed && !is_scv(u))
		u->ccr |= CR0_SO;
	u->gpr[3] = (unsigned long)(failed && !is_scv(u) ? -result : result);
}

bool host_syscall_of(const struct host_regs *r, struct host_syscall *ret)
{
	const struct pt_regs *u = user_const(r);

	if (!is_64bit(r) || !is_in_call(u))
		return false;
	*ret = (struct host_syscall){
		.nr = (long)u->gpr[0],
		.args = { u->orig_gpr3, u->gpr[4], u->gpr[5], u->gpr[6], u->gpr[7], u->gpr[8] },
		.result = result_of(u),
	};
	return true;
}

void host_ask_restart(struct host_regs *r)
{
	set_result(user(r), -ERESTARTNOHAND);
}

void host_set_result(struct host_regs *r, long result)
{
	set_result(user(r), result);
}

void host_rewind_syscall(struct host_regs *r)
{
	user(r)->nip -= INSN_BYTES;
	user(r)->gpr[3] = user(r)->orig_gpr3;
}

uint64_t host_stack_pointer(const struct host_regs *r)
{
	return is_64bit(r) && !(user_const(r)->msr & MSR_TS) ? user_const(r)->gpr[1] : 0;
}

#define WORDS(...) { (const uint8_t *)(const uint32_t[]){ __VA_ARGS__ }, sizeof((const uint32_t[]){ __VA_ARGS__ }) }
#define SIGRETURN WORDS(0x38000000 | SYS_rt_sigreturn, 0x44000002) /* li r0, rt_sigreturn; sc */

/* The call is made where rt_sigreturn would be, and comes back to there. */
const struct host_pattern host_call_patterns[] = { SIGRETURN, { NULL, 0 } };
const struct host_pattern host_sigreturn_patterns[] = { SIGRETURN, { NULL, 0 } };
const struct host_pattern host_call_return_patterns[] = { WORDS(0x44000002, 0x4e800020) /* sc; blr */, { NULL, 0 } };

/* The kernel's struct ucontext, to which r1 points at rt_sigreturn. */
struct frame {
	uint64_t uc_flags;
	uint64_t uc_link;
	uint64_t ss_sp;
	int32_t ss_flags, pad;
	uint64_t ss_size;
	uint64_t sigmask;
	uint64_t sigmask_room[15];
	struct sigcontext mc;
};

_Static_assert(offsetof(struct frame, mc) == 168 && offsetof(struct frame, mc.gp_regs) % 16 == 8,
	       "uc_mcontext behind a signal set of 1024 bits");
_Static_assert(sizeof(((struct sigcontext *)0)->gp_regs) >= sizeof(struct pt_regs), "registers fit");

/* What v_regs points to: vr0 to vr31, VSCR and VRSAVE as the regset has them, then the other halves of vs0 to vs31. */
struct vectors {
	uint8_t vmx[34 * 16];
	uint8_t vsx[32 * 8];
};

_Static_assert(sizeof(((struct sigcontext *)0)->vmx_reserve) >= sizeof(struct vectors) + 8, "vectors fit");

/* *ret_held: is set in the frame's MSR, or the kernel would clear what is there. */
static struct err *read_optional(pid_t tid, unsigned note, const char *name, void *ret, size_t bytes, uint64_t bit,
				 uint64_t *ret_held)
{
	size_t got = bytes;
	struct err *e = host_read_regset(tid, note, name, ret, &got);

	/* Processors before POWER7 have no VSX, and some have no vectors at all. */
	if (e && (err_errno(e) == ENODEV || err_errno(e) == EINVAL)) {
		err_destroy(e);
		return NULL;
	}
	if (!e && got == bytes)
		*ret_held |= bit;
	return e;
}

static struct err *read_vectors(pid_t tid, struct vectors *ret, uint64_t *ret_held)
{
	struct err *e = read_optional(tid, NT_PPC_VMX, "vector registers", ret->vmx, sizeof(ret->vmx), MSR_VEC,
				      ret_held);

	return e ? e : read_optional(tid, NT_PPC_VSX, "VSX registers", ret->vsx, sizeof(ret->vsx), MSR_VSX, ret_held);
}

struct err *host_build_frame(pid_t tid, const struct host_regs *r, const struct host_gadgets *g, uint64_t sigmask,
			     uint64_t top, struct buf *out, struct host_frame *ret)
{
	struct frame frame = { .sigmask = sigmask, .ss_flags = -1 /* refused: the alternate stack stays as it is */ };
	uint64_t addr = ALIGN_DOWN(top - sizeof(frame), (uint64_t)FRAME_ALIGN), held = 0;
	uint64_t v_regs = ALIGN_UP(addr + offsetof(struct frame, mc.vmx_reserve), (uint64_t)16);
	size_t fp_bytes = sizeof(frame.mc.fp_regs);
	struct vectors v = { 0 };
	struct err *e = tid ? host_read_regset(tid, NT_PRFPREG, "floating point", &frame.mc.fp_regs, &fp_bytes) : NULL;

	(void)g;
	if (!e && tid)
		e = read_vectors(tid, &v, &held);
	if (e)
		return e;
	memcpy(&frame.mc.gp_regs, user_const(r), sizeof(struct pt_regs));
	frame.mc.gp_regs[PT_MSR] |= held;
	memcpy(&frame.mc.v_regs, &v_regs, sizeof(v_regs));
	memcpy((char *)&frame + (v_regs - addr), &v, sizeof(v));
	buf_add(out, &frame, sizeof(frame));
	*ret = (struct host_frame){ addr, addr };
	return NULL;
}

/* r3 is none of those values for which the kernel would restart the call that the thread may have been in. */
void host_enter_gadget(struct host_regs *r, const struct host_gadgets *g, const struct host_frame *f)
{
	struct pt_regs *u = user(r);

	u->nip = g->call;
	u->gpr[0] = SYS_rt_sigreturn;
	u->gpr[1] = f->sp;
	set_result(u, 0);
}

void host_set_call(struct host_regs *r, const struct host_gadgets *g, const struct host_frame *f, long nr,
		   const uint64_t args[6])
{
	struct pt_regs *u = user(r);

	u->nip = g->sigreturn;
	u->trap = TRAP_SC;
	u->gpr[0] = (unsigned long)nr;
	u->gpr[1] = f->sp;
	u->orig_gpr3 = args[0];
	for (size_t i = 0; i < 6; i++)
		u->gpr[3 + i] = args[i];
}

long host_call_result(const struct host_regs *r)
{
	return result_of(user_const(r));
}

void host_make_call(struct host_regs *r, const struct host_gadgets *g, const struct host_frame *f, long nr,
		    const uint64_t args[6])
{
	struct pt_regs *u = user(r);

	host_set_call(r, g, f, nr, args);
	u->nip = g->call_return;
	u->link = g->sigreturn;
}

void host_clone_args(uint64_t flags, uint64_t sp, uint64_t child_tid_hva, uint64_t ret[6])
{
	memcpy(ret, (const uint64_t[6]){ flags, sp, child_tid_hva }, 6 * sizeof(*ret));
}
