/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets to the kernel: what can be joined of a burst leaves in one writev, no copy of ours, and
 * the kernel's stack handles one packet instead of 40. Runs on workers.
 *
 * The kernel gives a flow's packets to the queue that the flow was last written to. One outer flow
 * brings all of a peer's packets to one worker; were they written to its own queue, that worker
 * would get all that the peer is sent, too. So the flow's hash picks the queue: flows spread over
 * the workers, and each stays where it is. Any thread may write to any queue.
 */
#include "port_tun.h"

#include <errno.h>

struct tun_burst {
	struct rte_mbuf *mbufs[JOIN_BURST_MAX];
	uint8_t *packets[JOIN_BURST_MAX];
	uint16_t lens[JOIN_BURST_MAX];
	unsigned n;
};

static struct port_queue *queue_of_flow(struct port_queue *own, uint32_t hash)
{
	struct port *p = own->port;

	return hash ? &p->queues[hash % p->n_queues] : own;
}

static void write_failed(
	struct worker *w, struct port_queue *q, struct port_queue *to, int error, unsigned n)
{
	const struct tun_queue *t = to->private;

	if (error == EBADFD)
		tun_queue_die(to);
	if (error == EAGAIN || error == ENOBUFS || error == ENOMEM)
		tun_drop(w, q, TUN_DROP_QUEUE_FULL, n);
	else if (error == EIO || atomic_load_explicit(&t->dead, memory_order_relaxed)) /* our own */
		tun_drop(w, q, TUN_DROP_TX_DOWN, n);
	else
		tun_drop(w, q, TUN_DROP_TX_REFUSED, n);
}

static void group_write(struct worker *w, struct port_queue *q, struct tun_queue *t,
	struct tun_burst *b, unsigned number)
{
	const struct join_group *g = &t->join.groups[number];
	const struct segment *s = &t->join.segments[g->first];
	struct port_queue *to = queue_of_flow(q, s->hash);
	struct virtio_net_hdr_v1 vh;
	struct iovec iov[1 + JOIN_BURST_MAX] = {{.iov_base = &vh, .iov_len = sizeof(vh)}};
	unsigned n = 1;

	join_finish(&t->join, g, b->packets, &vh);
	for (unsigned i = g->first, k = 0; k < g->count; i = t->join.next[i], k++) {
		uint16_t skip = k ? s->header_len : 0;

		iov[n++] = (struct iovec){
			.iov_base = b->packets[i] + skip, .iov_len = b->lens[i] - skip};
	}
	if (writev(to->fd, iov, n) < 0) {
		write_failed(w, q, to, errno, g->count);
		return;
	}
	q->counters.tx_calls++;
	q->counters.tx_packets += g->count;
	q->counters.tx_bytes += g->total + (uint64_t)(g->count - 1) * s->header_len;
	if (g->count > 1) {
		t->tx_supers++;
		t->tx_joined += g->count;
	}
}

static void burst_send(struct worker *w, struct port_queue *q, struct tun_burst *b)
{
	struct tun_queue *t = q->private;

	join_burst(&t->join, b->packets, b->lens, b->n, tun_of(q)->uso);
	for (unsigned i = 0; i < t->join.n_groups; i++)
		group_write(w, q, t, b, i);
	rte_pktmbuf_free_bulk(b->mbufs, b->n);
	b->n = 0;
}

/* Takes all: what the kernel refuses is counted here, since a group is no prefix of the burst. */
uint16_t tun_tx(struct worker *w, struct port_queue *q, struct rte_mbuf **pkts, uint16_t n)
{
	struct tun_burst b;

	b.n = 0;
	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];

		if (unlikely(m->nb_segs > 1 && rte_pktmbuf_linearize(m) < 0)) {
			tun_drop(w, q, TUN_DROP_TX_CHAINED, 1);
			rte_pktmbuf_free(m);
			continue;
		}
		b.mbufs[b.n] = m;
		b.packets[b.n] = rte_pktmbuf_mtod(m, uint8_t *);
		b.lens[b.n++] = m->data_len;
		if (b.n == JOIN_BURST_MAX)
			burst_send(w, q, &b);
	}
	if (b.n)
		burst_send(w, q, &b);
	return n;
}
