/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/host.h"

#include <asm/ptrace.h>
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/alloc.h"

/* include/linux/errno.h: what the kernel leaves in r2 for itself. */
#define ERESTARTNOHAND 514

/* svc; the kernel keeps the length of the instruction that made the call above its number. */
#define INSN_BYTES 2
#define CALL_INSN_BYTES(call) ((call) >> 16)
#define CALL_NR(call) ((call) & 0xffff)

/* An argument is in no register but this when the call has a result: both are r2. */
#define FIRST_ARG 2
#define SP 15

#define FRAME_ALIGN 8

/* Before that a call was restarted by its number, which is lost where a call is looked at, and not by its instruction. */
const unsigned host_least_linux[] = { 5, 14 };

/* A callee saves registers above the stack pointer, in its caller's frame. */
const size_t host_red_zone_bytes = 0;
const size_t host_insn_align = INSN_BYTES;

/* NT_S390_SYSTEM_CALL: in a PTRACE_EVENT_STOP what the kernel restarts, and what orig_rax is elsewhere; 0: none. */
#define CALL_OFFSET sizeof(s390_regs)
const struct host_regset host_regsets[] = {
	{ NT_PRSTATUS, 0, sizeof(s390_regs) },
	{ NT_S390_SYSTEM_CALL, CALL_OFFSET, sizeof(uint32_t) },
};
const size_t host_n_regsets = ARRAY_LEN(host_regsets);

_Static_assert(sizeof(s390_regs) == 216 && CALL_OFFSET + sizeof(uint32_t) <= HOST_REGS_BYTES, "regsets fit");

/* The C library still makes these of older kernels' one call for all sockets and one for System V. */
const struct host_repeatable host_repeatable[] = {
	{ SYS_ipc, 1 /* SEMOP */ },          { SYS_ipc, 4 /* SEMTIMEDOP */ },     { SYS_socketcall, 5 /* ACCEPT */ },
	{ SYS_socketcall, 9 /* SEND */ },    { SYS_socketcall, 10 /* RECV */ },   { SYS_socketcall, 11 /* SENDTO */ },
	{ SYS_socketcall, 12 /* RECVFROM */ }, { SYS_socketcall, 16 /* SENDMSG */ }, { SYS_socketcall, 17 /* RECVMSG */ },
	{ SYS_socketcall, 18 /* ACCEPT4 */ }, { -1, -1 },
};

static s390_regs *user(struct host_regs *r)
{
	return (s390_regs *)r->bytes;
}

static const s390_regs *user_const(const struct host_regs *r)
{
	return (const s390_regs *)r->bytes;
}

static uint32_t call_of(const struct host_regs *r)
{
	uint32_t call;

	memcpy(&call, r->bytes + CALL_OFFSET, sizeof(call));
	return call;
}

/* One in 31-bit code has a shorter regset. */
static bool is_64bit(const struct host_regs *r)
{
	return r->n == sizeof(s390_regs);
}

/* The kernel sets what it gave. */
void host_settle_regs(struct host_regs *r)
{
	(void)r;
}

bool host_syscall_of(const struct host_regs *r, struct host_syscall *ret)
{
	const s390_regs *u = user_const(r);

	if (!is_64bit(r) || !call_of(r))
		return false;
	*ret = (struct host_syscall){
		.nr = CALL_NR(call_of(r)),
		.args = { u->orig_gpr2, u->gprs[3], u->gprs[4], u->gprs[5], u->gprs[6], u->gprs[7] },
		.result = (long)u->gprs[FIRST_ARG],
	};
	return true;
}

void host_ask_restart(struct host_regs *r)
{
	user(r)->gprs[FIRST_ARG] = (unsigned long)-ERESTARTNOHAND;
}

void host_set_result(struct host_regs *r, long result)
{
	user(r)->gprs[FIRST_ARG] = (unsigned long)result;
}

void host_rewind_syscall(struct host_regs *r)
{
	user(r)->psw.addr -= CALL_INSN_BYTES(call_of(r));
	user(r)->gprs[FIRST_ARG] = user(r)->orig_gpr2;
}

uint64_t host_stack_pointer(const struct host_regs *r)
{
	return is_64bit(r) ? user_const(r)->gprs[SP] : 0;
}

/* svc rt_sigreturn. What else the bytes may be a part of does not matter to who jumps there. */
static const uint8_t sigreturn[] = { 0x0a, SYS_rt_sigreturn };
_Static_assert(SYS_rt_sigreturn < 256, "svc has one byte for the number");

/* The call is made where rt_sigreturn would be, and comes back to there. */
const struct host_pattern host_call_patterns[] = { { sigreturn, sizeof(sigreturn) }, { NULL, 0 } };
const struct host_pattern host_sigreturn_patterns[] = { { sigreturn, sizeof(sigreturn) }, { NULL, 0 } };

/* svc 0, which takes the number from r1; br %r14. */
#define CALL_NR_REG 1
#define RETURN_REG 14
static const uint8_t call_return[] = { 0x0a, 0, 0x07, 0xfe };
const struct host_pattern host_call_return_patterns[] = { { call_return, sizeof(call_return) }, { NULL, 0 } };

/* The kernel's struct rt_sigframe, to which r15 points at rt_sigreturn. */
struct frame {
	uint8_t callee_used_stack[160];
	uint16_t svc_insn;
	uint8_t siginfo[128] __attribute__((aligned(8)));
	uint64_t uc_flags;
	uint64_t uc_link;
	uint64_t ss_sp;
	int32_t ss_flags, pad;
	uint64_t ss_size;
	/* _sigregs */
	uint64_t psw[2], gprs[16];
	uint32_t acrs[16];
	uint8_t fpregs[8 + 16 * 8];
	uint64_t sigmask;
	uint8_t sigmask_room[120];
	/* _sigregs_ext */
	uint8_t vxrs_low[16 * 8], vxrs_high[16 * 16];
	uint8_t reserved[128];
};

_Static_assert(offsetof(struct frame, uc_flags) == 296 && offsetof(struct frame, psw) == 336 &&
		       offsetof(struct frame, sigmask) == 680 && offsetof(struct frame, vxrs_low) == 808,
	       "as the kernel has it, of whose uc_sigmask there are 128 bytes");

/* A processor without them has no such regset, and its kernel reads none from the frame. */
static struct err *read_vector(pid_t tid, unsigned note, const char *name, void *ret, size_t bytes)
{
	struct err *e = host_read_regset(tid, note, name, ret, &bytes);

	if (!e || (err_errno(e) != ENODEV && err_errno(e) != EINVAL))
		return e;
	err_destroy(e);
	return NULL;
}

static struct err *read_float(pid_t tid, struct frame *f)
{
	size_t bytes = sizeof(f->fpregs);
	struct err *e = host_read_regset(tid, NT_PRFPREG, "floating point", f->fpregs, &bytes);

	if (!e)
		e = read_vector(tid, NT_S390_VXRS_LOW, "vector registers", f->vxrs_low, sizeof(f->vxrs_low));
	return e ? e : read_vector(tid, NT_S390_VXRS_HIGH, "vector registers", f->vxrs_high, sizeof(f->vxrs_high));
}

struct err *host_build_frame(pid_t tid, const struct host_regs *r, const struct host_gadgets *g, uint64_t sigmask,
			     uint64_t top, struct buf *out, struct host_frame *ret)
{
	const s390_regs *u = user_const(r);
	struct frame f = { .sigmask = sigmask, .ss_flags = -1 /* refused: the alternate stack stays as it is */ };
	uint64_t addr = ALIGN_DOWN(top - sizeof(f), (uint64_t)FRAME_ALIGN);
	struct err *e = tid ? read_float(tid, &f) : NULL;

	(void)g;
	if (e)
		return e;
	f.psw[0] = u->psw.mask;
	f.psw[1] = u->psw.addr;
	memcpy(f.gprs, u->gprs, sizeof(f.gprs));
	memcpy(f.acrs, u->acrs, sizeof(f.acrs));
	buf_add(out, &f, sizeof(f));
	*ret = (struct host_frame){ addr, addr };
	return NULL;
}

/* r2 is none of those values for which the kernel would restart the call that the thread may have been in. */
void host_enter_gadget(struct host_regs *r, const struct host_gadgets *g, const struct host_frame *f)
{
	user(r)->psw.addr = g->call;
	user(r)->gprs[FIRST_ARG] = 0;
	user(r)->gprs[SP] = f->sp;
}

/* At the entry of a call r2 is its number, and its first argument is told apart. */
void host_set_call(struct host_regs *r, const struct host_gadgets *g, const struct host_frame *f, long nr,
		   const uint64_t args[6])
{
	s390_regs *u = user(r);

	u->psw.addr = g->sigreturn;
	u->gprs[SP] = f->sp;
	u->gprs[FIRST_ARG] = (unsigned long)nr;
	u->orig_gpr2 = args[0];
	for (size_t i = 1; i < 6; i++)
		u->gprs[FIRST_ARG + i] = args[i];
}

long host_call_result(const struct host_regs *r)
{
	return (long)user_const(r)->gprs[FIRST_ARG];
}

void host_make_call(struct host_regs *r, const struct host_gadgets *g, const struct host_frame *f, long nr,
		    const uint64_t args[6])
{
	s390_regs *u = user(r);

	host_set_call(r, g, f, nr, args);
	u->psw.addr = g->call_return;
	u->gprs[CALL_NR_REG] = (unsigned long)nr;
	u->gprs[FIRST_ARG] = args[0];
	u->gprs[RETURN_REG] = g->sigreturn;
}

void host_clone_args(uint64_t flags, uint64_t sp, uint64_t child_tid_hva, uint64_t ret[6])
{
	memcpy(ret, (const uint64_t[6]){ sp, flags, child_tid_hva }, 6 * sizeof(*ret));
}
