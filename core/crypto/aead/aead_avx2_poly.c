/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Poly1305 of the AVX2 kernel where ChaCha20 is not beside it: keys, the last bytes, lengths and
 * tags. One packet at a time; the machine overlaps neighbours by itself. Any thread.
 */
#include <string.h>

#include "aead_avx2.h"

void aead_avx2_poly_begin(struct poly *poly, unsigned n)
{
	for (; n > 0; n--, poly++) {
		poly->r[0] &= 0x0ffffffc0fffffff;
		poly->r[1] &= 0x0ffffffc0ffffffc;
		poly->r1_5_4 = poly->r[1] + (poly->r[1] >> 2);
		poly->h[0] = poly->h[1] = poly->h[2] = 0;
	}
}

void aead_avx2_poly_update(struct poly *poly, const uint8_t *text, size_t n_blocks)
{
	uint64_t h[3] = {poly->h[0], poly->h[1], poly->h[2]};

	for (; n_blocks > 0; n_blocks--, text += 16)
		poly_block(h, poly, load64(text), load64(text + 8));
	memcpy(poly->h, h, sizeof(h));
}

void aead_avx2_poly_end(struct poly *poly, const uint8_t *tail, uint64_t aad_len, uint64_t len)
{
	uint64_t h[3] = {poly->h[0], poly->h[1], poly->h[2]}, carry;
	wide t;

	for (unsigned at = 0; at < len % CHUNK; at += 16)
		poly_block(h, poly, load64(tail + at), load64(tail + at + 8));
	poly_block(h, poly, aad_len, len);
	/* At or above 2^130 - 5: when 5 more would be at or above 2^130. */
	t = (wide)h[0] + 5;
	t = (wide)h[1] + (uint64_t)(t >> 64);
	carry = (h[2] + (uint64_t)(t >> 64)) >> 2;
	t = (wide)h[0] + carry * 5;
	h[0] = (uint64_t)t;
	h[1] += (uint64_t)(t >> 64);
	t = (wide)h[0] + poly->s[0];
	poly->h[0] = (uint64_t)t;
	poly->h[1] = h[1] + poly->s[1] + (uint64_t)(t >> 64);
}
