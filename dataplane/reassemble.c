/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * `reassemble` joins fragments of outer datagrams to this host, so that a tunnel works over a path
 * with a smaller MTU than its ends believe. Runs on workers; each has its own table.
 *
 * A datagram is a list of fragments sorted by offset. When all bytes are there, the payloads are
 * copied behind that of the first fragment, whose frame then goes back to `classify` as if it had
 * come whole. Bounds: datagrams and fragments per worker, fragments per datagram, two seconds. When
 * a bound is reached the oldest datagram goes: whoever floods with fragments must fill the table
 * faster than the two halves of an honest datagram follow each other.
 *
 * Fragments that overlap kill their datagram (RFC 5722), exact copies are dropped alone. DPDK's
 * rte_ip_frag was not taken: it holds at most 8 fragments and does not tell why it gives up.
 */
#include "reassemble.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include <rte_malloc.h>

#include "graph.h"
#include "ip_parse.h"
#include "nodes.h"

#define DATAGRAMS 64
#define FRAGMENTS 512 /* of all datagrams of a worker */
#define FRAGMENTS_PER_DATAGRAM 16
#define TIMEOUT_NS 2000000000ull

enum { REASSEMBLE_CLASSIFY };

enum {
	DROP_MALFORMED,
	DROP_TOO_BIG,
	DROP_TOO_MANY,
	DROP_OVERLAP,
	DROP_DUPLICATE,
	DROP_TIMEOUT,
	DROP_EVICTED,
	DROPS,
};

static const struct drop_reason reassemble_drops[DROPS + 1] = {
	{"reassemble_malformed", "a fragment with an impossible length or offset"},
	{"reassemble_too_big", "fragments of a datagram that is larger than a packet buffer"},
	{"reassemble_too_many", "a datagram in more than 16 fragments"},
	{"reassemble_overlap", "fragments that overlap: an error or an attack (RFC 5722)"},
	{"reassemble_duplicate", "a fragment that was there already"},
	{"reassemble_timeout", "fragments whose others did not come within two seconds"},
	{"reassemble_evicted", "fragments that made room for those of newer datagrams"},
	{NULL, NULL},
};

struct fragment {
	struct rte_mbuf *m;
	uint16_t offset, len; /* of the payload */
	uint16_t at;          /* where the payload starts in the mbuf's data */
};

struct datagram_key {
	uint8_t source[16], destination[16];
	uint32_t id;
	uint16_t in_port, vlan;
	uint8_t family, protocol;
	uint16_t zero;
};

struct datagram {
	struct datagram_key key;
	uint64_t since;  /* ns */
	uint32_t bytes;  /* of payload that are there */
	uint32_t total;  /* of payload; 0: the last fragment has not come */
	uint16_t n;      /* 0: this entry is free */
	bool congestion; /* a fragment carried the CE mark */
	struct fragment fragments[FRAGMENTS_PER_DATAGRAM];
};

/* Written and read by its worker only. */
struct reassembly {
	unsigned n_fragments;
	struct datagram datagrams[DATAGRAMS];
};

static struct reassembly *tables[WORKER_MAX];
static unsigned drop_numbers[DROPS]; /* written before the workers start */

/* ---- the table ------------------------------------------------------------------------------ */

static void datagram_drop(
	struct worker *w, struct reassembly *table, struct datagram *d, unsigned reason)
{
	w->counters.drops[drop_numbers[reason]] += d->n;
	for (unsigned i = 0; i < d->n; i++)
		rte_pktmbuf_free(d->fragments[i].m);
	table->n_fragments -= d->n;
	d->n = 0;
}

static struct datagram *oldest(struct reassembly *table)
{
	struct datagram *found = NULL;

	for (unsigned i = 0; i < DATAGRAMS; i++) {
		struct datagram *d = &table->datagrams[i];

		if (d->n && (!found || d->since < found->since))
			found = d;
	}
	return found;
}

/* The datagram of that key, else a free entry for it; what is too old goes on the way. */
static struct datagram *datagram_get(
	struct worker *w, struct reassembly *table, const struct datagram_key *key)
{
	struct datagram *free = NULL;

	for (unsigned i = 0; i < DATAGRAMS; i++) {
		struct datagram *d = &table->datagrams[i];

		if (d->n && w->now - d->since > TIMEOUT_NS)
			datagram_drop(w, table, d, DROP_TIMEOUT);
		if (d->n && memcmp(&d->key, key, sizeof(*key)) == 0)
			return d;
		if (!d->n && !free)
			free = d;
	}
	if (!free || table->n_fragments >= FRAGMENTS) {
		free = oldest(table);
		datagram_drop(w, table, free, DROP_EVICTED);
	}
	*free = (struct datagram){.key = *key, .since = w->now};
	return free;
}

/* ---- one fragment --------------------------------------------------------------------------- */

/* Keeps the list sorted; DROPS when the fragment found its place, else why it did not. */
static unsigned fragment_insert(struct datagram *d, const struct fragment *new, bool last)
{
	uint32_t end = (uint32_t) new->offset + new->len;
	unsigned at = d->n;

	while (at > 0 && d->fragments[at - 1].offset > new->offset)
		at--;
	if (at > 0 && d->fragments[at - 1].offset == new->offset &&
		d->fragments[at - 1].len == new->len)
		return DROP_DUPLICATE;
	if (at > 0 && d->fragments[at - 1].offset + d->fragments[at - 1].len > new->offset)
		return DROP_OVERLAP;
	if (at < d->n && end > d->fragments[at].offset)
		return DROP_OVERLAP;
	if (d->total ? last || end > d->total : last && at < d->n)
		return DROP_MALFORMED; /* two ends, or something behind the end */
	if (d->n == FRAGMENTS_PER_DATAGRAM)
		return DROP_TOO_MANY;
	memmove(&d->fragments[at + 1], &d->fragments[at], (d->n - at) * sizeof(*new));
	d->fragments[at] = *new;
	d->n++;
	d->bytes += new->len;
	if (last)
		d->total = end;
	return DROPS;
}

static void be16_put(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void finish4(uint8_t *ip, uint32_t header_len, uint32_t payload, bool congestion)
{
	be16_put(ip + 2, header_len + payload);
	if (congestion)
		ip[1] |= 3;
	ip[6] &= 0x40; /* DF alone */
	ip[7] = 0;
	be16_put(ip + 10, 0);
	be16_put(ip + 10, ip_sum_fold(ip_sum(ip, header_len, 0)));
}

/* Takes the fragment header out: what is before it moves up. */
static void finish6(struct rte_mbuf *m, uint32_t l2_len, const struct ip_info *info,
	uint32_t payload, bool congestion)
{
	uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *), *ip = frame + l2_len;

	ip[info->next_at] = ip[info->fragment_at];
	be16_put(ip + 4, info->fragment_at - 40u + payload);
	if (congestion)
		ip[1] |= 0x30;
	memmove(frame + 8, frame, l2_len + info->fragment_at);
	rte_pktmbuf_adj(m, 8);
}

/* All bytes are there: joins them in the first fragment's buffer. */
static struct rte_mbuf *datagram_join(struct datagram *d)
{
	struct rte_mbuf *m = d->fragments[0].m;
	uint16_t l2_len = packet_of(m)->l2_len;
	uint8_t *ip = rte_pktmbuf_mtod_offset(m, uint8_t *, l2_len);
	struct ip_info info;

	/* the first fragment was parsed when it came */
	if (ip_parse(ip, m->data_len - l2_len, false, &info) != IP_SOUND ||
		ip_walk(ip, &info) != IP_SOUND)
		return NULL;
	rte_pktmbuf_trim(m, (uint16_t)(m->data_len - d->fragments[0].at - d->fragments[0].len));
	if (rte_pktmbuf_tailroom(m) < d->total - d->fragments[0].len)
		return NULL;
	for (unsigned i = 1; i < d->n; i++) {
		const struct fragment *f = &d->fragments[i];

		memcpy(rte_pktmbuf_append(m, f->len),
			rte_pktmbuf_mtod_offset(f->m, const uint8_t *, f->at), f->len);
	}
	if (info.family == AF_INET)
		finish4(ip, info.header_len, d->total, d->congestion);
	else
		finish6(m, l2_len, &info, d->total, d->congestion);
	m->ol_flags &= ~(RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_L4_CKSUM_MASK);
	return m;
}

static struct rte_mbuf *datagram_finish(struct reassembly *table, struct datagram *d)
{
	struct rte_mbuf *m = datagram_join(d);

	if (!m)
		return NULL;
	for (unsigned i = 1; i < d->n; i++)
		rte_pktmbuf_free(d->fragments[i].m);
	table->n_fragments -= d->n;
	d->n = 0;
	return m;
}

/* Too big for a tunnel of ours, but perhaps not for the kernel behind the port's mirror. */
static void datagram_give_up(struct worker *w, struct reassembly *table, struct datagram *d)
{
	const struct port *port =
		d->key.in_port < PORT_MAX ? w->table->ports[d->key.in_port] : NULL;
	unsigned kept = 0;

	for (unsigned i = 0; port && port->mirror && i < d->n; i++)
		if (!worker_punt(w, PUNT_MIRROR, d->fragments[i].m))
			d->fragments[kept++] = d->fragments[i];
	if (port && port->mirror) {
		table->n_fragments -= d->n - kept;
		d->n = (uint16_t)kept;
	}
	datagram_drop(w, table, d, DROP_TOO_BIG);
}

static void key_fill(struct datagram_key *key, const struct ip_info *info, const struct packet *p)
{
	size_t size = info->family == AF_INET ? 4 : 16;

	memset(key, 0, sizeof(*key));
	memcpy(key->source, info->source, size);
	memcpy(key->destination, info->destination, size);
	key->id = info->fragment_id;
	key->in_port = p->in_port;
	key->vlan = p->vlan;
	key->family = info->family;
	key->protocol = info->family == AF_INET ? info->protocol : 0;
}

static bool fragment_parse(struct rte_mbuf *m, struct ip_info *info, struct fragment *f)
{
	uint16_t l2_len = packet_of(m)->l2_len;
	const uint8_t *ip = rte_pktmbuf_mtod_offset(m, const uint8_t *, l2_len);
	uint32_t len;

	if (ip_parse(ip, m->data_len - l2_len, false, info) != IP_SOUND ||
		ip_walk(ip, info) != IP_SOUND)
		return false;
	/* IPv6: what follows the fragment header belongs to the payload, extensions too */
	if (info->family == AF_INET6)
		info->header_len = info->fragment_at + 8;
	len = info->total_len - info->header_len;
	if (!info->fragment || !len || (info->more && len % 8) || info->offset + len > UINT16_MAX)
		return false;
	*f = (struct fragment){.m = m,
		.offset = info->offset,
		.len = (uint16_t)len,
		.at = (uint16_t)(l2_len + info->header_len)};
	return true;
}

/* Verdict for *m, which may become the whole datagram. */
static uint16_t reassemble_one(struct worker *w, struct reassembly *table, struct rte_mbuf **m)
{
	struct datagram_key key;
	struct ip_info info;
	struct fragment f;
	struct datagram *d;
	unsigned fault;

	if (!fragment_parse(*m, &info, &f))
		return VERDICT_DROP(DROP_MALFORMED);
	key_fill(&key, &info, packet_of(*m));
	d = datagram_get(w, table, &key);
	fault = fragment_insert(d, &f, !info.more);
	if (fault == DROP_DUPLICATE)
		return VERDICT_DROP(fault);
	if (fault != DROPS) {
		datagram_drop(w, table, d, fault);
		return VERDICT_DROP(fault);
	}
	table->n_fragments++;
	d->congestion |= (info.tos & 3) == 3;
	if (!d->total || d->bytes < d->total)
		return VERDICT_TAKEN;
	*m = datagram_finish(table, d);
	if (*m)
		return REASSEMBLE_CLASSIFY;
	datagram_give_up(w, table, d);
	return VERDICT_TAKEN;
}

static void reassemble_process(
	struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++)
		verdicts[i] = reassemble_one(w, tables[w->id], &pkts[i]);
}

const struct graph_node node_reassemble = {
	.name = "reassemble",
	.help = "joins fragments of datagrams to this host",
	.process = reassemble_process,
	.next = (const char *const[]){"classify", NULL},
	.drops = reassemble_drops,
};

/* ---- control loop --------------------------------------------------------------------------- */

int reassemble_start(unsigned workers, struct err *err)
{
	for (unsigned i = 0; i < DROPS; i++)
		drop_numbers[i] = graph_drop_number(reassemble_drops[i].name);
	for (unsigned i = 0; i < workers && i < WORKER_MAX; i++) {
		tables[i] = calloc(1, sizeof(*tables[i]));
		if (!tables[i]) {
			reassemble_stop();
			return err_set(err, -ENOMEM, "no memory for fragments");
		}
	}
	return 0;
}

void reassemble_stop(void)
{
	for (unsigned i = 0; i < WORKER_MAX; i++) {
		for (unsigned k = 0; tables[i] && k < DATAGRAMS; k++)
			for (unsigned f = 0; f < tables[i]->datagrams[k].n; f++)
				rte_pktmbuf_free(tables[i]->datagrams[k].fragments[f].m);
		free(tables[i]);
		tables[i] = NULL;
	}
}
