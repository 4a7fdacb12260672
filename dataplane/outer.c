/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `outer` puts UDP and IP headers before WireGuard messages that leave by Ethernet ports; messages
 * for the host port's sockets pass. Runs on workers.
 *
 * IPv4: no UDP checksum (the AEAD protects more than it could) and no DF, as WireGuard in the
 * kernel does; IPv6 demands one.
 */
#include <netinet/in.h>
#include <string.h>

#include <rte_ip.h>
#include <rte_udp.h>

#include "fib.h"
#include "nodes.h"
#include "tunnel.h"

enum { OUTER_TX, OUTER_ROUTE };

enum { DROP_NO_ROOM, DROP_NO_SOURCE };

static const struct drop_reason outer_drops[] = {
	{"outer_no_room", "no head room for the outer headers"},
	{"outer_no_source", "no address of ours on the port that leads to the endpoint"},
	{NULL, NULL},
};

static const uint8_t unset[16];

/* The address the peer knows us by, else that of the port which the route takes. */
static bool source_choose(const struct worker *w, struct packet_path *path)
{
	int family = path->family;
	uint32_t hop;

	if (memcmp(path->local, unset, 16))
		return true;
	hop = family == AF_INET ? fib_lookup4(w->table->fib, path->remote)
				: fib_lookup6(w->table->fib, path->remote);
	return fib_source_for(w->table->fib, hop, family, path->local);
}

static void udp_fill(struct rte_udp_hdr *udp, const struct packet_path *path, uint16_t len)
{
	udp->src_port = path->local_port;
	udp->dst_port = path->remote_port;
	udp->dgram_len = rte_cpu_to_be_16(len);
	udp->dgram_cksum = 0;
}

static void ip4_fill(
	struct worker *w, struct rte_ipv4_hdr *ip, const struct packet_path *path, uint16_t len)
{
	memset(ip, 0, sizeof(*ip));
	ip->version_ihl = 0x45;
	ip->type_of_service = path->tos;
	ip->total_length = rte_cpu_to_be_16(len);
	ip->packet_id = rte_cpu_to_be_16(w->ip_id++);
	ip->time_to_live = 64;
	ip->next_proto_id = IPPROTO_UDP;
	memcpy(&ip->src_addr, path->local, 4);
	memcpy(&ip->dst_addr, path->remote, 4);
	ip->hdr_checksum = rte_ipv4_cksum(ip);
}

static void ip6_fill(struct rte_ipv6_hdr *ip, const struct packet_path *path, uint16_t len)
{
	ip->vtc_flow = rte_cpu_to_be_32(6u << 28 | (uint32_t)path->tos << 20);
	ip->payload_len = rte_cpu_to_be_16(len);
	ip->proto = IPPROTO_UDP;
	ip->hop_limits = 64;
	memcpy(ip->src_addr, path->local, 16);
	memcpy(ip->dst_addr, path->remote, 16);
}

static uint16_t encapsulate(struct worker *w, struct rte_mbuf *m)
{
	struct packet *p = packet_of(m);
	struct packet_path *path = &p->path;
	uint16_t udp_len = (uint16_t)(m->data_len + sizeof(struct rte_udp_hdr));
	struct rte_udp_hdr *udp;

	if (!w->table->fib || !source_choose(w, path))
		return VERDICT_DROP(DROP_NO_SOURCE);
	udp = (struct rte_udp_hdr *)rte_pktmbuf_prepend(m, sizeof(*udp));
	if (!udp)
		return VERDICT_DROP(DROP_NO_ROOM);
	udp_fill(udp, path, udp_len);
	if (path->family == AF_INET) {
		struct rte_ipv4_hdr *ip = (void *)rte_pktmbuf_prepend(m, sizeof(*ip));

		if (!ip)
			return VERDICT_DROP(DROP_NO_ROOM);
		ip4_fill(w, ip, path, (uint16_t)(udp_len + sizeof(*ip)));
	} else {
		struct rte_ipv6_hdr *ip = (void *)rte_pktmbuf_prepend(m, sizeof(*ip));

		if (!ip)
			return VERDICT_DROP(DROP_NO_ROOM);
		ip6_fill(ip, path, udp_len);
		udp->dgram_cksum = rte_ipv6_udptcp_cksum(ip, udp);
	}
	p->kind = PACKET_IP;
	p->flags = PACKET_LOCAL | PACKET_OUTER;
	p->tunnel = TUNNEL_NONE;
	p->peer = PEER_NONE;
	return OUTER_ROUTE;
}

static void outer_process(struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		struct packet *p = packet_of(pkts[i]);
		const struct port *port =
			p->path.port < PORT_MAX ? w->table->ports[p->path.port] : NULL;

		p->out_port = p->path.port;
		verdicts[i] = port && port->type == PORT_UDP ? OUTER_TX : encapsulate(w, pkts[i]);
	}
}

const struct graph_node node_outer = {
	.name = "outer",
	.help = "writes the outer UDP and IP headers for Ethernet ports",
	.process = outer_process,
	.next = (const char *const[]){"tx", "route", NULL},
	.drops = outer_drops,
};
