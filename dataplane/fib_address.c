/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Our own addresses: the routes that each brings along, and the list to choose one from to speak
 * from. The list is replaced as a whole. Control loop, but for fib_source and fib_source_for, which
 * workers call too.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fib_private.h"
#include "ip_parse.h"

struct fib_sources {
	uint32_t n;
	struct fib_source {
		struct net_addr addr;
		uint16_t port, vlan;
		uint32_t tunnel;
	} list[];
};

static bool source_equal(const struct fib_source *a, const struct fib_source *b)
{
	return a->port == b->port && a->vlan == b->vlan && a->tunnel == b->tunnel &&
	       net_addr_equal(&a->addr, &b->addr);
}

/* Control loop: the list without `without` and with `with` (either may be NULL). */
static int sources_change(
	struct fib *fib, const struct fib_source *without, const struct fib_source *with)
{
	struct fib_sources *old = atomic_load_explicit(&fib->sources, memory_order_relaxed), *new;
	uint32_t n = old ? old->n : 0;

	new = calloc(1, sizeof(*new) + (n + 1) * sizeof(new->list[0]));
	if (!new)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		if (without && source_equal(&old->list[i], without))
			without = NULL;
		else
			new->list[new->n++] = old->list[i];
	if (with)
		new->list[new->n++] = *with;
	/* pairs with the acquire load in fib_source */
	atomic_store_explicit(&fib->sources, new, memory_order_release);
	if (old)
		fib_retire(fib, old, free);
	return 0;
}

bool fib_source(const struct fib *fib, uint16_t port, uint16_t vlan, uint32_t tunnel, int family,
	uint8_t out[static 16])
{
	/* pairs with the release store in sources_change */
	const struct fib_sources *s = atomic_load_explicit(&fib->sources, memory_order_acquire);
	const struct fib_source *found = NULL;

	for (uint32_t i = 0; s && i < s->n; i++) {
		const struct fib_source *at = &s->list[i];

		if (at->port != port || at->vlan != vlan || at->tunnel != tunnel ||
			at->addr.family != family)
			continue;
		if (!found || ip_is_link_local(found->addr.family, found->addr.bytes))
			found = at;
	}
	if (found)
		memcpy(out, found->addr.bytes, 16);
	return found != NULL;
}

bool fib_source_for(const struct fib *fib, uint32_t answer, int family, uint8_t out[static 16])
{
	const struct fib_next_hop *hop = fib_next_hop(fib, answer);

	return hop && fib_source(fib, hop->port, hop->vlan, hop->tunnel, family, out);
}

/* The routes that an address brings along. Each `fn` is fib_route_add or its counterpart. */
struct address_routes {
	struct net_prefix prefix[4];
	struct fib_next_hop hop[4];
	unsigned n;
};

static void address_route(struct address_routes *a, const struct net_addr *addr, uint8_t len,
	enum fib_type type, const struct fib_next_hop *hop)
{
	a->prefix[a->n] = (struct net_prefix){.addr = *addr, .len = len};
	a->hop[a->n] = *hop;
	a->hop[a->n].type = type;
	a->n++;
}

static void address_routes(
	struct address_routes *a, const struct net_prefix *address, const struct fib_next_hop *hop)
{
	struct net_prefix network = net_prefix_masked(address), last = network;
	uint8_t whole = address->addr.family == AF_INET ? 32 : 128;
	struct fib_next_hop nowhere = {.port = PORT_NONE, .tunnel = TUNNEL_NONE};

	a->n = 0;
	address_route(a, &address->addr, whole, FIB_LOCAL, hop);
	if (hop->port == PORT_NONE || address->len == whole ||
		ip_is_link_local(address->addr.family, address->addr.bytes))
		return;
	address_route(a, &network.addr, address->len, FIB_PORT, hop);
	if (whole != 32 || address->len > 30)
		return;
	for (unsigned bit = address->len; bit < 32; bit++)
		last.addr.bytes[bit / 8] |= 0x80 >> bit % 8;
	address_route(a, &network.addr, 32, FIB_BLACKHOLE, &nowhere);
	address_route(a, &last.addr, 32, FIB_BLACKHOLE, &nowhere);
}

int fib_address_add(struct fib *fib, const struct net_prefix *address, uint16_t port, uint16_t vlan,
	uint32_t tunnel, uint16_t mtu, struct err *err)
{
	struct fib_next_hop hop = {.port = port, .vlan = vlan, .tunnel = tunnel, .mtu = mtu};
	struct fib_source source = {
		.addr = address->addr, .port = port, .vlan = vlan, .tunnel = tunnel};
	struct address_routes a;
	int rc;

	address_routes(&a, address, &hop);
	rc = sources_change(fib, NULL, &source);
	if (rc < 0)
		return err_set(err, rc, "out of memory");
	for (unsigned i = 0; i < a.n; i++) {
		rc = fib_route_add(fib, &a.prefix[i], FIB_FROM_ADDRESS, &a.hop[i], err);
		if (rc == 0)
			continue;
		while (i-- > 0)
			fib_route_remove(fib, &a.prefix[i], FIB_FROM_ADDRESS, &a.hop[i]);
		sources_change(fib, &source, NULL);
		return rc;
	}
	return 0;
}

int fib_address_remove(struct fib *fib, const struct net_prefix *address, uint16_t port,
	uint16_t vlan, uint32_t tunnel, uint16_t mtu)
{
	struct fib_next_hop hop = {.port = port, .vlan = vlan, .tunnel = tunnel, .mtu = mtu};
	struct fib_source source = {
		.addr = address->addr, .port = port, .vlan = vlan, .tunnel = tunnel};
	struct address_routes a;
	int rc;

	address_routes(&a, address, &hop);
	rc = fib_route_remove(fib, &a.prefix[0], FIB_FROM_ADDRESS, &a.hop[0]);
	if (rc < 0)
		return rc;
	for (unsigned i = 1; i < a.n; i++)
		fib_route_remove(fib, &a.prefix[i], FIB_FROM_ADDRESS, &a.hop[i]);
	return sources_change(fib, &source, NULL);
}

void fib_sources_flush(struct fib *fib, uint16_t port, uint32_t tunnel)
{
	struct fib_sources *s = atomic_load_explicit(&fib->sources, memory_order_relaxed);

	for (uint32_t i = s ? s->n : 0; i-- > 0;) {
		struct fib_source source = s->list[i];

		if ((port != PORT_NONE && source.port == port) ||
			(tunnel != TUNNEL_NONE && source.tunnel == tunnel)) {
			if (sources_change(fib, &source, NULL) < 0)
				return;
			s = atomic_load_explicit(&fib->sources, memory_order_relaxed);
		}
	}
}
