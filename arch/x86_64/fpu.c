/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "arch/x86_64/x86_64.h"

#include <string.h>

#include "arch/x86_64/notes.h"

/* Intel SDM volume 1: 8.1.7 "x87 FPU Tag Word", 10.5.1 "FXSAVE Area", 13.4 "XSAVE Area". */

enum x87_tag {
	TAG_VALID,
	TAG_ZERO,
	TAG_SPECIAL,
	TAG_EMPTY,
};

#define XSTATE_BV 512u /* its offset */
#define FCTRL_INIT 0x37fu
#define FTAG_INIT 0xffffu

static unsigned top_of(uint16_t fstat)
{
	return fstat >> 11 & 7;
}

static enum x87_tag tag_of(const uint8_t *st)
{
	uint64_t significand = load_uint(st, 8, ORDER_LITTLE);
	unsigned exponent = load_uint(st + 8, 2, ORDER_LITTLE) & 0x7fff;

	if (!exponent && !significand)
		return TAG_ZERO;
	/* Denormal, infinity, NaN, and the formats without the integer bit. */
	if (!exponent || exponent == 0x7fff || !(significand >> 63))
		return TAG_SPECIAL;
	return TAG_VALID;
}

uint8_t x86_64_ftag_abridge(uint16_t ftag)
{
	uint8_t abridged = 0;

	for (unsigned i = 0; i < 8; i++)
		if ((ftag >> 2 * i & 3) != TAG_EMPTY)
			abridged |= 1u << i;
	return abridged;
}

uint16_t x86_64_ftag_expand(uint8_t abridged, uint16_t fstat, const uint8_t *st, size_t st_stride)
{
	uint16_t ftag = 0;

	for (unsigned i = 0; i < 8; i++) {
		unsigned place = (i - top_of(fstat)) & 7;
		unsigned tag = abridged >> i & 1 ? tag_of(st + place * st_stride) : TAG_EMPTY;

		ftag |= tag << 2 * i;
	}
	return ftag;
}

void x86_64_fxsave_get(const struct regs *regs, uint8_t *image)
{
	note_overlay(&x86_64_fpregset, regs, 0, image);
}

void x86_64_fxsave_put(struct regs *regs, const uint8_t *image)
{
	note_parse(&x86_64_fpregset, image, regs, NULL);
}

/* What an XSAVE component that was never used holds: SDM 13.6. */
static void set_initial(struct regs *regs, unsigned first, unsigned last)
{
	for (unsigned reg = first; reg <= last; reg++)
		regs_set(regs, reg, 0);
}

void x86_64_xsave_get(const struct regs *regs, uint8_t *image)
{
	uint64_t components = load_uint(image + XSTATE_BV, 8, ORDER_LITTLE);

	note_overlay(&x86_64_xstate_registers, regs, 0, image);
	if (regs_bytes(regs, X86_FCTRL))
		components |= X86_XSTATE_X87;
	if (regs_bytes(regs, X86_XMM0))
		components |= X86_XSTATE_SSE;
	if (regs_bytes(regs, X86_YMM0H))
		components |= X86_XSTATE_AVX;
	store_uint(image + XSTATE_BV, 8, ORDER_LITTLE, components);
}

void x86_64_xsave_put(struct regs *regs, const uint8_t *image)
{
	uint64_t components = load_uint(image + XSTATE_BV, 8, ORDER_LITTLE);

	note_parse(&x86_64_xstate_registers, image, regs, NULL);
	if (!(components & X86_XSTATE_X87)) {
		set_initial(regs, X86_ST0, X86_FOP);
		regs_set(regs, X86_FCTRL, FCTRL_INIT);
		regs_set(regs, X86_FTAG, FTAG_INIT);
	}
	if (!(components & X86_XSTATE_SSE))
		set_initial(regs, X86_XMM0, X86_XMM15);
	if (!(components & X86_XSTATE_AVX))
		set_initial(regs, X86_YMM0H, X86_YMM15H);
}
