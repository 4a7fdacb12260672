/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * This node in another process, while one takes over from the other. Runs on: the first I/O loop.
 *
 * Clients are in the one or in the other for some seconds, and shall not notice it. So each process
 * watches the other and forwards to it, as nodes of a mesh do, but both ways on one connection; and
 * to the rest of the region the two are one node: watchers are told of the clients of both, and
 * what another node forwards may go on to the other process. What came from there goes to clients,
 * or on to a third process (one that takes over from the one that has just taken over), never back.
 *
 * Who came to the newer process came later, so the older one sends there what it has for a key that
 * both have; the newer one has its own client first. No mesh key is asked for: the descriptor was
 * handed from process to process, and nobody else has the other end.
 */
#include <stdlib.h>
#include <string.h>

#include "relay.h"

struct kin_order {
	struct io_message message;
	struct io_stream *stream;
	bool newer;
};

static void open_run(struct io_message *message)
{
	struct kin_order *order = (struct kin_order *)message;
	struct conn *conn = conn_new(derp_loop_here(), order->stream, DERP_VIA_MESH);

	if (conn) {
		conn->kin = order->newer ? ROUTE_NEWER : ROUTE_OLDER;
		conn->loop->not_clients++;
		conn->key = server.key;
		conn->mesh = true;
		conn->state = CONN_UP;
		conn_timer(conn);
		watch_begin(conn);
	}
	free(order);
}

void derp_server_kin(int fd, bool newer)
{
	struct kin_order *order = calloc(1, sizeof(*order));
	struct io_stream *stream = calloc(1, sizeof(*stream));

	if (!order || !stream)
		abort();
	stream->fd = fd;
	order->stream = stream;
	order->newer = newer;
	order->message.run = open_run;
	io_post(server.loops[0].io, &order->message);
}

static void from_present(struct change *change, const struct derp_present *present)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	struct net_addr *addr = &change->from.addr;

	change->present = present->flags;
	change->from.port = present->port;
	if (memcmp(present->address, mapped, sizeof(mapped)) == 0) {
		addr->family = AF_INET;
		memcpy(addr->bytes, present->address + 12, 4);
	} else {
		addr->family = AF_INET6;
		memcpy(addr->bytes, present->address, 16);
	}
}

void kin_frame(struct conn *conn, uint8_t type, const uint8_t *payload, uint32_t len)
{
	struct change change = {.route = link_route(conn)};
	struct derp_present present;

	if (type == DERP_PEER_PRESENT && derp_peer_present_get(&present, payload, len)) {
		change.what = CLAIM_ADD;
		memcpy(change.key.bytes, present.key, DERP_KEY_LEN);
		from_present(&change, &present);
	} else if (type == DERP_PEER_GONE && len == DERP_PEER_GONE_LEN &&
		   payload[DERP_KEY_LEN] == DERP_GONE_DISCONNECTED) {
		change.what = CLAIM_REMOVE;
		memcpy(change.key.bytes, payload, DERP_KEY_LEN);
	} else {
		return; /* "not here" too: that answers one packet, and is overtaken */
	}
	directory_change(conn->loop, &change);
}
