/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* A small DPDK, one worker, and a network namespace of one's own, for tests of the host port. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <rte_mbuf.h>

#include "eal_begin.h"
#include "dataplane.h"
#include "graph.h"
#include "worker.h"

#define ROOM 2048

static struct worker worker;

static inline struct rte_mempool *pool_make(const char *name, unsigned n)
{
	struct rte_mempool *pool = rte_pktmbuf_pool_create(name, n, n > 2048 ? 512 : 0,
		RTE_ALIGN_CEIL(sizeof(struct packet), RTE_MBUF_PRIV_ALIGN),
		RTE_PKTMBUF_HEADROOM + ROOM, SOCKET_ID_ANY);

	if (!pool)
		errx(1, "no pool");
	return pool;
}

static inline void hostport_start(void)
{
	eal_begin("64");
	worker.pool = pool_make("test", 4095);
	worker.now = 1;
	graph_register_drops(udp_drops);
	graph_register_drops(tun_drops);
}

/* True if the process is in a namespace of its own now, with `lo` up. */
static inline bool namespace_enter(void)
{
	struct err err = {0};

	return unshare(CLONE_NEWNET) == 0 && netlink_link_up("lo", 65536, &err) == 0;
}

static inline uint64_t drops_of(const char *name)
{
	return worker.counters.drops[graph_drop_number(name)];
}

/* Nothing of the pool may be left behind. */
static inline unsigned mbufs_in_use(void)
{
	return rte_mempool_in_use_count(worker.pool);
}

static inline double seconds_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

#define DEADLINE 20.0 /* seconds; no test comes near it unless it hangs */

/* Sleeps as a worker does, until the queue has something. */
static inline void queue_wait(struct port_queue *q)
{
	struct pollfd p = {.fd = q->fd, .events = POLLIN};

	if (poll(&p, 1, (int)(DEADLINE * 1000)) != 1)
		errx(1, "nothing came");
}

/* Receives until `want` packets are there. */
static inline unsigned queue_receive(struct port_queue *q, struct rte_mbuf **pkts, unsigned want)
{
	double end = seconds_now() + DEADLINE;
	unsigned n = 0;

	while (n < want && seconds_now() < end) {
		unsigned max = want - n < NODE_BURST_MAX ? want - n : NODE_BURST_MAX;
		unsigned got = q->port->ops->rx(&worker, q, pkts + n, (uint16_t)max);

		if (!got)
			queue_wait(q);
		n += got;
	}
	return n;
}
