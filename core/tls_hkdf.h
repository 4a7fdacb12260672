/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The key derivation of TLS 1.3 (RFC 8446, 7.1; RFC 5869). Any thread. */
enum tls_hash { TLS_SHA256, TLS_SHA384, TLS_HASHES };

#define TLS_HASH_MAX 48

struct tls_bytes {
	const uint8_t *at;
	size_t len;
};

size_t tls_hash_len(enum tls_hash hash);
void tls_hash_of_nothing(enum tls_hash hash, uint8_t *out);
/* HKDF-Extract; `out` has room for a hash. False: the salt is longer than a hash's block. */
bool tls_hkdf_extract(enum tls_hash hash, struct tls_bytes salt, struct tls_bytes key, uint8_t *out)
	__attribute__((warn_unused_result));
/* HKDF-Expand-Label; `prefix` is "tls13 ". False: a length is out of bounds. */
bool tls_hkdf_expand_label(enum tls_hash hash, struct tls_bytes secret, struct tls_bytes prefix,
	struct tls_bytes label, struct tls_bytes context, uint8_t *out, size_t len)
	__attribute__((warn_unused_result));
