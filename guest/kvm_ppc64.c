/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/kvm_host.h"

#include <string.h>

#include "arch/ppc64/ppc64.h"
#include "base/alloc.h"

#define FIELD(row, member) KVM_FIELD(PPC64_##row, struct kvm_regs, member)
#define GPR(n) FIELD(R0 + (n), gpr[n])

static const struct kvm_field regs_fields[] = {
	GPR(0), GPR(1), GPR(2), GPR(3), GPR(4), GPR(5), GPR(6), GPR(7), GPR(8), GPR(9), GPR(10),
	GPR(11), GPR(12), GPR(13), GPR(14), GPR(15), GPR(16), GPR(17), GPR(18), GPR(19), GPR(20), GPR(21),
	GPR(22), GPR(23), GPR(24), GPR(25), GPR(26), GPR(27), GPR(28), GPR(29), GPR(30), GPR(31),
	FIELD(PC, pc), FIELD(MSR, msr), FIELD(CR, cr), FIELD(LR, lr), FIELD(CTR, ctr), FIELD(XER, xer),
	FIELD(SRR0, srr0), FIELD(SRR1, srr1),
	FIELD(SPRG0, sprg0), FIELD(SPRG1, sprg1), FIELD(SPRG2, sprg2), FIELD(SPRG3, sprg3),
};

#define ONE(row, id) { PPC64_##row, 1, KVM_REG_PPC_##id }

/*
 * What HV and PR have, or one of the two, or newer kernels only. kvm_regs.pid is of
 * other processors. Clocks and the hypervisor's own registers have no number.
 */
static const struct kvm_one ones[] = {
	{ PPC64_F0, 32, KVM_REG_PPC_FPR0 },
	{ PPC64_VR0, 32, KVM_REG_PPC_VR0 },
	ONE(FPSCR, FPSCR), ONE(VSCR, VSCR), ONE(VRSAVE, VRSAVE),
	ONE(LPCR, LPCR_64), ONE(PID, PID), ONE(PTCR, PTCR), ONE(DAR, DAR), ONE(DSISR, DSISR),
	ONE(VTB, VTB), ONE(PURR, PURR), ONE(SPURR, SPURR), ONE(PPR, PPR), ONE(DSCR, DSCR), ONE(AMR, AMR),
	ONE(IAMR, IAMR), ONE(UAMOR, UAMOR), ONE(TAR, TAR), ONE(FSCR, FSCR), ONE(PSSCR, PSSCR),
	ONE(CIABR, CIABR), ONE(DAWR0, DAWR), ONE(DAWRX0, DAWRX), ONE(TFHAR, TFHAR), ONE(TFIAR, TFIAR),
	ONE(TEXASR, TEXASR), ONE(EBBHR, EBBHR), ONE(EBBRR, EBBRR), ONE(BESCR, BESCR), ONE(DPDES, DPDES),
	ONE(IC, IC), ONE(PSPB, PSPB), ONE(MMCR0, MMCR0), ONE(MMCR1, MMCR1), ONE(MMCR2, MMCR2),
	ONE(MMCRA, MMCRA), ONE(PMC1, PMC1), ONE(PMC2, PMC2), ONE(PMC3, PMC3), ONE(PMC4, PMC4),
	ONE(PMC5, PMC5), ONE(PMC6, PMC6), ONE(SIAR, SIAR), ONE(SDAR, SDAR), ONE(SIER, SIER),
};

#define N_VSRS 32u

/* KVM_REG_PPC_VSR(n) is two doublewords as the host's kernel keeps them: f(n) and the other half. */
struct vsr_call {
	struct kvm_one_reg head;
	uint64_t half[2];
};

static unsigned other_half(void)
{
	return order_of_host() == ORDER_LITTLE ? 0 : 1;
}

static struct guardian_ioctl vsr_call(int fd, unsigned long request, unsigned n, struct vsr_call *c)
{
	c->head.id = KVM_REG_PPC_VSR0 + n;
	return (struct guardian_ioctl){
		.fd = fd, .request = request, .data = c, .bytes = sizeof(*c),
		.pointer_at = offsetof(struct kvm_one_reg, addr), .points_to = offsetof(struct vsr_call, half),
	};
}

static struct err *get_vsrs(const struct kvm_access *a, int fd, struct regs *ret)
{
	struct vsr_call values[N_VSRS] = { 0 };
	struct guardian_ioctl calls[N_VSRS];
	struct err *e;

	for (unsigned n = 0; n < N_VSRS; n++)
		calls[n] = vsr_call(fd, KVM_GET_ONE_REG, n, &values[n]);
	e = a->ioctls(a->ctx, calls, N_VSRS);
	for (unsigned n = 0; !e && n < N_VSRS; n++)
		if (!calls[n].result)
			regs_set(ret, PPC64_VS0H + n, values[n].half[other_half()]);
	return e;
}

static struct err *put_vsr(const struct kvm_access *a, int fd, const struct regs *from, unsigned n)
{
	struct vsr_call value = { 0 };
	struct guardian_ioctl get = vsr_call(fd, KVM_GET_ONE_REG, n, &value), set;
	struct err *e = a->ioctls(a->ctx, &get, 1);

	if (e)
		return e;
	value.half[other_half()] = regs_get_or(from, PPC64_VS0H + n, 0);
	set = vsr_call(fd, KVM_SET_ONE_REG, n, &value);
	e = a->ioctls(a->ctx, &set, 1);
	if (!e && set.result < 0)
		e = err_sys((int)-set.result, "KVM does not take this value of register vs%uh", n);
	return e;
}

const int kvm_host_process_table_row = PPC64_PRTB;

const struct arch *kvm_host_arch(void)
{
	return &arch_ppc64;
}

static struct err *get_pvr(const struct kvm_access *a, int fd, struct regs *ret)
{
	struct kvm_sregs sregs = { 0 };
	struct err *e = kvm_call(a, fd, "KVM_GET_SREGS", KVM_GET_SREGS, &sregs, sizeof(sregs));

	if (!e)
		regs_set(ret, PPC64_PVR, sregs.pvr);
	return e;
}

struct err *kvm_host_read_regs(const struct kvm_access *a, int vcpu_fd, struct regs *ret)
{
	struct kvm_regs regs = { 0 };
	struct err *e = kvm_call(a, vcpu_fd, "KVM_GET_REGS", KVM_GET_REGS, &regs, sizeof(regs));

	if (e)
		return e;
	kvm_fields_get(regs_fields, ARRAY_LEN(regs_fields), &regs, ret);
	e = get_pvr(a, vcpu_fd, ret);
	if (!e)
		e = kvm_ones_get(a, vcpu_fd, ones, ARRAY_LEN(ones), ret);
	return e ? e : get_vsrs(a, vcpu_fd, ret);
}

struct err *kvm_host_read_order(const struct kvm_access *a, int vcpu_fd, struct regs *ret)
{
	static const struct kvm_one lpcr = { PPC64_LPCR, 1, KVM_REG_PPC_LPCR_64 };
	struct err *e = kvm_ones_get(a, vcpu_fd, &lpcr, 1, ret);
	uint64_t value;

	return e || regs_get(ret, PPC64_LPCR, &value) ? e : kvm_host_read_regs(a, vcpu_fd, ret);
}

static struct err *put_regs(const struct kvm_access *a, int fd, const struct regs *from, const bool *changed)
{
	struct kvm_regs before = { 0 }, now;
	struct err *e = kvm_call(a, fd, "KVM_GET_REGS", KVM_GET_REGS, &before, sizeof(before));

	if (e)
		return e;
	now = before;
	kvm_fields_put(regs_fields, ARRAY_LEN(regs_fields), from, changed, &now);
	return kvm_set_if_changed(a, fd, "KVM_SET_REGS does not take it", KVM_SET_REGS, &now, &before, sizeof(now));
}

static struct err *check_changed(const struct kvm_access *a, int fd, const bool *changed, enum byte_order order)
{
	static const unsigned not_of_a_cpu[] = { PPC64_ORIG_R3, PPC64_TRAP, PPC64_N_REGS };
	struct regs *now = regs_create(&arch_ppc64, order);
	struct err *e = kvm_host_read_regs(a, fd, now);

	regs_forget(now, PPC64_PVR); /* the processor's own */
	if (!e)
		e = kvm_check_changed(now, changed, not_of_a_cpu);
	regs_destroy(now);
	return e;
}

struct err *kvm_host_write_regs(const struct kvm_access *a, int vcpu_fd, const struct regs *from, const bool *changed)
{
	struct err *e = check_changed(a, vcpu_fd, changed, from->order);

	if (!e)
		e = put_regs(a, vcpu_fd, from, changed);
	if (!e)
		e = kvm_ones_put(a, vcpu_fd, ones, ARRAY_LEN(ones), from, changed);
	for (unsigned n = 0; !e && n < N_VSRS; n++)
		if (changed[PPC64_VS0H + n])
			e = put_vsr(a, vcpu_fd, from, n);
	return e;
}

/* A guest of this processor learns of lost time by its own clock alone. */
struct err *kvm_host_before_resume(const struct kvm_access *a, const int *vcpu_fds, unsigned n)
{
	(void)a, (void)vcpu_fds, (void)n;
	return NULL;
}
