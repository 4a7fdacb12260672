/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * HTTP/2 frames of a client, cut so that what it says of windows can be told from all else: DATA is
 * framed by us (h2_data.c), so those are ours to count. Protocol library: no socket, no clock, any
 * thread.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define H2_FRAME_HEADER_LEN 9
#define H2_WINDOW_UPDATE_LEN (H2_FRAME_HEADER_LEN + 4)

struct h2_input {
	uint32_t pass;     /* bytes that go by: of the preface, or of the frame that has begun */
	uint32_t settings; /* bytes of a SETTINGS frame that are still to come */
	uint8_t n;         /* bytes of a header or setting that has come in part */
	uint8_t head[H2_WINDOW_UPDATE_LEN];
};

enum h2_part_kind {
	H2_PART_OTHER,
	H2_PART_UPDATE, /* a WINDOW_UPDATE */
	H2_PART_INITIAL /* SETTINGS_INITIAL_WINDOW_SIZE; the bytes have its default in its place */
};

struct h2_part {
	const uint8_t *bytes; /* for nghttp2; until the next call */
	size_t len;
	enum h2_part_kind kind;
	uint32_t window; /* the increment, more than 0, or the initial one */
	int32_t stream;  /* of the update */
};

/* Before the client's preface. */
void h2_input_init(struct h2_input *input);
/* The next part of `len` > 0 bytes; how many of those it took, at least one. An update or setting
 * that is malformed is a part like others. */
size_t h2_input_next(
	struct h2_input *input, const uint8_t *bytes, size_t len, struct h2_part *part);
