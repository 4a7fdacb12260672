/* SPDX-License-Identifier: BSD-3-Clause */
#include "openssl_aead.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/evp.h>

#define TAG_LEN 16

static void must(int ok, const char *what)
{
	if (ok == 1)
		return;
	fprintf(stderr, "OpenSSL: %s failed\n", what);
	abort();
}

/* The cipher is set once: fetching it costs more than a packet. */
void openssl_aead_init(struct openssl_aead *aead)
{
	const EVP_CIPHER *cipher = EVP_chacha20_poly1305();

	aead->seal = EVP_CIPHER_CTX_new();
	aead->open = EVP_CIPHER_CTX_new();
	must(aead->seal != NULL && aead->open != NULL, "EVP_CIPHER_CTX_new");
	must(EVP_EncryptInit_ex(aead->seal, cipher, NULL, NULL, NULL), "EVP_EncryptInit_ex");
	must(EVP_DecryptInit_ex(aead->open, cipher, NULL, NULL, NULL), "EVP_DecryptInit_ex");
}

void openssl_aead_fini(struct openssl_aead *aead)
{
	EVP_CIPHER_CTX_free(aead->seal);
	EVP_CIPHER_CTX_free(aead->open);
}

void openssl_seal(struct openssl_aead *aead, uint8_t *dst, const struct openssl_message *message)
{
	EVP_CIPHER_CTX *ctx = aead->seal;
	int n;

	must(EVP_EncryptInit_ex(ctx, NULL, NULL, message->key, message->nonce), "seal: init");
	if (message->aad_len > 0)
		must(EVP_EncryptUpdate(ctx, NULL, &n, message->aad, (int)message->aad_len),
			"seal: aad");
	if (message->len > 0)
		must(EVP_EncryptUpdate(ctx, dst, &n, message->src, (int)message->len),
			"seal: text");
	must(EVP_EncryptFinal_ex(ctx, dst + message->len, &n), "seal: final");
	must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, dst + message->len),
		"seal: tag");
}

bool openssl_open(struct openssl_aead *aead, uint8_t *dst, const struct openssl_message *message)
{
	EVP_CIPHER_CTX *ctx = aead->open;
	uint8_t none[1];
	int n;

	if (message->len < TAG_LEN)
		return false;
	size_t len = message->len - TAG_LEN;
	must(EVP_DecryptInit_ex(ctx, NULL, NULL, message->key, message->nonce), "open: init");
	must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, (void *)(message->src + len)),
		"open: tag");
	if (message->aad_len > 0)
		must(EVP_DecryptUpdate(ctx, NULL, &n, message->aad, (int)message->aad_len),
			"open: aad");
	if (len > 0)
		must(EVP_DecryptUpdate(ctx, dst, &n, message->src, (int)len), "open: text");
	return EVP_DecryptFinal_ex(ctx, none, &n) == 1;
}
