/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs on: any thread. */
#include "h2_input.h"

#include <string.h>

#define PREFACE_LEN 24
/* RFC 9113, sections 6.5 and 6.9 */
#define SETTINGS 4
#define WINDOW_UPDATE 8
#define SETTING_LEN 6
#define INITIAL_WINDOW_SIZE 4
#define INITIAL_WINDOW 65535

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

/* How much has to be seen before it is known what to do with it. */
static unsigned wanted(const struct h2_input *input)
{
	if (input->settings)
		return SETTING_LEN;
	return input->n >= H2_FRAME_HEADER_LEN && is_update(input) ? H2_WINDOW_UPDATE_LEN
								   : H2_FRAME_HEADER_LEN;
}

static void update_is_whole(const struct h2_input *input, struct h2_part *part)
{
	part->stream = (int32_t)(number(input->head + 5, 4) & INT32_MAX);
	part->window = number(input->head + H2_FRAME_HEADER_LEN, 4) & INT32_MAX;
	if (part->window)
		part->kind = H2_PART_UPDATE;
}

static void header_is_whole(struct h2_input *input)
{
	uint32_t len = number(input->head, 3);

	if (input->head[3] == SETTINGS && len % SETTING_LEN == 0)
		input->settings = len;
	else
		input->pass = len;
}

static void setting_is_whole(struct h2_input *input, struct h2_part *part)
{
	input->settings -= SETTING_LEN;
	part->window = number(input->head + 2, 4);
	if (number(input->head, 2) != INITIAL_WINDOW_SIZE || part->window > INT32_MAX)
		return;
	part->kind = H2_PART_INITIAL;
	memcpy(input->head + 2, (uint8_t[4]){0, 0, INITIAL_WINDOW >> 8, INITIAL_WINDOW & 0xff}, 4);
}

static void head_is_whole(struct h2_input *input, struct h2_part *part)
{
	part->bytes = input->head;
	part->len = input->n;
	if (input->settings)
		setting_is_whole(input, part);
	else if (input->n == H2_WINDOW_UPDATE_LEN)
		update_is_whole(input, part);
	else
		header_is_whole(input);
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
