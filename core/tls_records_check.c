/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Does this OpenSSL tell what records of ours need to know? Runs on: any thread.
 *
 * How many records went under a key is nothing that its interface promises: it is counted from what
 * OpenSSL shows of messages. So with any OpenSSL there is, connections in memory are tried once,
 * before the first context is watched.
 */
#include "tls_records_check.h"

#include <openssl/err.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include <tailplane/log.h>
#include <tailplane/tls_records.h>

#include "tls_trial.h"

#define WIRE_MAX 1024

static const uint8_t word[] = "by records of ours";

static bool is_word(const uint8_t *text, ssize_t len)
{
	return len == sizeof(word) && memcmp(text, word, sizeof(word)) == 0;
}

static bool hears(struct tls_records *records, const uint8_t *wire, size_t len)
{
	uint8_t text[WIRE_MAX];
	size_t all = len;

	return is_word(text, tls_records_open(records, wire, &len, text)) && len == all;
}

/* The server's records with OpenSSL's client. */
static bool with_openssl(struct tls_trial *trial, struct tls_records *server)
{
	uint8_t wire[WIRE_MAX], text[WIRE_MAX];
	size_t len = tls_records_seal(server, TLS_TEXT, word, sizeof(word), wire);
	int n;

	if (!len || BIO_write(trial->at_server, wire, (int)len) != (int)len ||
		!is_word(text, SSL_read(trial->client, text, sizeof(text))) ||
		SSL_write(trial->client, word, sizeof(word)) != sizeof(word))
		return false;
	n = BIO_read(trial->at_server, wire, sizeof(wire));
	return n > 0 && hears(server, wire, (size_t)n);
}

static bool among_us(struct tls_records *from, struct tls_records *to)
{
	uint8_t wire[WIRE_MAX];
	size_t len = tls_records_seal(from, TLS_TEXT, word, sizeof(word), wire);

	return len && hears(to, wire, len);
}

static bool go_on(SSL_CTX *server, SSL_CTX *client, const char *suite)
{
	struct tls_trial trial;
	struct tls_records *at_server = NULL, *at_client = NULL;
	bool done = tls_trial_open(&trial, server, client, suite);

	if (done)
		at_server = tls_records_take(trial.server);
	done = at_server && with_openssl(&trial, at_server);
	if (done)
		at_client = tls_records_take(trial.client);
	done = at_client && among_us(at_server, at_client) && among_us(at_client, at_server);
	tls_records_free(at_server);
	tls_records_free(at_client);
	tls_trial_close(&trial);
	return done;
}

bool tls_records_go_on(SSL_CTX *server, SSL_CTX *client)
{
	return go_on(server, client, "TLS_AES_128_GCM_SHA256") &&
	       go_on(server, client, "TLS_CHACHA20_POLY1305_SHA256");
}

static const char *why_not; /* written once, before `checked`; NULL: they are ours */
static _Atomic bool checked;

static bool openssl_tells(void)
{
	SSL_CTX *server = SSL_CTX_new(TLS_server_method());
	SSL_CTX *client = SSL_CTX_new(TLS_client_method());
	bool tells = false;

	if (server && client && tls_trial_certify(server)) {
		tls_records_listen(server);
		tls_records_listen(client);
		tells = tls_records_go_on(server, client);
	}
	SSL_CTX_free(server);
	SSL_CTX_free(client);
	ERR_clear_error();
	return tells;
}

static void check(void)
{
	if (EVP_default_properties_is_fips_enabled(NULL)) {
		why_not = TLS_FIPS; /* who wants its module alone has that */
	} else if (!openssl_tells()) {
		why_not = "it does not tell how many went under a key";
		log_warnx("%s does not tell how many records went under a key: they are left to "
			  "it, and a connection of the relay takes more time and memory",
			OpenSSL_version(OPENSSL_VERSION));
	}
	/* release: with the reason, to tls_records_part */
	atomic_store_explicit(&checked, true, memory_order_release);
}

struct tls_part tls_records_part(void)
{
	/* acquire: check's release */
	bool known = atomic_load_explicit(&checked, memory_order_acquire);

	return (struct tls_part){known, known ? why_not : NULL};
}

static bool tells(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, check);
	return !why_not;
}

void tls_records_watch(SSL_CTX *ctx)
{
	if (tells())
		tls_records_listen(ctx);
}

void tls_records_watch_derived(SSL_CTX *ctx)
{
	if (tells())
		tls_records_count(ctx);
}
