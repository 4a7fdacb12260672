/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Poly1305 of 8 packets at once, one in each 64-bit lane, 64 bytes a step. Any thread.
 *
 * Numbers modulo 2^130 - 5 are held in limbs of 44, 44 and 42 bits and multiplied by the 52-bit
 * multiply-add, whose low and high halves are summed apart and put together once a step.
 *
 * The lanes end together, each at the last 16-byte block of its text. One that is shorter starts
 * later: until then its blocks are zero, without the bit that marks a block, and leave its sum at
 * zero. So lengths may differ within the eight and no lane needs a branch of its own. The block of
 * lengths comes last, and alone.
 *
 * Four blocks a step take the powers of r up to the fourth. For few steps these are not worth their
 * while, and each block is multiplied by r.
 *
 * The inner loop loads whole blocks. Where that would read what is not text (before a text, after
 * it), the step's bytes are first copied to a stage.
 */
#include <string.h>

#include "aead_avx512.h"

#define BITS_44 (((uint64_t)1 << 44) - 1)
#define BITS_42 (((uint64_t)1 << 42) - 1)
#define MARK ((uint64_t)1 << 40) /* 2^128 in the top limb */
#define FEW_STEPS 2

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
	add_product(sums, 0, h[1], p->s[1]);
	add_product(sums, 1, h[1], p->r[0]);
	add_product(sums, 2, h[1], p->r[1]);
	add_product(sums, 0, h[2], p->s[0]);
	add_product(sums, 1, h[2], p->s[1]);
	add_product(sums, 2, h[2], p->r[0]);
}

static inline void sums_clear(struct sums *sums)
{
	for (unsigned i = 0; i < 3; i++)
		sums->lo[i] = sums->hi[i] = _mm512_setzero_si512();
}

/* As CARRY in aead_avx512_poly.S, which says why sums of four blocks fit. */
static inline void carry(struct sums *sums, __m512i h[3])
{
	__m512i c;

	sums->lo[0] = _mm512_madd52lo_epu64(sums->lo[0], sums->hi[2], all(5120));
	sums->lo[1] = _mm512_madd52lo_epu64(sums->lo[1], sums->hi[0], all(256));
	sums->lo[2] = _mm512_madd52lo_epu64(sums->lo[2], sums->hi[1], all(256));
	sums->lo[1] = _mm512_add_epi64(sums->lo[1], _mm512_srli_epi64(sums->lo[0], 44));
	sums->lo[2] = _mm512_add_epi64(sums->lo[2], _mm512_srli_epi64(sums->lo[1], 44));
	c = _mm512_srli_epi64(sums->lo[2], 42);
	h[0] = _mm512_madd52lo_epu64(_mm512_and_si512(sums->lo[0], all(BITS_44)), c, all(5));
	h[1] = _mm512_and_si512(sums->lo[1], all(BITS_44));
	h[2] = _mm512_and_si512(sums->lo[2], all(BITS_42));
}

static inline void power_set(struct poly_power *p, const __m512i h[3])
{
	for (unsigned i = 0; i < 3; i++)
		p->r[i] = h[i];
	for (unsigned i = 0; i < 2; i++)
		p->s[i] = _mm512_madd52lo_epu64(_mm512_setzero_si512(), h[i + 1], all(20));
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

/* Rows of 4 words: row i of packets i, i + 2 (first four lanes) and i + 4, i + 6. */
static inline __m512i key_pair(const uint8_t *a, const uint8_t *b)
{
	return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)a)),
		_mm256_loadu_si256((const __m256i *)b), 1);
}

void aead_avx512_poly_keys(struct poly_state *state, const uint8_t (*keys)[COLUMN])
{
	__m512i a = key_pair(keys[0], keys[2]), b = key_pair(keys[1], keys[3]);
	__m512i c = key_pair(keys[4], keys[6]), d = key_pair(keys[5], keys[7]);
	__m512i ab0 = _mm512_unpacklo_epi64(a, b), ab1 = _mm512_unpackhi_epi64(a, b);
	__m512i cd0 = _mm512_unpacklo_epi64(c, d), cd1 = _mm512_unpackhi_epi64(c, d);

	state->key[0] = _mm512_shuffle_i64x2(ab0, cd0, 0x88);
	state->key[1] = _mm512_shuffle_i64x2(ab1, cd1, 0x88);
	state->key[2] = _mm512_shuffle_i64x2(ab0, cd0, 0xdd);
	state->key[3] = _mm512_shuffle_i64x2(ab1, cd1, 0xdd);
}

static inline void powers_make(struct poly_state *state, bool few)
{
	struct poly_power *power = state->power;
	__m512i lo = _mm512_and_si512(state->key[0], all(0x0ffffffc0fffffff));
	__m512i hi = _mm512_and_si512(state->key[1], all(0x0ffffffc0ffffffc));
	__m512i r[3] = {
		_mm512_and_si512(lo, all(BITS_44)),
		_mm512_and_si512(_mm512_shrdi_epi64(lo, hi, 44), all(BITS_44)),
		_mm512_srli_epi64(hi, 24),
	};

	power_set(&power[0], r);
	if (few)
		return;
	power_multiply(&power[1], &power[0], &power[0]);
	power_multiply(&power[2], &power[1], &power[0]);
	power_multiply(&power[3], &power[1], &power[1]);
}

/* To each lane the word of its packet. */
static inline __m512i spread(__m512i words, unsigned each)
{
	const __m512i lane = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);

	return _mm512_permutexvar_epi64(_mm512_and_si512(lane, all(POLY_LANES / each - 1)), words);
}

/* Lanes 0 to 8 / each - 1 get the last part of each packet, the next ones the part before it. */
static void parts_set(struct poly_group *group, struct poly_state *state, __m512i *ends)
{
	unsigned packets = POLY_LANES / group->each;
	__m512i lane = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
	__m512i part = _mm512_srlv_epi64(lane, all((uint64_t)__builtin_ctz(packets)));

	group->part = group->steps = (group->steps + group->each - 1) / group->each;
	group->text = spread(group->text, group->each);
	group->len = spread(group->len, group->each);
	*ends = _mm512_sub_epi64(spread(*ends, group->each),
		_mm512_mullo_epi64(part, all(64 * (uint64_t)group->steps)));
	*ends = _mm512_max_epi64(*ends, _mm512_setzero_si512());
	group->len = _mm512_min_epu64(group->len, *ends);
	for (unsigned i = 0; i < 4; i++)
		state->key[i] = spread(state->key[i], group->each);
}

void aead_avx512_poly_start(struct poly_group *group, struct poly_state *state,
	const uint8_t *const *text, const uint32_t *len, unsigned each)
{
	__m512i ends;

	group->text = _mm512_loadu_si512(text);
	group->len = _mm512_cvtepu32_epi64(_mm256_loadu_si256((const __m256i *)len));
	group->len_whole = group->len;
	group->each = each;
	ends = _mm512_and_si512(_mm512_add_epi64(group->len, all(15)), all(~(uint64_t)15));
	group->steps = (unsigned)((_mm512_reduce_max_epu64(ends) + 63) / 64);
	if (each > 1)
		parts_set(group, state, &ends);
	group->at = _mm512_sub_epi64(ends, all(64 * (uint64_t)group->steps));
	group->at_max = _mm512_reduce_max_epi64(group->at);
	group->ragged = _mm512_cmpneq_epi64_mask(ends, group->len) != 0;
	group->few = group->steps <= FEW_STEPS && each == 1;
	powers_make(state, group->few);
	for (unsigned i = 0; i < 3; i++)
		state->h[i] = _mm512_setzero_si512();
}

/* Only what is text; a lane without any in this step stays away from its memory, which may be
 * another's page. */
static void stage_fill(struct poly_group *group)
{
	__m512i none = _mm512_setzero_si512(), ones = all(~(uint64_t)0);
	__m512i before = _mm512_max_epi64(_mm512_sub_epi64(none, group->at), none);
	__m512i left = _mm512_max_epi64(_mm512_sub_epi64(group->len, group->at), none);
	__m512i mask =
		_mm512_andnot_si512(_mm512_sllv_epi64(ones, left), _mm512_sllv_epi64(ones, before));
	__mmask8 some = _mm512_test_epi64_mask(mask, mask);

	_mm512_store_si512(group->mask, mask);
	_mm512_store_si512(group->from, _mm512_mask_add_epi64(all((uintptr_t)aead_avx512_zeros),
						some, group->text, group->at));
	for (unsigned i = 0; i < POLY_LANES; i++) {
		_mm512_store_si512(
			group->stage[i], _mm512_maskz_loadu_epi8(group->mask[i], group->from[i]));
		group->from[i] = group->stage[i];
	}
}

static void marks_set(struct poly_group *group)
{
	for (int i = 0; i < 4; i++)
		group->mark[i] = _mm512_maskz_mov_epi64(
			_mm512_cmpge_epi64_mask(group->at, _mm512_set1_epi64(-16 * i)), all(MARK));
}

/* A step in which not every lane has all of its 64 bytes, or not in whole blocks. */
static void step_partly(struct poly_group *group, struct poly_state *state)
{
	__m512i none = _mm512_setzero_si512();
	__mmask8 absent = _mm512_cmple_epi64_mask(group->at, all(-(uint64_t)64));
	__mmask8 whole = _mm512_cmpge_epi64_mask(group->at, none);
	unsigned skip = group->at_max < 0 ? (unsigned)-group->at_max / 16 : 0;

	/* what is skipped is not loaded, so a lane that has the rest is as good as whole */
	if (skip > 0)
		whole = _mm512_cmpeq_epi64_mask(group->at, all((uint64_t)group->at_max));
	marks_set(group);
	if ((absent | whole) != 0xff || (group->steps == 1 && group->ragged))
		stage_fill(group);
	else
		_mm512_store_si512(
			group->from, _mm512_mask_add_epi64(all((uintptr_t)aead_avx512_zeros), whole,
					     group->text, group->at));
	if (skip > 0)
		aead_avx512_poly_begin(state, group->from, group->mark, skip);
	else
		aead_avx512_poly_steps(state, group->from, group->mark, 1);
}

static inline void move_on(struct poly_group *group, unsigned n)
{
	group->steps -= n;
	group->at_max += 64 * (int64_t)n;
	group->at = _mm512_add_epi64(group->at, all(64 * (uint64_t)n));
}

/* How many of the steps from here on are whole in every lane. */
static unsigned steps_whole(const struct poly_group *group)
{
	if (_mm512_movepi64_mask(group->at) != 0)
		return 0;
	return group->ragged ? group->steps - 1 : group->steps;
}

void aead_avx512_poly_advance(struct poly_group *group, struct poly_state *state, size_t ready)
{
	static const _Alignas(64) uint64_t marks[4][8] = {
		{MARK, MARK, MARK, MARK, MARK, MARK, MARK, MARK},
		{MARK, MARK, MARK, MARK, MARK, MARK, MARK, MARK},
		{MARK, MARK, MARK, MARK, MARK, MARK, MARK, MARK},
		{MARK, MARK, MARK, MARK, MARK, MARK, MARK, MARK},
	};

	while (!group->few && group->steps > 0 && group->at_max + 64 <= (int64_t)ready) {
		uint64_t possible = ((uint64_t)ready - (uint64_t)group->at_max) / 64;
		unsigned n = steps_whole(group);

		if (n > possible)
			n = (unsigned)possible;
		if (n == 0) {
			step_partly(group, state);
			n = 1;
		} else {
			_mm512_store_si512(group->from, _mm512_add_epi64(group->text, group->at));
			aead_avx512_poly_steps(state, group->from, (const __m512i *)marks, n);
		}
		move_on(group, n);
	}
}

/* Modulo 2^130 - 5, then the key's second half is added, modulo 2^128. */
static inline void reduce(__m512i h[3], const __m512i key[4], __m512i tag[2])
{
	__m512i c, g[3], lo, hi;

	c = _mm512_srli_epi64(h[0], 44);
	h[0] = _mm512_and_si512(h[0], all(BITS_44));
	h[1] = _mm512_add_epi64(h[1], c);
	c = _mm512_srli_epi64(h[1], 44);
	h[1] = _mm512_and_si512(h[1], all(BITS_44));
	h[2] = _mm512_add_epi64(h[2], c);
	c = _mm512_srli_epi64(h[2], 42);
	h[2] = _mm512_and_si512(h[2], all(BITS_42));
	h[0] = _mm512_madd52lo_epu64(h[0], c, all(5));

	/* h + 5 reaches 2^130 when h reaches the modulus. */
	g[0] = _mm512_add_epi64(h[0], all(5));
	g[1] = _mm512_add_epi64(h[1], _mm512_srli_epi64(g[0], 44));
	g[2] = _mm512_add_epi64(h[2], _mm512_srli_epi64(g[1], 44));
	__mmask8 above = _mm512_cmpgt_epu64_mask(g[2], all(BITS_42));
	h[0] = _mm512_mask_and_epi64(h[0], above, g[0], all(BITS_44));
	h[1] = _mm512_mask_and_epi64(h[1], above, g[1], all(BITS_44));
	h[2] = _mm512_mask_mov_epi64(h[2], above, g[2]);

	/* h[0] may have one bit too many still: it is added, not or-ed. */
	lo = _mm512_add_epi64(h[0], _mm512_slli_epi64(h[1], 44));
	hi = _mm512_add_epi64(_mm512_srli_epi64(h[1], 20), _mm512_slli_epi64(h[2], 24));
	tag[0] = _mm512_add_epi64(lo, key[2]);
	tag[1] = _mm512_add_epi64(hi, key[3]);
	tag[1] = _mm512_mask_add_epi64(tag[1], _mm512_cmplt_epu64_mask(tag[0], lo), tag[1], all(1));
}

static inline void multiply(__m512i h[3], const struct poly_power *power, __mmask8 lanes)
{
	struct sums sums;
	__m512i product[3];

	sums_clear(&sums);
	add_multiple(&sums, h, power);
	carry(&sums, product);
	for (unsigned i = 0; i < 3; i++)
		h[i] = _mm512_mask_mov_epi64(h[i], lanes, product[i]);
}

/* power[2] = r^(4 n), of power[3], which is r^4 */
static void power_raise(struct poly_state *state, unsigned n)
{
	unsigned bit = 1u << (31 - __builtin_clz(n));

	state->power[2] = state->power[3];
	while ((bit >>= 1) != 0) {
		power_multiply(&state->power[2], &state->power[2], &state->power[2]);
		if (n & bit)
			power_multiply(&state->power[2], &state->power[2], &state->power[3]);
	}
}

/* A part that is followed by k parts of its packet is multiplied by r to the number of their
 * blocks; then the parts are added. */
static void parts_join(struct poly_group *group, struct poly_state *state)
{
	unsigned packets = POLY_LANES / group->each;

	power_raise(state, group->part);
	for (unsigned bit = packets; bit < POLY_LANES; bit *= 2) {
		static const __mmask8 with_bit[] = {[1] = 0xaa, [2] = 0xcc, [4] = 0xf0};

		multiply(state->h, &state->power[2], with_bit[bit]);
		if (bit < POLY_LANES / 2)
			power_multiply(&state->power[2], &state->power[2], &state->power[2]);
	}
	for (unsigned i = 0; i < 3; i++) {
		__m512i h = state->h[i];

		h = _mm512_add_epi64(h, _mm512_alignr_epi64(h, h, 4));
		if (packets < 4)
			h = _mm512_add_epi64(h, _mm512_alignr_epi64(h, h, 2));
		if (packets < 2)
			h = _mm512_add_epi64(h, _mm512_alignr_epi64(h, h, 1));
		state->h[i] = h;
	}
}

/* The block of lengths: AAD, which is empty, and text, which is below 2^24. */
static inline void finish(
	const struct poly_group *group, const struct poly_state *state, __m512i tag[2])
{
	struct sums sums;
	__m512i h[3], words[2];

	h[0] = state->h[0];
	h[1] = _mm512_add_epi64(state->h[1], _mm512_slli_epi64(group->len_whole, 20));
	h[2] = _mm512_add_epi64(state->h[2], all(MARK));
	sums_clear(&sums);
	add_multiple(&sums, h, &state->power[0]);
	carry(&sums, h);
	reduce(h, state->key, words);
	tag[0] = _mm512_unpacklo_epi64(words[0], words[1]);
	tag[1] = _mm512_unpackhi_epi64(words[0], words[1]);
}

/* The next step of n groups, all of them few. */
static void step_short(struct poly_group group[], struct poly_state state[], unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		marks_set(&group[i]);
		if (steps_whole(&group[i]) == 0)
			stage_fill(&group[i]);
		else
			_mm512_store_si512(
				group[i].from, _mm512_add_epi64(group[i].text, group[i].at));
		move_on(&group[i], 1);
	}
	aead_avx512_poly_short(state, group, n);
}

void aead_avx512_poly_finish(
	struct poly_group group[], struct poly_state state[], unsigned n, __m512i tag[][2])
{
	unsigned first = 0;

	for (; first < n && !group[first].few; first++)
		aead_avx512_poly_advance(&group[first], &state[first], SIZE_MAX / 2);
	/* Those with most steps come first. */
	for (unsigned left = first < n ? group[first].steps : 0; left > 0; left--) {
		unsigned end = first;

		while (end < n && group[end].steps == left)
			end++;
		step_short(group + first, state + first, end - first);
	}
	if (group[0].each > 1)
		parts_join(&group[0], &state[0]);
	for (unsigned i = 0; i < n; i++)
		finish(&group[i], &state[i], tag[i]);
}

uint32_t aead_avx512_poly_same(const __m512i tag[2], const __m512i given[2])
{
	uint32_t even = _mm512_cmpeq_epi64_mask(tag[0], given[0]);
	uint32_t odd = _mm512_cmpeq_epi64_mask(tag[1], given[1]);

	return (even & even >> 1 & 0x55) | (odd & odd >> 1 & 0x55) << 1;
}
