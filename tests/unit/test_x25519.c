/* SPDX-License-Identifier: BSD-3-Clause */
#include "x25519.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "prng.h"
#include "vectors.h"

#ifdef WITHOUT_VECTORS
/* The linker puts it in the place of the real one: as on a machine without the instructions. */
bool __wrap_x25519_avx512_usable(void);
bool __wrap_x25519_avx512_usable(void)
{
	return false;
}
#endif

/* RFC 7748, 5.2: scalar and u-coordinate as given, unclamped. */
static void rfc7748_scalar_multiplication(void **state)
{
	static const char *const vectors[][3] = {
		{"a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
			"e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
			"c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"},
		{"4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
			"e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
			"95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957"},
	};

	for (int i = 0; i < 2; i++) {
		struct private_key scalar;
		struct public_key point;
		uint8_t out[32];

		hex_bytes(scalar.bytes, 32, vectors[i][0]);
		hex_bytes(point.bytes, 32, vectors[i][1]);
		assert_true(x25519_shared(out, &scalar, &point));
		assert_hex(out, 32, vectors[i][2]);
	}
}

static void rfc7748_iterated(void **state)
{
	struct private_key scalar = {{9}};
	struct public_key point = {{9}};

	for (int i = 1; i <= 1000; i++) {
		uint8_t out[32];

		assert_true(x25519_shared(out, &scalar, &point));
		memcpy(point.bytes, scalar.bytes, 32);
		memcpy(scalar.bytes, out, 32);
		if (i == 1)
			assert_hex(out, 32,
				"422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
	}
	assert_hex(scalar.bytes, 32,
		"684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
}

/* RFC 7748, 6.1 */
static void rfc7748_diffie_hellman(void **state)
{
	static const char *const shared =
		"4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";
	struct private_key alice, bob;
	struct public_key alice_public, bob_public;
	uint8_t out[32];

	hex_bytes(alice.bytes, 32,
		"77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
	hex_bytes(
		bob.bytes, 32, "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
	x25519_public(&alice_public, &alice);
	assert_hex(alice_public.bytes, 32,
		"8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
	x25519_public(&bob_public, &bob);
	assert_hex(bob_public.bytes, 32,
		"de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
	assert_true(x25519_shared(out, &alice, &bob_public));
	assert_hex(out, 32, shared);
	assert_true(x25519_shared(out, &bob, &alice_public));
	assert_hex(out, 32, shared);
}

/* All are computed; those of small order, whose result is all zero, are refused. */
static void wycheproof(void **state)
{
	json_t *file = wycheproof_load("x25519_test.json");
	const json_t *group, *vector;
	size_t i, j, n = 0, n_refused = 0;

	json_array_foreach (json_object_get(file, "testGroups"), i, group) {
		json_array_foreach (json_object_get(group, "tests"), j, vector) {
			struct private_key private_key;
			struct public_key public_key;
			uint8_t expected[32], out[32];

			vector_bytes(vector, "private", private_key.bytes, 32);
			vector_bytes(vector, "public", public_key.bytes, 32);
			vector_bytes(vector, "shared", expected, 32);
			memset(out, 0xa5, sizeof(out));
			bool ok = x25519_shared(out, &private_key, &public_key);
			assert_memory_equal(out, expected, 32);
			assert_int_equal(ok, !secret_is_zero(expected, 32));
			n++;
			n_refused += !ok;
		}
	}
	assert_true(n >= 500 && n_refused >= 30);
	json_decref(file);
}

static void openssl_shared(
	uint8_t out[32], const struct private_key *private_key, const struct public_key *public_key)
{
	EVP_PKEY *own = EVP_PKEY_new_raw_private_key(
		EVP_PKEY_X25519, NULL, private_key->bytes, sizeof(private_key->bytes));
	EVP_PKEY *peer = EVP_PKEY_new_raw_public_key(
		EVP_PKEY_X25519, NULL, public_key->bytes, sizeof(public_key->bytes));
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(own, NULL);
	size_t len = 32;

	assert_int_equal(EVP_PKEY_derive_init(ctx), 1);
	assert_int_equal(EVP_PKEY_derive_set_peer(ctx, peer), 1);
	assert_int_equal(EVP_PKEY_derive(ctx, out, &len), 1);
	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(own);
	EVP_PKEY_free(peer);
}

static void same_as_openssl(void **state)
{
	struct prng prng = {1};

	for (int i = 0; i < 100; i++) {
		struct private_key private_key;
		struct public_key public_key;
		uint8_t out[32], expected[32];

		prng_fill(&prng, private_key.bytes, 32);
		prng_fill(&prng, public_key.bytes, 32);
		openssl_shared(expected, &private_key, &public_key);
		assert_true(x25519_shared(out, &private_key, &public_key));
		assert_memory_equal(out, expected, 32);
	}
}

/* Two at once are what each is alone, whatever the other is; u of every edge is among them. */
static void pairs_are_two(void **state)
{
	static const uint8_t edges[] = {0, 1, 2, 9, 18, 19, 20, 0xda, 0xec, 0xed, 0xee, 0xff};
	struct prng prng = {2};

	for (int i = 0; i < 600; i++) {
		struct private_key private_keys[2];
		struct public_key public_keys[2];
		uint8_t out[2][32], alone[2][32];
		bool ok = true;

		prng_fill(&prng, private_keys, sizeof(private_keys));
		prng_fill(&prng, public_keys, sizeof(public_keys));
		if (i % 3 == 0) { /* near 0, or near p and above */
			memset(public_keys[i % 2].bytes, i % 4 < 2 ? 0 : 0xff, 32);
			public_keys[i % 2].bytes[31] &= i % 5 ? 0x7f : 0xff;
			public_keys[i % 2].bytes[0] = edges[i / 3 % sizeof(edges)];
		}
		for (int k = 0; k < 2; k++)
			ok &= x25519_shared(alone[k], &private_keys[k], &public_keys[k]);
		assert_int_equal(
			x25519_shared_pair(
				out, (struct x25519_input[]){{&private_keys[0], &public_keys[0]},
					     {&private_keys[1], &public_keys[1]}}),
			ok);
		if (!ok)
			memset(alone, 0, sizeof(alone));
		assert_memory_equal(out, alone, sizeof(out));
		for (int k = 0; ok && k < 2; k++) {
			openssl_shared(alone[k], &private_keys[k], &public_keys[k]);
			assert_memory_equal(out[k], alone[k], 32);
		}
	}
}

static void generated_keys_are_clamped(void **state)
{
	uint8_t set[32] = {0}, clear[32] = {0};

	for (int i = 0; i < 100; i++) {
		struct private_key key;

		x25519_generate(&key);
		for (int j = 0; j < 32; j++) {
			set[j] |= key.bytes[j];
			clear[j] |= (uint8_t)~key.bytes[j];
		}
	}
	/* Each bit was seen both ways, but for the five that clamping fixes. */
	for (int j = 0; j < 32; j++) {
		assert_int_equal(set[j], j == 0 ? 0xf8 : j == 31 ? 0x7f : 0xff);
		assert_int_equal(clear[j], j == 31 ? 0xbf : 0xff);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc7748_scalar_multiplication),
		cmocka_unit_test(rfc7748_iterated),
		cmocka_unit_test(rfc7748_diffie_hellman),
		cmocka_unit_test(wycheproof),
		cmocka_unit_test(same_as_openssl),
		cmocka_unit_test(pairs_are_two),
		cmocka_unit_test(generated_keys_are_clamped),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
