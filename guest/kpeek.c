/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/kpeek.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "guest/proc.h"

#define WINDOW_BYTES 8192
#define CHUNK_BYTES 2048
/* What the verifier takes as the bound of a read; CHUNK_BYTES passes through it. */
#define CHUNK_MASK (2 * CHUNK_BYTES - 1)

/* What the BPF program and we share: the one value of an mmapable array map. */
struct window {
	uint64_t addr;
	uint32_t bytes;
	uint32_t pad;
	int64_t rc;
	uint64_t task;
	char data[WINDOW_BYTES - 32];
};

_Static_assert(sizeof(struct window) == WINDOW_BYTES, "the map's value");

struct bpf_peek {
	int map_fd, prog_fd;
	struct window *window;
};

static int bpf(int cmd, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, cmd, attr, sizeof(*attr));
}

static void bpf_peek_close(void *ctx)
{
	struct bpf_peek *p = ctx;

	if (p->window)
		munmap(p->window, sizeof(*p->window));
	if (p->map_fd >= 0)
		close(p->map_fd);
	if (p->prog_fd >= 0)
		close(p->prog_fd);
	free(p);
}

static struct err *run(struct bpf_peek *p)
{
	union bpf_attr attr = { .test.prog_fd = (uint32_t)p->prog_fd };

	if (bpf(BPF_PROG_TEST_RUN, &attr) < 0)
		return err_sys(errno, "cannot run the BPF program that reads kernel memory (Linux 5.10 is needed)");
	return NULL;
}

static struct err *bpf_peek_read(void *ctx, uint64_t addr, void *ret, size_t bytes)
{
	struct bpf_peek *p = ctx;

	for (size_t done = 0; done < bytes;) {
		size_t n = MIN(bytes - done, (size_t)CHUNK_BYTES);
		struct err *e;

		p->window->addr = addr + done;
		p->window->bytes = (uint32_t)n;
		e = run(p);
		if (e)
			return e;
		if (p->window->rc)
			return err_new(ERR_UNMAPPED, "no kernel memory at 0x%" PRIx64, addr + done);
		memcpy((char *)ret + done, p->window->data, n);
		done += n;
	}
	return NULL;
}

static struct err *bpf_peek_current(void *ctx, uint64_t *ret)
{
	struct bpf_peek *p = ctx;
	struct err *e;

	p->window->bytes = 0;
	e = run(p);
	if (!e)
		*ret = p->window->task;
	return e;
}

#define INSN(op, dst, src, offset, value) \
	((struct bpf_insn){ .code = (op), .dst_reg = (dst), .src_reg = (src), .off = (offset), .imm = (value) })
#define CALL(helper) INSN(BPF_JMP | BPF_CALL, 0, 0, 0, helper)
#define MOV(dst, src) INSN(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0)
#define AT(member) offsetof(struct window, member)

/* rc = bpf_probe_read_kernel(data, bytes & CHUNK_MASK, addr); task = current */
static int load(int map_fd, char *log, size_t log_bytes)
{
	const struct bpf_insn prog[] = {
		INSN(BPF_LD | BPF_DW | BPF_IMM, 6, BPF_PSEUDO_MAP_VALUE, 0, map_fd),
		INSN(0, 0, 0, 0, 0),
		CALL(BPF_FUNC_get_current_task),
		INSN(BPF_STX | BPF_DW | BPF_MEM, 6, 0, AT(task), 0),
		INSN(BPF_LDX | BPF_DW | BPF_MEM, 3, 6, AT(addr), 0),
		INSN(BPF_LDX | BPF_W | BPF_MEM, 2, 6, AT(bytes), 0),
		INSN(BPF_ALU64 | BPF_AND | BPF_K, 2, 0, 0, CHUNK_MASK),
		MOV(1, 6),
		INSN(BPF_ALU64 | BPF_ADD | BPF_K, 1, 0, 0, AT(data)),
		CALL(BPF_FUNC_probe_read_kernel),
		INSN(BPF_STX | BPF_DW | BPF_MEM, 6, 0, AT(rc), 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT,
		.insns = (uintptr_t)prog,
		.insn_cnt = ARRAY_LEN(prog),
		.license = (uintptr_t) "GPL",
		.log_buf = (uintptr_t)log,
		.log_size = (uint32_t)log_bytes,
		.log_level = 1,
	};

	return bpf(BPF_PROG_LOAD, &attr);
}

static struct err *explain(int errnum)
{
	struct buf lock = { 0 };
	struct err *e = proc_read(&lock, "/sys/kernel/security/lockdown");
	bool locked = !e && strstr(buf_str(&lock), "[confidentiality]");

	err_destroy(e);
	buf_deinit(&lock);
	if (locked)
		return err_sys(errnum, "cannot read the memory slots of KVM: this kernel is locked down "
				       "(lockdown=confidentiality), which forbids BPF to read kernel memory; "
				       "boot it with lockdown=integrity or none");
	if (errnum == EPERM || errnum == EACCES)
		return err_sys(errnum, "cannot read the memory slots of KVM: "
				       "CAP_BPF and CAP_PERFMON (or CAP_SYS_ADMIN) are needed");
	return err_sys(errnum, "cannot load the BPF program that reads the memory slots of KVM "
			       "(Linux 5.10 is needed)");
}

/* Before Linux 5.11 maps and programs counted against RLIMIT_MEMLOCK. */
static void raise_memlock(void)
{
	struct rlimit lim = { RLIM_INFINITY, RLIM_INFINITY };

	setrlimit(RLIMIT_MEMLOCK, &lim);
}

static struct err *bpf_peek_init(struct bpf_peek *p)
{
	union bpf_attr map = {
		.map_type = BPF_MAP_TYPE_ARRAY,
		.key_size = 4,
		.value_size = WINDOW_BYTES,
		.max_entries = 1,
		.map_flags = BPF_F_MMAPABLE,
	};
	char log[4096] = "";

	p->map_fd = bpf(BPF_MAP_CREATE, &map);
	if (p->map_fd < 0 && errno == EPERM) {
		raise_memlock();
		p->map_fd = bpf(BPF_MAP_CREATE, &map);
	}
	if (p->map_fd < 0)
		return explain(errno);
	p->window = mmap(NULL, WINDOW_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, p->map_fd, 0);
	if (p->window == MAP_FAILED) {
		p->window = NULL;
		return err_sys(errno, "cannot map a BPF array");
	}
	p->prog_fd = load(p->map_fd, log, sizeof(log));
	return p->prog_fd < 0 ? explain(errno) : NULL;
}

struct err *kpeek_open_bpf(struct kpeek *ret)
{
	struct bpf_peek *p = xmalloc(sizeof(*p));
	struct err *e;

	*p = (struct bpf_peek){ .map_fd = -1, .prog_fd = -1 };
	e = bpf_peek_init(p);
	if (e) {
		bpf_peek_close(p);
		return e;
	}
	*ret = (struct kpeek){ bpf_peek_read, bpf_peek_current, bpf_peek_close, p };
	return NULL;
}

void kpeek_close(struct kpeek *k)
{
	if (k->close)
		k->close(k->ctx);
	*k = (struct kpeek){ 0 };
}

struct err *kpeek_u32(const struct kpeek *k, uint64_t addr, uint32_t *ret)
{
	return k->read(k->ctx, addr, ret, sizeof(*ret));
}

struct err *kpeek_u64(const struct kpeek *k, uint64_t addr, uint64_t *ret)
{
	return k->read(k->ctx, addr, ret, sizeof(*ret));
}
