/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "linux/panic.h"

#include <string.h>

#define PANIC_CPU_INVALID 0xffffffffu /* include/linux/panic.h */

/*
 * "Power Architecture 64-bit ELF V2 ABI", 2.3.2.1: a function that others call sets
 * its TOC pointer from r12 by two instructions, which those of the kernel itself
 * pass over: addis r2,r12 or lis r2, and addi r2,r2.
 */
#define PPC64_ADDIS_R2_R12 0x3c4cu
#define PPC64_LIS_R2 0x3c40u
#define PPC64_ADDI_R2_R2 0x3842u
#define PPC64_TOC_BYTES 8u

/*
 * panic() calls it, kdump loaded or not, right behind its message. A kernel without it
 * (CONFIG_CRASH_DUMP is off) is caught where panic() starts.
 */
static const char *const FUNCTIONS[] = { "__crash_kexec", "panic" };

static bool sets_toc(const struct linux_kernel *k, uint64_t gva)
{
	uint64_t first, second;

	return kernel_read_uint(k, gva, 4, &first) && kernel_read_uint(k, gva + 4, 4, &second) &&
	       (first >> 16 == PPC64_ADDIS_R2_R12 || first >> 16 == PPC64_LIS_R2) &&
	       second >> 16 == PPC64_ADDI_R2_R2;
}

struct err *kernel_panic_point(struct linux_kernel *k, uint64_t *ret)
{
	struct err *e = NULL;
	uint64_t gva = 0;

	for (size_t i = 0; i < ARRAY_LEN(FUNCTIONS); i++) {
		err_destroy(e);
		e = kernel_symbol(k, FUNCTIONS[i], &gva);
		if (!e)
			break;
	}
	if (e)
		return err_prefix(e, "cannot find where the guest's kernel panics");
	if (!strcmp(k->guest->arch->name, "ppc64") && sets_toc(k, gva))
		gva += PPC64_TOC_BYTES;
	*ret = gva;
	return NULL;
}

bool kernel_has_panicked(struct linux_kernel *k)
{
	uint64_t gva, cpu;
	struct err *e = kernel_symbol(k, "panic_cpu", &gva);

	err_destroy(e);
	return !e && kernel_read_uint(k, gva, 4, &cpu) && cpu != PANIC_CPU_INVALID;
}
