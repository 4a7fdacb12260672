/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The input describes a burst: of each packet its lengths, how its source is cut and where it lies,
 * and what is damaged before it is opened. Every implementation that runs here must do to it what
 * libsodium and OpenSSL do packet by packet. Each range is a heap block of exactly its size.
 *
 * One byte says how many packets. Per packet: 2 bytes length, 2 first segment's length, 1 layout, 1
 * AAD length, 8 nonce, 2 where to damage, 1 by what (0: not), all little-endian; then whatever is
 * left is repeated as key, AAD and text. When no more packets are described they begin again, each
 * with another counter and key, so that few bytes make the many packets alike that vector code
 * wants.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "aead.h"
#include "openssl_aead.h"

#define PACKETS_MAX AEAD_BURST_MAX
#define LEN_MAX 9000
#define LEN_USUAL 2100
#define PACKET_BYTES 17

struct packet {
	size_t len, cut, aad_len;
	unsigned layout;
	size_t damage_at;
	uint8_t damage;
	uint8_t nonce[12];
	struct symmetric_key key;
	uint8_t *aad, *text, *sealed;
	struct aead_item item;
	uint8_t *a, *b; /* blocks of the item's segments, or NULL where they lie in dst */
};

/* Layouts: which segments lie in dst. */
#define FIRST_IN_DST 1
#define SECOND_IN_DST 2

static struct openssl_aead openssl;
static struct aead_item items[PACKETS_MAX];

static void must(bool ok)
{
	if (!ok)
		abort();
}

static uint8_t *block_new(size_t len)
{
	uint8_t *block = malloc(len);

	must(block != NULL || len == 0);
	return block;
}

static void repeat(uint8_t *out, size_t len, const uint8_t *data, size_t size, size_t from)
{
	for (size_t i = 0; i < len; i++)
		out[i] = size > 0 ? data[(from + i) % size] : (uint8_t)(from + i);
}

static unsigned le16(const uint8_t *p)
{
	return p[0] | (unsigned)p[1] << 8;
}

static void packet_read(
	struct packet *p, unsigned i, const uint8_t *head, const uint8_t *rest, size_t rest_len)
{
	p->len = le16(head) % ((le16(head) >= 0xf000 ? LEN_MAX : LEN_USUAL) + 1);
	p->cut = le16(head + 2);
	p->layout = head[4];
	p->aad_len = head[5];
	memset(p->nonce, 0, 4);
	memcpy(p->nonce + 4, head + 6, 8);
	p->nonce[11] ^= (uint8_t)i;
	p->damage_at = le16(head + 14);
	p->damage = head[16];
	p->aad = block_new(p->aad_len);
	p->text = block_new(p->len);
	p->sealed = block_new(p->len + AEAD_TAG_LEN);
	repeat(p->key.bytes, sizeof(p->key.bytes), rest, rest_len, head[16] + i);
	repeat(p->aad, p->aad_len, rest, rest_len, 32);
	repeat(p->text, p->len, rest, rest_len, 7);
}

/* What libsodium makes of the packet, and whether it opens it as it is now. */
static void sodium_seal(const struct packet *p, uint8_t *sealed)
{
	crypto_aead_chacha20poly1305_ietf_encrypt(
		sealed, NULL, p->text, p->len, p->aad, p->aad_len, NULL, p->nonce, p->key.bytes);
}

static bool sodium_opens(const struct packet *p)
{
	static uint8_t text[LEN_MAX + 1];

	return crypto_aead_chacha20poly1305_ietf_decrypt(text, NULL, NULL, p->sealed,
		       p->len + AEAD_TAG_LEN, p->aad, p->aad_len, p->nonce, p->key.bytes) == 0;
}

static struct openssl_message message_of(const struct packet *p, const uint8_t *src, size_t len)
{
	return (struct openssl_message){
		.key = p->key.bytes,
		.nonce = p->nonce,
		.aad = p->aad,
		.aad_len = p->aad_len,
		.src = src,
		.len = len,
	};
}

/* The second segment lies where it lands only if the first does; the layout byte may ask for less.
 */
static void item_lay(struct packet *p, const uint8_t *src, size_t len, size_t dst_len)
{
	size_t cut = p->cut <= len ? p->cut : len;
	bool a_in_dst = p->layout & FIRST_IN_DST;
	bool b_in_dst = a_in_dst && (p->layout & SECOND_IN_DST);
	size_t room = dst_len;

	if (a_in_dst && cut > room)
		room = cut;
	if (b_in_dst && len > room)
		room = len;
	p->item = (struct aead_item){
		.key = &p->key,
		.dst = block_new(room),
		.aad = p->aad,
		.aad_len = (uint32_t)p->aad_len,
	};
	memcpy(p->item.nonce, p->nonce + 4, 8);
	p->a = a_in_dst ? NULL : block_new(cut);
	p->b = b_in_dst ? NULL : block_new(len - cut);
	uint8_t *a = a_in_dst ? p->item.dst : p->a;
	uint8_t *b = b_in_dst ? p->item.dst + cut : p->b;
	if (cut > 0)
		memcpy(a, src, cut);
	if (len > cut)
		memcpy(b, src + cut, len - cut);
	p->item.src[0] = (struct aead_segment){a, (uint32_t)cut};
	p->item.src[1] = (struct aead_segment){b, (uint32_t)(len - cut)};
}

static void item_free(struct packet *p)
{
	free(p->a);
	free(p->b);
	free(p->item.dst);
}

static void seal_burst(struct packet *packets, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct packet *p = &packets[i];

		item_lay(p, p->text, p->len, p->len + AEAD_TAG_LEN);
		items[i] = p->item;
	}
	aead_seal(items, n);
	for (unsigned i = 0; i < n; i++) {
		struct packet *p = &packets[i];

		must(memcmp(p->item.dst, p->sealed, p->len + AEAD_TAG_LEN) == 0);
		item_free(p);
	}
}

static void opened_check(struct packet *p, bool ok)
{
	static uint8_t expected[LEN_MAX];
	struct openssl_message message = message_of(p, p->sealed, p->len + AEAD_TAG_LEN);

	must(ok == openssl_open(&openssl, expected, &message));
	must(ok == sodium_opens(p));
	if (!ok)
		memset(expected, 0, p->len);
	must(p->len == 0 || memcmp(p->item.dst, expected, p->len) == 0);
}

static void open_burst(struct packet *packets, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct packet *p = &packets[i];

		item_lay(p, p->sealed, p->len + AEAD_TAG_LEN, p->len);
		items[i] = p->item;
	}
	aead_open(items, n);
	for (unsigned i = 0; i < n; i++) {
		opened_check(&packets[i], items[i].ok);
		item_free(&packets[i]);
	}
}

static void damage(struct packet *p)
{
	p->sealed[p->damage_at % (p->len + AEAD_TAG_LEN)] ^= p->damage;
}

static void with_each_impl(struct packet *packets, unsigned n)
{
	for (const struct aead_impl *const *impl = aead_impls; *impl != NULL; impl++) {
		if (aead_init((*impl)->name) < 0)
			continue;
		seal_burst(packets, n);
		for (unsigned i = 0; i < n; i++)
			damage(&packets[i]);
		open_burst(packets, n);
		for (unsigned i = 0; i < n; i++)
			damage(&packets[i]); /* takes it back */
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t sealed[LEN_MAX + AEAD_TAG_LEN];
	static struct packet packets[PACKETS_MAX];
	unsigned n = 0, wanted;
	size_t at = 1;

	if (openssl.seal == NULL)
		openssl_aead_init(&openssl);
	if (size < 1 + PACKET_BYTES)
		return 0;
	wanted = data[0] % (PACKETS_MAX + 1);
	for (; n < wanted; at += PACKET_BYTES) {
		struct packet *p = &packets[n];

		if (size - at < PACKET_BYTES)
			at = 1;
		packet_read(p, n++, data + at, data + at + PACKET_BYTES, size - at - PACKET_BYTES);
		struct openssl_message message = message_of(p, p->text, p->len);
		openssl_seal(&openssl, p->sealed, &message);
		sodium_seal(p, sealed);
		must(memcmp(sealed, p->sealed, p->len + AEAD_TAG_LEN) == 0);
	}
	with_each_impl(packets, n);
	for (unsigned i = 0; i < n; i++) {
		free(packets[i].aad);
		free(packets[i].text);
		free(packets[i].sealed);
	}
	return 0;
}
