/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the AVX2 kernel's scheduler (aead_avx2.c) and its steps (aead_avx2_step.c). */
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define CHUNK 64 /* bytes: one block of ChaCha20, four of Poly1305 */
#define LANES 16
#define PAIRS_MAX 10 /* one to each double round */

/* Poly1305 of one packet. ChaCha20 writes the first block of its key stream over it, of which the
 * first half is the one-time key; poly_begin makes the rest of it. */
struct poly {
	_Alignas(64) uint64_t r[2]; /* clamped */
	uint64_t s[2];
	uint64_t h[3];   /* below 2^130 and a bit; the last is small */
	uint64_t r1_5_4; /* r[1] / 4 * 5: what r[1] 2^128 comes to, modulo 2^130 - 5 */
};

_Static_assert(sizeof(struct poly) == CHUNK, "a block of ChaCha20 is written over it");

/* The key's words, each for all lanes. */
struct rows {
	__m256i word[8][2];
};

/* One block of each lane: dst = src ^ key stream; either may be the other. */
struct step {
	_Alignas(32) uint32_t counter[LANES];
	_Alignas(32) uint32_t nonce[2][LANES];
	const struct rows *rows;
	const uint8_t *src[LANES];
	uint8_t *dst[LANES];
	unsigned n_halves; /* of the block: 2, or 1 for what is wanted of one-time keys */
	/* Chunks for Poly1305 on the way, before anything is written to dst: two by two, of
	 * different packets. */
	unsigned n_pairs;
	struct poly *poly[2 * PAIRS_MAX];
	const uint8_t *text[2 * PAIRS_MAX];
};

/* See impls.h. */
extern const uint32_t aead_nonce_head __attribute__((visibility("hidden")));

void aead_avx2_step16(const struct step *step);
/* The first 8 lanes. */
void aead_avx2_step8(const struct step *step);
void aead_avx2_rows(struct rows *rows, const uint8_t *const key[LANES]);

/* The one-time keys are there. */
void aead_avx2_poly_begin(struct poly *poly, unsigned n);
void aead_avx2_poly_update(struct poly *poly, const uint8_t *text, size_t n_blocks);
/* `tail`: what is beyond the last whole chunk of a text of `len` bytes, padded with zeros. The tag
 * is in h[0] and h[1]. */
void aead_avx2_poly_end(struct poly *poly, const uint8_t *tail, uint64_t aad_len, uint64_t len);

#define INLINE static inline __attribute__((always_inline))

typedef unsigned __int128 wide;

INLINE uint64_t load64(const uint8_t *p)
{
	uint64_t word;

	__builtin_memcpy(&word, p, 8);
	return word;
}

/* h = (h + m + 2^128) r. Radix 2^64: three words, reduced but for a few bits above 2^130. */
INLINE void poly_block(uint64_t h[3], const struct poly *poly, uint64_t m0, uint64_t m1)
{
	const uint64_t r0 = poly->r[0], r1 = poly->r[1], r1_5_4 = poly->r1_5_4;
	wide t0 = (wide)h[0] + m0;
	wide t1 = (wide)h[1] + m1 + (uint64_t)(t0 >> 64);
	uint64_t h0 = (uint64_t)t0, h1 = (uint64_t)t1, h2 = h[2] + 1 + (uint64_t)(t1 >> 64);

	t0 = (wide)h0 * r0 + (wide)h1 * r1_5_4;
	t1 = (wide)h0 * r1 + (wide)h1 * r0 + h2 * r1_5_4 + (uint64_t)(t0 >> 64);
	h2 = h2 * r0 + (uint64_t)(t1 >> 64);
	/* What is above 2^130, times 5: h2 is below 2^63. */
	t0 = (wide)(uint64_t)t0 + ((h2 & ~(uint64_t)3) + (h2 >> 2));
	t1 = (wide)(uint64_t)t1 + (uint64_t)(t0 >> 64);
	h[0] = (uint64_t)t0;
	h[1] = (uint64_t)t1;
	h[2] = (h2 & 3) + (uint64_t)(t1 >> 64);
}
