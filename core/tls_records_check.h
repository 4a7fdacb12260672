/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

/* Has what a context's connections tell of themselves remembered: their records are counted, and
 * their secrets told by OpenSSL, or by the key schedule of ours (tls_schedule.c) while the
 * connection is followed. */
void tls_records_listen(SSL_CTX *ctx);
void tls_records_count(SSL_CTX *ctx);

/* Whose handshake this thread is at; NULL: none. */
void tls_records_follow(SSL *tls);
/* A secret was derived here under this label. */
void tls_records_secret(
	const uint8_t *label, size_t label_len, const uint8_t *secret, size_t secret_len);

/* Whether records of ours go on where OpenSSL's connections stop, at either end: of contexts that
 * are listened to, the server's with a certificate. Any thread. */
bool tls_records_go_on(SSL_CTX *server, SSL_CTX *client);
