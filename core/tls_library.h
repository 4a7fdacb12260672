/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>

#include <openssl/ssl.h>

#include "tls_part.h"

/* A server's context that is watched (tailplane/tls_records.h), with our part of the handshake if
 * that was found to be right; see tls_library.c. NULL: no memory. Any thread. */
SSL_CTX *tls_library_server(void);
struct tls_part tls_library_x25519(void);
struct tls_part tls_library_schedule(void);

/* OpenSSL with the provider of ours. False: it is not right. */
struct tls_library {
	OSSL_LIB_CTX *ctx;
	OSSL_PROVIDER *ours, *rest;
};
bool tls_library_open(struct tls_library *made);
void tls_library_close(struct tls_library *made);
