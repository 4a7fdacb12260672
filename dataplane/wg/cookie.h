/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The two MACs at the end of each handshake message (paper, section 5.4.4 and 5.4.7) and the
 * cookies that a responder under load asks for. Protocol library; times are monotonic ns.
 *
 * mac1 proves that the sender knows our public key: checked first, costs two BLAKE2s blocks. Under
 * load, mac2 proves that it receives what we send to its address: without it the answer is a cookie
 * reply and no Diffie-Hellman. The cookie hangs on a secret that changes every two minutes.
 *
 * cookie_keys are not written after init. The caller serializes calls for one checker, and for one
 * maker.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "messages.h"
#include "secret.h"
#include "tailplane/net.h"

/* Of the node that receives the message: known to all who know its public key. */
struct cookie_keys {
	uint8_t mac1_key[32];
	struct symmetric_key cookie_key;
};

/* Of a tunnel: checks what comes in. */
struct cookie_checker {
	struct cookie_keys keys;
	uint8_t secret[32];
	uint64_t secret_born;
	bool has_secret;
};

/* Of a peer: makes the MACs of what goes out. */
struct cookie_maker {
	struct cookie_keys keys;
	uint8_t cookie[COOKIE_LEN];
	uint64_t cookie_received;
	bool has_cookie;
	uint8_t last_mac1[COOKIE_LEN]; /* of the last message sent: what a reply must refer to */
	bool has_last_mac1;
};

enum cookie_result {
	COOKIE_INVALID,   /* mac1 is wrong: be silent */
	COOKIE_MAC1,      /* mac1 is right, mac2 is not (or was not asked for) */
	COOKIE_MAC1_MAC2, /* both are: the sender has its address */
};

void cookie_keys_init(struct cookie_keys *keys, const struct public_key *receiver);

void cookie_checker_init(struct cookie_checker *checker, const struct public_key *own);
void cookie_checker_fini(struct cookie_checker *checker);
/*
 * `message` is a whole initiation or response. mac2 is checked only when `source` is given (under
 * load), since it depends on address and port of the sender.
 */
WG_MUST_USE enum cookie_result cookie_check(struct cookie_checker *checker, const void *message,
	size_t len, const struct net_endpoint *source, uint64_t now);
/* mac1 alone: no state, so any thread at any time. */
WG_MUST_USE bool cookie_check_mac1(const struct cookie_keys *keys, const void *message, size_t len);
/* The answer to a message with a right mac1. */
void cookie_reply_create(struct cookie_checker *checker, struct message_cookie_reply *reply,
	const void *message, size_t len, const struct net_endpoint *source, uint64_t now);

void cookie_maker_init(struct cookie_maker *maker, const struct public_key *remote);
void cookie_maker_fini(struct cookie_maker *maker);
/* Fills in both macs of an initiation or response that is otherwise complete. */
void cookie_add_macs(struct cookie_maker *maker, void *message, size_t len, uint64_t now);
/*
 * The caller found the peer by reply->receiver_index (the sender index of our message). True: the
 * cookie was for our last message, which takes one reply only, and the next message carries mac2.
 */
WG_MUST_USE bool cookie_reply_consume(
	struct cookie_maker *maker, const struct message_cookie_reply *reply, uint64_t now);
