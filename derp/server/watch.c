/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Nodes of the mesh that watch who is here. Runs on: I/O loops. Each owner of keys tells a watcher
 * of its own: first all that there are, then each change, in order.
 */
#include <stdlib.h>
#include <string.h>

#include "relay.h"

struct order {
	struct io_message message;
	uint16_t loop;
	uint64_t conn;
	bool begin;
};

static size_t put_present(uint8_t *to, const struct peer *peer, const struct claim *claim)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	struct derp_present present = {.port = claim->from.port, .flags = claim->present};

	memcpy(present.key, peer->key.bytes, DERP_KEY_LEN);
	if (claim->from.addr.family == AF_INET) {
		memcpy(present.address, mapped, sizeof(mapped));
		memcpy(present.address + 12, claim->from.addr.bytes, 4);
	} else {
		memcpy(present.address, claim->from.addr.bytes, 16);
	}
	return derp_peer_present_put(to, &present);
}

/* Clients of this node, in whichever process; another process is not told of its own. */
static bool sees(const struct watcher *watcher, const struct claim *claim)
{
	const struct route *route = &claim->route;

	return route->kind == ROUTE_CLIENT ||
	       (is_kin(route->kind) &&
		       (route->loop != watcher->loop || route->conn != watcher->conn));
}

static const struct claim *seen(const struct watcher *watcher, const struct peer *peer)
{
	const struct claim *claim = peer->claims;

	while (claim && !sees(watcher, claim))
		claim = claim->next;
	return claim;
}

static void tell(
	struct derp_loop *loop, const struct watcher *watcher, const void *frame, size_t len)
{
	cross_control(loop, watcher->loop, watcher->conn, frame, len);
}

void watch_added(struct derp_loop *loop, const struct peer *peer, const struct claim *claim)
{
	uint8_t frame[DERP_HEADER_LEN + DERP_PEER_PRESENT_LEN];
	size_t len = put_present(frame, peer, claim);

	for (struct watcher *watcher = loop->watchers; watcher; watcher = watcher->next) {
		if (sees(watcher, claim))
			tell(loop, watcher, frame, len);
	}
}

/* To those who see it no more, of those who saw `claim` (NULL: of all). */
static void tell_gone(struct derp_loop *loop, const struct peer *peer, const struct claim *claim)
{
	uint8_t frame[DERP_HEADER_LEN + DERP_PEER_GONE_LEN];
	size_t len = derp_peer_gone_put(frame, peer->key.bytes, DERP_GONE_DISCONNECTED);

	for (struct watcher *watcher = loop->watchers; watcher; watcher = watcher->next) {
		if ((!claim || sees(watcher, claim)) && !seen(watcher, peer))
			tell(loop, watcher, frame, len);
	}
}

void watch_removed(struct derp_loop *loop, const struct peer *peer, const struct claim *claim)
{
	tell_gone(loop, peer, claim);
}

void watch_gone(struct derp_loop *loop, const struct peer *peer)
{
	tell_gone(loop, peer, NULL);
}

/* ---- who watches ---- */

/* One for each key that it sees. */
static void flood(struct derp_loop *loop, const struct watcher *watcher)
{
	size_t one = DERP_HEADER_LEN + DERP_PEER_PRESENT_LEN, len = 0;
	uint8_t *frames = malloc(loop->peers.n * one + 1);

	if (!frames)
		abort(); /* the other node would never know */
	for (size_t i = 0; i < loop->peers.size; i++) {
		const struct peer *peer = loop->peers.slots[i].item;

		const struct claim *claim = peer ? seen(watcher, peer) : NULL;

		if (claim)
			len += put_present(frames + len, peer, claim);
	}
	if (len)
		tell(loop, watcher, frames, len);
	free(frames);
}

static void begin(struct derp_loop *loop, const struct order *order)
{
	struct watcher *watcher = malloc(sizeof(*watcher));

	if (!watcher)
		abort();
	watcher->loop = order->loop;
	watcher->conn = order->conn;
	watcher->next = loop->watchers;
	loop->watchers = watcher;
	flood(loop, watcher);
}

static void end(struct derp_loop *loop, const struct order *order)
{
	struct watcher **at = &loop->watchers, *watcher;

	while ((watcher = *at) && (watcher->conn != order->conn || watcher->loop != order->loop))
		at = &watcher->next;
	if (!watcher)
		return;
	*at = watcher->next;
	free(watcher);
}

static void order_run(struct io_message *message)
{
	struct order *order = (struct order *)message;

	if (order->begin)
		begin(derp_loop_here(), order);
	else
		end(derp_loop_here(), order);
	free(order);
}

/* Also to this loop by message: a list of watchers that is walked does not change. */
static void order_all(const struct conn *conn, bool begin)
{
	for (unsigned i = 0; i < server.n; i++) {
		struct order *order = malloc(sizeof(*order));

		if (!order)
			abort();
		*order = (struct order){.message.run = order_run,
			.loop = (uint16_t)conn->loop->index,
			.conn = conn->id,
			.begin = begin};
		io_post(server.loops[i].io, &order->message);
	}
}

void watch_begin(struct conn *conn)
{
	conn->watching = true;
	COUNT(conn->loop, watchers, 1);
	order_all(conn, true);
}

void watch_end(struct conn *conn)
{
	conn->watching = false;
	UNCOUNT(conn->loop, watchers, 1);
	order_all(conn, false);
}

void watch_fini(struct derp_loop *loop)
{
	while (loop->watchers) {
		struct watcher *watcher = loop->watchers;

		loop->watchers = watcher->next;
		free(watcher);
	}
}
