/* SPDX-License-Identifier: BSD-3-Clause */
/* Published vectors and Poly1305's edges through every implementation that runs here; the choice.
 */
#include "aead_each.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/bn.h>
#include <openssl/evp.h>

#include "prng.h"
#include "vectors.h"

#define TEXT_MAX 1024

/* As many copies as fit, so that each lane of a vector kernel has the packet once. */
static struct packet {
	uint8_t buf[TEXT_MAX + AEAD_TAG_LEN];
	struct symmetric_key key;
} packets[AEAD_BURST_MAX];
static struct aead_item items[AEAD_BURST_MAX];

static void items_in_place(const struct symmetric_key *key, const uint8_t nonce[8],
	const uint8_t *aad, size_t aad_len, const uint8_t *src, size_t len)
{
	for (unsigned i = 0; i < AEAD_BURST_MAX; i++) {
		packets[i].key = *key;
		memcpy(packets[i].buf, src, len);
		items[i] = (struct aead_item){
			.key = &packets[i].key,
			.src = {{packets[i].buf, (uint32_t)len}},
			.dst = packets[i].buf,
			.aad = aad,
			.aad_len = (uint32_t)aad_len,
		};
		memcpy(items[i].nonce, nonce, 8);
	}
}

static void rfc8439_appendix_a5(void **state)
{
	static const char text[] =
		"Internet-Drafts are draft documents valid for a maximum of six months and may be "
		"updated, replaced, or obsoleted by other documents at any time. It is "
		"inappropriate to use Internet-Drafts as reference material or to cite them other "
		"than as /\xe2\x80\x9cwork in progress./\xe2\x80\x9d";
	static const uint8_t nonce[8] = {1, 2, 3, 4, 5, 6, 7, 8};
	struct symmetric_key key;
	uint8_t aad[12], sealed[TEXT_MAX];
	size_t len = sizeof(text) - 1;

	hex_bytes(
		key.bytes, 32, "1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0");
	hex_bytes(aad, sizeof(aad), "f33388860000000000004e91");
	assert_int_equal(
		len + AEAD_TAG_LEN, hex_bytes(sealed, sizeof(sealed),
					    "64a0861575861af460f062c79be643bd5e805cfd345cf389f10867"
					    "0ac76c8cb24c6cfc18755d43eea09ee94e382d26b0bdb7b73c321b"
					    "0100d4f03b7f355894cf332f830e710b97ce98c8a84abd0b948114"
					    "ad176e008d33bd60f982b1ff37c8559797a06ef4f0ef61c186324e"
					    "2b3506383606907b6a7c02b0f9f6157b53c867e4b9166c767b804d"
					    "46a59b5216cde7a4e99040c5a40433225ee282a1b0a06c523eaf45"
					    "34d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273f5"
					    "48271a0bb2316053fa76991955ebd63159434ecebb4e466dae5a10"
					    "73a6727627097a1049e617d91d361094fa68f0ff77987130305b"
					    "eaba2eda04df997b714d6c6f2c29a6ad5cb4022b02709b"
					    "eead9d67890cbb22392336fea1851f38"));

	items_in_place(&key, nonce, aad, sizeof(aad), (const uint8_t *)text, len);
	aead_seal(items, AEAD_BURST_MAX);
	for (unsigned i = 0; i < AEAD_BURST_MAX; i++)
		assert_memory_equal(packets[i].buf, sealed, len + AEAD_TAG_LEN);
	items_in_place(&key, nonce, aad, sizeof(aad), sealed, len + AEAD_TAG_LEN);
	aead_open(items, AEAD_BURST_MAX);
	for (unsigned i = 0; i < AEAD_BURST_MAX; i++) {
		assert_true(items[i].ok);
		assert_memory_equal(packets[i].buf, text, len);
	}
}

/* False: its nonce does not begin with 4 zero bytes, so it has no way in. */
static bool wycheproof_one(const json_t *vector)
{
	struct symmetric_key key;
	uint8_t nonce[64], aad[TEXT_MAX], text[TEXT_MAX], sealed[TEXT_MAX + AEAD_TAG_LEN];
	size_t nonce_len = vector_bytes(vector, "iv", nonce, sizeof(nonce));
	bool valid = strcmp(vector_text(vector, "result"), "valid") == 0;

	if (nonce_len != 12 || memcmp(nonce, (const uint8_t[4]){0}, 4) != 0)
		return false;
	vector_bytes(vector, "key", key.bytes, 32);
	size_t aad_len = vector_bytes(vector, "aad", aad, sizeof(aad));
	size_t len = vector_bytes(vector, "msg", text, sizeof(text));
	vector_bytes(vector, "ct", sealed, len);
	vector_bytes(vector, "tag", sealed + len, AEAD_TAG_LEN);

	items_in_place(&key, nonce + 4, aad, aad_len, text, len);
	aead_seal(items, AEAD_BURST_MAX);
	for (unsigned i = 0; valid && i < AEAD_BURST_MAX; i++)
		assert_memory_equal(packets[i].buf, sealed, len + AEAD_TAG_LEN);
	items_in_place(&key, nonce + 4, aad, aad_len, sealed, len + AEAD_TAG_LEN);
	aead_open(items, AEAD_BURST_MAX);
	for (unsigned i = 0; i < AEAD_BURST_MAX; i++) {
		assert_int_equal(items[i].ok, valid);
		if (valid)
			assert_memory_equal(packets[i].buf, text, len);
	}
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
	print_message("%zu of %zu vectors have a nonce that begins with zeros\n", n_in, n);
	assert_true(n_in >= 10);
	json_decref(file);
}

/*
 * Most of Wycheproof's vectors for Poly1305's edges have nonces that cannot get in, so such packets
 * are made here: the accumulator's value after the last block is chosen, and the ciphertext that
 * leads there is computed. With r and s from the nonce and key, blocks c1 .. cm and the block of
 * lengths L, each with 2^128 added, modulo p = 2^130 - 5:
 *
 *     h = (c1 r + c2) r ... + cm,  result = (h r + L) r,  tag = result + s modulo 2^128
 *
 * so cm = ((result / r) - L) / r - (c1 r ... + c(m-1)) r, which is a block with probability 1/4.
 */
struct poly {
	BN_CTX *ctx;
	BIGNUM *p, *r, *r_inverse, *high; /* high: 2^128 */
};

static BIGNUM *power_of_2(int exponent)
{
	BIGNUM *n = BN_new();

	assert_int_equal(BN_set_bit(n, exponent), 1);
	return n;
}

static void poly_init(struct poly *poly)
{
	poly->ctx = BN_CTX_new();
	poly->high = power_of_2(128);
	poly->p = power_of_2(130);
	BN_sub_word(poly->p, 5);
	poly->r = BN_new();
	poly->r_inverse = BN_new();
}

static void poly_fini(struct poly *poly)
{
	BN_free(poly->p);
	BN_free(poly->r);
	BN_free(poly->r_inverse);
	BN_free(poly->high);
	BN_CTX_free(poly->ctx);
}

/* `len` bytes of key stream from block `counter` on, over `in`. */
static void chacha(const struct symmetric_key *key, const uint8_t nonce[8], uint8_t counter,
	const uint8_t *in, size_t len, uint8_t *out)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t iv[16] = {counter};
	int n;

	memcpy(iv + 8, nonce, 8);
	assert_int_equal(EVP_EncryptInit_ex(ctx, EVP_chacha20(), NULL, key->bytes, iv), 1);
	assert_int_equal(EVP_EncryptUpdate(ctx, out, &n, in, (int)len), 1);
	EVP_CIPHER_CTX_free(ctx);
}

static void poly_key(struct poly *poly, const uint8_t poly1305_key[32])
{
	uint8_t r[16];

	memcpy(r, poly1305_key, sizeof(r));
	for (int i = 3; i < 16; i += 4)
		r[i] &= 0x0f;
	for (int i = 4; i < 16; i += 4)
		r[i] &= 0xfc;
	BN_lebin2bn(r, sizeof(r), poly->r);
	assert_non_null(BN_mod_inverse(poly->r_inverse, poly->r, poly->p, poly->ctx));
}

/* h = (h + block + 2^128) r */
static void poly_block(struct poly *poly, BIGNUM *h, const uint8_t block[16])
{
	BIGNUM *n = BN_lebin2bn(block, 16, NULL);

	BN_add(n, n, poly->high);
	BN_mod_add(h, h, n, poly->p, poly->ctx);
	BN_mod_mul(h, h, poly->r, poly->p, poly->ctx);
	BN_free(n);
}

/* Sets the last of the ciphertext's blocks; false when no block leads to `result`. */
static bool last_block_solve(
	struct poly *poly, const BIGNUM *result, uint8_t *ciphertext, size_t len)
{
	uint8_t lengths[16] = {[8] = (uint8_t)len, [9] = (uint8_t)(len >> 8)};
	BIGNUM *h = BN_new(), *last = BN_dup(result), *l = BN_lebin2bn(lengths, 16, NULL);

	for (size_t at = 0; at + 16 < len; at += 16)
		poly_block(poly, h, ciphertext + at);
	BN_add(l, l, poly->high);
	BN_mod_mul(last, last, poly->r_inverse, poly->p, poly->ctx);
	BN_mod_sub(last, last, l, poly->p, poly->ctx);
	BN_mod_mul(last, last, poly->r_inverse, poly->p, poly->ctx);
	BN_mod_sub(last, last, h, poly->p, poly->ctx);
	bool found = BN_num_bits(last) == 129;
	if (found) {
		BN_sub(last, last, poly->high);
		BN_bn2lebinpad(last, ciphertext + len - 16, 16);
	}
	BN_free(h);
	BN_free(last);
	BN_free(l);
	return found;
}

/* The i-th interesting value of the accumulator, or NULL: around 0 and p, around each power of two
 * (every limb size that an implementation may have), and all ones above it. */
static BIGNUM *edge(const struct poly *poly, unsigned i)
{
	BIGNUM *n;

	if (i >= 8 * 131)
		return NULL;
	n = power_of_2((int)(i / 8));
	if (i % 8 >= 5)
		BN_sub(n, poly->p, n);
	switch (i % 8) {
	case 0:
	case 5:
		BN_sub_word(n, 1);
		break;
	case 2:
	case 7:
		BN_add_word(n, 1);
		break;
	case 3:
		BN_add_word(n, 5);
		break;
	case 4:
		BN_lshift1(n, n);
		BN_sub_word(n, 5);
		break;
	}
	BN_nnmod(n, n, poly->p, poly->ctx);
	return n;
}

/* Packet `i` of the burst gets a text whose ciphertext leads Poly1305 to `result`. */
static void edge_packet(struct poly *poly, struct prng *prng, unsigned i, const BIGNUM *result,
	uint8_t expected[TEXT_MAX + AEAD_TAG_LEN])
{
	static const uint8_t zeros[32];
	struct packet *packet = &packets[i];
	struct aead_item *item = &items[i];
	uint8_t poly1305_key[32];
	size_t len = 16 * (2 + prng_below(prng, 20));
	BIGNUM *tag;

	*item = (struct aead_item){
		.key = &packet->key, .src = {{packet->buf, (uint32_t)len}}, .dst = packet->buf};
	prng_fill(prng, packet->key.bytes, 32);
	prng_fill(prng, item->nonce, 8);
	chacha(&packet->key, item->nonce, 0, zeros, 32, poly1305_key);
	poly_key(poly, poly1305_key);
	do
		prng_fill(prng, expected, len - 16);
	while (!last_block_solve(poly, result, expected, len));
	chacha(&packet->key, item->nonce, 1, expected, len, packet->buf);

	tag = BN_lebin2bn(poly1305_key + 16, 16, NULL);
	BN_add(tag, tag, result);
	BN_mask_bits(tag, 128);
	BN_bn2lebinpad(tag, expected + len, 16);
	BN_free(tag);
}

static void poly1305_edges(void **state)
{
	static uint8_t expected[AEAD_BURST_MAX][TEXT_MAX + AEAD_TAG_LEN];
	static struct packet before[AEAD_BURST_MAX];
	struct prng prng = {1};
	struct poly poly;
	unsigned n_edges = 0, n;

	poly_init(&poly);
	do {
		for (n = 0; n < AEAD_BURST_MAX; n++) {
			BIGNUM *result = edge(&poly, n_edges);

			if (result == NULL)
				break;
			edge_packet(&poly, &prng, n, result, expected[n]);
			BN_free(result);
			n_edges++;
		}
		memcpy(before, packets, sizeof(before));
		aead_seal(items, n);
		for (unsigned i = 0; i < n; i++) {
			uint32_t len = items[i].src[0].len;

			assert_memory_equal(packets[i].buf, expected[i], len + AEAD_TAG_LEN);
			items[i].src[0].len = len + AEAD_TAG_LEN;
		}
		aead_open(items, n);
		for (unsigned i = 0; i < n; i++) {
			assert_true(items[i].ok);
			assert_memory_equal(
				packets[i].buf, before[i].buf, items[i].src[0].len - AEAD_TAG_LEN);
		}
	} while (n == AEAD_BURST_MAX);
	assert_true(n_edges > 1000);
	poly_fini(&poly);
}

static void the_choice(void **state)
{
	const struct aead_impl *best = NULL;

	for (const struct aead_impl *const *impl = aead_impls; *impl != NULL; impl++) {
		if (best == NULL && (*impl)->usable())
			best = *impl;
		if ((*impl)->usable()) {
			assert_int_equal(aead_init((*impl)->name), 0);
			assert_ptr_equal(aead_chosen(), *impl);
		} else {
			assert_int_equal(aead_init((*impl)->name), -ENOTSUP);
		}
	}
	assert_non_null(best);
	assert_int_equal(aead_init("portable"), 0);
	assert_string_equal(aead_chosen()->name, "portable");
	assert_int_equal(aead_init("abacus"), -ENOENT);
	assert_string_equal(aead_chosen()->name, "portable");
	assert_int_equal(aead_init(NULL), 0);
	assert_ptr_equal(aead_chosen(), best);
	assert_int_equal(aead_init("portable"), 0);
	assert_int_equal(aead_init("auto"), 0);
	assert_ptr_equal(aead_chosen(), best);
}

static void the_environment_decides(void **state)
{
	setenv("TAILPLANE_AEAD", "portable", 1);
	assert_int_equal(aead_init("abacus"), 0);
	assert_string_equal(aead_chosen()->name, "portable");
	setenv("TAILPLANE_AEAD", "abacus", 1);
	assert_int_equal(aead_init("portable"), -ENOENT);
	setenv("TAILPLANE_AEAD", "", 1);
	assert_int_equal(aead_init("portable"), 0);
	unsetenv("TAILPLANE_AEAD");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc8439_appendix_a5),
		cmocka_unit_test(wycheproof),
		cmocka_unit_test(poly1305_edges),
	};
	static const struct CMUnitTest choice[] = {
		cmocka_unit_test(the_choice),
		cmocka_unit_test(the_environment_decides),
	};
	int n_failed;

	unsetenv("TAILPLANE_AEAD");
	n_failed = cmocka_run_group_tests_name("choice", choice, NULL, NULL);
	return n_failed + aead_each(tests, sizeof(tests) / sizeof(tests[0]));
}
