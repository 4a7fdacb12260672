/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * HTTP/2 frames of a client, cut so that WINDOW_UPDATE can be told from the others: DATA is framed
 * by us (h2_data.c), so those are ours to count. Protocol library: no socket, no clock, any thread.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define H2_FRAME_HEADER_LEN 9
#define H2_WINDOW_UPDATE_LEN (H2_FRAME_HEADER_LEN + 4)

struct h2_input {
	uint32_t pass; /* bytes that go by: of the preface, or of the frame that has begun */
	uint8_t n;     /* bytes of a header that has come in part */
	uint8_t head[H2_WINDOW_UPDATE_LEN];
};

struct h2_part {
	const uint8_t *bytes; /* for nghttp2; until the next call */
	size_t len;
	uint32_t increment; /* more than 0: these bytes are a WINDOW_UPDATE */
	int32_t stream;     /* of it */
};

/* Before the client's preface. */
void h2_input_init(struct h2_input *input);
/* The next part of `len` > 0 bytes; how many of those it took, at least one. An update that is
 * malformed is a part like others. */
size_t h2_input_next(
	struct h2_input *input, const uint8_t *bytes, size_t len, struct h2_part *part);
