/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/text_file.h"

#include <check.h>
#include <stdio.h>

#include "base/buf.h"

char *text_file_read(const char *path)
{
	FILE *f = fopen(path, "r");
	struct buf text = { 0 };
	size_t n = 1;

	ck_assert_msg(f != NULL, "%s: cannot be opened; tests run from the top directory", path);
	while (n) {
		char piece[4096];

		n = fread(piece, 1, sizeof(piece), f);
		buf_add(&text, piece, n);
	}
	fclose(f);
	return buf_take(&text);
}
