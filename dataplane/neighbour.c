/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `neighbour` puts the Ethernet header before a packet that leaves by an Ethernet port. Runs on
 * workers. A next hop whose MAC is not known (yet) goes up to control, which asks for it and sends
 * the packet itself when the answer comes.
 */
#include <string.h>
#include <sys/socket.h>

#include "fib.h"
#include "mirror.h"
#include "neigh.h"
#include "nodes.h"

enum { NEIGHBOUR_TX };

#define VERDICT_KNOWN 0x7fff /* no verdict yet: the MAC is there */

enum { DROP_NO_PORT, DROP_NO_ROOM, DROP_ASK_FULL, DROP_UNREACHABLE };

static const struct drop_reason neighbour_drops[] = {
	{"neighbour_no_port", "the port or next hop that the packet was to leave by is gone"},
	{"neighbour_no_room", "no head room for the Ethernet header"},
	{"neighbour_ask_full",
		"packets to unknown neighbours came faster than control can ask for them"},
	{"neighbour_unreachable",
		"a packet that had waited for its neighbour before: it is gone again"},
	{NULL, NULL},
};

/* Whose MAC: the next hop's, or on the link that of the destination itself. */
static void key_fill(struct neigh_key *key, const struct fib_next_hop *hop, const struct packet *p,
	const uint8_t *ip)
{
	bool v4 = ip[0] >> 4 == 4;
	const uint8_t *addr = hop->family ? hop->via : ip + (v4 ? 16 : 24);

	memset(key, 0, sizeof(*key));
	key->port = p->out_port;
	key->vlan = p->vlan;
	key->family = hop->family ? hop->family : (v4 ? AF_INET : AF_INET6);
	memcpy(key->addr, addr, key->family == AF_INET ? 4 : 16);
}

static uint16_t unknown(struct worker *w, struct rte_mbuf *m, const struct neigh_key *key)
{
	struct packet *p = packet_of(m);

	if (p->flags & PACKET_HELD)
		return VERDICT_DROP(DROP_UNREACHABLE);
	/* The next hop's number may mean another one by the time that control looks. */
	p->path.family = (uint8_t)key->family;
	memcpy(p->path.remote, key->addr, 16);
	return worker_punt(w, PUNT_NEIGHBOUR, m) ? VERDICT_TAKEN : VERDICT_DROP(DROP_ASK_FULL);
}

/* Whom the last packet of the burst went to: mostly the next one goes there as well. */
struct last {
	bool known;
	bool on_link; /* the destination itself is the neighbour */
	uint32_t next_hop;
	const struct port *port;
	struct neigh_key key;
	uint8_t mac[6];
};

/* A next hop stands for one port, VLAN and neighbour, but for one whose destinations are on the
 * link: then the destination has to be the same. */
static bool same_neighbour(const struct last *last, const struct packet *p, const uint8_t *ip)
{
	if (!last->known || p->next_hop != last->next_hop || p->out_port != last->key.port ||
		p->vlan != last->key.vlan)
		return false;
	if (!last->on_link)
		return true;
	if (ip[0] >> 4 == 4)
		return last->key.family == AF_INET && memcmp(last->key.addr, ip + 16, 4) == 0;
	return last->key.family == AF_INET6 && memcmp(last->key.addr, ip + 24, 16) == 0;
}

/* VERDICT_KNOWN, or where a packet goes whose neighbour is not. */
static uint16_t neighbour_find(
	struct worker *w, struct rte_mbuf *m, const uint8_t *ip, struct last *last)
{
	const struct packet *p = packet_of(m);
	const struct port *port = p->out_port < PORT_MAX ? w->table->ports[p->out_port] : NULL;
	const struct fib_next_hop *hop =
		w->table->fib ? fib_next_hop(w->table->fib, p->next_hop) : NULL;

	last->known = false;
	if (!port || !hop)
		return VERDICT_DROP(DROP_NO_PORT);
	key_fill(&last->key, hop, p, ip);
	if (!neigh_lookup(w->table->neighbours, &last->key, w->now, last->mac))
		return unknown(w, m, &last->key);
	last->known = true;
	last->on_link = !hop->family;
	last->next_hop = p->next_hop;
	last->port = port;
	return VERDICT_KNOWN;
}

static uint16_t neighbour_one(struct worker *w, struct rte_mbuf *m, struct last *last)
{
	struct packet *p = packet_of(m);
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	uint16_t type = ip[0] >> 4 == 4 ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6;

	if (!same_neighbour(last, p, ip)) {
		uint16_t verdict = neighbour_find(w, m, ip, last);

		if (verdict != VERDICT_KNOWN)
			return verdict;
	}
	if (!ether_prepend(m, last->mac, last->port->mac, p->vlan, type))
		return VERDICT_DROP(DROP_NO_ROOM);
	p->kind = PACKET_ETHER;
	return NEIGHBOUR_TX;
}

static void neighbour_process(
	struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n)
{
	struct last last;

	last.known = false;
	for (uint16_t i = 0; i < n; i++)
		verdicts[i] = neighbour_one(w, pkts[i], &last);
}

const struct graph_node node_neighbour = {
	.name = "neighbour",
	.help = "writes the Ethernet header for the next hop",
	.process = neighbour_process,
	.next = (const char *const[]){"tx", NULL},
	.drops = neighbour_drops,
};
