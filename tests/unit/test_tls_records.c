/* SPDX-License-Identifier: BSD-3-Clause */
/* Records of ours against OpenSSL's at the other end, and against the trace of RFC 8448. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <sodium.h>

#include <tailplane/tls_records.h>

#include "self_signed.h"
#include "tls_gcm.h"
#include "tls_records_check.h"

#define PIECES 400

#ifdef WITHOUT_VECTORS
/* The linker puts it in the place of the real one: as on a machine without the instructions. */
bool __wrap_tls_gcm_usable(void);
bool __wrap_tls_gcm_usable(void)
{
	return false;
}
#endif

/* ---- two ends ---- */

struct ends {
	SSL_CTX *server_ctx, *client_ctx;
	SSL *server, *client;
	BIO *to_server, *to_client; /* wires, as memory */
	struct tls_records *records;
};

static SSL *end_new(SSL_CTX *ctx, BIO *from, BIO *to)
{
	SSL *tls = SSL_new(ctx);

	BIO_up_ref(from);
	BIO_up_ref(to);
	SSL_set_bio(tls, from, to);
	return tls;
}

static BIO *wire_new(void)
{
	BIO *bio = BIO_new(BIO_s_mem());

	BIO_set_mem_eof_return(bio, -1);
	return bio;
}

static void ends_open(struct ends *e, const char *suites, int version)
{
	*e = (struct ends){.server_ctx = SSL_CTX_new(TLS_server_method()),
		.client_ctx = SSL_CTX_new(TLS_client_method()),
		.to_server = wire_new(),
		.to_client = wire_new()};
	self_sign(e->server_ctx);
	tls_records_watch(e->server_ctx);
	tls_records_watch(e->client_ctx);
	assert_int_equal(SSL_CTX_set_ciphersuites(e->client_ctx, suites), 1);
	SSL_CTX_set_max_proto_version(e->client_ctx, version);
	e->server = end_new(e->server_ctx, e->to_server, e->to_client);
	e->client = end_new(e->client_ctx, e->to_client, e->to_server);
	SSL_set_accept_state(e->server);
	SSL_set_connect_state(e->client);
	for (unsigned i = 0; i < 4; i++) {
		SSL_do_handshake(e->client);
		SSL_do_handshake(e->server);
	}
	assert_true(SSL_is_init_finished(e->client) && SSL_is_init_finished(e->server));
}

static void ends_close(struct ends *e)
{
	tls_records_free(e->records);
	SSL_free(e->server);
	SSL_free(e->client);
	SSL_CTX_free(e->server_ctx);
	SSL_CTX_free(e->client_ctx);
	BIO_free(e->to_server);
	BIO_free(e->to_client);
}

static void exchange(struct ends *e, const char *text)
{
	char got[100];
	int n = (int)strlen(text);

	assert_int_equal(SSL_write(e->client, text, n), n);
	assert_int_equal(SSL_read(e->server, got, sizeof(got)), n);
	assert_int_equal(SSL_write(e->server, text, n), n);
	assert_int_equal(SSL_read(e->client, got, sizeof(got)), n);
}

/* As the front door does it: some requests were OpenSSL's, then the keys are taken. */
static void ends_taken(struct ends *e, const char *suites)
{
	ends_open(e, suites, 0);
	exchange(e, "GET / HTTP/1.1");
	exchange(e, "GET /derp HTTP/1.1");
	e->records = tls_records_take(e->server);
	assert_non_null(e->records);
	SSL_free(e->server);
	e->server = NULL;
}

/* ---- by our records ---- */

static void say(struct ends *e, const uint8_t *text, size_t len)
{
	static uint8_t sealed[TLS_TEXT_MAX + TLS_SEAL_MORE];
	size_t n = tls_records_seal(e->records, TLS_TEXT, text, len, sealed);

	assert_true(n >= len && n <= len + TLS_SEAL_MORE);
	assert_int_equal(BIO_write(e->to_client, sealed, (int)n), (int)n);
}

/* All that is on the wire; what is not whole stays there. */
static ssize_t hear(struct ends *e, uint8_t *text, size_t room)
{
	char *wire;
	size_t have = (size_t)BIO_get_mem_data(e->to_server, &wire), len = have;
	ssize_t n;

	assert_true(have <= room);
	n = tls_records_open(e->records, (uint8_t *)wire, &len, text);
	while (n >= 0 && len) {
		static uint8_t taken[65536];
		int one = BIO_read(
			e->to_server, taken, (int)(len < sizeof(taken) ? len : sizeof(taken)));

		assert_true(one > 0);
		len -= (size_t)one;
	}
	return n;
}

static void client_hears(struct ends *e, const uint8_t *text, size_t len)
{
	static uint8_t got[TLS_TEXT_MAX];
	size_t at = 0;

	while (at < len) {
		int n = SSL_read(e->client, got, sizeof(got));

		assert_true(n > 0 && (size_t)n <= len - at);
		assert_memory_equal(got, text + at, (size_t)n);
		at += (size_t)n;
	}
}

/* ---- tests ---- */

static const char *const suites[] = {"TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"};

static void random_text(struct ends *e, uint8_t *text, uint8_t *got, unsigned i)
{
	size_t len = i < 2 ? i * TLS_TEXT_MAX : randombytes_uniform(TLS_TEXT_MAX + 1);

	randombytes_buf(text, len);
	if (len) /* OpenSSL's end writes no empty record */
		assert_int_equal(SSL_write(e->client, text, (int)len), (int)len);
	assert_int_equal(hear(e, got, 2 * TLS_TEXT_MAX), len);
	assert_memory_equal(got, text, len);
	say(e, text, len);
	client_hears(e, text, len);
	if (i % 7 == 3)
		SSL_key_update(
			e->client, i & 8 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
}

static void test_both_ends_understand(void **state)
{
	static uint8_t text[TLS_TEXT_MAX], got[2 * TLS_TEXT_MAX];
	struct ends e;

	(void)state;
	for (unsigned s = 0; s < 2; s++) {
		ends_taken(&e, suites[s]);
		for (unsigned i = 0; i < 60; i++)
			random_text(&e, text, got, i);
		ends_close(&e);
	}
}

/* A client's end, too: what the server sends first are its tickets. */
static void test_clients_end(void **state)
{
	uint8_t sealed[100], got[2000];
	struct tls_records *client;
	struct ends e;
	char *wire;
	size_t len;

	(void)state;
	for (unsigned used = 0; used < 2; used++) {
		ends_open(&e, suites[used], 0);
		if (used)
			exchange(&e, "x");
		client = tls_records_take(e.client);
		assert_non_null(client);
		len = tls_records_seal(client, TLS_TEXT, (const uint8_t *)"ping", 4, sealed);
		BIO_write(e.to_server, sealed, (int)len);
		assert_int_equal(SSL_read(e.server, got, sizeof(got)), 4);
		assert_int_equal(SSL_key_update(e.server, SSL_KEY_UPDATE_REQUESTED), 1);
		assert_int_equal(SSL_write(e.server, "pong", 4), 4);
		len = (size_t)BIO_get_mem_data(e.to_client, &wire);
		assert_true(len < sizeof(got));
		assert_int_equal(tls_records_open(client, (uint8_t *)wire, &len, got), 4);
		len = tls_records_seal(client, TLS_TEXT, (const uint8_t *)"ping", 4, sealed);
		BIO_write(e.to_server, sealed, (int)len);
		assert_int_equal(SSL_read(e.server, got, sizeof(got)), 4);
		assert_memory_equal(got, "ping", 4);
		tls_records_free(client);
		ends_close(&e);
	}
}

/* However the wire cuts them. */
static void test_pieces_of_records(void **state)
{
	static uint8_t all[PIECES * 130], text[PIECES * 100], got[PIECES * 130];
	size_t total = 0, begin = 0, out = 0;
	char *wire;
	struct ends e;

	(void)state;
	ends_taken(&e, suites[0]);
	randombytes_buf(text, sizeof(text));
	for (unsigned i = 0; i < PIECES; i++)
		assert_int_equal(SSL_write(e.client, text + 100 * i, 100), 100);
	total = (size_t)BIO_get_mem_data(e.to_server, &wire);
	memcpy(all, wire, total);
	for (size_t end = 1; begin < total; end += randombytes_uniform(300)) {
		size_t len = (end < total ? end : total) - begin;
		ssize_t n = tls_records_open(e.records, all + begin, &len, got + out);

		assert_true(n >= 0);
		begin += len;
		out += (size_t)n;
	}
	assert_int_equal(out, sizeof(text));
	assert_memory_equal(got, text, sizeof(text));
	ends_close(&e);
}

static void test_goodbyes(void **state)
{
	uint8_t got[4000], bye[TLS_GOODBYE_LEN];
	struct ends e;

	(void)state;
	ends_taken(&e, suites[0]);
	assert_int_equal(SSL_write(e.client, "last", 4), 4);
	SSL_shutdown(e.client);
	assert_int_equal(hear(&e, got, sizeof(got)), 4);
	assert_true(tls_records_ended(e.records));
	assert_int_equal(tls_records_goodbye(e.records, bye), sizeof(bye));
	BIO_write(e.to_client, bye, sizeof(bye));
	assert_int_equal(SSL_read(e.client, got, sizeof(got)), 0);
	assert_int_equal(SSL_get_error(e.client, 0), SSL_ERROR_ZERO_RETURN);
	ends_close(&e);
}

/* The other end is told why, as OpenSSL would tell it. */
static void expect_alert(struct ends *e, int why)
{
	uint8_t bye[TLS_GOODBYE_LEN], got[10];
	unsigned long error;

	assert_int_equal(tls_records_goodbye(e->records, bye), sizeof(bye));
	BIO_write(e->to_client, bye, sizeof(bye));
	ERR_clear_error();
	assert_true(SSL_read(e->client, got, sizeof(got)) <= 0);
	error = ERR_get_error();
	assert_int_equal(ERR_GET_REASON(error), SSL_AD_REASON_OFFSET + why);
}

static void test_forgeries_end_it(void **state)
{
	static const struct {
		size_t at; /* of the record */
		int why;
	} flips[] = {
		{0, SSL_AD_UNEXPECTED_MESSAGE},
		{1, SSL_AD_BAD_RECORD_MAC},
		{5, SSL_AD_BAD_RECORD_MAC},
		{5 + 40, SSL_AD_BAD_RECORD_MAC},
		{5 + 41 + 15, SSL_AD_BAD_RECORD_MAC},
	};
	uint8_t text[40] = {1, 2, 3}, got[1000];
	char *wire;
	struct ends e;

	(void)state;
	for (unsigned i = 0; i < sizeof(flips) / sizeof(flips[0]); i++) {
		ends_taken(&e, suites[i % 2]);
		SSL_write(e.client, text, sizeof(text));
		BIO_get_mem_data(e.to_server, &wire);
		wire[flips[i].at] ^= 1;
		assert_int_equal(hear(&e, got, sizeof(got)), -EPROTO);
		expect_alert(&e, flips[i].why);
		ends_close(&e);
	}
}

static void test_bad_lengths(void **state)
{
	static const struct {
		uint8_t header[5];
		int why;
	} bad[] = {
		{{23, 3, 3, 0x41, 0x01}, SSL_AD_RECORD_OVERFLOW},
		{{23, 3, 3, 0, 16}, SSL_AD_BAD_RECORD_MAC},
		{{22, 3, 3, 0, 100}, SSL_AD_UNEXPECTED_MESSAGE},
		{{20, 3, 3, 0, 1}, SSL_AD_UNEXPECTED_MESSAGE},
	};
	uint8_t got[100];
	struct ends e;

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ends_taken(&e, suites[0]);
		BIO_write(e.to_server, bad[i].header, 5);
		assert_int_equal(hear(&e, got, sizeof(got)), -EPROTO);
		expect_alert(&e, bad[i].why);
		ends_close(&e);
	}
}

/* Under good keys, too. */
static void test_bad_contents(void **state)
{
	static const struct {
		enum tls_content content;
		uint8_t bytes[6];
		size_t len;
		int why;
	} bad[] = {
		{0, {0}, 6, SSL_AD_UNEXPECTED_MESSAGE}, /* nothing but padding */
		{20, {1}, 1, SSL_AD_UNEXPECTED_MESSAGE},
		{TLS_HANDSHAKE, {24, 0, 0, 1}, 4, SSL_AD_DECODE_ERROR},
		{TLS_HANDSHAKE, {24, 0, 0}, 3, SSL_AD_DECODE_ERROR},
		{TLS_HANDSHAKE, {24, 0, 0, 1, 2}, 5, SSL_AD_DECODE_ERROR},
		{TLS_HANDSHAKE, {24, 0, 0, 1, 0, 0}, 6, SSL_AD_UNEXPECTED_MESSAGE},
		{TLS_HANDSHAKE, {4, 0, 0, 1, 0}, 5, SSL_AD_UNEXPECTED_MESSAGE},
		{TLS_HANDSHAKE, {0}, 0, SSL_AD_UNEXPECTED_MESSAGE},
		{TLS_ALERT, {1}, 1, SSL_AD_DECODE_ERROR},
		{TLS_ALERT, {0}, 0, SSL_AD_UNEXPECTED_MESSAGE},
	};
	uint8_t sealed[100], got[100];
	struct tls_records *client;
	struct ends e;
	size_t len;

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ends_taken(&e, suites[0]);
		client = tls_records_take(e.client);
		len = tls_records_seal(client, bad[i].content, bad[i].bytes, bad[i].len, sealed);
		assert_int_equal(tls_records_open(e.records, sealed, &len, got), -EPROTO);
		expect_alert(&e, bad[i].why);
		tls_records_free(client);
		ends_close(&e);
	}
}

#define BARREN 32 /* records in a row without text */

static void key_updates(struct ends *e, unsigned n)
{
	while (n--) {
		assert_int_equal(SSL_key_update(e->client, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
		assert_int_equal(SSL_do_handshake(e->client), 1);
	}
}

/* New keys cost much, and nothing limits them, as they bring nothing that could be counted. */
static void test_records_without_text(void **state)
{
	uint8_t got[4000];
	struct ends e;

	(void)state;
	ends_taken(&e, suites[0]);
	for (unsigned i = 0; i < 3; i++) {
		key_updates(&e, BARREN);
		assert_int_equal(SSL_write(e.client, "text", 4), 4);
		assert_int_equal(hear(&e, got, sizeof(got)), 4);
	}
	key_updates(&e, BARREN + 1);
	assert_int_equal(hear(&e, got, sizeof(got)), -EPROTO);
	expect_alert(&e, SSL_AD_UNEXPECTED_MESSAGE);
	ends_close(&e);
}

static void test_records_of_no_length(void **state)
{
	uint8_t sealed[100], got[100];
	struct tls_records *client;
	struct ends e;

	(void)state;
	ends_taken(&e, suites[1]);
	client = tls_records_take(e.client);
	for (unsigned i = 0; i <= BARREN; i++) {
		size_t len = tls_records_seal(client, TLS_TEXT, got, 0, sealed);

		assert_int_equal(
			tls_records_open(e.records, sealed, &len, got), i < BARREN ? 0 : -EPROTO);
	}
	tls_records_free(client);
	ends_close(&e);
}

/* A record twice, or one left out: its number is in the nonce. */
static void test_order_is_kept(void **state)
{
	uint8_t first[100], got[400];
	size_t n;
	struct ends e;

	(void)state;
	for (unsigned again = 0; again < 2; again++) {
		ends_taken(&e, suites[0]);
		SSL_write(e.client, "one", 3);
		n = (size_t)BIO_read(e.to_server, first, sizeof(first));
		if (again) {
			BIO_write(e.to_server, first, (int)n);
			BIO_write(e.to_server, first, (int)n);
		} else {
			SSL_write(e.client, "two", 3);
		}
		assert_int_equal(hear(&e, got, sizeof(got)), -EPROTO);
		ends_close(&e);
	}
}

/* OpenSSL that tells less, or something else, is found out. */

static void silent_message(
	int written, int version, int content, const void *bytes, size_t len, SSL *tls, void *arg)
{
}

static void silent_secret(const SSL *tls, const char *line)
{
}

static void test_another_openssl(void **state)
{
	for (unsigned missing = 0; missing < 4; missing++) {
		SSL_CTX *server = SSL_CTX_new(TLS_server_method());
		SSL_CTX *client = SSL_CTX_new(TLS_client_method());

		self_sign(server);
		tls_records_listen(server);
		tls_records_listen(client);
		if (missing == 1)
			SSL_CTX_set_msg_callback(server, silent_message);
		if (missing == 2)
			SSL_CTX_set_msg_callback(client, silent_message);
		if (missing == 3)
			SSL_CTX_set_keylog_callback(server, silent_secret);
		assert_int_equal(tls_records_go_on(server, client), missing == 0);
		SSL_CTX_free(server);
		SSL_CTX_free(client);
	}
}

/* In a process of its own: what is found holds for all of it. */
static void test_fips(void **state)
{
	pid_t child = fork();
	int status;

	(void)state;
	assert_true(child >= 0);
	if (!child) {
		SSL_CTX *server = SSL_CTX_new(TLS_server_method());
		bool asked = tls_records_part().known;

		EVP_default_properties_enable_fips(NULL, 1);
		tls_records_watch(server);
		_exit(asked || !tls_records_part().why_not ||
			SSL_CTX_get_keylog_callback(server) != NULL);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void test_what_stays_with_openssl(void **state)
{
	char half[3];
	struct ends e;

	(void)state;
	ends_open(&e, suites[0], TLS1_2_VERSION);
	assert_null(tls_records_take(e.server));
	ends_close(&e);
	ends_open(&e, "TLS_AES_256_GCM_SHA384", 0);
	assert_null(tls_records_take(e.server));
	ends_close(&e);

	ends_open(&e, suites[0], 0); /* keys that changed */
	SSL_key_update(e.client, SSL_KEY_UPDATE_NOT_REQUESTED);
	exchange(&e, "x");
	assert_null(tls_records_take(e.server));
	ends_close(&e);

	ends_open(&e, suites[0], 0); /* text that is unread */
	SSL_write(e.client, "text", 4);
	assert_int_equal(SSL_read(e.server, half, sizeof(half)), 3);
	assert_null(tls_records_take(e.server));
	assert_int_equal(SSL_read(e.server, half, sizeof(half)), 1);
	e.records = tls_records_take(e.server);
	assert_non_null(e.records);
	assert_null(tls_records_take(e.server)); /* the same nonces twice would tell the key */
	ends_close(&e);

	for (int part = 1; part < 8; part++) { /* a record that is half read */
		uint8_t record[64];
		int n;

		ends_open(&e, suites[0], 0);
		SSL_write(e.client, "text", 4);
		n = BIO_read(e.to_server, record, sizeof(record));
		BIO_write(e.to_server, record, part);
		assert_int_equal(SSL_read(e.server, half, sizeof(half)), -1);
		assert_null(tls_records_take(e.server));
		BIO_write(e.to_server, record + part, n - part);
		assert_int_equal(SSL_read(e.server, half, sizeof(half)), 3);
		ends_close(&e);
	}
}

/* RFC 8448, section 3: the client's and the server's first records of text. */
static void test_published_trace(void **state)
{
	static const char client[] =
		"9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5";
	static const char server[] =
		"a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643";
	static const char record[] =
		"1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395b"
		"d54a9a20441e2b62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4";
	struct tls_keys keys = {.suite = TLS_AES_128_GCM};
	uint8_t bytes[100], text[100], sealed[100];
	struct tls_records *ours, *theirs;
	size_t n;

	(void)state;
	sodium_hex2bin(keys.in, 32, client, 64, NULL, NULL, NULL);
	sodium_hex2bin(keys.out, 32, server, 64, NULL, NULL, NULL);
	sodium_hex2bin(bytes, sizeof(bytes), record, strlen(record), NULL, &n, NULL);
	ours = tls_records_new(&keys);
	assert_int_equal(tls_records_open(ours, bytes, &n, text), 50);
	for (uint8_t i = 0; i < 50; i++)
		assert_int_equal(text[i], i);
	tls_records_free(ours);

	memcpy(keys.out, keys.in, 32); /* and the client's end */
	theirs = tls_records_new(&keys);
	assert_int_equal(tls_records_seal(theirs, TLS_TEXT, text, 50, sealed), n);
	assert_memory_equal(sealed, bytes, n);
	tls_records_free(theirs);
}

/* When AES-GCM's margin is used up the keys change by themselves. */
static void test_keys_do_not_wear_out(void **state)
{
	struct tls_keys keys = {.suite = TLS_AES_128_GCM, .n_out = (1u << 24) - 1};
	struct tls_keys mirror = {.suite = TLS_AES_128_GCM, .n_in = (1u << 24) - 1};
	uint8_t sealed[200], text[200];
	struct tls_records *ours, *theirs;
	size_t lengths[3];

	(void)state;
	randombytes_buf(keys.out, 32);
	memcpy(mirror.in, keys.out, 32);
	ours = tls_records_new(&keys);
	theirs = tls_records_new(&mirror);
	for (unsigned i = 0; i < 3; i++) {
		lengths[i] = tls_records_seal(ours, TLS_TEXT, (const uint8_t *)"abc", 3, sealed);
		assert_int_equal(tls_records_open(theirs, sealed, &lengths[i], text), 3);
		assert_memory_equal(text, "abc", 3);
	}
	assert_int_equal(lengths[0], lengths[2]);
	assert_true(lengths[1] > lengths[0]);
	tls_records_free(ours);
	tls_records_free(theirs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fips), /* first: nobody has asked yet */
		cmocka_unit_test(test_both_ends_understand),
		cmocka_unit_test(test_clients_end),
		cmocka_unit_test(test_pieces_of_records),
		cmocka_unit_test(test_goodbyes),
		cmocka_unit_test(test_forgeries_end_it),
		cmocka_unit_test(test_bad_lengths),
		cmocka_unit_test(test_bad_contents),
		cmocka_unit_test(test_records_without_text),
		cmocka_unit_test(test_records_of_no_length),
		cmocka_unit_test(test_order_is_kept),
		cmocka_unit_test(test_another_openssl),
		cmocka_unit_test(test_what_stays_with_openssl),
		cmocka_unit_test(test_published_trace),
		cmocka_unit_test(test_keys_do_not_wear_out),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
