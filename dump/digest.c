/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dump/digest.h"

#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/attr.h"

struct digest {
	struct sha256_ctx sha256;
};

_Static_assert(DIGEST_HEX_BYTES == 2 * SHA256_DIGEST_SIZE + 1, "two digits a byte");

struct digest *digest_create(void)
{
	struct digest *d = xmalloc(sizeof(*d));

	sha256_init(&d->sha256);
	return d;
}

void digest_destroy(struct digest *d)
{
	free(d);
}

void digest_add(struct digest *d, const void *from, uint64_t bytes)
{
	static const uint8_t zeros[64u << 10];

	if (from) {
		sha256_update(&d->sha256, (size_t)bytes, from);
		return;
	}
	while (bytes) {
		size_t n = (size_t)MIN(bytes, sizeof(zeros));

		sha256_update(&d->sha256, n, zeros);
		bytes -= n;
	}
}

void digest_finish(struct digest *d, char ret[DIGEST_HEX_BYTES])
{
	uint8_t digest[SHA256_DIGEST_SIZE];

	sha256_digest(&d->sha256, sizeof(digest), digest);
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(ret + 2 * i, 3, "%02x", digest[i]);
}
