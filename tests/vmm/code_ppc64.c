/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/vmm/vmm.h"

extern const char guest_real_count[], guest_real_count_end[], guest_real_mmio[], guest_real_mmio_end[];

const enum guest_mode default_mode = MODE_REAL;

bool guest_code(enum guest_mode mode, enum guest_work work, const char **ret_begin, const char **ret_end)
{
	if (mode != MODE_REAL || (work != WORK_COUNT && work != WORK_MMIO))
		return false;
	*ret_begin = work == WORK_COUNT ? guest_real_count : guest_real_mmio;
	*ret_end = work == WORK_COUNT ? guest_real_count_end : guest_real_mmio_end;
	return true;
}
