/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where keys are: each I/O loop's replica, and what goes between it and the owners of keys. Runs
 * on: I/O loops.
 *
 * A packet asks its own loop's replica. A connection that comes or goes tells the key's owner (one
 * loop, by the key's hash), who decides and tells all replicas, himself included; so changes to one
 * key have one order everywhere, and nobody locks.
 */
#include <stdlib.h>
#include <string.h>

#include "relay.h"

/* Keys are the clients' to choose: the seed keeps them from choosing a place. */
static uint64_t hash_key(const uint8_t key[static 32])
{
	uint64_t word, hash = server.seed;

	for (unsigned i = 0; i < 4; i++) {
		memcpy(&word, key + 8 * i, 8);
		hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
		hash ^= hash >> 32;
	}
	return hash;
}

unsigned directory_owner(const struct public_key *key)
{
	return (unsigned)((hash_key(key->bytes) >> 40) % server.n);
}

/* ---- peers ---- */

static bool same_key(const void *item, const void *key)
{
	return memcmp(((const struct peer *)item)->key.bytes, key, DERP_KEY_LEN) == 0;
}

struct peer *peer_find(struct derp_loop *loop, const uint8_t key[static 32])
{
	return table_find(&loop->peers, hash_key(key), same_key, key);
}

struct peer *peer_get(struct derp_loop *loop, const struct public_key *key)
{
	uint64_t hash = hash_key(key->bytes);
	struct peer *peer = table_find(&loop->peers, hash, same_key, key->bytes);

	if (peer)
		return peer;
	peer = calloc(1, sizeof(*peer));
	if (!peer)
		return NULL;
	peer->key = *key;
	if (table_add(&loop->peers, hash, peer) == 0)
		return peer;
	free(peer);
	return NULL;
}

void peer_release(struct derp_loop *loop, struct peer *peer)
{
	if (peer->dead || peer->route.kind != ROUTE_NONE || peer->conns || peer->sightings ||
		peer->claims || peer->away || peer->away_until)
		return;
	table_remove(&loop->peers, hash_key(peer->key.bytes), peer);
	peer->dead = true;
	peer->dead_next = loop->dead_peers;
	loop->dead_peers = peer;
}

void peers_free_dead(struct derp_loop *loop)
{
	struct peer *peer;

	while ((peer = loop->dead_peers)) {
		loop->dead_peers = peer->dead_next;
		free(peer);
	}
}

void directory_fini(struct derp_loop *loop)
{
	for (size_t i = 0; i < loop->peers.size; i++) {
		struct peer *peer = loop->peers.slots[i].item;

		while (peer && peer->claims) {
			struct claim *claim = peer->claims;

			peer->claims = claim->next;
			free(claim);
		}
		if (peer)
			away_fini(peer);
		free(peer);
	}
	table_fini(&loop->peers);
	peers_free_dead(loop);
}

/* ---- to the owner ---- */

static void change_run(struct io_message *message)
{
	struct change *change = (struct change *)message;

	owner_change(derp_loop_here(), change);
	free(change);
}

void directory_change(struct derp_loop *loop, const struct change *change)
{
	unsigned owner = directory_owner(&change->key);
	struct change *copy;

	if (owner == loop->index) {
		owner_change(loop, change);
		return;
	}
	copy = malloc(sizeof(*copy));
	if (!copy)
		abort(); /* what replicas say would be wrong from here on */
	*copy = *change;
	copy->message.run = change_run;
	io_post(server.loops[owner].io, &copy->message);
}

static uint8_t present_flags(const struct conn *conn)
{
	uint8_t flags = (uint8_t)((conn->mesh ? DERP_PRESENT_MESH : 0) |
				  (conn->prober ? DERP_PRESENT_PROBER : 0) |
				  (conn->not_ideal ? DERP_PRESENT_NOT_IDEAL : 0));

	return flags ? flags : DERP_PRESENT_REGULAR;
}

static void tell_owner(struct conn *conn, enum change_kind what)
{
	struct derp_loop *loop = conn->loop;
	struct change change = {
		.what = what,
		.key = conn->key,
		.route = {ROUTE_CLIENT, (uint16_t)loop->index, conn->id},
		.present = present_flags(conn),
		.from = conn->from,
	};

	directory_change(loop, &change);
}

void directory_claim(struct conn *conn)
{
	tell_owner(conn, CLAIM_ADD);
}

void directory_activate(struct conn *conn)
{
	conn->asked = true;
	tell_owner(conn, CLAIM_ACTIVATE);
}

/* Until the owner has said where the key is now: what comes for one that was sent away waits from
 * the first packet on. (Where the owner is this loop, it has said so, or is about to.) */
static void not_here(struct derp_loop *loop, struct peer *peer, bool sent_away)
{
	peer->via = NULL;
	if (!sent_away || directory_owner(&peer->key) == loop->index)
		return;
	peer->route = (struct route){0};
	peer->away = true;
}

void directory_unclaim(struct conn *conn)
{
	struct peer *peer = conn->peer;
	struct conn **at = &peer->conns;

	while (*at != conn)
		at = &(*at)->same_next;
	*at = conn->same_next;
	conn->peer = NULL;
	tell_owner(conn, conn->sent_away ? CLAIM_MOVE : CLAIM_REMOVE);
	if (peer->via == conn)
		not_here(conn->loop, peer, conn->sent_away);
	peer_release(conn->loop, peer);
}

/* A link leads nowhere from now on; the owners of the keys that it told of are told of it, too. Of
 * another process of this node its clients come here. */
void directory_cut(const struct conn *link)
{
	struct derp_loop *loop = link->loop;

	for (size_t i = 0; i < loop->peers.size; i++) {
		struct peer *peer = loop->peers.slots[i].item;

		if (peer && peer->via == link)
			not_here(loop, peer, is_kin(link->kin));
	}
}

/* ---- to the replicas ---- */

static void welcome(struct peer *peer)
{
	struct conn *conn = peer->conns;

	while (conn) {
		if (conn->state == CONN_CLAIMING) {
			handshake_done(conn); /* may change the list */
			conn = peer->conns;
		} else {
			conn = conn->same_next;
		}
	}
}

void directory_apply(struct derp_loop *loop, const struct update *update)
{
	struct peer *peer = peer_get(loop, &update->key);

	if (!peer)
		abort(); /* as above */
	peer->route = update->route;
	peer->away = update->away;
	if (!peer->away)
		away_release(peer);
	peer->via = NULL;
	if (peer->route.kind != ROUTE_NONE && peer->route.loop == loop->index)
		peer->via = conn_find(loop, peer->route.conn);
	if (peer->via && peer->via->leaving) /* the owner did not know that yet */
		not_here(loop, peer, true);
	for (struct conn *conn = peer->conns; conn; conn = conn->same_next) {
		conn->standby = conn != peer->via;
		conn->asked = false;
	}
	welcome(peer);
	if (update->gone)
		sightings_tell(loop, peer);
	peer_release(loop, peer);
}

static void update_run(struct io_message *message)
{
	directory_apply(derp_loop_here(), (struct update *)message);
	free(message);
}

void directory_post(const struct derp_loop *loop, const struct update *update)
{
	for (unsigned i = 0; i < server.n; i++) {
		struct update *copy;

		if (i == loop->index)
			continue;
		copy = malloc(sizeof(*copy));
		if (!copy)
			abort();
		*copy = *update;
		copy->message.run = update_run;
		io_post(server.loops[i].io, &copy->message);
	}
}

void directory_update(struct derp_loop *loop, const struct update *update)
{
	directory_post(loop, update);
	directory_apply(loop, update);
}
