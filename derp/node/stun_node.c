/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `stun` answers STUN requests that come in by an Ethernet port, in the place of the sockets behind
 * the port's mirror (derp/edge/stun_server.c): the same parser, the same addresses, silent when
 * they are. Runs on workers.
 *
 * It stands before `local_udp`, which says what is known of its packets. What is not plainly a
 * request for it goes on, so that the kernel sees it as if this node were not there: other ports,
 * what only looks like STUN, IP options and extension headers, wrong checksums. A port without a
 * mirror has no kernel behind it that could serve the relay's TLS, so none of its packets come
 * here.
 *
 * An answer is written over its request and takes the way of whatever this gateway sends. It can
 * not be an answer to itself, and no rate is limited (stun_server.h).
 */
#include <netinet/in.h>
#include <string.h>

#include <rte_ip.h>
#include <rte_udp.h>

#include <tailplane/node.h>

#include "stun.h"
#include "stun_ports.h"

#define HOPS 64

enum { STUN_LOCAL_UDP, STUN_ROUTE };

enum { DROP_SILENT };

static const struct drop_reason stun_drops[] = {
	{"stun_silent",
		"a STUN request while the relay cannot be used: clients choose another one"},
	{NULL, NULL},
};

static struct snapshot_slot *slot;

/* A datagram without IP options or extension headers. */
struct datagram {
	uint8_t *ip;
	union {
		struct rte_ipv4_hdr *ip4;
		struct rte_ipv6_hdr *ip6;
	};
	struct rte_udp_hdr *udp;
	uint8_t *payload;
	uint32_t len; /* of the payload */
	bool v4;
};

/* What a burst adds to the counters. */
struct sums {
	uint64_t ipv4, ipv6, silent;
};

/* ---- the request ----------------------------------------------------------------------------- */

static bool datagram_find(struct rte_mbuf *m, struct datagram *d)
{
	uint32_t at = packet_of(m)->l2_len, header, len;

	if (m->nb_segs != 1 || m->data_len < at + sizeof(struct rte_ipv6_hdr))
		return false;
	d->ip = rte_pktmbuf_mtod_offset(m, uint8_t *, at);
	len = m->data_len - at;
	d->v4 = d->ip[0] == 0x45;
	d->ip4 = (struct rte_ipv4_hdr *)d->ip;
	if (!d->v4) {
		d->ip6 = (struct rte_ipv6_hdr *)d->ip;
		if (d->ip[0] >> 4 != 6 || d->ip6->proto != IPPROTO_UDP)
			return false;
	}
	header = d->v4 ? sizeof(*d->ip4) : sizeof(*d->ip6);
	d->udp = (struct rte_udp_hdr *)(d->ip + header);
	d->payload = (uint8_t *)(d->udp + 1);
	d->len = len - header - sizeof(*d->udp);
	return len >= header + sizeof(*d->udp) &&
	       rte_be_to_cpu_16(d->udp->dgram_len) == len - header && d->len <= STUN_REQUEST_MAX;
}

static bool listens_at(const struct net_endpoint *listen, const struct datagram *d)
{
	static const uint8_t any[16];
	const uint8_t *to = d->v4 ? (const uint8_t *)&d->ip4->dst_addr : d->ip6->dst_addr;
	size_t size = d->v4 ? 4 : 16;

	return listen->port == rte_be_to_cpu_16(d->udp->dst_port) &&
	       listen->addr.family == (d->v4 ? AF_INET : AF_INET6) &&
	       (!memcmp(listen->addr.bytes, any, size) || !memcmp(listen->addr.bytes, to, size));
}

static bool is_ours(const struct stun_ports *ports, const struct datagram *d)
{
	for (unsigned i = 0; i < ports->n; i++)
		if (listens_at(&ports->listen[i], d))
			return d->udp->src_port != 0;
	return false;
}

/* RFC 768: zero means none over IPv4; RFC 8200: over IPv6 there must be one. */
static bool checksum_ok(const struct rte_mbuf *m, const struct datagram *d)
{
	if ((m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD)
		return true;
	if (!d->udp->dgram_cksum)
		return d->v4;
	return (d->v4 ? rte_ipv4_udptcp_cksum_verify(d->ip4, d->udp)
		      : rte_ipv6_udptcp_cksum_verify(d->ip6, d->udp)) == 0;
}

/* ---- the answer ------------------------------------------------------------------------------ */

static struct net_endpoint sender_of(const struct datagram *d)
{
	struct net_endpoint from = {.addr.family = d->v4 ? AF_INET : AF_INET6,
		.port = rte_be_to_cpu_16(d->udp->src_port)};

	if (d->v4)
		memcpy(from.addr.bytes, &d->ip4->src_addr, 4);
	else
		memcpy(from.addr.bytes, d->ip6->src_addr, 16);
	return from;
}

static void header4_write(struct rte_ipv4_hdr *ip, const struct rte_udp_hdr *udp)
{
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = 0x45,
		.total_length = rte_cpu_to_be_16(
			(uint16_t)(sizeof(*ip) + rte_be_to_cpu_16(udp->dgram_len))),
		/* RFC 6864: whole and not to be cut, so the identification may be any */
		.fragment_offset = RTE_BE16(RTE_IPV4_HDR_DF_FLAG),
		.time_to_live = HOPS,
		.next_proto_id = IPPROTO_UDP,
		.src_addr = ip->dst_addr,
		.dst_addr = ip->src_addr,
	};
	ip->hdr_checksum = rte_ipv4_cksum(ip);
}

static void header6_write(struct rte_ipv6_hdr *ip, const struct rte_udp_hdr *udp)
{
	uint8_t client[16];

	memcpy(client, ip->src_addr, 16);
	memcpy(ip->src_addr, ip->dst_addr, 16);
	memcpy(ip->dst_addr, client, 16);
	ip->vtc_flow = RTE_BE32(6u << 28);
	ip->payload_len = udp->dgram_len;
	ip->proto = IPPROTO_UDP;
	ip->hop_limits = HOPS;
}

/* The headers in front of `len` bytes of payload. */
static void headers_write(struct datagram *d, size_t len)
{
	struct rte_udp_hdr *udp = d->udp;
	rte_be16_t client = udp->src_port;

	udp->src_port = udp->dst_port;
	udp->dst_port = client;
	udp->dgram_len = rte_cpu_to_be_16((uint16_t)(sizeof(*udp) + len));
	udp->dgram_cksum = 0;
	if (d->v4) {
		header4_write(d->ip4, udp);
		udp->dgram_cksum = rte_ipv4_udptcp_cksum(d->ip4, udp);
	} else {
		header6_write(d->ip6, udp);
		udp->dgram_cksum = rte_ipv6_udptcp_cksum(d->ip6, udp);
	}
}

static void answer(
	struct rte_mbuf *m, struct datagram *d, const uint8_t txid[static STUN_TXID_SIZE])
{
	struct net_endpoint from = sender_of(d);
	size_t len = stun_answer_write(d->payload, txid, &from);
	struct packet *p = packet_of(m);

	headers_write(d, len);
	m->data_off += p->l2_len;
	m->data_len = (uint16_t)((size_t)(d->payload - d->ip) + len);
	m->pkt_len = m->data_len;
	p->kind = PACKET_IP;
	p->flags = PACKET_LOCAL;
}

/* ---- a burst --------------------------------------------------------------------------------- */

static uint16_t stun_one(const struct stun_ports *ports, struct rte_mbuf *m, struct sums *sums)
{
	uint8_t txid[STUN_TXID_SIZE];
	struct datagram d;

	if (!datagram_find(m, &d) || !is_ours(ports, &d) ||
		!stun_request_read(d.payload, d.len, txid) || !checksum_ok(m, &d) ||
		d.len + rte_pktmbuf_tailroom(m) < STUN_ANSWER_MAX)
		return STUN_LOCAL_UDP;
	if (!ports->speak) {
		sums->silent++;
		return VERDICT_DROP(DROP_SILENT);
	}
	answer(m, &d, txid);
	sums->ipv4 += d.v4;
	sums->ipv6 += !d.v4;
	return STUN_ROUTE;
}

static void count(_Atomic uint64_t *counter, uint64_t n)
{
	if (n)
		atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static void stun_process(struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n)
{
	const struct stun_ports *ports = snapshot_get(slot);
	struct sums sums = {0};

	for (uint16_t i = 0; i < n; i++)
		verdicts[i] = ports ? stun_one(ports, pkts[i], &sums) : STUN_LOCAL_UDP;
	if (!ports)
		return;
	count(&ports->counts->outcomes[STUN_ANSWERED], sums.ipv4 + sums.ipv6);
	count(&ports->counts->outcomes[STUN_SILENT], sums.silent);
	count(&ports->counts->ipv4, sums.ipv4);
	count(&ports->counts->ipv6, sums.ipv6);
}

static const struct graph_node node_stun = {
	.name = "stun",
	.help = "answers STUN requests of the relay's clients",
	.process = stun_process,
	.next = (const char *const[]){"local_udp", "route", NULL},
	.drops = stun_drops,
	.before = "local_udp",
};

static const struct graph_node *const nodes[] = {&node_stun, NULL};

static void attach(void)
{
	slot = snapshot_slot(STUN_PORTS_SLOT);
}

__attribute__((visibility("default"))) const struct node_object tailplane_nodes = {
	.abi = TAILPLANE_NODE_ABI,
	.size = sizeof(struct node_object),
	.name = "derp",
	.nodes = nodes,
	.attach = attach,
};
