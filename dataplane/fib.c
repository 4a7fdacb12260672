/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The control loop's side of the FIB: who wants which route (the RIB), and the two tables that
 * workers read, the trie of prefixes and the array of next hops. Control loop.
 *
 * Next hops are shared: equal ones are one entry, counted by the routes that use it. An entry that
 * nobody uses stays as it is for a grace period, since a worker may hold its index in a packet, and
 * is only then given to another.
 */
#include "fib_private.h"

#include <errno.h>
#include <stdlib.h>

#include <rte_common.h>
#include <rte_jhash.h>

#define RIB_BUCKETS_MIN 256
#define HOP_BUCKETS 1024

/* What one source says of a prefix. */
struct rib_route {
	struct rib_route *next; /* the one that would follow if this one went */
	uint8_t origin;
	uint32_t hop;
	uint32_t peer;  /* of a tunnel's allowed IP; PEER_NONE: the next hop says all */
	uint32_t count; /* addresses of one network share its route */
};

struct rib_prefix {
	struct rib_prefix *next; /* in the bucket */
	struct net_prefix prefix;
	struct rib_route *routes; /* best first; never empty */
};

struct hop_use {
	uint32_t count;
	uint32_t next; /* in the bucket, or in the list of free ones */
};

struct fib_control {
	struct rib_prefix **rib;
	uint32_t rib_size, rib_count;
	struct hop_use *hops;
	uint32_t hop_buckets[HOP_BUCKETS];
	uint32_t hops_free;
	uint32_t n_peers; /* length of peer_hops */
	void (*retire)(void *object, void (*free_fn)(void *));
};

void fib_retire(struct fib *fib, void *object, void (*free_fn)(void *))
{
	if (fib->control->retire)
		fib->control->retire(object, free_fn);
	else
		free_fn(object);
}

/* ---- next hops ----------------------------------------------------------------------------- */

struct hop_retired {
	struct fib_control *control;
	uint32_t index;
};

static uint32_t *hop_bucket(struct fib_control *c, const struct fib_next_hop *hop)
{
	return &c->hop_buckets[rte_jhash(hop, sizeof(*hop), 0) % HOP_BUCKETS];
}

/* After a grace period: nobody holds the index any more. */
static void hop_reuse(void *object)
{
	struct hop_retired *r = object;

	r->control->hops[r->index].next = r->control->hops_free;
	r->control->hops_free = r->index;
	free(r);
}

static uint32_t hop_get(struct fib *fib, const struct fib_next_hop *hop)
{
	struct fib_control *c = fib->control;
	uint32_t *bucket = hop_bucket(c, hop), i;

	for (i = *bucket; i != FIB_NONE; i = c->hops[i].next)
		if (memcmp(&fib->next_hops[i], hop, sizeof(*hop)) == 0) {
			c->hops[i].count++;
			return i;
		}
	i = c->hops_free;
	if (i == FIB_NONE)
		return FIB_NONE;
	c->hops_free = c->hops[i].next;
	fib->next_hops[i] = *hop;
	c->hops[i] = (struct hop_use){.count = 1, .next = *bucket};
	*bucket = i;
	return i;
}

static void hop_put(struct fib *fib, uint32_t index)
{
	struct fib_control *c = fib->control;
	uint32_t *at = hop_bucket(c, &fib->next_hops[index]);
	struct hop_retired *r;

	if (--c->hops[index].count)
		return;
	while (*at != index)
		at = &c->hops[*at].next;
	*at = c->hops[index].next;
	r = malloc(sizeof(*r));
	if (!r)
		return; /* one index of thousands is lost, nothing else */
	*r = (struct hop_retired){.control = c, .index = index};
	fib_retire(fib, r, hop_reuse);
}

/* Where `peer` has its next hop; PEER_NONE when there is no memory to note it. */
static uint32_t peer_hop_set(struct fib *fib, uint32_t peer, uint32_t hop)
{
	_Atomic uint16_t *old = atomic_load_explicit(&fib->peer_hops, memory_order_relaxed);
	uint32_t n = fib->control->n_peers ? fib->control->n_peers : 64;
	_Atomic uint16_t *hops = old;

	if (peer >= fib->control->n_peers) {
		while (n <= peer)
			n *= 2;
		hops = calloc(n, sizeof(*hops));
		if (!hops)
			return PEER_NONE;
		for (uint32_t i = 0; i < fib->control->n_peers; i++)
			atomic_init(&hops[i], atomic_load_explicit(&old[i], memory_order_relaxed));
		/* pairs with the acquire load in fib_hop */
		atomic_store_explicit(&fib->peer_hops, hops, memory_order_release);
		fib->control->n_peers = n;
		if (old)
			fib_retire(fib, (void *)old, free);
	}
	atomic_store_explicit(&hops[peer], (uint16_t)hop, memory_order_relaxed);
	return peer;
}

/* ---- RIB ----------------------------------------------------------------------------------- */

static uint32_t prefix_hash(const struct net_prefix *prefix)
{
	uint32_t key[5] = {(uint32_t)prefix->len << 16 | prefix->addr.family};

	memcpy(key + 1, prefix->addr.bytes, 16);
	return rte_jhash_32b(key, RTE_DIM(key), 0);
}

static struct rib_prefix **rib_find(struct fib_control *c, const struct net_prefix *prefix)
{
	struct rib_prefix **at = &c->rib[prefix_hash(prefix) % c->rib_size];

	while (*at && ((*at)->prefix.len != prefix->len ||
			      !net_addr_equal(&(*at)->prefix.addr, &prefix->addr)))
		at = &(*at)->next;
	return at;
}

static void rib_grow(struct fib_control *c)
{
	uint32_t size = c->rib_size * 2;
	struct rib_prefix **rib, *p, *next;

	if (c->rib_count < c->rib_size)
		return;
	rib = calloc(size, sizeof(*rib));
	if (!rib)
		return; /* slower, not wrong */
	for (uint32_t i = 0; i < c->rib_size; i++)
		for (p = c->rib[i]; p; p = next) {
			struct rib_prefix **bucket = &rib[prefix_hash(&p->prefix) % size];

			next = p->next;
			p->next = *bucket;
			*bucket = p;
		}
	free(c->rib);
	c->rib = rib;
	c->rib_size = size;
}

/* Best first: by origin, our own addresses before their network's broadcasts. */
static unsigned route_rank(const struct fib *fib, const struct rib_route *r)
{
	return r->origin * 2u + (fib->next_hops[r->hop].type != FIB_LOCAL);
}

static void routes_insert(const struct fib *fib, struct rib_prefix *p, struct rib_route *r)
{
	struct rib_route **at = &p->routes;

	while (*at && route_rank(fib, *at) < route_rank(fib, r))
		at = &(*at)->next;
	r->next = *at;
	*at = r;
}

static struct rib_route **route_find(const struct fib *fib, struct rib_prefix *p,
	enum fib_origin origin, const struct fib_next_hop *hop)
{
	struct rib_route **at = &p->routes;

	while (*at && ((*at)->origin != origin ||
			      memcmp(&fib->next_hops[(*at)->hop], hop, sizeof(*hop)) != 0))
		at = &(*at)->next;
	return at;
}

/* After each change of what workers see. No two FIBs of the process share a generation. */
static void generation_next(struct fib *fib)
{
	static uint32_t last;

	/* pairs with the acquire load in wg_output.c */
	atomic_store_explicit(&fib->generation, ++last, memory_order_release);
}

static uint32_t route_answer(const struct rib_route *r)
{
	return r->peer == PEER_NONE ? r->hop : FIB_PEERS + r->peer;
}

/* Workers follow the best route of the prefix. Where memory to tell them of the peer is lacking,
 * they are told of its tunnel, whose table they then ask. */
static int rib_publish(struct fib *fib, struct rib_prefix *p)
{
	int rc = allowedips_insert(&fib->routes, &p->prefix, route_answer(p->routes), NULL);

	if (rc < 0 && p->routes->peer != PEER_NONE) {
		p->routes->peer = PEER_NONE;
		rc = allowedips_insert(&fib->routes, &p->prefix, p->routes->hop, NULL);
	}
	generation_next(fib);
	return rc;
}

static struct rib_prefix *rib_prefix_get(struct fib_control *c, const struct net_prefix *prefix)
{
	struct rib_prefix **at = rib_find(c, prefix), *p = *at;

	if (p)
		return p;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->prefix = *prefix;
	*at = p;
	c->rib_count++;
	rib_grow(c);
	return p;
}

/* Removes the prefix once no route is left, else shows workers the next best. */
static void rib_prefix_settle(struct fib *fib, struct rib_prefix *p, uint32_t shown)
{
	struct fib_control *c = fib->control;

	if (p->routes) {
		rib_publish(fib, p);
		return;
	}
	if (shown != FIB_NONE)
		allowedips_remove(&fib->routes, &p->prefix, shown);
	generation_next(fib);
	*rib_find(c, &p->prefix) = p->next;
	c->rib_count--;
	free(p);
}

static int route_new(struct fib *fib, struct rib_prefix *p, enum fib_origin origin,
	const struct fib_next_hop *hop, uint32_t peer)
{
	struct rib_route *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return -ENOMEM;
	r->origin = origin;
	r->count = 1;
	r->hop = hop_get(fib, hop);
	if (r->hop == FIB_NONE) {
		free(r);
		return -ENOSPC;
	}
	r->peer = peer == PEER_NONE ? PEER_NONE : peer_hop_set(fib, peer, r->hop);
	routes_insert(fib, p, r);
	rc = rib_publish(fib, p);
	if (rc < 0) {
		*route_find(fib, p, origin, hop) = r->next;
		hop_put(fib, r->hop);
		free(r);
	}
	return rc;
}

/* It is there: addresses are counted, and what is a peer's may become another's. */
static int route_again(struct fib *fib, struct rib_prefix *p, struct rib_route *r, uint32_t peer)
{
	if (r->origin == FIB_FROM_ADDRESS) {
		r->count++;
		return 0;
	}
	if (peer == PEER_NONE)
		return -EEXIST;
	if (peer == r->peer)
		return 0;
	r->peer = peer_hop_set(fib, peer, r->hop);
	return r == p->routes ? rib_publish(fib, p) : 0;
}

static int route_add(struct fib *fib, const struct net_prefix *prefix, enum fib_origin origin,
	const struct fib_next_hop *hop, uint32_t peer, struct err *err)
{
	struct net_prefix masked = net_prefix_masked(prefix);
	struct rib_prefix *p = rib_prefix_get(fib->control, &masked);
	char text[NET_PREFIX_STRLEN];
	struct rib_route *r;
	int rc;

	if (!p)
		return err_set(err, -ENOMEM, "out of memory");
	r = *route_find(fib, p, origin, hop);
	rc = r ? route_again(fib, p, r, peer) : route_new(fib, p, origin, hop, peer);
	if (rc == 0)
		return 0;
	if (rc == -EEXIST)
		return err_set(err, rc, "the route to %s is there already",
			net_prefix_format(&masked, text));
	if (!p->routes)
		rib_prefix_settle(fib, p, FIB_NONE);
	return err_set(err, rc, "no route to %s: %s", net_prefix_format(&masked, text),
		rc == -ENOSPC ? "too many different next hops" : strerror(-rc));
}

int fib_route_add(struct fib *fib, const struct net_prefix *prefix, enum fib_origin origin,
	const struct fib_next_hop *hop, struct err *err)
{
	return route_add(fib, prefix, origin, hop, PEER_NONE, err);
}

static void route_unlink(struct fib *fib, struct rib_prefix *p, struct rib_route **at)
{
	struct rib_route *r = *at;
	uint32_t shown = route_answer(p->routes);

	*at = r->next;
	rib_prefix_settle(fib, p, shown);
	hop_put(fib, r->hop);
	free(r);
}

int fib_route_remove(struct fib *fib, const struct net_prefix *prefix, enum fib_origin origin,
	const struct fib_next_hop *hop)
{
	struct net_prefix masked = net_prefix_masked(prefix);
	struct rib_prefix *p = *rib_find(fib->control, &masked);
	struct rib_route **at = p ? route_find(fib, p, origin, hop) : NULL;

	if (!at || !*at)
		return -ENOENT;
	if (--(*at)->count == 0)
		route_unlink(fib, p, at);
	return 0;
}

bool fib_route_has(struct fib *fib, const struct net_prefix *prefix, enum fib_origin origin,
	const struct fib_next_hop *hop)
{
	struct net_prefix masked = net_prefix_masked(prefix);
	struct rib_prefix *p = *rib_find(fib->control, &masked);

	return p && *route_find(fib, p, origin, hop);
}

uint32_t fib_routes(const struct fib *fib)
{
	return fib->control->rib_count;
}

/* ---- tunnels ------------------------------------------------------------------------------- */

static struct fib_next_hop tunnel_hop(uint32_t tunnel, uint16_t mtu)
{
	return (struct fib_next_hop){
		.type = FIB_TUNNEL, .port = PORT_NONE, .mtu = mtu, .tunnel = tunnel};
}

int fib_tunnel_route_add(struct fib *fib, const struct net_prefix *prefix, uint32_t tunnel,
	uint32_t peer, uint16_t mtu, struct err *err)
{
	struct fib_next_hop hop = tunnel_hop(tunnel, mtu);

	return route_add(fib, prefix, FIB_FROM_TUNNEL, &hop, peer, err);
}

int fib_tunnel_route_remove(
	struct fib *fib, const struct net_prefix *prefix, uint32_t tunnel, uint16_t mtu)
{
	struct fib_next_hop hop = tunnel_hop(tunnel, mtu);

	return fib_route_remove(fib, prefix, FIB_FROM_TUNNEL, &hop);
}

/* ---- whole --------------------------------------------------------------------------------- */

/* Takes out the routes of one prefix that lead there; the prefix may be gone afterwards. */
static void prefix_flush(struct fib *fib, struct rib_prefix *p, uint16_t port, uint32_t tunnel)
{
	struct rib_route **at = &p->routes;

	while (*at) {
		const struct fib_next_hop *hop = &fib->next_hops[(*at)->hop];

		if ((port != PORT_NONE && hop->port == port) ||
			(tunnel != TUNNEL_NONE && hop->tunnel == tunnel)) {
			bool last = !p->routes->next;

			route_unlink(fib, p, at);
			if (last)
				return;
		} else {
			at = &(*at)->next;
		}
	}
}

void fib_flush(struct fib *fib, uint16_t port, uint32_t tunnel)
{
	struct fib_control *c = fib->control;
	struct rib_prefix *p, *next;

	for (uint32_t i = 0; i < c->rib_size; i++)
		for (p = c->rib[i]; p; p = next) {
			next = p->next;
			prefix_flush(fib, p, port, tunnel);
		}
	fib_sources_flush(fib, port, tunnel);
}

static struct fib_control *control_new(void (*retire)(void *object, void (*free_fn)(void *)))
{
	struct fib_control *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->retire = retire;
	c->rib_size = RIB_BUCKETS_MIN;
	c->rib = calloc(c->rib_size, sizeof(*c->rib));
	c->hops = calloc(FIB_NEXT_HOPS_MAX, sizeof(*c->hops));
	if (!c->rib || !c->hops) {
		free(c->rib);
		free(c->hops);
		free(c);
		return NULL;
	}
	memset(c->hop_buckets, 0xff, sizeof(c->hop_buckets));
	for (uint32_t i = 0; i < FIB_NEXT_HOPS_MAX; i++)
		c->hops[i].next = i + 1 < FIB_NEXT_HOPS_MAX ? i + 1 : FIB_NONE;
	return c;
}

struct fib *fib_new(void (*retire)(void *object, void (*free_fn)(void *)), struct err *err)
{
	struct fib *fib = calloc(1, sizeof(*fib));

	if (fib) {
		fib->next_hops = calloc(FIB_NEXT_HOPS_MAX, sizeof(*fib->next_hops));
		fib->control = control_new(retire);
	}
	if (!fib || !fib->next_hops || !fib->control) {
		err_set(err, -ENOMEM, "no memory for routes");
		if (fib)
			free(fib->next_hops);
		free(fib);
		return NULL;
	}
	allowedips_init(&fib->routes, retire);
	return fib;
}

/* No worker holds it any more: it left the data plane's table a grace period ago. */
void fib_free(void *object)
{
	struct fib *fib = object;
	struct fib_control *c;

	if (!fib)
		return;
	c = fib->control;
	allowedips_fini(&fib->routes);
	for (uint32_t i = 0; i < c->rib_size; i++)
		for (struct rib_prefix *p = c->rib[i], *next; p; p = next) {
			for (struct rib_route *r = p->routes, *after; r; r = after) {
				after = r->next;
				free(r);
			}
			next = p->next;
			free(p);
		}
	free(c->rib);
	free(c->hops);
	free(c);
	free(atomic_load_explicit(&fib->sources, memory_order_relaxed));
	free((void *)atomic_load_explicit(&fib->peer_hops, memory_order_relaxed));
	free(fib->next_hops);
	free(fib);
}
