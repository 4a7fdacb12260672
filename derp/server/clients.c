/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the control loop asks of all loops: lists of clients, closing, health, draining. Runs on:
 * I/O loops; the control loop asks.
 */
#include <stdlib.h>
#include <string.h>

#include "relay.h"

/* ---- lists ---- */

#define PROCESSES_MAX 2 /* that a key is said to be in at once: one before us, one after */

/* Goes from loop to loop, then home. */
struct census {
	struct io_message message;
	void (*done)(void *user, const struct derp_client *clients, size_t n);
	void *user;
	struct derp_client *clients;
	size_t n, room;
	unsigned next;
};

static void describe(struct derp_client *client, const struct conn *conn)
{
	*client = (struct derp_client){
		.key = conn->key,
		.from = conn->from,
		.via = conn->via,
		.loop = conn->loop->index,
		.id = conn->id,
		.since = conn->since,
		.tls = conn->tls,
		.mesh = conn->mesh,
		.watching = conn->watching,
		.active = !conn->standby && !conn->link,
		.home = conn->home,
		.prober = conn->prober,
		.not_ideal = conn->not_ideal,
		.can_ack_pings = conn->can_ack_pings,
		.packets_in = conn->packets_in,
		.bytes_in = conn->bytes_in,
		.packets_out = conn->packets_out,
		.bytes_out = conn->bytes_out,
		.dropped = conn->dropped,
		.queued = output_queued(conn),
	};
	if (conn->app_name)
		strncpy(client->app_name, conn->app_name, sizeof(client->app_name) - 1);
}

/* Of the clients of another process its word is what we have, at the owners of their keys. */
static void list_elsewhere(struct census *census, const struct peer *peer)
{
	for (const struct claim *claim = peer->claims; claim; claim = claim->next) {
		if (!is_kin(claim->route.kind) || census->n == census->room)
			continue;
		census->clients[census->n++] = (struct derp_client){
			.key = peer->key,
			.from = claim->from,
			.via = claim->route.kind == ROUTE_NEWER ? DERP_VIA_NEWER : DERP_VIA_OLDER,
			.elsewhere = true,
			.mesh = claim->present & DERP_PRESENT_MESH,
			.prober = claim->present & DERP_PRESENT_PROBER,
			.not_ideal = claim->present & DERP_PRESENT_NOT_IDEAL,
		};
	}
}

static void count_loop(struct census *census, struct derp_loop *loop)
{
	size_t room = census->n + loop->n_slots + loop->peers.n * PROCESSES_MAX;
	struct derp_client *clients = realloc(census->clients, (room + 1) * sizeof(*clients));

	if (!clients)
		return; /* the list is short by a loop's */
	census->clients = clients;
	census->room = room;
	for (uint32_t i = 0; i < loop->n_slots; i++) {
		const struct conn *conn = loop->slots[i].conn;

		if (conn && (conn->state == CONN_UP || conn->state == CONN_CLAIMING) && !conn->kin)
			describe(&census->clients[census->n++], conn);
	}
	for (size_t i = 0; i < loop->peers.size; i++)
		if (loop->peers.slots[i].item)
			list_elsewhere(census, loop->peers.slots[i].item);
}

static void census_end(struct io_message *message)
{
	struct census *census = (struct census *)message;

	census->done(census->user, census->clients, census->n);
	free(census->clients);
	free(census);
}

static void census_go(struct census *census);

static void census_run(struct io_message *message)
{
	struct census *census = (struct census *)message;

	count_loop(census, derp_loop_here());
	census_go(census);
}

static void census_go(struct census *census)
{
	bool end = census->next == server.n;

	census->message.run = end ? census_end : census_run;
	io_post(end ? io_loop_control() : server.loops[census->next++].io, &census->message);
}

void derp_server_clients(
	void (*done)(void *user, const struct derp_client *clients, size_t n), void *user)
{
	struct census *census = calloc(1, sizeof(*census));

	if (!census)
		abort();
	census->done = done;
	census->user = user;
	census_go(census);
}

/* ---- orders to all loops ---- */

struct order {
	struct io_message message;
	void (*what)(struct derp_loop *loop, const struct order *order);
	struct public_key key;
	bool everywhere; /* in the other processes of this node, too, but `from` */
	uint64_t from;   /* id of its connection; 0: none */
	uint64_t over;
	bool late;
	size_t len;
	uint8_t bytes[];
};

static void order_run(struct io_message *message)
{
	struct order *order = (struct order *)message;

	order->what(derp_loop_here(), order);
	free(order);
}

static void order_all(const struct order *order)
{
	for (unsigned i = 0; i < server.n; i++) {
		struct order *copy = malloc(sizeof(*copy) + order->len);

		if (!copy)
			abort();
		memcpy(copy, order, sizeof(*copy) + order->len);
		copy->message.run = order_run;
		io_post(server.loops[i].io, &copy->message);
	}
}

static void pass_on(struct derp_loop *loop, const struct order *order)
{
	uint8_t frame[DERP_HEADER_LEN + DERP_KEY_LEN];

	derp_header_put(frame, DERP_CLOSE_PEER, DERP_KEY_LEN);
	memcpy(frame + DERP_HEADER_LEN, order->key.bytes, DERP_KEY_LEN);
	for (uint32_t i = 0; i < loop->n_slots && loop->not_clients; i++) {
		struct conn *conn = loop->slots[i].conn;

		if (conn && conn->kin && conn->id != order->from)
			output_control(conn, frame, sizeof(frame));
	}
}

static void close_key(struct derp_loop *loop, const struct order *order)
{
	struct peer *peer = peer_find(loop, order->key.bytes);

	if (order->everywhere)
		pass_on(loop, order);
	while (peer && peer->conns)
		conn_close(peer->conns);
	/* those too that are not listed yet */
	for (uint32_t i = 0; i < loop->n_slots && loop->asking; i++) {
		struct conn *conn = loop->slots[i].conn;

		if (conn && conn->state == CONN_ASKING &&
			memcmp(&conn->key, &order->key, sizeof(conn->key)) == 0)
			conn_close(conn);
	}
}

void derp_server_close_key(const struct public_key *key)
{
	order_all(&(struct order){.what = close_key, .key = *key});
}

void close_peer(const struct public_key *key, uint64_t from)
{
	order_all(
		&(struct order){.what = close_key, .key = *key, .everywhere = true, .from = from});
}

void derp_server_close_peer(const struct public_key *key)
{
	close_peer(key, 0);
}

static void say_health(struct derp_loop *loop, const struct order *order)
{
	loop->health_len = order->len > DERP_HEADER_LEN ? (uint32_t)order->len : 0;
	memcpy(loop->health, order->bytes, loop->health_len);
	for (uint32_t i = 0; i < loop->n_slots; i++) {
		struct conn *conn = loop->slots[i].conn;

		if (conn && conn->state == CONN_UP && is_client(conn))
			output_control(conn, order->bytes, (uint32_t)order->len);
	}
}

void derp_server_health(const char *text)
{
	size_t len = strlen(text) < HEALTH_MAX ? strlen(text) : HEALTH_MAX;
	struct order *order = calloc(1, sizeof(*order) + DERP_HEADER_LEN + len);

	if (!order)
		return;
	order->what = say_health;
	order->len = DERP_HEADER_LEN + len;
	derp_header_put(order->bytes, DERP_HEALTH, (uint32_t)len);
	memcpy(order->bytes + DERP_HEADER_LEN, text, len);
	order_all(order);
	free(order);
}

/* ---- draining ---- */

static struct {
	void (*done)(void *user);
	void *user;
	_Atomic unsigned loops; /* that are not empty yet */
	struct io_message message;
} drain;

static void drain_end(struct io_message *message)
{
	(void)message;
	if (drain.done)
		drain.done(drain.user);
}

static void begin_drain(struct derp_loop *loop, const struct order *order)
{
	uint64_t now = core_now();

	loop->drain_until = now + order->over;
	if (!loop->drain_until)
		loop->drain_until = 1;
	loop->drain_left = true;
	loop->drain_late = order->late;
	ev_timer_again(loop->ev, &loop->tick);
	drain_tick(loop, now);
}

void derp_server_drain(uint64_t over, bool successor, void (*done)(void *user), void *user)
{
	drain.done = done;
	drain.user = user;
	atomic_store_explicit(&drain.loops, server.n, memory_order_relaxed);
	order_all(&(struct order){.what = begin_drain, .over = over, .late = successor});
}

/* Clients do not act on it; it tells those who look at what happens. */
static void send_away(struct conn *conn)
{
	uint8_t frame[DERP_HEADER_LEN + 8] = {0};

	derp_header_put(frame, DERP_RESTARTING, 8);
	derp_be32_put(frame + DERP_HEADER_LEN + 4, 30000);
	if (conn->state == CONN_UP) {
		output_control(conn, frame, sizeof(frame));
		output_flush(conn);
	}
	conn->sent_away = conn->loop->drain_late;
	if (!conn->sent_away || !conn_leave(conn))
		conn_close(conn);
}

bool drain_tick(struct derp_loop *loop, uint64_t now)
{
	uint64_t left = COUNTED(loop, connections) - loop->not_clients - loop->leaving;
	uint64_t ticks =
		now < loop->drain_until ? (loop->drain_until - now) / WHEEL_TICK_NS + 1 : 1;
	uint64_t n = (left + ticks - 1) / ticks;

	if (!loop->drain_left)
		return false;
	for (uint32_t i = 0; i < loop->n_slots && n; i++) {
		struct conn *conn = loop->slots[i].conn;

		if (conn && is_client(conn) && !conn->leaving) {
			send_away(conn);
			left--;
			n--;
		}
	}
	/* what waits for those who are on their way waits here */
	if (left || loop->leaving || (loop->drain_late && (loop->away || now < loop->drain_until)))
		return true;
	loop->drain_left = false;
	/* acq_rel: the last one sees that the others are empty */
	if (atomic_fetch_sub_explicit(&drain.loops, 1, memory_order_acq_rel) == 1) {
		drain.message.run = drain_end;
		io_post(io_loop_control(), &drain.message);
	}
	return false;
}
