/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <assert.h>
#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aead.h"

/* What the files of the AVX-512 kernels share. A bunch is what is worked on at once. */
#define BUNCH_MAX 32
#define POLY_LANES 8
#define COLUMN 64 /* bytes of a ChaCha20 block */
#define GROUPS (BUNCH_MAX / POLY_LANES)

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
/* The same with 16 lanes, output later: `last` is where the state goes that is in `raw`. rows,
 * counter and last: of the 16 lanes in question. */
void aead_avx512_piped_begin(const struct chacha_rows *rows, __m512i raw[16],
	const struct chacha_places *last, size_t offset_of_last, const __m512i *counter);
void aead_avx512_piped_next(const struct chacha_rows *rows, __m512i raw[16],
	const struct chacha_places *last, size_t offset_of_last, const __m512i *counter);
void aead_avx512_piped_end(const struct chacha_rows *rows, __m512i raw[16],
	const struct chacha_places *last, size_t offset_of_last, const __m512i *counter);
/* Zeroes the vector registers, those that a callee need not save, and the stack that was used below
 * the caller's by what touches secrets. */
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

/* The one-time keys of 32 packets, from counters of 0, to the keys of four states. Meanwhile four
 * lines of each source, `stride` apart, are fetched to the cache. */
void aead_avx512_chacha32_keys(const struct chacha_rows *rows, struct chacha_vars *vars,
	struct poly_state state[4], const uint8_t *const src[BUNCH_MAX], size_t stride);

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
	__m512i text, len;   /* pointers and lengths of what each lane takes */
	__m512i len_whole;   /* of the packets */
	__m512i at;          /* of the next step; below 0 where the lane has not begun */
	int64_t at_max;      /* of the lane that is furthest in its text */
	unsigned steps;      /* left */
	unsigned each, part; /* lanes of each packet, and steps of each lane when more than one */
	bool few, ragged;
	_Alignas(64) const uint8_t *from[POLY_LANES]; /* of one step */
	_Alignas(64) uint64_t mask[POLY_LANES];
	_Alignas(64) __m512i mark[4];
	_Alignas(64) uint8_t stage[POLY_LANES][64];
};

static_assert(offsetof(struct poly_group, from) == 320, "poly.S: GROUP_FROM");
static_assert(offsetof(struct poly_group, mark) == 448, "poly.S: GROUP_MARK");
static_assert(sizeof(struct poly_group) == 1216, "poly.S: GROUP_SIZE");

void aead_avx512_poly_short(struct poly_state state[], struct poly_group group[], size_t n);

/* One-time keys from rows of COLUMN bytes to state->key. */
void aead_avx512_poly_keys(struct poly_state *state, const uint8_t (*keys)[COLUMN]);
/* Texts and lengths of 8 packets, and state->key. `each` is 1, or 2, 4 or 8 when the first 8 / each
 * are all that there are: then each of them gets so many lanes. */
void aead_avx512_poly_start(struct poly_group *group, struct poly_state *state,
	const uint8_t *const *text, const uint32_t *len, unsigned each);
/* What is worth doing when of each text the first `ready` bytes are ciphertext. */
void aead_avx512_poly_advance(struct poly_group *group, struct poly_state *state, size_t ready);
/* The rest, of n groups in order of length. tag[i]: two vectors of 4 tags, of packets 0, 2, 4, 6
 * and 1, 3, 5, 7 of the group. */
void aead_avx512_poly_finish(
	struct poly_group group[], struct poly_state state[], unsigned n, __m512i tag[][2]);
/* Bit i: the tags of packet i are the same. */
uint32_t aead_avx512_poly_same(const __m512i tag[2], const __m512i given[2]);

/* Lanes are packets in order of length, the longest first. Those beyond n repeat the shortest: they
 * make none of the rest wait for them, and nothing of theirs is kept. Nothing here is secret. */
struct bunch {
	unsigned n, n_groups;
	unsigned n_slots;
	unsigned whole; /* columns that are text to the last byte in each of 32 packets */
	bool permuted;  /* secrets->permuted was used */
	bool piped;     /* one state at a time */
	struct chacha_places packet; /* where the texts begin; mask: all ones */
	_Alignas(64) uint32_t len[BUNCH_MAX];
	_Alignas(64) uint16_t columns[BUNCH_MAX];
	_Alignas(64) uint64_t nonce[BUNCH_MAX];
	_Alignas(64) const uint8_t *key[BUNCH_MAX];
	_Alignas(64) struct aead_item *item[BUNCH_MAX];
	/* Lanes without a block point here, which is written: a masked store to a page that never
	 * was costs hundreds of cycles, even when the mask is empty. */
	_Alignas(64) uint8_t pad[COLUMN];
	__m512i given[GROUPS][2];       /* open: the tags that came */
	struct chacha_places places[2]; /* of one step and, piped, the one before */
	unsigned turn;
	/* piped: where secrets->raw goes; NULL when it is empty */
	const struct chacha_places *last;
	size_t last_offset;
	struct poly_group group[GROUPS];
};

/* Zeroed when the bunch is done, as far as it was used. */
struct secrets {
	struct chacha_vars vars;
	__m512i tag[GROUPS][2];
	struct chacha_rows rows;
	struct chacha_rows permuted;
	__m512i raw[16]; /* piped: a state that is not output yet */
	struct poly_state state[GROUPS];
	_Alignas(64) uint8_t slot[BUNCH_MAX][COLUMN]; /* key stream of a first step */
};

/* All blocks of column 0 (the one-time keys), then of column 1 (the first of the text), and so on:
 * in each, the packets that are still long enough are the first `active`. */
struct cursor {
	unsigned column, packet, active;
};

/* Up to 32 of them: numbers of 16 bits. */
struct blocks {
	__m512i packet, column;
	unsigned n;
};

struct picked {
	unsigned n;
	_Alignas(64) uint32_t len[BUNCH_MAX]; /* of texts */
	_Alignas(64) struct aead_item *item[BUNCH_MAX];
};

extern const uint8_t aead_avx512_zeros[COLUMN];

/* From item i on, up to a bunch of those that are not rare, which are done at once; returns the
 * first item that was not looked at. */
unsigned aead_avx512_pick(
	struct picked *picked, struct aead_item *items, unsigned i, unsigned n, uint32_t tag_len);
void aead_avx512_fill(struct bunch *bunch, const struct picked *picked, uint32_t tag_len);

void aead_avx512_take(const struct bunch *bunch, struct cursor *cursor, struct blocks *blocks);
/* Where the blocks lie, and how much of each is text: nothing in lanes without a block. */
struct chacha_places *aead_avx512_places(struct bunch *bunch, const struct blocks *blocks);
void aead_avx512_rows(const struct bunch *bunch, struct secrets *secrets);
/* Ends in memory not before the next call, or aead_avx512_settle. */
void aead_avx512_step(struct bunch *bunch, struct secrets *secrets, const struct blocks *blocks,
	const struct chacha_places *places);
void aead_avx512_settle(struct bunch *bunch, struct secrets *secrets);
/* The next step, if anything is left. */
bool aead_avx512_next(struct bunch *bunch, struct secrets *secrets, struct cursor *cursor);
/* To one lane's text. */
void aead_avx512_add(
	const struct chacha_places *places, unsigned lane, const uint8_t stream[COLUMN]);
