/* SPDX-License-Identifier: BSD-3-Clause */
/* What comes on a stream of maps. Runs on: the generator's one thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frames.h"
#include "load.h"

#define PART_FIRST 4096
#define MESSAGE_MAX (256u << 20)

static bool wrong(struct node *node, const char *why)
{
	struct load *load = node->load;

	if (!load->error[0])
		snprintf(load->error, sizeof(load->error), "node %u: %s", node->index, why);
	return false;
}

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

static void part_drop(struct message *message)
{
	free(message->part);
	message->part = NULL;
	message->part_len = message->part_size = 0;
}

static void text_add(struct message *message, const char *text, size_t len)
{
	size_t need = message->text_len + len;

	if (need > message->text_size) {
		message->text_size = need > 2 * message->text_size ? need : 2 * message->text_size;
		message->text = must(realloc(message->text, message->text_size));
	}
	memcpy(message->text + message->text_len, text, len);
	message->text_len = need;
}

void stream_reset(struct node *node)
{
	struct load *load = node->load;

	part_drop(&node->message);
	free(node->message.text);
	node->message = (struct message){0};
	if (node->converged_at)
		load->converged--;
	node->converged_at = 0;
	node->n_seen = 0;
	node->saw_self = false;
	memset(node->seen, 0, (load->ids_max + 63) / 64 * 8);
}

/* ---- what a frame means for this node ---- */

static bool see(struct node *node, const struct frame *frame)
{
	struct load *load = node->load;

	for (uint32_t i = 0; i < frame->n_ids; i++) {
		uint32_t id = frame->ids[i];
		uint64_t bit = 1ull << id % 64;

		if (id >= load->ids_max)
			return wrong(node, "an id is higher than expected");
		node->n_seen += !(node->seen[id / 64] & bit);
		node->seen[id / 64] |= bit;
	}
	load->records += frame->n_ids;
	if (!node->converged_at && node->n_seen >= load->n - 1) {
		node->converged_at = load_now();
		load->converged++;
	}
	return true;
}

static void hear(struct node *node, const struct frame *frame)
{
	struct load *load = node->load;
	uint64_t now = load_now();

	for (uint32_t i = 0; i < frame->n_marks; i++) {
		struct change *change =
			frame->marks[i] < load->n_changes ? &load->changes[frame->marks[i]] : NULL;

		if (!change || !change->at)
			continue;
		change->n++;
		change->last = now;
		load->told++;
	}
}

static bool frame_take(struct node *node, const uint8_t *bytes, size_t len)
{
	struct message *message = &node->message;
	const char *text = NULL;
	const struct frame *frame = frame_understand(bytes, len, node->decodes ? &text : NULL);

	if (!frame)
		return wrong(node, "a frame does not decode");
	if (text)
		text_add(message, text, frame->text_len);
	if (frame->self) {
		node->load->full_maps += !node->saw_self;
		node->saw_self = true;
	} else if (!node->saw_self && !frame->keep_alive) {
		return wrong(node, "a stream does not begin with the node itself");
	}
	if (frame->n_ids && !see(node, frame))
		return false;
	if (frame->n_marks)
		hear(node, frame);
	return true;
}

/* ---- bytes into frames into messages ---- */

/* All frames of a message together are one JSON object. */
static bool message_end(struct node *node)
{
	struct message *message = &node->message;
	bool fine;

	node->load->messages++;
	if (message->part_len)
		return wrong(node, "a message ends within a frame");
	if (node->decodes) {
		fine = json_is_object_text(message->text, message->text_len);
		message->text_len = 0;
		if (!fine)
			return wrong(node, "a message is no JSON object");
		node->load->decoded++;
	}
	message->prefix_len = 0;
	return true;
}

static void part_add(struct message *message, const uint8_t *bytes, size_t len)
{
	size_t need = message->part_len + len;

	if (need > message->part_size) {
		size_t size = message->part_size ? 2 * message->part_size : PART_FIRST;

		while (size < need)
			size *= 2;
		message->part = must(realloc(message->part, size));
		message->part_size = size;
	}
	memcpy(message->part + message->part_len, bytes, len);
	message->part_len = need;
}

/* Frames that lie whole in `bytes`; how many bytes they are, or negative. */
static ssize_t frames_take(struct node *node, const uint8_t *bytes, size_t len)
{
	size_t at = 0, whole;

	while (at < len && (whole = frame_whole(bytes + at, len - at))) {
		if (!frame_take(node, bytes + at, whole))
			return -1;
		at += whole;
	}
	return (ssize_t)at;
}

/* Bytes of one message. */
static bool text_take(struct node *node, const uint8_t *bytes, size_t len)
{
	struct message *message = &node->message;
	ssize_t used;

	if (!message->part_len) {
		used = frames_take(node, bytes, len);
		if (used >= 0 && (size_t)used < len)
			part_add(message, bytes + used, len - (size_t)used);
		return used >= 0;
	}
	part_add(message, bytes, len);
	used = frames_take(node, message->part, message->part_len);
	if (used < 0)
		return false;
	message->part_len -= (size_t)used;
	if (!message->part_len)
		part_drop(message);
	else if (used)
		memmove(message->part, message->part + used, message->part_len);
	return true;
}

static bool prefix_take(struct node *node, uint8_t byte)
{
	struct message *message = &node->message;

	message->prefix[message->prefix_len++] = byte;
	if (message->prefix_len < 4)
		return true;
	message->left = 0;
	for (unsigned i = 4; i--;)
		message->left = message->left << 8 | message->prefix[i];
	if (!message->left || message->left > MESSAGE_MAX)
		return wrong(node, "a message of an impossible length");
	return true;
}

bool stream_take(struct node *node, const uint8_t *bytes, size_t len)
{
	struct message *message = &node->message;

	while (len) {
		size_t part = 1;

		if (message->prefix_len < 4) {
			if (!prefix_take(node, *bytes))
				return false;
		} else {
			part = len < message->left ? len : message->left;
			message->left -= (uint32_t)part;
			if (!text_take(node, bytes, part) || (!message->left && !message_end(node)))
				return false;
		}
		bytes += part;
		len -= part;
	}
	return true;
}
