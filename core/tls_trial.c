/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs on: any thread. */
#include "tls_trial.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <string.h>

#include "tls_records_check.h"

#define TURNS 4 /* a handshake takes two */
#define HOUR 3600

bool tls_trial_certify(SSL_CTX *server)
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	X509 *cert = X509_new();
	bool done = key && cert && X509_gmtime_adj(X509_getm_notBefore(cert), 0) &&
		    X509_gmtime_adj(X509_getm_notAfter(cert), HOUR) &&
		    X509_set_pubkey(cert, key) == 1 && X509_sign(cert, key, EVP_sha256()) > 0 &&
		    SSL_CTX_use_certificate(server, cert) == 1 &&
		    SSL_CTX_use_PrivateKey(server, key) == 1;

	X509_free(cert);
	EVP_PKEY_free(key);
	return done;
}

static bool connect_ends(struct tls_trial *trial)
{
	BIO *at_client;

	if (BIO_new_bio_pair(&trial->at_server, 0, &at_client, 0) != 1)
		return false;
	SSL_set_bio(trial->server, trial->at_server, trial->at_server);
	SSL_set_bio(trial->client, at_client, at_client);
	SSL_set_accept_state(trial->server);
	SSL_set_connect_state(trial->client);
	return true;
}

bool tls_trial_talk(SSL *from, SSL *to)
{
	static const char word[] = "word";
	char heard[sizeof(word)];

	return SSL_write(from, word, sizeof(word)) == sizeof(word) &&
	       SSL_read(to, heard, sizeof(heard)) == sizeof(word) &&
	       memcmp(heard, word, sizeof(word)) == 0;
}

bool tls_trial_open(struct tls_trial *trial, SSL_CTX *server, SSL_CTX *client, const char *suite)
{
	*trial = (struct tls_trial){SSL_new(server), SSL_new(client), NULL};
	if (!trial->server || !trial->client || SSL_set_ciphersuites(trial->client, suite) != 1 ||
		!connect_ends(trial))
		return false;
	for (unsigned i = 0; i < TURNS; i++) {
		SSL_do_handshake(trial->client);
		tls_records_follow(trial->server);
		SSL_do_handshake(trial->server);
		tls_records_follow(NULL);
	}
	ERR_clear_error(); /* that they waited for each other is none */
	return SSL_is_init_finished(trial->client) && SSL_is_init_finished(trial->server) &&
	       tls_trial_talk(trial->client, trial->server) &&
	       tls_trial_talk(trial->server, trial->client);
}

void tls_trial_close(struct tls_trial *trial)
{
	SSL_free(trial->server);
	SSL_free(trial->client);
	ERR_clear_error();
}
