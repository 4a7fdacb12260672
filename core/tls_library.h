/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <openssl/ssl.h>

/* A server's context with X25519 of ours beside all that is OpenSSL's own, where that is a gain and
 * was found to be right; see tls_library.c. NULL: no memory. Any thread. */
SSL_CTX *tls_library_server(void);

/* For tests: ours, whether or not it is a gain on this machine. NULL: it is not right. */
OSSL_LIB_CTX *tls_library_with_x25519(void);
