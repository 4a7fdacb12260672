/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Published vectors (RFC 8439, Wycheproof) through every implementation that runs here. Each
 * fills a whole burst, so that every lane of a vector kernel has the packet once.
 *
 * Their nonces begin with any four bytes, those of aead.h with zeros: this program puts its own
 * aead_nonce_head in the place of the library's constant, and sends them through the machine code
 * of a release. AVX-512 leaves packets with AAD to libsodium, so each of those goes a second time
 * without its AAD: the ciphertext is still the published one, and the tag OpenSSL's.
 */
#include "aead_each.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "openssl_aead.h"
#include "vectors.h"

#define TEXT_MAX 1024

extern uint32_t aead_nonce_head;
uint32_t aead_nonce_head;

static struct openssl_aead openssl;

static struct packet {
	uint8_t buf[TEXT_MAX + AEAD_TAG_LEN];
	struct symmetric_key key;
} packets[AEAD_BURST_MAX];
static struct aead_item items[AEAD_BURST_MAX];

struct message {
	struct symmetric_key key;
	uint8_t nonce[12], aad[TEXT_MAX], text[TEXT_MAX], sealed[TEXT_MAX + AEAD_TAG_LEN];
	size_t aad_len, len;
	bool valid;
};

static void items_in_place(const struct message *m, const uint8_t *src, size_t len)
{
	memcpy(&aead_nonce_head, m->nonce, 4);
	for (unsigned i = 0; i < AEAD_BURST_MAX; i++) {
		packets[i].key = m->key;
		memcpy(packets[i].buf, src, len);
		items[i] = (struct aead_item){
			.key = &packets[i].key,
			.src = {{packets[i].buf, (uint32_t)len}},
			.dst = packets[i].buf,
			.aad = m->aad_len > 0 ? m->aad : NULL,
			.aad_len = (uint32_t)m->aad_len,
		};
		memcpy(items[i].nonce, m->nonce + 4, 8);
	}
}

static void both_ways(const struct message *m)
{
	static const uint8_t zeros[TEXT_MAX];

	items_in_place(m, m->text, m->len);
	aead_seal(items, AEAD_BURST_MAX);
	for (unsigned i = 0; m->valid && i < AEAD_BURST_MAX; i++)
		assert_memory_equal(packets[i].buf, m->sealed, m->len + AEAD_TAG_LEN);
	items_in_place(m, m->sealed, m->len + AEAD_TAG_LEN);
	aead_open(items, AEAD_BURST_MAX);
	for (unsigned i = 0; i < AEAD_BURST_MAX; i++) {
		assert_int_equal(items[i].ok, m->valid);
		assert_memory_equal(packets[i].buf, m->valid ? m->text : zeros, m->len);
	}
}

static void without_aad(struct message *m)
{
	struct openssl_message message = {
		.key = m->key.bytes, .nonce = m->nonce, .src = m->text, .len = m->len};
	uint8_t published[TEXT_MAX];

	memcpy(published, m->sealed, m->len);
	openssl_seal(&openssl, m->sealed, &message);
	if (m->valid)
		assert_memory_equal(m->sealed, published, m->len);
	m->aad_len = 0;
	m->valid = true;
	both_ways(m);
}

static void rfc8439(
	const char *key, const char *nonce, const char *aad, const char *text, const char *sealed)
{
	struct message m = {.len = strlen(text), .valid = true};

	hex_bytes(m.key.bytes, sizeof(m.key.bytes), key);
	hex_bytes(m.nonce, sizeof(m.nonce), nonce);
	m.aad_len = hex_bytes(m.aad, sizeof(m.aad), aad);
	memcpy(m.text, text, m.len);
	assert_int_equal(hex_bytes(m.sealed, sizeof(m.sealed), sealed), m.len + AEAD_TAG_LEN);
	both_ways(&m);
	without_aad(&m);
}

static void rfc8439_section_2_8_2(void **state)
{
	rfc8439("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
		"070000004041424344454647", "50515253c0c1c2c3c4c5c6c7",
		"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for "
		"the future, sunscreen would be it.",
		"d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6"
		"3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36"
		"92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
		"3ff4def08e4b7a9de576d26586cec64b6116"
		"1ae10b594f09e26a7e902ecbd0600691");
}

static void rfc8439_appendix_a5(void **state)
{
	rfc8439("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0",
		"000000000102030405060708", "f33388860000000000004e91",
		"Internet-Drafts are draft documents valid for a maximum of six months and may be "
		"updated, replaced, or obsoleted by other documents at any time. It is "
		"inappropriate to use Internet-Drafts as reference material or to cite them other "
		"than as /\xe2\x80\x9cwork in progress./\xe2\x80\x9d",
		"64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb2"
		"4c6cfc18755d43eea09ee94e382d26b0bdb7b73c321b0100d4f03b7f355894cf"
		"332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c855"
		"9797a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4"
		"b9166c767b804d46a59b5216cde7a4e99040c5a40433225ee282a1b0a06c523e"
		"af4534d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273f548271a"
		"0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a10"
		"49e617d91d361094fa68f0ff77987130305beaba2eda04df997b714d6c6f2c29"
		"a6ad5cb4022b02709beead9d67890cbb22392336fea1851f38");
}

/* False: its nonce is not of 12 bytes, so it is no packet, and must not be valid. */
static bool wycheproof_one(const json_t *vector)
{
	struct message m = {.valid = strcmp(vector_text(vector, "result"), "valid") == 0};
	uint8_t nonce[64];

	if (vector_bytes(vector, "iv", nonce, sizeof(nonce)) != sizeof(m.nonce)) {
		assert_false(m.valid);
		return false;
	}
	memcpy(m.nonce, nonce, sizeof(m.nonce));
	vector_bytes(vector, "key", m.key.bytes, sizeof(m.key.bytes));
	m.aad_len = vector_bytes(vector, "aad", m.aad, sizeof(m.aad));
	m.len = vector_bytes(vector, "msg", m.text, sizeof(m.text));
	vector_bytes(vector, "ct", m.sealed, m.len);
	vector_bytes(vector, "tag", m.sealed + m.len, AEAD_TAG_LEN);
	both_ways(&m);
	without_aad(&m);
	return true;
}

static void wycheproof(void **state)
{
	json_t *file = wycheproof_load("chacha20_poly1305_test.json");
	const json_t *group, *vector;
	size_t i, j, n = 0, n_in = 0;

	json_array_foreach (json_object_get(file, "testGroups"), i, group) {
		json_array_foreach (json_object_get(group, "tests"), j, vector) {
			n++;
			n_in += wycheproof_one(vector);
		}
	}
	print_message(
		"%zu vectors, and %zu with a nonce that is not of 12 bytes\n", n_in, n - n_in);
	assert_true(n_in >= 300);
	assert_int_equal(n, json_integer_value(json_object_get(file, "numberOfTests")));
	json_decref(file);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc8439_section_2_8_2),
		cmocka_unit_test(rfc8439_appendix_a5),
		cmocka_unit_test(wycheproof),
	};
	int n_failed;

	openssl_aead_init(&openssl);
	n_failed = aead_each(tests, sizeof(tests) / sizeof(tests[0]));
	openssl_aead_fini(&openssl);
	return n_failed;
}
