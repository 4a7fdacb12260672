/* SPDX-License-Identifier: BSD-3-Clause */
/* Any thread. */
#include "kdf.h"

#include <string.h>

#include "blake2s.h"
#include "secret.h"

void hmac_blake2s(
	uint8_t out[static 32], const void *key, size_t key_len, const void *in, size_t in_len)
{
	uint8_t pad[BLAKE2S_BLOCK_LEN] = {0};
	uint8_t inner[32];
	struct blake2s_state state;

	if (key_len > sizeof(pad))
		blake2s(pad, 32, NULL, 0, key, key_len);
	else if (key_len > 0)
		memcpy(pad, key, key_len);

	for (size_t i = 0; i < sizeof(pad); i++)
		pad[i] ^= 0x36;
	blake2s_init(&state, 32);
	blake2s_update(&state, pad, sizeof(pad));
	blake2s_update(&state, in, in_len);
	blake2s_final(&state, inner);

	for (size_t i = 0; i < sizeof(pad); i++)
		pad[i] ^= 0x36 ^ 0x5c;
	blake2s_init(&state, 32);
	blake2s_update(&state, pad, sizeof(pad));
	blake2s_update(&state, inner, sizeof(inner));
	blake2s_final(&state, out);

	secret_zero(pad, sizeof(pad));
	secret_zero(inner, sizeof(inner));
}

/* Each output is the HMAC of the one before and its number. */
static void expand(uint8_t *const outputs[], unsigned n, const uint8_t ck[static 32],
	const void *in, size_t in_len)
{
	uint8_t t0[32], chain[33];
	size_t chain_len = 0;

	hmac_blake2s(t0, ck, 32, in, in_len);
	for (unsigned i = 0; i < n; i++) {
		chain[chain_len] = (uint8_t)(i + 1);
		hmac_blake2s(chain, t0, 32, chain, chain_len + 1);
		memcpy(outputs[i], chain, 32);
		chain_len = 32;
	}
	secret_zero(t0, sizeof(t0));
	secret_zero(chain, sizeof(chain));
}

void kdf1(uint8_t t1[static 32], const uint8_t ck[static 32], const void *in, size_t in_len)
{
	expand((uint8_t *const[]){t1}, 1, ck, in, in_len);
}

void kdf2(uint8_t t1[static 32], uint8_t t2[static 32], const uint8_t ck[static 32], const void *in,
	size_t in_len)
{
	expand((uint8_t *const[]){t1, t2}, 2, ck, in, in_len);
}

void kdf3(uint8_t t1[static 32], uint8_t t2[static 32], uint8_t t3[static 32],
	const uint8_t ck[static 32], const void *in, size_t in_len)
{
	expand((uint8_t *const[]){t1, t2, t3}, 3, ck, in, in_len);
}
