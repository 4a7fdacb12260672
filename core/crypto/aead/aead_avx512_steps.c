/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ChaCha20 over a bunch: which 32 blocks come next, where they lie, and their keys in the lanes
 * where they are needed. Any thread.
 *
 * The list of blocks is never written down. It goes column by column, and since packets are in
 * order of length, those that reach a column are the first few lanes; so the next 32 blocks come
 * from a division of 32 numbers, once for each length that ends among them.
 *
 * A key is put in the rows once a bunch. A step whose blocks are not just one column of 32 packets
 * permutes the rows by packet number: 20 instructions, where to load and turn 32 keys again takes
 * a hundred.
 */
#include <string.h>

#include "aead_avx512.h"

const uint8_t aead_avx512_zeros[COLUMN];

/* --- the list --- */

/* 32768 / n + 1: times up to 100, shifted by 15, a division by n */
static const uint16_t reciprocals[BUNCH_MAX + 1] = {0, 32769, 16385, 10923, 8193, 6554, 5462, 4682,
	4097, 3641, 3277, 2979, 2731, 2521, 2341, 2185, 2049, 1928, 1821, 1725, 1639, 1561, 1490,
	1425, 1366, 1311, 1261, 1214, 1171, 1130, 1093, 1058, 1025};

void aead_avx512_take(const struct bunch *bunch, struct cursor *cursor, struct blocks *blocks)
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

/* --- places --- */

static __m512i pointers_permute(const uint8_t *const *table, __m512i packet)
{
	const __m512i *from = (const __m512i *)table;
	__m512i low = _mm512_permutex2var_epi64(from[0], packet, from[1]);
	__m512i high = _mm512_permutex2var_epi64(from[2], packet, from[3]);

	return _mm512_mask_mov_epi64(
		low, _mm512_test_epi64_mask(packet, _mm512_set1_epi64(16)), high);
}

struct chacha_places *aead_avx512_places(struct bunch *bunch, const struct blocks *blocks)
{
	const __m512i pad = _mm512_set1_epi64((long long)(uintptr_t)bunch->pad);
	const __m512i nothing = _mm512_set1_epi64((long long)(uintptr_t)aead_avx512_zeros);
	const __m512i one = _mm512_set1_epi64(1);
	struct chacha_places *out = &bunch->places[bunch->turn ^= 1];
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
			&out->src[i], _mm512_mask_add_epi64(nothing, lanes,
					      pointers_permute(bunch->packet.src, packet), offset));
		_mm512_store_si512(&out->dst[i],
			_mm512_mask_add_epi64(pad, lanes,
				pointers_permute((const uint8_t *const *)bunch->packet.dst, packet),
				offset));
	}
	return out;
}

void aead_avx512_add(
	const struct chacha_places *places, unsigned lane, const uint8_t stream[COLUMN])
{
	__m512i text = _mm512_maskz_loadu_epi8(places->mask[lane], places->src[lane]);

	_mm512_mask_storeu_epi8(places->dst[lane], places->mask[lane],
		_mm512_xor_si512(text, _mm512_load_si512(stream)));
}

/* --- keys --- */

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

/* Of a single packet, to all lanes. */
static void rows_repeat(const struct bunch *bunch, struct chacha_rows *rows)
{
	uint32_t word[10];

	memcpy(word, bunch->key[0], 32);
	memcpy(word + 8, bunch->nonce, 8);
	for (unsigned i = 0; i < 10; i++)
		rows->word[i][0] = rows->word[i][1] = _mm512_set1_epi32((int)word[i]);
}

void aead_avx512_rows(const struct bunch *bunch, struct secrets *secrets)
{
	if (bunch->n == 1) {
		rows_repeat(bunch, &secrets->permuted);
		return;
	}
	rows_load(bunch, &secrets->rows, 0);
	if (bunch->n > 16)
		rows_load(bunch, &secrets->rows, 1);
}

static void rows_permute(
	const struct chacha_rows *from, struct chacha_rows *to, const struct blocks *blocks)
{
	__m512i low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(blocks->packet));
	__m512i high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(blocks->packet, 1));

	for (unsigned i = 0; i < 10; i++) {
		const __m512i *word = from->word[i];

		to->word[i][0] = _mm512_permutex2var_epi32(word[0], low, word[1]);
		to->word[i][1] = _mm512_permutex2var_epi32(word[0], high, word[1]);
	}
}

/* --- steps --- */

/* The state in `raw` goes to its places while the next 16 blocks are computed. */
static void run_piped(struct bunch *bunch, struct secrets *secrets, const struct chacha_rows *rows,
	const struct chacha_places *places, size_t offset, unsigned half)
{
	/* all three: 16 lanes further */
	const void *rows_half = &rows->word[0][half], *places_half = &places->src[16 * half];
	const __m512i *counter = &secrets->vars.counter[half];

	if (bunch->last == NULL)
		aead_avx512_piped_begin(rows_half, secrets->raw, NULL, 0, counter);
	else
		aead_avx512_piped_next(
			rows_half, secrets->raw, bunch->last, bunch->last_offset, counter);
	bunch->last = places_half;
	bunch->last_offset = offset;
}

void aead_avx512_settle(struct bunch *bunch, struct secrets *secrets)
{
	if (bunch->last != NULL)
		aead_avx512_piped_end(NULL, secrets->raw, bunch->last, bunch->last_offset, NULL);
	bunch->last = NULL;
}

static void run(struct bunch *bunch, struct secrets *secrets, const struct chacha_rows *rows,
	const struct chacha_places *places, size_t offset, unsigned n)
{
	if (bunch->piped) {
		run_piped(bunch, secrets, rows, places, offset, 0);
		if (n > 16)
			run_piped(bunch, secrets, rows, places, offset, 1);
	} else if (n > 16) {
		aead_avx512_chacha32(rows, &secrets->vars, places, offset);
	} else {
		aead_avx512_chacha16(rows, &secrets->vars, places, offset);
	}
}

void aead_avx512_step(struct bunch *bunch, struct secrets *secrets, const struct blocks *blocks,
	const struct chacha_places *places)
{
	struct chacha_vars *vars = &secrets->vars;

	vars->counter[0] = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(blocks->column));
	vars->counter[1] = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(blocks->column, 1));
	bunch->permuted = true;
	if (bunch->n > 1)
		rows_permute(&secrets->rows, &secrets->permuted, blocks);
	run(bunch, secrets, &secrets->permuted, places, 0, blocks->n);
}

/* One column of 32 packets: the keys are where they are needed. */
static void step_column(struct bunch *bunch, struct secrets *secrets, unsigned column)
{
	secrets->vars.counter[0] = secrets->vars.counter[1] = _mm512_set1_epi32((int)column);
	run(bunch, secrets, &secrets->rows, &bunch->packet, (size_t)(column - 1) * COLUMN,
		BUNCH_MAX);
}

bool aead_avx512_next(struct bunch *bunch, struct secrets *secrets, struct cursor *cursor)
{
	struct blocks blocks;

	if (cursor->column <= bunch->whole && cursor->packet == 0) {
		step_column(bunch, secrets, cursor->column++);
		return true;
	}
	aead_avx512_take(bunch, cursor, &blocks);
	if (blocks.n == 0)
		return false;
	aead_avx512_step(bunch, secrets, &blocks, aead_avx512_places(bunch, &blocks));
	return true;
}
