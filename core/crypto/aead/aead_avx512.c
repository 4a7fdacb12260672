/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The burst with AVX-512 (F, BW, DQ, VL, IFMA, VBMI2), vectorized across packets. Any thread.
 *
 * A lane is a packet, not a part of one: each has its own key, so nothing is computed twice and
 * small packets fill a vector as well as large ones. 32 packets at a time (a bunch) are ordered by
 * length. Their blocks make one list, column by column: the one-time keys of all, then the first 64
 * bytes of all, then the next of those that have more. ChaCha20 takes 32 blocks off the list in a
 * step; when these are not one column of 32 packets, the keys are permuted to where they are
 * needed. So any mixture of lengths leaves only the last step unfilled. Poly1305 takes the packets
 * in the same order, eight at a time, so that neighbours are alike.
 *
 * Opening verifies the whole bunch, then decrypts what passed; what did not is zeroed and its lanes
 * store nothing. The first step holds the one-time keys and, in a small bunch, key stream that
 * waits for the verdict.
 */
#include <string.h>

#include "aead.h"
#include "aead_avx512.h"
#include "impls.h"
#include "wipe.h"

#define GROUPS (BUNCH_MAX / POLY_LANES)

/* Columns between two looks at what Poly1305 can do: what it reads is still in the first cache. */
#define COLUMNS_APART 8

static const uint8_t zeros[COLUMN];

/* Lanes are packets in order of length, the longest first. Nothing here is secret. */
struct bunch {
	unsigned n, n_groups;
	unsigned whole; /* columns that are text to the last byte in each of 32 packets */
	bool permuted;  /* secrets->permuted was used */
	struct chacha_places packet; /* where the texts begin; mask: all ones */
	_Alignas(64) uint32_t len[BUNCH_MAX];
	_Alignas(64) uint16_t columns[BUNCH_MAX];
	_Alignas(64) uint64_t nonce[BUNCH_MAX];
	_Alignas(64) const uint8_t *key[BUNCH_MAX];
	_Alignas(64) struct aead_item *item[BUNCH_MAX];
	struct aead_item none; /* of lanes without a packet */
	/* Lanes without a block point here, which is written: a masked store to a page that never
	 * was costs hundreds of cycles, even when the mask is empty. */
	_Alignas(64) uint8_t pad[COLUMN];
	struct chacha_places places; /* of one step */
	struct poly_group group[GROUPS];
};

/* Zeroed when the bunch is done, as far as it was used. */
struct secrets {
	struct chacha_vars vars;
	__m512i tag[GROUPS][2];
	struct chacha_rows rows;
	struct chacha_rows permuted;
	struct poly_state state[GROUPS];
	_Alignas(64) uint8_t slot[BUNCH_MAX][COLUMN]; /* key stream of a first step */
};

/* --- the list of blocks, a step at a time --- */

/* All blocks of column 0 (the one-time keys), then of column 1 (the first of the text), and so on:
 * in each, the packets that are still long enough are the first `active`. */
struct cursor {
	unsigned column, packet, active;
};

struct blocks {
	__m512i packet, column; /* 32 of 16 bits */
	unsigned n;
};

/* 32768 / n + 1: times up to 100, shifted by 15, a division by n */
static const uint16_t reciprocals[BUNCH_MAX + 1] = {0, 32769, 16385, 10923, 8193, 6554, 5462, 4682,
	4097, 3641, 3277, 2979, 2731, 2521, 2341, 2185, 2049, 1928, 1821, 1725, 1639, 1561, 1490,
	1425, 1366, 1311, 1261, 1214, 1171, 1130, 1093, 1058, 1025};

static void cursor_take(const struct bunch *bunch, struct cursor *cursor, struct blocks *blocks)
{
	static const _Alignas(64) uint16_t counting[BUNCH_MAX] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
		11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
	const __m512i lanes = _mm512_load_si512(counting);

	blocks->packet = blocks->column = _mm512_setzero_si512();
	blocks->n = 0;
	while (blocks->n < BUNCH_MAX) {
		while (cursor->active > 0 && bunch->columns[cursor->active - 1] < cursor->column)
			cursor->active--;
		if (cursor->active == 0)
			return;

		unsigned active = cursor->active;
		unsigned same = bunch->columns[active - 1] + 1u - cursor->column;
		unsigned left = same * active - cursor->packet;
		unsigned room = BUNCH_MAX - blocks->n;
		unsigned taken = left < room ? left : room;
		__mmask32 mask = ~(__mmask32)0 << blocks->n;
		__m512i at = _mm512_add_epi16(
			lanes, _mm512_set1_epi16((short)(cursor->packet - blocks->n)));
		__m512i row = _mm512_mulhi_epu16(
			_mm512_add_epi16(at, at), _mm512_set1_epi16((short)reciprocals[active]));

		blocks->column = _mm512_mask_add_epi16(
			blocks->column, mask, row, _mm512_set1_epi16((short)cursor->column));
		blocks->packet = _mm512_mask_sub_epi16(blocks->packet, mask, at,
			_mm512_mullo_epi16(row, _mm512_set1_epi16((short)active)));
		blocks->n += taken;
		cursor->packet += taken;
		cursor->column += cursor->packet / active;
		cursor->packet %= active;
	}
}

/* --- from the list to what ChaCha20 takes --- */

static __m512i pointers_permute(const uint8_t *const *table, __m512i packet)
{
	const __m512i *from = (const __m512i *)table;
	__m512i low = _mm512_permutex2var_epi64(from[0], packet, from[1]);
	__m512i high = _mm512_permutex2var_epi64(from[2], packet, from[3]);

	return _mm512_mask_mov_epi64(
		low, _mm512_test_epi64_mask(packet, _mm512_set1_epi64(16)), high);
}

/* Where the blocks lie, and how much of each is text: nothing in lanes without a block. */
static void places_set(struct bunch *bunch, const struct blocks *blocks)
{
	const __m512i pad = _mm512_set1_epi64((long long)(uintptr_t)bunch->pad);
	const __m512i one = _mm512_set1_epi64(1);
	struct chacha_places *out = &bunch->places;
	uint32_t used = blocks->n < BUNCH_MAX ? (1u << blocks->n) - 1 : ~0u;

	for (unsigned i = 0; i < BUNCH_MAX; i += 8) {
		__mmask8 lanes = (__mmask8)(used >> i);
		__m512i packet = _mm512_cvtepu16_epi64(
			_mm_loadu_si128((const __m128i *)((const uint16_t *)&blocks->packet + i)));
		__m512i column = _mm512_cvtepu16_epi64(
			_mm_loadu_si128((const __m128i *)((const uint16_t *)&blocks->column + i)));
		__m512i offset = _mm512_slli_epi64(_mm512_sub_epi64(column, one), 6);
		__m512i len =
			_mm512_and_si512(_mm512_permutex2var_epi32(_mm512_load_si512(bunch->len),
						 packet, _mm512_load_si512(bunch->len + 16)),
				_mm512_set1_epi64(0xffffffff));
		__m512i left = _mm512_maskz_max_epi64(
			lanes, _mm512_sub_epi64(len, offset), _mm512_setzero_si512());

		_mm512_store_si512(
			&out->mask[i], _mm512_sub_epi64(_mm512_sllv_epi64(one, left), one));
		_mm512_store_si512(
			&out->src[i], _mm512_mask_add_epi64(pad, lanes,
					      pointers_permute(bunch->packet.src, packet), offset));
		_mm512_store_si512(&out->dst[i],
			_mm512_mask_add_epi64(pad, lanes,
				pointers_permute((const uint8_t *const *)bunch->packet.dst, packet),
				offset));
	}
}

static void step(struct bunch *bunch, struct secrets *secrets, const struct blocks *blocks)
{
	struct chacha_rows *to = &secrets->permuted;
	const struct chacha_rows *from = &secrets->rows;
	__m512i low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(blocks->packet));
	__m512i high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(blocks->packet, 1));

	secrets->vars.counter[0] = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(blocks->column));
	secrets->vars.counter[1] =
		_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(blocks->column, 1));
	bunch->permuted = true;
	for (unsigned i = 0; i < 10; i++) {
		const __m512i *word = from->word[i];

		to->word[i][0] = _mm512_permutex2var_epi32(word[0], low, word[1]);
		to->word[i][1] = _mm512_permutex2var_epi32(word[0], high, word[1]);
	}
	if (blocks->n > 16)
		aead_avx512_chacha32(to, &secrets->vars, &bunch->places, 0);
	else
		aead_avx512_chacha16(to, &secrets->vars, &bunch->places, 0);
}

/* One column of 32 packets: the keys are where they are needed. */
static void step_column(struct bunch *bunch, struct secrets *secrets, unsigned column)
{
	secrets->vars.counter[0] = secrets->vars.counter[1] = _mm512_set1_epi32((int)column);
	aead_avx512_chacha32(
		&secrets->rows, &secrets->vars, &bunch->packet, (size_t)(column - 1) * COLUMN);
}

/* The next step, if anything is left. */
static bool step_next(struct bunch *bunch, struct secrets *secrets, struct cursor *cursor)
{
	struct blocks blocks;

	if (cursor->column <= bunch->whole && cursor->packet == 0) {
		step_column(bunch, secrets, cursor->column++);
		return true;
	}
	cursor_take(bunch, cursor, &blocks);
	if (blocks.n == 0)
		return false;
	places_set(bunch, &blocks);
	step(bunch, secrets, &blocks);
	return true;
}

/* --- a bunch --- */

static __m512i columns_of(const uint32_t len[BUNCH_MAX])
{
	const __m512i up = _mm512_set1_epi32(COLUMN - 1);
	__m512i low = _mm512_add_epi32(_mm512_load_si512(len), up);
	__m512i high = _mm512_add_epi32(_mm512_load_si512(len + 16), up);

	return _mm512_inserti64x4(
		_mm512_castsi256_si512(_mm512_cvtepi32_epi16(_mm512_srli_epi32(low, 6))),
		_mm512_cvtepi32_epi16(_mm512_srli_epi32(high, 6)), 1);
}

/* Eight rows of 64 bytes to eight vectors of one word of each row. */
static inline void turn(__m512i row[8])
{
	__m512i part[2][4];

	for (unsigned i = 0; i < 4; i++) {
		part[0][i] = _mm512_unpacklo_epi64(row[2 * i], row[2 * i + 1]);
		part[1][i] = _mm512_unpackhi_epi64(row[2 * i], row[2 * i + 1]);
	}
	for (unsigned i = 0; i < 2; i++) {
		__m512i a = _mm512_shuffle_i64x2(part[i][0], part[i][1], 0x44);
		__m512i b = _mm512_shuffle_i64x2(part[i][0], part[i][1], 0xee);
		__m512i c = _mm512_shuffle_i64x2(part[i][2], part[i][3], 0x44);
		__m512i d = _mm512_shuffle_i64x2(part[i][2], part[i][3], 0xee);

		row[i] = _mm512_shuffle_i64x2(a, c, 0x88);
		row[i + 2] = _mm512_shuffle_i64x2(a, c, 0xdd);
		row[i + 4] = _mm512_shuffle_i64x2(b, d, 0x88);
		row[i + 6] = _mm512_shuffle_i64x2(b, d, 0xdd);
	}
}

/* Four times four bytes of 16 packets' keys: 128 bits of packets k, k + 4, k + 8 and k + 12. */
static __m512i quarters_load(const uint8_t *const *key, unsigned at)
{
	__m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(key[0] + at)));

	v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(key[4] + at)), 1);
	v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(key[8] + at)), 2);
	return _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(key[12] + at)), 3);
}

static void rows_load(const struct bunch *bunch, struct chacha_rows *rows, unsigned half)
{
	const uint8_t *const *key = bunch->key + 16 * half;
	const __m512i *nonce = (const __m512i *)(bunch->nonce + 16 * half);
	const __m512i even =
		_mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);

	for (unsigned i = 0; i < 2; i++) {
		__m512i a = quarters_load(key, 16 * i), b = quarters_load(key + 1, 16 * i);
		__m512i c = quarters_load(key + 2, 16 * i), d = quarters_load(key + 3, 16 * i);
		__m512i ab0 = _mm512_unpacklo_epi32(a, b), ab2 = _mm512_unpackhi_epi32(a, b);
		__m512i cd0 = _mm512_unpacklo_epi32(c, d), cd2 = _mm512_unpackhi_epi32(c, d);

		rows->word[4 * i][half] = _mm512_unpacklo_epi64(ab0, cd0);
		rows->word[4 * i + 1][half] = _mm512_unpackhi_epi64(ab0, cd0);
		rows->word[4 * i + 2][half] = _mm512_unpacklo_epi64(ab2, cd2);
		rows->word[4 * i + 3][half] = _mm512_unpackhi_epi64(ab2, cd2);
	}
	rows->word[8][half] = _mm512_permutex2var_epi32(nonce[0], even, nonce[1]);
	rows->word[9][half] = _mm512_permutex2var_epi32(
		nonce[0], _mm512_add_epi32(even, _mm512_set1_epi32(1)), nonce[1]);
}

struct picked {
	unsigned n;
	_Alignas(64) uint32_t len[BUNCH_MAX]; /* of texts */
	_Alignas(64) struct aead_item *item[BUNCH_MAX];
};

/* Without a branch: a packet's lane is the number of packets that come before it. */
static void sort(struct bunch *bunch, const struct picked *picked)
{
	static const _Alignas(64)
		uint16_t countdown[BUNCH_MAX] = {31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19,
			18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0};
	_Alignas(64) uint16_t rank[BUNCH_MAX];
	__m512i ranks = columns_of(picked->len);

	ranks = _mm512_add_epi16(_mm512_slli_epi16(ranks, 5), _mm512_load_si512(countdown));
	_mm512_store_si512(rank, ranks);
	for (unsigned i = 0; i < BUNCH_MAX; i += 8)
		_mm512_store_si512(
			&bunch->item[i], _mm512_set1_epi64((long long)(uintptr_t)&bunch->none));
	for (unsigned i = 0; i < picked->n; i++) {
		__mmask32 before =
			_mm512_cmpgt_epu16_mask(ranks, _mm512_set1_epi16((short)rank[i]));

		bunch->item[_mm_popcnt_u32(before)] = picked->item[i];
	}
}

static_assert(offsetof(struct aead_item, key) == 0 && offsetof(struct aead_item, nonce) == 8 &&
		      offsetof(struct aead_item, src) == 16 &&
		      offsetof(struct aead_item, dst) == 48,
	"what a row is turned to");

/* Items are taken apart as the eight words that each begins with. */
static void bunch_fill(struct bunch *bunch, const struct picked *picked, uint32_t tag_len)
{
	unsigned n = picked->n;

	bunch->n = n;
	bunch->n_groups = (n + POLY_LANES - 1) / POLY_LANES;
	bunch->permuted = false;
	bunch->none = (struct aead_item){
		.key = (const struct symmetric_key *)zeros,
		.src = {{bunch->pad, tag_len}},
		.dst = bunch->pad,
	};
	_mm512_store_si512(bunch->pad, _mm512_setzero_si512());
	sort(bunch, picked);
	_mm512_store_si512(&bunch->len[0], _mm512_setzero_si512());
	_mm512_store_si512(&bunch->len[16], _mm512_setzero_si512());
	for (unsigned i = 0; i < (n > 16 ? BUNCH_MAX : 16); i += 8) {
		__m512i word[8];

		for (unsigned j = 0; j < 8; j++)
			word[j] = _mm512_loadu_si512(bunch->item[i + j]);
		turn(word);
		_mm512_store_si512(&bunch->key[i], word[0]);
		_mm512_store_si512(&bunch->nonce[i], word[1]);
		_mm512_store_si512(&bunch->packet.src[i], word[2]);
		_mm512_store_si512(&bunch->packet.dst[i], word[6]);
		_mm256_store_si256(
			(__m256i *)&bunch->len[i], _mm256_sub_epi32(_mm512_cvtepi64_epi32(word[3]),
							   _mm256_set1_epi32((int)tag_len)));
	}
	_mm512_store_si512(bunch->columns, columns_of(bunch->len));
	bunch->whole = 0;
	if (n == BUNCH_MAX) {
		__m512i low = _mm512_load_si512(bunch->len);
		__m512i high = _mm512_load_si512(bunch->len + 16);

		bunch->whole = _mm512_reduce_min_epu32(_mm512_min_epu32(low, high)) / COLUMN;
		for (unsigned i = 0; i < BUNCH_MAX; i += 8)
			_mm512_store_si512(&bunch->packet.mask[i], _mm512_set1_epi64(-1));
	}
}

static void rows_set(const struct bunch *bunch, struct secrets *secrets)
{
	rows_load(bunch, &secrets->rows, 0);
	if (bunch->n > 16)
		rows_load(bunch, &secrets->rows, 1);
	else
		for (unsigned i = 0; i < 10; i++)
			secrets->rows.word[i][1] = _mm512_setzero_si512();
}

/* The step with the one-time keys, and what else it has room for: `first` is that. Key stream goes
 * to the slots; when sealing, that of texts to them. */
static void first_step(struct bunch *bunch, struct secrets *secrets, struct cursor *cursor,
	struct blocks *first, bool sealing)
{
	cursor_take(bunch, cursor, first);
	if (sealing)
		places_set(bunch, first);
	for (unsigned i = 0; i < (sealing ? bunch->n : BUNCH_MAX); i++) {
		bunch->places.src[i] = zeros;
		bunch->places.dst[i] = secrets->slot[i];
		bunch->places.mask[i] = ~(uint64_t)0;
	}
	step(bunch, secrets, first);
	for (unsigned i = 0; i < bunch->n_groups; i++)
		aead_avx512_poly_keys(&secrets->state[i], secrets->slot + (size_t)i * POLY_LANES);
}

static void start(struct bunch *bunch, struct secrets *secrets, struct cursor *cursor,
	struct blocks *first, bool sealing)
{
	const uint8_t *const *text =
		sealing ? (const uint8_t *const *)bunch->packet.dst : bunch->packet.src;

	rows_set(bunch, secrets);
	*cursor = (struct cursor){0, 0, bunch->n};
	first->n = 0;
	if (bunch->n == BUNCH_MAX) {
		secrets->vars.counter[0] = secrets->vars.counter[1] = _mm512_setzero_si512();
		aead_avx512_chacha32_keys(&secrets->rows, &secrets->vars, secrets->state);
		cursor->column = 1;
	} else {
		first_step(bunch, secrets, cursor, first, sealing);
	}
	for (unsigned i = 0; i < bunch->n_groups; i++)
		aead_avx512_poly_start(&bunch->group[i], &secrets->state[i],
			text + (size_t)i * POLY_LANES, bunch->len + (size_t)i * POLY_LANES);
}

static void advance(struct bunch *bunch, struct secrets *secrets, size_t ready)
{
	for (unsigned i = 0; i < bunch->n_groups; i++)
		aead_avx512_poly_advance(&bunch->group[i], &secrets->state[i], ready);
}

static const uint8_t *tag_of(const struct secrets *secrets, unsigned lane)
{
	const uint8_t *tags = (const uint8_t *)secrets->tag[lane / POLY_LANES];

	return tags + (lane % 2 * 4 + lane % POLY_LANES / 2) * (size_t)AEAD_TAG_LEN;
}

static void seal_bunch(struct bunch *bunch, struct secrets *secrets)
{
	struct cursor cursor;
	struct blocks first;
	unsigned looked = 1;

	start(bunch, secrets, &cursor, &first, true);
	while (step_next(bunch, secrets, &cursor)) {
		if (cursor.column < looked + COLUMNS_APART)
			continue;
		looked = cursor.column;
		advance(bunch, secrets, (size_t)(cursor.column - 1) * COLUMN);
	}
	aead_avx512_poly_finish(bunch->group, secrets->state, bunch->n_groups, secrets->tag);
	for (unsigned i = 0; i < bunch->n; i++)
		memcpy(bunch->packet.dst[i] + bunch->len[i], tag_of(secrets, i), AEAD_TAG_LEN);
}

/* Bit i: lane i is authentic. */
static uint32_t verify(struct bunch *bunch, struct secrets *secrets)
{
	uint32_t ok = 0;

	aead_avx512_poly_finish(bunch->group, secrets->state, bunch->n_groups, secrets->tag);
	for (unsigned i = 0; i < bunch->n_groups; i++) {
		_Alignas(64) uint8_t tag[POLY_LANES][AEAD_TAG_LEN];
		__mmask8 even, odd;

		memset(tag, 0, sizeof(tag));
		for (unsigned j = 0; j < POLY_LANES && i * POLY_LANES + j < bunch->n; j++) {
			unsigned lane = i * POLY_LANES + j;

			memcpy(tag[j % 2 * 4 + j / 2], bunch->packet.src[lane] + bunch->len[lane],
				AEAD_TAG_LEN);
		}
		even = _mm512_cmpeq_epi64_mask(_mm512_load_si512(tag[0]), secrets->tag[i][0]);
		odd = _mm512_cmpeq_epi64_mask(_mm512_load_si512(tag[4]), secrets->tag[i][1]);
		even &= even >> 1 & 0x55;
		odd &= odd >> 1 & 0x55;
		ok |= (uint32_t)(even | odd << 1) << (i * POLY_LANES);
	}
	return ok;
}

/* What the first step made of the texts' key stream, where the verdict is good. */
static void decrypt_first(struct bunch *bunch, struct secrets *secrets, const struct blocks *first)
{
	places_set(bunch, first);
	for (unsigned i = bunch->n; i < first->n; i++) {
		__m512i text = _mm512_maskz_loadu_epi8(bunch->places.mask[i], bunch->places.src[i]);

		_mm512_mask_storeu_epi8(bunch->places.dst[i], bunch->places.mask[i],
			_mm512_xor_si512(text, _mm512_load_si512(secrets->slot[i])));
	}
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
	if (first.n > bunch->n)
		decrypt_first(bunch, secrets, &first);
	while (step_next(bunch, secrets, &cursor))
		;
}

/* --- a burst --- */

static void vectors_zero(void *at, size_t len)
{
	for (size_t i = 0; i < len; i += 64)
		_mm512_store_si512((uint8_t *)at + i, _mm512_setzero_si512());
	/* so that the compiler cannot know that nobody reads them */
	__asm__ volatile("" : : "r"(at) : "memory");
}

static void secrets_zero(struct secrets *secrets, const struct bunch *bunch)
{
	vectors_zero(secrets, offsetof(struct secrets, permuted));
	if (bunch->permuted)
		vectors_zero(&secrets->permuted, sizeof(secrets->permuted));
	for (unsigned i = 0; i < bunch->n_groups; i++)
		vectors_zero(&secrets->state[i], bunch->group[i].few
							 ? offsetof(struct poly_state, power[1])
							 : sizeof(struct poly_state));
	if (bunch->n < BUNCH_MAX)
		vectors_zero(secrets->slot, sizeof(secrets->slot));
}

/* What is rare goes libsodium's way: with AAD, in two segments, too short. */
static bool is_rare(const struct aead_item *item, uint32_t tag_len)
{
	return (item->aad_len > 0 && item->aad != NULL) || item->src[1].len > 0 ||
	       item->src[0].len < tag_len;
}

/* The first `n` items, if none of them is rare. */
static bool pick_all(struct picked *picked, struct aead_item *items, unsigned n, uint32_t tag_len)
{
	const __m512i size = _mm512_set1_epi64(8 * sizeof(struct aead_item));
	__m512i item = _mm512_add_epi64(_mm512_set1_epi64((long long)(uintptr_t)items),
		_mm512_mullo_epi64(_mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0),
			_mm512_set1_epi64(sizeof(struct aead_item))));
	uint32_t rare = 0;

	for (unsigned i = 0; i < n; i++) {
		uint32_t len = items[i].src[0].len;

		picked->len[i] = len - tag_len;
		rare |= items[i].aad_len | items[i].src[1].len | (len < tag_len);
	}
	for (unsigned i = 0; i < BUNCH_MAX; i += 8) {
		_mm512_store_si512(&picked->item[i], item);
		item = _mm512_add_epi64(item, size);
	}
	picked->n = n;
	return rare == 0;
}

/* From item i on, up to a bunch of those that are not rare; returns the first item that was not
 * looked at. */
static unsigned pick(
	struct picked *picked, struct aead_item *items, unsigned i, unsigned n, uint32_t tag_len)
{
	const struct aead_impl *other = &aead_portable;
	unsigned most = n - i < BUNCH_MAX ? n - i : BUNCH_MAX;

	_mm512_store_si512(&picked->len[0], _mm512_setzero_si512());
	_mm512_store_si512(&picked->len[16], _mm512_setzero_si512());
	if (pick_all(picked, items + i, most, tag_len))
		return i + most;
	_mm512_store_si512(&picked->len[0], _mm512_setzero_si512());
	_mm512_store_si512(&picked->len[16], _mm512_setzero_si512());
	picked->n = 0;
	for (; i < n && picked->n < BUNCH_MAX; i++) {
		struct aead_item *item = &items[i];

		if (is_rare(item, tag_len)) {
			(tag_len > 0 ? other->open : other->seal)(item, 1);
			continue;
		}
		picked->len[picked->n] = item->src[0].len - tag_len;
		picked->item[picked->n++] = item;
	}
	return i;
}

/* What the compiler spilled in the functions below. */
#define STACK_WIPED 2048

static void work(struct aead_item *items, unsigned n, bool sealing)
{
	struct bunch bunch;
	struct secrets secrets;
	struct picked picked;
	unsigned tag_len = sealing ? 0 : AEAD_TAG_LEN;

	for (unsigned i = 0; i < n;) {
		i = pick(&picked, items, i, n, tag_len);
		if (picked.n == 0)
			break;
		bunch_fill(&bunch, &picked, tag_len);
		if (sealing)
			seal_bunch(&bunch, &secrets);
		else
			open_bunch(&bunch, &secrets);
		secrets_zero(&secrets, &bunch);
	}
	aead_avx512_forget();
	wipe_stack(STACK_WIPED);
}

void aead_avx512_seal(struct aead_item *items, unsigned n)
{
	work(items, n, true);
}

void aead_avx512_open(struct aead_item *items, unsigned n)
{
	work(items, n, false);
}
