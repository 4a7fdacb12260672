/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * X25519 with AVX-512 IFMA: Montgomery's ladder, two of them side by side. Any thread.
 *
 * A vector register holds one limb of eight field elements: lanes 0 to 3 belong to the first
 * ladder, 4 to 7 to the second. Within a ladder the lanes are x2, z2, x3, z3, so that a step's ten
 * multiplications are three of vectors:
 *
 *	(A, B, C, D)          = (x2 + z2, x2 - z2, x3 + z3, x3 - z3)
 *	(AA, BB, CB, DA)      = (A, B, C, D) * (A, B, B, A)
 *	(x2', z2', x3', t)    = (AA, E, CB + DA, CB - DA) * (BB, AA + a24 E, CB + DA, CB - DA)
 *	(x2', z2', x3', z3')  = (x2', z2', x3', t) * (1, 1, 1, x1)       with E = AA - BB
 *
 * Elements modulo 2^255 - 19 have five limbs of 51 bits and some: below 2^51 + 2^16 after a carry,
 * since a factor of IFMA may have 52 bits. No branch and no address depends on scalar or point.
 */
#include "x25519_avx512.h"

#include <endian.h>
#include <immintrin.h>
#include <string.h>

#include "aead/wipe.h"

#define LIMBS 5
#define LIMB_BITS 51
#define LIMB_MASK ((1ULL << LIMB_BITS) - 1)
#define A24 121665
#define SCALAR_BITS 255
#define STACK_DEPTH 12288

/* Lanes of both ladders. */
#define LANE(n) (0x11 << (n))
#define LADDER(n) (0x0f << (4 * (n)))

#define INLINE static inline __attribute__((always_inline))

struct fe {
	__m512i limb[LIMBS];
};

/* ---- the field ------------------------------------------------------------------------------- */

INLINE __m512i all(uint64_t value)
{
	return _mm512_set1_epi64((long long)value);
}

/* Limbs below 2^63 to limbs below 2^51 + 2^17; to below 2^51 + 2^6 when they were below 2^53. */
INLINE struct fe carry(struct fe a)
{
	__m512i over[LIMBS];
	struct fe r;

	for (int i = 0; i < LIMBS; i++) {
		over[i] = _mm512_srli_epi64(a.limb[i], LIMB_BITS);
		r.limb[i] = _mm512_and_si512(a.limb[i], all(LIMB_MASK));
	}
	r.limb[0] = _mm512_madd52lo_epu64(r.limb[0], over[4], all(19));
	for (int i = 1; i < LIMBS; i++)
		r.limb[i] = _mm512_add_epi64(r.limb[i], over[i - 1]);
	return r;
}

INLINE __m512i times19(__m512i a)
{
	__m512i a3 = _mm512_add_epi64(a, _mm512_slli_epi64(a, 1));

	return _mm512_add_epi64(a3, _mm512_slli_epi64(a, 4));
}

/* Factors below 2^52 in each limb. A product's upper half counts for the next limb, twice, as that
 * is 51 bits up and not 52. */
INLINE struct fe multiply(struct fe a, struct fe b)
{
	__m512i low[2 * LIMBS], high[2 * LIMBS];
	struct fe r;

	for (int k = 0; k < 2 * LIMBS; k++)
		low[k] = high[k] = _mm512_setzero_si512();
#pragma GCC unroll 5
	for (int i = 0; i < LIMBS; i++) {
#pragma GCC unroll 5
		for (int j = 0; j < LIMBS; j++) {
			low[i + j] = _mm512_madd52lo_epu64(low[i + j], a.limb[i], b.limb[j]);
			high[i + j + 1] =
				_mm512_madd52hi_epu64(high[i + j + 1], a.limb[i], b.limb[j]);
		}
	}
	for (int k = 0; k < 2 * LIMBS; k++)
		low[k] = _mm512_add_epi64(low[k], _mm512_slli_epi64(high[k], 1));
	for (int i = 0; i < LIMBS; i++)
		r.limb[i] = _mm512_add_epi64(low[i], times19(low[i + LIMBS]));
	return carry(r);
}

/* 2p - a, not carried, in the lanes of the mask, a in the others. */
INLINE struct fe negate_in(struct fe a, __mmask8 lanes)
{
	for (int i = 0; i < LIMBS; i++)
		a.limb[i] = _mm512_mask_sub_epi64(a.limb[i], lanes,
			all(i == 0 ? 2 * (LIMB_MASK - 18) : 2 * LIMB_MASK), a.limb[i]);
	return a;
}

INLINE struct fe add_in(struct fe a, __mmask8 lanes, struct fe b)
{
	for (int i = 0; i < LIMBS; i++)
		a.limb[i] = _mm512_mask_add_epi64(a.limb[i], lanes, a.limb[i], b.limb[i]);
	return a;
}

/* x2 and z2, x3 and z3 change places. */
INLINE struct fe neighbours(struct fe a)
{
	for (int i = 0; i < LIMBS; i++)
		a.limb[i] = _mm512_permutex_epi64(a.limb[i], 0xb1);
	return a;
}

/* ---- the ladder ------------------------------------------------------------------------------ */

INLINE struct fe swap_points(struct fe a, __mmask8 lanes)
{
	for (int i = 0; i < LIMBS; i++)
		a.limb[i] = _mm512_mask_permutex_epi64(a.limb[i], lanes, a.limb[i], 0x4e);
	return a;
}

/* (A, B, C, D) * (A, B, B, A) */
INLINE struct fe first_products(struct fe v)
{
	struct fe sums = carry(add_in(neighbours(v), 0xff, negate_in(v, LANE(1) | LANE(3)))), other;

	for (int i = 0; i < LIMBS; i++)
		other.limb[i] = _mm512_permutex_epi64(sums.limb[i], 0x14);
	return multiply(sums, other);
}

/* Of (AA, E, CB + DA, CB - DA): (BB, AA + a24 E, CB + DA, CB - DA); `turned` is (BB, AA, DA, CB).
 */
INLINE struct fe second_factor(struct fe t, struct fe turned)
{
	const __m512i a24 = _mm512_maskz_mov_epi64(LANE(1), all(A24));
	__m512i high[LIMBS];
	struct fe r;

	for (int i = 0; i < LIMBS; i++) {
		r.limb[i] = _mm512_mask_mov_epi64(t.limb[i], LANE(0) | LANE(1), turned.limb[i]);
		r.limb[i] = _mm512_madd52lo_epu64(r.limb[i], t.limb[i], a24);
		high[i] = _mm512_madd52hi_epu64(_mm512_setzero_si512(), t.limb[i], a24);
	}
	r.limb[0] = _mm512_madd52lo_epu64(r.limb[0], high[4], all(2 * 19));
	for (int i = 1; i < LIMBS; i++)
		r.limb[i] = _mm512_add_epi64(r.limb[i], _mm512_slli_epi64(high[i - 1], 1));
	return carry(r);
}

INLINE struct fe step(struct fe v, struct fe ones_and_x1)
{
	struct fe products = first_products(v), turned = neighbours(products);
	struct fe t = carry(add_in(
		negate_in(products, LANE(1) | LANE(3)), LANE(1) | LANE(2) | LANE(3), turned));

	return multiply(multiply(t, second_factor(t, turned)), ones_and_x1);
}

static uint64_t bit(const uint8_t scalar[static 32], int n)
{
	return scalar[n / 8] >> (n % 8) & 1;
}

/* Lanes of the ladders whose points change places. */
static __mmask8 swap_mask(uint64_t first, uint64_t second)
{
	return (__mmask8)((LADDER(0) & -first) | (LADDER(1) & -second));
}

static struct fe ladders(
	const struct x25519_pair in[static 2], struct fe start, struct fe ones_and_x1)
{
	uint64_t last[2] = {0, 0};

	for (int n = SCALAR_BITS - 1; n >= 0; n--) {
		uint64_t now[2] = {bit(in[0].scalar, n), bit(in[1].scalar, n)};

		start = swap_points(start, swap_mask(now[0] ^ last[0], now[1] ^ last[1]));
		start = step(start, ones_and_x1);
		last[0] = now[0];
		last[1] = now[1];
	}
	return swap_points(start, swap_mask(last[0], last[1]));
}

/* ---- the quotient at the end ----------------------------------------------------------------- */

static struct fe square_times(struct fe a, unsigned n)
{
	while (n-- > 0)
		a = multiply(a, a);
	return a;
}

static struct fe product(struct fe a, struct fe b)
{
	return multiply(a, b);
}

/* a^(p - 2): 2^255 - 21. The names tell the exponents: e5 is 2^5 - 1. */
static struct fe invert(struct fe a)
{
	struct fe a9 = product(a, square_times(a, 3));
	struct fe a11 = product(a9, square_times(a, 1));
	struct fe e5 = product(a9, square_times(a11, 1));
	struct fe e10 = product(e5, square_times(e5, 5));
	struct fe e20 = product(e10, square_times(e10, 10));
	struct fe e40 = product(e20, square_times(e20, 20));
	struct fe e50 = product(e10, square_times(e40, 10));
	struct fe e100 = product(e50, square_times(e50, 50));
	struct fe e200 = product(e100, square_times(e100, 100));
	struct fe e250 = product(e50, square_times(e200, 50));

	return product(a11, square_times(e250, 5));
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static void limbs_of(uint64_t limb[static LIMBS], const uint8_t bytes[static 32])
{
	uint64_t word[4];

	memcpy(word, bytes, 32);
	for (int i = 0; i < 4; i++)
		word[i] = le64toh(word[i]);
	limb[0] = word[0] & LIMB_MASK;
	limb[1] = (word[0] >> 51 | word[1] << 13) & LIMB_MASK;
	limb[2] = (word[1] >> 38 | word[2] << 26) & LIMB_MASK;
	limb[3] = (word[2] >> 25 | word[3] << 39) & LIMB_MASK;
	limb[4] = word[3] >> 12 & LIMB_MASK; /* without the highest bit */
}

static void carry_round(uint64_t limb[static LIMBS])
{
	for (int i = 0; i < LIMBS; i++) {
		uint64_t over = limb[i] >> LIMB_BITS;

		limb[i] &= LIMB_MASK;
		limb[(i + 1) % LIMBS] += i + 1 < LIMBS ? over : 19 * over;
	}
}

/* The representative below p. */
static void bytes_of(uint8_t bytes[static 32], uint64_t limb[static LIMBS])
{
	uint64_t word[4];

	carry_round(limb);
	carry_round(limb);
	/* 19 more overflow just when the number is p or above */
	limb[0] += 19;
	carry_round(limb);
	limb[0] += LIMB_MASK + 1 - 19;
	for (int i = 1; i < LIMBS; i++)
		limb[i] += LIMB_MASK;
	for (int i = 0; i + 1 < LIMBS; i++) {
		limb[i + 1] += limb[i] >> LIMB_BITS;
		limb[i] &= LIMB_MASK;
	}
	limb[4] &= LIMB_MASK;
	word[0] = limb[0] | limb[1] << 51;
	word[1] = limb[1] >> 13 | limb[2] << 38;
	word[2] = limb[2] >> 26 | limb[3] << 25;
	word[3] = limb[3] >> 39 | limb[4] << 12;
	for (int i = 0; i < 4; i++)
		word[i] = htole64(word[i]);
	memcpy(bytes, word, 32);
}

static __attribute__((noinline)) void compute(
	uint8_t out[static 2][32], const struct x25519_pair in[static 2])
{
	uint64_t x1[2][LIMBS], lanes[LIMBS][8];
	struct x25519_pair clamped[2] = {in[0], in[1]};
	struct fe start, factor, quotient;

	for (int l = 0; l < 2; l++) {
		clamped[l].scalar[0] &= 0xf8;
		clamped[l].scalar[31] = (clamped[l].scalar[31] & 0x7f) | 0x40;
		limbs_of(x1[l], in[l].u);
	}
	for (int i = 0; i < LIMBS; i++) {
		long long one = i == 0, a = (long long)x1[0][i], b = (long long)x1[1][i];

		start.limb[i] = _mm512_setr_epi64(one, 0, a, one, one, 0, b, one);
		factor.limb[i] = _mm512_setr_epi64(one, one, one, a, one, one, one, b);
	}
	start = ladders(clamped, start, factor);
	quotient = product(start, neighbours(invert(start)));
	for (int i = 0; i < LIMBS; i++)
		_mm512_storeu_si512(lanes[i], quotient.limb[i]);
	for (int l = 0; l < 2; l++) {
		uint64_t limb[LIMBS];

		for (int i = 0; i < LIMBS; i++)
			limb[i] = lanes[i][4 * l];
		bytes_of(out[l], limb);
	}
}

/* Whatever the compiler spilled lies below this frame. */
void x25519_avx512(uint8_t out[static 2][32], const struct x25519_pair in[static 2])
{
	compute(out, in);
	wipe_stack(STACK_DEPTH);
	wipe_vectors_avx512();
}
