/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * `classify` tells apart what Ethernet ports bring: WireGuard for a tunnel of ours, ARP and ND,
 * traffic for this host, and packets to route. Runs on workers; nothing is copied.
 *
 * A port with a mirror leaves ARP, ND and everything for this host that is not a tunnel's to the
 * kernel; datagrams go by way of `local_udp`, where plugins can stand that serve them here. Without
 * a mirror this file's next graph node `local` is the whole host.
 *
 * A check that fails is a named drop before anything else looks at the packet: what leaves for
 * `route` or `wg_input` is one segment, trimmed to the length that its IP header says, its header
 * sound, its source possible.
 *
 * A burst is parsed, then the FIB is asked for all of it at once, then each packet gets its
 * verdict; `route` finds the FIB's answer in the packet.
 *
 * Nearly all frames are alike: untagged IPv4 without options and in one piece, between addresses of
 * single hosts. Those are told by a few loads and nothing is noted of them but in the packet. What
 * is not sure there goes the long way, which comes to the same for these too.
 */
#include <netinet/in.h>
#include <string.h>

#include <rte_ether.h>
#include <rte_mbuf.h>

#include "bytes.h"
#include "checksum.h"
#include "fib.h"
#include "ip_parse.h"
#include "lookup.h"
#include "messages.h"
#include "nodes.h"
#include "tunnel.h"

enum { ND_SOLICITATION = 135, ND_ADVERTISEMENT = 136 };

enum {
	CLASSIFY_WG_INPUT,
	CLASSIFY_ROUTE,
	CLASSIFY_REASSEMBLE,
	CLASSIFY_LOCAL,
	CLASSIFY_LOCAL_UDP,
};

enum {
	DROP_SHORT_FRAME,
	DROP_NO_PORT,
	DROP_NOT_OUR_MAC,
	DROP_LOOPED,
	DROP_UNKNOWN_TYPE,
	DROP_IP_TRUNCATED,
	DROP_IP_MALFORMED,
	DROP_IP_CHECKSUM,
	DROP_EXTENSIONS,
	DROP_BAD_SOURCE,
	DROP_LINK_LOCAL,
	DROP_MULTICAST,
	DROP_UDP_LENGTH,
	DROP_UDP_CHECKSUM,
	DROP_NOT_WIREGUARD,
	DROP_HANDSHAKE_FULL,
	DROP_NEIGHBOUR_FULL,
	DROP_MIRROR_FULL,
};

static const struct drop_reason classify_drops[] = {
	{"classify_short_frame", "a frame shorter than its Ethernet, VLAN or ARP header"},
	{"classify_no_port", "the port that the frame came in by is gone"},
	{"classify_not_our_mac", "a frame for another machine on the link"},
	{"classify_looped", "a frame that carries our own MAC as its sender"},
	{"classify_unknown_type",
		"neither IP nor ARP, and the port has no mirror that could take it"},
	{"classify_ip_truncated", "an IP packet shorter than its header says"},
	{"classify_ip_malformed", "an IP header with an impossible version or length"},
	{"classify_ip_checksum", "a wrong checksum in an IPv4 header"},
	{"classify_extensions", "a chain of more IPv6 extension headers than anybody needs"},
	{"classify_bad_source", "a source address that no packet on a link may have"},
	{"classify_link_local", "a packet from or to a link-local address that is not ours"},
	{"classify_multicast",
		"multicast or broadcast, and the port has no mirror that could take it"},
	{"classify_udp_length", "a datagram to a tunnel whose UDP length is impossible"},
	{"classify_udp_checksum", "a datagram to a tunnel with a wrong UDP checksum"},
	{"classify_not_wireguard", "a datagram to a tunnel's port that is no WireGuard message"},
	{"classify_handshake_full",
		"handshake messages came faster than they could be handed to control"},
	{"classify_neighbour_full", "ARP or ND came faster than it could be handed to control"},
	{"classify_mirror_full", "frames for the kernel came faster than the mirror takes them"},
	{NULL, NULL},
};

/* A frame on its way through the checks. */
struct frame {
	struct worker *w;
	const struct port *port;
	struct rte_mbuf *m;
	struct packet *p;
	uint16_t type;     /* host order */
	bool to_many;      /* by its MAC */
	uint32_t next_hop; /* the FIB's answer, when it was asked */
	struct ip_info ip;
};

/* No verdict yet: the FIB is to be asked first. */
#define VERDICT_ASK 0x7fff

static uint16_t punt(struct frame *f, enum punt_class class, unsigned drop)
{
	return worker_punt(f->w, class, f->m) ? VERDICT_TAKEN : VERDICT_DROP(drop);
}

static uint16_t to_mirror(struct frame *f, unsigned drop_without)
{
	return f->port->mirror ? punt(f, PUNT_MIRROR, DROP_MIRROR_FULL)
			       : VERDICT_DROP(drop_without);
}

static uint16_t to_neighbour(struct frame *f)
{
	return f->port->mirror ? punt(f, PUNT_MIRROR, DROP_MIRROR_FULL)
			       : punt(f, PUNT_NEIGHBOUR, DROP_NEIGHBOUR_FULL);
}

/* Ethernet and at most one VLAN tag. */
static bool l2_parse(struct frame *f)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(f->m, const struct rte_ether_hdr *);
	const struct rte_vlan_hdr *tag = (const struct rte_vlan_hdr *)(eth + 1);
	uint32_t len = f->m->data_len;

	if (len < sizeof(*eth))
		return false;
	f->type = rte_be_to_cpu_16(eth->ether_type);
	f->p->l2_len = sizeof(*eth);
	f->p->vlan = 0;
	if (f->type != RTE_ETHER_TYPE_VLAN)
		return true;
	if (len < sizeof(*eth) + sizeof(*tag))
		return false;
	f->type = rte_be_to_cpu_16(tag->eth_proto);
	f->p->vlan = rte_be_to_cpu_16(tag->vlan_tci) & 0xfff;
	f->p->l2_len += sizeof(*tag);
	return true;
}

/* ---- datagrams of a tunnel ------------------------------------------------------------------ */

/* RFC 768: zero means none over IPv4; RFC 8200: over IPv6 there must be one. */
static bool udp_checksum_ok(const struct frame *f, const uint8_t *udp, uint32_t len)
{
	uint64_t good = f->m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;

	if (good == RTE_MBUF_F_RX_L4_CKSUM_GOOD)
		return true;
	if (!udp[6] && !udp[7])
		return f->ip.family == AF_INET;
	return ip_sum_fold(ip_sum(udp, len, ip_pseudo_sum(&f->ip, IPPROTO_UDP, len))) == 0;
}

static void path_fill(const struct frame *f, const uint8_t *udp)
{
	struct packet_path *path = &f->p->path;
	size_t size = f->ip.family == AF_INET ? 4 : 16;

	memset(path, 0, sizeof(*path));
	path->family = f->ip.family;
	path->tos = f->ip.tos;
	memcpy(&path->remote_port, udp, 2);
	memcpy(&path->local_port, udp + 2, 2);
	path->port = f->p->in_port;
	memcpy(path->remote, f->ip.source, size);
	memcpy(path->local, f->ip.destination, size);
}

static uint16_t wireguard(struct frame *f, const uint8_t *udp, uint32_t tunnel)
{
	uint32_t len = (uint32_t)(udp[4] << 8 | udp[5]);
	uint16_t headers = f->p->l2_len + f->ip.header_len + 8;
	enum message_type type;

	if (len < 8 || len > f->ip.total_len - f->ip.header_len)
		return VERDICT_DROP(DROP_UDP_LENGTH);
	if (!udp_checksum_ok(f, udp, len))
		return VERDICT_DROP(DROP_UDP_CHECKSUM);
	type = wg_message_type(udp + 8, len - 8);
	if (type == MESSAGE_INVALID)
		return VERDICT_DROP(DROP_NOT_WIREGUARD);
	path_fill(f, udp);
	rte_pktmbuf_adj(f->m, headers);
	rte_pktmbuf_trim(f->m, (uint16_t)(f->m->data_len - (len - 8)));
	f->p->kind = PACKET_DATAGRAM;
	f->p->tunnel = tunnel;
	return type == MESSAGE_DATA ? CLASSIFY_WG_INPUT
				    : punt(f, PUNT_HANDSHAKE, DROP_HANDSHAKE_FULL);
}

/* ---- for this host -------------------------------------------------------------------------- */

/* Solicitations and advertisements of neighbours; routers and redirects are the kernel's. */
static bool is_nd(const struct frame *f, const uint8_t *ip)
{
	uint8_t type;

	if (f->ip.family != AF_INET6 || f->ip.protocol != IPPROTO_ICMPV6 || f->ip.fragment ||
		f->ip.header_len >= f->ip.total_len)
		return false;
	type = ip[f->ip.header_len];
	return type == ND_SOLICITATION || type == ND_ADVERTISEMENT;
}

static uint16_t to_ip(struct frame *f, uint16_t verdict)
{
	rte_pktmbuf_adj(f->m, f->p->l2_len);
	f->p->kind = PACKET_IP;
	return verdict;
}

static uint16_t to_local(struct frame *f)
{
	return f->port->mirror ? punt(f, PUNT_MIRROR, DROP_MIRROR_FULL) : to_ip(f, CLASSIFY_LOCAL);
}

/* Whether an answer would go to one other machine: not to this one, not to a broadcast address. */
static bool can_be_answered(const struct frame *f)
{
	const struct fib *fib = f->w->table->fib;
	const struct fib_next_hop *hop =
		fib_next_hop(fib, f->ip.family == AF_INET ? fib_lookup4(fib, f->ip.source)
							  : fib_lookup6(fib, f->ip.source));

	return hop && (hop->type == FIB_PORT || hop->type == FIB_TUNNEL) &&
	       !ip_is_unspecified(f->ip.family, f->ip.source) &&
	       !ip_is_link_local(f->ip.family, f->ip.source) &&
	       !ip_is_link_local(f->ip.family, f->ip.destination);
}

static uint16_t to_local_udp(struct frame *f)
{
	return f->port->mirror && can_be_answered(f) ? CLASSIFY_LOCAL_UDP : to_local(f);
}

static uint16_t for_us(struct frame *f, const uint8_t *ip)
{
	uint32_t tunnel;

	if (f->ip.protocol != IPPROTO_UDP)
		return to_local(f);
	if (f->ip.fragment)
		return CLASSIFY_REASSEMBLE;
	if (f->ip.header_len + 8u > f->ip.total_len)
		return to_local(f);
	tunnel = tunnel_by_listen_port(
		f->w->table, *(const unaligned_uint16_t *)(ip + f->ip.header_len + 2));
	return tunnel == TUNNEL_NONE ? to_local_udp(f)
				     : wireguard(f, ip + f->ip.header_len, tunnel);
}

/* ---- IP ------------------------------------------------------------------------------------- */

static uint16_t fault_verdict(enum ip_fault fault)
{
	static const uint16_t drops[] = {
		[IP_FAULT_TRUNCATED] = DROP_IP_TRUNCATED,
		[IP_FAULT_MALFORMED] = DROP_IP_MALFORMED,
		[IP_FAULT_CHECKSUM] = DROP_IP_CHECKSUM,
		[IP_FAULT_EXTENSIONS] = DROP_EXTENSIONS,
	};

	return VERDICT_DROP(drops[fault]);
}

static bool source_possible(const struct ip_info *ip)
{
	return !ip_is_multicast(ip->family, ip->source) &&
	       !ip_is_loopback(ip->family, ip->source) &&
	       !ip_is_loopback(ip->family, ip->destination);
}

static bool is_local(const struct worker *w, uint32_t next_hop)
{
	const struct fib *fib = w->table->fib;
	const struct fib_next_hop *hop =
		fib && fib_peer(next_hop) == PEER_NONE ? fib_next_hop(fib, next_hop) : NULL;

	return hop && hop->type == FIB_LOCAL;
}

/* The answer to a DHCP client of the kernel's: to an address that nobody has yet. */
static bool is_dhcp_answer(const struct frame *f, const uint8_t *ip)
{
	static const uint8_t ports[4] = {0, 67, 0, 68};

	return f->port->mirror && f->ip.family == AF_INET && f->ip.protocol == IPPROTO_UDP &&
	       !f->ip.offset && f->ip.header_len + 8u <= f->ip.total_len &&
	       memcmp(ip + f->ip.header_len, ports, 4) == 0;
}

static uint16_t routed(struct frame *f, const uint8_t *ip)
{
	if (is_dhcp_answer(f, ip))
		return to_mirror(f, DROP_MULTICAST);
	if (ip_is_link_local(f->ip.family, f->ip.source) ||
		ip_is_link_local(f->ip.family, f->ip.destination))
		return to_mirror(f, DROP_LINK_LOCAL);
	if (ip_is_unspecified(f->ip.family, f->ip.source))
		return VERDICT_DROP(DROP_BAD_SOURCE);
	f->p->next_hop = f->next_hop;
	f->p->flags |= PACKET_ROUTED;
	return to_ip(f, CLASSIFY_ROUTE);
}

/* Header, source, length: all that the FIB need not be asked for. */
static uint16_t ip_check(struct frame *f)
{
	const uint8_t *ip = rte_pktmbuf_mtod_offset(f->m, const uint8_t *, f->p->l2_len);
	uint32_t len = f->m->data_len - f->p->l2_len;
	bool checksum =
		(f->m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) != RTE_MBUF_F_RX_IP_CKSUM_GOOD;
	enum ip_fault fault = ip_parse(ip, len, checksum, &f->ip);

	if (fault != IP_SOUND)
		return fault_verdict(fault);
	if (f->type != (f->ip.family == AF_INET ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6))
		return VERDICT_DROP(DROP_IP_MALFORMED);
	if (!source_possible(&f->ip))
		return VERDICT_DROP(DROP_BAD_SOURCE);
	rte_pktmbuf_trim(f->m, (uint16_t)(len - f->ip.total_len));
	f->to_many |= ip_is_multicast(f->ip.family, f->ip.destination);
	return VERDICT_ASK;
}

static uint16_t ip_verdict(struct frame *f)
{
	const uint8_t *ip = rte_pktmbuf_mtod_offset(f->m, const uint8_t *, f->p->l2_len);
	bool local = !f->to_many && is_local(f->w, f->next_hop);
	enum ip_fault fault;

	if (!f->to_many && !local)
		return routed(f, ip);
	fault = ip_walk(ip, &f->ip);
	if (fault != IP_SOUND)
		return fault_verdict(fault);
	if (is_nd(f, ip))
		return to_neighbour(f);
	return local ? for_us(f, ip) : to_mirror(f, DROP_MULTICAST);
}

/* A verdict, or VERDICT_ASK for IP that is sound. */
static uint16_t frame_check(struct frame *f)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(f->m, const struct rte_ether_hdr *);

	if (!f->port)
		return VERDICT_DROP(DROP_NO_PORT);
	if (!l2_parse(f))
		return VERDICT_DROP(DROP_SHORT_FRAME);
	if (memcmp(&eth->src_addr, f->port->mac, 6) == 0)
		return VERDICT_DROP(DROP_LOOPED);
	f->to_many = rte_is_multicast_ether_addr(&eth->dst_addr);
	if (!f->to_many && memcmp(&eth->dst_addr, f->port->mac, 6) != 0)
		return VERDICT_DROP(DROP_NOT_OUR_MAC);
	if (f->type == RTE_ETHER_TYPE_IPV4 || f->type == RTE_ETHER_TYPE_IPV6)
		return ip_check(f);
	if (f->type == RTE_ETHER_TYPE_ARP)
		return to_neighbour(f);
	return to_mirror(f, DROP_UNKNOWN_TYPE);
}

static void frame_begin(
	struct frame *f, struct worker *w, struct rte_mbuf *m, const struct port *port)
{
	f->w = w;
	f->m = m;
	f->p = packet_of(m);
	f->port = port;
	f->next_hop = FIB_NONE;
}

/* ---- the usual ------------------------------------------------------------------------------- */

#define VERDICT_USUAL 0x7ffe /* none yet: usual, and the FIB is to be asked */

/* What the last usual packet of the burst needed: mostly the next one needs it as well. */
struct usual {
	uint32_t next_hop;
	bool local;           /* that is this host */
	uint16_t listen_port; /* of that tunnel; 0: none looked for yet */
	uint32_t tunnel;
};

/* Neither 0.0.0.0/8, loopback, multicast nor anything above. */
static bool is_single_host4(uint8_t first)
{
	return (uint8_t)(first - 1) < 223 && first != 127;
}

static bool sum4_ok(const struct rte_mbuf *m, const uint8_t *ip)
{
	uint64_t sum = 0;

	if ((m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) == RTE_MBUF_F_RX_IP_CKSUM_GOOD)
		return true;
	for (unsigned i = 0; i < 20; i += 4)
		sum += be32_at(ip + i);
	return checksum_fold(sum) == 0xffff;
}

static bool is_dhcp4(const uint8_t *ip, uint32_t len)
{
	return ip[9] == IPPROTO_UDP && len >= 24 && be32_at(ip + 20) == RTE_BE32(67u << 16 | 68);
}

static bool is_usual(const struct port *port, const struct rte_mbuf *m)
{
	const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
	const uint8_t *ip = frame + sizeof(struct rte_ether_hdr);
	uint32_t len = m->data_len - (uint32_t)sizeof(struct rte_ether_hdr), total;

	if (!port || m->data_len < sizeof(struct rte_ether_hdr) + 20)
		return false;
	total = rte_be_to_cpu_16(be16_at(ip + 2));
	return memcmp(frame, port->mac, 6) == 0 && memcmp(frame + 6, port->mac, 6) != 0 &&
	       be16_at(frame + 12) == RTE_BE16(RTE_ETHER_TYPE_IPV4) && ip[0] == 0x45 &&
	       total >= 20 && total <= len && !(be16_at(ip + 6) & RTE_BE16(0x3fff)) &&
	       is_single_host4(ip[12]) && is_single_host4(ip[16]) && sum4_ok(m, ip) &&
	       !(port->mirror && is_dhcp4(ip, len));
}

/* Cuts off `headers` bytes in front and what lies behind `len` more. */
static void cut(struct rte_mbuf *m, uint32_t headers, uint32_t len)
{
	m->data_off += (uint16_t)headers;
	m->data_len = (uint16_t)len;
	m->pkt_len = len;
}

static bool udp_checksum_usual(const struct rte_mbuf *m, const uint8_t *udp)
{
	return (m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD ||
	       be16_at(udp + 6) == 0;
}

/* For this host: a tunnel's data, or VERDICT_ASK for the long way. */
static uint16_t usual_data(
	struct worker *w, struct rte_mbuf *m, struct usual *usual, uint32_t ip_len)
{
	const uint8_t *ip = rte_pktmbuf_mtod_offset(m, uint8_t *, sizeof(struct rte_ether_hdr));
	const uint8_t *udp = ip + 20;
	struct packet *p = packet_of(m);
	uint32_t len;

	if (ip[9] != IPPROTO_UDP || ip_len < 28 || !udp_checksum_usual(m, udp))
		return VERDICT_ASK;
	if (be16_at(udp + 2) != usual->listen_port) {
		usual->listen_port = be16_at(udp + 2);
		usual->tunnel = tunnel_by_listen_port(w->table, usual->listen_port);
	}
	len = rte_be_to_cpu_16(be16_at(udp + 4));
	if (usual->tunnel == TUNNEL_NONE || len < 8 || len > ip_len - 20 ||
		wg_message_type(udp + 8, len - 8) != MESSAGE_DATA)
		return VERDICT_ASK;
	memset(&p->path, 0, sizeof(p->path));
	p->path.family = AF_INET;
	p->path.tos = ip[1];
	p->path.remote_port = be16_at(udp);
	p->path.local_port = be16_at(udp + 2);
	p->path.port = p->in_port;
	memcpy(p->path.remote, ip + 12, 4);
	memcpy(p->path.local, ip + 16, 4);
	p->kind = PACKET_DATAGRAM;
	p->tunnel = usual->tunnel;
	index_prefetch(udp + 8);
	cut(m, sizeof(struct rte_ether_hdr) + 28, len - 8);
	return CLASSIFY_WG_INPUT;
}

static uint16_t usual_verdict(
	struct worker *w, struct rte_mbuf *m, struct usual *usual, uint32_t next_hop)
{
	const uint8_t *ip = rte_pktmbuf_mtod_offset(m, uint8_t *, sizeof(struct rte_ether_hdr));
	uint32_t len = rte_be_to_cpu_16(be16_at(ip + 2));
	struct packet *p = packet_of(m);

	if (next_hop != usual->next_hop) {
		usual->next_hop = next_hop;
		usual->local = is_local(w, next_hop);
	}
	p->vlan = 0;
	if (usual->local)
		return usual_data(w, m, usual, len);
	p->next_hop = next_hop;
	p->flags |= PACKET_ROUTED;
	p->kind = PACKET_IP;
	cut(m, sizeof(struct rte_ether_hdr), len);
	return CLASSIFY_ROUTE;
}

/* ---- a burst --------------------------------------------------------------------------------- */

static const struct port *port_of(const struct worker *w, const struct rte_mbuf *m)
{
	uint16_t in_port = packet_of((struct rte_mbuf *)(uintptr_t)m)->in_port;

	return in_port < PORT_MAX ? w->table->ports[in_port] : NULL;
}

/* Of a packet that is not usual after all. */
static uint16_t long_way(struct worker *w, struct rte_mbuf *m, uint32_t next_hop)
{
	struct frame f;
	uint16_t verdict;

	frame_begin(&f, w, m, port_of(w, m));
	verdict = frame_check(&f);
	f.next_hop = next_hop;
	return verdict == VERDICT_ASK ? ip_verdict(&f) : verdict;
}

static void classify_process(
	struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n)
{
	struct frame frames[NODE_BURST_MAX];
	uint32_t hops[NODE_BURST_MAX];
	struct usual usual = {.next_hop = FIB_NONE};
	struct lookups lookups;

	lookups_init(&lookups, fib_routes_of(w->table->fib));
	for (uint16_t i = 0; i < n; i++) {
		const struct port *port = port_of(w, pkts[i]);

		hops[i] = FIB_NONE;
		if (is_usual(port, pkts[i])) {
			verdicts[i] = VERDICT_USUAL;
			lookup_add(&lookups, i,
				rte_pktmbuf_mtod_offset(
					pkts[i], uint8_t *, sizeof(struct rte_ether_hdr) + 16),
				true);
			continue;
		}
		frame_begin(&frames[i], w, pkts[i], port);
		verdicts[i] = frame_check(&frames[i]);
		if (verdicts[i] == VERDICT_ASK && !frames[i].to_many)
			lookup_add(&lookups, i, frames[i].ip.destination,
				frames[i].ip.family == AF_INET);
	}
	lookup_run(&lookups, hops);
	for (uint16_t i = 0; i < n; i++) {
		if (verdicts[i] == VERDICT_USUAL) {
			verdicts[i] = usual_verdict(w, pkts[i], &usual, hops[i]);
			if (verdicts[i] == VERDICT_ASK)
				verdicts[i] = long_way(w, pkts[i], hops[i]);
		} else if (verdicts[i] == VERDICT_ASK) {
			frames[i].next_hop = hops[i];
			verdicts[i] = ip_verdict(&frames[i]);
		}
	}
}

const struct graph_node node_classify = {
	.name = "classify",
	.help = "tells WireGuard, ARP and ND, traffic for this host and packets to route apart",
	.process = classify_process,
	.next = (const char *const[]){"wg_input", "route", "reassemble", "local", "local_udp",
		NULL},
	.drops = classify_drops,
};
