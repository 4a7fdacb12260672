/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Inside of traffic: what control (traffic_control.c) and workers (traffic.c) share. */
#include <stdatomic.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_udp.h>

#include "prng.h"
#include "traffic.h"

#define RING_MAX 8192

/* Rides with a packet through the graph, in the mbuf. */
struct mark {
	uint64_t due, number;
};

struct frame {
	struct rte_ether_hdr ether;
	struct rte_ipv4_hdr ip;
	struct rte_udp_hdr udp;
} __attribute__((packed, aligned(2)));

/* One way of one worker. Its worker alone touches it while it runs. */
struct generator {
	struct traffic_stats stats;
	struct prng prng;
	uint64_t started, last_sunk, highest;
	uint64_t cpu_before, wall_before, switches_before, drops_before;
	bool offering; /* all workers have their cores */
	double due_exact;
	struct rte_mbuf
		*ring[RING_MAX]; /* buffers that wait: empty for sealing, full for opening */
	unsigned head, count;
	struct frame template;
} __rte_cache_aligned;

struct port_private {
	struct generator *source[PORT_QUEUES_MAX], *sink[PORT_QUEUES_MAX];
};

struct traffic {
	const struct traffic_world *world;
	struct traffic_run run;
	unsigned n;       /* generators of this run */
	unsigned arrived; /* of the run's arrivals; worker 0 writes */
	int mark_offset;
	uint32_t template_sum; /* of the IP header of a template without addresses */
	struct port_private inside, outside;
	struct generator *generators[TRAFFIC_WAYS][PORT_QUEUES_MAX];
	/* Raised by the control thread (release), read by workers (acquire); a worker answers with
	 * the number of the run that it has begun and of that it has finished. */
	_Atomic uint64_t wanted, begun[PORT_QUEUES_MAX], finished[PORT_QUEUES_MAX];
};
extern struct traffic traffic;

extern const struct port_ops traffic_ops;

/* A frame for `port` without its lengths and the sum over them. */
void traffic_template(struct frame *f, uint32_t from, uint32_t to, const struct port *port);
