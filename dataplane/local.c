/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `local` is this host for packets to addresses of ours that no tunnel listens for: the kernel
 * behind the mirror of the port that has the address, or, without one, just an answer to ping. Runs
 * on workers.
 *
 * A packet that came out of a tunnel has no Ethernet header; for the mirror it gets one, from the
 * MAC that stands for "routed by this gateway" (mirror.h).
 *
 * `local_udp` hands datagrams to the mirror of the port that they came in by. A graph node of a
 * plugin that answers some of them in the kernel's place stands before it (node.h).
 */
#include <string.h>

#include <rte_ether.h>

#include "fib.h"
#include "icmp.h"
#include "ip_parse.h"
#include "mirror.h"
#include "nodes.h"

enum { LOCAL_ROUTE };

enum { DROP_NO_SERVICE, DROP_NO_ROOM, DROP_MIRROR_FULL };

static const struct drop_reason local_drops[] = {
	{"local_no_service", "to an address of ours without a mirror: only ping is answered, and "
			     "only in one piece"},
	{"local_no_room", "no head room for an Ethernet header"},
	{"local_mirror_full", "packets for the kernel came faster than the mirror takes them"},
	{NULL, NULL},
};

/* The port with a mirror that has the packet's destination, or NULL. */
static const struct port *mirror_of(
	const struct worker *w, const uint8_t *ip, uint32_t len, struct packet *p)
{
	const struct fib *fib = w->table->fib;
	const struct fib_next_hop *hop;
	const struct port *port;
	struct ip_info info;

	if (!fib || ip_parse(ip, len, false, &info) != IP_SOUND)
		return NULL;
	hop = fib_next_hop(fib, info.family == AF_INET ? fib_lookup4(fib, info.destination)
						       : fib_lookup6(fib, info.destination));
	if (!hop || hop->type != FIB_LOCAL || hop->port >= PORT_MAX)
		return NULL;
	port = w->table->ports[hop->port];
	p->vlan = hop->vlan;
	return port && port->mirror ? port : NULL;
}

static uint16_t to_mirror(struct worker *w, struct rte_mbuf *m, const struct port *port)
{
	struct packet *p = packet_of(m);
	uint16_t type = *rte_pktmbuf_mtod(m, uint8_t *) >> 4 == 4 ? RTE_ETHER_TYPE_IPV4
								  : RTE_ETHER_TYPE_IPV6;
	uint8_t gateway[6];

	mirror_gateway_mac(port->mac, gateway);
	if (!ether_prepend(m, port->mac, gateway, p->vlan, type))
		return VERDICT_DROP(DROP_NO_ROOM);
	p->kind = PACKET_ETHER;
	p->in_port = port->index;
	return worker_punt(w, PUNT_MIRROR, m) ? VERDICT_TAKEN : VERDICT_DROP(DROP_MIRROR_FULL);
}

static uint16_t local_one(struct worker *w, struct rte_mbuf *m)
{
	struct packet *p = packet_of(m);
	const struct port *port =
		mirror_of(w, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, p);

	if (port)
		return to_mirror(w, m, port);
	if (!icmp_echo_answer(m))
		return VERDICT_DROP(DROP_NO_SERVICE);
	p->flags = PACKET_LOCAL | (p->flags & PACKET_FROM_TUNNEL);
	return LOCAL_ROUTE;
}

static void local_process(struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++)
		verdicts[i] = local_one(w, pkts[i]);
}

static void local_udp_process(
	struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++)
		verdicts[i] = worker_punt(w, PUNT_MIRROR, pkts[i]) ? VERDICT_TAKEN
								   : VERDICT_DROP(DROP_MIRROR_FULL);
}

const struct graph_node node_local = {
	.name = "local",
	.help = "takes packets to addresses of this gateway: to the kernel's mirror, or answers "
		"ping",
	.process = local_process,
	.next = (const char *const[]){"route", NULL},
	.drops = local_drops,
};

const struct graph_node node_local_udp = {
	.name = "local_udp",
	.help = "takes datagrams to addresses of this gateway to the kernel's mirror",
	.process = local_udp_process,
	.drops = local_drops,
};
