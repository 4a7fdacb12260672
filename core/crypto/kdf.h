/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(default)

/*
 * HMAC-BLAKE2s (RFC 2104) and the key derivation of the WireGuard paper, section 5.4:
 * t0 = HMAC(ck, in), t1 = HMAC(t0, 0x1), t2 = HMAC(t0, t1 || 0x2), t3 = HMAC(t0, t2 || 0x3).
 * Outputs may alias each input, not each other.
 */
void hmac_blake2s(
	uint8_t out[static 32], const void *key, size_t key_len, const void *in, size_t in_len);

void kdf1(uint8_t t1[static 32], const uint8_t ck[static 32], const void *in, size_t in_len);
void kdf2(uint8_t t1[static 32], uint8_t t2[static 32], const uint8_t ck[static 32], const void *in,
	size_t in_len);
void kdf3(uint8_t t1[static 32], uint8_t t2[static 32], uint8_t t3[static 32],
	const uint8_t ck[static 32], const void *in, size_t in_len);

#pragma GCC visibility pop
