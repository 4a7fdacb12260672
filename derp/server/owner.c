/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the owner of a key decides: of all who claim it, who gets its packets. Runs on: the I/O loop
 * that owns the key.
 *
 * A client here goes before any other node, and before the process that was this node before us
 * (kin.c). Of several clients with one key, the one that spoke last, and those of the process that
 * comes after us are among them: they came later. Of several nodes, the first one that said it has
 * the key. Claims are kept in that order: clients by when they last became active, newest first,
 * and nodes as they came, newest first.
 */
#include <stdlib.h>
#include <string.h>

#include "relay.h"

struct tally {
	unsigned clients, others;
};

static struct tally count(const struct peer *peer)
{
	struct tally tally = {0};

	for (const struct claim *claim = peer->claims; claim; claim = claim->next) {
		if (claim->route.kind == ROUTE_CLIENT)
			tally.clients++;
		else
			tally.others++;
	}
	return tally;
}

static bool same_route(const struct route *a, const struct route *b)
{
	return a->kind == b->kind && a->loop == b->loop && a->conn == b->conn;
}

static const struct claim *choose(const struct peer *peer)
{
	const struct claim *older = NULL, *link = NULL;

	for (const struct claim *claim = peer->claims; claim; claim = claim->next) {
		if (claim->route.kind == ROUTE_CLIENT || claim->route.kind == ROUTE_NEWER)
			return claim;
		if (claim->route.kind == ROUTE_OLDER)
			older = claim;
		else
			link = claim;
	}
	return older ? older : link;
}

static struct claim **find(struct peer *peer, const struct route *route)
{
	struct claim **at = &peer->claims;

	while (*at && !same_route(&(*at)->route, route))
		at = &(*at)->next;
	return at;
}

/* ---- figures ---- */

static void count_change(struct derp_loop *loop, struct tally before, struct tally now)
{
	unsigned dup_before = before.clients > 1 ? before.clients : 0;
	unsigned dup_now = now.clients > 1 ? now.clients : 0;

	COUNT(loop, clients_local, !!now.clients - !!before.clients);
	COUNT(loop, clients_remote,
		(now.others && !now.clients) - (before.others && !before.clients));
	COUNT(loop, dup_client_keys, !!dup_now - !!dup_before);
	COUNT(loop, dup_client_connections, (uint64_t)dup_now - dup_before);
	if (now.clients > before.clients && dup_now)
		COUNT(loop, dup_client_conns, 1);
	if (before.others == 1 && now.others == 2)
		COUNT(loop, multiforwarder_created, 1);
	if (before.others == 2 && now.others == 1)
		COUNT(loop, multiforwarder_deleted, 1);
}

/* ---- changes ---- */

static void add(struct derp_loop *loop, struct peer *peer, const struct change *change)
{
	struct claim *claim;

	if (*find(peer, &change->route))
		return;
	claim = malloc(sizeof(*claim));
	if (!claim)
		abort(); /* what replicas say would be wrong from here on */
	claim->route = change->route;
	claim->present = change->present;
	claim->from = change->from;
	claim->next = peer->claims;
	peer->claims = claim;
}

/* Of one that is away watchers are told when it is back, or is not in time. */
static void drop(struct derp_loop *loop, struct peer *peer, const struct change *change)
{
	struct claim **at = find(peer, &change->route), *claim = *at;

	if (!claim)
		return;
	*at = claim->next;
	if (change->what == CLAIM_MOVE && !peer->claims)
		away_begin(loop, peer);
	else
		watch_removed(loop, peer, claim);
	free(claim);
}

static void activate(struct derp_loop *loop, struct peer *peer, const struct change *change)
{
	struct claim **at = find(peer, &change->route), *claim = *at;

	(void)loop;
	if (!claim)
		return;
	*at = claim->next;
	claim->next = peer->claims;
	peer->claims = claim;
}

void owner_change(struct derp_loop *loop, const struct change *change)
{
	static void (*const what[])(
		struct derp_loop * loop, struct peer * peer, const struct change *change) = {
		[CLAIM_ADD] = add,
		[CLAIM_REMOVE] = drop,
		[CLAIM_MOVE] = drop,
		[CLAIM_ACTIVATE] = activate,
	};
	struct update update = {.key = change->key};
	struct peer *peer = peer_get(loop, &change->key);
	const struct claim *chosen;
	struct tally before, now;
	bool added, was_away;

	if (!peer)
		abort(); /* as above */
	added = change->what == CLAIM_ADD && !*find(peer, &change->route);
	was_away = peer->away;
	before = count(peer);
	what[change->what](loop, peer, change);
	now = count(peer);
	count_change(loop, before, now);
	chosen = choose(peer);
	if (chosen)
		update.route = chosen->route;
	update.away = !chosen && (peer->away || (change->what == CLAIM_MOVE && peer->away_until));
	update.gone = !chosen && !update.away && before.clients + before.others;
	if (!update.gone && change->what != CLAIM_ADD && same_route(&update.route, &peer->route)) {
		peer_release(loop, peer);
		return;
	}
	/* before watchers are told: they may send at once, by whichever loop */
	directory_post(loop, &update);
	if (added)
		watch_added(loop, peer, *find(peer, &change->route));
	if (added && was_away) /* who was not told that it went is told where it is not */
		watch_gone(loop, peer);
	directory_apply(loop, &update);
}

/* A link takes all its claims with it. Another process of this node has ended: those whom it had
 * come here. */
void owner_link_gone(struct derp_loop *loop, const struct route *link)
{
	size_t n = 0, room = loop->peers.n;
	struct change *changes = malloc((room + 1) * sizeof(*changes));

	if (!changes)
		abort();
	for (size_t i = 0; i < loop->peers.size; i++) {
		struct peer *peer = loop->peers.slots[i].item;

		if (peer && *find(peer, link))
			changes[n++] = (struct change){
				.what = is_kin(link->kind) ? CLAIM_MOVE : CLAIM_REMOVE,
				.key = peer->key,
				.route = *link};
	}
	for (size_t i = 0; i < n; i++)
		owner_change(loop, &changes[i]);
	free(changes);
}
