/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "secret.h"

#pragma GCC visibility push(default)

/* ChaCha20-Poly1305 (RFC 8439) for single messages, as handshakes have them; bursts go to aead.h.
 * The nonce is 4 zero bytes and `counter`, little-endian. `dst` is `src` or does not overlap it.
 * Seal writes len + 16 bytes. Open takes the tag in `len` and writes len - 16 bytes: the text, or
 * zeros when it answers false (nothing when len < 16). */
#define CHAPOLY_TAG_LEN 16

void chapoly_seal(uint8_t *dst, const uint8_t *src, size_t len, const uint8_t *aad, size_t aad_len,
	uint64_t counter, const struct symmetric_key *key);
bool chapoly_open(uint8_t *dst, const uint8_t *src, size_t len, const uint8_t *aad, size_t aad_len,
	uint64_t counter, const struct symmetric_key *key) __attribute__((warn_unused_result));

#pragma GCC visibility pop
