/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From items to the lanes of a bunch. Nothing here is secret but the keys, which are only pointed
 * to. Any thread.
 *
 * No branch depends on lengths: in traffic of mixed lengths no two bursts are alike, and a
 * mispredicted branch costs as much as a small packet's ChaCha20 round.
 */
#include <string.h>

#include "aead_avx512.h"
#include "impls.h"

/* --- which items --- */

/* What is rare goes libsodium's way: with AAD, in two segments, too short, too long. */
static bool is_rare(const struct aead_item *item, uint32_t tag_len)
{
	return (item->aad_len > 0 && item->aad != NULL) || item->src[1].len > 0 ||
	       item->src[0].len - tag_len > AEAD_TEXT_MAX;
}

/* The first `n` items, if none of them is rare. */
static bool pick_all(struct picked *picked, struct aead_item *items, unsigned n, uint32_t tag_len)
{
	const __m512i size = _mm512_set1_epi64(8 * sizeof(struct aead_item));
	__m512i item = _mm512_add_epi64(_mm512_set1_epi64((long long)(uintptr_t)items),
		_mm512_mullo_epi64(_mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0),
			_mm512_set1_epi64(sizeof(struct aead_item))));
	__m512i low, high;
	uint32_t rare = 0;

	for (unsigned i = 0; i < n; i++) {
		picked->len[i] = items[i].src[0].len - tag_len;
		rare |= items[i].aad_len | items[i].src[1].len;
	}
	for (unsigned i = 0; i < BUNCH_MAX; i += 8) {
		_mm512_store_si512(&picked->item[i], item);
		item = _mm512_add_epi64(item, size);
	}
	picked->n = n;
	low = _mm512_load_si512(&picked->len[0]);
	high = _mm512_load_si512(&picked->len[16]);
	return rare == 0 && _mm512_cmpgt_epu32_mask(_mm512_max_epu32(low, high),
				    _mm512_set1_epi32(AEAD_TEXT_MAX)) == 0;
}

unsigned aead_avx512_pick(
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

/* --- which lanes --- */

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

static void repeat(struct bunch *bunch, unsigned n)
{
	for (unsigned i = n; i < (n > 16 ? BUNCH_MAX : 16); i++)
		bunch->item[i] = bunch->item[n - 1];
}

/* Without a branch: a packet's lane is the number of packets that come before it. Bursts whose
 * packets are all alike are common enough to be told apart. */
static void sort(struct bunch *bunch, const struct picked *picked)
{
	static const _Alignas(64)
		uint16_t countdown[BUNCH_MAX] = {31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19,
			18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0};
	_Alignas(64) uint16_t rank[BUNCH_MAX];
	__m512i ranks = columns_of(picked->len);
	__mmask32 used = ~(__mmask32)0 >> (BUNCH_MAX - picked->n);

	if (_mm512_mask_cmpneq_epi16_mask(
		    used, ranks, _mm512_broadcastw_epi16(_mm512_castsi512_si128(ranks))) == 0) {
		memcpy(bunch->item, picked->item, sizeof(bunch->item));
		repeat(bunch, picked->n);
		return;
	}
	ranks = _mm512_add_epi16(_mm512_slli_epi16(ranks, 5), _mm512_load_si512(countdown));
	_mm512_store_si512(rank, ranks);
	for (unsigned i = 0; i < picked->n; i++) {
		__mmask32 before =
			_mm512_cmpgt_epu16_mask(ranks, _mm512_set1_epi16((short)rank[i]));

		bunch->item[_mm_popcnt_u32(before)] = picked->item[i];
	}
	repeat(bunch, picked->n);
}

static_assert(offsetof(struct aead_item, key) == 0 && offsetof(struct aead_item, nonce) == 8 &&
		      offsetof(struct aead_item, src) == 16 &&
		      offsetof(struct aead_item, dst) == 48,
	"what a row is turned to");

/* Items are taken apart as the eight words that each begins with. */
/* Two or more. */
static void fill(struct bunch *bunch, const struct picked *picked, uint32_t tag_len)
{
	unsigned n = picked->n;

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
	if (n == BUNCH_MAX) {
		__m512i low = _mm512_load_si512(bunch->len);
		__m512i high = _mm512_load_si512(bunch->len + 16);

		bunch->whole = _mm512_reduce_min_epu32(_mm512_min_epu32(low, high)) / COLUMN;
		for (unsigned i = 0; i < BUNCH_MAX; i += 8)
			_mm512_store_si512(&bunch->packet.mask[i], _mm512_set1_epi64(-1));
	}
}

/* One packet: all lanes of Poly1305 repeat it. */
static void fill_one(struct bunch *bunch, const struct picked *picked)
{
	struct aead_item *item = picked->item[0];

	bunch->item[0] = item;
	bunch->key[0] = item->key->bytes;
	memcpy(&bunch->nonce[0], item->nonce, 8);
	_mm512_store_si512(
		bunch->packet.src, _mm512_set1_epi64((long long)(uintptr_t)item->src[0].data));
	_mm512_store_si512(bunch->packet.dst, _mm512_set1_epi64((long long)(uintptr_t)item->dst));
	_mm512_store_si512(bunch->len, _mm512_set1_epi32((int)picked->len[0]));
	bunch->columns[0] = (uint16_t)((picked->len[0] + COLUMN - 1) / COLUMN);
}

void aead_avx512_fill(struct bunch *bunch, const struct picked *picked, uint32_t tag_len)
{
	bunch->n = picked->n;
	bunch->n_groups = (picked->n + POLY_LANES - 1) / POLY_LANES;
	bunch->permuted = false;
	bunch->turn = 0;
	bunch->last = NULL;
	bunch->whole = 0;
	_mm512_store_si512(bunch->pad, _mm512_setzero_si512());
	if (picked->n == 1)
		fill_one(bunch, picked);
	else
		fill(bunch, picked, tag_len);
}
