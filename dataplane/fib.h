/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Where an IP packet goes on the Ethernet side: our own addresses, connected networks, static
 * routes, the kernel's routes of mirror interfaces, and the networks behind tunnels.
 *
 * Written by: control loop, route by route; each change is one release store in the trie. Read by:
 * workers, without locks. Freed: what a change takes out, and next hops that nobody uses any more,
 * after a grace period; the FIB itself when it has left the table of the data plane.
 *
 * One prefix may have routes from several sources; the first of enum fib_origin wins, among equals
 * the one added last. The others wait until it goes.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "allowedips.h"
#include "tailplane/err.h"
#include "tailplane/net.h"
#include "tailplane/node.h"

#define FIB_NONE UINT32_MAX
#define FIB_NEXT_HOPS_MAX 8192
#define FIB_PEERS FIB_NEXT_HOPS_MAX /* answers from here on: see struct fib */

enum fib_type {
	FIB_LOCAL,       /* an address of ours: of a port (and VLAN), or of a tunnel */
	FIB_PORT,        /* out of a port: to `via`, or to the destination itself */
	FIB_TUNNEL,      /* to the tunnel's allowed IPs */
	FIB_BLACKHOLE,   /* drop in silence: also directed broadcasts */
	FIB_UNREACHABLE, /* drop and say so */
};

enum fib_origin {
	FIB_FROM_ADDRESS, /* local addresses, their broadcasts, connected networks */
	FIB_FROM_STATIC,
	FIB_FROM_TUNNEL,
	FIB_FROM_KERNEL,
	FIB_ORIGINS,
};

/* Constant from the moment that a route leads to it until a grace period after none does. */
struct fib_next_hop {
	uint8_t type;    /* enum fib_type */
	uint8_t family;  /* of via; 0: the destination is on the link */
	uint16_t port;   /* PORT_NONE: not of a port */
	uint16_t vlan;   /* 0: untagged */
	uint16_t mtu;    /* of the link or tunnel; 0: not known */
	uint32_t tunnel; /* TUNNEL_NONE: not of a tunnel */
	uint8_t via[16]; /* may be of another family than the route (RFC 5549) */
};

struct fib_sources;

/*
 * An answer is the number of a next hop; or FIB_PEERS and the index of a peer, where an allowed IP
 * of a tunnel matches best: then no longer one of that tunnel matches, so that its table would say
 * the same peer and need not be asked.
 */
struct fib {
	struct allowedips routes;       /* value: an answer */
	struct fib_next_hop *next_hops; /* FIB_NEXT_HOPS_MAX, never moves */
	/* by peer: the next hop that is its tunnel; grows before an answer names the peer */
	_Atomic(_Atomic uint16_t *) peer_hops;
	/* counts changes: stored (release) after each, so that who has read it before a look-up
	 * knows how long the answer holds */
	_Atomic uint32_t generation;
	_Atomic(struct fib_sources *) sources;
	struct fib_control *control; /* the control loop's side */
};

/* ---- workers --------------------------------------------------------------------------------- */

/* Addresses in network order; an answer, FIB_NONE: no route. */
static inline uint32_t fib_lookup4(const struct fib *fib, const uint8_t addr[static 4])
{
	uint32_t be;

	memcpy(&be, addr, 4);
	return allowedips_lookup4(&fib->routes, be);
}

static inline uint32_t fib_lookup6(const struct fib *fib, const uint8_t addr[static 16])
{
	return allowedips_lookup6(&fib->routes, addr);
}

/* To be read before a look-up; 0: there is no FIB. */
static inline uint32_t fib_generation(const struct fib *fib)
{
	/* pairs with the release store in fib.c */
	return fib ? atomic_load_explicit(&fib->generation, memory_order_acquire) : 0;
}

/* For bursts (lookup.h); NULL: there is no FIB. */
static inline const struct allowedips *fib_routes_of(const struct fib *fib)
{
	return fib ? &fib->routes : NULL;
}

/* PEER_NONE: the answer names none. */
static inline uint32_t fib_peer(uint32_t answer)
{
	return answer >= FIB_PEERS && answer != FIB_NONE ? answer - FIB_PEERS : PEER_NONE;
}

/* The number of the answer's next hop; FIB_NONE stays what it is. */
static inline uint32_t fib_hop(const struct fib *fib, uint32_t answer)
{
	if (fib_peer(answer) == PEER_NONE)
		return answer;
	/* pairs with the release store in peer_hop_set */
	return atomic_load_explicit(
		&atomic_load_explicit(&fib->peer_hops, memory_order_acquire)[fib_peer(answer)],
		memory_order_relaxed);
}

static inline const struct fib_next_hop *fib_next_hop(const struct fib *fib, uint32_t answer)
{
	if (answer < FIB_NEXT_HOPS_MAX)
		return &fib->next_hops[answer];
	return answer == FIB_NONE ? NULL : &fib->next_hops[fib_hop(fib, answer)];
}

/* Our address on a port and VLAN, or inside a tunnel (port PORT_NONE), to speak from. For IPv6 a
 * global one before a link-local one. False: none of that family. */
bool fib_source(const struct fib *fib, uint16_t port, uint16_t vlan, uint32_t tunnel, int family,
	uint8_t out[static 16]);
/* Our address on the side that an answer leads to. */
bool fib_source_for(const struct fib *fib, uint32_t answer, int family, uint8_t out[static 16]);

/* ---- control loop ---------------------------------------------------------------------------- */

/* `retire` as in allowedips.h. */
struct fib *fib_new(void (*retire)(void *object, void (*free_fn)(void *)), struct err *err);
void fib_free(void *fib);

/* 0; -EEXIST when this origin has the route already; -ENOSPC with too many next hops. */
int fib_route_add(struct fib *fib, const struct net_prefix *prefix, enum fib_origin origin,
	const struct fib_next_hop *hop, struct err *err);
/* -ENOENT when it is not there. */
int fib_route_remove(struct fib *fib, const struct net_prefix *prefix, enum fib_origin origin,
	const struct fib_next_hop *hop);

bool fib_route_has(struct fib *fib, const struct net_prefix *prefix, enum fib_origin origin,
	const struct fib_next_hop *hop);

/* An address of ours with its prefix: the local address, its connected network and (IPv4) the
 * network's broadcasts. For a port: tunnel TUNNEL_NONE; for a tunnel: port PORT_NONE, and the
 * address alone. */
int fib_address_add(struct fib *fib, const struct net_prefix *address, uint16_t port, uint16_t vlan,
	uint32_t tunnel, uint16_t mtu, struct err *err);
int fib_address_remove(struct fib *fib, const struct net_prefix *address, uint16_t port,
	uint16_t vlan, uint32_t tunnel, uint16_t mtu);

/* Allowed IPs of a tunnel whose outer packets leave by Ethernet ports, and whose they are. One that
 * is there moves to this peer. A peer has one tunnel, and its index is less than 1 << 20. */
int fib_tunnel_route_add(struct fib *fib, const struct net_prefix *prefix, uint32_t tunnel,
	uint32_t peer, uint16_t mtu, struct err *err);
int fib_tunnel_route_remove(
	struct fib *fib, const struct net_prefix *prefix, uint32_t tunnel, uint16_t mtu);
/* Takes out all that leads to a port (tunnel TUNNEL_NONE) or tunnel (port PORT_NONE). */
void fib_flush(struct fib *fib, uint16_t port, uint32_t tunnel);
uint32_t fib_routes(const struct fib *fib); /* how many prefixes */
