/* SPDX-License-Identifier: BSD-3-Clause */
/* The two ports (traffic.h) as the control thread has them: made, started, waited for. */
#include "traffic_private.h"

#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_mbuf_dyn.h>

#include "clock.h"

static struct port *port_make(const char *name, uint8_t number, struct port_private *private)
{
	struct port *port = aligned_alloc(
		RTE_CACHE_LINE_SIZE, RTE_ALIGN_CEIL(sizeof(*port), RTE_CACHE_LINE_SIZE));

	if (!port)
		return NULL;
	memset(port, 0, sizeof(*port));
	port->ops = &traffic_ops;
	port->type = PORT_ETHER;
	port->n_queues = (uint16_t)traffic.world->n_workers;
	port->numa = -1;
	port->mtu = 1500;
	memcpy(port->mac, (uint8_t[]){2, 0, 0, 0, 0, number}, 6);
	port->up = true;
	snprintf(port->name, sizeof(port->name), "%s", name);
	port->private = private;
	for (unsigned i = 0; i < port->n_queues; i++)
		port->queues[i] = (struct port_queue){.port = port, .fd = -1};
	return port;
}

static struct generator *generator_new(
	enum traffic_way way, unsigned worker, const struct port *const ports[2])
{
	struct generator *g =
		aligned_alloc(RTE_CACHE_LINE_SIZE, RTE_ALIGN_CEIL(sizeof(*g), RTE_CACHE_LINE_SIZE));

	if (!g)
		return NULL;
	memset(g, 0, sizeof(*g));
	g->prng.state = 1000 * way + worker;
	if (way == TRAFFIC_SEAL)
		traffic_template(&g->template, TRAFFIC_HOST, 0, ports[0]);
	else
		traffic_template(&g->template, 0, TRAFFIC_OUTSIDE, ports[1]);
	return g;
}

/* Buffers that wait in rings go with the pools of the workers that ended. */
static int generators_renew(const struct port *const ports[2])
{
	for (unsigned i = 0; i < traffic.world->n_workers; i++) {
		for (unsigned way = 0; way < TRAFFIC_WAYS; way++) {
			free(traffic.generators[way][i]);
			traffic.generators[way][i] = generator_new(way, i, ports);
			if (!traffic.generators[way][i])
				return -ENOMEM;
		}
		traffic.inside.source[i] = traffic.outside.sink[i] =
			traffic.generators[TRAFFIC_SEAL][i];
		traffic.outside.source[i] = traffic.inside.sink[i] =
			traffic.generators[TRAFFIC_OPEN][i];
	}
	return 0;
}

int traffic_open(const struct traffic_world *world, struct port *ports[2])
{
	struct frame plain;
	static const struct rte_mbuf_dynfield field = {.name = "traffic mark",
		.size = sizeof(struct mark),
		.align = __alignof__(struct mark)};

	if (!traffic.world)
		traffic.mark_offset = rte_mbuf_dynfield_register(&field);
	traffic.world = world;
	if (traffic.mark_offset < 0 || world->ring > RING_MAX)
		return -EINVAL;
	ports[0] = port_make("inside", 1, &traffic.inside);
	ports[1] = port_make("outside", 2, &traffic.outside);
	if (!ports[0] || !ports[1])
		return -ENOMEM;
	traffic_template(&plain, 0, 0, ports[0]);
	traffic.template_sum = rte_raw_cksum(&plain.ip, sizeof(plain.ip));
	return generators_renew((const struct port *const *)ports);
}

void traffic_start(const struct traffic_run *run, unsigned n)
{
	uint64_t wanted = atomic_load(&traffic.wanted) + 1;

	/* Buffers in the rings are for the way of the last run: no worker looks at them now. */
	for (unsigned i = 0; i < traffic.world->n_workers; i++)
		for (unsigned way = 0; way < TRAFFIC_WAYS; way++) {
			struct generator *g = traffic.generators[way][i];

			for (; g->count; g->count--, g->head = (g->head + 1) % traffic.world->ring)
				rte_pktmbuf_free(g->ring[g->head]);
			g->head = 0;
		}
	traffic.run = *run;
	traffic.n = n;
	traffic.arrived = 0;
	/* pairs with the acquire load in traffic_rx */
	atomic_store_explicit(&traffic.wanted, wanted, memory_order_release);
}

bool traffic_done(void)
{
	for (unsigned i = 0; i < traffic.world->n_workers; i++)
		/* pairs with the release store in traffic_rx */
		if (atomic_load_explicit(&traffic.finished[i], memory_order_acquire) !=
			atomic_load(&traffic.wanted))
			return false;
	return true;
}

void traffic_run_wait(const struct traffic_run *run, unsigned n)
{
	uint64_t deadline = clock_ns(CLOCK_MONOTONIC) + 20000000000u;

	traffic_start(run, n);
	while (!traffic_done()) {
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
		if (clock_ns(CLOCK_MONOTONIC) > deadline)
			errx(1, "a worker did not finish its run");
	}
}

const struct traffic_stats *traffic_stats(unsigned worker)
{
	return &traffic.generators[traffic.run.way][worker]->stats;
}
