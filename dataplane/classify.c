/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * `classify` tells apart what Ethernet ports bring: WireGuard for a tunnel of ours, ARP and ND,
 * traffic for this host, and packets to route. Runs on workers; nothing is copied.
 *
 * A port with a mirror leaves ARP, ND and everything for this host that is not a tunnel's to the
 * kernel. Without one this file's next graph node `local` is the whole host.
 *
 * A check that fails is a named drop before anything else looks at the packet: what leaves for
 * `route` or `wg_input` is one segment, trimmed to the length that its IP header says, its header
 * sound, its source possible.
 *
 * A burst is parsed, then the FIB is asked for all of it at once, then each packet gets its
 * verdict; `route` finds the FIB's answer in the packet.
 */
#include <netinet/in.h>
#include <string.h>

#include <rte_ether.h>
#include <rte_mbuf.h>

#include "fib.h"
#include "ip_parse.h"
#include "lookup.h"
#include "messages.h"
#include "nodes.h"
#include "tunnel.h"

enum { ND_SOLICITATION = 135, ND_ADVERTISEMENT = 136 };

enum { CLASSIFY_WG_INPUT, CLASSIFY_ROUTE, CLASSIFY_REASSEMBLE, CLASSIFY_LOCAL };

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
	return tunnel == TUNNEL_NONE ? to_local(f) : wireguard(f, ip + f->ip.header_len, tunnel);
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

static bool is_local(const struct frame *f)
{
	const struct fib *fib = f->w->table->fib;
	const struct fib_next_hop *hop = fib ? fib_next_hop(fib, f->next_hop) : NULL;

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
	bool local = !f->to_many && is_local(f);
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

static void frame_begin(struct frame *f, struct worker *w, struct rte_mbuf *m)
{
	f->w = w;
	f->m = m;
	f->p = packet_of(m);
	f->port = f->p->in_port < PORT_MAX ? w->table->ports[f->p->in_port] : NULL;
	f->next_hop = FIB_NONE;
}

static void fib_ask(
	const struct worker *w, struct frame *frames, const uint16_t *verdicts, uint16_t n)
{
	uint32_t hops[NODE_BURST_MAX];
	struct lookups lookups;

	if (!w->table->fib)
		return;
	lookups_init(&lookups);
	for (uint16_t i = 0; i < n; i++)
		if (verdicts[i] == VERDICT_ASK && !frames[i].to_many)
			lookup_add(&lookups, i, frames[i].ip.destination,
				frames[i].ip.family == AF_INET);
	lookup_run(&lookups, &w->table->fib->routes, hops);
	for (uint16_t i = 0; i < n; i++)
		if (verdicts[i] == VERDICT_ASK && !frames[i].to_many)
			frames[i].next_hop = hops[i];
}

static void classify_process(
	struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n)
{
	struct frame frames[NODE_BURST_MAX];

	for (uint16_t i = 0; i < n; i++) {
		frame_begin(&frames[i], w, pkts[i]);
		verdicts[i] = frame_check(&frames[i]);
	}
	fib_ask(w, frames, verdicts, n);
	for (uint16_t i = 0; i < n; i++)
		if (verdicts[i] == VERDICT_ASK)
			verdicts[i] = ip_verdict(&frames[i]);
}

const struct graph_node node_classify = {
	.name = "classify",
	.help = "tells WireGuard, ARP and ND, traffic for this host and packets to route apart",
	.process = classify_process,
	.next = (const char *const[]){"wg_input", "route", "reassemble", "local", NULL},
	.drops = classify_drops,
};
