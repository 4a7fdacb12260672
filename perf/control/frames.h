/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What zstd frames of map messages say. Each distinct frame is decoded once, however many nodes it
 * reaches: a frame is known again by its bytes.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct frame {
	uint64_t hash;
	uint32_t len; /* compressed */
	uint32_t text_len;
	uint32_t n_ids, n_marks;
	bool keep_alive; /* and nothing else */
	int64_t self;    /* the id in "Node"; 0: none */
	uint32_t *ids;   /* of full records of peers */
	uint32_t *marks;
};

/* Changes that the generator makes carry their number as an endpoint 198.18.X.Y:PORT. */
#define MARK_PREFIX "\"198.18."
#define MARK_MAX (1u << 16)

/* The length of the frame that begins here; 0: more bytes are needed. */
size_t frame_whole(const uint8_t *bytes, size_t len);
/* NULL: it does not decode. Good until the next call, and so is what it says, which `text` gets
 * when not NULL. */
const struct frame *frame_understand(const uint8_t *bytes, size_t len, const char **text);
uint64_t frames_distinct(void);
void frames_fini(void);
