/* SPDX-License-Identifier: BSD-3-Clause */
#include "blake2s.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>

#include "prng.h"
#include "secret.h"
#include "vectors.h"

static void rfc7693_appendix_b(void **state)
{
	uint8_t out[32];

	blake2s(out, 32, NULL, 0, "abc", 3);
	assert_hex(out, 32, "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
	blake2s(out, 32, NULL, 0, NULL, 0);
	assert_hex(out, 32, "69217a3079908094e11121d042354a7c1f55b6482ca1a51e1b250dfd1ed0eef9");
}

/* BLAKE2's published vectors: key 00 01 .. 1f, message 00 01 .. */
static void keyed(void **state)
{
	static const struct {
		size_t len;
		const char *hash;
	} vectors[] = {
		{0, "48a8997da407876b3d79c0d92325ad3b89cbb754d86ab71aee047ad345fd2c49"},
		{1, "40d15fee7c328830166ac3f918650f807e7e01e177258cdc0a39b11f598066f1"},
		{64, "8975b0577fd35566d750b362b0897a26c399136df07bababbde6203ff2954ed4"},
		{65, "21fe0ceb0052be7fb0f004187cacd7de67fa6eb0938d927677f2398c132317a8"},
		{255, "3fb735061abc519dfe979e54c1ee5bfad0a9d858b3315bad34bde999efd724dd"},
	};
	uint8_t message[255], out[32];

	for (size_t i = 0; i < sizeof(message); i++)
		message[i] = (uint8_t)i;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		blake2s(out, 32, message, 32, message, vectors[i].len);
		assert_hex(out, 32, vectors[i].hash);
	}
}

static void rfc7693_sequence(uint8_t *out, size_t len, uint32_t seed)
{
	uint32_t a = 0xdead4bad * seed, b = 1;

	for (size_t i = 0; i < len; i++) {
		uint32_t next = a + b;
		a = b;
		b = next;
		out[i] = (uint8_t)(next >> 24);
	}
}

/* Hashes of many lengths, hashed together. */
static void rfc7693_appendix_e(void **state)
{
	static const size_t out_lens[] = {16, 20, 28, 32}, in_lens[] = {0, 3, 64, 65, 255, 1024};
	uint8_t in[1024], key[32], out[32];
	struct blake2s_state all;

	blake2s_init(&all, 32);
	for (int i = 0; i < 4; i++) {
		for (int j = 0; j < 6; j++) {
			size_t out_len = out_lens[i], in_len = in_lens[j];

			rfc7693_sequence(in, in_len, (uint32_t)in_len);
			blake2s(out, out_len, NULL, 0, in, in_len);
			blake2s_update(&all, out, out_len);
			rfc7693_sequence(key, out_len, (uint32_t)out_len);
			blake2s(out, out_len, key, out_len, in, in_len);
			blake2s_update(&all, out, out_len);
		}
	}
	blake2s_final(&all, out);
	assert_hex(out, 32, "6a411f08ce25adcdfb02aba641451cec53c598b24f4fc787fbdc88797f4c1dfe");
}

static void same_as_openssl_hash(void **state)
{
	struct prng prng = {1};
	uint8_t in[600], out[32], expected[32];

	prng_fill(&prng, in, sizeof(in));
	for (size_t len = 0; len <= sizeof(in); len++) {
		blake2s(out, 32, NULL, 0, in, len);
		assert_int_equal(EVP_Digest(in, len, expected, NULL, EVP_blake2s256(), NULL), 1);
		assert_memory_equal(out, expected, 32);
	}
}

static void openssl_mac(EVP_MAC *mac, uint8_t *out, size_t out_len, const uint8_t *key,
	size_t key_len, const uint8_t *in, size_t in_len)
{
	EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
	OSSL_PARAM params[] = {OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &out_len),
		OSSL_PARAM_construct_end()};
	size_t written;

	assert_int_equal(EVP_MAC_init(ctx, key, key_len, params), 1);
	assert_int_equal(EVP_MAC_update(ctx, in, in_len), 1);
	assert_int_equal(EVP_MAC_final(ctx, out, &written, out_len), 1);
	assert_int_equal(written, out_len);
	EVP_MAC_CTX_free(ctx);
}

static void same_as_openssl_mac(void **state)
{
	struct prng prng = {2};
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "BLAKE2SMAC", NULL);
	uint8_t in[300], key[32], out[32], expected[32];

	assert_non_null(mac);
	for (int i = 0; i < 1000; i++) {
		size_t out_len = 1 + prng_below(&prng, 32), key_len = 1 + prng_below(&prng, 32);
		size_t in_len = prng_below(&prng, sizeof(in) + 1);

		prng_fill(&prng, in, in_len);
		prng_fill(&prng, key, key_len);
		blake2s(out, out_len, key, key_len, in, in_len);
		openssl_mac(mac, expected, out_len, key, key_len, in, in_len);
		assert_memory_equal(out, expected, out_len);
	}
	EVP_MAC_free(mac);
}

/* However the message is cut, with a key or without. */
static void streaming(void **state)
{
	struct prng prng = {3};
	uint8_t in[400], key[32], out[32], expected[32];

	prng_fill(&prng, in, sizeof(in));
	prng_fill(&prng, key, sizeof(key));
	for (int i = 0; i < 500; i++) {
		size_t len = prng_below(&prng, sizeof(in) + 1), key_len = i % 2 ? 32 : 0, done = 0;
		struct blake2s_state hash;

		blake2s_init_key(&hash, 32, key, key_len);
		while (done < len) {
			size_t n = prng_below(&prng, (uint32_t)(len - done) + 1);
			blake2s_update(&hash, in + done, n);
			done += n;
		}
		blake2s_final(&hash, out);
		assert_true(secret_is_zero(&hash, sizeof(hash)));
		blake2s(expected, 32, key, key_len, in, len);
		assert_memory_equal(out, expected, 32);
	}
}

/*
 * The count of bytes goes on in its high word. Hashing 4 GiB takes too long here, so the count
 * starts just below; the expected value is that of a model written from RFC 7693, 3.2.
 */
static void beyond_4_gib(void **state)
{
	struct blake2s_state hash;
	uint8_t in[160], out[32];

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)i;
	blake2s_init(&hash, 32);
	hash.count = (UINT64_C(1) << 32) - 64;
	blake2s_update(&hash, in, sizeof(in));
	blake2s_final(&hash, out);
	assert_hex(out, 32, "3f40ad4b8786a6717f3cf3010137e3e9d48d11a95fb475296e5ef7e696bb6f0d");
}

static void hash_over_itself(void **state)
{
	uint8_t hash[32] = {7}, expected[32];

	blake2s(expected, 32, NULL, 0, hash, 32);
	blake2s(hash, 32, NULL, 0, hash, 32);
	assert_memory_equal(hash, expected, 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc7693_appendix_b),
		cmocka_unit_test(keyed),
		cmocka_unit_test(rfc7693_appendix_e),
		cmocka_unit_test(same_as_openssl_hash),
		cmocka_unit_test(same_as_openssl_mac),
		cmocka_unit_test(streaming),
		cmocka_unit_test(beyond_4_gib),
		cmocka_unit_test(hash_over_itself),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
