/* SPDX-License-Identifier: BSD-3-Clause */
/* AES-128-GCM of TLS records on vectors: OpenSSL's beside it, between unmapped pages. */
#include "tls_gcm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "guard.h"
#include "prng.h"

#define ROOM (20 << 10)
#define EACH_TO 600
#define LONG 200
#define TYPE 23

static bool is_here(void)
{
	if (tls_gcm_usable())
		return true;
	print_message("no ipsec-mb, or this machine lacks its instructions: OpenSSL does it\n");
	return false;
}

static size_t record_len(size_t text_len)
{
	return TLS_HEADER_LEN + text_len + 1 + TLS_TAG_LEN;
}

/* ---- beside OpenSSL ---- */

struct bench {
	struct guard guard;
	struct prng prng;
	struct gcm_key_data *key;
	uint8_t key_bytes[16], nonce[TLS_IV_LEN], wanted[ROOM];
	EVP_CIPHER_CTX *openssl;
};

static void openssl_seals(
	struct bench *b, const struct tls_inner *inner, const uint8_t *header, uint8_t *to)
{
	EVP_CIPHER_CTX *c = b->openssl;
	int n, at = 0;

	assert_int_equal(EVP_EncryptInit_ex(c, EVP_aes_128_gcm(), NULL, b->key_bytes, b->nonce), 1);
	assert_int_equal(EVP_EncryptUpdate(c, NULL, &n, header, TLS_HEADER_LEN), 1);
	if (inner->len) {
		assert_int_equal(EVP_EncryptUpdate(c, to, &n, inner->text, (int)inner->len), 1);
		at += n;
	}
	assert_int_equal(EVP_EncryptUpdate(c, to + at, &n, &inner->type, 1), 1);
	at += n;
	assert_int_equal(EVP_EncryptFinal_ex(c, to + at, &n), 1);
	EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, TLS_TAG_LEN, to + at);
}

/* Bytes at a room's start, or so that they end where it does. */
static uint8_t *place(const struct bench *b, unsigned room, size_t len, bool at_end)
{
	return guard_room(&b->guard, room) + (at_end ? b->guard.room_len - len : 0);
}

static void one_length(struct bench *b, size_t len, bool at_end)
{
	uint8_t *text = place(b, 0, len, at_end), *record = place(b, 1, record_len(len), at_end);
	uint8_t *opened = place(b, 2, len + 1, at_end);
	struct tls_inner inner = {text, len, (uint8_t)prng_next(&b->prng)};

	prng_fill(&b->prng, b->key_bytes, sizeof(b->key_bytes));
	prng_fill(&b->prng, b->nonce, sizeof(b->nonce));
	prng_fill(&b->prng, record, TLS_HEADER_LEN);
	prng_fill(&b->prng, text, len);
	b->key = tls_gcm_key(b->key, b->key_bytes);
	assert_non_null(b->key);
	tls_gcm_seal(b->key, b->nonce, &inner, record);
	openssl_seals(b, &inner, record, b->wanted);
	assert_memory_equal(record + TLS_HEADER_LEN, b->wanted, record_len(len) - TLS_HEADER_LEN);
	assert_true(tls_gcm_open(b->key, b->nonce, record, record_len(len), opened));
	assert_memory_equal(opened, text, len);
	assert_int_equal(opened[len], inner.type);
}

static void as_openssl(void **state)
{
	struct bench b = {.prng = {1}};

	(void)state;
	if (!is_here())
		skip();
	b.openssl = EVP_CIPHER_CTX_new();
	guard_init(&b.guard, 3, ROOM);
	for (size_t len = 0; len <= EACH_TO; len++) {
		one_length(&b, len, false);
		one_length(&b, len, true);
	}
	for (unsigned i = 0; i < LONG; i++)
		one_length(&b, (size_t)(prng_next(&b.prng) % 17000), i & 1);
	guard_fini(&b.guard);
	EVP_CIPHER_CTX_free(b.openssl);
	tls_gcm_free(b.key);
}

/* ---- forged ---- */

/* One bit of header, text or tag. */
static void forged(void **state)
{
	static const uint8_t key_bytes[16] = {1}, nonce[TLS_IV_LEN] = {2}, text[40] = {4}, zero[41];
	uint8_t record[TLS_HEADER_LEN + sizeof(zero) + TLS_TAG_LEN] = {23, 3, 3, 0, 57};
	uint8_t out[sizeof(zero) + 1];
	struct gcm_key_data *key;

	(void)state;
	if (!is_here())
		skip();
	key = tls_gcm_key(NULL, key_bytes);
	assert_non_null(key);
	tls_gcm_seal(key, nonce, &(struct tls_inner){text, sizeof(text), TYPE}, record);
	for (size_t bit = 0; bit < 8 * sizeof(record); bit++) {
		record[bit / 8] ^= (uint8_t)(1 << bit % 8);
		memset(out, 0xa5, sizeof(out));
		assert_false(tls_gcm_open(key, nonce, record, sizeof(record), out));
		assert_memory_equal(out, zero, sizeof(zero));
		assert_int_equal(out[sizeof(zero)], 0xa5);
		record[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_true(tls_gcm_open(key, nonce, record, sizeof(record), out));
	assert_memory_equal(out, text, sizeof(text));
	tls_gcm_free(key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(as_openssl), cmocka_unit_test(forged)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
