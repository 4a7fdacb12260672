/* SPDX-License-Identifier: BSD-3-Clause */
/* AES-128-GCM on vectors: published vectors, and OpenSSL's beside it, between unmapped pages. */
#include "aes_gcm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "guard.h"
#include "prng.h"
#include "vectors.h"

#define ROOM (20 << 10)
#define EACH_TO 600 /* more than two steps of the kernel */
#define LONG 200

static const struct aes_gcm *gcm;

static bool is_here(void)
{
	gcm = aes_gcm();
	if (!gcm)
		print_message("this machine has no VAES with AVX-512: OpenSSL does it\n");
	return gcm;
}

/* ---- published ---- */

static void published(void **state)
{
	/* cases 1 to 3 of McGrew and Viega's specification: key, nonce, text, sealed with tag */
	static const char *const cases[][4] = {
		{"00000000000000000000000000000000", "000000000000000000000000", "",
			"58e2fccefa7e3061367f1d57a4e7455a"},
		{"00000000000000000000000000000000", "000000000000000000000000",
			"00000000000000000000000000000000",
			"0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf"},
		{"feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
			"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
			"1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
			"42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
			"21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985"
			"4d5c2af327cd64a62cf35abd2ba6fab4"},
	};
	uint8_t key[16], nonce[12], text[64], sealed[80];
	struct aes_gcm_key expanded;

	(void)state;
	if (!is_here())
		skip();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct aes_gcm_message message = {.nonce = nonce, .bytes = text, .last = -1};

		hex_bytes(key, sizeof(key), cases[i][0]);
		hex_bytes(nonce, sizeof(nonce), cases[i][1]);
		message.len = hex_bytes(text, sizeof(text), cases[i][2]);
		gcm->key(&expanded, key);
		gcm->seal(&expanded, &message, sealed);
		assert_hex(sealed, message.len + AES_GCM_TAG_LEN, cases[i][3]);
	}
}

/* ---- beside OpenSSL ---- */

struct bench {
	struct guard guard;
	struct prng prng;
	uint8_t key[16], nonce[12], wanted[ROOM];
	struct aes_gcm_key expanded;
	EVP_CIPHER_CTX *openssl;
};

/* All that a message has is random; how long it is, with the tag. */
static size_t openssl_seals(struct bench *b, const struct aes_gcm_message *m)
{
	uint8_t last = (uint8_t)m->last;
	int n, at = 0;

	assert_int_equal(
		EVP_EncryptInit_ex(b->openssl, EVP_aes_128_gcm(), NULL, b->key, b->nonce), 1);
	if (m->head_len)
		EVP_EncryptUpdate(b->openssl, NULL, &n, m->head, (int)m->head_len);
	if (m->len) {
		EVP_EncryptUpdate(b->openssl, b->wanted, &n, m->bytes, (int)m->len);
		at += n;
	}
	if (m->last >= 0) {
		EVP_EncryptUpdate(b->openssl, b->wanted + at, &n, &last, 1);
		at += n;
	}
	assert_int_equal(EVP_EncryptFinal_ex(b->openssl, b->wanted + at, &n), 1);
	EVP_CIPHER_CTX_ctrl(b->openssl, EVP_CTRL_AEAD_GET_TAG, AES_GCM_TAG_LEN, b->wanted + at);
	return (size_t)at + AES_GCM_TAG_LEN;
}

/* Bytes at a room's start, or so that they end where it does. */
static uint8_t *place(const struct bench *b, unsigned room, size_t len, bool at_end)
{
	return guard_room(&b->guard, room) + (at_end ? b->guard.room_len - len : 0);
}

static void one_length(struct bench *b, size_t len, int last, bool at_end)
{
	size_t head_len = (size_t)(prng_next(&b->prng) % (AES_GCM_HEAD_MAX + 1));
	size_t sealed_len = len + (last >= 0) + AES_GCM_TAG_LEN;
	uint8_t *head = place(b, 0, head_len, at_end), *text = place(b, 1, len, at_end);
	uint8_t *sealed = place(b, 2, sealed_len, at_end);
	struct aes_gcm_message message = {b->nonce, head, head_len, text, len, last};
	struct aes_gcm_message back = {b->nonce, head, head_len, sealed, sealed_len, -1};
	uint8_t *opened = place(b, 3, sealed_len - AES_GCM_TAG_LEN, at_end);

	prng_fill(&b->prng, b->key, sizeof(b->key));
	prng_fill(&b->prng, b->nonce, sizeof(b->nonce));
	prng_fill(&b->prng, head, head_len);
	prng_fill(&b->prng, text, len);
	gcm->key(&b->expanded, b->key);
	gcm->seal(&b->expanded, &message, sealed);
	assert_int_equal(openssl_seals(b, &message), sealed_len);
	assert_memory_equal(sealed, b->wanted, sealed_len);
	assert_true(gcm->open(&b->expanded, &back, opened));
	assert_memory_equal(opened, text, len);
	if (last >= 0)
		assert_int_equal(opened[len], last);
	/* in place */
	assert_true(gcm->open(&b->expanded, &back, sealed));
	assert_memory_equal(sealed, text, len);
}

static void as_openssl(void **state)
{
	struct bench b = {.prng = {1}, .openssl = EVP_CIPHER_CTX_new()};

	(void)state;
	if (!is_here()) {
		EVP_CIPHER_CTX_free(b.openssl);
		skip();
	}
	guard_init(&b.guard, 4, ROOM);
	for (size_t len = 0; len <= EACH_TO; len++)
		for (unsigned i = 0; i < 4; i++)
			one_length(&b, len, i & 1 ? (int)(len & 255) : -1, i & 2);
	for (unsigned i = 0; i < LONG; i++)
		one_length(&b, (size_t)(prng_next(&b.prng) % 17000), i & 1 ? 23 : -1, i & 2);
	guard_fini(&b.guard);
	EVP_CIPHER_CTX_free(b.openssl);
}

/* ---- forged ---- */

static void refused(const struct aes_gcm_key *key, const struct aes_gcm_message *message)
{
	static const uint8_t zero[64];
	uint8_t out[64];

	memset(out, 0xa5, sizeof(out));
	assert_false(gcm->open(key, message, out));
	assert_memory_equal(out, zero, message->len - AES_GCM_TAG_LEN);
	assert_int_equal(out[message->len - AES_GCM_TAG_LEN], 0xa5);
}

/* One bit of head, text or tag; and what is shorter than a tag. */
static void forged(void **state)
{
	uint8_t key[16] = {1}, nonce[12] = {2}, head[5] = {23, 3, 3, 0, 56}, text[40] = {4};
	uint8_t sealed[sizeof(text) + AES_GCM_TAG_LEN], out[64];
	struct aes_gcm_message message = {nonce, head, sizeof(head), text, sizeof(text), -1};
	struct aes_gcm_message back = {nonce, head, sizeof(head), sealed, sizeof(sealed), -1};
	struct aes_gcm_key expanded;

	(void)state;
	if (!is_here())
		skip();
	gcm->key(&expanded, key);
	gcm->seal(&expanded, &message, sealed);
	for (size_t bit = 0; bit < 8 * sizeof(sealed); bit++) {
		sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
		refused(&expanded, &back);
		sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (size_t bit = 0; bit < 8 * sizeof(head); bit++) {
		head[bit / 8] ^= (uint8_t)(1 << bit % 8);
		refused(&expanded, &back);
		head[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_true(gcm->open(&expanded, &back, out));
	for (back.len = 0; back.len < AES_GCM_TAG_LEN; back.len++)
		assert_false(gcm->open(&expanded, &back, out));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published),
		cmocka_unit_test(as_openssl),
		cmocka_unit_test(forged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
