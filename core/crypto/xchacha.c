/* SPDX-License-Identifier: BSD-3-Clause */
/* Any thread. */
#include "xchacha.h"

#include <string.h>

#include <sodium.h>

#include "start.h"

void xchacha_seal(uint8_t *dst, const uint8_t *src, size_t len, const uint8_t *aad, size_t aad_len,
	const uint8_t nonce[static 24], const struct symmetric_key *key)
{
	crypto_start();
	crypto_aead_xchacha20poly1305_ietf_encrypt_detached(
		dst, dst + len, NULL, src, len, aad, aad_len, NULL, nonce, key->bytes);
}

bool xchacha_open(uint8_t *dst, const uint8_t *src, size_t len, const uint8_t *aad, size_t aad_len,
	const uint8_t nonce[static 24], const struct symmetric_key *key)
{
	if (len < XCHACHA_TAG_LEN)
		return false;
	len -= XCHACHA_TAG_LEN;
	crypto_start();
	if (crypto_aead_xchacha20poly1305_ietf_decrypt_detached(
		    dst, NULL, src, len, src + len, aad, aad_len, nonce, key->bytes) == 0)
		return true;
	/* Of length 0, dst may be NULL. */
	if (len > 0)
		memset(dst, 0, len);
	return false;
}
