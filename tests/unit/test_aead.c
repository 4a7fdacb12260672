/* SPDX-License-Identifier: BSD-3-Clause */
/* Poly1305's edges through every implementation that runs here; the choice. */
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

#define TEXT_MAX 1024

static struct packet {
	uint8_t buf[TEXT_MAX + AEAD_TAG_LEN];
	struct symmetric_key key;
} packets[AEAD_BURST_MAX];
static struct aead_item items[AEAD_BURST_MAX];

/*
 * Published vectors for Poly1305's edges have AAD, which not every kernel does in its lanes, so
 * such packets are made here: the accumulator's value after the last block is chosen, and the
 * ciphertext that leads there is computed. With r and s from the nonce and key, blocks c1 .. cm and
 * the block of lengths L, each with 2^128 added, modulo p = 2^130 - 5:
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
