/* SPDX-License-Identifier: BSD-3-Clause */
/* A build without ipsec-mb, which is for x86-64 alone: nothing here is reached but the question. */
#include "tls_gcm.h"

bool tls_gcm_usable(void)
{
	return false;
}

const char *tls_gcm_why_not(void)
{
	return "built without ipsec-mb";
}

struct gcm_key_data *tls_gcm_key(struct gcm_key_data *old, const uint8_t *bytes)
{
	(void)old, (void)bytes;
	return NULL;
}

void tls_gcm_free(struct gcm_key_data *key)
{
	(void)key;
}

void tls_gcm_seal(const struct gcm_key_data *key, const uint8_t nonce[static TLS_IV_LEN],
	const struct tls_inner *inner, uint8_t *record)
{
	(void)key, (void)nonce, (void)inner, (void)record;
}

bool tls_gcm_open(const struct gcm_key_data *key, const uint8_t nonce[static TLS_IV_LEN],
	const uint8_t *record, size_t len, uint8_t *to)
{
	(void)key, (void)nonce, (void)record, (void)len, (void)to;
	return false;
}
