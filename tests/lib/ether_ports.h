/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Ethernet ports over real drivers of DPDK, in a process that is no daemon. */
#include <err.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_loop.h"
#include "eal.h"
#include "ether.h"
#include "graph.h"
#include "port_ether.h"

static struct worker workers[3];
static struct rte_mempool *pools[3];

void ether_link(struct port *port, bool up)
{
	port->up = up;
}

void ether_return(struct port *port)
{
	port->back.wanted = true;
}

static inline struct port_conf conf_of(const char *device)
{
	return (struct port_conf){.name = (char *)(uintptr_t) "lan",
		.device = (char *)(uintptr_t)device,
		.mtu = 1500,
		.descriptors = 256};
}

static inline struct port *open_port(const char *device, uint16_t n_queues)
{
	struct port_conf conf = conf_of(device);
	struct err err = {0};
	struct port *port = port_ether_open(&conf, n_queues, pools, &err);

	if (!port)
		fail_msg("%s: %s", device, err.msg);
	table.ports[0] = port;
	return port;
}

static inline void expect_refused(struct port_conf conf, const char *words)
{
	struct err err = {0};

	assert_null(port_ether_open(&conf, 1, pools, &err));
	if (!strstr(err.msg, words))
		fail_msg("\"%s\" lacks \"%s\"", err.msg, words);
}

static inline struct rte_mbuf *frame_new(uint8_t mark)
{
	uint8_t bytes[64];

	put_ether(bytes, plain_mac, their_mac, 0, 0x1234);
	memset(bytes + 14, mark, 50);
	return packet_new(bytes, sizeof(bytes));
}

static inline uint16_t receive(struct port *port, unsigned queue, struct rte_mbuf **pkts)
{
	return port->ops->rx(&workers[queue], &port->queues[queue], pkts, 32);
}

/* Waits up to two seconds for a frame that bears the mark. */
static inline struct rte_mbuf *receive_marked(struct port *port, unsigned queue, uint8_t mark)
{
	struct rte_mbuf *pkts[32];

	for (unsigned i = 0; i < 2000; i++) {
		uint16_t n = receive(port, queue, pkts);
		struct rte_mbuf *found = NULL;

		for (uint16_t k = 0; k < n; k++)
			if (!found && pkts[k]->data_len >= 64 &&
				rte_pktmbuf_mtod(pkts[k], uint8_t *)[14] == mark)
				found = pkts[k];
			else
				rte_pktmbuf_free(pkts[k]);
		if (found)
			return found;
		poll(NULL, 0, 1);
	}
	return NULL;
}

static inline void send_one(struct port *port, unsigned queue, struct rte_mbuf *m)
{
	assert_int_equal(port->ops->tx(&workers[queue], &port->queues[queue], &m, 1), 1);
}

static inline uint64_t dropped(unsigned id, const char *name)
{
	return workers[id].counters.drops[graph_drop_number(name)];
}

static inline void ether_ports_start(void)
{
	struct dataplane_conf conf = {.memory = 192 << 20};
	struct err err = {0};

	if (eal_start(&conf, &err) < 0)
		errx(1, "%s", err.msg);
	for (unsigned i = 0; i < 3; i++) {
		char name[16];

		snprintf(name, sizeof(name), "pool-%u", i);
		pools[i] = eal_pool(name, 4095, 1600, -1, &err);
		if (!pools[i])
			errx(1, "%s", err.msg);
		workers[i] = (struct worker){.id = i, .pool = pools[i], .table = &table};
	}
	pool = pools[0];
	graph_register_drops(ether_drops);
	graph_register_drops(packet_drops);
	port_ether_numbers();
}
