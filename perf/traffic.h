/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Two ports in memory with traffic in them: `inside` brings plain packets for the peers and takes
 * what came out of the tunnel, `outside` brings sealed packets of the peers and takes what goes to
 * them. Each worker has its own queue, generator and sink on both.
 *
 * Control thread: traffic_open, traffic_start, traffic_done. The rest runs on workers, inside of
 * the ports' rx and tx.
 *
 * What a generator does per packet is what a NIC would: take a buffer of a ring of `ring` buffers,
 * let the headers appear in it. Sealed packets are made in advance, `ring` at a time, with keys and
 * counters of the generator's own, so that every one is authentic and new and the data plane's own
 * keys and replay windows are touched by the data plane alone. The time that this takes is kept
 * apart (`prepare`), and no packet is under way meanwhile.
 *
 * A run of an ideal worker is the measure of the machine: there are no packets, the worker looks at
 * the clock and at nothing else, and works out when packets would have left. What they are late is
 * what interrupts, the kernel and the host of a virtual machine took from the core, and the time
 * that it then takes to catch up.
 */
#include <stdbool.h>
#include <stdint.h>

#include "messages.h"
#include "port.h"
#include "secret.h"

enum traffic_way { TRAFFIC_SEAL, TRAFFIC_OPEN, TRAFFIC_WAYS };

/* Latencies in TSC ticks, 32 steps for each power of two. */
#define TRAFFIC_STEPS 32
#define TRAFFIC_BUCKETS (40 * TRAFFIC_STEPS)

/* What the generators know of a peer's far end. */
struct traffic_peer {
	struct symmetric_key key; /* what the peer seals with */
	uint64_t counter;
	uint32_t receiver_index;
};

struct traffic_world {
	uint32_t n_peers;           /* peer i has the address TRAFFIC_PEER_NET + i */
	struct traffic_peer *peers; /* by number; each is used by one worker alone */
	unsigned n_workers;
	unsigned ring;
};

/* Handshake messages that come in at the outside port among the traffic, at a pace of their own,
 * the peers in turn as senders; on worker 0. */
#define TRAFFIC_ARRIVALS_MAX 1024
struct traffic_arrivals {
	const struct message_initiation *messages;
	unsigned n, n_peers;
	uint64_t gap_ticks;
};

/* A run: every generator asked for offers packets for `ticks` of the TSC. */
struct traffic_run {
	enum traffic_way way;
	uint32_t n_peers; /* of the world's, addressed at random */
	unsigned size;    /* of the inner IP packet; 0: 64, 576, 1420 as 7 : 4 : 1 */
	double rate;      /* packets per tick and generator; 0: always one more */
	uint64_t ticks;   /* without `prepare` */
	bool latencies;   /* fill the histogram */
	double ideal; /* ticks a packet; not 0: no packets, but an ideal worker as fast as that */
	const struct traffic_arrivals *arrivals; /* NULL: none; lasts until the run is done */
};

struct traffic_stats {
	uint64_t offered, sunk, sunk_bytes; /* bytes: of the inner packets' text */
	uint64_t missed;                    /* due, but the ring was full */
	uint64_t reordered;                 /* left after one that was offered later */
	uint64_t dropped;                   /* by the graph, of all reasons */
	uint64_t ticks;              /* from the first offer to the last sink, less prepare */
	uint64_t rx_ticks, tx_ticks; /* of those, inside of the two ports */
	uint64_t prepare;            /* beside those */
	uint64_t cpu_ns, wall_ns;    /* of the worker's thread */
	uint64_t switches;           /* times that another thread took its core */
	uint64_t latencies[TRAFFIC_BUCKETS];
};

#define TRAFFIC_PEER_NET 0x0a000000u     /* 10.0.0.0/8: inner addresses of the peers */
#define TRAFFIC_HOST 0xac100002u         /* 172.16.0.2: behind the inside port */
#define TRAFFIC_INSIDE 0xac100001u       /* 172.16.0.1/16: ours */
#define TRAFFIC_OUTSIDE 0xc0000201u      /* 192.0.2.1/24: ours */
#define TRAFFIC_GATEWAY 0xc00002feu      /* 192.0.2.254: the way to the peers */
#define TRAFFIC_ENDPOINT_NET 0xc6120000u /* 198.18.0.0/15: outer addresses of the peers */
#define TRAFFIC_LISTEN_PORT 51820

/* Both ports, not yet in the table; `world` stays the caller's. */
int traffic_open(const struct traffic_world *world, struct port *ports[2]);
/* The next run on generators 0 to n - 1. */
void traffic_start(const struct traffic_run *run, unsigned n);
/* Whether all have finished. */
bool traffic_done(void);
/* Both; ends the program when a worker does not finish. */
void traffic_run_wait(const struct traffic_run *run, unsigned n);
const struct traffic_stats *traffic_stats(unsigned worker);
/* The latency in ticks that a part `p` (0 to 1) of the packets did not exceed. */
double traffic_percentile(const uint64_t latencies[static TRAFFIC_BUCKETS], double p);

/* Inner bytes per packet of a size, 0 being the mix. */
double traffic_mean_size(unsigned size);
