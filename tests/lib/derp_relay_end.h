/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* The relay's end of a session on a pair of sockets, for tests that say what it sends. */
#include <assert.h>
#include <ev.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "info.h"
#include "session.h"
#include "x25519.h"

struct relay_end {
	struct ev_loop *loop;
	int fd;
	struct private_key key, client_key;
	struct public_key public_key;
	struct symmetric_key box;
	struct derp_dialled dialled;
};

static void relay_end_open(struct relay_end *end)
{
	int fds[2];

	memset(end, 0, sizeof(*end));
	assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
	end->loop = ev_loop_new(EVFLAG_AUTO);
	end->fd = fds[0];
	memset(end->key.bytes, 0x44, 32);
	memset(end->client_key.bytes, 0x55, 32);
	x25519_public(&end->public_key, &end->key);
	end->dialled.stream = calloc(1, sizeof(*end->dialled.stream));
	end->dialled.stream->fd = fds[1];
}

static void relay_end_close(struct relay_end *end)
{
	close(end->fd);
	ev_loop_destroy(end->loop);
}

static struct derp_session *relay_end_session(
	struct relay_end *end, const struct derp_session_ops *ops, void *user)
{
	static const struct derp_client_info info = {
		.version = DERP_VERSION, .can_ack_pings = true};
	struct derp_session_conf conf = {.loop = end->loop,
		.dialled = &end->dialled,
		.key = &end->client_key,
		.info = &info,
		.ops = ops,
		.user = user,
		.greet_timeout_ns = 10000000000};

	return derp_session_open(&conf);
}

static inline void relay_end_turns(struct relay_end *end, unsigned n)
{
	while (n--)
		ev_run(end->loop, EVRUN_NOWAIT);
}

static inline void relay_end_say(struct relay_end *end, const void *bytes, size_t len)
{
	assert(write(end->fd, bytes, len) == (ssize_t)len);
	relay_end_turns(end, 2);
}

static inline void relay_end_frame(
	struct relay_end *end, enum derp_frame_type type, const void *payload, size_t len)
{
	uint8_t *frame = malloc(DERP_HEADER_LEN + len);

	derp_header_put(frame, type, (uint32_t)len);
	if (len)
		memcpy(frame + DERP_HEADER_LEN, payload, len);
	relay_end_say(end, frame, DERP_HEADER_LEN + len);
	free(frame);
}

/* What the client sent, up to one frame; its payload, and the length in `len`. */
static inline uint8_t *relay_end_hear(struct relay_end *end, enum derp_frame_type type, size_t *len)
{
	static uint8_t bytes[DERP_FORWARD_FRAME_MAX];
	struct derp_frame frame;
	size_t have;

	relay_end_turns(end, 2);
	assert(read(end->fd, bytes, DERP_HEADER_LEN) == DERP_HEADER_LEN);
	have = derp_be32_get(bytes + 1);
	assert(have <= sizeof(bytes) - DERP_HEADER_LEN);
	assert(!have || read(end->fd, bytes + DERP_HEADER_LEN, have) == (ssize_t)have);
	assert(derp_frame_get(&frame, bytes, DERP_HEADER_LEN + have, DERP_FRAME_MAX) > 0);
	assert(frame.type == type);
	*len = frame.len;
	return frame.payload;
}

static inline void relay_end_server_key(struct relay_end *end)
{
	uint8_t frame[DERP_HEADER_LEN + DERP_SERVER_KEY_LEN];

	relay_end_say(end, frame, derp_server_key_put(frame, end->public_key.bytes));
}

static inline void relay_end_take_info(struct relay_end *end, struct derp_client_info *info)
{
	struct public_key client;
	size_t len;
	uint8_t *payload = relay_end_hear(end, DERP_CLIENT_INFO, &len);

	assert(derp_client_info_open(info, &client, &end->box, &end->key, payload, len) == 0);
}

static inline void relay_end_server_info(struct relay_end *end, const struct derp_server_info *info)
{
	uint8_t frame[DERP_INFO_FRAME_MAX];
	ssize_t n = derp_server_info_seal(frame, sizeof(frame), info, &end->box);

	assert(n > 0);
	relay_end_say(end, frame, (size_t)n);
}

static inline void relay_end_greet(struct relay_end *end, const struct derp_server_info *server)
{
	struct derp_client_info info;

	relay_end_server_key(end);
	relay_end_take_info(end, &info);
	relay_end_server_info(end, server);
}
