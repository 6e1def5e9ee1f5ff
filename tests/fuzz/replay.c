/* SPDX-License-Identifier: GPL-3.0-or-later */

/* Runs a fuzz target over the files named on its command line, without libFuzzer. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void read_all(FILE *file, struct buf *ret)
{
	size_t n;

	do {
		char piece[4096];

		n = fread(piece, 1, sizeof(piece), file);
		buf_add(ret, piece, n);
	} while (n);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: %s FILE...\n", argv[0]);
		return 2;
	}
	for (int i = 1; i < argc; i++) {
		FILE *file = fopen(argv[i], "rb");
		struct buf data = { 0 };

		if (!file) {
			perror(argv[i]);
			return EXIT_FAILURE;
		}
		read_all(file, &data);
		fclose(file);
		LLVMFuzzerTestOneInput((const uint8_t *)buf_str(&data), data.len);
		buf_deinit(&data);
	}
	printf("%s: %d inputs replayed\n", argv[0], argc - 1);
	return EXIT_SUCCESS;
}
