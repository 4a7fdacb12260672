/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `outer` puts UDP and IP headers before WireGuard messages that leave by Ethernet ports; messages
 * for the host port's sockets pass. Runs on workers.
 *
 * IPv4: no UDP checksum (the AEAD protects more than it could) and no DF, as WireGuard in the
 * kernel does; IPv6 demands one.
 *
 * `wg_output` knows the way to the endpoint; for messages of control's it is looked up here. What
 * simply leaves by a port goes straight to `neighbour`; `route` decides about the rest.
 */
#include <netinet/in.h>
#include <string.h>

#include <rte_ip.h>
#include <rte_udp.h>

#include "bytes.h"
#include "fib.h"
#include "lookup.h"
#include "nodes.h"
#include "tunnel.h"

enum { OUTER_TX, OUTER_ROUTE, OUTER_NEIGHBOUR };

enum { DROP_NO_ROOM, DROP_NO_SOURCE };

static const struct drop_reason outer_drops[] = {
	{"outer_no_room", "no head room for the outer headers"},
	{"outer_no_source", "no address of ours on the port that leads to the endpoint"},
	{NULL, NULL},
};

#define TTL 64
#define VERDICT_OUTER 0x7fff /* no verdict yet: headers are to be written */

struct headers4 {
	struct rte_ipv4_hdr ip;
	struct rte_udp_hdr udp;
} __attribute__((packed, aligned(2)));

struct headers6 {
	struct rte_ipv6_hdr ip;
	struct rte_udp_hdr udp;
} __attribute__((packed, aligned(2)));

/* The address the peer knows us by, else that of the port which the route takes. */
static bool source_choose(const struct worker *w, struct packet_path *path, uint32_t hop)
{
	uint64_t local[2];

	memcpy(local, path->local, sizeof(local));
	return (local[0] | local[1]) != 0 ||
	       fib_source_for(w->table->fib, hop, path->family, path->local);
}

static void udp_fill(struct rte_udp_hdr *udp, const struct packet_path *path, uint16_t len)
{
	udp->src_port = path->local_port;
	udp->dst_port = path->remote_port;
	udp->dgram_len = rte_cpu_to_be_16(len);
	udp->dgram_cksum = 0;
}

/* RFC 1071, over the words as they lie in memory. What was just written to the packet is not read
 * again: a load that needs several stores waits for all of them. */
static uint16_t checksum4(uint8_t tos, rte_be16_t len, rte_be16_t id, uint32_t from, uint32_t to)
{
	uint32_t sum = rte_cpu_to_be_16((uint16_t)(0x4500 | tos)) +
		       rte_cpu_to_be_16(TTL << 8 | IPPROTO_UDP) + len + id + (from & 0xffff) +
		       (from >> 16) + (to & 0xffff) + (to >> 16);

	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t) ~(sum + (sum >> 16));
}

static bool headers4_write(struct worker *w, struct rte_mbuf *m, const struct packet_path *path)
{
	uint16_t len = (uint16_t)(m->data_len + sizeof(struct headers4));
	struct headers4 *h = (void *)rte_pktmbuf_prepend(m, sizeof(*h));
	rte_be16_t len_be = rte_cpu_to_be_16(len), id = rte_cpu_to_be_16(w->ip_id++);
	uint32_t from = be32_at(path->local), to = be32_at(path->remote);

	if (!h)
		return false;
	h->ip.version_ihl = 0x45;
	h->ip.type_of_service = path->tos;
	h->ip.total_length = len_be;
	h->ip.packet_id = id;
	h->ip.fragment_offset = 0;
	h->ip.time_to_live = TTL;
	h->ip.next_proto_id = IPPROTO_UDP;
	h->ip.hdr_checksum = checksum4(path->tos, len_be, id, from, to);
	h->ip.src_addr = from;
	h->ip.dst_addr = to;
	udp_fill(&h->udp, path, (uint16_t)(len - sizeof(h->ip)));
	return true;
}

static bool headers6_write(struct rte_mbuf *m, const struct packet_path *path)
{
	uint16_t len = (uint16_t)(m->data_len + sizeof(struct rte_udp_hdr));
	struct headers6 *h = (void *)rte_pktmbuf_prepend(m, sizeof(*h));

	if (!h)
		return false;
	h->ip.vtc_flow = rte_cpu_to_be_32(6u << 28 | (uint32_t)path->tos << 20);
	h->ip.payload_len = rte_cpu_to_be_16(len);
	h->ip.proto = IPPROTO_UDP;
	h->ip.hop_limits = TTL;
	memcpy(h->ip.src_addr, path->local, 16);
	memcpy(h->ip.dst_addr, path->remote, 16);
	udp_fill(&h->udp, path, len);
	h->udp.dgram_cksum = rte_ipv6_udptcp_cksum(&h->ip, &h->udp);
	return true;
}

static uint16_t encapsulate(struct worker *w, struct rte_mbuf *m, uint32_t index)
{
	struct packet *p = packet_of(m);
	const struct fib_next_hop *hop;

	if (!w->table->fib || !source_choose(w, &p->path, index))
		return VERDICT_DROP(DROP_NO_SOURCE);
	if (!(p->path.family == AF_INET ? headers4_write(w, m, &p->path)
					: headers6_write(m, &p->path)))
		return VERDICT_DROP(DROP_NO_ROOM);
	p->kind = PACKET_IP;
	p->flags = PACKET_LOCAL | PACKET_OUTER | PACKET_ROUTED;
	p->tunnel = TUNNEL_NONE;
	p->peer = PEER_NONE;
	p->next_hop = index;
	hop = fib_next_hop(w->table->fib, index);
	if (!hop || hop->type != FIB_PORT || (hop->mtu && m->pkt_len > hop->mtu))
		return OUTER_ROUTE;
	p->out_port = hop->port;
	p->vlan = hop->vlan;
	return OUTER_NEIGHBOUR;
}

static void outer_process(struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n)
{
	uint32_t hops[NODE_BURST_MAX];
	struct lookups lookups;
	bool asked = false;

	lookups_init(&lookups, fib_routes_of(w->table->fib));
	for (uint16_t i = 0; i < n; i++) {
		struct packet *p = packet_of(pkts[i]);
		const struct port *port =
			p->path.port < PORT_MAX ? w->table->ports[p->path.port] : NULL;

		p->out_port = p->path.port;
		if (port && port->type == PORT_UDP) {
			verdicts[i] = OUTER_TX;
		} else if (p->flags & PACKET_ROUTED) {
			verdicts[i] = encapsulate(w, pkts[i], p->next_hop);
		} else {
			verdicts[i] = VERDICT_OUTER;
			hops[i] = p->next_hop;
			asked = true;
			lookup_add(&lookups, i, p->path.remote, p->path.family == AF_INET);
		}
	}
	if (!asked)
		return;
	lookup_run(&lookups, hops);
	for (uint16_t i = 0; i < n; i++)
		if (verdicts[i] == VERDICT_OUTER)
			verdicts[i] = encapsulate(w, pkts[i], hops[i]);
}

const struct graph_node node_outer = {
	.name = "outer",
	.help = "writes the outer UDP and IP headers for Ethernet ports",
	.process = outer_process,
	.next = (const char *const[]){"tx", "route", "neighbour", NULL},
	.drops = outer_drops,
};
