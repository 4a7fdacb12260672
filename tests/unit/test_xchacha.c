/* SPDX-License-Identifier: BSD-3-Clause */
#include "xchacha.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "vectors.h"

#define TEXT_MAX 1024

struct vector {
	struct symmetric_key key;
	uint8_t nonce[24], aad[TEXT_MAX], text[TEXT_MAX], sealed[TEXT_MAX + 16];
	size_t aad_len, len;
	bool valid;
};

/* Apart and in place, both ways. */
static void check(const struct vector *v)
{
	uint8_t buf[TEXT_MAX + 16], zero[TEXT_MAX] = {0};
	bool ok;

	if (v->valid) {
		xchacha_seal(buf, v->text, v->len, v->aad, v->aad_len, v->nonce, &v->key);
		assert_memory_equal(buf, v->sealed, v->len + 16);
		memcpy(buf, v->text, v->len);
		xchacha_seal(buf, buf, v->len, v->aad, v->aad_len, v->nonce, &v->key);
		assert_memory_equal(buf, v->sealed, v->len + 16);
	}
	memset(buf, 0xa5, sizeof(buf));
	ok = xchacha_open(buf, v->sealed, v->len + 16, v->aad, v->aad_len, v->nonce, &v->key);
	assert_int_equal(ok, v->valid);
	assert_memory_equal(buf, ok ? v->text : zero, v->len);
	assert_int_equal(buf[v->len], 0xa5);

	memcpy(buf, v->sealed, v->len + 16);
	ok = xchacha_open(buf, buf, v->len + 16, v->aad, v->aad_len, v->nonce, &v->key);
	assert_int_equal(ok, v->valid);
	assert_memory_equal(buf, ok ? v->text : zero, v->len);
	assert_memory_equal(buf + v->len, v->sealed + v->len, 16);
}

static bool vector_read(struct vector *v, const json_t *json)
{
	uint8_t nonce[64];

	memset(v, 0, sizeof(*v));
	if (vector_bytes(json, "iv", nonce, sizeof(nonce)) != sizeof(v->nonce))
		return false;
	memcpy(v->nonce, nonce, sizeof(v->nonce));
	assert_int_equal(vector_bytes(json, "key", v->key.bytes, 32), 32);
	v->aad_len = vector_bytes(json, "aad", v->aad, TEXT_MAX);
	v->len = vector_bytes(json, "msg", v->text, TEXT_MAX);
	assert_int_equal(vector_bytes(json, "ct", v->sealed, TEXT_MAX), v->len);
	assert_int_equal(vector_bytes(json, "tag", v->sealed + v->len, 16), 16);
	v->valid = strcmp(vector_text(json, "result"), "valid") == 0;
	return true;
}

static void wycheproof(void **state)
{
	json_t *file = wycheproof_load("xchacha20_poly1305_test.json");
	const json_t *group, *json;
	size_t i, j, n_valid = 0, n_invalid = 0;

	json_array_foreach (json_object_get(file, "testGroups"), i, group) {
		json_array_foreach (json_object_get(group, "tests"), j, json) {
			struct vector v;

			/* Nonces of other lengths have no way in. */
			if (!vector_read(&v, json))
				continue;
			check(&v);
			n_valid += v.valid;
			n_invalid += !v.valid;
		}
	}
	assert_true(n_valid >= 200 && n_invalid >= 50);
	json_decref(file);
}

/* draft-irtf-cfrg-xchacha, A.3.1: the one that runs without files. */
static void draft(void **state)
{
	static const char text[] = "Ladies and Gentlemen of the class of '99: If I could offer you "
				   "only one tip for the future, sunscreen would be it.";
	struct vector v = {.len = sizeof(text) - 1, .valid = true};

	for (int i = 0; i < 32; i++)
		v.key.bytes[i] = (uint8_t)(0x80 + i);
	for (int i = 0; i < 24; i++)
		v.nonce[i] = (uint8_t)(0x40 + i);
	v.aad_len = hex_bytes(v.aad, TEXT_MAX, "50515253c0c1c2c3c4c5c6c7");
	memcpy(v.text, text, v.len);
	hex_bytes(v.sealed, TEXT_MAX,
		"bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb"
		"731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452"
		"2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9"
		"21f9664c97637da9768812f615c68b13b52e"
		"c0875924c1c7987947deafd8780acf49");
	check(&v);
	for (size_t i = 0; i < v.len + 16; i++) {
		v.sealed[i] ^= 0x01;
		v.valid = false;
		check(&v);
		v.sealed[i] ^= 0x01;
	}
}

static void shorter_than_a_tag(void **state)
{
	struct symmetric_key key = {{1}};
	uint8_t nonce[24] = {0}, sealed[16];

	xchacha_seal(sealed, NULL, 0, NULL, 0, nonce, &key);
	assert_true(xchacha_open(NULL, sealed, 16, NULL, 0, nonce, &key));
	sealed[0] ^= 1;
	assert_false(xchacha_open(NULL, sealed, 16, NULL, 0, nonce, &key));
	for (size_t len = 0; len < 16; len++)
		assert_false(xchacha_open(NULL, sealed, len, NULL, 0, nonce, &key));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(draft),
		cmocka_unit_test(shorter_than_a_tag),
		cmocka_unit_test(wycheproof),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
