/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Poly1305 of 8 packets at once, one in each 64-bit lane, four blocks a step. Any thread.
 *
 * Numbers modulo 2^130 - 5 are held in limbs of 44, 44 and 42 bits and multiplied by the 52-bit
 * multiply-add, whose low and high halves are summed apart and put together once a step.
 *
 * The lanes end together. One that is shorter starts later: until then its blocks are zero, without
 * the bit that marks a block, and leave its sum at zero. So lengths may differ within the eight and
 * no lane needs a branch of its own. The last step takes the last three blocks of the text and the
 * block of lengths.
 */
#include <string.h>

#include "aead_avx512.h"

#define BITS_44 (((uint64_t)1 << 44) - 1)
#define BITS_42 (((uint64_t)1 << 42) - 1)
#define MARK ((uint64_t)1 << 40) /* 2^128 in the top limb */

struct sums {
	__m512i lo[3], hi[3];
};

static inline __m512i all(uint64_t x)
{
	return _mm512_set1_epi64((long long)x);
}

static inline void add_product(struct sums *sums, unsigned limb, __m512i a, __m512i b)
{
	sums->lo[limb] = _mm512_madd52lo_epu64(sums->lo[limb], a, b);
	sums->hi[limb] = _mm512_madd52hi_epu64(sums->hi[limb], a, b);
}

static inline void add_multiple(struct sums *sums, const __m512i h[3], const struct poly_power *p)
{
	add_product(sums, 0, h[0], p->r[0]);
	add_product(sums, 1, h[0], p->r[1]);
	add_product(sums, 2, h[0], p->r[2]);
	add_product(sums, 0, h[1], p->s[2]);
	add_product(sums, 1, h[1], p->r[0]);
	add_product(sums, 2, h[1], p->r[1]);
	add_product(sums, 0, h[2], p->s[1]);
	add_product(sums, 1, h[2], p->s[2]);
	add_product(sums, 2, h[2], p->r[0]);
}

static inline void sums_clear(struct sums *sums)
{
	for (unsigned i = 0; i < 3; i++)
		sums->lo[i] = sums->hi[i] = _mm512_setzero_si512();
}

/* Below 2^44, 2^44 + 2^10 and 2^42. */
static inline void carry(const struct sums *sums, __m512i h[3])
{
	__m512i d1 = _mm512_add_epi64(sums->lo[1], _mm512_slli_epi64(sums->hi[0], 8));
	__m512i d2 = _mm512_add_epi64(sums->lo[2], _mm512_slli_epi64(sums->hi[1], 8));
	__m512i top = _mm512_slli_epi64(sums->hi[2], 10);

	d1 = _mm512_add_epi64(d1, _mm512_srli_epi64(sums->lo[0], 44));
	d2 = _mm512_add_epi64(d2, _mm512_srli_epi64(d1, 44));
	top = _mm512_add_epi64(top, _mm512_srli_epi64(d2, 42));
	top = _mm512_add_epi64(top, _mm512_slli_epi64(top, 2));
	h[0] = _mm512_add_epi64(_mm512_and_si512(sums->lo[0], all(BITS_44)), top);
	h[1] = _mm512_add_epi64(_mm512_and_si512(d1, all(BITS_44)), _mm512_srli_epi64(h[0], 44));
	h[0] = _mm512_and_si512(h[0], all(BITS_44));
	h[2] = _mm512_and_si512(d2, all(BITS_42));
}

static inline void power_set(struct poly_power *p, const __m512i h[3])
{
	for (unsigned i = 0; i < 3; i++)
		p->r[i] = h[i];
	for (unsigned i = 1; i < 3; i++)
		p->s[i] = _mm512_add_epi64(_mm512_slli_epi64(h[i], 4), _mm512_slli_epi64(h[i], 2));
}

static inline void power_multiply(
	struct poly_power *out, const struct poly_power *a, const struct poly_power *b)
{
	struct sums sums;
	__m512i h[3];

	sums_clear(&sums);
	add_multiple(&sums, a->r, b);
	carry(&sums, h);
	power_set(out, h);
}

static inline void limbs_of(__m512i lo, __m512i hi, __m512i mark, __m512i m[3])
{
	m[0] = _mm512_and_si512(lo, all(BITS_44));
	m[1] = _mm512_and_si512(_mm512_shrdi_epi64(lo, hi, 44), all(BITS_44));
	m[2] = _mm512_or_si512(_mm512_srli_epi64(hi, 24), mark);
}

/* Rows of 4 words: row i of packets i, i + 2 (first four lanes) and i + 4, i + 6. */
static inline __m512i key_pair(const uint8_t *a, const uint8_t *b)
{
	return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)a)),
		_mm256_loadu_si256((const __m256i *)b), 1);
}

/* key[i]: the i-th 8 bytes of each lane's one-time key. */
static inline void keys_load(const uint8_t (*keys)[COLUMN], __m512i key[4])
{
	__m512i a = key_pair(keys[0], keys[2]), b = key_pair(keys[1], keys[3]);
	__m512i c = key_pair(keys[4], keys[6]), d = key_pair(keys[5], keys[7]);
	__m512i ab0 = _mm512_unpacklo_epi64(a, b), ab1 = _mm512_unpackhi_epi64(a, b);
	__m512i cd0 = _mm512_unpacklo_epi64(c, d), cd1 = _mm512_unpackhi_epi64(c, d);

	key[0] = _mm512_shuffle_i64x2(ab0, cd0, 0x88);
	key[1] = _mm512_shuffle_i64x2(ab1, cd1, 0x88);
	key[2] = _mm512_shuffle_i64x2(ab0, cd0, 0xdd);
	key[3] = _mm512_shuffle_i64x2(ab1, cd1, 0xdd);
}

static inline void powers_make(struct poly_secrets *secrets, const uint8_t (*keys)[COLUMN])
{
	struct poly_power *power = secrets->power;
	__m512i key[4], r[3];

	keys_load(keys, key);
	limbs_of(_mm512_and_si512(key[0], all(0x0ffffffc0fffffff)),
		_mm512_and_si512(key[1], all(0x0ffffffc0ffffffc)), _mm512_setzero_si512(), r);
	power_set(&power[0], r);
	power_multiply(&power[1], &power[0], &power[0]);
	power_multiply(&power[2], &power[1], &power[0]);
	power_multiply(&power[3], &power[1], &power[1]);
}

/* Eight rows of 64 bytes to eight vectors of one word of each row. */
static inline void turn(__m512i row[8])
{
	__m512i even[4], odd[4];

	for (unsigned i = 0; i < 4; i++) {
		even[i] = _mm512_unpacklo_epi64(row[2 * i], row[2 * i + 1]);
		odd[i] = _mm512_unpackhi_epi64(row[2 * i], row[2 * i + 1]);
	}
	for (unsigned i = 0; i < 2; i++) {
		const __m512i *in = i == 0 ? even : odd;
		__m512i a = _mm512_shuffle_i64x2(in[0], in[1], 0x44);
		__m512i b = _mm512_shuffle_i64x2(in[0], in[1], 0xee);
		__m512i c = _mm512_shuffle_i64x2(in[2], in[3], 0x44);
		__m512i d = _mm512_shuffle_i64x2(in[2], in[3], 0xee);

		row[i] = _mm512_shuffle_i64x2(a, c, 0x88);
		row[i + 2] = _mm512_shuffle_i64x2(a, c, 0xdd);
		row[i + 4] = _mm512_shuffle_i64x2(b, d, 0x88);
		row[i + 6] = _mm512_shuffle_i64x2(b, d, 0xdd);
	}
}

/* h = (h + m0) r^4 + m1 r^3 + m2 r^2 + m3 r */
static inline void step(
	__m512i h[3], const __m512i row[8], const __m512i mark[4], const struct poly_power *power)
{
	struct sums sums;
	__m512i m[3];

	sums_clear(&sums);
	for (unsigned i = 1; i < 4; i++) {
		limbs_of(row[2 * i], row[2 * i + 1], mark[i], m);
		add_multiple(&sums, m, &power[3 - i]);
	}
	limbs_of(row[0], row[1], mark[0], m);
	for (unsigned i = 0; i < 3; i++)
		m[i] = _mm512_add_epi64(m[i], h[i]);
	add_multiple(&sums, m, &power[3]);
	carry(&sums, h);
}

/* Where the lanes are: from the text's start to the step's first byte, which may be before it. */
struct position {
	__m512i at, len;
	const uint8_t *const *text;
};

static inline void rows_load(const struct position *p, __m512i row[8])
{
	_Alignas(64) int64_t ats[POLY_LANES];

	_mm512_store_si512(ats, p->at);
	for (unsigned i = 0; i < POLY_LANES; i++)
		row[i] = _mm512_loadu_si512(p->text[i] + ats[i]);
}

/* Only what is text; a lane without any in this step stays away from its memory, which may be
 * another's page. */
static inline void rows_load_partly(const struct position *p, __m512i row[8])
{
	__m512i none = _mm512_setzero_si512(), ones = all(~(uint64_t)0);
	__m512i before = _mm512_max_epi64(_mm512_sub_epi64(none, p->at), none);
	__m512i left = _mm512_max_epi64(_mm512_sub_epi64(p->len, p->at), none);
	__m512i mask =
		_mm512_andnot_si512(_mm512_sllv_epi64(ones, left), _mm512_sllv_epi64(ones, before));
	__m512i at = _mm512_maskz_mov_epi64(_mm512_test_epi64_mask(mask, mask), p->at);
	_Alignas(64) uint64_t masks[POLY_LANES];
	_Alignas(64) int64_t ats[POLY_LANES];

	_mm512_store_si512(masks, mask);
	_mm512_store_si512(ats, at);
	for (unsigned i = 0; i < POLY_LANES; i++)
		row[i] = _mm512_maskz_loadu_epi8(
			masks[i], (const void *)((uintptr_t)p->text[i] + (uintptr_t)ats[i]));
}

static inline void marks_set(__m512i at, __m512i mark[4])
{
	for (int i = 0; i < 4; i++)
		mark[i] = _mm512_maskz_mov_epi64(
			_mm512_cmpge_epi64_mask(at, _mm512_set1_epi64(-16 * i)), all(MARK));
}

/* Modulo 2^130 - 5, plus the key's second half, modulo 2^128. */
static inline void finish(__m512i h[3], const __m512i key[4], __m512i tag[2])
{
	__m512i c, g[3], lo, hi;

	c = _mm512_srli_epi64(h[1], 44);
	h[1] = _mm512_and_si512(h[1], all(BITS_44));
	h[2] = _mm512_add_epi64(h[2], c);
	c = _mm512_srli_epi64(h[2], 42);
	h[2] = _mm512_and_si512(h[2], all(BITS_42));
	h[0] = _mm512_add_epi64(h[0], _mm512_add_epi64(c, _mm512_slli_epi64(c, 2)));
	c = _mm512_srli_epi64(h[0], 44);
	h[0] = _mm512_and_si512(h[0], all(BITS_44));
	h[1] = _mm512_add_epi64(h[1], c);
	c = _mm512_srli_epi64(h[1], 44);
	h[1] = _mm512_and_si512(h[1], all(BITS_44));
	h[2] = _mm512_add_epi64(h[2], c);

	/* h + 5 reaches 2^130 when h reaches the modulus. */
	g[0] = _mm512_add_epi64(h[0], all(5));
	g[1] = _mm512_add_epi64(h[1], _mm512_srli_epi64(g[0], 44));
	g[2] = _mm512_add_epi64(h[2], _mm512_srli_epi64(g[1], 44));
	__mmask8 above = _mm512_cmpgt_epu64_mask(g[2], all(BITS_42));
	h[0] = _mm512_mask_and_epi64(h[0], above, g[0], all(BITS_44));
	h[1] = _mm512_mask_and_epi64(h[1], above, g[1], all(BITS_44));
	h[2] = _mm512_mask_mov_epi64(h[2], above, g[2]);

	lo = _mm512_or_si512(h[0], _mm512_slli_epi64(h[1], 44));
	hi = _mm512_or_si512(_mm512_srli_epi64(h[1], 20), _mm512_slli_epi64(h[2], 24));
	tag[0] = _mm512_add_epi64(lo, key[2]);
	tag[1] = _mm512_add_epi64(hi, key[3]);
	tag[1] = _mm512_mask_add_epi64(tag[1], _mm512_cmplt_epu64_mask(tag[0], lo), tag[1], all(1));
}

void aead_avx512_poly(const struct poly_lanes *lanes, struct poly_secrets *secrets, __m512i tag[2])
{
	struct position p;
	__m512i h[3], row[8], mark[4], key[4];
	__m512i blocks; /* with the block of lengths */
	size_t steps;

	powers_make(secrets, lanes->keys);
	for (unsigned i = 0; i < 3; i++)
		h[i] = _mm512_setzero_si512();
	p.text = lanes->text;
	p.len = _mm512_cvtepu32_epi64(_mm256_loadu_si256((const __m256i *)lanes->len));
	blocks = _mm512_srli_epi64(_mm512_add_epi64(p.len, all(31)), 4);
	steps = ((size_t)_mm512_reduce_max_epu64(blocks) + 3) / 4;
	p.at = _mm512_sub_epi64(_mm512_slli_epi64(blocks, 4), all(64 * steps));

	for (; steps > 1; steps--) {
		if (_mm512_movepi64_mask(p.at) != 0) {
			marks_set(p.at, mark);
			rows_load_partly(&p, row);
		} else {
			mark[0] = mark[1] = mark[2] = mark[3] = all(MARK);
			rows_load(&p, row);
		}
		turn(row);
		step(h, row, mark, secrets->power);
		p.at = _mm512_add_epi64(p.at, all(64));
	}
	marks_set(p.at, mark);
	mark[3] = all(MARK);
	rows_load_partly(&p, row);
	turn(row);
	row[6] = _mm512_setzero_si512();
	row[7] = p.len;
	step(h, row, mark, secrets->power);
	keys_load(lanes->keys, key);
	finish(h, key, tag);
}
