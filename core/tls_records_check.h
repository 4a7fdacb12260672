/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>

#include <openssl/ssl.h>

#include "tls_part.h"

/* Has what OpenSSL tells of a context's connections remembered: secrets, and how many records. */
void tls_records_listen(SSL_CTX *ctx);

/* Whether records of ours go on where OpenSSL's connections stop, at either end: of contexts that
 * are listened to, the server's with a certificate. Any thread. */
bool tls_records_go_on(SSL_CTX *server, SSL_CTX *client);
/* Whether records of ours go on in this process. Any thread. */
struct tls_part tls_records_part(void);
