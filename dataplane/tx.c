/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `tx` is the end of the graph: packets whose out_port is known go to that port's queue of this
 * worker, runs of one port in one call. Runs on workers.
 */
#include "capture.h"
#include "nodes.h"

enum { TX_DROP_QUEUE_FULL, TX_DROP_NO_PORT };

static const struct drop_reason tx_drops[] = {
	{"tx_queue_full",
		"the port, or the kernel behind it, takes no more packets for the moment"},
	{"tx_no_port", "the port that the packet was to leave by is gone"},
	{NULL, NULL},
};

static void run_send(struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n)
{
	struct port_queue *q = worker_queue(w, packet_of(pkts[0])->out_port);
	uint16_t drop = VERDICT_DROP(q ? TX_DROP_QUEUE_FULL : TX_DROP_NO_PORT);
	uint16_t sent = 0, taken = q ? 1 : 0;

	capture_burst(w, CAPTURE_TX, pkts, n);
	/* a port may take a burst in parts */
	while (taken && sent < n) {
		taken = q->port->ops->tx(w, q, pkts + sent, n - sent);
		sent += taken;
	}
	if (q)
		q->counters.tx_dropped += n - sent;
	for (uint16_t i = 0; i < n; i++)
		verdicts[i] = i < sent ? VERDICT_TAKEN : drop;
}

static void tx_process(struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n)
{
	for (uint16_t i = 0, end; i < n; i = end) {
		uint16_t port = packet_of(pkts[i])->out_port;

		for (end = i + 1; end < n && packet_of(pkts[end])->out_port == port; end++)
			;
		run_send(w, pkts + i, verdicts + i, end - i);
	}
}

const struct graph_node node_tx = {
	.name = "tx",
	.help = "sends packets out of the ports",
	.process = tx_process,
	.burst_max = NODE_BURST_LARGE, /* the more there is, the longer the trains */
	.drops = tx_drops,
};
