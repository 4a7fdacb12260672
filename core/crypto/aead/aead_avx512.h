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

/*
 * Poly1305: 8 packets at a time, a group, one per 64-bit lane. A power of r is in limbs of 44, 44
 * and 42 bits, with 20 times the upper two.
 */
struct poly_power {
	__m512i r[3], s[2];
};

struct poly_state {
	__m512i h[3];
	__m512i key[4];             /* the one-time keys, 8 bytes of each packet a vector */
	struct poly_power power[4]; /* r, r^2, r^3, r^4; those beyond r only for long texts */
};

/* The one-time keys of 32 packets, from counters of 0, to the keys of four states. */
void aead_avx512_chacha32_keys(
	const struct chacha_rows *rows, struct chacha_vars *vars, struct poly_state state[4]);

/* See aead_avx512_poly.S. */
void aead_avx512_poly_steps(struct poly_state *state, const uint8_t *const text[POLY_LANES],
	const __m512i mark[4], size_t n);
void aead_avx512_poly_begin(struct poly_state *state, const uint8_t *const text[POLY_LANES],
	const __m512i mark[4], size_t n);
static_assert(sizeof(struct poly_state) == 1728, "chacha.S: STATE_SIZE");
static_assert(offsetof(struct poly_state, key) == 192, "chacha.S: KEY_PART");
static_assert(offsetof(struct poly_state, power) == 448, "poly.S: POWER");
static_assert(sizeof(struct poly_power) == 320, "poly.S: POWER");

/* Where a group is in its texts. Nothing here is secret. */
struct poly_group {
	__m512i text, len; /* pointers and lengths */
	__m512i at;        /* of the next step; below 0 where the lane has not begun */
	int64_t at_max;    /* of the lane that began first */
	unsigned steps;    /* left */
	bool few, ragged;
	_Alignas(64) const uint8_t *from[POLY_LANES]; /* of one step */
	_Alignas(64) uint64_t mask[POLY_LANES];
	_Alignas(64) __m512i mark[4];
	_Alignas(64) uint8_t stage[POLY_LANES][64];
};

static_assert(offsetof(struct poly_group, from) == 256, "poly.S: GROUP_FROM");
static_assert(offsetof(struct poly_group, mark) == 384, "poly.S: GROUP_MARK");
static_assert(sizeof(struct poly_group) == 1152, "poly.S: GROUP_SIZE");

void aead_avx512_poly_short(struct poly_state state[], struct poly_group group[], size_t n);

/* One-time keys from rows of COLUMN bytes to state->key. */
void aead_avx512_poly_keys(struct poly_state *state, const uint8_t (*keys)[COLUMN]);
/* Texts and lengths of 8 packets, and state->key. */
void aead_avx512_poly_start(struct poly_group *group, struct poly_state *state,
	const uint8_t *const *text, const uint32_t *len);
/* What is worth doing when of each text the first `ready` bytes are ciphertext. */
void aead_avx512_poly_advance(struct poly_group *group, struct poly_state *state, size_t ready);
/* The rest, of n groups in order of length. tag[i]: two vectors of 4 tags, of packets 0, 2, 4, 6
 * and 1, 3, 5, 7 of the group. */
void aead_avx512_poly_finish(
	struct poly_group group[], struct poly_state state[], unsigned n, __m512i tag[][2]);
