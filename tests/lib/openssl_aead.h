/* SPDX-License-Identifier: BSD-3-Clause */
/* ChaCha20-Poly1305 by OpenSSL: the independent reference for tests, fuzzing and benchmarks. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct evp_cipher_ctx_st;

struct openssl_aead {
	struct evp_cipher_ctx_st *seal, *open;
};

/* End the program when OpenSSL fails. */
void openssl_aead_init(struct openssl_aead *aead);
void openssl_aead_fini(struct openssl_aead *aead);

struct openssl_message {
	const uint8_t *key;   /* 32 bytes */
	const uint8_t *nonce; /* 12 bytes */
	const uint8_t *aad;
	size_t aad_len;
	const uint8_t *src;
	size_t len;
};

/* dst: len + 16 bytes. */
void openssl_seal(struct openssl_aead *aead, uint8_t *dst, const struct openssl_message *message);
/* The message's len includes the tag; dst: len - 16 bytes, unverified text when it answers false.
 */
bool openssl_open(struct openssl_aead *aead, uint8_t *dst, const struct openssl_message *message);
