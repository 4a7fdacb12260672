/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s: the handshake of WireGuard (paper, section 5.4). Protocol
 * library: no clock, no socket, any thread. The Diffie-Hellman steps take ~50 us each, so call it
 * from a job.
 *
 *   initiator                                responder
 *   noise_create_initiation   -- msg 1 -->   noise_open_initiation  (who is it?)
 *                                            noise_accept_initiation (is it really, and fresh?)
 *   noise_consume_response    <-- msg 2 --   noise_create_response
 *   noise_begin_session                      noise_begin_session
 *
 * Neither mac1 nor mac2 is looked at or filled in here: cookie.h does both, before and after.
 *
 * The caller serializes all calls for one noise_peer (a job lane per peer). A noise_local is not
 * written after noise_local_init and may be shared. A message that is refused leaves the peer as it
 * was, whatever it contained.
 */
#include <stdbool.h>
#include <stdint.h>

#include "messages.h"
#include "secret.h"

#define NOISE_HASH_LEN 32

/* TAI64N: big-endian seconds and nanoseconds, so that memcmp orders them. */
struct noise_timestamp {
	uint8_t bytes[NOISE_TIMESTAMP_LEN];
};

/* What both ends have seen so far (H) and the key that grows with each DH (C). */
struct noise_transcript {
	uint8_t hash[NOISE_HASH_LEN];
	struct symmetric_key chaining_key;
};

/* Our own static key of a tunnel. */
struct noise_local {
	struct private_key static_private;
	struct public_key static_public;
};

enum noise_state {
	NOISE_ZEROED,
	NOISE_CREATED_INITIATION,
	NOISE_CONSUMED_INITIATION,
	NOISE_CREATED_RESPONSE,
	NOISE_CONSUMED_RESPONSE,
};

/* One handshake under way, in either role; a newer one takes the place of an older. */
struct noise_handshake {
	enum noise_state state;
	struct noise_transcript transcript;
	struct private_key ephemeral;       /* ours; as responder zero: not made yet */
	struct public_key ephemeral_public; /* ours, as responder */
	struct public_key remote_ephemeral; /* theirs, as responder */
	uint32_t local_index, remote_index;
};

struct noise_peer {
	struct public_key remote_static;
	struct symmetric_key
		static_static; /* DH of both static keys; zero: no handshake can succeed */
	struct symmetric_key preshared_key; /* zero: none */
	struct noise_handshake handshake;
	struct noise_timestamp latest_timestamp; /* of accepted initiations */
	uint64_t last_accepted;                  /* when the last initiation was; 0: never */
};

/* What an initiation says before anyone vouches for it; secrets inside. */
struct noise_initiation {
	struct public_key remote_static;
	struct public_key remote_ephemeral;
	struct noise_transcript transcript;
	uint32_t remote_index;
	/* For the answer, made beside es where that costs nothing; zero: not made. */
	struct private_key ephemeral;
	struct public_key ephemeral_public;
};

/* The two keys of a session and how both ends name it. */
struct noise_keys {
	struct symmetric_key send, receive;
	uint32_t local_index, remote_index;
	bool initiator;
};

/* Each refusal has a reason of its own, for the counters. */
enum noise_result {
	NOISE_OK,
	NOISE_NOT_AUTHENTIC, /* forged, damaged, or for another key; also: a key without DH result
			      */
	NOISE_REPLAYED,      /* an initiation not newer than the last accepted one */
	NOISE_FLOODED,       /* an initiation within 20 ms of the last accepted one */
	NOISE_UNEXPECTED,    /* no handshake in a state, or of an index, that this message fits */
};

void noise_local_init(struct noise_local *local, const struct private_key *static_private);
void noise_local_fini(struct noise_local *local);

/*
 * `preshared_key` NULL: none. False: DH of the static keys is zero (a low-order public key); the
 * peer is initialized all the same, and every handshake of it fails.
 */
bool noise_peer_init(struct noise_peer *peer, const struct noise_local *local,
	const struct public_key *remote_static, const struct symmetric_key *preshared_key);
void noise_peer_fini(struct noise_peer *peer);
/* The tunnel has another private key: forgets the handshake under way. False: as above. */
bool noise_peer_set_local(struct noise_peer *peer, const struct noise_local *local);
void noise_peer_set_preshared_key(
	struct noise_peer *peer, const struct symmetric_key *preshared_key);
/* Forgets the handshake under way and its secrets (give up, zero keys). */
void noise_peer_forget(struct noise_peer *peer);

/*
 * Timestamps. `unix_ns` is the wall clock; nanoseconds are rounded down to 2^24 (~16.8 ms) so that
 * they tell little about the clock. noise_timestamp_next answers one strictly after `previous`,
 * even when the clock stood still or stepped back: keep the last one sent over restarts.
 */
struct noise_timestamp noise_tai64n(uint64_t unix_ns);
struct noise_timestamp noise_timestamp_next(
	const struct noise_timestamp *previous, uint64_t unix_ns);

/* `local_index`: random, unique among this node's indices; the response and all data for the
 * session carry it. Writes `message` but for its macs. */
WG_MUST_USE enum noise_result noise_create_initiation(struct message_initiation *message,
	struct noise_peer *peer, const struct noise_local *local,
	const struct noise_timestamp *timestamp, uint32_t local_index);

/*
 * First step: opens the static key of the sender. On NOISE_OK the caller looks the peer up by
 * initiation->remote_static, then calls noise_accept_initiation, or noise_initiation_drop when
 * there is no such peer. On failure nothing secret is left in `initiation`.
 */
WG_MUST_USE enum noise_result noise_open_initiation(struct noise_initiation *initiation,
	const struct message_initiation *message, const struct noise_local *local);
/* Second step; zeroes `initiation` whatever the result. `now`: monotonic ns. */
WG_MUST_USE enum noise_result noise_accept_initiation(struct noise_peer *peer,
	struct noise_initiation *initiation, const struct message_initiation *message,
	uint64_t now);
void noise_initiation_drop(struct noise_initiation *initiation);

WG_MUST_USE enum noise_result noise_create_response(
	struct message_response *message, struct noise_peer *peer, uint32_t local_index);
/* The caller found the peer by message->receiver_index; it is compared again here. */
WG_MUST_USE enum noise_result noise_consume_response(struct noise_peer *peer,
	const struct message_response *message, const struct noise_local *local);

/* After a response was created or consumed: derives the keys and forgets the handshake. The caller
 * zeroes `keys` when done with them. */
WG_MUST_USE enum noise_result noise_begin_session(struct noise_peer *peer, struct noise_keys *keys);
