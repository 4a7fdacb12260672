/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * OpenSSL for servers' handshakes, with the provider of ours. Runs on: any thread.
 *
 * It is in a library context of its own: nothing else in the process sees it. It is tried once,
 * against OpenSSL's own: what does not agree is not used.
 */
#include "tls_library.h"

#include <openssl/err.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include <tailplane/log.h>
#include <tailplane/tls_records.h>

#include "tls_provider.h"
#include "tls_records_check.h"
#include "tls_trial.h"
#include "tls_x25519.h"
#include "x25519.h"

#define OURS "?provider=" TLS_PROVIDER
#define KEY_LEN 32

static struct tls_library library; /* its context NULL: OpenSSL's own is used */
static const char *why_not;        /* written once, before `chosen` */
static _Atomic bool chosen;

/* ---- is it right? ---- */

static EVP_PKEY *public_key(OSSL_LIB_CTX *of, const char *properties, const EVP_PKEY *key)
{
	uint8_t bytes[KEY_LEN];
	size_t len = sizeof(bytes);

	if (EVP_PKEY_get_raw_public_key(key, bytes, &len) != 1)
		return NULL;
	return EVP_PKEY_new_raw_public_key_ex(of, TLS_X25519, properties, bytes, len);
}

/* After the pattern of another, as a server makes it. */
static EVP_PKEY *key_like(OSSL_LIB_CTX *of, EVP_PKEY *other)
{
	EVP_PKEY_CTX *making = EVP_PKEY_CTX_new_from_pkey(of, other, OURS);
	EVP_PKEY *key = NULL;

	if (making && EVP_PKEY_keygen_init(making) == 1)
		EVP_PKEY_keygen(making, &key);
	EVP_PKEY_CTX_free(making);
	return key;
}

static bool derive(OSSL_LIB_CTX *of, const char *properties, EVP_PKEY *own, EVP_PKEY *other,
	uint8_t out[static KEY_LEN])
{
	EVP_PKEY_CTX *exchange = EVP_PKEY_CTX_new_from_pkey(of, own, properties);
	size_t len = KEY_LEN;
	bool done = exchange && EVP_PKEY_derive_init(exchange) == 1 &&
		    EVP_PKEY_derive_set_peer(exchange, other) == 1 &&
		    EVP_PKEY_derive(exchange, out, &len) == 1 && len == KEY_LEN;

	EVP_PKEY_CTX_free(exchange);
	return done;
}

static bool is_ours(const EVP_PKEY *key)
{
	const OSSL_PROVIDER *provider = EVP_PKEY_get0_provider(key);

	return provider && strcmp(OSSL_PROVIDER_get0_name(provider), TLS_PROVIDER) == 0;
}

/* Ours with OpenSSL's, and OpenSSL's with ours. */
static bool agrees(OSSL_LIB_CTX *with_ours)
{
	EVP_PKEY *theirs = EVP_PKEY_Q_keygen(NULL, NULL, TLS_X25519);
	EVP_PKEY *pattern = theirs ? public_key(with_ours, OURS, theirs) : NULL;
	EVP_PKEY *ours = pattern ? key_like(with_ours, pattern) : NULL;
	EVP_PKEY *ours_there = ours ? public_key(NULL, NULL, ours) : NULL;
	uint8_t here[KEY_LEN], there[KEY_LEN];
	bool same = ours_there && is_ours(ours) && derive(with_ours, OURS, ours, pattern, here) &&
		    derive(NULL, NULL, theirs, ours_there, there) &&
		    memcmp(here, there, KEY_LEN) == 0;

	EVP_PKEY_free(theirs);
	EVP_PKEY_free(pattern);
	EVP_PKEY_free(ours);
	EVP_PKEY_free(ours_there);
	return same;
}

static SSL_CTX *server_of(OSSL_LIB_CTX *of)
{
	return SSL_CTX_new_ex(of, of ? OURS : NULL, TLS_server_method());
}

static bool shakes_hands_by(SSL_CTX *server, SSL_CTX *client, const char *suite)
{
	struct tls_trial trial;
	bool done = tls_trial_open(&trial, server, client, suite);

	tls_trial_close(&trial);
	return done;
}

/* With either group, as the machine has it, and either hash; and records of ours go on, which
 * have SHA-256 alone. */
static bool shakes_hands(OSSL_LIB_CTX *with_ours, const char *group)
{
	SSL_CTX *server = server_of(with_ours), *client = SSL_CTX_new(TLS_client_method());
	bool done = server && client && SSL_CTX_set1_groups_list(client, group) == 1 &&
		    tls_trial_certify(server);

	if (done) {
		tls_records_count(server);
		tls_records_listen(client);
		done = tls_records_go_on(server, client) &&
		       shakes_hands_by(server, client, "TLS_AES_256_GCM_SHA384");
	}
	SSL_CTX_free(server);
	SSL_CTX_free(client);
	return done;
}

/* ---- once ---- */

bool tls_library_open(struct tls_library *made)
{
	*made = (struct tls_library){OSSL_LIB_CTX_new(), NULL, NULL};
	if (made->ctx && OSSL_PROVIDER_add_builtin(made->ctx, TLS_PROVIDER, tls_provider) == 1) {
		made->ours = OSSL_PROVIDER_load(made->ctx, TLS_PROVIDER);
		made->rest = OSSL_PROVIDER_load(made->ctx, "default");
	}
	if (made->ours && made->rest && (!x25519_pair_costs_one() || agrees(made->ctx)) &&
		shakes_hands(made->ctx, TLS_X25519) && shakes_hands(made->ctx, "P-256"))
		return true;
	tls_library_close(made);
	return false;
}

void tls_library_close(struct tls_library *made)
{
	if (made->ours)
		OSSL_PROVIDER_unload(made->ours);
	if (made->rest)
		OSSL_PROVIDER_unload(made->rest);
	OSSL_LIB_CTX_free(made->ctx);
	made->ctx = NULL;
	ERR_clear_error();
}

static void choose(void)
{
	if (EVP_default_properties_is_fips_enabled(NULL)) {
		why_not = TLS_FIPS; /* who wants its module alone has that */
	} else if (!tls_library_open(&library)) {
		why_not = "it does not take ours";
		log_warnx("%s does not take our part of TLS handshakes: they take longer",
			OpenSSL_version(OPENSSL_VERSION));
	}
	/* release: with the reason, to part */
	atomic_store_explicit(&chosen, true, memory_order_release);
}

static struct tls_part part(void)
{
	/* acquire: choose's release */
	bool known = atomic_load_explicit(&chosen, memory_order_acquire);

	return (struct tls_part){known, known ? why_not : NULL};
}

struct tls_part tls_library_schedule(void)
{
	return part();
}

struct tls_part tls_library_x25519(void)
{
	struct tls_part x25519 = part();

	if (x25519.known && !x25519.why_not && !x25519_pair_costs_one())
		x25519.why_not = "this machine has no AVX-512 IFMA";
	return x25519;
}

SSL_CTX *tls_library_server(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	SSL_CTX *ctx;

	pthread_once(&once, choose);
	ctx = server_of(library.ctx);
	if (ctx && library.ctx)
		tls_records_watch_derived(ctx);
	else if (ctx)
		tls_records_watch(ctx);
	return ctx;
}
