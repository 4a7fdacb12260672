/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The burst with AVX2 and BMI2, vectorized across packets. Any thread.
 *
 * A lane is a packet, not a part of one: each has its own key, so nothing is computed twice and
 * small packets fill a vector as well as large ones. The packets are ordered by length, the longest
 * first, and their blocks make one list, column by column: the one-time keys of all, then the first
 * 64 bytes of all, then the next of those that have more. ChaCha20 takes 16 blocks off the list in
 * a step (aead_avx2_step.c), so any mixture of lengths leaves only the last step unfilled. Poly1305
 * follows the same list of whole chunks on the way, two packets at a time: behind ChaCha20 when
 * sealing, and up to the chunks that the step is about to overwrite when opening. What then remains
 * (the rest of a step without a successor, the last bytes, the lengths) is done alone.
 *
 * Opening decrypts in the same pass, and zeroes what turns out not to be authentic before it
 * returns. A step that makes one-time keys and decrypts under them leaves the text aside until
 * Poly1305 has seen the ciphertext.
 *
 * Rejected: Poly1305 in vectors (no faster than the multiplier, and not for free beside ChaCha20),
 * lanes of one packet (small packets pay for two half-empty steps each), libsodium for single
 * packets (one step of 8 lanes is faster already).
 */
#include "aead.h"

#include <string.h>

#include "aead_avx2.h"
#include "impls.h"
#include "secret.h"
#include "wipe.h"

/* One place in the list of blocks. Column 0: the one-time keys; column c: bytes 64 (c - 1) on. */
struct cursor {
	unsigned column, packet, active;
};

/* A step's lane that is not simply the packet's text. */
struct aside {
	uint8_t lane, packet, len;
	uint8_t *dst; /* where `len` bytes of the result go, of that packet */
};

/* Packets in order of length, the longest first. Nothing here is secret. */
struct burst {
	struct aead_item *items;
	unsigned n;
	bool sealing, with_aad;
	uint8_t item[AEAD_BURST_MAX];
	uint32_t len[AEAD_BURST_MAX]; /* of the text */
	const uint8_t *src[AEAD_BURST_MAX];
	uint8_t *dst[AEAD_BURST_MAX];
	const uint8_t *key[AEAD_BURST_MAX];
	uint32_t nonce[2][AEAD_BURST_MAX];
	struct cursor blocks, chunks; /* what ChaCha20 and Poly1305 do next */
	/* Of the list of whole chunks: taken by ChaCha20, by Poly1305. */
	unsigned long n_taken, n_summed;
	/* Of the current step. */
	struct aside aside[LANES];
	unsigned n_lanes, n_aside, first_key, n_keys;
	/* Of all: what there is to zero at the end. */
	bool used_out;
	unsigned n_rows;
	bool early; /* open: with keys and texts under them */
};

/* Zeroed when the burst is done. */
struct secrets {
	_Alignas(64) struct poly poly[AEAD_BURST_MAX];
	struct poly nobody; /* the other one of a pair without a partner */
	struct step step;
	struct rows rows[AEAD_BURST_MAX / LANES]; /* by group of 16 packets */
	struct rows any_rows;                     /* of any 16 */
	_Alignas(64) uint8_t out[LANES][CHUNK];
	/* The last bytes of each text, as they are authenticated: padded with zeros. */
	_Alignas(64) uint8_t tail[AEAD_BURST_MAX][CHUNK];
};

static const _Alignas(64) uint8_t zeros[CHUNK];

/* --- Poly1305 alone --- */

static void poly_aad(struct poly *poly, const uint8_t *aad, uint32_t len)
{
	uint8_t last[16] = {0};

	aead_avx2_poly_update(poly, aad, len / 16);
	if (len % 16 > 0) {
		memcpy(last, aad + len / 16 * 16, len % 16);
		aead_avx2_poly_update(poly, last, 1);
	}
}

/* --- the lists --- */

/* Packets take part that have `least` bytes in the column. */
INLINE void cursor_next_column(struct cursor *c, const uint32_t *len, uint32_t least)
{
	while (c->active > 0 && len[c->active - 1] < c->column * CHUNK + least)
		c->active--;
	c->packet = 0;
	c->column++;
}

/* The next whole chunks for Poly1305, up to `max` in a row: neighbouring packets from the answer
 * on, the texts of each at the same `at`. */
static unsigned chunks_next(struct burst *b, unsigned long max, unsigned *n, size_t *at)
{
	struct cursor *c = &b->chunks;

	if (c->packet == c->active)
		cursor_next_column(c, b->len, CHUNK);
	unsigned packet = c->packet, left = c->active - packet;
	*n = left < max ? left : (unsigned)max;
	*at = (size_t)(c->column - 1) * CHUNK;
	c->packet += *n;
	b->n_summed += *n;
	return packet;
}

/* Chunks for the step to do on the way, out of those below `limit`. Partners are different packets;
 * when one packet alone is left it gets one without a partner. */
static void pairs_fill(struct burst *b, struct secrets *secrets, unsigned long limit)
{
	struct step *step = &secrets->step;
	uint8_t *const *texts = b->sealing ? b->dst : (uint8_t *const *)b->src;
	unsigned n = 0;

	while (n < 2 * PAIRS_MAX && b->n_summed < limit) {
		unsigned long max = limit - b->n_summed;
		size_t at;
		unsigned n_row;

		if (max > 2 * PAIRS_MAX - n)
			max = 2 * PAIRS_MAX - n;
		unsigned packet = chunks_next(b, max, &n_row, &at);
		for (unsigned i = 0; i < n_row; i++) {
			step->poly[n + i] = &secrets->poly[packet + i];
			step->text[n + i] = texts[packet + i] + at;
		}
		n += n_row;
		if (n % 2 != 0 && (b->chunks.active == 1 || b->n_summed == limit)) {
			step->poly[n] = &secrets->nobody;
			step->text[n++] = zeros;
		}
	}
	step->n_pairs = n / 2;
}

static void chunks_sum(struct burst *b, struct secrets *secrets, unsigned long limit)
{
	uint8_t *const *texts = b->sealing ? b->dst : (uint8_t *const *)b->src;

	while (b->n_summed < limit) {
		size_t at;
		unsigned n, packet = chunks_next(b, limit - b->n_summed, &n, &at);

		for (; n > 0; n--, packet++)
			aead_avx2_poly_update(
				&secrets->poly[packet], texts[packet] + at, CHUNK / 16);
	}
}

/* --- a step --- */

static void lane_key(struct burst *b, struct secrets *secrets, unsigned lane, unsigned packet)
{
	secrets->step.src[lane] = zeros;
	secrets->step.dst[lane] = (uint8_t *)&secrets->poly[packet];
	if (b->n_keys++ == 0)
		b->first_key = packet;
}

static void lane_aside(struct burst *b, struct secrets *secrets, unsigned lane, unsigned packet,
	size_t at, uint8_t len)
{
	b->aside[b->n_aside++] = (struct aside){
		.lane = (uint8_t)lane,
		.packet = (uint8_t)packet,
		.len = len,
		.dst = b->dst[packet] + at,
	};
	secrets->step.dst[lane] = secrets->out[lane];
	b->used_out = true;
}

static void lane_text(
	struct burst *b, struct secrets *secrets, unsigned lane, unsigned packet, unsigned column)
{
	struct step *step = &secrets->step;
	size_t at = (size_t)(column - 1) * CHUNK;

	step->src[lane] = b->src[packet] + at;
	step->dst[lane] = b->dst[packet] + at;
	if (b->len[packet] < column * CHUNK) {
		uint8_t *tail = secrets->tail[packet];
		unsigned len = b->len[packet] % CHUNK;

		memset(tail, 0, CHUNK);
		memcpy(tail, b->src[packet] + at, len);
		step->src[lane] = tail;
		lane_aside(b, secrets, lane, packet, at, (uint8_t)len);
		return;
	}
	b->n_taken++;
	if (b->early)
		lane_aside(b, secrets, lane, packet, at, CHUNK);
}

/* 16 neighbours whose texts are whole in this column. */
static void lanes_whole(struct burst *b, struct step *step, unsigned packet, size_t at)
{
	for (unsigned lane = 0; lane < LANES; lane++) {
		step->src[lane] = b->src[packet + lane] + at;
		step->dst[lane] = b->dst[packet + lane] + at;
	}
	b->n_taken += LANES;
}

/* 16 neighbours of one column, of a group whose keys are in rows already or will be needed again.
 */
static bool lanes_fill_group(struct burst *b, struct secrets *secrets)
{
	struct cursor *c = &b->blocks;
	struct step *step = &secrets->step;
	struct rows *rows = &secrets->rows[c->packet / LANES];

	if (c->packet % LANES != 0 || c->active - c->packet < LANES)
		return false;
	if (c->column == 0) {
		aead_avx2_rows(rows, b->key + c->packet);
		b->n_rows++;
	}
	step->rows = rows;
	step->n_halves = c->column == 0 ? 1 : 2;
	memcpy(step->nonce[0], b->nonce[0] + c->packet, sizeof(step->nonce[0]));
	memcpy(step->nonce[1], b->nonce[1] + c->packet, sizeof(step->nonce[1]));
	for (unsigned lane = 0; lane < LANES; lane++)
		step->counter[lane] = c->column;
	if (c->column > 0 && b->len[c->packet + LANES - 1] >= c->column * CHUNK) {
		lanes_whole(b, step, c->packet, (size_t)(c->column - 1) * CHUNK);
	} else {
		for (unsigned lane = 0; lane < LANES; lane++) {
			if (c->column == 0)
				lane_key(b, secrets, lane, c->packet + lane);
			else
				lane_text(b, secrets, lane, c->packet + lane, c->column);
		}
	}
	c->packet += LANES;
	b->n_lanes = LANES;
	return true;
}

static void lanes_fill_any(struct burst *b, struct secrets *secrets)
{
	struct cursor *c = &b->blocks;
	struct step *step = &secrets->step;
	const uint8_t *key[LANES];
	unsigned lane = 0;

	for (; lane < LANES; lane++) {
		if (c->packet == c->active) {
			cursor_next_column(c, b->len, 1);
			if (c->active == 0)
				break;
			/* Opening, the texts under keys of this very step have to wait. */
			b->early = !b->sealing && b->n_keys > 0;
		}
		unsigned packet = c->packet++;

		key[lane] = b->key[packet];
		step->counter[lane] = c->column;
		step->nonce[0][lane] = b->nonce[0][packet];
		step->nonce[1][lane] = b->nonce[1][packet];
		if (c->column == 0)
			lane_key(b, secrets, lane, packet);
		else
			lane_text(b, secrets, lane, packet, c->column);
	}
	b->n_lanes = lane;
	for (; lane < LANES; lane++) {
		key[lane] = key[0];
		step->counter[lane] = step->nonce[0][lane] = step->nonce[1][lane] = 0;
		step->src[lane] = zeros;
		step->dst[lane] = secrets->out[lane];
	}
	step->rows = &secrets->any_rows;
	step->n_halves = 2;
	aead_avx2_rows(&secrets->any_rows, key);
	b->used_out = true;
}

static void keys_begin(struct burst *b, struct secrets *secrets)
{
	aead_avx2_poly_begin(&secrets->poly[b->first_key], b->n_keys);
	if (!b->with_aad)
		return;
	for (unsigned packet = b->first_key; packet < b->first_key + b->n_keys; packet++) {
		const struct aead_item *item = &b->items[b->item[packet]];

		if (item->aad != NULL)
			poly_aad(&secrets->poly[packet], item->aad, item->aad_len);
	}
}

static void aside_put(struct burst *b, struct secrets *secrets)
{
	for (unsigned i = 0; i < b->n_aside; i++) {
		const struct aside *aside = &b->aside[i];
		const uint8_t *out = secrets->out[aside->lane];

		memcpy(aside->dst, out, aside->len);
		if (b->sealing)
			memcpy(secrets->tail[aside->packet], out, aside->len);
	}
}

/* False: the list was at its end. */
static bool step_next(struct burst *b, struct secrets *secrets)
{
	unsigned long before = b->n_taken;

	b->n_aside = b->n_keys = 0;
	b->early = false;
	if (b->blocks.packet == b->blocks.active)
		cursor_next_column(&b->blocks, b->len, 1);
	if (b->blocks.active == 0)
		return false;
	if (!lanes_fill_group(b, secrets))
		lanes_fill_any(b, secrets);

	if (b->sealing || b->early) {
		pairs_fill(b, secrets, before);
	} else {
		/* All of this step's must be done; without partners some do not fit. */
		bool alone = b->n == 1 || b->len[1] < b->blocks.column * CHUNK;

		if (alone && b->n_taken > b->n_summed + PAIRS_MAX)
			chunks_sum(b, secrets, b->n_taken - PAIRS_MAX);
		pairs_fill(b, secrets, b->n_taken);
	}
	if (b->n_lanes > 8)
		aead_avx2_step16(&secrets->step);
	else
		aead_avx2_step8(&secrets->step);
	if (b->n_keys > 0)
		keys_begin(b, secrets);
	if (b->early)
		chunks_sum(b, secrets, b->n_taken);
	aside_put(b, secrets);
	return true;
}

/* --- a burst --- */

/* The text in one piece: where it lies if it does, otherwise brought together in dst. */
static const uint8_t *gather(const struct aead_item *item, size_t len)
{
	const struct aead_segment *a = &item->src[0], *b = &item->src[1];

	if (len <= a->len || (b->data == a->data + a->len && a->len > 0))
		return a->data;
	if (a->len == 0)
		return b->data;
	if (a->data != item->dst)
		memcpy(item->dst, a->data, a->len);
	memcpy(item->dst + a->len, b->data, len - a->len);
	return item->dst;
}

static uint32_t total_len(const struct aead_item *item)
{
	return item->src[0].len + item->src[1].len;
}

static void packet_set(struct burst *b, unsigned packet, unsigned i)
{
	const struct aead_item *item = &b->items[i];
	uint32_t len = total_len(item) - (b->sealing ? 0 : AEAD_TAG_LEN);

	b->item[packet] = (uint8_t)i;
	b->len[packet] = len;
	b->with_aad |= item->aad != NULL;
	b->src[packet] = item->src[1].len == 0 ? item->src[0].data : gather(item, len);
	b->dst[packet] = item->dst;
	b->key[packet] = item->key->bytes;
	memcpy(&b->nonce[0][packet], item->nonce, 4);
	memcpy(&b->nonce[1][packet], item->nonce + 4, 4);
}

/* The longest first. order[] holds lengths and item numbers. */
static void sort(uint32_t *order, unsigned n)
{
	for (unsigned i = 1; i < n; i++) {
		uint32_t value = order[i];
		unsigned j = i;

		for (; j > 0 && order[j - 1] < value; j--)
			order[j] = order[j - 1];
		order[j] = value;
	}
}

static void burst_begin(struct burst *b, struct aead_item *items, unsigned n, bool sealing)
{
	uint32_t order[AEAD_BURST_MAX], last = UINT32_MAX;
	bool in_order = true; /* as bursts of one length are */

	b->items = items;
	b->sealing = sealing;
	b->with_aad = b->used_out = false;
	b->n = b->n_rows = 0;
	for (unsigned i = 0; i < n; i++) {
		uint32_t len = total_len(&items[i]);

		if (!sealing && len < AEAD_TAG_LEN) {
			items[i].ok = false;
			continue;
		}
		in_order &= len <= last;
		last = len;
		order[b->n++] = len << 6 | (63 - i);
	}
	if (!in_order)
		sort(order, b->n);
	for (unsigned packet = 0; packet < b->n; packet++)
		packet_set(b, packet, 63 - order[packet] % 64);
	b->blocks = (struct cursor){.active = b->n};
	b->chunks = (struct cursor){.packet = b->n, .active = b->n};
	b->n_taken = b->n_summed = 0;
}

static const uint64_t *packet_end(struct burst *b, struct secrets *secrets, unsigned packet)
{
	const struct aead_item *item = &b->items[b->item[packet]];
	struct poly *poly = &secrets->poly[packet];

	aead_avx2_poly_end(
		poly, secrets->tail[packet], item->aad != NULL ? item->aad_len : 0, b->len[packet]);
	return poly->h;
}

/* Where the tag is, which may lie across the segments: its 16 bytes. */
static void tag_of(const struct aead_item *item, size_t len, uint64_t tag[2])
{
	const struct aead_segment *a = &item->src[0], *b = &item->src[1];
	size_t in_a = len < a->len ? a->len - len : 0;

	if (in_a > 0)
		memcpy(tag, a->data + len, in_a);
	if (in_a < AEAD_TAG_LEN)
		memcpy((uint8_t *)tag + in_a, b->data + b->len - (AEAD_TAG_LEN - in_a),
			AEAD_TAG_LEN - in_a);
}

/* The one place that branches on a verdict. */
static __attribute__((noinline)) void verdict(
	struct aead_item *item, uint8_t *dst, size_t len, uint64_t difference)
{
	item->ok = difference == 0;
	if (!item->ok && len > 0)
		memset(dst, 0, len);
}

static void secrets_zero(const struct burst *b, struct secrets *secrets)
{
	secret_zero(secrets->poly, b->n * sizeof(struct poly));
	secret_zero(secrets->rows, b->n_rows * sizeof(struct rows));
	if (!b->used_out)
		return;
	secret_zero(&secrets->any_rows, sizeof(secrets->any_rows));
	secret_zero(secrets->out, sizeof(secrets->out));
	secret_zero(secrets->tail, b->n * CHUNK);
}

/* Deeper than the step's frame, which depends on who compiled it. */
#ifdef AEAD_INNER_BY_CLANG
#define STACK_WIPED 3072
#else
#define STACK_WIPED 8192
#endif

void aead_avx2_seal(struct aead_item *items, unsigned n)
{
	struct burst b;
	struct secrets secrets;

	burst_begin(&b, items, n, true);
	memset(&secrets.nobody, 0, sizeof(secrets.nobody));
	while (step_next(&b, &secrets))
		;
	chunks_sum(&b, &secrets, b.n_taken);
	for (unsigned packet = 0; packet < b.n; packet++) {
		memcpy(b.dst[packet] + b.len[packet], packet_end(&b, &secrets, packet),
			AEAD_TAG_LEN);
	}
	secrets_zero(&b, &secrets);
	wipe_vectors();
	wipe_stack(STACK_WIPED);
}

void aead_avx2_open(struct aead_item *items, unsigned n)
{
	struct burst b;
	struct secrets secrets;

	burst_begin(&b, items, n, false);
	memset(&secrets.nobody, 0, sizeof(secrets.nobody));
	while (step_next(&b, &secrets))
		;
	for (unsigned packet = 0; packet < b.n; packet++) {
		struct aead_item *item = &items[b.item[packet]];
		const uint64_t *ours = packet_end(&b, &secrets, packet);
		uint64_t theirs[2];

		tag_of(item, b.len[packet], theirs);
		verdict(item, b.dst[packet], b.len[packet],
			(ours[0] ^ theirs[0]) | (ours[1] ^ theirs[1]));
	}
	secrets_zero(&b, &secrets);
	wipe_vectors();
	wipe_stack(STACK_WIPED);
}
