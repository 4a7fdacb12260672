/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Receiving and sending on Ethernet ports. Runs on workers. Whatever a driver hands up, a packet
 * enters the graph as one segment with our private area (struct packet) behind its header.
 */
#include <string.h>
#include <unistd.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "port_ether.h"
#include "worker.h"

unsigned ether_drop_numbers[ETHER_DROPS]; /* written before the first port is in the table */

const struct drop_reason ether_drops[] = {
	[ETHER_DROP_NO_BUFFER] = {"ether_rx_no_buffer",
		"a frame had to be copied and no packet buffer was free (raise `memory`)"},
	[ETHER_DROP_TOO_BIG] = {"ether_rx_too_big", "a frame larger than a packet buffer"},
	[ETHER_DROP_SHARED_FULL] = {"ether_tx_shared_full",
		"the worker that sends for others on a port with few queues did not keep up"},
	[ETHER_DROP_SENT_LATE] = {"ether_tx_shared_queue_full",
		"a port with few queues took no more packets that were handed over to it"},
	[ETHER_DROPS] = {NULL, NULL},
};

static void count_drop(struct worker *w, struct port_queue *q, enum ether_drop reason, unsigned n)
{
	w->counters.drops[ether_drop_numbers[reason]] += n;
	q->counters.rx_dropped += n;
}

/* ---- receive ------------------------------------------------------------------------------- */

/* A copy in a buffer of ours: the frame lies in several, or in one without our private area. */
static struct rte_mbuf *frame_copy(struct worker *w, struct port_queue *q, struct rte_mbuf *m)
{
	struct rte_mbuf *copy = rte_pktmbuf_alloc(w->pool);
	const void *bytes;
	char *to;

	if (!copy) {
		count_drop(w, q, ETHER_DROP_NO_BUFFER, 1);
		rte_pktmbuf_free(m);
		return NULL;
	}
	to = m->pkt_len <= UINT16_MAX ? rte_pktmbuf_append(copy, (uint16_t)m->pkt_len) : NULL;
	if (!to) {
		count_drop(w, q, ETHER_DROP_TOO_BIG, 1);
		rte_pktmbuf_free(copy);
		rte_pktmbuf_free(m);
		return NULL;
	}
	bytes = rte_pktmbuf_read(m, 0, m->pkt_len, to);
	if (bytes != to)
		memcpy(to, bytes, m->pkt_len);
	copy->ol_flags = m->ol_flags & (RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_L4_CKSUM_MASK |
					       RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED);
	copy->vlan_tci = m->vlan_tci;
	rte_pktmbuf_free(m);
	return copy;
}

static bool is_whole(const struct ether_queue *eq, const struct rte_mbuf *m)
{
	return m->nb_segs == 1 && RTE_MBUF_DIRECT(m) && rte_mbuf_refcnt_read(m) == 1 &&
	       (m->pool == eq->pool || rte_pktmbuf_priv_size(m->pool) >= sizeof(struct packet));
}

static struct rte_mbuf *frame_take(struct worker *w, struct port_queue *q, struct rte_mbuf *m)
{
	struct packet *p;

	if (unlikely(!is_whole(q->private, m)))
		m = frame_copy(w, q, m);
	if (unlikely(!m))
		return NULL;
	if (unlikely(m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) && rte_vlan_insert(&m) < 0) {
		count_drop(w, q, ETHER_DROP_TOO_BIG, 1);
		rte_pktmbuf_free(m);
		return NULL;
	}
	p = packet_of(m);
	p->kind = PACKET_ETHER;
	p->flags = 0;
	p->in_port = q->port->index;
	p->vlan = 0;
	p->tunnel = TUNNEL_NONE;
	p->peer = PEER_NONE;
	return m;
}

/* What other workers want sent by this one's transmit queue. */
static void shared_send(struct worker *w, struct port_queue *q, struct ether_queue *eq)
{
	struct rte_mbuf *pkts[NODE_BURST_MAX];
	unsigned n = rte_ring_sc_dequeue_burst(eq->shared, (void **)pkts, RTE_DIM(pkts), NULL);
	uint16_t sent = n ? rte_eth_tx_burst(eq->ether->dev, eq->tx, pkts, (uint16_t)n) : 0;

	if (sent == n)
		return;
	w->counters.drops[ether_drop_numbers[ETHER_DROP_SENT_LATE]] += n - sent;
	q->counters.tx_dropped += n - sent;
	rte_pktmbuf_free_bulk(pkts + sent, n - sent);
}

uint16_t ether_rx(struct worker *w, struct port_queue *q, struct rte_mbuf **pkts, uint16_t max)
{
	struct ether_queue *eq = q->private;
	uint16_t got, n = 0;

	/* pairs with the release store in port_ether_gone */
	if (atomic_load_explicit(&q->port->gone, memory_order_acquire))
		return 0;
	if (eq->armed) {
		rte_eth_dev_rx_intr_disable(eq->ether->dev, eq->rx);
		eq->armed = false;
	}
	if (eq->shared)
		shared_send(w, q, eq);
	if (eq->rx == QUEUE_NONE)
		return 0;
	got = rte_eth_rx_burst(eq->ether->dev, eq->rx, pkts, max);
	if (!got)
		return 0;
	q->counters.rx_calls++;
	for (uint16_t i = 0; i < got; i++) {
		struct rte_mbuf *m = frame_take(w, q, pkts[i]);

		if (!m)
			continue;
		q->counters.rx_bytes += m->pkt_len;
		pkts[n++] = m;
	}
	q->counters.rx_packets += n;
	return n;
}

/* ---- send ---------------------------------------------------------------------------------- */

/* Takes all: what the ring has no room for is dropped under a name of its own. */
static uint16_t shared_put(struct worker *w, struct port_queue *q, const struct ether_queue *eq,
	struct rte_mbuf **pkts, uint16_t n)
{
	struct rte_ring *ring = eq->ether->queues[eq->sender].shared;
	unsigned put = rte_ring_mp_enqueue_burst(ring, (void **)pkts, n, NULL);

	if (put < n) {
		w->counters.drops[ether_drop_numbers[ETHER_DROP_SHARED_FULL]] += n - put;
		q->counters.tx_dropped += n - put;
		rte_pktmbuf_free_bulk(pkts + put, n - put);
	}
	return (uint16_t)put;
}

uint16_t ether_tx(struct worker *w, struct port_queue *q, struct rte_mbuf **pkts, uint16_t n)
{
	struct ether_queue *eq = q->private;
	uint32_t len[NODE_BURST_MAX];
	uint16_t sent, taken = n;

	/* pairs with the release store in port_ether_gone */
	if (atomic_load_explicit(&q->port->gone, memory_order_acquire))
		return 0;
	n = RTE_MIN(n, NODE_BURST_MAX);
	for (uint16_t i = 0; i < n; i++)
		len[i] = pkts[i]->pkt_len;
	if (eq->tx == QUEUE_NONE) {
		sent = shared_put(w, q, eq, pkts, n);
		taken = n;
	} else {
		sent = taken = rte_eth_tx_burst(eq->ether->dev, eq->tx, pkts, n);
	}
	q->counters.tx_calls++;
	q->counters.tx_packets += sent;
	for (uint16_t i = 0; i < sent; i++)
		q->counters.tx_bytes += len[i];
	return taken;
}

/* ---- sleep --------------------------------------------------------------------------------- */

/* Only queues with a descriptor get here with fd >= 0; the others make the worker nap. */
bool ether_arm(struct port_queue *q)
{
	struct ether_queue *eq = q->private;
	uint64_t count;

	if (atomic_load_explicit(&q->port->gone, memory_order_acquire))
		return true;
	if (eq->shared && !rte_ring_empty(eq->shared))
		return false;
	if (!eq->interrupt)
		return true; /* a descriptor without one is readable while something waits */
	if (eq->eventfd && read(q->fd, &count, sizeof(count)) < 0)
		count = 0; /* nothing had been counted */
	rte_eth_dev_rx_intr_enable(eq->ether->dev, eq->rx);
	eq->armed = true;
	return rte_eth_rx_queue_count(eq->ether->dev, eq->rx) <= 0;
}
