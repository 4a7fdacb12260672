/* SPDX-License-Identifier: BSD-3-Clause */
#include "kdf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "prng.h"
#include "vectors.h"

static void hmac_same_as_openssl(void **state)
{
	struct prng prng = {1};
	uint8_t key[150], in[200], out[32], expected[EVP_MAX_MD_SIZE];

	prng_fill(&prng, key, sizeof(key));
	for (size_t key_len = 0; key_len <= sizeof(key); key_len++) {
		size_t in_len = prng_below(&prng, sizeof(in) + 1);

		prng_fill(&prng, in, in_len);
		hmac_blake2s(out, key, key_len, in, in_len);
		assert_non_null(HMAC(
			EVP_blake2s256(), key, (int)key_len, in, in_len, expected, &(unsigned){0}));
		assert_memory_equal(out, expected, 32);
	}
}

/*
 * wireguard-go's vectors. Their chaining keys are shorter than 32 bytes, which HMAC pads with
 * zeros.
 */
static const struct {
	const char *ck, *in, *t[3];
} vectors[] = {
	{"test-key", "test-input",
		{
			"6f0e5ad38daba1bea8a0d213688736f19763239305e0f58aba697f9ffc41c633",
			"df1194df20802a4fe594cde27e92991c8cae66c366e8106aaa937a55fa371e8a",
			"fac6e2745a325f5dc5d11a5b165aad08b0ada28e7b4e666b7c077934a4d76c24",
		}},
	{"wireguard", "wireguard",
		{
			"491d43bbfdaa8750aaf535e334ecbfe5129967cd64635101c566d4caefda96e8",
			"1e71a379baefd8a79aa4662212fcafe19a23e2b609a3db7d6bcba8f560e3d25f",
			"31e1ae48bddfbe5de38f295e5452b1909a1b4e38e183926af3780b0c1e1f0160",
		}},
	{"", "",
		{
			"8387b46bf43eccfcf349552a095d8315c4055beb90208fb1be23b894bc2ed5d0",
			"58a0e5f6faefccf4807bff1f05fa8a9217945762040bcec2f4b4a62bdfe0e86e",
			"0ce6ea98ec548f8e281e93e32db65621c45eb18dc6f0a7ad94178610a2f7338e",
		}},
};

static void published(void **state)
{
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		uint8_t ck[32] = {0}, t1[32], t2[32], t3[32];
		const char *in = vectors[i].in;

		memcpy(ck, vectors[i].ck, strlen(vectors[i].ck));
		kdf1(t1, ck, in, strlen(in));
		assert_hex(t1, 32, vectors[i].t[0]);
		memset(t1, 0, 32);
		kdf2(t1, t2, ck, in, strlen(in));
		assert_hex(t1, 32, vectors[i].t[0]);
		assert_hex(t2, 32, vectors[i].t[1]);
		memset(t1, 0, 32);
		memset(t2, 0, 32);
		kdf3(t1, t2, t3, ck, in, strlen(in));
		assert_hex(t1, 32, vectors[i].t[0]);
		assert_hex(t2, 32, vectors[i].t[1]);
		assert_hex(t3, 32, vectors[i].t[2]);
	}
}

/* The handshake's way: the new chaining key over the old one, a key over the shared secret. */
static void outputs_over_inputs(void **state)
{
	uint8_t ck[32] = "wireguard", in[32] = "wireguard";

	kdf2(ck, in, ck, in, strlen("wireguard"));
	assert_hex(ck, 32, vectors[1].t[0]);
	assert_hex(in, 32, vectors[1].t[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hmac_same_as_openssl),
		cmocka_unit_test(published),
		cmocka_unit_test(outputs_over_inputs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
