/* SPDX-License-Identifier: BSD-3-Clause */
#include "secret_burst.h"

#include <string.h>

#include <sodium.h>

#include "prng.h"

const struct secret_kind secret_kinds[N_SECRET_KINDS] = {
	{"one small", 1, 40, 40, false},
	{"one large", 1, 620, 620, false},
	{"alike", 35, 64, 64, false},
	{"alike, larger", 17, 140, 140, false},
	{"mixed", 19, 0, 200, false},
	{"mixed, with AAD", 5, 0, 100, true},
};

static void seal_in_place(struct secret_burst *burst, unsigned i, uint32_t len, bool damaged)
{
	const struct aead_item *item = &burst->items[i];
	uint8_t nonce[12] = {0};

	memcpy(nonce + 4, item->nonce, 8);
	crypto_aead_chacha20poly1305_ietf_encrypt(item->dst, NULL, item->dst, len, item->aad,
		item->aad_len, NULL, nonce, item->key->bytes);
	if (damaged)
		item->dst[len] ^= 1;
}

/* The plaintext that gives a ciphertext which is known. */
static void text_fill(const struct aead_item *item, struct prng *known, uint32_t len)
{
	uint8_t nonce[12] = {0};

	memcpy(nonce + 4, item->nonce, 8);
	prng_fill(known, item->dst, len);
	crypto_stream_chacha20_ietf_xor_ic(item->dst, item->dst, len, nonce, 1, item->key->bytes);
}

void secret_burst_fill(
	struct secret_burst *burst, const struct secret_kind *kind, uint64_t seed, bool opening)
{
	struct prng secret = {seed}, known = {kind->n};

	memset(burst, 0, sizeof(*burst));
	burst->n = kind->n;
	for (unsigned i = 0; i < kind->n; i++) {
		struct aead_item *item = &burst->items[i];
		uint32_t len =
			kind->len_min + prng_below(&known, kind->len_max - kind->len_min + 1);

		prng_fill(&secret, &burst->keys[i], sizeof(burst->keys[i]));
		item->key = &burst->keys[i];
		item->dst = burst->buffers[i] + prng_below(&known, 64);
		prng_fill(&known, item->nonce, sizeof(item->nonce));
		text_fill(item, &known, len);
		if (kind->aad) {
			item->aad = burst->aad;
			item->aad_len = prng_below(&known, sizeof(burst->aad));
		}
		item->src[0] = (struct aead_segment){item->dst, len};
		if (opening) {
			seal_in_place(burst, i, len, i % 5 == 4);
			item->src[0].len += AEAD_TAG_LEN;
		}
	}
}
