/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <openssl/core.h>

#define TLS_X25519 "X25519"
#define TLS_X25519_SECURITY_BITS 128

/* X25519 of a provider: key management, and key exchange with such keys. */
extern const OSSL_DISPATCH tls_x25519_key[], tls_x25519_exchange[];
