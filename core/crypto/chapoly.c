/* SPDX-License-Identifier: BSD-3-Clause */
/* Any thread. */
#include "chapoly.h"

#include <endian.h>
#include <string.h>

#include <sodium.h>

#include "start.h"

static void nonce_from_counter(uint8_t nonce[static 12], uint64_t counter)
{
	uint64_t wire = htole64(counter);

	memset(nonce, 0, 4);
	memcpy(nonce + 4, &wire, sizeof(wire));
}

void chapoly_seal(uint8_t *dst, const uint8_t *src, size_t len, const uint8_t *aad, size_t aad_len,
	uint64_t counter, const struct symmetric_key *key)
{
	uint8_t nonce[12];

	crypto_start();
	nonce_from_counter(nonce, counter);
	crypto_aead_chacha20poly1305_ietf_encrypt_detached(
		dst, dst + len, NULL, src, len, aad, aad_len, NULL, nonce, key->bytes);
}

bool chapoly_open(uint8_t *dst, const uint8_t *src, size_t len, const uint8_t *aad, size_t aad_len,
	uint64_t counter, const struct symmetric_key *key)
{
	uint8_t nonce[12];

	if (len < CHAPOLY_TAG_LEN)
		return false;
	len -= CHAPOLY_TAG_LEN;
	crypto_start();
	nonce_from_counter(nonce, counter);
	if (crypto_aead_chacha20poly1305_ietf_decrypt_detached(
		    dst, NULL, src, len, src + len, aad, aad_len, nonce, key->bytes) == 0)
		return true;
	/* Of length 0, dst may be NULL. */
	if (len > 0)
		memset(dst, 0, len);
	return false;
}
