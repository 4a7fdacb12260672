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

/* What may stay in memory when the burst is done, and what may not. Lanes are packets in order of
 * length, the longest first; those beyond n are empty and point to `pad`. */
struct bunch {
	unsigned n;
	struct chacha_places packet; /* where the texts begin; mask: all ones */
	_Alignas(64) uint32_t len[BUNCH_MAX];
	_Alignas(64) uint16_t columns[BUNCH_MAX];
	_Alignas(64) uint64_t nonce[BUNCH_MAX];
	const uint8_t *key[BUNCH_MAX];
	const uint8_t *tag[BUNCH_MAX];
	uint8_t item[BUNCH_MAX];
	_Alignas(64) uint8_t pad[COLUMN];
	struct chacha_places places; /* of one step */
	struct chacha_places early;  /* open: of the step that makes the one-time keys */
	bool ok[BUNCH_MAX];
};

struct secrets {
	struct chacha_rows rows, permuted;
	struct chacha_vars vars;
	struct poly_secrets poly;
	_Alignas(64) uint8_t slots[BUNCH_MAX][COLUMN]; /* key stream of the first step */
	__m512i tag[2];
	_Alignas(64) uint8_t tags[POLY_LANES][AEAD_TAG_LEN];
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

static __m512i pointers_permute(const void *const *table, __m512i packet)
{
	const __m512i *from = (const __m512i *)table;
	__m512i low = _mm512_permutex2var_epi64(from[0], packet, from[1]);
	__m512i high = _mm512_permutex2var_epi64(from[2], packet, from[3]);

	return _mm512_mask_mov_epi64(
		low, _mm512_test_epi64_mask(packet, _mm512_set1_epi64(16)), high);
}

static void places_set(struct bunch *bunch, const struct blocks *blocks, struct chacha_places *out)
{
	const __m512i pad = _mm512_set1_epi64((long long)(uintptr_t)bunch->pad);

	for (unsigned i = 0; i < BUNCH_MAX / 8; i++) {
		__m128i packet16 = _mm_loadu_si128((const __m128i *)&blocks->packet + i);
		__m128i column16 = _mm_loadu_si128((const __m128i *)&blocks->column + i);
		__m512i packet = _mm512_cvtepu16_epi64(packet16);
		__m512i offset =
			_mm512_sub_epi64(_mm512_slli_epi64(_mm512_cvtepu16_epi64(column16), 6),
				_mm512_set1_epi64(COLUMN));
		__m256i len32 = _mm512_cvtepi64_epi32(_mm512_setzero_si512());
		__m512i left;
		__mmask8 used = blocks->n >= 8 * i + 8 ? 0xff
				: blocks->n <= 8 * i   ? 0
						     : (__mmask8)((1u << (blocks->n - 8 * i)) - 1);

		len32 = _mm256_mmask_i32gather_epi32(
			len32, 0xff, _mm512_cvtepi64_epi32(packet), (const int *)bunch->len, 4);
		left = _mm512_sub_epi64(_mm512_cvtepu32_epi64(len32), offset);
		left = _mm512_maskz_max_epi64(used, left, _mm512_setzero_si512());
		_mm512_storeu_si512(&out->mask[8 * i],
			_mm512_sub_epi64(_mm512_sllv_epi64(_mm512_set1_epi64(1), left),
				_mm512_set1_epi64(1)));
		_mm512_storeu_si512(&out->src[8 * i],
			_mm512_mask_add_epi64(pad, used,
				pointers_permute((const void *const *)bunch->packet.src, packet),
				offset));
		_mm512_storeu_si512(&out->dst[8 * i],
			_mm512_mask_add_epi64(pad, used,
				pointers_permute((const void *const *)bunch->packet.dst, packet),
				offset));
	}
}

static void rows_permute(struct secrets *secrets, const struct blocks *blocks)
{
	const struct chacha_rows *from = &secrets->rows;
	__m512i lane[2] = {
		_mm512_cvtepu16_epi32(_mm512_castsi512_si256(blocks->packet)),
		_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(blocks->packet, 1)),
	};

	for (unsigned i = 0; i < 10; i++) {
		for (unsigned half = 0; half < 2; half++)
			secrets->permuted.word[i][half] = _mm512_permutex2var_epi32(
				from->word[i][0], lane[half], from->word[i][1]);
	}
}

static void step(
	struct secrets *secrets, const struct blocks *blocks, const struct chacha_places *places)
{
	secrets->vars.counter[0] = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(blocks->column));
	secrets->vars.counter[1] =
		_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(blocks->column, 1));
	rows_permute(secrets, blocks);
	if (blocks->n > 16)
		aead_avx512_chacha32(&secrets->permuted, &secrets->vars, places, 0);
	else
		aead_avx512_chacha16(&secrets->permuted, &secrets->vars, places, 0);
}

/* --- a bunch --- */

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
	uint8_t item[BUNCH_MAX];
	_Alignas(64) uint16_t rank_key[BUNCH_MAX]; /* columns * 32 + 31 - index */
};

static void bunch_set(
	struct bunch *bunch, struct aead_item *items, const struct picked *picked, bool sealing)
{
	static const uint8_t zeros[32];
	const __m512i keys = _mm512_load_si512(picked->rank_key);

	bunch->n = picked->n;
	for (unsigned i = 0; i < picked->n; i++) {
		unsigned lane = (unsigned)__builtin_popcount(_mm512_cmpgt_epu16_mask(
			keys, _mm512_set1_epi16((short)picked->rank_key[i])));
		struct aead_item *item = &items[picked->item[i]];
		uint32_t len = item->src[0].len - (sealing ? 0 : AEAD_TAG_LEN);

		bunch->item[lane] = picked->item[i];
		bunch->packet.src[lane] = item->src[0].data;
		bunch->packet.dst[lane] = item->dst;
		bunch->len[lane] = len;
		bunch->columns[lane] = (uint16_t)((len + COLUMN - 1) / COLUMN);
		memcpy(&bunch->nonce[lane], item->nonce, 8);
		bunch->key[lane] = item->key->bytes;
		bunch->tag[lane] = item->src[0].data + len;
	}
	for (unsigned i = picked->n; i < BUNCH_MAX; i++) {
		bunch->packet.src[i] = bunch->pad;
		bunch->packet.dst[i] = bunch->pad;
		bunch->len[i] = 0;
		bunch->columns[i] = 0;
		bunch->nonce[i] = 0;
		bunch->key[i] = zeros;
	}
}

static void seal_bunch(struct bunch *bunch, struct secrets *secrets)
{
	static const uint8_t zeros[COLUMN];
	struct cursor cursor = {0, 0, bunch->n};
	struct blocks blocks;

	rows_load(bunch, &secrets->rows, 0);
	rows_load(bunch, &secrets->rows, 1);
	cursor_take(bunch, &cursor, &blocks);
	places_set(bunch, &blocks, &bunch->places);
	for (unsigned i = 0; i < bunch->n; i++) {
		bunch->places.src[i] = zeros;
		bunch->places.dst[i] = secrets->slots[i];
		bunch->places.mask[i] = ~(uint64_t)0;
	}
	step(secrets, &blocks, &bunch->places);
	for (;;) {
		cursor_take(bunch, &cursor, &blocks);
		if (blocks.n == 0)
			break;
		places_set(bunch, &blocks, &bunch->places);
		step(secrets, &blocks, &bunch->places);
	}
	for (unsigned i = 0; i < bunch->n; i += POLY_LANES) {
		struct poly_lanes lanes = {(const uint8_t *const *)bunch->packet.dst + i,
			bunch->len + i, secrets->slots + i};

		aead_avx512_poly(&lanes, &secrets->poly, secrets->tag);
		for (unsigned j = 0; j < POLY_LANES && i + j < bunch->n; j++) {
			uint8_t *tag = bunch->packet.dst[i + j] + bunch->len[i + j];

			memcpy(tag, (const uint8_t *)&secrets->tag[0] + 8 * j, 8);
			memcpy(tag + 8, (const uint8_t *)&secrets->tag[1] + 8 * j, 8);
		}
	}
}

static void verify(struct bunch *bunch, struct secrets *secrets)
{
	for (unsigned i = 0; i < bunch->n; i += POLY_LANES) {
		struct poly_lanes lanes = {(const uint8_t *const *)bunch->packet.src + i,
			bunch->len + i, secrets->slots + i};
		__m512i tag[2];

		aead_avx512_poly(&lanes, &secrets->poly, secrets->tag);
		for (unsigned j = 0; j < POLY_LANES && i + j < bunch->n; j++) {
			memcpy((uint8_t *)&tag[0] + 8 * j, bunch->tag[i + j], 8);
			memcpy((uint8_t *)&tag[1] + 8 * j, bunch->tag[i + j] + 8, 8);
		}
		__mmask8 ok = _mm512_cmpeq_epi64_mask(tag[0], secrets->tag[0]) &
			      _mm512_cmpeq_epi64_mask(tag[1], secrets->tag[1]);
		for (unsigned j = 0; j < POLY_LANES && i + j < bunch->n; j++)
			bunch->ok[i + j] = ok >> j & 1;
	}
}

static void open_bunch(struct bunch *bunch, struct secrets *secrets)
{
	static const uint8_t zeros[COLUMN];
	struct cursor cursor = {0, 0, bunch->n};
	struct blocks blocks, first;

	rows_load(bunch, &secrets->rows, 0);
	rows_load(bunch, &secrets->rows, 1);
	cursor_take(bunch, &cursor, &first);
	for (unsigned i = 0; i < BUNCH_MAX; i++) {
		bunch->places.src[i] = zeros;
		bunch->places.dst[i] = secrets->slots[i];
		bunch->places.mask[i] = ~(uint64_t)0;
	}
	step(secrets, &first, &bunch->places);
	verify(bunch, secrets);
	for (unsigned i = 0; i < bunch->n; i++) {
		if (bunch->ok[i])
			continue;
		memset(bunch->packet.dst[i], 0, bunch->len[i]);
		bunch->len[i] = 0;
	}
	places_set(bunch, &first, &bunch->early);
	for (unsigned i = bunch->n; i < first.n; i++) {
		__m512i text = _mm512_maskz_loadu_epi8(bunch->early.mask[i], bunch->early.src[i]);

		_mm512_mask_storeu_epi8(bunch->early.dst[i], bunch->early.mask[i],
			_mm512_xor_si512(text, _mm512_load_si512(secrets->slots[i])));
	}
	for (;;) {
		cursor_take(bunch, &cursor, &blocks);
		if (blocks.n == 0)
			break;
		places_set(bunch, &blocks, &bunch->places);
		step(secrets, &blocks, &bunch->places);
	}
}

/* --- a burst --- */

/* libsodium's way for what is rare: with AAD. */
static bool takes_slow_way(const struct aead_item *item)
{
	return (item->aad != NULL && item->aad_len > 0) || item->src[1].len > 0;
}

static void work(struct aead_item *items, unsigned n, bool sealing)
{
	struct bunch bunch;
	struct secrets secrets;
	struct picked picked;

	memset(bunch.pad, 0, sizeof(bunch.pad));
	for (unsigned i = 0; i < n;) {
		picked.n = 0;
		memset(picked.rank_key, 0, sizeof(picked.rank_key));
		for (; i < n && picked.n < BUNCH_MAX; i++) {
			if (takes_slow_way(&items[i]) ||
				(!sealing && items[i].src[0].len < AEAD_TAG_LEN)) {
				if (sealing)
					aead_portable.seal(&items[i], 1);
				else
					aead_portable.open(&items[i], 1);
				continue;
			}
			uint32_t len = items[i].src[0].len - (sealing ? 0 : AEAD_TAG_LEN);
			picked.item[picked.n] = (uint8_t)i;
			picked.rank_key[picked.n] =
				(uint16_t)(((len + COLUMN - 1) / COLUMN) * 32 + 31 - picked.n);
			picked.n++;
		}
		if (picked.n == 0)
			break;
		bunch_set(&bunch, items, &picked, sealing);
		if (sealing) {
			seal_bunch(&bunch, &secrets);
		} else {
			open_bunch(&bunch, &secrets);
			for (unsigned j = 0; j < bunch.n; j++)
				items[bunch.item[j]].ok = bunch.ok[j];
		}
	}
	secret_zero(&secrets, sizeof(secrets));
	aead_avx512_forget();
}

void aead_avx512_seal(struct aead_item *items, unsigned n)
{
	work(items, n, true);
}

void aead_avx512_open(struct aead_item *items, unsigned n)
{
	work(items, n, false);
}
