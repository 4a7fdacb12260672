/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client of a whole relay that sends whatever it likes, and one beside it, to whom only whole
 * frames of known types may come. The first byte says how far the client behaves: not at all, up to
 * its ClientInfo, or as a node of the mesh; and how its bytes are cut.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "front_life.h"
#include "io_life.h"
#include "relay.h"
#include "x25519.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PATIENCE_MS 30000

struct end {
	int fd;
	struct private_key private_key;
	struct public_key key;
	struct symmetric_key box;
};

static struct derp_server_conf conf = {.has_mesh_key = true};
static struct end beside, guest;

/* ---- the relay ---- */

struct arrival {
	struct io_message message;
	int fd;
};

static void arrive(struct io_message *message)
{
	struct arrival *arrival = (struct arrival *)message;
	struct io_stream *stream = calloc(1, sizeof(*stream));
	struct conn *conn;

	stream->fd = arrival->fd;
	stream->from.addr.family = AF_INET;
	conn = conn_new(derp_loop_here(), stream, DERP_VIA_UPGRADE);
	if (conn)
		upgrade_greet(conn, "");
	free(arrival);
}

static void connect_end(struct end *end)
{
	struct arrival *arrival = calloc(1, sizeof(*arrival));
	int fds[2];

	if (!arrival || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) != 0)
		abort();
	end->fd = fds[0];
	arrival->fd = fds[1];
	arrival->message.run = arrive;
	io_post(io_loop_at(0), &arrival->message);
}

static void make_end(struct end *end, uint8_t seed)
{
	memset(&end->private_key, seed, sizeof(end->private_key));
	x25519_public(&end->key, &end->private_key);
	if (!derp_box_key(&end->box, &end->private_key, derp_server_key()))
		abort();
}

/* ---- ends ---- */

static void wait_for(const struct end *end, short events)
{
	struct pollfd poll_fd = {end->fd, events, 0};

	if (poll(&poll_fd, 1, PATIENCE_MS) != 1)
		abort(); /* the relay neither answers nor closes */
}

static void send_all(const struct end *end, const uint8_t *bytes, size_t len)
{
	while (len) {
		ssize_t n = send(end->fd, bytes, len, MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			return; /* the relay has had enough */
		if (n < 0)
			wait_for(end, POLLOUT);
		bytes += n < 0 ? 0 : n;
		len -= n < 0 ? 0 : (size_t)n;
	}
}

static void introduce(const struct end *end, bool mesh)
{
	struct derp_client_info info = {.version = 2, .has_mesh_key = mesh};
	uint8_t frame[DERP_INFO_FRAME_MAX];
	ssize_t len = derp_client_info_seal(frame, sizeof(frame), &info, &end->key, &end->box);

	send_all(end, frame, (size_t)len);
}

static uint8_t held[4 * DERP_FRAME_MAX];
static size_t held_len;

/* What the one beside got; frames that began may go on later. True: a Pong was among them. */
static bool look_beside(void)
{
	struct derp_frame frame;
	bool pong = false;
	ssize_t n = recv(beside.fd, held + held_len, sizeof(held) - held_len, 0);
	size_t at = 0;

	assert(n > 0 || (n < 0 && errno == EAGAIN));
	held_len += n > 0 ? (size_t)n : 0;
	while ((n = derp_frame_get(&frame, held + at, held_len - at, DERP_FRAME_MAX)) > 0) {
		assert(frame.type == DERP_SERVER_KEY || frame.type == DERP_SERVER_INFO ||
			frame.type == DERP_RECV_PACKET || frame.type == DERP_KEEP_ALIVE ||
			frame.type == DERP_PEER_GONE || frame.type == DERP_PONG);
		if (frame.type == DERP_RECV_PACKET)
			assert(frame.len >= 32 && frame.len <= 32 + DERP_PACKET_MAX);
		pong |= frame.type == DERP_PONG;
		at += (size_t)n;
	}
	assert(n == 0);
	memmove(held, held + at, held_len - at);
	held_len -= at;
	return pong;
}

static void ping_beside(void)
{
	uint8_t ping[DERP_HEADER_LEN + DERP_PING_LEN] = {DERP_PING, 0, 0, 0, DERP_PING_LEN};

	send_all(&beside, ping, sizeof(ping));
	do
		wait_for(&beside, POLLIN);
	while (!look_beside());
}

static void join_beside(void)
{
	connect_end(&beside);
	introduce(&beside, false);
	held_len = 0;
	ping_beside();
}

static void start(void)
{
	struct err err = {0};

	if (beside.fd)
		return;
	if (sodium_init() < 0)
		abort();
	io_init();
	io_start(1);
	front_start();
	memset(&conf.key, 0x33, sizeof(conf.key));
	if (derp_server_start(&conf, &err) != 0)
		abort();
	make_end(&beside, 0x22);
	make_end(&guest, 0x11);
	join_beside();
}

static void until_closed(void)
{
	uint8_t bytes[4096];
	ssize_t n;

	shutdown(guest.fd, SHUT_WR);
	do {
		wait_for(&guest, POLLIN);
		n = recv(guest.fd, bytes, sizeof(bytes), 0);
	} while (n > 0 || (n < 0 && errno == EAGAIN));
	close(guest.fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t how = size ? data[0] : 0;
	size_t step = how & 0x80 ? 1 + (size_t)(how >> 2 & 0x1f) : size;

	start();
	if (size < 2)
		return 0;
	connect_end(&guest);
	if (how & 3)
		introduce(&guest, (how & 3) == 3);
	for (size_t at = 1; at < size; at += step)
		send_all(&guest, data + at, size - at < step ? size - at : step);
	until_closed();
	/* a node of the mesh may have closed the one beside */
	if (memmem(data, size, beside.key.bytes, 32) && memchr(data, DERP_CLOSE_PEER, size) &&
		(how & 3) == 3) {
		close(beside.fd);
		join_beside();
	} else {
		ping_beside();
	}
	return 0;
}
