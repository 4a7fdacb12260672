/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <openssl/core.h>

/* X25519 for OpenSSL 3, by core/crypto: a provider of key management and key exchange, named
 * TLS_X25519_PROVIDER, and of the TLS group of that name; nothing else is in it. */
#define TLS_X25519_PROVIDER "tailplane"

OSSL_provider_init_fn tls_x25519_provider;
