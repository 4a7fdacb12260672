/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "aead.h"

/* What every nonce begins with: zeros. A symbol, not a constant in each kernel, so that a test can
 * put another in its place and send published vectors, whose nonces are any, through the same
 * machine code (test_aead_vectors.c). */
extern const uint32_t aead_nonce_head __attribute__((visibility("hidden")));

/* What each file of this folder offers to the table in aead.c. */
extern const struct aead_impl aead_portable;

#if defined(__x86_64__)
extern const struct aead_impl aead_avx2;
extern const struct aead_impl aead_avx512, aead_avx512_1x16;

void aead_avx2_seal(struct aead_item *items, unsigned n);
void aead_avx2_open(struct aead_item *items, unsigned n);

void aead_avx512_seal(struct aead_item *items, unsigned n);
void aead_avx512_open(struct aead_item *items, unsigned n);
void aead_avx512_1x16_seal(struct aead_item *items, unsigned n);
void aead_avx512_1x16_open(struct aead_item *items, unsigned n);
/* What aead_avx512 does: set by its usable(), so before the first burst. */
extern bool aead_avx512_one_state;
#endif
