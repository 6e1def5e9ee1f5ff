/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/host.h"

#include <asm/sigcontext.h>
#include <cpuid.h>
#include <elf.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/user.h>

/* include/linux/errno.h: what the kernel leaves in rax for itself. */
#define ERESTARTNOHAND 514

#define SYSCALL_INSN_BYTES 2

/* arch/x86/include/uapi/asm/ucontext.h */
#define UC_FP_XSTATE 0x1
#define UC_SIGCONTEXT_SS 0x2
#define UC_STRICT_RESTORE_SS 0x4

/* include/uapi/asm/sigcontext.h: where the software bytes of an FXSAVE image are. */
#define FX_SW_BYTES 464
#define FX_XCR0 464

/* Intel SDM volume 1, 13.4: the standard format of the XSAVE area, and the CPUID leaf with its offsets. */
#define FX_BYTES 512
#define XSAVE_HEADER_BYTES 64
#define CPUID_XSTATE 0xd

#define MAX_XSTATE_BYTES 16384
#define FRAME_ALIGN 64

const unsigned host_least_linux[] = { 0, 0 };
const size_t host_red_zone_bytes = 128;
const size_t host_insn_align = 1;

const struct host_regset host_regsets[] = { { NT_PRSTATUS, 0, HOST_REGS_BYTES } };
const size_t host_n_regsets = ARRAY_LEN(host_regsets);

const struct host_repeatable host_repeatable[] = { { SYS_semop, -1 }, { SYS_accept, -1 }, { -1, -1 } };

static struct user_regs_struct *user(struct host_regs *r)
{
	return (struct user_regs_struct *)r->bytes;
}

static const struct user_regs_struct *user_const(const struct host_regs *r)
{
	return (const struct user_regs_struct *)r->bytes;
}

_Static_assert(sizeof(struct user_regs_struct) <= HOST_REGS_BYTES, "regset fits");

/* A thread in 32-bit code has a shorter regset: no injected call can run there. */
static bool is_64bit(const struct host_regs *r)
{
	return r->n == sizeof(struct user_regs_struct);
}

/* The kernel sets what it gave. */
void host_settle_regs(struct host_regs *r)
{
	(void)r;
}

bool host_syscall_of(const struct host_regs *r, struct host_syscall *ret)
{
	const struct user_regs_struct *u = user_const(r);

	if (!is_64bit(r) || (long)u->orig_rax < 0)
		return false;
	*ret = (struct host_syscall){
		.nr = (long)u->orig_rax,
		.args = { u->rdi, u->rsi, u->rdx, u->r10, u->r8, u->r9 },
		.result = (long)u->rax,
	};
	return true;
}

void host_ask_restart(struct host_regs *r)
{
	user(r)->rax = (unsigned long)-ERESTARTNOHAND;
}

void host_set_result(struct host_regs *r, long result)
{
	user(r)->rax = (unsigned long)result;
}

void host_rewind_syscall(struct host_regs *r)
{
	user(r)->rip -= SYSCALL_INSN_BYTES;
	user(r)->rax = user(r)->orig_rax;
}

uint64_t host_stack_pointer(const struct host_regs *r)
{
	return is_64bit(r) ? user_const(r)->rsp : 0;
}

#define PATTERN(...) { (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }) }

#define CALL_RETURN PATTERN(0x0f, 0x05, 0xc3) /* syscall; ret */

const struct host_pattern host_call_patterns[] = { CALL_RETURN, { NULL, 0 } };
const struct host_pattern host_call_return_patterns[] = { CALL_RETURN, { NULL, 0 } };

const struct host_pattern host_sigreturn_patterns[] = {
	PATTERN(0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05), /* mov $15, %rax; syscall */
	PATTERN(0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05),             /* mov $15, %eax; syscall */
	{ NULL, 0 },
};

/* The kernel's struct rt_sigframe of x86-64, as far as rt_sigreturn reads it. */
struct rt_sigframe {
	uint64_t return_address;
	uint64_t uc_flags;
	uint64_t uc_link;
	uint64_t ss_sp;
	uint32_t ss_flags, pad;
	uint64_t ss_size;
	struct sigcontext mc;
	uint64_t sigmask;
};

_Static_assert(offsetof(struct rt_sigframe, mc) == 48, "uc_mcontext behind uc_stack");

static void fill_sigcontext(struct sigcontext *mc, const struct user_regs_struct *u, uint64_t fpstate)
{
	mc->r8 = u->r8;
	mc->r9 = u->r9;
	mc->r10 = u->r10;
	mc->r11 = u->r11;
	mc->r12 = u->r12;
	mc->r13 = u->r13;
	mc->r14 = u->r14;
	mc->r15 = u->r15;
	mc->rdi = u->rdi;
	mc->rsi = u->rsi;
	mc->rbp = u->rbp;
	mc->rbx = u->rbx;
	mc->rdx = u->rdx;
	mc->rax = u->rax;
	mc->rcx = u->rcx;
	mc->rsp = u->rsp;
	mc->rip = u->rip;
	mc->eflags = u->eflags;
	mc->cs = (uint16_t)u->cs;
	mc->ss = (uint16_t)u->ss;
	/* sigcontext names the x87 pointer by a host pointer; it is one of the VMM's. */
	memcpy(&mc->fpstate, &fpstate, sizeof(fpstate));
}

/* Up to where the components reach that the area says it holds. */
static size_t used_xstate_bytes(const char *area)
{
	uint32_t size, offset, c, d;
	size_t end = FX_BYTES + XSAVE_HEADER_BYTES;
	uint64_t held;

	memcpy(&held, area + FX_BYTES, sizeof(held));
	for (unsigned i = 2; i < 63; i++)
		if (held >> i & 1 && __get_cpuid_count(CPUID_XSTATE, i, &size, &offset, &c, &d))
			end = MAX(end, (size_t)offset + size);
	return end;
}

/* The extended state in the form of a signal frame: sw_reserved filled, FP_XSTATE_MAGIC2 behind it. */
static struct err *read_xstate(pid_t tid, struct buf *out)
{
	struct _fpx_sw_bytes sw = { .magic1 = FP_XSTATE_MAGIC1 };
	uint32_t magic2 = FP_XSTATE_MAGIC2;
	size_t bytes = MAX_XSTATE_BYTES;
	struct err *e = host_read_regset(tid, NT_X86_XSTATE, "extended state", buf_extend(out, bytes), &bytes);

	if (e)
		return e;
	if (bytes < FX_BYTES + XSAVE_HEADER_BYTES)
		return err_new(ERR_UNSUPPORTED, "thread %d has an extended state of %zu bytes only", tid, bytes);
	/* The regset is as long as any thread's may get; rt_sigreturn takes no more than this thread's own has. */
	out->len = MIN(bytes, used_xstate_bytes(out->data));
	memcpy(&sw.xfeatures, out->data + FX_XCR0, sizeof(sw.xfeatures));
	sw.xstate_size = (uint32_t)out->len;
	sw.extended_size = sw.xstate_size + FP_XSTATE_MAGIC2_SIZE;
	memcpy(out->data + FX_SW_BYTES, &sw, sizeof(sw));
	buf_add(out, &magic2, sizeof(magic2));
	return NULL;
}

struct err *host_build_frame(pid_t tid, const struct host_regs *r, const struct host_gadgets *g, uint64_t sigmask,
			     uint64_t top, struct buf *out, struct host_frame *ret)
{
	struct buf fp = { 0 };
	struct err *e = tid ? read_xstate(tid, &fp) : NULL;
	struct rt_sigframe frame = { .return_address = g->sigreturn, .sigmask = sigmask };
	uint64_t fp_addr, addr;

	if (e) {
		buf_deinit(&fp);
		return e;
	}
	fp_addr = ALIGN_DOWN(top - fp.len, (uint64_t)FRAME_ALIGN);
	/* A function's entry: the stack is 16-byte aligned before the return address. */
	addr = ALIGN_DOWN(fp_addr - sizeof(frame), (uint64_t)FRAME_ALIGN) - 8;
	frame.uc_flags = (fp.len ? UC_FP_XSTATE : 0) | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
	frame.ss_flags = ~0u; /* refused, and so the alternate stack stays as it is */
	fill_sigcontext(&frame.mc, user_const(r), fp.len ? fp_addr : 0);
	buf_add(out, &frame, sizeof(frame));
	memset(buf_extend(out, (size_t)(fp_addr - addr - sizeof(frame))), 0, (size_t)(fp_addr - addr - sizeof(frame)));
	buf_add(out, fp.data, fp.len);
	buf_deinit(&fp);
	*ret = (struct host_frame){ addr, addr };
	return NULL;
}

void host_enter_gadget(struct host_regs *r, const struct host_gadgets *g, const struct host_frame *f)
{
	struct user_regs_struct *u = user(r);

	u->rip = g->call;
	u->rax = SYS_rt_sigreturn;
	u->orig_rax = (unsigned long)-1;
	u->rsp = f->sp + sizeof(uint64_t); /* as if the return address had been popped */
	u->eflags &= ~0x500ul;             /* no trap flag, forward string direction */
}

void host_set_call(struct host_regs *r, const struct host_gadgets *g, const struct host_frame *f, long nr,
		   const uint64_t args[6])
{
	struct user_regs_struct *u = user(r);

	(void)g; /* the return address is in the frame */
	u->orig_rax = (unsigned long)nr;
	u->rdi = args[0];
	u->rsi = args[1];
	u->rdx = args[2];
	u->r10 = args[3];
	u->r8 = args[4];
	u->r9 = args[5];
	u->rsp = f->sp;
}

long host_call_result(const struct host_regs *r)
{
	return (long)user_const(r)->rax;
}

void host_make_call(struct host_regs *r, const struct host_gadgets *g, const struct host_frame *f, long nr,
		    const uint64_t args[6])
{
	host_enter_gadget(r, g, f);
	host_set_call(r, g, f, nr, args);
	user(r)->rip = g->call_return;
	user(r)->rax = (unsigned long)nr;
}

void host_clone_args(uint64_t flags, uint64_t sp, uint64_t child_tid_hva, uint64_t ret[6])
{
	memcpy(ret, (const uint64_t[6]){ flags, sp, child_tid_hva }, 6 * sizeof(*ret));
}
