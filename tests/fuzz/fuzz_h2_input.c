/* SPDX-License-Identifier: BSD-3-Clause */
/* A client's HTTP/2 in pieces: all bytes go by in order, but for windows that streams begin with,
 * and cutting changes neither them nor what is taken for a word on windows. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "h2_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
	uint8_t *bytes;
	size_t len;
	uint64_t windows; /* what is said of them, mixed in order */
};

static uint32_t value_at(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
	       bytes[3];
}

static void check_window(const struct h2_part *part)
{
	assert(part->window <= INT32_MAX);
	if (part->kind == H2_PART_UPDATE)
		assert(part->len == H2_WINDOW_UPDATE_LEN && part->window && part->stream >= 0 &&
			part->bytes[3] == 8);
	else
		assert(part->len == 6 && part->bytes[1] == 4 && value_at(part->bytes + 2) == 65535);
}

static void look_at(struct seen *seen, const struct h2_part *part)
{
	if (part->len)
		memcpy(seen->bytes + seen->len, part->bytes, part->len);
	if (part->kind != H2_PART_OTHER) {
		check_window(part);
		seen->windows = (seen->windows ^ (uint64_t)(uint32_t)part->stream << 32 ^
					part->window ^ seen->len) *
				0x9e3779b97f4a7c15u;
	}
	for (unsigned i = 0; part->kind == H2_PART_INITIAL && i < 4; i++)
		seen->bytes[seen->len + 2 + i] = (uint8_t)(part->window >> (24 - 8 * i));
	seen->len += part->len;
}

static void take_all(const uint8_t *data, size_t size, size_t step, struct seen *seen)
{
	struct h2_input input;
	struct h2_part part;

	h2_input_init(&input);
	for (size_t at = 0; at < size;) {
		size_t len = size - at < step ? size - at : step;
		size_t used = h2_input_next(&input, data + at, len, &part);

		assert(used && used <= len);
		look_at(seen, &part);
		at += used;
	}
	assert(seen->len + input.n == size && input.n < H2_WINDOW_UPDATE_LEN);
	assert(memcmp(seen->bytes, data, seen->len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen whole = {.bytes = malloc(size)}, cut = {.bytes = malloc(size)};

	if (size && whole.bytes && cut.bytes) {
		take_all(data, size, size, &whole);
		take_all(data, size, 1 + data[0] % 17, &cut);
		assert(whole.len == cut.len && whole.windows == cut.windows);
	}
	free(whole.bytes);
	free(cut.bytes);
	return 0;
}
