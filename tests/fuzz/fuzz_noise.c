/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Handshake messages and cookie replies as a stranger may send them. The first byte chooses what
 * the rest is: a datagram as it is, or changes (XOR) to a message that is right, with mac1 made
 * right again or not. A change of what is authenticated must be refused, no change must be
 * accepted, and a refusal must leave the peer and its cookie as they were.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "cookie.h"
#include "noise.h"
#include "x25519.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW (1000 * NS_PER_SEC)

enum mode { RAW, INITIATION, RESPONSE, COOKIE_REPLY, MODES };
#define MACS_MADE_RIGHT 0x80

static const struct net_endpoint source = {
	.addr = {.family = AF_INET, .bytes = {192, 0, 2, 1}}, .port = 51820};

struct end {
	struct noise_local local;
	struct noise_peer peer;
	struct cookie_maker maker;
	struct cookie_checker checker;
};

/* Made once: an initiator that waits for a response, a responder that knows nothing yet, and the
 * right messages for them. */
static struct end initiator, responder;
static struct message_initiation initiation;
static struct message_response response;
static struct message_cookie_reply reply;

static void must(bool condition)
{
	if (!condition)
		abort();
}

static void end_init(
	struct end *end, const struct private_key *own, const struct private_key *other)
{
	struct public_key remote;

	x25519_public(&remote, other);
	noise_local_init(&end->local, own);
	must(noise_peer_init(&end->peer, &end->local, &remote, NULL));
	cookie_maker_init(&end->maker, &remote);
	cookie_checker_init(&end->checker, &end->local.static_public);
}

static void prepare(void)
{
	static const struct private_key i = {{1}}, r = {{2}};
	struct noise_timestamp timestamp = noise_tai64n(1700000000 * NS_PER_SEC);
	struct noise_initiation in;
	struct noise_peer fresh;

	end_init(&initiator, &i, &r);
	end_init(&responder, &r, &i);
	fresh = responder.peer;
	must(noise_create_initiation(
		     &initiation, &initiator.peer, &initiator.local, &timestamp, 7) == NOISE_OK);
	cookie_add_macs(&initiator.maker, &initiation, sizeof(initiation), NOW);
	must(noise_open_initiation(&in, &initiation, &responder.local) == NOISE_OK);
	must(noise_accept_initiation(&responder.peer, &in, &initiation, NOW) == NOISE_OK);
	must(noise_create_response(&response, &responder.peer, 8) == NOISE_OK);
	cookie_add_macs(&responder.maker, &response, sizeof(response), NOW);
	cookie_reply_create(
		&responder.checker, &reply, &initiation, sizeof(initiation), &source, NOW);
	responder.peer = fresh;
}

/* ---- what a node does with a datagram ---------------------------------------------------------
 */

static bool receive_initiation(struct end *end, const struct message_initiation *m)
{
	struct noise_initiation in;

	if (noise_open_initiation(&in, m, &end->local) != NOISE_OK)
		return false;
	if (memcmp(&in.remote_static, &end->peer.remote_static, sizeof(in.remote_static)) != 0) {
		noise_initiation_drop(&in);
		return false;
	}
	return noise_accept_initiation(&end->peer, &in, m, NOW) == NOISE_OK;
}

static bool receive(struct end *end, const uint8_t *message, size_t len)
{
	switch (wg_message_type(message, len)) {
	case MESSAGE_INITIATION:
		return cookie_check(&end->checker, message, len, NULL, NOW) != COOKIE_INVALID &&
		       receive_initiation(end, (const struct message_initiation *)message);
	case MESSAGE_RESPONSE:
		return cookie_check(&end->checker, message, len, NULL, NOW) != COOKIE_INVALID &&
		       noise_consume_response(&end->peer, (const struct message_response *)message,
			       &end->local) == NOISE_OK;
	case MESSAGE_COOKIE_REPLY:
		return cookie_reply_consume(
			&end->maker, (const struct message_cookie_reply *)message, NOW);
	default:
		return false;
	}
}

/* Refused: as before. */
static bool receive_checked(struct end *end, const uint8_t *message, size_t len)
{
	static struct end before;
	bool accepted;

	memcpy(&before, end, sizeof(before));
	accepted = receive(end, message, len);
	if (!accepted)
		must(memcmp(&before.peer, &end->peer, sizeof(before.peer)) == 0 &&
			memcmp(&before.maker, &end->maker, sizeof(before.maker)) == 0);
	memcpy(end, &before, sizeof(before));
	return accepted;
}

/* ---- changed messages --------------------------------------------------------------------------
 */

struct target {
	const void *message;
	size_t len;
	struct end *to, *from;
	size_t from_byte, to_byte; /* what is authenticated even when mac1 is made right */
	size_t mac_end;            /* ... and when it is not: all before */
};

static const struct target targets[MODES] = {
	[INITIATION] = {&initiation, sizeof(initiation), &responder, &initiator,
		offsetof(struct message_initiation, ephemeral),
		offsetof(struct message_initiation, macs),
		offsetof(struct message_initiation, macs.mac2)},
	[RESPONSE] = {&response, sizeof(response), &initiator, &responder,
		offsetof(struct message_response, receiver_index),
		offsetof(struct message_response, macs),
		offsetof(struct message_response, macs.mac2)},
	[COOKIE_REPLY] = {&reply, sizeof(reply), &initiator, NULL,
		offsetof(struct message_cookie_reply, nonce), sizeof(reply), 0},
};

static bool changed(const uint8_t *mask, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		if (mask[i])
			return true;
	return false;
}

static void change(const struct target *t, const uint8_t *data, size_t size, bool macs)
{
	uint8_t mask[sizeof(initiation)] = {0}, message[sizeof(initiation)];
	bool refuse;

	memcpy(mask, data, size < t->len ? size : t->len);
	for (size_t i = 0; i < t->len; i++)
		message[i] = ((const uint8_t *)t->message)[i] ^ mask[i];
	refuse = changed(mask, 0, sizeof(struct le32)) || changed(mask, t->from_byte, t->to_byte);
	if (macs && t->from) {
		struct cookie_maker maker = t->from->maker;

		cookie_add_macs(&maker, message, t->len, NOW);
	} else {
		refuse |= changed(mask, 0, t->mac_end);
	}
	must(receive_checked(t->to, message, t->len) == !refuse);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool prepared;

	if (!prepared)
		prepare();
	prepared = true;
	if (size < 1)
		return 0;
	enum mode mode = (data[0] & ~MACS_MADE_RIGHT) % MODES;
	if (mode == RAW) {
		receive_checked(&initiator, data + 1, size - 1);
		receive_checked(&responder, data + 1, size - 1);
	} else {
		change(&targets[mode], data + 1, size - 1, data[0] & MACS_MADE_RIGHT);
	}
	return 0;
}
