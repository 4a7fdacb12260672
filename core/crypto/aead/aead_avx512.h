/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <assert.h>
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "aead.h"

/* What the files of the AVX-512 kernels share. A bunch is what is worked on at once. */
#define BUNCH_MAX 32
#define POLY_LANES 8
#define COLUMN 64 /* bytes of a ChaCha20 block */

/*
 * ChaCha20: 32 blocks at a time, one per lane. Row n of a state is 32 lanes in two vectors. The key
 * and nonce rows change rarely, the counter with each step.
 */
struct chacha_rows {
	__m512i word[10][2]; /* 8 words of key, 2 of nonce */
};

struct chacha_vars {
	__m512i counter[2];
	__m512i spare[2]; /* for what finds no register */
};

/* Lane by lane, what the key stream is added to: masked bytes are not touched. */
struct chacha_places {
	_Alignas(64) const uint8_t *src[BUNCH_MAX];
	uint8_t *dst[BUNCH_MAX];
	uint64_t mask[BUNCH_MAX];
};

static_assert(offsetof(struct chacha_rows, word[1]) == 128, "chacha.S: ROW");
static_assert(offsetof(struct chacha_vars, spare) == 128, "chacha.S: SPARE");
static_assert(offsetof(struct chacha_places, dst) == 256, "chacha.S: DST");
static_assert(offsetof(struct chacha_places, mask) == 512, "chacha.S: MASK");

/* Sources and destinations are `offset` bytes after the places. chacha16: the first 16 lanes. */
void aead_avx512_chacha32(const struct chacha_rows *rows, struct chacha_vars *vars,
	const struct chacha_places *places, size_t offset);
void aead_avx512_chacha16(const struct chacha_rows *rows, struct chacha_vars *vars,
	const struct chacha_places *places, size_t offset);
/* Zeroes the vector registers. */
void aead_avx512_forget(void);

/* Poly1305: 8 packets at a time, one per 64-bit lane. A power of r in limbs of 44, 44 and 42 bits,
 * and 20 times the upper two. */
struct poly_power {
	__m512i r[3], s[3]; /* s[0] is not used */
};

struct poly_secrets {
	struct poly_power power[4]; /* r, r^2, r^3, r^4 */
};

struct poly_lanes {
	const uint8_t *const *text; /* of each of the 8 lanes */
	const uint32_t *len;
	const uint8_t (*keys)[COLUMN]; /* the one-time keys, 32 bytes each */
};

/* tag[0]: the low 8 bytes of each tag, tag[1]: the high ones. */
void aead_avx512_poly(const struct poly_lanes *lanes, struct poly_secrets *secrets, __m512i tag[2]);
