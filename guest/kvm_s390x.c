/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/kvm_host.h"

#include <errno.h>
#include <string.h>

#include "arch/s390x/s390x.h"
#include "base/alloc.h"

/* What this file takes of KVM's interface has these forms, of which no machine has told us otherwise yet. */
_Static_assert(sizeof(struct kvm_regs) == 128 && sizeof(struct kvm_sregs) == 192 && sizeof(struct kvm_fpu) == 136,
	       "asm/kvm.h");
_Static_assert(KVM_GET_REGS == 0x8080ae81 && KVM_SET_REGS == 0x4080ae82 && KVM_GET_SREGS == 0x80c0ae83 &&
		       KVM_SET_SREGS == 0x40c0ae84 && KVM_GET_FPU == 0x8088ae8c && KVM_SET_FPU == 0x4088ae8d &&
		       KVM_GET_ONE_REG == 0x4010aeab && KVM_SET_ONE_REG == 0x4010aeac,
	       "linux/kvm.h");
_Static_assert(offsetof(struct kvm_run, psw_mask) == 32 && offsetof(struct kvm_run, psw_addr) == 40 &&
		       offsetof(struct kvm_run, kvm_valid_regs) == 304 && offsetof(struct kvm_run, kvm_dirty_regs) == 312 &&
		       offsetof(struct kvm_run, s) == 320,
	       "kvm_run");
_Static_assert(offsetof(struct kvm_sync_regs, vrs) == 392 && offsetof(struct kvm_sync_regs, fpc) == 1416 &&
		       offsetof(struct kvm_sync_regs, gscb) == 1744 && sizeof(struct kvm_sync_regs) <= 2048,
	       "kvm_sync_regs");

#define SIXTEEN(X) X(0), X(1), X(2), X(3), X(4), X(5), X(6), X(7), X(8), X(9), X(10), X(11), X(12), X(13), X(14), X(15)

#define GPR(n) KVM_FIELD(S390X_R0 + (n), struct kvm_regs, gprs[n])
#define ACR(n) KVM_FIELD(S390X_ACR0 + (n), struct kvm_sregs, acrs[n])
#define CR(n) KVM_FIELD(S390X_CR0 + (n), struct kvm_sregs, crs[n])
#define FPR(n) KVM_FIELD(S390X_F0 + (n), struct kvm_fpu, fprs[n])

static const struct kvm_field regs_fields[] = { SIXTEEN(GPR) };
static const struct kvm_field sregs_fields[] = { SIXTEEN(ACR), SIXTEEN(CR) };
static const struct kvm_field fpu_fields[] = { KVM_FIELD(S390X_FPC, struct kvm_fpu, fpc), SIXTEEN(FPR) };

#define ONE(row, id) { S390X_##row, 1, KVM_REG_S390_##id }

static const struct kvm_one ones[] = {
	ONE(TODPR, TODPR), ONE(CPUTM, CPU_TIMER), ONE(CKC, CLOCK_COMP), ONE(PP, PP), ONE(LAST_BREAK, GBEA),
	ONE(PFAULT_TOKEN, PFTOKEN), ONE(PFAULT_SELECT, PFSELECT), ONE(PFAULT_COMPARE, PFCOMPARE),
};

/* What only the page has that KVM and the VMM share; KVM writes it whenever KVM_RUN ends, and reads it at the next. */
#define RUN(row, member) KVM_FIELD(S390X_##row, struct kvm_run, member)
#define VR_LOW(n) KVM_FIELD(S390X_V0L + (n), struct kvm_run, s.regs.vrs[n][1])

static const struct kvm_field psw_fields[] = { RUN(PSWM, psw_mask), RUN(PSWA, psw_addr) };
static const struct kvm_field prefix_fields[] = { RUN(PREFIX, s.regs.prefix) };
static const struct kvm_field vr_fields[] = { SIXTEEN(VR_LOW) };
static const struct kvm_field gs_fields[] = {
	RUN(GS_RESERVED, s.regs.gscb[0]), RUN(GSD, s.regs.gscb[1]), RUN(GSSM, s.regs.gscb[2]), RUN(GSEPLA, s.regs.gscb[3]),
};

/* sync: the flag of kvm_valid_regs that says that they are there, and of kvm_dirty_regs to have them taken; 0: always. */
static const struct {
	const struct kvm_field *fields;
	size_t n;
	uint64_t sync;
} run_parts[] = {
	{ psw_fields, ARRAY_LEN(psw_fields), 0 },
	{ prefix_fields, ARRAY_LEN(prefix_fields), KVM_SYNC_PREFIX },
	{ vr_fields, ARRAY_LEN(vr_fields), KVM_SYNC_VRS },
	{ gs_fields, ARRAY_LEN(gs_fields), KVM_SYNC_GSCB },
};

#define N_LOW_VRS 16u
#define N_HIGH_VRS 16u

static bool has_part(const struct kvm_run *run, uint64_t sync)
{
	return !sync || run->kvm_valid_regs & sync;
}

/* v16 to v31, which are one row each. */
static void get_high_vrs(const struct kvm_run *run, struct regs *ret)
{
	for (unsigned n = 0; n < N_HIGH_VRS; n++)
		regs_set_bytes(ret, S390X_V16 + n, run->s.regs.vrs[N_LOW_VRS + n]);
}

static void put_high_vrs(const struct regs *from, const bool *changed, struct kvm_run *run)
{
	for (unsigned n = 0; n < N_HIGH_VRS; n++) {
		if (!changed[S390X_V16 + n])
			continue;
		memcpy(run->s.regs.vrs[N_LOW_VRS + n], regs_bytes(from, S390X_V16 + n), sizeof(run->s.regs.vrs[0]));
		run->kvm_dirty_regs |= KVM_SYNC_VRS;
	}
}

static void get_run(const struct kvm_run *run, struct regs *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(run_parts); i++)
		if (has_part(run, run_parts[i].sync))
			kvm_fields_get(run_parts[i].fields, run_parts[i].n, run, ret);
	if (has_part(run, KVM_SYNC_VRS))
		get_high_vrs(run, ret);
}

static bool any_changed(const struct kvm_field *f, size_t n, const bool *changed)
{
	for (size_t i = 0; i < n; i++)
		if (changed[f[i].row])
			return true;
	return false;
}

static void put_run(const struct regs *from, const bool *changed, struct kvm_run *run)
{
	for (size_t i = 0; i < ARRAY_LEN(run_parts); i++) {
		if (!any_changed(run_parts[i].fields, run_parts[i].n, changed))
			continue;
		kvm_fields_put(run_parts[i].fields, run_parts[i].n, from, changed, run);
		run->kvm_dirty_regs |= run_parts[i].sync;
	}
	put_high_vrs(from, changed, run);
}

static struct err *map_run(const struct kvm_access *a, int fd, struct kvm_run **ret)
{
	*ret = a->map_run(a->ctx, fd);
	return *ret ? NULL : err_sys(errno, "cannot map what KVM tells of vCPU descriptor %d", fd);
}

const int kvm_host_process_table_row = -1;

const struct arch *kvm_host_arch(void)
{
	return &arch_s390x;
}

struct state {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_fpu fpu;
};

static struct err *get_state(const struct kvm_access *a, int fd, struct state *ret)
{
	struct err *e = kvm_call(a, fd, "KVM_GET_REGS", KVM_GET_REGS, &ret->regs, sizeof(ret->regs));

	if (!e)
		e = kvm_call(a, fd, "KVM_GET_SREGS", KVM_GET_SREGS, &ret->sregs, sizeof(ret->sregs));
	return e ? e : kvm_call(a, fd, "KVM_GET_FPU", KVM_GET_FPU, &ret->fpu, sizeof(ret->fpu));
}

static void state_to_regs(const struct state *s, struct regs *ret)
{
	kvm_fields_get(regs_fields, ARRAY_LEN(regs_fields), &s->regs, ret);
	kvm_fields_get(sregs_fields, ARRAY_LEN(sregs_fields), &s->sregs, ret);
	kvm_fields_get(fpu_fields, ARRAY_LEN(fpu_fields), &s->fpu, ret);
}

/* It is always the same. */
struct err *kvm_host_read_order(const struct kvm_access *a, int vcpu_fd, struct regs *ret)
{
	(void)a, (void)vcpu_fd, (void)ret;
	return NULL;
}

struct err *kvm_host_read_regs(const struct kvm_access *a, int vcpu_fd, struct regs *ret)
{
	struct state s = { 0 };
	struct kvm_run *run;
	struct err *e = get_state(a, vcpu_fd, &s);

	if (!e)
		e = kvm_ones_get(a, vcpu_fd, ones, ARRAY_LEN(ones), ret);
	if (!e)
		e = map_run(a, vcpu_fd, &run);
	if (e)
		return e;
	state_to_regs(&s, ret);
	get_run(run, ret);
	a->unmap_run(run);
	return NULL;
}

static struct err *set_state(const struct kvm_access *a, int fd, const struct regs *from, const bool *changed)
{
	struct state before = { 0 }, now;
	struct err *e = get_state(a, fd, &before);

	if (e)
		return e;
	now = before;
	kvm_fields_put(regs_fields, ARRAY_LEN(regs_fields), from, changed, &now.regs);
	kvm_fields_put(sregs_fields, ARRAY_LEN(sregs_fields), from, changed, &now.sregs);
	kvm_fields_put(fpu_fields, ARRAY_LEN(fpu_fields), from, changed, &now.fpu);
	e = kvm_set_if_changed(a, fd, "KVM_SET_REGS does not take it", KVM_SET_REGS, &now.regs, &before.regs,
			       sizeof(now.regs));
	if (!e)
		e = kvm_set_if_changed(a, fd, "KVM_SET_SREGS does not take it", KVM_SET_SREGS, &now.sregs,
				       &before.sregs, sizeof(now.sregs));
	if (!e)
		e = kvm_set_if_changed(a, fd, "KVM_SET_FPU does not take it", KVM_SET_FPU, &now.fpu, &before.fpu,
				       sizeof(now.fpu));
	return e;
}

static struct err *check_changed(const struct kvm_access *a, int fd, const bool *changed)
{
	static const unsigned not_of_a_cpu[] = { S390X_ORIG_R2, S390X_N_REGS };
	struct regs *now = regs_create(&arch_s390x, ORDER_BIG);
	struct err *e = kvm_host_read_regs(a, fd, now);

	if (!e)
		e = kvm_check_changed(now, changed, not_of_a_cpu);
	regs_destroy(now);
	return e;
}

struct err *kvm_host_write_regs(const struct kvm_access *a, int vcpu_fd, const struct regs *from, const bool *changed)
{
	struct kvm_run *run;
	struct err *e = check_changed(a, vcpu_fd, changed);

	if (!e)
		e = set_state(a, vcpu_fd, from, changed);
	if (!e)
		e = kvm_ones_put(a, vcpu_fd, ones, ARRAY_LEN(ones), from, changed);
	if (!e)
		e = map_run(a, vcpu_fd, &run);
	if (e)
		return e;
	put_run(from, changed, run);
	a->unmap_run(run);
	return NULL;
}

/* The guest's clock goes on by itself. */
struct err *kvm_host_before_resume(const struct kvm_access *a, const int *vcpu_fds, unsigned n)
{
	(void)a, (void)vcpu_fds, (void)n;
	return NULL;
}
