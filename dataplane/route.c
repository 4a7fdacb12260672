/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `route` picks the next hop of an IP packet. What comes from a TUN goes to the peer whose allowed
 * IPs match. What comes out of a tunnel goes to another of its peers (where relaying is on), to the
 * Ethernet side by the FIB, or to the tunnel's TUN. What comes from an Ethernet port follows the
 * FIB. Sealed packets follow the FIB too, but never into a tunnel. Runs on workers.
 *
 * The kernel has taken its part of the TTL of what it forwards; this node takes one only where it
 * forwards itself.
 *
 * A burst asks its tables together, so that it waits for memory once and not once a packet: first
 * the FIB, then the allowed IPs of the tunnel that most of it goes into, where the FIB's answer was
 * not the peer itself.
 */
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/icmp6.h>

#include "bytes.h"
#include "fib.h"
#include "lookup.h"
#include "mss.h"
#include "nodes.h"
#include "peer.h"
#include "tunnel.h"

enum { ROUTE_WG_OUTPUT, ROUTE_TX, ROUTE_NEIGHBOUR, ROUTE_ICMP_ERROR, ROUTE_FRAGMENT, ROUTE_LOCAL };

enum {
	DROP_NOT_IP,
	DROP_NO_PEER,
	DROP_NO_ROUTE,
	DROP_BLACKHOLE,
	DROP_OUTER_LOOP,
	DROP_LOCAL,
	DROP_HAIRPIN,
};

static const struct drop_reason route_drops[] = {
	{"route_not_ip", "neither IPv4 nor IPv6"},
	{"route_no_peer", "no peer's allowed IPs match the destination"},
	{"route_no_route", "no route to the destination"},
	{"route_blackhole", "the route to the destination says to drop"},
	{"route_outer_loop", "a sealed packet's route leads into a tunnel or to this machine"},
	{"route_local",
		"for this machine itself, and the tunnel has no interface: set `interface`"},
	{"route_hairpin", "the destination is the peer that the packet came from"},
	{NULL, NULL},
};

/* What the tables say, by place in the burst. */
struct answers {
	uint32_t hop[NODE_BURST_MAX];  /* of the FIB, where it was asked */
	uint32_t peer[NODE_BURST_MAX]; /* of the allowed IPs, likewise, or of the FIB */
};

static bool is_v4(const uint8_t *ip)
{
	return ip[0] >> 4 == 4;
}

/* An ICMP error instead, where one may be sent; else a drop under the name. */
static uint16_t refuse(struct packet *p, uint16_t drop, uint8_t type, uint8_t code)
{
	if (p->flags & PACKET_LOCAL)
		return drop;
	p->reason = type;
	p->code = code;
	return ROUTE_ICMP_ERROR;
}

static uint16_t unreachable(struct packet *p, const uint8_t *ip, uint16_t drop)
{
	return is_v4(ip) ? refuse(p, drop, ICMP_UNREACH, ICMP_UNREACH_HOST)
			 : refuse(p, drop, ICMP6_DST_UNREACH, ICMP6_DST_UNREACH_NOROUTE);
}

/* One hop: false when the packet has none left. */
static bool ttl_take(struct packet *p, uint8_t *ip)
{
	uint32_t sum;

	if (p->flags & (PACKET_LOCAL | PACKET_FORWARDED))
		return true;
	if (ip[is_v4(ip) ? 8 : 7] <= 1)
		return false;
	p->flags |= PACKET_FORWARDED;
	if (!is_v4(ip)) {
		ip[7]--;
		return true;
	}
	ip[8]--;
	sum = ((uint32_t)ip[10] << 8 | ip[11]) + 0x100; /* RFC 1141 */
	sum += sum >> 16;
	ip[10] = (uint8_t)(sum >> 8);
	ip[11] = (uint8_t)sum;
	return true;
}

static uint16_t ttl_exceeded(struct packet *p, const uint8_t *ip)
{
	p->reason = is_v4(ip) ? ICMP_TIMXCEED : ICMP6_TIME_EXCEEDED;
	p->code = 0;
	return ROUTE_ICMP_ERROR;
}

/* Fits, or is to be fragmented, or the sender has to hear of it. */
static uint16_t sized(struct rte_mbuf *m, uint16_t mtu, uint16_t verdict)
{
	struct packet *p = packet_of(m);
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);

	if (!mtu || m->pkt_len <= mtu)
		return verdict;
	p->mtu = mtu;
	if (is_v4(ip) && !(ip[6] & 0x40))
		return ROUTE_FRAGMENT;
	return is_v4(ip)
		       ? refuse(p, VERDICT_DROP(DROP_NO_ROUTE), ICMP_UNREACH, ICMP_UNREACH_NEEDFRAG)
		       : refuse(p, VERDICT_DROP(DROP_NO_ROUTE), ICMP6_PACKET_TOO_BIG, 0);
}

/* Into tunnel `t`; `forward` when this gateway is a hop on the way. */
static uint16_t to_tunnel(struct worker *w, struct rte_mbuf *m, const struct dp_tunnel *t,
	uint32_t peer, bool forward)
{
	struct packet *p = packet_of(m);
	uint8_t *ip = rte_pktmbuf_mtod(m, uint8_t *);

	if (peer == PEER_NONE)
		return unreachable(p, ip, VERDICT_DROP(DROP_NO_PEER));
	if (p->flags & PACKET_FROM_TUNNEL && p->peer == peer && !(p->flags & PACKET_LOCAL))
		return VERDICT_DROP(DROP_HAIRPIN);
	if (forward && !ttl_take(p, ip))
		return ttl_exceeded(p, ip);
	p->tunnel = t->index;
	p->peer = peer;
	if (!forward)
		return ROUTE_WG_OUTPUT;
	if (w->table->mss_clamp)
		mss_clamp(m, t->mtu);
	return sized(m, t->mtu, ROUTE_WG_OUTPUT);
}

static uint16_t to_tun(struct packet *p, const struct dp_tunnel *t)
{
	if (t->tun_port == PORT_NONE)
		return VERDICT_DROP(DROP_LOCAL);
	p->out_port = t->tun_port;
	return ROUTE_TX;
}

static uint16_t to_port(
	struct worker *w, struct rte_mbuf *m, uint32_t index, const struct fib_next_hop *hop)
{
	struct packet *p = packet_of(m);
	uint8_t *ip = rte_pktmbuf_mtod(m, uint8_t *);
	const struct dp_tunnel *from =
		p->flags & PACKET_FROM_TUNNEL ? tunnel_get(w->table, p->tunnel) : NULL;

	if (!ttl_take(p, ip))
		return ttl_exceeded(p, ip);
	if (from && w->table->mss_clamp)
		mss_clamp(m, from->mtu);
	p->out_port = hop->port;
	p->vlan = hop->vlan;
	p->next_hop = index;
	p->peer = PEER_NONE;
	return sized(m, hop->mtu, ROUTE_NEIGHBOUR);
}

static uint16_t by_fib(
	struct worker *w, struct rte_mbuf *m, const struct answers *answers, uint16_t i)
{
	struct packet *p = packet_of(m);
	uint8_t *ip = rte_pktmbuf_mtod(m, uint8_t *);
	const struct fib_next_hop *hop = fib_next_hop(w->table->fib, answers->hop[i]);
	const struct dp_tunnel *t;

	if (!hop)
		return unreachable(p, ip, VERDICT_DROP(DROP_NO_ROUTE));
	if (hop->type == FIB_PORT)
		return to_port(w, m, answers->hop[i], hop);
	if (hop->type == FIB_BLACKHOLE)
		return VERDICT_DROP(DROP_BLACKHOLE);
	if (hop->type == FIB_UNREACHABLE)
		return unreachable(p, ip, VERDICT_DROP(DROP_NO_ROUTE));
	if (p->flags & PACKET_OUTER)
		return VERDICT_DROP(DROP_OUTER_LOOP);
	t = tunnel_get(w->table, hop->tunnel != TUNNEL_NONE ? hop->tunnel : p->tunnel);
	if (hop->type == FIB_LOCAL && (!t || t->tun_port == PORT_NONE))
		return ROUTE_LOCAL;
	if (!t)
		return VERDICT_DROP(DROP_NO_ROUTE);
	return hop->type == FIB_TUNNEL ? to_tunnel(w, m, t, answers->peer[i], true) : to_tun(p, t);
}

/* Whether what came out of tunnel `t` may go to another of its peers without the FIB. */
static bool relays(const struct packet *p, const struct dp_tunnel *t)
{
	return t->relay_peers || p->flags & PACKET_LOCAL;
}

static uint16_t from_tunnel(struct worker *w, struct rte_mbuf *m, const struct dp_tunnel *t,
	const struct answers *answers, uint16_t i)
{
	struct packet *p = packet_of(m);
	uint32_t peer = answers->peer[i];

	if (t->ports_underlay)
		return by_fib(w, m, answers, i);
	if (relays(p, t) && peer != PEER_NONE && (peer != p->peer || p->flags & PACKET_LOCAL))
		return to_tunnel(w, m, t, peer, true);
	return to_tun(p, t);
}

/* An ICMP error about a packet that the kernel gave us goes back to the kernel. */
static uint16_t from_tun(
	struct worker *w, struct rte_mbuf *m, const struct dp_tunnel *t, uint32_t peer)
{
	struct packet *p = packet_of(m);

	p->tunnel = t->index;
	return p->flags & PACKET_LOCAL ? to_tun(p, t) : to_tunnel(w, m, t, peer, false);
}

/* ---- a burst --------------------------------------------------------------------------------- */

enum origin { ORIGIN_BAD, ORIGIN_TUNNEL, ORIGIN_TUN, ORIGIN_PORT };

/* A whole header of either family. */
static bool is_ip(const struct rte_mbuf *m)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);

	return m->data_len >= sizeof(struct ip) &&
	       (is_v4(ip) || (ip[0] >> 4 == 6 && m->data_len >= sizeof(struct ip6_hdr)));
}

/* Where a packet comes from; *t is the tunnel of ORIGIN_TUNNEL and ORIGIN_TUN, NULL: it is gone. */
static enum origin origin_of(
	const struct worker *w, const struct rte_mbuf *m, const struct dp_tunnel **t)
{
	const struct packet *p = rte_mbuf_to_priv((struct rte_mbuf *)(uintptr_t)m);
	const struct port *in;

	if (!is_ip(m))
		return ORIGIN_BAD;
	if (p->flags & PACKET_FROM_TUNNEL) {
		*t = tunnel_get(w->table, p->tunnel);
		return ORIGIN_TUNNEL;
	}
	in = p->in_port < PORT_MAX ? w->table->ports[p->in_port] : NULL;
	if (!in || in->type != PORT_TUN || p->flags & PACKET_OUTER)
		return ORIGIN_PORT;
	*t = tunnel_get(w->table, in->tunnel);
	return ORIGIN_TUN;
}

static const uint8_t *destination(const uint8_t *ip)
{
	return ip + (is_v4(ip) ? 16 : 24);
}

/* The tunnel whose allowed IPs may be needed for a packet; NULL: none's. */
static const struct dp_tunnel *tunnel_into(const struct worker *w, const struct packet *p,
	enum origin origin, const struct dp_tunnel *t, uint32_t next_hop)
{
	const struct fib_next_hop *hop;

	if (origin == ORIGIN_BAD)
		return NULL;
	if (origin == ORIGIN_TUN)
		return p->flags & PACKET_LOCAL ? NULL : t;
	if (origin == ORIGIN_TUNNEL && t && !t->ports_underlay)
		return relays(p, t) ? t : NULL;
	if (!w->table->fib || p->flags & PACKET_OUTER)
		return NULL;
	hop = fib_next_hop(w->table->fib, next_hop);
	return hop && hop->type == FIB_TUNNEL
		       ? tunnel_get(w->table, hop->tunnel != TUNNEL_NONE ? hop->tunnel : p->tunnel)
		       : NULL;
}

/* A burst: what is found out of each packet, and the tables' questions. The FIB comes first: its
 * answer may lead to allowed IPs. */
struct burst {
	enum origin origins[NODE_BURST_MAX];
	const struct dp_tunnel *from[NODE_BURST_MAX];
	const struct dp_tunnel *into[NODE_BURST_MAX]; /* by the FIB; NULL: not, or none */
	struct answers answers;
	struct lookups fib, peers;
};

/* What the last packet that came with the FIB's answer was found to be: of the next one with the
 * same marks it is the same. */
struct seen {
	bool any;
	uint8_t flags;
	uint16_t in_port;
	uint32_t tunnel, next_hop; /* the latter as a number of a next hop */
	uint16_t at;               /* in the burst */
};

static bool by_the_fib(enum origin origin, const struct dp_tunnel *from)
{
	return origin == ORIGIN_PORT || (origin == ORIGIN_TUNNEL && from && from->ports_underlay);
}

static void peer_question(
	struct burst *b, const struct rte_mbuf *m, const struct dp_tunnel *t, uint16_t i)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);

	if (t->allowed_ips != b->peers.table) {
		lookup_run(&b->peers, b->answers.peer);
		lookups_init(&b->peers, t->allowed_ips);
	}
	lookup_add(&b->peers, i, destination(ip), is_v4(ip));
}

/* Of a packet that goes into `t`: the FIB may have said it. */
static inline void peer_find(
	struct burst *b, const struct rte_mbuf *m, const struct dp_tunnel *t, uint16_t i)
{
	b->answers.peer[i] = fib_peer(b->answers.hop[i]);
	if (b->answers.peer[i] == PEER_NONE)
		peer_question(b, m, t, i);
}

static void peer_ask(const struct worker *w, struct burst *b, struct rte_mbuf *m, uint16_t i)
{
	const struct dp_tunnel *t =
		tunnel_into(w, packet_of(m), b->origins[i], b->from[i], b->answers.hop[i]);

	if (!t)
		return;
	if (by_the_fib(b->origins[i], b->from[i]))
		b->into[i] = t;
	peer_find(b, m, t, i);
}

/* Those whose answer of the FIB has just come: neighbours mostly have the same. */
static void peers_ask(const struct worker *w, struct burst *b, struct rte_mbuf **pkts,
	const uint16_t *which, uint16_t n)
{
	for (uint16_t k = 0; k < n; k++) {
		uint16_t i = which[k], before = k ? which[k - 1] : i;

		if (k && b->answers.hop[i] == b->answers.hop[before] && !b->into[before] &&
			b->from[i] == b->from[before] && b->origins[i] == b->origins[before] &&
			packet_of(pkts[i])->flags == packet_of(pkts[before])->flags)
			continue;
		peer_ask(w, b, pkts[i], i);
	}
}

static inline bool is_seen(const struct fib *fib, const struct seen *seen, const struct packet *p)
{
	return seen->any && p->flags == seen->flags && p->in_port == seen->in_port &&
	       p->tunnel == seen->tunnel && fib_hop(fib, p->next_hop) == seen->next_hop;
}

static void seen_note(const struct fib *fib, struct seen *seen, const struct packet *p, uint16_t i)
{
	*seen = (struct seen){.any = true,
		.flags = p->flags,
		.in_port = p->in_port,
		.tunnel = p->tunnel,
		.next_hop = fib_hop(fib, p->next_hop),
		.at = i};
}

static inline void as_seen(struct burst *b, struct rte_mbuf *m, uint16_t i, uint16_t at)
{
	struct packet *p = packet_of(m);

	b->origins[i] = b->origins[at];
	b->from[i] = b->from[at];
	b->into[i] = b->into[at];
	b->answers.hop[i] = p->next_hop;
	p->flags &= (uint8_t)~PACKET_ROUTED;
	if (b->into[i])
		peer_find(b, m, b->into[i], i);
}

/* True: the FIB is to be asked. */
static bool hop_begin(
	const struct fib *fib, struct burst *b, struct rte_mbuf *m, struct seen *seen, uint16_t i)
{
	struct packet *p = packet_of(m);
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);

	b->answers.hop[i] = FIB_NONE;
	if (!by_the_fib(b->origins[i], b->from[i]))
		return false;
	if (p->flags & PACKET_ROUTED) {
		seen_note(fib, seen, p, i);
		b->answers.hop[i] = p->next_hop;
		p->flags &= (uint8_t)~PACKET_ROUTED;
		return false;
	}
	lookup_add(&b->fib, i, destination(ip), is_v4(ip));
	return true;
}

static uint16_t route_one(struct worker *w, struct rte_mbuf *m, const struct burst *b, uint16_t i)
{
	const struct dp_tunnel *t = b->from[i];

	if (b->into[i])
		return to_tunnel(w, m, b->into[i], b->answers.peer[i], true);
	if (b->origins[i] == ORIGIN_BAD)
		return VERDICT_DROP(DROP_NOT_IP);
	if (b->origins[i] == ORIGIN_PORT)
		return w->table->fib ? by_fib(w, m, &b->answers, i) : VERDICT_DROP(DROP_NO_ROUTE);
	if (!t)
		return VERDICT_DROP(DROP_NO_ROUTE);
	return b->origins[i] == ORIGIN_TUNNEL ? from_tunnel(w, m, t, &b->answers, i)
					      : from_tun(w, m, t, b->answers.peer[i]);
}

/* Every packet's origin and, where the FIB's answer is there, what the allowed IPs are asked. */
static void questions_gather(
	const struct worker *w, struct burst *b, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t later[NODE_BURST_MAX], n_later = 0;
	struct seen seen = {.any = false};

	for (uint16_t i = 0; i < n; i++) {
		b->answers.peer[i] = PEER_NONE;
		if (is_ip(pkts[i]) && is_seen(w->table->fib, &seen, packet_of(pkts[i]))) {
			as_seen(b, pkts[i], i, seen.at);
			continue;
		}
		b->from[i] = b->into[i] = NULL;
		b->origins[i] = origin_of(w, pkts[i], &b->from[i]);
		if (hop_begin(w->table->fib, b, pkts[i], &seen, i))
			later[n_later++] = i;
		else
			peer_ask(w, b, pkts[i], i);
	}
	lookup_run(&b->fib, b->answers.hop);
	peers_ask(w, b, pkts, later, n_later);
}

static void route_process(struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n)
{
	struct burst b;

	lookups_init(&b.fib, fib_routes_of(w->table->fib));
	lookups_init(&b.peers, NULL);
	questions_gather(w, &b, pkts, n);
	lookup_run(&b.peers, b.answers.peer);
	for (uint16_t i = 0; i < n; i++) {
		verdicts[i] = route_one(w, pkts[i], &b, i);
		if (verdicts[i] == ROUTE_WG_OUTPUT)
			peer_prefetch_output(w->id, packet_of(pkts[i])->peer, pkts[i]);
	}
}

const struct graph_node node_route = {
	.name = "route",
	.help = "picks the next hop: a peer, a port, this machine",
	.process = route_process,
	.next = (const char *const[]){"wg_output", "tx", "neighbour", "icmp_error", "fragment",
		"local", NULL},
	.drops = route_drops,
};
