/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `icmp_error` turns a packet that cannot go on into the ICMP error about it: type, code and MTU
 * are in struct packet. Runs on workers. Errors are few by rule (RFC 1812, 4.3.2.8): a token bucket
 * per worker.
 */
#include <stdint.h>
#include <sys/socket.h>

#include "fib.h"
#include "icmp.h"
#include "nodes.h"
#include "tunnel.h"

#define ERRORS_PER_SECOND 100
#define ERRORS_BURST 50
#define NS_PER_ERROR (1000000000ull / ERRORS_PER_SECOND)

enum { ICMP_ERROR_ROUTE };

enum { DROP_NOT_ALLOWED, DROP_RATE, DROP_NO_SOURCE, DROP_NO_ROOM, DROP_MALFORMED };

static const struct drop_reason icmp_error_drops[] = {
	{"icmp_error_not_allowed",
		"about ICMP errors, multicast and later fragments no error is told (RFC 1122)"},
	{"icmp_error_rate", "more than 100 ICMP errors a second on one worker"},
	{"icmp_error_no_source", "no address of ours on the side that the packet came from"},
	{"icmp_error_no_room", "no head room for the ICMP header"},
	{"icmp_error_malformed", "a packet that could not go on and is no sound IP packet either"},
	{NULL, NULL},
};

/* Written and read by the worker of that number only. */
static struct bucket {
	uint64_t full_at; /* ns; the bucket lacks (full_at - now) / NS_PER_ERROR errors */
} __rte_cache_aligned buckets[WORKER_MAX];

static bool bucket_take(struct bucket *b, uint64_t now)
{
	uint64_t full_at = b->full_at > now ? b->full_at : now;

	if (full_at + NS_PER_ERROR > now + ERRORS_BURST * NS_PER_ERROR)
		return false;
	b->full_at = full_at + NS_PER_ERROR;
	return true;
}

/* Ours on the side that the packet came from: its sender should see the hop that it used. */
static bool source_find(const struct worker *w, const struct packet *p, int family,
	const uint8_t *sender, uint8_t out[16])
{
	const struct port *in = p->in_port < PORT_MAX ? w->table->ports[p->in_port] : NULL;
	uint32_t tunnel = p->flags & PACKET_FROM_TUNNEL ? p->tunnel : TUNNEL_NONE;
	const struct fib *fib = w->table->fib;

	if (in && in->type == PORT_TUN)
		tunnel = in->tunnel;
	if (tunnel_source(w->table, tunnel, family, out))
		return true;
	if (!fib)
		return false;
	return fib_source_for(fib,
		       family == AF_INET ? fib_lookup4(fib, sender) : fib_lookup6(fib, sender),
		       family, out) ||
	       fib_source(fib, p->in_port, p->vlan, TUNNEL_NONE, family, out) ||
	       fib_source(fib, p->out_port, p->vlan, TUNNEL_NONE, family, out);
}

static uint16_t icmp_error_one(struct worker *w, struct rte_mbuf *m)
{
	static const uint16_t faults[] = {
		[ICMP_NOT_ABOUT_THIS] = VERDICT_DROP(DROP_NOT_ALLOWED),
		[ICMP_BROKEN] = VERDICT_DROP(DROP_MALFORMED),
		[ICMP_NO_ROOM] = VERDICT_DROP(DROP_NO_ROOM),
	};
	struct packet *p = packet_of(m);
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	enum icmp_fault fault = icmp_error_allowed(ip, m->data_len);
	uint8_t source[16];
	bool v4;

	if (p->flags & PACKET_LOCAL)
		return VERDICT_DROP(DROP_NOT_ALLOWED);
	if (fault != ICMP_MADE)
		return faults[fault];
	v4 = ip[0] >> 4 == 4;
	if (!source_find(w, p, v4 ? AF_INET : AF_INET6, ip + (v4 ? 12 : 8), source))
		return VERDICT_DROP(DROP_NO_SOURCE);
	if (!bucket_take(&buckets[w->id], w->now))
		return VERDICT_DROP(DROP_RATE);
	fault = icmp_error_make(
		m, &(struct icmp_error){
			   .type = p->reason, .code = p->code, .mtu = p->mtu, .source = source});
	if (fault != ICMP_MADE)
		return faults[fault];
	p->flags = PACKET_LOCAL | (p->flags & PACKET_FROM_TUNNEL);
	return ICMP_ERROR_ROUTE;
}

static void icmp_error_process(
	struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++)
		verdicts[i] = icmp_error_one(w, pkts[i]);
}

const struct graph_node node_icmp_error = {
	.name = "icmp_error",
	.help = "tells the sender why its packet cannot go on",
	.process = icmp_error_process,
	.next = (const char *const[]){"route", NULL},
	.drops = icmp_error_drops,
};
