/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What seals and opens the records of one direction: ipsec-mb's vectors where they are
 * to be had, else OpenSSL. One thread at a time. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tailplane/tls_records.h>

#define TLS_HEADER_LEN 5
#define TLS_TAG_LEN 16
#define TLS_IV_LEN 12
#define TLS_KEY_MAX 32

struct gcm_key_data;

/* Zeroed: none yet. */
struct tls_aead {
	struct gcm_key_data *gcm;
	EVP_CIPHER_CTX *evp;
};

/* The text of a record and, behind it, its content type. */
struct tls_inner {
	const uint8_t *text;
	size_t len;
	uint8_t type;
};

uint8_t tls_aead_key_len(enum tls_suite suite);
/* The first key or the next. False: no memory, or OpenSSL lacks the suite. */
bool tls_aead_key(struct tls_aead *aead, enum tls_suite suite, bool seals, const uint8_t *key);
void tls_aead_free(struct tls_aead *aead);

/* Seals behind the header, which is in `record` already. */
bool tls_aead_seal(struct tls_aead *aead, const uint8_t nonce[static TLS_IV_LEN],
	const struct tls_inner *inner, uint8_t *record);
/* `len`: of the whole record, which has room for header and tag at least. */
bool tls_aead_open(struct tls_aead *aead, const uint8_t nonce[static TLS_IV_LEN],
	const uint8_t *record, size_t len, uint8_t *to);
