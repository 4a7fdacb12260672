/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs on: any thread. */
#include "h2_input.h"

#include <string.h>

#define PREFACE_LEN 24
#define WINDOW_UPDATE 8 /* RFC 9113, section 6.9 */

void h2_input_init(struct h2_input *input)
{
	*input = (struct h2_input){.pass = PREFACE_LEN};
}

static uint32_t number(const uint8_t *bytes, unsigned n)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < n; i++)
		value = value << 8 | bytes[i];
	return value;
}

static bool is_update(const struct h2_input *input)
{
	return input->head[3] == WINDOW_UPDATE &&
	       number(input->head, 3) == H2_WINDOW_UPDATE_LEN - H2_FRAME_HEADER_LEN;
}

/* How much of the frame has to be seen before it is known what to do with it. */
static unsigned wanted(const struct h2_input *input)
{
	return input->n >= H2_FRAME_HEADER_LEN && is_update(input) ? H2_WINDOW_UPDATE_LEN
								   : H2_FRAME_HEADER_LEN;
}

static void head_is_whole(struct h2_input *input, struct h2_part *part)
{
	part->bytes = input->head;
	part->len = input->n;
	if (input->n == H2_WINDOW_UPDATE_LEN) {
		part->stream = (int32_t)(number(input->head + 5, 4) & INT32_MAX);
		part->increment = number(input->head + H2_FRAME_HEADER_LEN, 4) & INT32_MAX;
	} else {
		input->pass = number(input->head, 3);
	}
	input->n = 0;
}

size_t h2_input_next(struct h2_input *input, const uint8_t *bytes, size_t len, struct h2_part *part)
{
	size_t used = 0;

	*part = (struct h2_part){0};
	if (input->pass) {
		used = len < input->pass ? len : input->pass;
		input->pass -= (uint32_t)used;
		part->bytes = bytes;
		part->len = used;
		return used;
	}
	while (used < len && input->n < wanted(input))
		input->head[input->n++] = bytes[used++];
	if (input->n == wanted(input))
		head_is_whole(input, part);
	return used;
}
