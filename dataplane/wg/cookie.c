/* SPDX-License-Identifier: BSD-3-Clause */
/* Protocol library: any thread, calls for one checker or maker serialized. */
#include "cookie.h"

#include <string.h>

#include "blake2s.h"
#include "xchacha.h"

static_assert(COOKIE_NONCE_LEN == XCHACHA_NONCE_LEN, "one AEAD");

/* The MACs end a message. */
static struct message_macs *macs_of(const void *message, size_t len)
{
	assert(len > sizeof(struct message_macs));
	return (struct message_macs *)((uint8_t *)message + len - sizeof(struct message_macs));
}

static void compute_mac1(
	uint8_t mac1[COOKIE_LEN], const struct cookie_keys *keys, const void *message, size_t len)
{
	blake2s(mac1, COOKIE_LEN, keys->mac1_key, sizeof(keys->mac1_key), message,
		len - sizeof(struct message_macs));
}

static void compute_mac2(
	uint8_t mac2[COOKIE_LEN], const uint8_t cookie[COOKIE_LEN], const void *message, size_t len)
{
	blake2s(mac2, COOKIE_LEN, cookie, COOKIE_LEN, message, len - COOKIE_LEN);
}

static void label_hash(uint8_t out[32], const char label[8], const struct public_key *key)
{
	struct blake2s_state state;

	blake2s_init(&state, 32);
	blake2s_update(&state, label, 8);
	blake2s_update(&state, key->bytes, sizeof(key->bytes));
	blake2s_final(&state, out);
}

void cookie_keys_init(struct cookie_keys *keys, const struct public_key *receiver)
{
	label_hash(keys->mac1_key, "mac1----", receiver);
	label_hash(keys->cookie_key.bytes, "cookie--", receiver);
}

/* ---- checker --------------------------------------------------------------------------------- */

void cookie_checker_init(struct cookie_checker *checker, const struct public_key *own)
{
	*checker = (struct cookie_checker){0};
	cookie_keys_init(&checker->keys, own);
}

void cookie_checker_fini(struct cookie_checker *checker)
{
	secret_zero(checker, sizeof(*checker));
}

/* What we give to this source while the secret lasts: it is made again rather than kept. */
static void make_cookie(struct cookie_checker *checker, uint8_t cookie[COOKIE_LEN],
	const struct net_endpoint *source, uint64_t now)
{
	uint8_t bytes[16 + 2] = {0};
	size_t len = source->addr.family == AF_INET ? 4 : 16;

	if (!checker->has_secret || now - checker->secret_born >= COOKIE_SECRET_MAX_AGE) {
		secret_random(checker->secret, sizeof(checker->secret));
		checker->secret_born = now;
		checker->has_secret = true;
	}
	memcpy(bytes, source->addr.bytes, len);
	bytes[len] = source->port >> 8;
	bytes[len + 1] = source->port & 0xff;
	blake2s(cookie, COOKIE_LEN, checker->secret, sizeof(checker->secret), bytes, len + 2);
}

bool cookie_check_mac1(const struct cookie_keys *keys, const void *message, size_t len)
{
	uint8_t mac1[COOKIE_LEN];

	compute_mac1(mac1, keys, message, len);
	return secret_equal(mac1, macs_of(message, len)->mac1, COOKIE_LEN);
}

enum cookie_result cookie_check(struct cookie_checker *checker, const void *message, size_t len,
	const struct net_endpoint *source, uint64_t now)
{
	uint8_t cookie[COOKIE_LEN], mac2[COOKIE_LEN];
	bool ok;

	if (!cookie_check_mac1(&checker->keys, message, len))
		return COOKIE_INVALID;
	if (!source)
		return COOKIE_MAC1;
	make_cookie(checker, cookie, source, now);
	compute_mac2(mac2, cookie, message, len);
	ok = secret_equal(mac2, macs_of(message, len)->mac2, COOKIE_LEN);
	secret_zero(cookie, sizeof(cookie));
	secret_zero(mac2, sizeof(mac2));
	return ok ? COOKIE_MAC1_MAC2 : COOKIE_MAC1;
}

void cookie_reply_create(struct cookie_checker *checker, struct message_cookie_reply *reply,
	const void *message, size_t len, const struct net_endpoint *source, uint64_t now)
{
	uint8_t cookie[COOKIE_LEN];

	reply->type = le32_make(MESSAGE_COOKIE_REPLY);
	/* an initiation and a response both name their sender right after the type */
	memcpy(&reply->receiver_index, (const uint8_t *)message + sizeof(struct le32),
		sizeof(struct le32));
	secret_random(reply->nonce, sizeof(reply->nonce));
	make_cookie(checker, cookie, source, now);
	xchacha_seal(reply->encrypted_cookie, cookie, COOKIE_LEN, macs_of(message, len)->mac1,
		COOKIE_LEN, reply->nonce, &checker->keys.cookie_key);
	secret_zero(cookie, sizeof(cookie));
}

/* ---- maker ----------------------------------------------------------------------------------- */

void cookie_maker_init(struct cookie_maker *maker, const struct public_key *remote)
{
	*maker = (struct cookie_maker){0};
	cookie_keys_init(&maker->keys, remote);
}

void cookie_maker_fini(struct cookie_maker *maker)
{
	secret_zero(maker, sizeof(*maker));
}

/* The secret behind a cookie is up to two minutes old; near its end the message might arrive late.
 */
static bool cookie_is_fresh(const struct cookie_maker *maker, uint64_t now)
{
	return maker->has_cookie &&
	       now - maker->cookie_received < COOKIE_SECRET_MAX_AGE - COOKIE_SECRET_LATENCY;
}

void cookie_add_macs(struct cookie_maker *maker, void *message, size_t len, uint64_t now)
{
	struct message_macs *macs = macs_of(message, len);

	compute_mac1(macs->mac1, &maker->keys, message, len);
	memcpy(maker->last_mac1, macs->mac1, COOKIE_LEN);
	maker->has_last_mac1 = true;
	if (cookie_is_fresh(maker, now)) {
		compute_mac2(macs->mac2, maker->cookie, message, len);
	} else {
		memset(macs->mac2, 0, COOKIE_LEN);
		secret_zero(maker->cookie, COOKIE_LEN);
		maker->has_cookie = false;
	}
}

bool cookie_reply_consume(
	struct cookie_maker *maker, const struct message_cookie_reply *reply, uint64_t now)
{
	uint8_t cookie[COOKIE_LEN];

	if (!maker->has_last_mac1)
		return false;
	if (!xchacha_open(cookie, reply->encrypted_cookie, sizeof(reply->encrypted_cookie),
		    maker->last_mac1, COOKIE_LEN, reply->nonce, &maker->keys.cookie_key))
		return false;
	memcpy(maker->cookie, cookie, COOKIE_LEN);
	maker->cookie_received = now;
	maker->has_cookie = true;
	maker->has_last_mac1 = false;
	secret_zero(cookie, sizeof(cookie));
	return true;
}
