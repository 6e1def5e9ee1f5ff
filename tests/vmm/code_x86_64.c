/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/alloc.h"
#include "tests/vmm/vmm.h"

struct guest_code {
	const char *begin, *end;
};

#define CODE(name) extern const char name[], name##_end[]
CODE(guest_16_count);
CODE(guest_16_halt);
CODE(guest_16_port);
CODE(guest_flat_count);
CODE(guest_flat_halt);
CODE(guest_flat_port);
CODE(guest_32_count);
CODE(guest_32_halt);
CODE(guest_32_port);
CODE(guest_32_mmio);
CODE(guest_64_count);
CODE(guest_64_halt);
CODE(guest_64_port);
CODE(guest_64_mmio);
CODE(guest_64_stamp);
#undef CODE

#define CODE(name) {name, name##_end}
static const struct guest_code codes[][5] = {
	[MODE_16] = {
		[WORK_COUNT] = CODE(guest_16_count),
		[WORK_HALT] = CODE(guest_16_halt),
		[WORK_PORT] = CODE(guest_16_port),
	},
	[MODE_FLAT] = {
		[WORK_COUNT] = CODE(guest_flat_count),
		[WORK_HALT] = CODE(guest_flat_halt),
		[WORK_PORT] = CODE(guest_flat_port),
	},
	[MODE_32] = {
		[WORK_COUNT] = CODE(guest_32_count),
		[WORK_HALT] = CODE(guest_32_halt),
		[WORK_PORT] = CODE(guest_32_port),
		[WORK_MMIO] = CODE(guest_32_mmio),
	},
	[MODE_PAE] = {
		[WORK_COUNT] = CODE(guest_32_count),
		[WORK_HALT] = CODE(guest_32_halt),
		[WORK_PORT] = CODE(guest_32_port),
		[WORK_MMIO] = CODE(guest_32_mmio),
	},
	[MODE_LONG] = {
		[WORK_COUNT] = CODE(guest_64_count),
		[WORK_HALT] = CODE(guest_64_halt),
		[WORK_PORT] = CODE(guest_64_port),
		[WORK_MMIO] = CODE(guest_64_mmio),
		[WORK_STAMP] = CODE(guest_64_stamp),
	},
};
#undef CODE

const enum guest_mode default_mode = MODE_LONG;

bool guest_code(enum guest_mode mode, enum guest_work work, const char **ret_begin, const char **ret_end)
{
	if (mode >= ARRAY_LEN(codes) || work >= ARRAY_LEN(codes[mode]) || !codes[mode][work].begin)
		return false;
	*ret_begin = codes[mode][work].begin;
	*ret_end = codes[mode][work].end;
	return true;
}
