/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_PACKET_H
#define BASE_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cursor.h"

/*
 * Framing ("Overview" of gdb's remote protocol): $ payload # two digits. Bytes
 * come in pieces of any size; packet_decode() finds one event at a time.
 */

/*
 * The longest payload taken, escapes included; what our PacketSize announces.
 * Memory replies of up to this many digits are sent.
 */
#define PACKET_MAX_BYTES 0x40000u

enum packet_event {
	PACKET_NONE,      /* the input is used up */
	PACKET_WHOLE,     /* decoder->body is a payload, escapes still in it */
	PACKET_BAD_SUM,   /* the same, but the checksum is wrong */
	PACKET_TOO_LONG,  /* a payload over PACKET_MAX_BYTES was passed over */
	PACKET_ACK,
	PACKET_NACK,
	PACKET_INTERRUPT, /* 0x03 between packets */
};

enum packet_place {
	PACKET_BETWEEN,
	PACKET_IN_BODY,
	PACKET_SUM_1,
	PACKET_SUM_2,
};

/* {0} is a decoder that waits for a packet. */
struct packet_decoder {
	enum packet_place place;
	struct buf body; /* borrowed by the caller until the next packet_decode() */
	bool too_long;
	uint8_t sum;
	char digit;
};

void packet_decoder_deinit(struct packet_decoder *d);
enum packet_event packet_decode(struct packet_decoder *d, struct cursor *in);

/* Appends the frame of a payload. '#', '$', '}' and '*' are escaped in it. */
void packet_encode(struct buf *out, const void *payload, size_t bytes);
/* The same for one of letters and digits only, with runs of one of them as packet_expand() undoes them. */
void packet_encode_digits(struct buf *out, const void *payload, size_t bytes);

/*
 * Undoes the run lengths in a payload, which a stub may send; false when one
 * stands behind nothing or is cut off, or *ret would be over PACKET_MAX_BYTES.
 */
bool packet_expand(const void *payload, size_t bytes, struct buf *ret);

/* Takes everything that is left as escaped binary; false when an escape is cut off. */
bool packet_take_binary(struct cursor *c, struct buf *ret);

/* One line of the packet log, with --debug. way: "<-" from the other side, "->" to it. */
void packet_log(const char *way, const void *payload, size_t bytes);

#endif
