/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The relay's connections without its front door: I/O loops as the daemon has them, and clients of
 * the test at the other ends of socket pairs, on whichever loop the test wants.
 */
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/ssl.h>
#include <sodium.h>

#include "front_life.h"
#include "io_life.h"
#include "relay.h"
#include "x25519.h"

#ifndef WORLD_LOOPS
#define WORLD_LOOPS 2
#endif
#define WORLD_PATIENCE 20 /* seconds, for what must come */

struct client {
	int fd;
	struct private_key private_key;
	struct public_key key;
	struct symmetric_key box;
};

static struct derp_server_conf world_conf;

static inline void world_start(void)
{
	static const struct derp_server_conf fresh;
	struct err err = {0};

	world_conf = fresh;
	memset(&world_conf.key, 0x42, sizeof(world_conf.key));
	assert_int_equal(derp_server_start(&world_conf, &err), 0);
}

static inline int world_begin(void **state)
{
	(void)state;
	world_start();
	return 0;
}

static inline void world_configure(void)
{
	derp_server_configure(&world_conf);
}

static inline int world_setup(void **state)
{
	(void)state;
	assert_true(sodium_init() >= 0);
	io_init();
	io_start(WORLD_LOOPS);
	front_start();
	return 0;
}

static inline int world_teardown(void **state)
{
	(void)state;
	front_stop();
	io_stop();
	return 0;
}

LOOP_CALLBACK(world_look_again, ev_timer)
{
	(void)loop, (void)watcher, (void)revents;
}

/* What the control loop has to do, until `done` says so: of other loops' work no event tells, so it
 * looks again each millisecond. */
static inline void world_until(bool (*done)(void *arg), void *arg)
{
	uint64_t deadline = core_now() + WORLD_PATIENCE * SECOND;
	ev_timer again;

	ev_timer_init(&again, world_look_again, 0.001, 0.001);
	ev_timer_start(core_loop(), &again);
	while (!done(arg)) {
		assert_true(core_now() < deadline);
		ev_run(core_loop(), EVRUN_ONCE);
	}
	ev_timer_stop(core_loop(), &again);
}

/* ---- connections ---- */

struct arrival {
	struct io_message message;
	int fd;
	SSL *tls; /* its handshake is done; NULL: plain */
	const struct derp_link_ops *ops;
	void *user;
	struct derp_link **link;
	const struct public_key *peer;
};

static inline void arrival_run(struct io_message *message)
{
	struct arrival *arrival = (struct arrival *)message;
	struct io_stream *stream = calloc(1, sizeof(*stream));
	struct conn *conn;

	stream->fd = arrival->fd;
	stream->tls = arrival->tls;
	stream->from.addr.family = AF_INET;
	memcpy(stream->from.addr.bytes, "\xc0\x00\x02\x07", 4);
	stream->from.port = 4242;
	if (arrival->ops) {
		*arrival->link = derp_link_open(stream, arrival->peer, arrival->ops, arrival->user);
	} else {
		conn = conn_new(derp_loop_here(), stream, DERP_VIA_UPGRADE);
		if (conn)
			upgrade_greet(conn, "");
	}
	free(arrival);
}

/* The relay's end goes to a loop; ours waits when it is read. */
static inline void world_give(unsigned loop, int relays_end, int ours, const struct arrival *like)
{
	struct arrival *arrival = calloc(1, sizeof(*arrival));
	struct timeval patience = {.tv_sec = WORLD_PATIENCE};

	setsockopt(ours, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(ours, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (like)
		*arrival = *like;
	arrival->fd = relays_end;
	assert_true(fcntl(arrival->fd, F_SETFL, O_NONBLOCK) == 0);
	arrival->message.run = arrival_run;
	io_post(io_loop_at(loop), &arrival->message);
}

static inline int world_connect(unsigned loop, const struct arrival *like)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	world_give(loop, fds[1], fds[0], like);
	return fds[0];
}

static inline void send_all(const struct client *client, const void *bytes, size_t len)
{
	assert_int_equal(send(client->fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

static inline void send_frame(
	const struct client *client, uint8_t type, const void *payload, size_t len)
{
	uint8_t *frame = malloc(DERP_HEADER_LEN + len);

	derp_header_put(frame, type, (uint32_t)len);
	if (len)
		memcpy(frame + DERP_HEADER_LEN, payload, len);
	send_all(client, frame, DERP_HEADER_LEN + len);
	free(frame);
}

/* Frames are read into here; the last one stays. */
static uint8_t world_payload[DERP_FRAME_MAX];

/* The next frame's type and length; -1: the relay closed. */
static inline int next_frame(const struct client *client, uint32_t *len)
{
	uint8_t header[DERP_HEADER_LEN];
	ssize_t n = recv(client->fd, header, sizeof(header), MSG_WAITALL);

	if (n == 0 || (n < 0 && errno == ECONNRESET))
		return -1;
	assert_int_equal(n, sizeof(header));
	*len = derp_be32_get(header + 1);
	assert_true(*len <= sizeof(world_payload));
	if (*len)
		assert_int_equal(recv(client->fd, world_payload, *len, MSG_WAITALL), *len);
	return header[0];
}

static inline void expect_frame(const struct client *client, uint8_t type, uint32_t len)
{
	uint32_t got = 0;

	assert_int_equal(next_frame(client, &got), type);
	assert_int_equal(got, len);
}

static inline void expect_closed(const struct client *client)
{
	uint32_t len = 0;

	while (next_frame(client, &len) >= 0)
		continue;
}

static inline void client_key(struct client *client)
{
	x25519_generate(&client->private_key);
	x25519_public(&client->key, &client->private_key);
	assert_true(derp_box_key(&client->box, &client->private_key, derp_server_key()));
}

static inline void client_dial(struct client *client, unsigned loop)
{
	client->fd = world_connect(loop, NULL);
	expect_frame(client, DERP_SERVER_KEY, DERP_SERVER_KEY_LEN);
	assert_memory_equal(derp_server_key_get(world_payload, DERP_SERVER_KEY_LEN),
		derp_server_key()->bytes, 32);
}

static inline void client_info(const struct client *client, const struct symmetric_key *mesh_key)
{
	struct derp_client_info info = {.version = 2, .can_ack_pings = true};
	uint8_t frame[DERP_INFO_FRAME_MAX];
	ssize_t len;

	if (mesh_key) {
		info.has_mesh_key = true;
		info.mesh_key = *mesh_key;
	}
	len = derp_client_info_seal(frame, sizeof(frame), &info, &client->key, &client->box);
	assert_true(len > 0);
	send_all(client, frame, (size_t)len);
}

static inline void expect_server_info(const struct client *client)
{
	struct derp_server_info info;
	uint32_t len = 0;

	assert_int_equal(next_frame(client, &len), DERP_SERVER_INFO);
	assert_int_equal(derp_server_info_open(&info, &client->box, world_payload, len), 0);
	assert_int_equal(info.version, 2);
}

static inline void client_join(
	struct client *client, unsigned loop, const struct symmetric_key *mesh_key)
{
	client_dial(client, loop);
	client_info(client, mesh_key);
	expect_server_info(client);
}

static inline void client_new(struct client *client, unsigned loop)
{
	client_key(client);
	client_join(client, loop, NULL);
}

/* Another connection with the same key. */
static inline void client_again(struct client *again, const struct client *client, unsigned loop)
{
	*again = *client;
	client_join(again, loop, NULL);
}

static inline void client_close(struct client *client)
{
	close(client->fd);
	client->fd = -1;
}

/* ---- packets ---- */

static inline void send_packet(
	const struct client *from, const struct client *to, const void *packet, size_t len)
{
	uint8_t *payload = malloc(DERP_KEY_LEN + len);

	memcpy(payload, to->key.bytes, DERP_KEY_LEN);
	if (len)
		memcpy(payload + DERP_KEY_LEN, packet, len);
	send_frame(from, DERP_SEND_PACKET, payload, DERP_KEY_LEN + len);
	free(payload);
}

/* From one node of the region to another. */
static inline void send_forward(const struct client *by, const struct public_key *from,
	const struct public_key *to, const char *packet)
{
	uint8_t payload[2 * DERP_KEY_LEN + 100];

	memcpy(payload, from->bytes, DERP_KEY_LEN);
	memcpy(payload + DERP_KEY_LEN, to->bytes, DERP_KEY_LEN);
	memcpy(payload + 2 * DERP_KEY_LEN, packet, strlen(packet));
	send_frame(by, DERP_FORWARD_PACKET, payload, 2 * DERP_KEY_LEN + strlen(packet));
}

static inline void expect_packet(
	const struct client *to, const struct client *from, const void *packet, size_t len)
{
	expect_frame(to, DERP_RECV_PACKET, (uint32_t)(DERP_KEY_LEN + len));
	assert_memory_equal(world_payload, from->key.bytes, DERP_KEY_LEN);
	if (len)
		assert_memory_equal(world_payload + DERP_KEY_LEN, packet, len);
}

/* All that was sent before has been dealt with. */
static inline void ping(const struct client *client)
{
	send_frame(client, DERP_PING, "12345678", 8);
	expect_frame(client, DERP_PONG, 8);
	assert_memory_equal(world_payload, "12345678", 8);
}

static inline void expect_gone(
	const struct client *client, const struct public_key *key, enum derp_gone_reason reason)
{
	expect_frame(client, DERP_PEER_GONE, DERP_PEER_GONE_LEN);
	assert_memory_equal(world_payload, key->bytes, DERP_KEY_LEN);
	assert_int_equal(world_payload[DERP_KEY_LEN], reason);
}

/* What goes between loops has arrived. */
static inline void world_settle(void)
{
	io_flush();
	io_flush();
}

/* A loop that stands still from world_hold until world_release: what is posted to it waits. */
struct world_hold {
	struct io_message message;
	sem_t held, end;
};

static inline void world_hold_run(struct io_message *message)
{
	struct world_hold *hold = (struct world_hold *)message;

	sem_post(&hold->held);
	while (sem_wait(&hold->end) != 0)
		continue;
}

/* Behind what was posted before; is not waited for. */
static inline void world_hold_later(struct world_hold *hold, unsigned loop)
{
	hold->message.run = world_hold_run;
	assert_int_equal(sem_init(&hold->held, 0, 0), 0);
	assert_int_equal(sem_init(&hold->end, 0, 0), 0);
	io_post(io_loop_at(loop), &hold->message);
}

static inline void world_held(struct world_hold *hold)
{
	while (sem_wait(&hold->held) != 0)
		continue;
}

static inline void world_hold(struct world_hold *hold, unsigned loop)
{
	world_hold_later(hold, loop);
	world_held(hold);
}

/* `hold` is not used any more when this returns. */
static inline void world_release(struct world_hold *hold)
{
	sem_post(&hold->end);
	io_flush();
}

static inline int world_end(void **state)
{
	(void)state;
	world_settle();
	derp_server_stop();
	return 0;
}

static inline struct derp_figures figures(void)
{
	struct derp_figures figures;

	derp_server_figures(&figures);
	return figures;
}
