/* SPDX-License-Identifier: BSD-3-Clause */
/* STUN as Tailscale 1.102.4 writes and reads it: the bytes were made by its package net/stun. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "prng.h"
#include "stun.h"

static const uint8_t txid[STUN_TXID_SIZE] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

static const uint8_t request[STUN_REQUEST_SIZE] =
	"\x00\x01\x00\x14\x21\x12\xa4\x42\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c"
	"\x80\x22\x00\x08tailnode\x80\x28\x00\x04\xb3\x2c\x37\x0f";
static const uint8_t answer4[] =
	"\x01\x01\x00\x0c\x21\x12\xa4\x42\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c"
	"\x00\x20\x00\x08\x00\x01\x83\xbb\xe1\x12\xa6\x45";
static const uint8_t answer6[] =
	"\x01\x01\x00\x18\x21\x12\xa4\x42\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c"
	"\x00\x20\x00\x14\x00\x02\x83\xbb\x01\x13\xa9\xfa\x01\x02\x03\x04\x05\x06\x07\x08"
	"\x09\x0a\x0b\x0b";

static struct net_endpoint endpoint(const char *text)
{
	struct net_endpoint ep;

	assert_int_equal(net_endpoint_parse(&ep, text), 0);
	return ep;
}

static void test_request(void **state)
{
	uint8_t got[STUN_TXID_SIZE], out[STUN_REQUEST_SIZE];

	(void)state;
	assert_true(stun_request_read(request, sizeof(request), got));
	assert_memory_equal(got, txid, sizeof(txid));
	stun_request_write(out, txid);
	assert_memory_equal(out, request, sizeof(request));
}

/* A bit at a time, as IEEE 802.3 has it. */
static uint32_t crc32_plain(const uint8_t *bytes, size_t len)
{
	uint32_t crc = 0xffffffff;

	for (size_t i = 0; i < len; i++) {
		crc ^= bytes[i];
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

static void test_fingerprint(void **state)
{
	struct prng prng = {7};

	(void)state;
	for (unsigned i = 0; i < 5000; i++) {
		uint8_t random[STUN_TXID_SIZE], out[STUN_REQUEST_SIZE], got[STUN_TXID_SIZE];
		uint32_t crc;

		prng_fill(&prng, random, sizeof(random));
		stun_request_write(out, random);
		crc = crc32_plain(out, sizeof(out) - 8) ^ 0x5354554e;
		for (unsigned byte = 0; byte < 4; byte++)
			assert_int_equal(out[sizeof(out) - 1 - byte], (uint8_t)(crc >> 8 * byte));
		assert_true(stun_request_read(out, sizeof(out), got));
	}
}

static void test_answer(void **state)
{
	uint8_t out[STUN_ANSWER_MAX];
	struct net_endpoint from4 = endpoint("192.0.2.7:41641"), seen;
	struct net_endpoint from6 = endpoint("[2001:db8::7]:41641");

	(void)state;
	assert_int_equal(stun_answer_write(out, txid, &from4), sizeof(answer4) - 1);
	assert_memory_equal(out, answer4, sizeof(answer4) - 1);
	assert_true(stun_answer_read(out, sizeof(answer4) - 1, txid, &seen));
	assert_true(net_endpoint_equal(&seen, &from4));
	assert_int_equal(stun_answer_write(out, txid, &from6), sizeof(answer6) - 1);
	assert_memory_equal(out, answer6, sizeof(answer6) - 1);
	assert_true(stun_answer_read(out, sizeof(answer6) - 1, txid, &seen));
	assert_true(net_endpoint_equal(&seen, &from6));
}

/* One bit anywhere but in the transaction, which the fingerprint covers as well: no request. */
static void test_every_bit(void **state)
{
	uint8_t got[STUN_TXID_SIZE];

	(void)state;
	for (size_t bit = 0; bit < 8 * sizeof(request); bit++) {
		uint8_t bad[sizeof(request)];

		memcpy(bad, request, sizeof(bad));
		bad[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(stun_request_read(bad, sizeof(bad), got));
	}
	for (size_t len = 0; len < sizeof(request); len++)
		assert_false(stun_request_read(request, len, got));
}

/* An IPv4 address as an IPv6 one, as derper has it, is an IPv4 address. */
static void test_mapped(void **state)
{
	struct net_endpoint from = {.addr.family = AF_INET6, .port = 41641}, seen;
	uint8_t out[STUN_ANSWER_MAX];
	char text[NET_ENDPOINT_STRLEN];

	(void)state;
	memcpy(from.addr.bytes, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x37\x00\x0b", 16);
	assert_true(stun_answer_read(
		out, stun_answer_write(out, request + 8, &from), request + 8, &seen));
	assert_string_equal(net_endpoint_format(&seen, text), "10.55.0.11:41641");
}

/* Requests that others make: without SOFTWARE, with another, the fingerprint not last. */
static void test_others(void **state)
{
	static const uint8_t bare[] =
		"\x00\x01\x00\x00\x21\x12\xa4\x42\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c";
	uint8_t long_one[STUN_REQUEST_SIZE + 8], got[STUN_TXID_SIZE];
	struct net_endpoint seen;

	(void)state;
	assert_false(stun_request_read(bare, sizeof(bare) - 1, got));
	memcpy(long_one, request, sizeof(request));
	memcpy(long_one + sizeof(request),
		"\x80\x22\x00\x03"
		"abc\x00",
		8);
	long_one[3] += 8;
	assert_false(stun_request_read(long_one, sizeof(long_one), got));
	assert_false(stun_answer_read(request, sizeof(request), txid, &seen));
	assert_false(stun_answer_read(answer4, sizeof(answer4) - 1, answer6 + 20, &seen));
	assert_false(stun_answer_read(answer4, sizeof(answer4) - 5, txid, &seen));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_fingerprint),
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_every_bit),
		cmocka_unit_test(test_mapped),
		cmocka_unit_test(test_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
