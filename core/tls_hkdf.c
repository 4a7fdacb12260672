/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * HMAC over OpenSSL's hashes by their own functions, on the stack: by way of EVP the frame around
 * two blocks costs several times the blocks.
 */
#define OPENSSL_SUPPRESS_DEPRECATED /* OpenSSL 3 has no other way to a hash without EVP */
#include "tls_hkdf.h"

#include <openssl/sha.h>
#include <string.h>

#include "secret.h"

#define BLOCK_MAX SHA512_CBLOCK
#define LABEL_MAX 255
#define INFO_MAX (2 + 1 + LABEL_MAX + 1 + LABEL_MAX)

struct hashing {
	enum tls_hash hash;
	union {
		SHA256_CTX sha256;
		SHA512_CTX sha384;
	};
};

struct hmac {
	struct hashing inner;
	uint8_t pad[BLOCK_MAX];
};

static const struct {
	uint8_t len, block;
} sizes[TLS_HASHES] = {
	[TLS_SHA256] = {SHA256_DIGEST_LENGTH, SHA256_CBLOCK},
	[TLS_SHA384] = {SHA384_DIGEST_LENGTH, SHA512_CBLOCK},
};

size_t tls_hash_len(enum tls_hash hash)
{
	return sizes[hash].len;
}

/* ---- HMAC (RFC 2104) ---- */

static void hash_begin(struct hashing *h, enum tls_hash hash)
{
	h->hash = hash;
	if (hash == TLS_SHA256)
		SHA256_Init(&h->sha256);
	else
		SHA384_Init(&h->sha384);
}

static void hash_add(struct hashing *h, const void *bytes, size_t len)
{
	if (h->hash == TLS_SHA256)
		SHA256_Update(&h->sha256, bytes, len);
	else
		SHA384_Update(&h->sha384, bytes, len);
}

static void hash_end(struct hashing *h, uint8_t *out)
{
	if (h->hash == TLS_SHA256)
		SHA256_Final(out, &h->sha256);
	else
		SHA384_Final(out, &h->sha384);
}

void tls_hash_of_nothing(enum tls_hash hash, uint8_t *out)
{
	struct hashing h;

	hash_begin(&h, hash);
	hash_end(&h, out);
}

/* The key is not longer than a block. */
static void hmac_begin(struct hmac *hmac, enum tls_hash hash, struct tls_bytes key)
{
	memset(hmac->pad, 0, sizeof(hmac->pad));
	if (key.len)
		memcpy(hmac->pad, key.at, key.len);
	for (unsigned i = 0; i < sizes[hash].block; i++)
		hmac->pad[i] ^= 0x36;
	hash_begin(&hmac->inner, hash);
	hash_add(&hmac->inner, hmac->pad, sizes[hash].block);
}

static void hmac_end(struct hmac *hmac, uint8_t *out)
{
	enum tls_hash hash = hmac->inner.hash;
	uint8_t inner[TLS_HASH_MAX];

	hash_end(&hmac->inner, inner);
	for (unsigned i = 0; i < sizes[hash].block; i++)
		hmac->pad[i] ^= 0x36 ^ 0x5c;
	hash_begin(&hmac->inner, hash);
	hash_add(&hmac->inner, hmac->pad, sizes[hash].block);
	hash_add(&hmac->inner, inner, sizes[hash].len);
	hash_end(&hmac->inner, out);
	secret_zero(inner, sizeof(inner));
	secret_zero(hmac, sizeof(*hmac));
}

/* ---- HKDF ---- */

bool tls_hkdf_extract(enum tls_hash hash, struct tls_bytes salt, struct tls_bytes key, uint8_t *out)
{
	struct hmac hmac;

	if (salt.len > sizes[hash].block)
		return false;
	hmac_begin(&hmac, hash, salt);
	hash_add(&hmac.inner, key.at, key.len);
	hmac_end(&hmac, out);
	return true;
}

static void expand(enum tls_hash hash, struct tls_bytes secret, struct tls_bytes info, uint8_t *out,
	size_t len)
{
	uint8_t block[TLS_HASH_MAX];
	size_t n = 0;

	for (uint8_t i = 1; len; i++) {
		struct hmac hmac;

		hmac_begin(&hmac, hash, secret);
		hash_add(&hmac.inner, block, n); /* the one before */
		hash_add(&hmac.inner, info.at, info.len);
		hash_add(&hmac.inner, &i, 1);
		hmac_end(&hmac, block);
		n = sizes[hash].len;
		memcpy(out, block, len < n ? len : n);
		out += len < n ? len : n;
		len -= len < n ? len : n;
	}
	secret_zero(block, sizeof(block));
}

static uint8_t *put(uint8_t *to, struct tls_bytes bytes)
{
	if (bytes.len)
		memcpy(to, bytes.at, bytes.len);
	return to + bytes.len;
}

bool tls_hkdf_expand_label(enum tls_hash hash, struct tls_bytes secret, struct tls_bytes prefix,
	struct tls_bytes label, struct tls_bytes context, uint8_t *out, size_t len)
{
	uint8_t info[INFO_MAX], *at = info;

	if (secret.len > sizes[hash].block || prefix.len + label.len > LABEL_MAX ||
		context.len > LABEL_MAX || len > 255 * (size_t)sizes[hash].len)
		return false;
	*at++ = (uint8_t)(len >> 8);
	*at++ = (uint8_t)len;
	*at++ = (uint8_t)(prefix.len + label.len);
	at = put(put(at, prefix), label);
	*at++ = (uint8_t)context.len;
	at = put(at, context);
	expand(hash, secret, (struct tls_bytes){info, (size_t)(at - info)}, out, len);
	return true;
}
