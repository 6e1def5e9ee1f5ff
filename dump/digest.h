/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DUMP_DIGEST_H
#define DUMP_DIGEST_H

#include <stddef.h>
#include <stdint.h>

/* The SHA-256 of bytes that come piece by piece. */
struct digest;

#define DIGEST_HEX_BYTES 65u

struct digest *digest_create(void);
void digest_destroy(struct digest *d); /* takes NULL */
/* from NULL: zeros. */
void digest_add(struct digest *d, const void *from, uint64_t bytes);
/* Of all that was added, in hex with a NUL. Once. */
void digest_finish(struct digest *d, char ret[DIGEST_HEX_BYTES]);

#endif
