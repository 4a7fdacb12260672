/* SPDX-License-Identifier: BSD-3-Clause */
/* Connections that this node made to others of its region. Runs on: the link's I/O loop. */
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "relay.h"

/* A link is a connection whose frames go to who opened it. */
struct derp_link {
	struct conn conn;
};

static struct conn *conn_of(struct derp_link *link)
{
	return &link->conn;
}

struct derp_link *derp_link_open(struct io_stream *stream, const struct public_key *peer,
	const struct derp_link_ops *ops, void *user)
{
	static const uint8_t watch[DERP_HEADER_LEN] = {DERP_WATCH_CONNS};
	struct conn *conn = conn_new(derp_loop_here(), stream, DERP_VIA_MESH);
	int on = 1;

	if (!conn)
		return NULL;
	conn->link = ops;
	conn->link_user = user;
	conn->loop->not_clients++;
	conn->key = *peer;
	conn->mesh = true;
	conn->state = CONN_UP;
	setsockopt(conn->stream->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	conn_timer(conn);
	output_control(conn, watch, sizeof(watch));
	return (struct derp_link *)conn;
}

void derp_link_close(struct derp_link *link)
{
	static const struct derp_link_ops nobody;

	conn_of(link)->link = &nobody;
	conn_close(conn_of(link));
}

bool link_frame(struct conn *conn, uint8_t type, const uint8_t *payload, uint32_t len)
{
	uint8_t pong[DERP_HEADER_LEN + DERP_PING_LEN];

	if (type == DERP_PING && len >= DERP_PING_LEN && !conn->pong_waits) {
		derp_header_put(pong, DERP_PONG, DERP_PING_LEN);
		memcpy(pong + DERP_HEADER_LEN, payload, DERP_PING_LEN);
		conn->pong_waits = true;
		output_control(conn, pong, sizeof(pong));
	}
	return type == DERP_PING || conn->link->frame(conn->link_user, type, payload, len);
}

/* ---- what other nodes have ---- */

struct route link_route(const struct conn *conn)
{
	return (struct route){
		conn->kin ? conn->kin : ROUTE_LINK, (uint16_t)conn->loop->index, conn->id};
}

static void change(struct derp_link *link, const struct public_key *key, enum change_kind what)
{
	struct conn *conn = conn_of(link);
	struct change change = {.what = what, .key = *key, .route = link_route(conn)};

	if (conn->state != CONN_CLOSED)
		directory_change(conn->loop, &change);
}

void derp_forwarder_add(struct derp_link *link, const struct public_key *key)
{
	change(link, key, CLAIM_ADD);
}

void derp_forwarder_remove(struct derp_link *link, const struct public_key *key)
{
	change(link, key, CLAIM_REMOVE);
}

struct link_end {
	struct io_message message;
	struct route link;
};

static void end_run(struct io_message *message)
{
	struct link_end *end = (struct link_end *)message;

	owner_link_gone(derp_loop_here(), &end->link);
	free(end);
}

void link_closed(struct conn *conn, const char *why)
{
	directory_cut(conn);
	for (unsigned i = 0; i < server.n; i++) {
		struct link_end *end = malloc(sizeof(*end));

		if (!end)
			abort();
		end->message.run = end_run;
		end->link = link_route(conn);
		io_post(server.loops[i].io, &end->message);
	}
	if (conn->link && conn->link->closed)
		conn->link->closed(conn->link_user, why);
}
