/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `fragment` cuts an IPv4 packet that may be cut (RFC 791) to p->mtu. Runs on workers. A graph node
 * has one verdict per packet, so the first fragment takes the packet's place and the others wait
 * in a queue of the worker for the source `fragments`, which brings them in the next round.
 */
#include "fragment.h"

#include <string.h>
#include <sys/socket.h>

#include <rte_ip.h>

#include "ip_parse.h"
#include "nodes.h"

#define FRAGMENTS_PER_PACKET 32
#define QUEUE_MAX 512

enum { FRAGMENT_WG_OUTPUT, FRAGMENT_NEIGHBOUR };

enum { DROP_NOT_ALLOWED, DROP_TOO_MANY, DROP_NO_BUFFER, DROP_QUEUE_FULL };

static const struct drop_reason fragment_drops[] = {
	{"fragment_not_allowed", "too big for the way on, and neither IPv4 nor without DF"},
	{"fragment_too_many", "a packet that would take more than 32 fragments"},
	{"fragment_no_buffer", "no packet buffers for the fragments"},
	{"fragment_queue_full", "more fragments in one round than wait for the next"},
	{NULL, NULL},
};

/* Written and read by the worker of that number only. */
static struct fragment_queue {
	uint16_t n, done; /* those before `done` were sent on */
	struct rte_mbuf *pkts[QUEUE_MAX];
} queues[WORKER_MAX];

static uint16_t next_of(const struct rte_mbuf *m)
{
	const struct packet *p = rte_mbuf_to_priv((struct rte_mbuf *)(uintptr_t)m);

	return p->peer != PEER_NONE ? FRAGMENT_WG_OUTPUT : FRAGMENT_NEIGHBOUR;
}

/* Options that only the first fragment carries (RFC 791, 3.1) become no-operations in the others.
 */
static void options_blank(uint8_t *options, uint32_t len)
{
	enum { END = 0, NOP = 1, COPIED = 0x80 };
	uint32_t at = 0, size;

	while (at < len && options[at] != END) {
		size = options[at] == NOP ? 1 : at + 1 < len ? options[at + 1] : 0;
		if (size == 0 || (size < 2 && options[at] != NOP) || at + size > len)
			break; /* malformed: nothing behind it is copied */
		if (!(options[at] & COPIED))
			memset(options + at, NOP, size);
		at += size;
	}
	memset(options + at, NOP, len - at);
}

struct cut {
	const struct rte_mbuf *m;
	struct rte_mempool *pool;
	uint32_t header, payload, step; /* bytes; step: payload of each fragment but the last */
	uint16_t field;                 /* the packet's own offset and MF: it may be a fragment */
};

static struct rte_mbuf *cut_one(const struct cut *c, uint32_t offset)
{
	const uint8_t *old = rte_pktmbuf_mtod(c->m, const uint8_t *);
	uint32_t len = RTE_MIN(c->step, c->payload - offset);
	uint16_t more = offset + len < c->payload ? RTE_IPV4_HDR_MF_FLAG : 0;
	struct rte_mbuf *m = rte_pktmbuf_alloc(c->pool);
	struct rte_ipv4_hdr *ip;

	if (!m)
		return NULL;
	ip = (struct rte_ipv4_hdr *)rte_pktmbuf_append(m, (uint16_t)(c->header + len));
	if (!ip) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	memcpy(ip, old, c->header);
	memcpy((uint8_t *)ip + c->header, old + c->header + offset, len);
	if (offset)
		options_blank((uint8_t *)(ip + 1), c->header - sizeof(*ip));
	ip->total_length = rte_cpu_to_be_16((uint16_t)(c->header + len));
	ip->fragment_offset = rte_cpu_to_be_16((uint16_t)((c->field | more) + offset / 8));
	ip->hdr_checksum = 0;
	ip->hdr_checksum = ip_sum_fold(ip_sum((uint8_t *)ip, c->header, 0));
	ip->hdr_checksum = rte_cpu_to_be_16(ip->hdr_checksum);
	*packet_of(m) =
		*(const struct packet *)rte_mbuf_to_priv((struct rte_mbuf *)(uintptr_t)c->m);
	return m;
}

/* 0, or which drop it is. */
static uint16_t cut_plan(struct cut *c, const struct rte_mbuf *m, uint16_t mtu)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	struct ip_info info;

	if (ip_parse(ip, m->data_len, false, &info) != IP_SOUND || info.family != AF_INET ||
		ip[6] & 0x40 || mtu < info.header_len + 8)
		return VERDICT_DROP(DROP_NOT_ALLOWED);
	c->m = m;
	c->header = info.header_len;
	c->payload = info.total_len - info.header_len;
	c->step = (mtu - c->header) & ~7u;
	c->field = (uint16_t)(ip[6] << 8 | ip[7]);
	return c->payload > c->step * FRAGMENTS_PER_PACKET ? VERDICT_DROP(DROP_TOO_MANY) : 0;
}

static uint16_t fragment_one(struct worker *w, struct fragment_queue *q, struct rte_mbuf **m)
{
	struct cut c = {.pool = w->pool};
	uint16_t before = q->n, fault = cut_plan(&c, *m, packet_of(*m)->mtu);
	struct rte_mbuf *first;

	if (fault)
		return fault;
	if (q->n + (c.payload - 1) / c.step > QUEUE_MAX)
		return VERDICT_DROP(DROP_QUEUE_FULL);
	first = cut_one(&c, 0);
	for (uint32_t offset = c.step; first && offset < c.payload; offset += c.step) {
		struct rte_mbuf *further = cut_one(&c, offset);

		if (!further) {
			rte_pktmbuf_free(first);
			first = NULL;
			break;
		}
		q->pkts[q->n++] = further;
	}
	if (!first) {
		while (q->n > before)
			rte_pktmbuf_free(q->pkts[--q->n]);
		return VERDICT_DROP(DROP_NO_BUFFER);
	}
	rte_pktmbuf_free(*m);
	*m = first;
	return next_of(first);
}

static void fragment_process(
	struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++)
		verdicts[i] = fragment_one(w, &queues[w->id], &pkts[i]);
}

const struct graph_node node_fragment = {
	.name = "fragment",
	.help = "cuts IPv4 packets that are too big for the way on and may be cut",
	.process = fragment_process,
	.next = (const char *const[]){"wg_output", "neighbour", NULL},
	.drops = fragment_drops,
};

static uint16_t fragments_poll(
	struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t max)
{
	struct fragment_queue *q = &queues[w->id];
	uint16_t n = RTE_MIN(max, q->n - q->done);

	for (uint16_t i = 0; i < n; i++) {
		pkts[i] = q->pkts[q->done++];
		verdicts[i] = next_of(pkts[i]);
	}
	if (q->done == q->n)
		q->n = q->done = 0;
	return n;
}

const struct graph_node node_fragments = {
	.name = "fragments",
	.help = "brings the further fragments of packets that were cut",
	.poll = fragments_poll,
	.next = (const char *const[]){"wg_output", "neighbour", NULL},
};

void fragment_stop(void)
{
	for (unsigned i = 0; i < WORKER_MAX; i++) {
		struct fragment_queue *q = &queues[i];

		while (q->done < q->n)
			rte_pktmbuf_free(q->pkts[q->done++]);
		q->n = q->done = 0;
	}
}
