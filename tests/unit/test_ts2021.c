/* SPDX-License-Identifier: BSD-3-Clause */
/* The Noise session of the control protocol against vectors computed from the specification. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ts2021.h"
#include "x25519.h"

static const char machine_key[] =
	"1011111111111111111111111111111111111111111111111111111111111151";
static const char machine_public[] =
	"7b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13";
static const char client_ephemeral[] =
	"2022222222222222222222222222222222222222222222222222222222222262";
static const char server_key[] = "3033333333333333333333333333333333333333333333333333333333333373";
static const char server_public[] =
	"7b0d47d93427f8311160781c7c733fd89f88970aef490d8aa0ee19a4cb8a1b14";
static const char server_ephemeral[] =
	"4044444444444444444444444444444444444444444444444444444444444444";
static const char initiation_text[] = "00910100600faa684ed28867b97f4a6a2dee5df8ce974e76b7018e3f22a1"
				      "c4cf2678570f2061d2949213e755bc1"
				      "80b5d5dbbd8c50a2a1beb69f8940d24cab4606a34cd5d417919c6f947400"
				      "0703def54c272c14b2560acd658eb99"
				      "aaf547a8893b9fd52502";
static const char response_text[] = "020030ff2ee45601ec1b67310c7790404585ae697331eee1c1f8cf2419731c"
				    "1fff3e6b8d49996f4858df908612e"
				    "a5208c39084";

static const char *next_key; /* that x25519_generate makes */

static void unhex(uint8_t *out, const char *text)
{
	for (; *text; text += 2) {
		char pair[3] = {text[0], text[1], '\0'};

		*out++ = (uint8_t)strtoul(pair, NULL, 16);
	}
}

void __real_x25519_generate(struct private_key *key);
void __wrap_x25519_generate(struct private_key *key);
void __wrap_x25519_generate(struct private_key *key)
{
	if (next_key)
		unhex(key->bytes, next_key);
	else
		__real_x25519_generate(key);
}

static void assert_hex(const void *bytes, const char *text)
{
	uint8_t expected[256];

	unhex(expected, text);
	assert_memory_equal(bytes, expected, strlen(text) / 2);
}

struct ends {
	struct ts2021_server server;
	struct private_key machine;
	struct ts2021_client client;
	struct ts2021_keys client_keys, server_keys;
	struct public_key seen;
	uint16_t version;
	uint8_t initiation[TS2021_INITIATION_LEN], response[TS2021_RESPONSE_LEN];
};

static void prepare(struct ends *ends)
{
	memset(ends, 0, sizeof(*ends));
	unhex(ends->server.key.bytes, server_key);
	x25519_public(&ends->server.public_key, &ends->server.key);
	unhex(ends->machine.bytes, machine_key);
}

static int accept_it(struct ends *ends)
{
	return ts2021_accept(&ends->server, ends->initiation, ends->response, &ends->seen,
		&ends->version, &ends->server_keys);
}

static void shake_hands(struct ends *ends, uint16_t version)
{
	prepare(ends);
	next_key = client_ephemeral;
	assert_int_equal(ts2021_initiate(&ends->client, &ends->machine, &ends->server.public_key,
				 version, ends->initiation),
		0);
	next_key = server_ephemeral;
	assert_int_equal(accept_it(ends), 0);
	next_key = NULL;
	assert_int_equal(ts2021_finish(&ends->client, ends->response, &ends->client_keys), 0);
}

static void test_vectors(void **state)
{
	struct ends ends;

	(void)state;
	shake_hands(&ends, 145);
	assert_hex(ends.server.public_key.bytes, server_public);
	assert_hex(ends.initiation, initiation_text);
	assert_hex(ends.response, response_text);
	assert_hex(ends.seen.bytes, machine_public);
	assert_int_equal(ends.version, 145);
	assert_hex(ends.server_keys.receive.key.bytes,
		"d9811dd6a320dc8484bb37ea989640c99f99a8582f50b829e347bd75da510717");
	assert_hex(ends.server_keys.send.key.bytes,
		"8561e3fd4551ed82ee22220925e41e923d64b1c04b856f8ec1eaa544a511a427");
	assert_memory_equal(&ends.client_keys.send.key, &ends.server_keys.receive.key, 32);
	assert_memory_equal(&ends.client_keys.receive.key, &ends.server_keys.send.key, 32);
	assert_true(secret_is_zero(&ends.client, sizeof(ends.client)));
}

static void test_records(void **state)
{
	static const uint8_t preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	uint8_t record[64];
	struct ends ends;

	(void)state;
	shake_hands(&ends, 145);
	assert_int_equal(
		ts2021_seal(&ends.server_keys.send, record, (const uint8_t *)"hello", 5), 24);
	assert_hex(record, "040015916b2f8d08168f8cec88cc3a625b975d5566051b63");
	assert_int_equal(ts2021_open(&ends.client_keys.receive, record, 24), 5);
	assert_memory_equal(record + 3, "hello", 5);
	ts2021_seal(&ends.server_keys.send, record, (const uint8_t *)"world", 5);
	assert_hex(record, "040015de1a70b50c2b8d6b43ae8557cf26c22c4d5542e018");
	assert_int_equal(ts2021_open(&ends.client_keys.receive, record, 24), 5);
	ts2021_seal(&ends.client_keys.send, record, preface, 24);
	assert_hex(record, "0400280680e2431415e6cb8713377a233d6e4ef69c7f9514028e920e7e2ee664b81d8b0"
			   "c9cd3a77fe790"
			   "20");
	record[10] ^= 1;
	assert_int_equal(ts2021_open(&ends.server_keys.receive, record, 43), -EACCES);
	assert_int_equal(ts2021_open(&ends.server_keys.receive, record, 18), -EACCES);
}

static void test_an_empty_record_and_the_longest(void **state)
{
	static uint8_t text[TS2021_TEXT_MAX], record[TS2021_FRAME_MAX];
	struct ends ends;

	(void)state;
	shake_hands(&ends, 113);
	assert_int_equal(ts2021_seal(&ends.client_keys.send, record, text, 0), 19);
	assert_int_equal(ts2021_open(&ends.server_keys.receive, record, 19), 0);
	memset(text, 7, sizeof(text));
	assert_int_equal(
		ts2021_seal(&ends.client_keys.send, record, text, sizeof(text)), TS2021_FRAME_MAX);
	assert_int_equal(ts2021_record_len(record, 3), TS2021_FRAME_MAX);
	assert_int_equal(
		ts2021_open(&ends.server_keys.receive, record, TS2021_FRAME_MAX), TS2021_TEXT_MAX);
	assert_memory_equal(record + 3, text, sizeof(text));
}

static void test_a_key_ends(void **state)
{
	struct ts2021_cipher cipher = {.counter = UINT64_MAX};
	uint8_t record[32] = {0};

	(void)state;
	assert_int_equal(ts2021_seal(&cipher, record, record, 1), -EOVERFLOW);
	assert_int_equal(ts2021_open(&cipher, record, 20), -EACCES);
}

static void test_lengths(void **state)
{
	static const struct {
		uint8_t bytes[3];
		size_t n;
		ssize_t len;
	} cases[] = {
		{{4, 0, 16}, 3, 19},
		{{4, 0, 15}, 3, -EPROTO},
		{{4, 0x0f, 0xfd}, 3, 4096},
		{{4, 0x0f, 0xfe}, 3, -EPROTO},
		{{4, 0xff, 0xff}, 3, -EPROTO},
		{{4, 1, 0}, 2, 0},
		{{0}, 0, 0},
		{{3, 0, 20}, 1, -EPROTO},
		{{3, 0, 20}, 3, -EPROTO},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(ts2021_record_len(cases[i].bytes, cases[i].n), cases[i].len);
}

/* Each bit of an initiation matters; the version too, which is in the prologue. */
static void test_a_changed_initiation(void **state)
{
	struct ends ends;

	(void)state;
	shake_hands(&ends, 145);
	for (size_t i = 0; i < TS2021_INITIATION_LEN; i++) {
		ends.initiation[i] ^= 1;
		assert_int_equal(accept_it(&ends), i >= 2 && i < 5 ? -EPROTO : -EACCES);
		assert_true(secret_is_zero(&ends.server_keys, sizeof(ends.server_keys)));
		assert_true(secret_is_zero(&ends.seen, sizeof(ends.seen)));
		ends.initiation[i] ^= 1;
	}
	assert_int_equal(accept_it(&ends), 0);
}

static void test_a_changed_response(void **state)
{
	struct ends ends;

	(void)state;
	for (size_t i = 0; i < TS2021_RESPONSE_LEN; i++) {
		prepare(&ends);
		ts2021_initiate(
			&ends.client, &ends.machine, &ends.server.public_key, 145, ends.initiation);
		assert_int_equal(accept_it(&ends), 0);
		ends.response[i] ^= 1;
		assert_int_equal(ts2021_finish(&ends.client, ends.response, &ends.client_keys),
			i < 3 ? -EPROTO : -EACCES);
		assert_true(secret_is_zero(&ends.client_keys, sizeof(ends.client_keys)));
	}
}

/* Points of small order: no secret comes of them. */
static void test_keys_of_small_order(void **state)
{
	struct public_key zero = {{0}};
	struct ends ends;

	(void)state;
	shake_hands(&ends, 145);
	memset(ends.initiation + 5, 0, 32);
	assert_int_equal(accept_it(&ends), -EACCES);
	assert_int_equal(
		ts2021_initiate(&ends.client, &ends.machine, &zero, 145, ends.initiation), -EACCES);
}

static void test_another_server(void **state)
{
	struct ends ends;

	(void)state;
	shake_hands(&ends, 145);
	x25519_generate(&ends.server.key);
	x25519_public(&ends.server.public_key, &ends.server.key);
	assert_int_equal(accept_it(&ends), -EACCES);
}

static void test_early_payload(void **state)
{
	uint8_t header[TS2021_EARLY_HEADER_LEN];

	(void)state;
	ts2021_early_header(header, 0x010203);
	assert_memory_equal(header, "\xff\xff\xffTS\x00\x01\x02\x03", 9);
	assert_int_equal(ts2021_early_len(header), 0x010203);
	ts2021_early_header(header, TS2021_EARLY_MAX + 1);
	assert_int_equal(ts2021_early_len(header), -EPROTO);
	/* SETTINGS of HTTP/2 */
	assert_int_equal(ts2021_early_len((const uint8_t *)"\0\0\x12\4\0\0\0\0\0"), -ENOENT);
}

static void test_error_frames(void **state)
{
	uint8_t frame[TS2021_HEADER_LEN + TS2021_ERROR_MAX];
	char text[1000];

	(void)state;
	assert_int_equal(ts2021_error(frame, "no"), 5);
	assert_memory_equal(frame, "\3\0\2no", 5);
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(ts2021_error(frame, text), sizeof(frame));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_an_empty_record_and_the_longest),
		cmocka_unit_test(test_a_key_ends),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_a_changed_initiation),
		cmocka_unit_test(test_a_changed_response),
		cmocka_unit_test(test_keys_of_small_order),
		cmocka_unit_test(test_another_server),
		cmocka_unit_test(test_early_payload),
		cmocka_unit_test(test_error_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
