/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Receiving from the ring of an AF_PACKET socket and sending by another. Runs on workers; one
 * system call per burst to send, none to receive.
 *
 * A frame that a neighbour on a virtual link has left unfinished (its checksum is the business of a
 * network card that isn't there) is finished here.
 */
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <rte_mbuf.h>

#include "ip_parse.h"
#include "port_packet.h"
#include "worker.h"

unsigned packet_drop_numbers[PACKET_DROPS]; /* written before the first port is in the table */

const struct drop_reason packet_drops[] = {
	[PACKET_DROP_NO_BUFFER] = {"packet_rx_no_buffer",
		"no packet buffer was free for a frame (raise `memory`)"},
	[PACKET_DROP_TRUNCATED] = {"packet_rx_truncated", "a frame larger than the port's MTU"},
	[PACKET_DROP_SUPER] = {"packet_rx_super",
		"several segments in one frame: switch off segmentation offload on the far end of "
		"the "
		"virtual link (ethtool -K IFACE tso off gso off)"},
	[PACKET_DROP_REFUSED] = {"packet_tx_refused",
		"the kernel refused a frame: too large for the "
		"interface, or malformed"},
	[PACKET_DROPS] = {NULL, NULL},
};

/* ---- receive ------------------------------------------------------------------------------- */

static struct tpacket2_hdr *slot_at(const struct packet_queue *pq, uint32_t i)
{
	return (struct tpacket2_hdr *)(pq->ring +
				       (size_t)(i / pq->slots_per_block) * pq->block_size +
				       (size_t)(i % pq->slots_per_block) * pq->slot_size);
}

/* pairs with the kernel's store after it has filled the slot */
static bool slot_ready(const struct tpacket2_hdr *slot)
{
	return __atomic_load_n(&slot->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER;
}

static void slot_release(struct tpacket2_hdr *slot)
{
	__atomic_store_n(&slot->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
}

/* The sender left the sum of the pseudo header where the checksum belongs. */
static void checksum_finish(struct rte_mbuf *m, const struct virtio_net_hdr *vnet, uint32_t shift)
{
	uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *);
	uint32_t start = vnet->csum_start + shift, at = start + vnet->csum_offset;
	uint16_t sum;

	if (at + 2 > m->data_len)
		return;
	sum = ip_sum_fold(ip_sum(frame + start, m->data_len - start, 0));
	if (sum == 0)
		sum = 0xffff; /* zero would mean: none */
	frame[at] = (uint8_t)(sum >> 8);
	frame[at + 1] = (uint8_t)sum;
	m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
}

/* The kernel takes the VLAN tag out of the frame: back with it. */
static uint32_t tag_put(uint8_t *to, const struct tpacket2_hdr *slot)
{
	uint16_t type = slot->tp_status & TP_STATUS_VLAN_TPID_VALID ? slot->tp_vlan_tpid : 0x8100;

	if (!(slot->tp_status & TP_STATUS_VLAN_VALID))
		return 0;
	to[0] = (uint8_t)(type >> 8);
	to[1] = (uint8_t)type;
	to[2] = (uint8_t)(slot->tp_vlan_tci >> 8);
	to[3] = (uint8_t)slot->tp_vlan_tci;
	return 4;
}

static int slot_fault(const struct tpacket2_hdr *slot, const struct virtio_net_hdr *vnet)
{
	if (vnet->gso_type != VIRTIO_NET_HDR_GSO_NONE)
		return PACKET_DROP_SUPER;
	return slot->tp_snaplen < slot->tp_len ? PACKET_DROP_TRUNCATED : PACKET_DROPS;
}

static int slot_copy(struct worker *w, const struct tpacket2_hdr *slot, struct rte_mbuf **out)
{
	const uint8_t *frame = (const uint8_t *)slot + slot->tp_mac;
	const struct virtio_net_hdr *vnet = (const struct virtio_net_hdr *)frame - 1;
	uint32_t len = slot->tp_snaplen, tag;
	int fault = slot_fault(slot, vnet);
	struct rte_mbuf *m;
	uint8_t *to;

	if (fault != PACKET_DROPS)
		return fault;
	m = rte_pktmbuf_alloc(w->pool);
	if (!m)
		return PACKET_DROP_NO_BUFFER;
	to = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)(len + 4));
	if (!to || len < 14) {
		rte_pktmbuf_free(m);
		return PACKET_DROP_TRUNCATED;
	}
	memcpy(to, frame, 12);
	tag = tag_put(to + 12, slot);
	memcpy(to + 12 + tag, frame + 12, len - 12);
	rte_pktmbuf_trim(m, (uint16_t)(4 - tag));
	if (vnet->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		checksum_finish(m, vnet, tag);
	else if (vnet->flags & VIRTIO_NET_HDR_F_DATA_VALID)
		m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	*out = m;
	return PACKET_DROPS;
}

static void packet_enter(struct port_queue *q, struct rte_mbuf *m)
{
	struct packet *p = packet_of(m);

	p->kind = PACKET_ETHER;
	p->flags = 0;
	p->in_port = q->port->index;
	p->vlan = 0;
	p->tunnel = TUNNEL_NONE;
	p->peer = PEER_NONE;
	q->counters.rx_bytes += m->pkt_len;
}

uint16_t packet_rx(struct worker *w, struct port_queue *q, struct rte_mbuf **pkts, uint16_t max)
{
	struct packet_queue *pq = q->private;
	uint16_t n = 0;

	for (uint16_t taken = 0; taken < max; taken++) {
		struct tpacket2_hdr *slot = slot_at(pq, pq->next);
		int fault;

		if (!slot_ready(slot))
			break;
		fault = slot_copy(w, slot, &pkts[n]);
		slot_release(slot);
		pq->next = pq->next + 1 < pq->slots ? pq->next + 1 : 0;
		if (fault == PACKET_DROPS) {
			packet_enter(q, pkts[n++]);
		} else {
			w->counters.drops[packet_drop_numbers[fault]]++;
			q->counters.rx_dropped++;
		}
	}
	q->counters.rx_packets += n;
	q->counters.rx_calls += n > 0;
	return n;
}

bool packet_arm(struct port_queue *q)
{
	const struct packet_queue *pq = q->private;

	return !slot_ready(slot_at(pq, pq->next));
}

/* ---- send ---------------------------------------------------------------------------------- */

/* Whether the kernel will take the same frame a little later. */
static bool is_full(int error)
{
	return error == EAGAIN || error == ENOBUFS || error == ENOMEM || error == EINTR;
}

static void frame_refused(struct worker *w, struct port_queue *q, struct rte_mbuf *m)
{
	w->counters.drops[packet_drop_numbers[PACKET_DROP_REFUSED]]++;
	q->counters.tx_dropped++;
	rte_pktmbuf_free(m);
}

static void frames_sent(struct port_queue *q, struct rte_mbuf **pkts, uint16_t n)
{
	q->counters.tx_calls++;
	q->counters.tx_packets += n;
	for (uint16_t i = 0; i < n; i++)
		q->counters.tx_bytes += pkts[i]->pkt_len;
	rte_pktmbuf_free_bulk(pkts, n);
}

uint16_t packet_tx(struct worker *w, struct port_queue *q, struct rte_mbuf **pkts, uint16_t n)
{
	struct packet_queue *pq = q->private;
	struct mmsghdr msgs[NODE_BURST_MAX];
	struct iovec iov[NODE_BURST_MAX];
	uint16_t done = 0;

	n = (uint16_t)RTE_MIN(n, NODE_BURST_MAX);
	if (atomic_load_explicit(&q->port->gone, memory_order_relaxed))
		return 0;
	memset(msgs, 0, n * sizeof(msgs[0]));
	for (uint16_t i = 0; i < n; i++) {
		iov[i] = (struct iovec){.iov_base = rte_pktmbuf_mtod(pkts[i], void *),
			.iov_len = pkts[i]->data_len};
		msgs[i].msg_hdr.msg_iov = &iov[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
	}
	while (done < n) {
		int sent = sendmmsg(pq->tx, msgs + done, n - done, MSG_DONTWAIT);

		if (sent > 0) {
			frames_sent(q, pkts + done, (uint16_t)sent);
			done += (uint16_t)sent;
		} else if (is_full(errno)) {
			break;
		} else {
			frame_refused(w, q, pkts[done++]);
		}
	}
	return done;
}
