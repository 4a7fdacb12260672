/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sources of the graph: `rx` takes what the ports and other workers have for this one, `inject`
 * what control sends down. Runs on workers; the ports' system calls are inside their rx functions.
 */
#include <rte_ring.h>

#include "capture.h"
#include "messages.h"
#include "nodes.h"
#include "peer.h"
#include "work.h"

enum { RX_CLASSIFY, RX_WG_INPUT, RX_ROUTE };

enum { RX_DROP_NOT_WIREGUARD, RX_DROP_HANDSHAKE_FULL };

static const struct drop_reason rx_drops[] = {
	{"rx_not_wireguard", "a datagram to a tunnel's port that is no WireGuard message"},
	{"rx_handshake_full",
		"handshake messages came faster than they could be handed to control"},
	{NULL, NULL},
};

/* A datagram of the host port: transport data goes on, handshake messages go up. */
static uint16_t datagram_verdict(struct worker *w, struct rte_mbuf *m)
{
	switch (wg_message_type(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len)) {
	case MESSAGE_DATA:
		return RX_WG_INPUT;
	case MESSAGE_INVALID:
		return VERDICT_DROP(RX_DROP_NOT_WIREGUARD);
	default:
		return worker_punt(w, PUNT_HANDSHAKE, m) ? VERDICT_TAKEN
							 : VERDICT_DROP(RX_DROP_HANDSHAKE_FULL);
	}
}

static void burst_count(struct worker *w, uint16_t n)
{
	w->counters.burst_histogram[n == 1 ? 0 : 32 - __builtin_clz((uint32_t)(n - 1))]++;
}

/* Where a frame mostly begins in buffers of ours: to be asked for without reading the mbuf. */
#define FRAME_AT                                                                                \
	(sizeof(struct rte_mbuf) + RTE_ALIGN_CEIL(sizeof(struct packet), RTE_MBUF_PRIV_ALIGN) + \
		RTE_PKTMBUF_HEADROOM)

/* What every graph node is going to read: asked for at once, since a NIC has just written it to
 * memory. */
static void burst_prefetch(struct rte_mbuf *const *pkts, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		rte_prefetch0(pkts[i]);
		rte_prefetch0(packet_of(pkts[i]));
		rte_prefetch0((char *)pkts[i] + FRAME_AT);
		rte_prefetch0((char *)pkts[i] + FRAME_AT + RTE_CACHE_LINE_SIZE);
	}
}

static uint16_t queue_poll(struct worker *w, struct port_queue *q, struct rte_mbuf **pkts,
	uint16_t *verdicts, uint16_t max)
{
	uint16_t n = q->port->ops->rx(w, q, pkts, max);
	uint64_t bytes = 0;

	if (!n)
		return 0;
	capture_burst(w, CAPTURE_RX, pkts, n);
	burst_count(w, n);
	w->counters.rx_packets += n;
	burst_prefetch(pkts, n);
	for (uint16_t i = 0; i < n; i++) {
		bytes += pkts[i]->pkt_len;
		switch (packet_of(pkts[i])->kind) {
		case PACKET_DATAGRAM:
			verdicts[i] = datagram_verdict(w, pkts[i]);
			break;
		case PACKET_IP:
			verdicts[i] = RX_ROUTE;
			break;
		default:
			verdicts[i] = RX_CLASSIFY;
		}
	}
	w->counters.rx_bytes += bytes;
	return n;
}

static uint16_t handoff_poll(
	struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t max)
{
	uint16_t n = rte_ring_sc_dequeue_burst(w->handoff, (void **)pkts, max, NULL);

	w->counters.rx_packets += n; /* work for the round: no sleep while it comes */
	for (uint16_t i = 0; i < n; i++)
		verdicts[i] = RX_WG_INPUT;
	return n;
}

/*
 * Nothing of a round leaves before all of it is done: 17 µs for 64 packets of 1420 bytes. So what
 * came while the core was away for a moment is served in smaller rounds, which most of a vector's
 * lanes still fill, and its first packets leave earlier. Rounds that stay full are no moment: four
 * of them are what half of a core's rate brings in 70 µs. From then on throughput counts, which is
 * up to 5 % better in large rounds.
 */
#define ROUND_SMALL 32
#define FULL_BEFORE_LARGE 4u

static uint16_t round_most(const struct worker *w, uint16_t max)
{
	return w->rx_full < FULL_BEFORE_LARGE ? RTE_MIN(max, ROUND_SMALL) : max;
}

/* From where it stopped last time, so that a busy port does not starve the others. What the host
 * port brings with one system call stays together: as a train it leaves with one, too. */
static uint16_t ports_poll(
	struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t most, uint16_t max)
{
	uint32_t n_ports = w->table ? w->table->n_ports : 0;
	uint16_t n = 0;

	for (uint32_t i = 0; i < n_ports && n < most; i++) {
		uint32_t index = w->rx_cursor + 1 < n_ports ? w->rx_cursor + 1 : 0;
		struct port_queue *q = worker_queue(w, (uint16_t)index);

		w->rx_cursor = index;
		if (q)
			n += queue_poll(w, q, pkts + n, verdicts + n,
				(q->port->type == PORT_ETHER ? most : max) - n);
	}
	return n;
}

static uint16_t rx_poll(struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t max)
{
	uint16_t most = round_most(w, max), n;

	/* what is under way comes first: packets wait in the ports' queues, or are lost there */
	if (work_pauses(w))
		return 0;
	n = handoff_poll(w, pkts, verdicts, most);
	n += ports_poll(w, pkts + n, verdicts + n, most - n, max - n);
	w->rx_full = n < most ? 0 : RTE_MIN(w->rx_full + 1, FULL_BEFORE_LARGE);
	return n;
}

const struct graph_node node_rx = {
	.name = "rx",
	.help = "takes packets from the ports",
	.poll = rx_poll,
	.next = (const char *const[]){"classify", "wg_input", "route", NULL},
	.drops = rx_drops,
};

static uint16_t inject_poll(
	struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t max)
{
	uint16_t n;

	if (work_pauses(w))
		return 0;
	n = rte_ring_sc_dequeue_burst(w->inject, (void **)pkts, max, NULL);
	w->counters.rx_packets += n;
	for (uint16_t i = 0; i < n; i++)
		verdicts[i] = packet_of(pkts[i])->reason;
	return n;
}

const struct graph_node node_inject = {
	.name = "inject",
	.help = "takes what control sends down: handshake messages, keep-alives, mirror traffic",
	.poll = inject_poll,
	/* in the order of enum inject_entry */
	.next = (const char *const[]){"wg_output", "outer", "tx", "route", "neighbour", NULL},
};
