/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The burst on any machine, packet by packet with libsodium. Any thread.
 *
 * libsodium takes one contiguous text. One segment is sealed or opened from where it lies; two are
 * first brought together in dst and then done in place there. It verifies before it decrypts; what
 * fails is zeroed here all the same, since the ciphertext may have been gathered in dst, and since
 * the promise is ours. So is the one that nothing of a key stays behind: libsodium clears what it
 * calls its state, but neither the vector registers nor what the compiler spilled.
 */
#include <string.h>

#include <sodium.h>

#include "aead.h"
#include "impls.h"
#include "start.h"
#include "wipe.h"

static void nonce_of(const struct aead_item *item, uint8_t nonce[static 12])
{
	memcpy(nonce, &aead_nonce_head, 4);
	memcpy(nonce + 4, item->nonce, 8);
}

/* `len` bytes of the source in one piece: where they lie if they do, otherwise in dst. */
static const uint8_t *gather(const struct aead_item *item, size_t len)
{
	const struct aead_segment *a = &item->src[0], *b = &item->src[1];

	if (len <= a->len)
		return a->data;
	if (a->len == 0)
		return b->data;
	if (b->data == a->data + a->len)
		return a->data;
	if (a->data != item->dst)
		memcpy(item->dst, a->data, a->len);
	memcpy(item->dst + a->len, b->data, len - a->len);
	return item->dst;
}

static void seal_one(struct aead_item *item)
{
	size_t len = (size_t)item->src[0].len + item->src[1].len;
	uint8_t nonce[12];

	nonce_of(item, nonce);
	crypto_aead_chacha20poly1305_ietf_encrypt_detached(item->dst, item->dst + len, NULL,
		gather(item, len), len, item->aad, item->aad != NULL ? item->aad_len : 0, NULL,
		nonce, item->key->bytes);
}

/* The tag may lie across the segments. Copied before dst is written. */
static void tag_of(const struct aead_item *item, size_t len, uint8_t tag[static AEAD_TAG_LEN])
{
	const struct aead_segment *a = &item->src[0], *b = &item->src[1];
	size_t in_a = len < a->len ? a->len - len : 0;

	if (in_a > 0)
		memcpy(tag, a->data + len, in_a);
	if (in_a < AEAD_TAG_LEN)
		memcpy(tag + in_a, b->data + b->len - (AEAD_TAG_LEN - in_a), AEAD_TAG_LEN - in_a);
}

static bool open_one(struct aead_item *item)
{
	size_t len = (size_t)item->src[0].len + item->src[1].len;
	uint8_t nonce[12], tag[AEAD_TAG_LEN];
	bool ok;

	if (len < AEAD_TAG_LEN)
		return false;
	len -= AEAD_TAG_LEN;
	tag_of(item, len, tag);
	nonce_of(item, nonce);
	/* libsodium wants a pointer even to nothing. */
	const uint8_t *text = len > 0 ? gather(item, len) : tag;
	ok = crypto_aead_chacha20poly1305_ietf_decrypt_detached(item->dst, NULL, text, len, tag,
		     item->aad, item->aad != NULL ? item->aad_len : 0, nonce,
		     item->key->bytes) == 0;
	if (!ok && len > 0)
		memset(item->dst, 0, len);
	secret_zero(tag, sizeof(tag));
	return ok;
}

/* Deeper than libsodium's AEAD goes. */
#define STACK_WIPED 4096

#if defined(__x86_64__)
static inline __attribute__((always_inline)) void wipe(void)
{
	wipe_vectors();
	wipe_stack(STACK_WIPED);
}
#else
static __attribute__((noinline)) void wipe(void)
{
	uint8_t below[STACK_WIPED];

	secret_zero(below, sizeof(below));
}
#endif

static void seal_burst(struct aead_item *items, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		seal_one(&items[i]);
	wipe();
}

static void open_burst(struct aead_item *items, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		items[i].ok = open_one(&items[i]);
	wipe();
}

static bool usable(void)
{
	crypto_start();
	return true;
}

const struct aead_impl aead_portable = {
	.name = "portable",
	.seal = seal_burst,
	.open = open_burst,
	.usable = usable,
};
