/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "secret.h"

#pragma GCC visibility push(default)

/* XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha), for cookies. `dst` is `src` or does not overlap it.
 * Seal writes len + 16 bytes. Open takes the tag in `len` and writes len - 16 bytes: the text, or
 * zeros when it answers false (nothing when len < 16). */
#define XCHACHA_TAG_LEN 16
#define XCHACHA_NONCE_LEN 24

void xchacha_seal(uint8_t *dst, const uint8_t *src, size_t len, const uint8_t *aad, size_t aad_len,
	const uint8_t nonce[static 24], const struct symmetric_key *key);
bool xchacha_open(uint8_t *dst, const uint8_t *src, size_t len, const uint8_t *aad, size_t aad_len,
	const uint8_t nonce[static 24], const struct symmetric_key *key)
	__attribute__((warn_unused_result));

#pragma GCC visibility pop
