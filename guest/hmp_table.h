/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GUEST_HMP_TABLE_H
#define GUEST_HMP_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch/arch.h"

/* What `info registers` looks like, one table an architecture. */

#define HMP_MAX_WORDS 8u
#define HMP_SKIP 0xffffu

/* A number of up to 64 bits: those of a row from bit shift on. */
struct hmp_word {
	uint16_t reg; /* or HMP_SKIP; that of the first key */
	uint8_t shift;
};

/*
 * A key and the words behind it, all on one line. A key with a number in it
 * ("GPR04") stands for a series: the row of each word goes up with the number.
 */
struct hmp_field {
	const char *key;
	uint8_t first, last, step; /* step 0: no number */
	uint8_t digits;            /* of the number, with leading zeros */
	bool decimal;              /* the words; else hexadecimal */
	uint8_t n_words;
	struct hmp_word words[HMP_MAX_WORDS];
};

struct hmp_table {
	const char *arch;
	const struct hmp_field *fields;
	size_t n_fields;
	/* Makes rows of what stands in them otherwise than in the text; or NULL. */
	void (*finish)(struct regs *regs);
};

/* NULL: none for this architecture. */
const struct hmp_table *hmp_table_of(const struct arch *arch);

#endif
