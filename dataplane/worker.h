/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Workers: pinned threads of ours, registered with DPDK, that walk the graph over bursts. They read
 * one immutable `struct dp_table` per round; control publishes a new one with a release store and
 * frees the old after a grace period (rte_rcu).
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>
#include <rte_rcu_qsbr.h>
#include <rte_ring.h>

#include "port.h"
#include "tailplane/node.h"
#include "tailplane/snapshot.h"

#define WORKER_MAX PORT_QUEUES_MAX
#define TUNNELS_MAX 64

/* Punts: what a worker hands up, by class; each class has its own bounded ring and budget. */
enum punt_class {
	PUNT_HANDSHAKE, /* WireGuard messages 1..3; PACKET_DATAGRAM at the message, path filled in
			 */
	PUNT_STAGED, /* inner packets of a peer that has no key: held on control, then injected */
	PUNT_NEIGHBOUR, /* ARP/ND frames for us, and packets whose next hop's MAC is not known */
	PUNT_MIRROR,    /* frames for the kernel: written to the port's mirror interface */
	PUNT_CAPTURE,   /* copies for `tailplane capture` */
	PUNT_CLASSES,
};

/* Small facts that a worker tells control. */
enum worker_event_type {
	EVENT_ACTIVE,         /* peer has unanswered traffic: run its timers */
	EVENT_WANT_HANDSHAKE, /* no key, or rekey is due */
	EVENT_CONFIRMED, /* first authentic data under the responder's new key (value: index) */
	EVENT_ROAMED,    /* authentic data from a new path */
};

struct worker_event {
	uint32_t type;
	uint32_t peer;
	uint32_t value;
	uint32_t generation; /* of the peer slot */
	struct packet_path path;
} __attribute__((aligned(4)));

/* Where an injected packet enters (packet.reason is not used then). */
enum inject_entry {
	INJECT_WG_OUTPUT, /* PACKET_IP, peer set: seal and send (empty: a keep-alive) */
	INJECT_DATAGRAM,  /* a WireGuard message of control's for packet.path */
	INJECT_ETHER,     /* a whole frame for out_port: tx as it is */
	INJECT_ROUTE,     /* PACKET_IP made here or held before: route it */
	INJECT_NEIGHBOUR, /* PACKET_IP with out_port and next_hop: its MAC is known now */
	INJECT_ENTRIES,
};

struct fib; /* routes of the Ethernet side; fib.h */
struct neighbours;
struct dp_tunnel;
struct work;

/* Immutable. Written by: control loop. Read by: workers. Freed: after a grace period. */
struct dp_table {
	uint32_t n_ports, n_tunnels;
	struct port *ports[PORT_MAX];           /* by index, NULL: none */
	struct dp_tunnel *tunnels[TUNNELS_MAX]; /* by index, NULL: none */
	bool mss_clamp;
	struct fib *fib; /* NULL: no Ethernet ports, host port only */
	struct neighbours *neighbours;
};

#define DROPS_MAX 256

/* The graph's counters of one worker; written by it alone, read relaxed by control. */
struct worker_counters {
	uint64_t drops[DROPS_MAX]; /* by the number graph.c gave each reason */
	uint64_t rounds, busy_rounds, sleeps;
	uint64_t busy_cycles, total_cycles;
	uint64_t rx_packets, rx_bytes;
	uint64_t burst_histogram[8]; /* bursts of 1, 2, 3-4, 5-8, 9-16, 17-32, 33-64 packets */
	uint64_t punts[PUNT_CLASSES];
};

struct worker {
	unsigned id;                  /* these two are struct worker_facts */
	uint64_t now;                 /* ns, monotonic, at the start of the round */
	unsigned lcore;               /* DPDK's number for this thread */
	bool alone;                   /* there is no other worker */
	const struct dp_table *table; /* this round's */
	struct rte_mempool *pool;     /* NUMA-local, one segment holds a largest packet */
	struct rte_ring *punts[PUNT_CLASSES];
	struct rte_ring *events;  /* of struct worker_event */
	struct rte_ring *inject;  /* mbufs down; packet.reason holds the inject_entry */
	struct rte_ring *handoff; /* from other workers: packets whose key pair this one owns */
	bool punted;              /* something went up this round: wake control */
	uint16_t ip_id;           /* of outer IPv4 headers */
	uint32_t rx_cursor;       /* port polled last */
	uint32_t rx_full;         /* rounds in a row that left something in the ports */
	struct work *opening, *sealing; /* bursts that others may help with; work.h */
	uint64_t rx_packets_before;     /* counters.rx_packets when the round began */
	uint64_t helped;                /* packets opened or sealed for other workers */
	uint64_t no_help_until;         /* on the TSC: another thread wanted this core in an item */
	bool idle;                      /* one of work_helpers */
	void *private;                  /* worker.c */
	struct worker_counters counters;
} __rte_cache_aligned;

static_assert(offsetof(struct worker, id) == offsetof(struct worker_facts, id) &&
		      offsetof(struct worker, now) == offsetof(struct worker_facts, now),
	"what graph nodes of plugins read");

/* Hands `m` up; on a full ring the caller gets false, and drops it under its own name. */
bool worker_punt(struct worker *w, enum punt_class class, struct rte_mbuf *m);
bool worker_event(struct worker *w, const struct worker_event *event);
/* This worker's queue of a port, or NULL when the table has none of that index. */
static inline struct port_queue *worker_queue(const struct worker *w, uint16_t port)
{
	struct port *p = port < PORT_MAX ? w->table->ports[port] : NULL;

	return p && w->id < p->n_queues ? &p->queues[w->id] : NULL;
}
