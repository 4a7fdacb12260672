/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Hand-made packets for graph nodes: a small DPDK, one worker with its rings, a table with two
 * Ethernet ports and a FIB, and headers written byte by byte.
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>
#include <rte_ring.h>

#include "eal_begin.h"
#include "fib.h"
#include "ip_parse.h"
#include "peer.h"
#include "worker.h"

#define PLAIN_PORT 0  /* 10.0.0.1/24, 2001:db8::1/64; VLAN 7: 10.7.0.1/24 */
#define MIRROR_PORT 1 /* 10.1.0.1/24; has a mirror */
#define TUNNEL 3      /* listens on 51820; 10.9.0.1 */
#define TUNNEL_PORT 51820

static const uint8_t plain_mac[6] = {2, 0, 0, 0, 0, 1}, mirror_mac[6] = {2, 0, 0, 0, 0, 2};
static const uint8_t their_mac[6] = {2, 0, 0, 0, 0, 9};

/* What graph nodes ask to be fetched. */
struct peers peers;
static struct index_entry no_index;

static struct rte_mempool *pool;
static struct worker worker;
static struct dp_table table;
static struct port ports[2];
static struct dp_tunnel tunnel;

/* The worker's side of a punt, as worker.c does it; a test drains the ring. */
bool worker_punt(struct worker *w, enum punt_class class, struct rte_mbuf *m)
{
	return rte_ring_sp_enqueue(w->punts[class], m) == 0;
}

static inline struct net_prefix prefix_of(const char *text)
{
	struct net_prefix p;

	if (net_prefix_parse(&p, text) < 0)
		errx(1, "%s is no prefix", text);
	return p;
}

static inline void dpdk_start(void)
{
	eal_begin("96");
	pool = rte_pktmbuf_pool_create("test", 2047, 0,
		RTE_ALIGN_CEIL(sizeof(struct packet), RTE_MBUF_PRIV_ALIGN),
		RTE_PKTMBUF_HEADROOM + 2048, SOCKET_ID_ANY);
	if (!pool)
		errx(1, "no pool");
}

static inline void address_add(const char *text, uint16_t port, uint16_t vlan)
{
	struct net_prefix p = prefix_of(text);

	if (fib_address_add(table.fib, &p, port, vlan, TUNNEL_NONE, 1500, NULL) < 0)
		errx(1, "%s does not go in", text);
}

static inline void tables_start(void)
{
	peers.indices = &no_index;
	for (unsigned i = 0; i < 2; i++) {
		ports[i].type = PORT_ETHER;
		ports[i].index = (uint16_t)i;
		ports[i].mtu = 1500;
		ports[i].up = true;
		memcpy(ports[i].mac, i == PLAIN_PORT ? plain_mac : mirror_mac, 6);
		table.ports[i] = &ports[i];
	}
	ports[MIRROR_PORT].mirror = true;
	tunnel = (struct dp_tunnel){.index = TUNNEL,
		.ports_underlay = true,
		.listen_port = htons(TUNNEL_PORT),
		.mtu = 1420,
		.tun_port = PORT_NONE,
		.udp_port = PORT_NONE,
		.source4 = {10, 9, 0, 1}};
	table.n_ports = 2;
	table.n_tunnels = TUNNEL + 1;
	table.tunnels[TUNNEL] = &tunnel;
	table.fib = fib_new(NULL, NULL);
	address_add("10.0.0.1/24", PLAIN_PORT, 0);
	address_add("2001:db8::1/64", PLAIN_PORT, 0);
	address_add("10.7.0.1/24", PLAIN_PORT, 7);
	address_add("10.1.0.1/24", MIRROR_PORT, 0);
}

static inline void worker_start(void)
{
	char name[RTE_RING_NAMESIZE];

	worker.id = 0;
	worker.now = 1000000000;
	worker.pool = pool;
	worker.table = &table;
	for (unsigned i = 0; i < PUNT_CLASSES; i++) {
		snprintf(name, sizeof(name), "punt-%u", i);
		worker.punts[i] = rte_ring_create(name, 64, SOCKET_ID_ANY, 0);
	}
}

static inline void fixture_start(void)
{
	dpdk_start();
	tables_start();
	worker_start();
}

/* ---- packets --------------------------------------------------------------------------------- */

static inline struct rte_mbuf *packet_new(const void *bytes, size_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	struct packet *p;
	char *to = m ? rte_pktmbuf_append(m, (uint16_t)len) : NULL;

	if (!to)
		errx(1, "no packet of %zu bytes", len);
	memcpy(to, bytes, len);
	p = packet_of(m);
	memset(p, 0, sizeof(*p));
	p->kind = PACKET_ETHER;
	p->in_port = PLAIN_PORT;
	p->out_port = PORT_NONE;
	p->tunnel = TUNNEL_NONE;
	p->peer = PEER_NONE;
	return m;
}

static inline struct rte_mbuf *punted(enum punt_class class)
{
	void *m = NULL;

	return rte_ring_sc_dequeue(worker.punts[class], &m) == 0 ? m : NULL;
}

/* Runs one packet through a node; *m may become another packet. */
static inline uint16_t run(const struct graph_node *node, struct rte_mbuf **m)
{
	uint16_t verdict;

	node->process(&worker, m, &verdict, 1);
	return verdict;
}

/* Name of the verdict: of the next graph node, of the drop, or "taken". */
static inline const char *verdict_name(const struct graph_node *node, uint16_t verdict)
{
	if (verdict == VERDICT_TAKEN)
		return "taken";
	return VERDICT_IS_DROP(verdict) ? node->drops[verdict & 0x7fff].name : node->next[verdict];
}

/* ---- headers: each writes at `at` and returns its length --------------------------------------
 */

static inline size_t put_ether(
	uint8_t *at, const uint8_t *dst, const uint8_t *src, uint16_t vlan, uint16_t type)
{
	size_t len = 12;

	memcpy(at, dst, 6);
	memcpy(at + 6, src, 6);
	if (vlan) {
		at[len++] = 0x81;
		at[len++] = 0x00;
		at[len++] = (uint8_t)(vlan >> 8);
		at[len++] = (uint8_t)vlan;
	}
	at[len++] = (uint8_t)(type >> 8);
	at[len++] = (uint8_t)type;
	return len;
}

static inline void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static inline void ip4_sum(uint8_t *ip)
{
	put16(ip + 10, 0);
	put16(ip + 10, ip_sum_fold(ip_sum(ip, (ip[0] & 15) * 4u, 0)));
}

/* `fragment`: the field with flags and offset. */
static inline size_t put_ip4(uint8_t *ip, const char *src, const char *dst, uint8_t protocol,
	uint16_t fragment, size_t payload)
{
	memset(ip, 0, 20);
	ip[0] = 0x45;
	put16(ip + 2, (uint32_t)(20 + payload));
	put16(ip + 4, 0x1234);
	put16(ip + 6, fragment);
	ip[8] = 64;
	ip[9] = protocol;
	inet_pton(AF_INET, src, ip + 12);
	inet_pton(AF_INET, dst, ip + 16);
	ip4_sum(ip);
	return 20;
}

static inline size_t put_ip6(
	uint8_t *ip, const char *src, const char *dst, uint8_t protocol, size_t payload)
{
	memset(ip, 0, 40);
	ip[0] = 0x60;
	put16(ip + 4, (uint32_t)payload);
	ip[6] = protocol;
	ip[7] = 64;
	inet_pton(AF_INET6, src, ip + 8);
	inet_pton(AF_INET6, dst, ip + 24);
	return 40;
}

/* Header and payload; the IP header before it must be there for the checksum. */
static inline size_t put_udp(uint8_t *udp, const uint8_t *ip, uint16_t sport, uint16_t dport,
	const void *payload, size_t len)
{
	struct ip_info info = {.family = ip[0] >> 4 == 4 ? AF_INET : AF_INET6};
	uint32_t size = (uint32_t)(8 + len), address = info.family == AF_INET ? 12 : 8;

	info.source = ip + address;
	info.destination = ip + address + (info.family == AF_INET ? 4 : 16);
	put16(udp, sport);
	put16(udp + 2, dport);
	put16(udp + 4, size);
	put16(udp + 6, 0);
	memcpy(udp + 8, payload, len);
	put16(udp + 6, ip_sum_fold(ip_sum(udp, size, ip_pseudo_sum(&info, IPPROTO_UDP, size))));
	return size;
}

/* A whole frame with a datagram to `dst`. */
static inline size_t put_frame(uint8_t *frame, const uint8_t *mac, uint16_t vlan, const char *src,
	const char *dst, uint16_t dport, const void *payload, size_t len)
{
	bool v4 = !strchr(dst, ':');
	size_t at = put_ether(frame, mac, their_mac, vlan, v4 ? 0x0800 : 0x86dd), ip = at;

	at += v4 ? put_ip4(frame + at, src, dst, IPPROTO_UDP, 0, 8 + len)
		 : put_ip6(frame + at, src, dst, IPPROTO_UDP, 8 + len);
	return at + put_udp(frame + at, frame + ip, 40000, dport, payload, len);
}
