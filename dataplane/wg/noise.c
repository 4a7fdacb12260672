/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Protocol library: any thread, in practice a job. The steps are marked with the symbols of the
 * Noise pattern:
 *
 *   IKpsk2:   <- s   ...   -> e, es, s, ss, {t}   <- e, ee, se, psk, {}
 *
 * Every function works on a copy of the handshake and puts it in the peer's place at the end, so a
 * message that fails at any step changes nothing. Copies and intermediate keys are zeroed on each
 * way out.
 */
#include "noise.h"

#include <string.h>

#include "blake2s.h"
#include "chapoly.h"
#include "kdf.h"
#include "x25519.h"

static_assert(NOISE_TAG_LEN == CHAPOLY_TAG_LEN, "one AEAD");
static_assert(sizeof(struct symmetric_key[2]) == 64, "outputs of x25519_shared_pair");

/* Timestamps round down to this, finer than the pace at which initiations are accepted. */
#define TIMESTAMP_STEP (1U << 24)
static_assert(NS_PER_SEC / INITIATIONS_PER_SECOND >= TIMESTAMP_STEP, "no slower than accepted");

static const char construction[] = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
static const char identifier[] = "WireGuard v1 zx2c4 Jason@zx2c4.com";

/* ---- transcript ------------------------------------------------------------------------------ */

static void mix_hash(struct noise_transcript *t, const void *data, size_t len)
{
	struct blake2s_state state;

	blake2s_init(&state, NOISE_HASH_LEN);
	blake2s_update(&state, t->hash, NOISE_HASH_LEN);
	blake2s_update(&state, data, len);
	blake2s_final(&state, t->hash);
}

/* <- s: the initiator knows the responder's static key beforehand. */
static void start(struct noise_transcript *t, const struct public_key *responder)
{
	blake2s(t->chaining_key.bytes, 32, NULL, 0, construction, sizeof(construction) - 1);
	memcpy(t->hash, t->chaining_key.bytes, NOISE_HASH_LEN);
	mix_hash(t, identifier, sizeof(identifier) - 1);
	mix_hash(t, responder->bytes, sizeof(responder->bytes));
}

/* The preshared key makes an ephemeral part of the chaining key too. */
static void mix_ephemeral(struct noise_transcript *t, const uint8_t ephemeral[32])
{
	kdf1(t->chaining_key.bytes, t->chaining_key.bytes, ephemeral, 32);
	mix_hash(t, ephemeral, 32);
}

/* `key` NULL: the step yields no key of its own. */
static void mix_secret(
	struct noise_transcript *t, struct symmetric_key *key, const struct symmetric_key *secret)
{
	uint8_t *ck = t->chaining_key.bytes;

	if (key)
		kdf2(ck, key->bytes, ck, secret->bytes, 32);
	else
		kdf1(ck, ck, secret->bytes, 32);
}

/* A fresh key's public half is made beside a step's secret. */
WG_MUST_USE static bool dh_with_public(struct symmetric_key *shared, struct public_key *public,
	const struct private_key *fresh, const struct x25519_input *step)
{
	const struct x25519_input both[2] = {{fresh, &x25519_base}, *step};
	uint8_t out[2][32];
	bool ok = x25519_shared_pair(out, both);

	memcpy(public->bytes, out[0], 32);
	memcpy(shared->bytes, out[1], 32);
	secret_zero(out, sizeof(out));
	return ok;
}

/* Both steps of a response; neither yields a key of its own. */
WG_MUST_USE static bool mix_two_dh(
	struct noise_transcript *t, const struct x25519_input steps[static 2])
{
	struct symmetric_key shared[2];
	bool ok =
		x25519_shared_pair((uint8_t(*)[32])shared, steps); /* the struct is its 32 bytes */

	for (int i = 0; ok && i < 2; i++)
		mix_secret(t, NULL, &shared[i]);
	secret_zero(shared, sizeof(shared));
	return ok;
}

static void mix_psk(
	struct noise_transcript *t, struct symmetric_key *key, const struct symmetric_key *psk)
{
	uint8_t tau[32];

	kdf3(t->chaining_key.bytes, tau, key->bytes, t->chaining_key.bytes, psk->bytes, 32);
	mix_hash(t, tau, sizeof(tau));
	secret_zero(tau, sizeof(tau));
}

static void encrypt_and_hash(struct noise_transcript *t, const struct symmetric_key *key,
	uint8_t *dst, const uint8_t *src, size_t len)
{
	chapoly_seal(dst, src, len, t->hash, NOISE_HASH_LEN, 0, key);
	mix_hash(t, dst, len + NOISE_TAG_LEN);
}

/* `len` with tag. */
WG_MUST_USE static bool decrypt_and_hash(struct noise_transcript *t,
	const struct symmetric_key *key, uint8_t *dst, const uint8_t *src, size_t len)
{
	if (!chapoly_open(dst, src, len, t->hash, NOISE_HASH_LEN, 0, key))
		return false;
	mix_hash(t, src, len);
	return true;
}

/* ---- keys and peers -------------------------------------------------------------------------- */

void noise_local_init(struct noise_local *local, const struct private_key *static_private)
{
	local->static_private = *static_private;
	x25519_public(&local->static_public, static_private);
}

void noise_local_fini(struct noise_local *local)
{
	secret_zero(local, sizeof(*local));
}

bool noise_peer_init(struct noise_peer *peer, const struct noise_local *local,
	const struct public_key *remote_static, const struct symmetric_key *preshared_key)
{
	*peer = (struct noise_peer){.remote_static = *remote_static};
	noise_peer_set_preshared_key(peer, preshared_key);
	return noise_peer_set_local(peer, local);
}

void noise_peer_fini(struct noise_peer *peer)
{
	secret_zero(peer, sizeof(*peer));
}

bool noise_peer_set_local(struct noise_peer *peer, const struct noise_local *local)
{
	noise_peer_forget(peer);
	return x25519_shared(
		peer->static_static.bytes, &local->static_private, &peer->remote_static);
}

void noise_peer_set_preshared_key(
	struct noise_peer *peer, const struct symmetric_key *preshared_key)
{
	if (preshared_key)
		peer->preshared_key = *preshared_key;
	else
		secret_zero(&peer->preshared_key, sizeof(peer->preshared_key));
}

void noise_peer_forget(struct noise_peer *peer)
{
	secret_zero(&peer->handshake, sizeof(peer->handshake));
	static_assert(NOISE_ZEROED == 0, "a zeroed handshake is none");
}

/* ---- timestamps ------------------------------------------------------------------------------ */

static struct noise_timestamp timestamp_make(uint64_t seconds, uint32_t ns)
{
	struct noise_timestamp timestamp;

	seconds = htobe64(seconds);
	ns = htobe32(ns);
	memcpy(timestamp.bytes, &seconds, 8);
	memcpy(timestamp.bytes + 8, &ns, 4);
	return timestamp;
}

static bool timestamp_newer(const struct noise_timestamp *a, const struct noise_timestamp *b)
{
	return memcmp(a->bytes, b->bytes, NOISE_TIMESTAMP_LEN) > 0;
}

struct noise_timestamp noise_tai64n(uint64_t unix_ns)
{
	/* TAI64 starts at 2^62; TAI was 10 s ahead of UTC in 1970 */
	return timestamp_make(0x400000000000000aULL + unix_ns / NS_PER_SEC,
		unix_ns % NS_PER_SEC & ~(TIMESTAMP_STEP - 1));
}

struct noise_timestamp noise_timestamp_next(
	const struct noise_timestamp *previous, uint64_t unix_ns)
{
	struct noise_timestamp timestamp = noise_tai64n(unix_ns);
	uint64_t seconds;
	uint32_t ns;

	if (timestamp_newer(&timestamp, previous))
		return timestamp;
	memcpy(&seconds, previous->bytes, 8);
	memcpy(&ns, previous->bytes + 8, 4);
	seconds = be64toh(seconds);
	ns = (be32toh(ns) & ~(TIMESTAMP_STEP - 1)) + TIMESTAMP_STEP;
	if (ns >= NS_PER_SEC || ns < TIMESTAMP_STEP)
		return timestamp_make(seconds + 1, 0);
	return timestamp_make(seconds, ns);
}

/* ---- first message --------------------------------------------------------------------------- */

enum noise_result noise_create_initiation(struct message_initiation *message,
	struct noise_peer *peer, const struct noise_local *local,
	const struct noise_timestamp *timestamp, uint32_t local_index)
{
	struct noise_handshake h = {.state = NOISE_CREATED_INITIATION, .local_index = local_index};
	enum noise_result result = NOISE_NOT_AUTHENTIC;
	struct symmetric_key key, es;
	struct public_key ephemeral;

	start(&h.transcript, &peer->remote_static);
	memset(message, 0, sizeof(*message));
	message->type = le32_make(MESSAGE_INITIATION);
	message->sender_index = le32_make(local_index);

	x25519_generate(&h.ephemeral);
	if (!dh_with_public(&es, &ephemeral, &h.ephemeral,
		    &(struct x25519_input){&h.ephemeral, &peer->remote_static}))
		goto out;
	/* e */
	memcpy(message->ephemeral, ephemeral.bytes, 32);
	mix_ephemeral(&h.transcript, message->ephemeral);
	/* es */
	mix_secret(&h.transcript, &key, &es);
	/* s */
	encrypt_and_hash(
		&h.transcript, &key, message->encrypted_static, local->static_public.bytes, 32);
	/* ss */
	mix_secret(&h.transcript, &key, &peer->static_static);
	/* {t} */
	encrypt_and_hash(&h.transcript, &key, message->encrypted_timestamp, timestamp->bytes,
		NOISE_TIMESTAMP_LEN);

	peer->handshake = h;
	result = NOISE_OK;
out:
	secret_zero(&h, sizeof(h));
	secret_zero(&key, sizeof(key));
	secret_zero(&es, sizeof(es));
	return result;
}

/* Where one more costs nothing the answer's ephemeral comes with it: nobody can make us work more
 * than for the step alone. */
WG_MUST_USE static bool es_of_initiation(struct symmetric_key *es, struct noise_initiation *in,
	const struct private_key *static_private)
{
	if (!x25519_pair_costs_one())
		return x25519_shared(es->bytes, static_private, &in->remote_ephemeral);
	x25519_generate(&in->ephemeral);
	return dh_with_public(es, &in->ephemeral_public, &in->ephemeral,
		&(struct x25519_input){static_private, &in->remote_ephemeral});
}

enum noise_result noise_open_initiation(struct noise_initiation *initiation,
	const struct message_initiation *message, const struct noise_local *local)
{
	struct noise_initiation in = {.remote_index = le32_get(message->sender_index)};
	enum noise_result result = NOISE_NOT_AUTHENTIC;
	struct symmetric_key key, es;

	start(&in.transcript, &local->static_public);
	/* e */
	memcpy(in.remote_ephemeral.bytes, message->ephemeral, 32);
	mix_ephemeral(&in.transcript, message->ephemeral);
	/* es */
	if (!es_of_initiation(&es, &in, &local->static_private))
		goto out;
	mix_secret(&in.transcript, &key, &es);
	/* s */
	if (!decrypt_and_hash(&in.transcript, &key, in.remote_static.bytes,
		    message->encrypted_static, sizeof(message->encrypted_static)))
		goto out;
	*initiation = in;
	result = NOISE_OK;
out:
	secret_zero(&in, sizeof(in));
	secret_zero(&key, sizeof(key));
	secret_zero(&es, sizeof(es));
	return result;
}

void noise_initiation_drop(struct noise_initiation *initiation)
{
	secret_zero(initiation, sizeof(*initiation));
}

/* Authentic; is it also newer than all before, and not too soon after the last? */
static enum noise_result check_freshness(
	const struct noise_peer *peer, const struct noise_timestamp *timestamp, uint64_t now)
{
	if (!timestamp_newer(timestamp, &peer->latest_timestamp))
		return NOISE_REPLAYED;
	if (peer->last_accepted && now - peer->last_accepted < NS_PER_SEC / INITIATIONS_PER_SECOND)
		return NOISE_FLOODED;
	return NOISE_OK;
}

enum noise_result noise_accept_initiation(struct noise_peer *peer,
	struct noise_initiation *initiation, const struct message_initiation *message, uint64_t now)
{
	enum noise_result result = NOISE_NOT_AUTHENTIC;
	struct noise_timestamp timestamp;
	struct symmetric_key key;

	/* else whoever likes could compute ss */
	if (secret_is_zero(&peer->static_static, sizeof(peer->static_static)))
		goto out;
	/* ss */
	mix_secret(&initiation->transcript, &key, &peer->static_static);
	/* {t} */
	if (!decrypt_and_hash(&initiation->transcript, &key, timestamp.bytes,
		    message->encrypted_timestamp, sizeof(message->encrypted_timestamp)))
		goto out;
	result = check_freshness(peer, &timestamp, now);
	if (result != NOISE_OK)
		goto out;

	noise_peer_forget(peer);
	peer->handshake.state = NOISE_CONSUMED_INITIATION;
	peer->handshake.transcript = initiation->transcript;
	peer->handshake.remote_ephemeral = initiation->remote_ephemeral;
	peer->handshake.ephemeral = initiation->ephemeral;
	peer->handshake.ephemeral_public = initiation->ephemeral_public;
	peer->handshake.remote_index = initiation->remote_index;
	peer->latest_timestamp = timestamp;
	peer->last_accepted = now;
out:
	secret_zero(&key, sizeof(key));
	noise_initiation_drop(initiation);
	return result;
}

/* ---- second message -------------------------------------------------------------------------- */

static void ephemeral_make(struct noise_handshake *h)
{
	x25519_generate(&h->ephemeral);
	x25519_public(&h->ephemeral_public, &h->ephemeral);
}

enum noise_result noise_create_response(
	struct message_response *message, struct noise_peer *peer, uint32_t local_index)
{
	struct noise_handshake h = peer->handshake;
	enum noise_result result = NOISE_UNEXPECTED;
	struct symmetric_key key = {0};

	if (h.state != NOISE_CONSUMED_INITIATION)
		goto out;
	result = NOISE_NOT_AUTHENTIC;
	memset(message, 0, sizeof(*message));
	message->type = le32_make(MESSAGE_RESPONSE);
	message->sender_index = le32_make(local_index);
	message->receiver_index = le32_make(h.remote_index);

	/* e */
	if (secret_is_zero(&h.ephemeral, sizeof(h.ephemeral)))
		ephemeral_make(&h);
	memcpy(message->ephemeral, h.ephemeral_public.bytes, 32);
	mix_ephemeral(&h.transcript, message->ephemeral);
	/* ee, se */
	if (!mix_two_dh(&h.transcript, (struct x25519_input[]){{&h.ephemeral, &h.remote_ephemeral},
					       {&h.ephemeral, &peer->remote_static}}))
		goto out;
	/* psk */
	mix_psk(&h.transcript, &key, &peer->preshared_key);
	/* {} */
	encrypt_and_hash(&h.transcript, &key, message->encrypted_nothing, NULL, 0);

	secret_zero(&h.ephemeral, sizeof(h.ephemeral));
	h.local_index = local_index;
	h.state = NOISE_CREATED_RESPONSE;
	peer->handshake = h;
	result = NOISE_OK;
out:
	secret_zero(&h, sizeof(h));
	secret_zero(&key, sizeof(key));
	return result;
}

enum noise_result noise_consume_response(struct noise_peer *peer,
	const struct message_response *message, const struct noise_local *local)
{
	struct noise_handshake h = peer->handshake;
	enum noise_result result = NOISE_UNEXPECTED;
	struct public_key ephemeral;
	struct symmetric_key key = {0};

	if (h.state != NOISE_CREATED_INITIATION ||
		h.local_index != le32_get(message->receiver_index))
		goto out;
	result = NOISE_NOT_AUTHENTIC;
	/* e */
	memcpy(ephemeral.bytes, message->ephemeral, 32);
	mix_ephemeral(&h.transcript, message->ephemeral);
	/* ee, se */
	if (!mix_two_dh(&h.transcript, (struct x25519_input[]){{&h.ephemeral, &ephemeral},
					       {&local->static_private, &ephemeral}}))
		goto out;
	/* psk */
	mix_psk(&h.transcript, &key, &peer->preshared_key);
	/* {} */
	if (!decrypt_and_hash(&h.transcript, &key, NULL, message->encrypted_nothing,
		    sizeof(message->encrypted_nothing)))
		goto out;

	secret_zero(&h.ephemeral, sizeof(h.ephemeral));
	h.remote_index = le32_get(message->sender_index);
	h.state = NOISE_CONSUMED_RESPONSE;
	peer->handshake = h;
	result = NOISE_OK;
out:
	secret_zero(&h, sizeof(h));
	secret_zero(&key, sizeof(key));
	return result;
}

/* ---- session --------------------------------------------------------------------------------- */

enum noise_result noise_begin_session(struct noise_peer *peer, struct noise_keys *keys)
{
	const struct noise_handshake *h = &peer->handshake;
	struct symmetric_key *first, *second; /* the initiator's to send with, the responder's */

	if (h->state != NOISE_CONSUMED_RESPONSE && h->state != NOISE_CREATED_RESPONSE)
		return NOISE_UNEXPECTED;
	keys->initiator = h->state == NOISE_CONSUMED_RESPONSE;
	keys->local_index = h->local_index;
	keys->remote_index = h->remote_index;
	first = keys->initiator ? &keys->send : &keys->receive;
	second = keys->initiator ? &keys->receive : &keys->send;
	kdf2(first->bytes, second->bytes, h->transcript.chaining_key.bytes, NULL, 0);
	noise_peer_forget(peer);
	return NOISE_OK;
}
