/* SPDX-License-Identifier: BSD-3-Clause */
/* What is ours inside OpenSSL: X25519 by published vectors, the key schedule beside OpenSSL's own,
 * and handshakes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/ssl.h>

#include <tailplane/tls_records.h>

#include "prng.h"
#include "secret.h"
#include "tls_hkdf.h"
#include "tls_library.h"
#include "tls_records_check.h"
#include "tls_trial.h"
#include "vectors.h"
#include "x25519.h"

#define OURS "?provider=tailplane"
#define AES_128 "TLS_AES_128_GCM_SHA256"

/* ---- what the provider calls ---- */

static const uint8_t *next_key; /* that is generated; NULL: a random one */
static unsigned pairs, publics, shareds;

void __real_x25519_generate(struct private_key *key);
void __wrap_x25519_generate(struct private_key *key);
void __real_x25519_public(struct public_key *public, const struct private_key *private);
void __wrap_x25519_public(struct public_key *public, const struct private_key *private);
bool __real_x25519_shared(
	uint8_t out[32], const struct private_key *private, const struct public_key *public);
bool __wrap_x25519_shared(
	uint8_t out[32], const struct private_key *private, const struct public_key *public);
bool __real_x25519_shared_pair(uint8_t out[2][32], const struct x25519_input in[2]);
bool __wrap_x25519_shared_pair(uint8_t out[2][32], const struct x25519_input in[2]);
bool __wrap_x25519_pair_costs_one(void);

void __wrap_x25519_generate(struct private_key *key)
{
	if (next_key)
		memcpy(key->bytes, next_key, 32);
	else
		__real_x25519_generate(key);
}

void __wrap_x25519_public(struct public_key *public, const struct private_key *private)
{
	publics++;
	__real_x25519_public(public, private);
}

bool __wrap_x25519_shared(
	uint8_t out[32], const struct private_key *private, const struct public_key *public)
{
	shareds++;
	return __real_x25519_shared(out, private, public);
}

bool __wrap_x25519_shared_pair(uint8_t out[2][32], const struct x25519_input in[2])
{
	pairs++;
	return __real_x25519_shared_pair(out, in);
}

/* On any machine. */
bool __wrap_x25519_pair_costs_one(void)
{
	return true;
}

static struct tls_library opened;
static OSSL_LIB_CTX *library;

static int open_library(void **state)
{
	(void)state;
	if (!tls_library_open(&opened))
		return -1;
	library = opened.ctx;
	return 0;
}

static int close_library(void **state)
{
	(void)state;
	tls_library_close(&opened);
	return 0;
}

/* ---- vectors ---- */

static bool derive(EVP_PKEY *own, EVP_PKEY *other, uint8_t out[32])
{
	EVP_PKEY_CTX *exchange = EVP_PKEY_CTX_new_from_pkey(library, own, OURS);
	size_t len = 32;
	bool good;

	assert_int_equal(EVP_PKEY_derive_init(exchange), 1);
	assert_int_equal(EVP_PKEY_derive_set_peer(exchange, other), 1);
	good = EVP_PKEY_derive(exchange, out, &len) == 1;
	EVP_PKEY_CTX_free(exchange);
	ERR_clear_error();
	return good;
}

/* A new key after the pattern of another, as a server makes it. */
static EVP_PKEY *key_like(EVP_PKEY *other)
{
	EVP_PKEY_CTX *making = EVP_PKEY_CTX_new_from_pkey(library, other, OURS);
	EVP_PKEY *key = NULL;

	assert_int_equal(EVP_PKEY_keygen_init(making), 1);
	assert_int_equal(EVP_PKEY_keygen(making, &key), 1);
	EVP_PKEY_CTX_free(making);
	return key;
}

static void expect_public(EVP_PKEY *key, const struct private_key *private)
{
	struct public_key expected, public;
	size_t len = 32;

	__real_x25519_public(&expected, private);
	assert_int_equal(EVP_PKEY_get_raw_public_key(key, public.bytes, &len), 1);
	assert_memory_equal(&public, &expected, 32);
}

/* Both ways to a secret: a key that was read, and one that was made for this other key. */
static void both_ways(
	const struct private_key *private, const uint8_t public[32], const uint8_t expected[32])
{
	EVP_PKEY *other = EVP_PKEY_new_raw_public_key_ex(library, "X25519", OURS, public, 32);
	EVP_PKEY *read =
		EVP_PKEY_new_raw_private_key_ex(library, "X25519", OURS, private->bytes, 32);
	bool good = !secret_is_zero(expected, 32);
	EVP_PKEY *made;
	uint8_t out[32];

	next_key = private->bytes;
	made = key_like(other);
	next_key = NULL;
	expect_public(made, private);
	expect_public(read, private);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(derive(i ? made : read, other, out), good);
		if (good)
			assert_memory_equal(out, expected, 32);
	}
	EVP_PKEY_free(other);
	EVP_PKEY_free(read);
	EVP_PKEY_free(made);
}

static void wycheproof(void **state)
{
	json_t *file = wycheproof_load("x25519_test.json");
	const json_t *group, *vector;
	size_t i, j, n = 0, refused = 0;

	(void)state;
	json_array_foreach (json_object_get(file, "testGroups"), i, group) {
		json_array_foreach (json_object_get(group, "tests"), j, vector) {
			struct private_key private;
			uint8_t public[32], expected[32];

			vector_bytes(vector, "private", private.bytes, 32);
			vector_bytes(vector, "public", public, 32);
			vector_bytes(vector, "shared", expected, 32);
			both_ways(&private, public, expected);
			n++;
			refused += secret_is_zero(expected, 32);
		}
	}
	assert_true(n >= 500 && refused >= 30);
	json_decref(file);
}

/* The secret that waits in a key is only for the key that it was made for. */
static void another_key_than_the_pattern(void **state)
{
	EVP_PKEY *pattern = EVP_PKEY_Q_keygen(library, OURS, "X25519");
	EVP_PKEY *another = EVP_PKEY_Q_keygen(library, OURS, "X25519"), *made = key_like(pattern);
	uint8_t here[32], there[32], before[32];

	(void)state;
	assert_true(derive(made, pattern, before));
	assert_true(derive(made, another, here));
	assert_true(derive(another, made, there));
	assert_memory_equal(here, there, 32);
	assert_memory_not_equal(here, before, 32);
	EVP_PKEY_free(pattern);
	EVP_PKEY_free(another);
	EVP_PKEY_free(made);
}

/* ---- the key schedule ---- */

struct derivation {
	int mode;
	const char *hash;
	uint8_t bytes[4][200]; /* key, salt, label, context */
	size_t lens[4];
	bool has[4];
	size_t out;
};

static bool schedule(
	OSSL_LIB_CTX *of, const char *properties, struct derivation *d, uint8_t out[static 600])
{
	static const char *const names[] = {
		OSSL_KDF_PARAM_KEY, OSSL_KDF_PARAM_SALT, OSSL_KDF_PARAM_LABEL, OSSL_KDF_PARAM_DATA};
	EVP_KDF *kdf = EVP_KDF_fetch(of, "TLS13-KDF", properties);
	EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
	OSSL_PARAM params[8], *at = params;
	char prefix[] = "tls13 ";
	bool done;

	*at++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &d->mode);
	*at++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)d->hash, 0);
	*at++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PREFIX, prefix, 6);
	for (unsigned i = 0; i < 4; i++)
		if (d->has[i])
			*at++ = OSSL_PARAM_construct_octet_string(
				names[i], d->bytes[i], d->lens[i]);
	*at = OSSL_PARAM_construct_end();
	memset(out, 0, 600);
	done = EVP_KDF_derive(ctx, out, d->out, params) == 1;
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	ERR_clear_error();
	return done;
}

static const char *const hashes[] = {"SHA256", "SHA384"};
static const size_t hash_lens[] = {32, 48};

static struct derivation any(struct prng *prng, unsigned i)
{
	size_t hash = hash_lens[i % 2];
	bool extract = i % 3 == 0;
	struct derivation d = {
		.mode = extract ? EVP_KDF_HKDF_MODE_EXTRACT_ONLY : EVP_KDF_HKDF_MODE_EXPAND_ONLY,
		.hash = hashes[i % 2],
		.lens = {extract && i % 5 ? 32 : hash, hash, prng_next(prng) % 30 + 1,
			prng_next(prng) % 65},
		.has = {!extract || i % 4, extract && i % 7, true, !extract && i % 11},
		.out = extract ? hash : prng_next(prng) % 500 + 1,
	};

	for (unsigned k = 0; k < 4; k++)
		prng_fill(prng, d.bytes[k], sizeof(d.bytes[k]));
	return d;
}

static void same_schedule_as_openssl(void **state)
{
	struct prng prng = {5};
	uint8_t ours[600], theirs[600];

	(void)state;
	for (unsigned i = 0; i < 2000; i++) {
		struct derivation d = any(&prng, i);

		assert_true(schedule(NULL, NULL, &d, theirs));
		assert_true(schedule(library, OURS, &d, ours));
		assert_memory_equal(ours, theirs, sizeof(ours));
	}
}

static void bad_derivations(void **state)
{
	struct prng prng = {6};
	uint8_t out[600];

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		struct derivation d = any(&prng, 1);

		assert_true(schedule(library, "provider=tailplane", &d, out));
		if (i == 0)
			d.hash = "SHA512";
		if (i == 1)
			d.mode = EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND;
		if (i == 2)
			d.has[0] = false;
		if (i == 3)
			d.lens[0] = 129; /* more than a block */
		if (i == 4)
			d.mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY; /* d.out is no hash's */
		if (i == 5)
			d.hash = "";
		d.out = 31;
		assert_false(schedule(library, "provider=tailplane", &d, out));
	}
}

/* ---- handshakes ---- */

struct offer {
	const char *groups, *only; /* the client's; what the server has (NULL: all) */
	int version;
	const char *suite;
};

/* Records of ours go on from there: their keys are right, and how many went under them. */
static bool goes_on(struct tls_trial *trial)
{
	struct tls_records *records = tls_records_take(trial->server);
	uint8_t wire[1000], text[sizeof(wire)];
	size_t len;

	if (!records)
		return false;
	len = tls_records_seal(records, TLS_TEXT, (const uint8_t *)"ping", 4, wire);
	assert_int_equal(BIO_write(trial->at_server, wire, (int)len), len);
	assert_int_equal(SSL_read(trial->client, text, sizeof(text)), 4);
	assert_memory_equal(text, "ping", 4);
	assert_int_equal(SSL_write(trial->client, "pong", 4), 4);
	len = (size_t)BIO_read(trial->at_server, wire, sizeof(wire));
	assert_int_equal(tls_records_open(records, wire, &len, text), 4);
	assert_memory_equal(text, "pong", 4);
	tls_records_free(records);
	return true;
}

/* Whether records of ours could go on from there. */
static bool handshake(const struct offer *offer, bool *taken)
{
	SSL_CTX *server = tls_library_server(), *client = SSL_CTX_new(TLS_client_method());
	struct tls_trial trial;
	bool done;

	assert_true(tls_trial_certify(server));
	assert_int_equal(SSL_CTX_set_max_proto_version(server, offer->version), 1);
	assert_int_equal(SSL_CTX_set1_groups_list(client, offer->groups), 1);
	if (offer->only)
		assert_int_equal(SSL_CTX_set1_groups_list(server, offer->only), 1);
	done = tls_trial_open(&trial, server, client, offer->suite);
	*taken = done && goes_on(&trial);
	tls_trial_close(&trial);
	SSL_CTX_free(server);
	SSL_CTX_free(client);
	return done;
}

static void handshakes(void **state)
{
	static const struct {
		struct offer offer;
		bool taken;
		unsigned pairs, publics, shareds;
	} cases[] = {
		{{"X25519", NULL, TLS1_3_VERSION, AES_128}, true, 1, 0, 0},
		{{"X25519:P-256", NULL, TLS1_2_VERSION, AES_128}, false, 0, 1, 1},
		{{"P-256", NULL, TLS1_3_VERSION, AES_128}, true, 0, 0, 0},
		{{"P-256:X25519", NULL, TLS1_3_VERSION, AES_128}, true, 0, 0, 0},
		{{"X25519", NULL, TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384"}, false, 1, 0, 0},
		/* the client has to be asked for another key (HelloRetryRequest) */
		{{"P-521:X25519", "X25519", TLS1_3_VERSION, AES_128}, true, 1, 0, 0},
		{{"X25519:P-384", "P-384", TLS1_3_VERSION, AES_128}, true, 0, 0, 0},
	};
	bool taken;

	(void)state;
	assert_true(handshake(&cases[0].offer, &taken)); /* the library is chosen */
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		pairs = publics = shareds = 0;
		assert_true(handshake(&cases[i].offer, &taken));
		assert_int_equal(taken, cases[i].taken);
		assert_int_equal(pairs, cases[i].pairs);
		assert_int_equal(publics, cases[i].publics);
		assert_int_equal(shareds, cases[i].shareds);
	}
}

/* ---- sessions ---- */

static SSL_SESSION *session_of(SSL_CTX *server, SSL_CTX *client, const char *suite)
{
	struct tls_trial trial;
	SSL_SESSION *session;

	assert_true(tls_trial_open(&trial, server, client, suite));
	SSL_shutdown(trial.client); /* what ends otherwise is not resumed */
	session = SSL_get1_session(trial.client);
	assert_true(SSL_SESSION_is_resumable(session));
	tls_trial_close(&trial);
	return session;
}

static void resume(struct tls_trial *trial, SSL_CTX *server, SSL_CTX *client, SSL_SESSION *session,
	const char *early)
{
	BIO *at_client;
	size_t n;

	*trial = (struct tls_trial){SSL_new(server), SSL_new(client), NULL};
	assert_int_equal(SSL_set_session(trial->client, session), 1);
	assert_int_equal(BIO_new_bio_pair(&trial->at_server, 0, &at_client, 0), 1);
	SSL_set_bio(trial->server, trial->at_server, trial->at_server);
	SSL_set_bio(trial->client, at_client, at_client);
	SSL_set_accept_state(trial->server);
	SSL_set_connect_state(trial->client);
	for (unsigned i = 0; early && i < 3; i++)
		assert_int_equal(SSL_write_early_data(trial->client, early, strlen(early), &n), 1);
	for (unsigned i = 0; i < 4; i++) {
		SSL_do_handshake(trial->client);
		tls_records_follow(trial->server);
		SSL_do_handshake(trial->server);
		tls_records_follow(NULL);
	}
	assert_int_equal(SSL_session_reused(trial->client), 1);
	assert_true(tls_trial_talk(trial->client, trial->server));
	assert_true(tls_trial_talk(trial->server, trial->client));
}

/* With any number of tickets; and where the client talks too early, which is passed over. */
static void sessions(void **state)
{
	static const struct {
		const char *suite, *groups, *early;
		size_t tickets;
		bool taken;
	} cases[] = {
		{AES_128, "X25519", NULL, 1, true},
		{AES_128, "P-256", NULL, 2, true},
		{"TLS_CHACHA20_POLY1305_SHA256", "X25519", NULL, 0, true},
		{"TLS_AES_256_GCM_SHA384", "X25519", NULL, 1, false},
		{AES_128, "X25519", "early", 1, true},
		{"TLS_AES_256_GCM_SHA384", "P-256", "early", 1, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		SSL_CTX *server = tls_library_server(), *client = SSL_CTX_new(TLS_client_method());
		struct tls_trial trial;
		SSL_SESSION *session;

		assert_true(tls_trial_certify(server));
		assert_int_equal(SSL_CTX_set1_groups_list(client, cases[i].groups), 1);
		assert_int_equal(SSL_CTX_set_ciphersuites(client, cases[i].suite), 1);
		session = session_of(server, client, cases[i].suite);
		assert_int_equal(SSL_SESSION_get_max_early_data(session), 0);
		if (cases[i].early)
			SSL_SESSION_set_max_early_data(session, 1000);
		SSL_CTX_set_num_tickets(server, cases[i].tickets);
		resume(&trial, server, client, session, cases[i].early);
		if (cases[i].early)
			assert_int_equal(
				SSL_get_early_data_status(trial.client), SSL_EARLY_DATA_REJECTED);
		assert_int_equal(goes_on(&trial), cases[i].taken);
		tls_trial_close(&trial);
		SSL_SESSION_free(session);
		SSL_CTX_free(server);
		SSL_CTX_free(client);
	}
}

/* ---- what is not right is not used ---- */

static int wrong_hash = -1; /* what is extracted with it is wrong */

bool __real_tls_hkdf_extract(
	enum tls_hash hash, struct tls_bytes salt, struct tls_bytes key, uint8_t *out);
bool __wrap_tls_hkdf_extract(
	enum tls_hash hash, struct tls_bytes salt, struct tls_bytes key, uint8_t *out);
bool __wrap_tls_hkdf_extract(
	enum tls_hash hash, struct tls_bytes salt, struct tls_bytes key, uint8_t *out)
{
	bool done = __real_tls_hkdf_extract(hash, salt, key, out);

	out[0] ^= wrong_hash == (int)hash;
	return done;
}

static void a_wrong_schedule_is_not_used(void **state)
{
	struct tls_library another;

	(void)state;
	for (wrong_hash = 0; wrong_hash < TLS_HASHES; wrong_hash++)
		assert_false(tls_library_open(&another));
	assert_true(tls_library_open(&another));
	tls_library_close(&another);
}

static void small_order_is_refused(void **state)
{
	static const uint8_t zero[32], one[32] = {1};

	(void)state;
	both_ways(&(struct private_key){{8}}, zero, zero);
	both_ways(&(struct private_key){{8}}, one, zero);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wycheproof),
		cmocka_unit_test(another_key_than_the_pattern),
		cmocka_unit_test(small_order_is_refused),
		cmocka_unit_test(same_schedule_as_openssl),
		cmocka_unit_test(bad_derivations),
		cmocka_unit_test(handshakes),
		cmocka_unit_test(sessions),
		cmocka_unit_test(a_wrong_schedule_is_not_used),
	};

	return cmocka_run_group_tests(tests, open_library, close_library);
}
