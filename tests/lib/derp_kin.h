/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* One node in two processes: the other one is the test, which speaks on the other end of the pair.
 */
#include "derp_world.h"

/* It watches, as we do. */
static inline void kin_open(struct client *kin, bool newer)
{
	struct timeval patience = {.tv_sec = WORLD_PATIENCE};
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_true(fcntl(fds[1], F_SETFL, O_NONBLOCK) == 0);
	setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	kin->fd = fds[0];
	derp_server_kin(fds[1], newer);
}

static inline void say_present(const struct client *kin, const struct public_key *key)
{
	uint8_t frame[DERP_HEADER_LEN + DERP_PEER_PRESENT_LEN];
	struct derp_present present = {.port = 77, .flags = DERP_PRESENT_NOT_IDEAL};

	memcpy(present.key, key->bytes, DERP_KEY_LEN);
	send_all(kin, frame, derp_peer_present_put(frame, &present));
}

static inline void say_gone(
	const struct client *kin, const struct public_key *key, enum derp_gone_reason reason)
{
	uint8_t frame[DERP_HEADER_LEN + DERP_PEER_GONE_LEN];

	send_all(kin, frame, derp_peer_gone_put(frame, key->bytes, reason));
}

static inline void expect_forward(const struct client *kin, const struct client *from,
	const struct client *to, const char *packet)
{
	expect_frame(kin, DERP_FORWARD_PACKET, (uint32_t)(2 * DERP_KEY_LEN + strlen(packet)));
	assert_memory_equal(world_payload, from->key.bytes, DERP_KEY_LEN);
	assert_memory_equal(world_payload + DERP_KEY_LEN, to->key.bytes, DERP_KEY_LEN);
	assert_memory_equal(world_payload + 2 * DERP_KEY_LEN, packet, strlen(packet));
}

static inline void expect_key(const struct client *watcher, uint8_t type, const struct client *who)
{
	uint32_t len;

	assert_int_equal(next_frame(watcher, &len), type);
	assert_memory_equal(world_payload, who->key.bytes, DERP_KEY_LEN);
}

/* What was sent to it has been dealt with, on all loops; nothing but the pong came. */
static inline void kin_settle(const struct client *kin)
{
	ping(kin);
	world_settle();
	ping(kin);
}
