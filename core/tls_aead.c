/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs on: the connection's thread. */
#include "tls_aead.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <pthread.h>

#include "tls_gcm.h"

static const struct {
	const char *name;
	uint8_t key_len;
} suites[TLS_SUITES] = {
	[TLS_AES_128_GCM] = {"AES-128-GCM", 16},
	[TLS_CHACHA20_POLY1305] = {"ChaCha20-Poly1305", 32},
};

/* Found once: to look a cipher up costs as much as to key it. */
static EVP_CIPHER *ciphers[TLS_SUITES];

static void find_ciphers(void)
{
	for (unsigned i = 0; i < TLS_SUITES; i++)
		ciphers[i] = EVP_CIPHER_fetch(NULL, suites[i].name, NULL);
}

uint8_t tls_aead_key_len(enum tls_suite suite)
{
	return suites[suite].key_len;
}

/* ---- keys ---- */

static bool key_openssl(
	struct tls_aead *aead, const EVP_CIPHER *cipher, bool seals, const uint8_t *key)
{
	if (!aead->evp)
		aead->evp = EVP_CIPHER_CTX_new();
	if (cipher && aead->evp &&
		EVP_CipherInit_ex(aead->evp, cipher, NULL, key, NULL, seals) == 1)
		return true;
	ERR_clear_error();
	return false;
}

bool tls_aead_key(struct tls_aead *aead, enum tls_suite suite, bool seals, const uint8_t *key)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, find_ciphers);
	if (suite == TLS_AES_128_GCM && tls_gcm_usable())
		return (aead->gcm = tls_gcm_key(aead->gcm, key));
	return key_openssl(aead, ciphers[suite], seals, key);
}

void tls_aead_free(struct tls_aead *aead)
{
	tls_gcm_free(aead->gcm);
	EVP_CIPHER_CTX_free(aead->evp);
}

/* ---- records ---- */

static bool seal_by_openssl(
	EVP_CIPHER_CTX *evp, const uint8_t *nonce, const struct tls_inner *inner, uint8_t *record)
{
	uint8_t *at = record + TLS_HEADER_LEN;
	int n, rest, last;

	if (EVP_EncryptInit_ex(evp, NULL, NULL, NULL, nonce) == 1 &&
		EVP_EncryptUpdate(evp, NULL, &n, record, TLS_HEADER_LEN) == 1 &&
		EVP_EncryptUpdate(evp, at, &n, inner->text, (int)inner->len) == 1 &&
		EVP_EncryptUpdate(evp, at + n, &rest, &inner->type, 1) == 1 &&
		EVP_EncryptFinal_ex(evp, at + n + rest, &last) == 1 &&
		EVP_CIPHER_CTX_ctrl(
			evp, EVP_CTRL_AEAD_GET_TAG, TLS_TAG_LEN, at + n + rest + last) == 1)
		return true;
	ERR_clear_error();
	return false;
}

bool tls_aead_seal(struct tls_aead *aead, const uint8_t nonce[static TLS_IV_LEN],
	const struct tls_inner *inner, uint8_t *record)
{
	if (!aead->gcm)
		return seal_by_openssl(aead->evp, nonce, inner, record);
	tls_gcm_seal(aead->gcm, nonce, inner, record);
	return true;
}

static bool open_by_openssl(
	EVP_CIPHER_CTX *evp, const uint8_t *nonce, const uint8_t *record, size_t len, uint8_t *to)
{
	const uint8_t *sealed = record + TLS_HEADER_LEN, *tag = record + len - TLS_TAG_LEN;
	int n, last;

	if (EVP_DecryptInit_ex(evp, NULL, NULL, NULL, nonce) == 1 &&
		EVP_DecryptUpdate(evp, NULL, &n, record, TLS_HEADER_LEN) == 1 &&
		EVP_DecryptUpdate(evp, to, &n, sealed, (int)(tag - sealed)) == 1 &&
		EVP_CIPHER_CTX_ctrl(evp, EVP_CTRL_AEAD_SET_TAG, TLS_TAG_LEN, (void *)tag) == 1 &&
		EVP_DecryptFinal_ex(evp, to + n, &last) == 1)
		return true;
	ERR_clear_error();
	return false;
}

bool tls_aead_open(struct tls_aead *aead, const uint8_t nonce[static TLS_IV_LEN],
	const uint8_t *record, size_t len, uint8_t *to)
{
	if (!aead->gcm)
		return open_by_openssl(aead->evp, nonce, record, len, to);
	return tls_gcm_open(aead->gcm, nonce, record, len, to);
}
