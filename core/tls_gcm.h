/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* AES-128-GCM on vectors (ipsec-mb): of a TLS record, header and content type included. Constant
 * time. Any thread; a key is only read. */
#include "tls_aead.h"

/* False: the machine lacks the instructions (AVX2 and AES at least) or the build the library, and
 * OpenSSL's is as good as any. True first, then what follows. */
bool tls_gcm_usable(void);
/* NULL: it is usable. */
const char *tls_gcm_why_not(void);

/* A key that was there is replaced. NULL: no memory, and the old one is as it was. */
struct gcm_key_data *tls_gcm_key(struct gcm_key_data *old, const uint8_t *bytes);
void tls_gcm_free(struct gcm_key_data *key);

/* As tls_aead_seal and tls_aead_open. */
void tls_gcm_seal(const struct gcm_key_data *key, const uint8_t nonce[static TLS_IV_LEN],
	const struct tls_inner *inner, uint8_t *record);
bool tls_gcm_open(const struct gcm_key_data *key, const uint8_t nonce[static TLS_IV_LEN],
	const uint8_t *record, size_t len, uint8_t *to) __attribute__((warn_unused_result));
