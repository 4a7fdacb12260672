/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The burst with AVX-512 (F, BW, DQ, VL, IFMA, VBMI2), vectorized across packets. Any thread.
 *
 * A lane is a packet, not a part of one: each has its own key, so small packets fill a vector as
 * well as large ones, and 32 peers cost no more than one. 32 packets at a time (a bunch) are
 * ordered by length. Their blocks make one list, column by column: the one-time keys of all, then
 * the first 64 bytes of all, then the next of those that have more. ChaCha20 takes 32 blocks off
 * the list in a step (aead_avx512_steps.c). With 32 packets of like lengths a step is a column and
 * every key stays in its lane; otherwise keys are permuted to where they are needed, so that any
 * mixture leaves only the last step unfilled. Poly1305 takes the packets in the same order, eight
 * at a time, so that neighbours are alike (aead_avx512_poly.c).
 *
 * Sealing lets Poly1305 follow ChaCha20 every few columns, while what it reads is near. Both in one
 * loop was rejected: they compete for the same pipes, and there are no registers for both. Opening
 * verifies the whole bunch, then decrypts what passed; what did not is zeroed and its lanes store
 * nothing. In a bunch of fewer than 32 the first step holds the one-time keys and, since lanes are
 * left, key stream that waits for the verdict. So a small packet alone is one step of 16 blocks; a
 * large one alone, or two to four, are cut in parts for Poly1305's lanes.
 *
 * Data that is cold is fetched while something else is computed: columns during ChaCha20's rounds,
 * sources ahead of Poly1305's steps. That may ask for up to 256 bytes behind a text, which is
 * harmless wherever they lie.
 *
 * What goes libsodium's way, packet by packet: items with AAD (handshakes, which are few) and items
 * in two segments (nothing that is in a hurry has them).
 *
 * Secrets: each bunch's are in one struct, zeroed when it is done. What is secret and in C is in
 * small functions of other files; what they spill is below work()'s frame, where forget() zeroes.
 */
#include <string.h>

#include "aead_avx512.h"
#include "impls.h"

/* Columns between two looks at what Poly1305 can do: what it reads is still in the first cache. */
#define COLUMNS_APART 8

/* The step with the one-time keys, and what else it has room for: `first` is that. Key stream goes
 * to the slots; when sealing, that of texts to them. */
static void first_step(struct bunch *bunch, struct secrets *secrets, struct cursor *cursor,
	struct blocks *first, bool sealing)
{
	struct chacha_places *places;

	aead_avx512_take(bunch, cursor, first);
	places = aead_avx512_places(bunch, first);
	bunch->n_slots = sealing ? bunch->n : first->n;
	for (unsigned i = 0; i < bunch->n_slots; i++) {
		places->src[i] = aead_avx512_zeros;
		places->dst[i] = secrets->slot[i];
		places->mask[i] = ~(uint64_t)0;
	}
	aead_avx512_step(bunch, secrets, first, places);
	aead_avx512_settle(bunch, secrets);
	for (unsigned i = 0; i < bunch->n_groups; i++)
		aead_avx512_poly_keys(&secrets->state[i], secrets->slot + (size_t)i * POLY_LANES);
}

/* How many lanes a packet gets in Poly1305, when there are few packets and the longest (the first)
 * is worth it. */
static unsigned lanes_each(const struct bunch *bunch)
{
	static const struct {
		unsigned lanes, columns; /* at least */
	} worth[] = {{1, 0}, {8, 6}, {4, 8}, {2, 10}, {2, 10}};

	if (bunch->n > 4 || bunch->columns[0] < worth[bunch->n].columns)
		return 1;
	return worth[bunch->n].lanes;
}

static void start(struct bunch *bunch, struct secrets *secrets, struct cursor *cursor,
	struct blocks *first, bool sealing)
{
	const uint8_t *const *text =
		sealing ? (const uint8_t *const *)bunch->packet.dst : bunch->packet.src;
	unsigned each = lanes_each(bunch);

	aead_avx512_rows(bunch, secrets);
	*cursor = (struct cursor){0, 0, bunch->n};
	first->n = 0;
	bunch->n_slots = 0;
	if (bunch->n == BUNCH_MAX) {
		secrets->vars.counter[0] = secrets->vars.counter[1] = _mm512_setzero_si512();
		aead_avx512_chacha32_keys(&secrets->rows, &secrets->vars, secrets->state,
			bunch->packet.src, sealing || bunch->whole < 4 ? 0 : COLUMN);
		cursor->column = 1;
	} else {
		first_step(bunch, secrets, cursor, first, sealing);
	}
	for (unsigned i = 0; i < bunch->n_groups; i++)
		aead_avx512_poly_start(&bunch->group[i], &secrets->state[i],
			text + (size_t)i * POLY_LANES, bunch->len + (size_t)i * POLY_LANES, each);
}

static void advance(struct bunch *bunch, struct secrets *secrets, size_t ready)
{
	for (unsigned i = 0; i < bunch->n_groups; i++)
		aead_avx512_poly_advance(&bunch->group[i], &secrets->state[i], ready);
}

/* Where in its group's two vectors of tags. */
static size_t tag_at(unsigned lane)
{
	return (lane % 2 * 4 + lane % POLY_LANES / 2) * (size_t)AEAD_TAG_LEN;
}

static void seal_bunch(struct bunch *bunch, struct secrets *secrets)
{
	struct cursor cursor;
	struct blocks first;
	unsigned looked = 1, before = 1;

	start(bunch, secrets, &cursor, &first, true);
	while (aead_avx512_next(bunch, secrets, &cursor)) {
		/* piped, what was computed last is not there yet */
		unsigned ready = bunch->piped ? before : cursor.column;

		before = cursor.column;
		if (ready < looked + COLUMNS_APART)
			continue;
		looked = ready;
		advance(bunch, secrets, (size_t)(ready - 1) * COLUMN);
	}
	aead_avx512_settle(bunch, secrets);
	aead_avx512_poly_finish(bunch->group, secrets->state, bunch->n_groups, secrets->tag);
	for (unsigned i = 0; i < bunch->n; i++)
		memcpy(bunch->packet.dst[i] + bunch->len[i],
			(uint8_t *)secrets->tag[i / POLY_LANES] + tag_at(i), AEAD_TAG_LEN);
}

static void vectors_zero(void *at, size_t len)
{
	for (size_t i = 0; i < len; i += 64)
		_mm512_store_si512((uint8_t *)at + i, _mm512_setzero_si512());
	/* so that the compiler cannot know that nobody reads them */
	__asm__ volatile("" : : "r"(at) : "memory");
}

/* Bit i: lane i is authentic. */
static uint32_t verify(struct bunch *bunch, struct secrets *secrets)
{
	uint32_t ok = 0;

	aead_avx512_poly_finish(bunch->group, secrets->state, bunch->n_groups, secrets->tag);
	for (unsigned i = 0; i < bunch->n; i++)
		memcpy((uint8_t *)bunch->given[i / POLY_LANES] + tag_at(i),
			bunch->packet.src[i] + bunch->len[i], AEAD_TAG_LEN);
	for (unsigned i = 0; i < bunch->n_groups; i++)
		ok |= aead_avx512_poly_same(secrets->tag[i], bunch->given[i]) << (i * POLY_LANES);
	vectors_zero(bunch->given, bunch->n_groups * sizeof(bunch->given[0]));
	return ok;
}

static void open_bunch(struct bunch *bunch, struct secrets *secrets)
{
	struct cursor cursor;
	struct blocks first;
	uint32_t ok;

	start(bunch, secrets, &cursor, &first, false);
	ok = verify(bunch, secrets);
	for (unsigned i = 0; i < bunch->n; i++) {
		bunch->item[i]->ok = ok >> i & 1;
		if (ok >> i & 1)
			continue;
		if (bunch->len[i] > 0)
			memset(bunch->packet.dst[i], 0, bunch->len[i]);
		bunch->len[i] = 0;
		bunch->whole = 0;
	}
	if (first.n > bunch->n) {
		/* what the first step made of the texts' key stream */
		const struct chacha_places *places = aead_avx512_places(bunch, &first);

		for (unsigned i = bunch->n; i < first.n; i++)
			aead_avx512_add(places, i, secrets->slot[i]);
	}
	while (aead_avx512_next(bunch, secrets, &cursor))
		;
	aead_avx512_settle(bunch, secrets);
}

static void secrets_zero(struct secrets *secrets, const struct bunch *bunch)
{
	vectors_zero(secrets, offsetof(struct secrets, rows));
	if (bunch->n > 1)
		vectors_zero(&secrets->rows, sizeof(secrets->rows));
	if (bunch->permuted)
		vectors_zero(&secrets->permuted, sizeof(secrets->permuted));
	if (bunch->piped)
		vectors_zero(secrets->raw, sizeof(secrets->raw));
	for (unsigned i = 0; i < bunch->n_groups; i++)
		vectors_zero(&secrets->state[i], bunch->group[i].few
							 ? offsetof(struct poly_state, power[1])
							 : sizeof(struct poly_state));
	vectors_zero(secrets->slot, bunch->n_slots * sizeof(secrets->slot[0]));
}

static void work(struct aead_item *items, unsigned n, bool sealing, bool piped)
{
	struct bunch bunch;
	struct secrets secrets;
	struct picked picked;
	unsigned tag_len = sealing ? 0 : AEAD_TAG_LEN;

	for (unsigned i = 0; i < n;) {
		i = aead_avx512_pick(&picked, items, i, n, tag_len);
		if (picked.n == 0)
			break;
		aead_avx512_fill(&bunch, &picked, tag_len);
		bunch.piped = piped;
		if (sealing)
			seal_bunch(&bunch, &secrets);
		else
			open_bunch(&bunch, &secrets);
		secrets_zero(&secrets, &bunch);
	}
	aead_avx512_forget();
}

void aead_avx512_seal(struct aead_item *items, unsigned n)
{
	work(items, n, true, aead_avx512_one_state);
}

void aead_avx512_open(struct aead_item *items, unsigned n)
{
	work(items, n, false, aead_avx512_one_state);
}

void aead_avx512_1x16_seal(struct aead_item *items, unsigned n)
{
	work(items, n, true, true);
}

void aead_avx512_1x16_open(struct aead_item *items, unsigned n)
{
	work(items, n, false, true);
}
