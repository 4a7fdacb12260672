/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs on: the generator's one thread. */
#include "frames.h"

#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#define SLOTS (1u << 17)
#define TEXT_MAX (64u << 20)
#define KEPT_MAX (SLOTS / 2) /* then all are forgotten: most never come back */

static struct frame *table[SLOTS];
static unsigned kept;
static uint64_t distinct;
static ZSTD_DCtx *context;
static char *says; /* what the last one said that was decoded */
static size_t says_size;

struct numbers {
	uint32_t *at;
	uint32_t n, size;
};

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

static void push(struct numbers *list, uint32_t number)
{
	if (list->n == list->size) {
		list->size = list->size ? 2 * list->size : 16;
		list->at = must(realloc(list->at, list->size * sizeof(*list->at)));
	}
	list->at[list->n++] = number;
}

/* Four lanes, so that most of the cost is that of reading. Not against an enemy. */
static uint64_t hash_of(const uint8_t *bytes, size_t len)
{
	static const uint64_t prime = 0x9e3779b97f4a7c15u;
	uint64_t lanes[4] = {len, 1, 2, 3}, word;

	for (; len >= 32; bytes += 32, len -= 32) {
		for (unsigned i = 0; i < 4; i++) {
			memcpy(&word, bytes + 8 * i, 8);
			lanes[i] = (lanes[i] ^ word) * prime;
			lanes[i] ^= lanes[i] >> 29;
		}
	}
	for (; len; bytes++, len--)
		lanes[0] = (lanes[0] ^ *bytes) * prime;
	for (unsigned i = 1; i < 4; i++)
		lanes[0] = ((lanes[0] ^ lanes[i]) * prime) ^ (lanes[0] >> 31);
	return lanes[0];
}

size_t frame_whole(const uint8_t *bytes, size_t len)
{
	size_t whole = len < 9 ? 0 : ZSTD_findFrameCompressedSize(bytes, len);

	return ZSTD_isError(whole) ? 0 : whole;
}

/* ---- what a text says ---- */

static void find_records(const char *text, size_t len, struct frame *frame, struct numbers *ids)
{
	static const char begin[] = "{\"ID\":", self[] = "\"Node\":";
	const char *at = text, *end = text + len;

	while ((at = memmem(at, (size_t)(end - at), begin, sizeof(begin) - 1))) {
		const char *record = at;
		char *rest;
		long long id = strtoll(at + sizeof(begin) - 1, &rest, 10);

		at = rest;
		if (end - at < 12 || memcmp(at, ",\"StableID\":", 12) != 0)
			continue; /* a user's profile */
		if (record - text >= (ptrdiff_t)sizeof(self) - 1 &&
			memcmp(record - (sizeof(self) - 1), self, sizeof(self) - 1) == 0)
			frame->self = id;
		else
			push(ids, (uint32_t)id);
	}
}

static void find_marks(const char *text, size_t len, struct numbers *marks)
{
	const char *at = text, *end = text + len;

	while ((at = memmem(at, (size_t)(end - at), MARK_PREFIX, sizeof(MARK_PREFIX) - 1))) {
		char *rest;
		unsigned long high, low;

		high = strtoul(at + sizeof(MARK_PREFIX) - 1, &rest, 10);
		low = *rest == '.' ? strtoul(rest + 1, &rest, 10) : 256;
		at = rest;
		if (high < 256 && low < 256)
			push(marks, (uint32_t)(high << 8 | low));
	}
}

/* ---- the table ---- */

static void frame_free(struct frame *frame)
{
	free(frame->ids);
	free(frame->marks);
	free(frame);
}

static void forget_all(void)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		if (table[i])
			frame_free(table[i]);
		table[i] = NULL;
	}
	kept = 0;
}

void frames_fini(void)
{
	forget_all();
	ZSTD_freeDCtx(context);
	free(says);
	context = NULL;
	says = NULL;
	says_size = 0;
}

uint64_t frames_distinct(void)
{
	return distinct;
}

static struct frame **slot_of(uint64_t hash, size_t len)
{
	size_t at = hash % SLOTS;

	while (table[at] && (table[at]->hash != hash || table[at]->len != len))
		at = (at + 1) % SLOTS;
	return &table[at];
}

/* Into `says`, with a NUL behind it that is not counted. */
static bool decode(const uint8_t *bytes, size_t len, size_t *text_len)
{
	unsigned long long size = ZSTD_getFrameContentSize(bytes, len);

	if (size > TEXT_MAX) /* unknown and broken are larger still */
		return false;
	if (!context)
		context = must(ZSTD_createDCtx());
	if (size + 1 > says_size) {
		says_size = size + 1;
		says = must(realloc(says, says_size));
	}
	*text_len = ZSTD_decompressDCtx(context, says, size, bytes, len);
	if (ZSTD_isError(*text_len) || *text_len != size)
		return false;
	says[size] = '\0';
	return true;
}

static struct frame *frame_new(const char *text, size_t text_len, uint64_t hash, size_t len)
{
	struct frame *frame = must(calloc(1, sizeof(*frame)));
	struct numbers ids = {0}, marks = {0};

	find_records(text, text_len, frame, &ids);
	find_marks(text, text_len, &marks);
	frame->keep_alive = strcmp(text, "{\"KeepAlive\":true}") == 0;
	frame->hash = hash;
	frame->len = (uint32_t)len;
	frame->text_len = (uint32_t)text_len;
	frame->ids = ids.at;
	frame->n_ids = ids.n;
	frame->marks = marks.at;
	frame->n_marks = marks.n;
	return frame;
}

const struct frame *frame_understand(const uint8_t *bytes, size_t len, const char **text)
{
	uint64_t hash = hash_of(bytes, len);
	struct frame **slot = slot_of(hash, len);
	size_t text_len;

	if (*slot && !text)
		return *slot;
	if (!decode(bytes, len, &text_len))
		return NULL;
	if (text)
		*text = says;
	if (*slot)
		return *slot;
	if (kept == KEPT_MAX) {
		forget_all();
		slot = slot_of(hash, len);
	}
	*slot = frame_new(says, text_len, hash, len);
	kept++;
	distinct++;
	return *slot;
}
