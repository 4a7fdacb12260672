/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(default)

/* BLAKE2s (RFC 7693), plain and keyed; outputs of 1 to 32 bytes (the length is part of the hash: 16
 * bytes are not the first half of 32). WireGuard's HASH is 32 bytes, its MAC 16 bytes keyed. */
#define BLAKE2S_OUT_MAX 32
#define BLAKE2S_KEY_MAX 32
#define BLAKE2S_BLOCK_LEN 64

struct blake2s_state {
	uint32_t h[8];
	uint64_t count;                   /* bytes compressed, or about to be */
	uint8_t block[BLAKE2S_BLOCK_LEN]; /* the last block is known only at the end, so it waits */
	size_t used;
	size_t out_len;
};

/* key_len 0: plain; then key may be NULL. `out` may be part of `in`. */
void blake2s(uint8_t *out, size_t out_len, const void *key, size_t key_len, const void *in,
	size_t in_len);

void blake2s_init(struct blake2s_state *state, size_t out_len);
void blake2s_init_key(struct blake2s_state *state, size_t out_len, const void *key, size_t key_len);
void blake2s_update(struct blake2s_state *state, const void *in, size_t in_len);
/* Zeroes the state. */
void blake2s_final(struct blake2s_state *state, uint8_t *out);

#pragma GCC visibility pop
