/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "tls_part.h"

/* Has what a context's connections tell of themselves remembered: their records are counted, and
 * OpenSSL tells their secrets, or (counted alone) the key schedule of ours does (tls_schedule.c)
 * while the connection is followed. */
void tls_records_listen(SSL_CTX *ctx);
void tls_records_count(SSL_CTX *ctx);
/* tls_records_watch of a context whose connections derive their secrets by our key schedule. */
void tls_records_watch_derived(SSL_CTX *ctx);

/* Whose handshake this thread is at; NULL: none. */
void tls_records_follow(const SSL *tls);
/* A secret was derived here under this label. */
void tls_records_secret(
	const uint8_t *label, size_t label_len, const uint8_t *secret, size_t secret_len);

/* Whether records of ours go on where OpenSSL's connections stop, at either end: of contexts that
 * are listened to, the server's with a certificate. Any thread. */
bool tls_records_go_on(SSL_CTX *server, SSL_CTX *client);
/* Whether records of ours go on in this process. Any thread. */
struct tls_part tls_records_part(void);
