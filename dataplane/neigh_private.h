/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Inside of neighbours: shared by neigh.c (states) and neigh_link.c (ARP and ND). Control loop. */
#include <rte_mbuf.h>

#include "dataplane.h"
#include "fib.h"
#include "neigh.h"
#include "neigh_packet.h"

#define HELD_PER_NEIGHBOUR 16

enum neigh_state { INCOMPLETE, REACHABLE, STALE, PROBE, FAILED };

enum neigh_drop {
	NEIGH_DROP_TOO_MANY,
	NEIGH_DROP_HELD_FULL,
	NEIGH_DROP_UNRESOLVED,
	NEIGH_DROP_MALFORMED,
	NEIGH_DROP_NO_BUFFER,
	NEIGH_DROPS
};

struct held {
	struct rte_mbuf *m;
	uint64_t since;
};

struct neigh {
	struct neigh_entry entry; /* what workers see; first */
	struct neigh *next, **at; /* in the list of all */
	uint8_t state;            /* enum neigh_state */
	uint8_t probes;
	bool kernel;     /* found by the kernel behind a mirror */
	uint64_t since;  /* ns: when it came into this state */
	uint64_t ask_at; /* ns: next question, when one is due */
	unsigned n_held;
	struct held held[HELD_PER_NEIGHBOUR];
};

struct neigh *neigh_get(const struct neigh_key *key);
/* NULL: too many. */
struct neigh *neigh_new(const struct neigh_key *key);
/* The MAC is known: workers use it, and what waited for it goes out. */
void neigh_learned(struct neigh *n, const uint8_t mac[static 6], enum neigh_state state);
void neigh_drop(struct rte_mbuf *m, unsigned reason);
unsigned neigh_worker(const struct neigh_key *key);

/* ---- neigh_link.c ------------------------------------------------------------------------------
 */
void neigh_frame_send(const struct neigh_key *key, const struct neigh_frame *f);
/* A frame with ARP or ND; owns it. */
void neigh_frame_take(const struct fib *fib, struct rte_mbuf *m);
