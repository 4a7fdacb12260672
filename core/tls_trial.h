/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <openssl/ssl.h>

/* A TLS connection whose both ends are here, to find out at start what this OpenSSL does. Any
 * thread. */
struct tls_trial {
	SSL *server, *client;
	BIO *at_server; /* its end of the wire; goes with it */
};

/* Gives the server's context a certificate, good for an hour. */
bool tls_trial_certify(SSL_CTX *server);
/* Shakes hands, in TLS 1.3 by one suite, and has both ends say something. False: that failed. Close
 * it in any case. */
bool tls_trial_open(struct tls_trial *trial, SSL_CTX *server, SSL_CTX *client, const char *suite);
/* One end says a word, and the other hears it. */
bool tls_trial_talk(SSL *from, SSL *to);
void tls_trial_close(struct tls_trial *trial);
