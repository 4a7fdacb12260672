/* SPDX-License-Identifier: BSD-3-Clause */
#include "chapoly.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "openssl_aead.h"
#include "prng.h"

#define TEXT_MAX 400

static struct openssl_aead openssl;
static struct prng prng = {1};

/* The counter in the last 8 of the nonce's 12 bytes, least byte first. */
static void nonce_write(uint8_t nonce[12], uint64_t counter)
{
	memset(nonce, 0, 4);
	for (int i = 0; i < 8; i++)
		nonce[4 + i] = (uint8_t)(counter >> 8 * i);
}

static void seal_is_openssl_s(void **state)
{
	for (size_t len = 0; len <= TEXT_MAX; len++) {
		struct symmetric_key key;
		uint8_t nonce[12], aad[64], text[TEXT_MAX];
		uint8_t expected[TEXT_MAX + 16], out[TEXT_MAX + 16];
		uint64_t counter = prng_next(&prng) >> prng_below(&prng, 64);
		size_t aad_len = prng_below(&prng, sizeof(aad) + 1);

		prng_fill(&prng, key.bytes, sizeof(key.bytes));
		prng_fill(&prng, aad, aad_len);
		prng_fill(&prng, text, len);
		nonce_write(nonce, counter);
		openssl_seal(&openssl, expected,
			&(struct openssl_message){.key = key.bytes,
				.nonce = nonce,
				.aad = aad,
				.aad_len = aad_len,
				.src = text,
				.len = len});

		chapoly_seal(out, text, len, aad, aad_len, counter, &key);
		assert_memory_equal(out, expected, len + 16);
		memcpy(out, text, len);
		chapoly_seal(out, out, len, aad, aad_len, counter, &key);
		assert_memory_equal(out, expected, len + 16);

		memset(out, 0xa5, sizeof(out));
		assert_true(chapoly_open(out, expected, len + 16, aad, aad_len, counter, &key));
		assert_memory_equal(out, text, len);
		assert_int_equal(out[len], 0xa5);
		assert_true(
			chapoly_open(expected, expected, len + 16, aad, aad_len, counter, &key));
		assert_memory_equal(expected, text, len);
	}
}

static void what_does_not_verify_leaves_zeros(void **state)
{
	struct symmetric_key key = {{1}};
	uint8_t text[40] = "plaintext", aad[32] = {2}, sealed[56], out[56], zero[40] = {0};

	chapoly_seal(sealed, text, 40, aad, 32, 5, &key);
	for (int i = 0; i < 56; i++) {
		sealed[i] ^= 0x10;
		memset(out, 0xa5, sizeof(out));
		assert_false(chapoly_open(out, sealed, 56, aad, 32, 5, &key));
		assert_memory_equal(out, zero, 40);
		assert_int_equal(out[40], 0xa5);
		memcpy(out, sealed, 56);
		assert_false(chapoly_open(out, out, 56, aad, 32, 5, &key));
		assert_memory_equal(out, zero, 40);
		assert_memory_equal(out + 40, sealed + 40, 16);
		sealed[i] ^= 0x10;
	}
	assert_false(chapoly_open(out, sealed, 56, aad, 32, 6, &key));
	assert_false(chapoly_open(out, sealed, 56, aad, 31, 5, &key));
	key.bytes[31] ^= 1;
	assert_false(chapoly_open(out, sealed, 56, aad, 32, 5, &key));
	key.bytes[31] ^= 1;
	assert_true(chapoly_open(out, sealed, 56, aad, 32, 5, &key));
}

static void shorter_than_a_tag(void **state)
{
	struct symmetric_key key = {{1}};
	uint8_t sealed[16];

	chapoly_seal(sealed, NULL, 0, NULL, 0, 0, &key);
	assert_true(chapoly_open(NULL, sealed, 16, NULL, 0, 0, &key));
	sealed[0] ^= 1;
	assert_false(chapoly_open(NULL, sealed, 16, NULL, 0, 0, &key));
	for (size_t len = 0; len < 16; len++)
		assert_false(chapoly_open(NULL, sealed, len, NULL, 0, 0, &key));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(seal_is_openssl_s),
		cmocka_unit_test(what_does_not_verify_leaves_zeros),
		cmocka_unit_test(shorter_than_a_tag),
	};

	openssl_aead_init(&openssl);
	int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
	openssl_aead_fini(&openssl);
	return n_failed;
}
