/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What comes in: frames are walked where they were read. Runs on: the connection's I/O loop.
 *
 * SendPacket and RecvPacket have the same length, so a packet is turned from one into the other in
 * place; packets for one key that lie together are a run and are looked up once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "relay.h"

#define HOME_MOVES_AFTER (5 * SECOND)

enum verdict { GO_ON, STOP /* keep the rest */, BROKEN };

struct walk {
	struct conn *conn;
	struct run run;                    /* frames == 0: none */
	uint8_t destination[DERP_KEY_LEN]; /* of the run */
};

/* ---- runs ---- */

static void run_end(struct walk *walk)
{
	struct run *run = &walk->run;

	if (!run->frames)
		return;
	deliver_run(walk->conn->loop, run);
	run->frames = 0;
	run->len = 0;
}

static void count_packet(struct conn *conn, const uint8_t *packet, uint32_t len, uint32_t whole)
{
	if (derp_is_disco(packet, len))
		COUNT(conn->loop, packets_received_disco, 1);
	else
		COUNT(conn->loop, packets_received_other, 1);
	COUNT(conn->loop, bytes_received, whole);
	conn->packets_in++;
	conn->bytes_in += whole;
}

static enum verdict on_send(struct walk *walk, uint8_t *frame, uint32_t len)
{
	struct conn *conn = walk->conn;
	struct run *run = &walk->run;
	uint8_t *key = frame + DERP_HEADER_LEN;

	if (len < DERP_KEY_LEN || len > DERP_KEY_LEN + DERP_PACKET_MAX)
		return BROKEN;
	count_packet(conn, key + DERP_KEY_LEN, len - DERP_KEY_LEN, DERP_HEADER_LEN + len);
	if (run->frames && (run->forwarded || run->bytes + run->len != frame ||
				   memcmp(walk->destination, key, DERP_KEY_LEN) != 0))
		run_end(walk);
	if (!run->frames) {
		memcpy(walk->destination, key, DERP_KEY_LEN);
		*run = (struct run){.from = conn,
			.source = conn->peer,
			.destination = walk->destination,
			.bytes = frame};
	}
	frame[0] = DERP_RECV_PACKET;
	memcpy(key, conn->key.bytes, DERP_KEY_LEN);
	run->len += DERP_HEADER_LEN + len;
	run->frames++;
	return GO_ON;
}

/* The frame's first key makes room for a header: what is behind it is a RecvPacket. */
static enum verdict on_forward(struct walk *walk, uint8_t *frame, uint32_t len)
{
	struct conn *conn = walk->conn;
	struct public_key source;
	uint8_t *recv = frame + DERP_KEY_LEN;

	if (!conn->mesh || len < 2 * DERP_KEY_LEN || len > 2 * DERP_KEY_LEN + DERP_PACKET_MAX)
		return BROKEN;
	run_end(walk);
	memcpy(source.bytes, frame + DERP_HEADER_LEN, DERP_KEY_LEN);
	memcpy(walk->destination, frame + DERP_HEADER_LEN + DERP_KEY_LEN, DERP_KEY_LEN);
	count_packet(conn, frame + DERP_HEADER_LEN + 2 * DERP_KEY_LEN, len - 2 * DERP_KEY_LEN,
		DERP_HEADER_LEN + len);
	COUNT(conn->loop, packets_forwarded_in, 1);
	memcpy(recv + DERP_HEADER_LEN, source.bytes, DERP_KEY_LEN);
	derp_header_put(recv, DERP_RECV_PACKET, len - DERP_KEY_LEN);
	walk->run = (struct run){.from = conn,
		.source = peer_find(conn->loop, source.bytes),
		.destination = walk->destination,
		.bytes = recv,
		.len = DERP_HEADER_LEN + len - DERP_KEY_LEN,
		.frames = 1,
		.forwarded = true};
	run_end(walk);
	return GO_ON;
}

/* ---- the others ---- */

static enum verdict on_preferred(struct conn *conn, const uint8_t *payload, uint32_t len)
{
	struct derp_loop *loop = conn->loop;
	bool late = core_now() - conn->since > HOME_MOVES_AFTER, home;

	if (len != 1)
		return BROKEN;
	home = payload[0] != 0;
	if (home == conn->home)
		return GO_ON;
	conn->home = home;
	if (home)
		COUNT(loop, home_connections, 1);
	else
		UNCOUNT(loop, home_connections, 1);
	if (late && home)
		COUNT(loop, home_moves_in, 1);
	else if (late)
		COUNT(loop, home_moves_out, 1);
	return GO_ON;
}

/* One answer waits at a time: whoever asks faster than he reads gets fewer. */
static enum verdict on_ping(struct conn *conn, const uint8_t *payload, uint32_t len)
{
	uint8_t pong[DERP_HEADER_LEN + DERP_PING_LEN];

	if (len < DERP_PING_LEN || len > DERP_PING_MAX)
		return BROKEN;
	COUNT(conn->loop, got_ping, 1);
	if (conn->pong_waits)
		return GO_ON;
	derp_header_put(pong, DERP_PONG, DERP_PING_LEN);
	memcpy(pong + DERP_HEADER_LEN, payload, DERP_PING_LEN);
	conn->pong_waits = true;
	output_control(conn, pong, sizeof(pong));
	COUNT(conn->loop, sent_pong, 1);
	return GO_ON;
}

static enum verdict on_watch(struct conn *conn, uint32_t len)
{
	if (!conn->mesh || len != 0)
		return BROKEN;
	if (!conn->watching && memcmp(&conn->key, &server.key, sizeof(server.key)) != 0)
		watch_begin(conn);
	return GO_ON;
}

static enum verdict on_close_peer(struct conn *conn, const uint8_t *payload, uint32_t len)
{
	struct public_key key;

	if (!conn->mesh || len != DERP_KEY_LEN)
		return BROKEN;
	memcpy(key.bytes, payload, sizeof(key.bytes));
	close_peer(&key, conn->kin ? conn->id : 0);
	return GO_ON;
}

static enum verdict on_other(struct conn *conn, uint8_t type, const uint8_t *payload, uint32_t len)
{
	switch (type) {
	case DERP_NOTE_PREFERRED:
		return on_preferred(conn, payload, len);
	case DERP_PING:
		return on_ping(conn, payload, len);
	case DERP_WATCH_CONNS:
		return on_watch(conn, len);
	case DERP_CLOSE_PEER:
		return on_close_peer(conn, payload, len);
	default:
		COUNT(conn->loop, unknown_frames, 1);
		return GO_ON;
	}
}

/* ---- the walk ---- */

/* One whole frame. */
static enum verdict on_frame(struct walk *walk, uint8_t *frame, uint32_t len)
{
	struct conn *conn = walk->conn;

	if (conn->link)
		return link_frame(conn, frame[0], frame + DERP_HEADER_LEN, len) ? GO_ON : BROKEN;
	if (conn->state == CONN_HANDSHAKE) {
		return frame[0] == DERP_CLIENT_INFO &&
				       handshake_take(conn, frame + DERP_HEADER_LEN, len)
			       ? GO_ON
			       : BROKEN;
	}
	if (conn->kin && (frame[0] == DERP_PEER_PRESENT || frame[0] == DERP_PEER_GONE)) {
		kin_frame(conn, frame[0], frame + DERP_HEADER_LEN, len);
		return GO_ON;
	}
	if (conn->standby && !conn->asked)
		directory_activate(conn);
	if (frame[0] == DERP_SEND_PACKET)
		return on_send(walk, frame, len);
	if (frame[0] == DERP_FORWARD_PACKET)
		return on_forward(walk, frame, len);
	run_end(walk);
	return on_other(conn, frame[0], frame + DERP_HEADER_LEN, len);
}

/* Frames that are of no use to us are not kept until they are whole. */
static bool is_kept(const struct conn *conn, uint8_t type)
{
	static const uint8_t kept[256] = {
		[DERP_SEND_PACKET] = 1,
		[DERP_FORWARD_PACKET] = 1,
		[DERP_NOTE_PREFERRED] = 1,
		[DERP_WATCH_CONNS] = 1,
		[DERP_CLOSE_PEER] = 1,
		[DERP_PING] = 1,
	};

	return kept[type] || !is_client(conn) || conn->state == CONN_HANDSHAKE;
}

/* What is kept has room behind it for a read (INPUT_MAX), so it is no longer than a packet. */
static uint32_t frame_max(const struct conn *conn, uint8_t type)
{
	if (conn->state == CONN_HANDSHAKE)
		return CLIENT_INFO_LIMIT;
	if (type == DERP_FORWARD_PACKET)
		return 2 * DERP_KEY_LEN + DERP_PACKET_MAX;
	return is_kept(conn, type) ? DERP_KEY_LEN + DERP_PACKET_MAX : DERP_FRAME_MAX;
}

static bool keep(struct conn *conn, const uint8_t *bytes, size_t len)
{
	if (!len)
		return true;
	if (!limit_input(conn, len))
		return false;
	conn->in = malloc(len);
	if (!conn->in)
		return false;
	memcpy(conn->in, bytes, len);
	conn->in_len = (uint32_t)len;
	COUNT(conn->loop, memory_bytes, len);
	return true;
}

/* How many bytes of an unknown frame's payload are passed over. */
static size_t skip(struct conn *conn, size_t len)
{
	size_t n = conn->skip < len ? conn->skip : len;

	conn->skip -= (uint32_t)n;
	return n;
}

/* What to do with the frame that begins here and may not be whole. `*len`: of it that is here. */
static enum verdict take_frame(struct walk *walk, uint8_t *bytes, size_t left, size_t *len)
{
	struct conn *conn = walk->conn;
	uint32_t payload = derp_be32_get(bytes + 1);

	if (payload > frame_max(conn, bytes[0]))
		return BROKEN;
	*len = DERP_HEADER_LEN + (size_t)payload;
	if (!is_kept(conn, bytes[0])) {
		COUNT(conn->loop, unknown_frames, 1);
		conn->skip = (uint32_t)*len;
		*len = 0;
		return GO_ON;
	}
	if (*len > left)
		return STOP;
	return on_frame(walk, bytes, payload);
}

static bool is_reading(const struct conn *conn)
{
	return conn->state == CONN_HANDSHAKE || conn->state == CONN_UP;
}

bool input_take(struct conn *conn, uint8_t *bytes, size_t len)
{
	struct walk walk = {.conn = conn};
	enum verdict verdict = GO_ON;
	size_t at = skip(conn, len), one;

	while (verdict == GO_ON && is_reading(conn) && len - at >= DERP_HEADER_LEN) {
		verdict = take_frame(&walk, bytes + at, len - at, &one);
		if (verdict == GO_ON)
			at += one + skip(conn, len - at - one);
	}
	run_end(&walk);
	if (conn->state == CONN_CLOSED)
		return false;
	if (verdict == BROKEN || !keep(conn, bytes + at, len - at)) {
		COUNT(conn->loop, protocol_errors, 1);
		conn_close(conn);
		return false;
	}
	return true;
}

/* ---- events ---- */

static size_t read_max(const struct conn *conn)
{
	size_t burst = conn->loop->conf.client_burst, max = INPUT_MAX - conn->in_len;

	if (conn->state != CONN_UP)
		return INPUT_MIN;
	if (!conn->loop->conf.client_rate || conn->mesh)
		return max;
	return burst < INPUT_MIN ? INPUT_MIN : burst < max ? burst : max;
}

static void release_start(struct conn *conn)
{
	UNCOUNT(conn->loop, memory_bytes, conn->in_len);
	free(conn->in);
	conn->in = NULL;
	conn->in_len = 0;
}

void input_ready(struct conn *conn)
{
	struct derp_loop *loop = conn->loop;
	uint8_t *bytes = arena_room(loop, INPUT_MAX);
	size_t before = conn->in_len;
	ssize_t n;

	if (!is_reading(conn))
		return;
	if (before)
		memcpy(bytes, conn->in, before);
	n = wire_read(conn, bytes + before, read_max(conn));
	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		conn_close(conn);
		return;
	}
	release_start(conn);
	arena_take(loop, before + (size_t)n);
	if (!input_take(conn, bytes, before + (size_t)n))
		return;
	if (conn->ended)
		conn_close(conn);
	else if (!limit_rate(conn, (uint64_t)n) && wire_pending(conn))
		ev_feed_event(loop->ev, &conn->readable, EV_READ);
}

void input_pause(struct conn *conn)
{
	ev_io_stop(conn->loop->ev, &conn->readable);
}

void input_resume(struct conn *conn)
{
	ev_io_start(conn->loop->ev, &conn->readable);
	if (wire_pending(conn))
		ev_feed_event(conn->loop->ev, &conn->readable, EV_READ);
}

void input_go_on(struct conn *conn)
{
	struct derp_loop *loop = conn->loop;
	uint8_t *bytes = arena_room(loop, INPUT_MAX);
	size_t len = conn->in_len;

	if (conn->state == CONN_CLOSED)
		return;
	conn->paused = false;
	if (len)
		memcpy(bytes, conn->in, len);
	release_start(conn);
	arena_take(loop, len);
	if (input_take(conn, bytes, len))
		input_resume(conn);
}
