/* SPDX-License-Identifier: BSD-3-Clause */
/* What workers do in the two ports (traffic.h): packets that come, and where they end. */
#include "traffic_private.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <rte_cycles.h>
#include <rte_mbuf_dyn.h>

#include "aead.h"
#include "clock.h"
#include "worker.h"

#define PREPARE_BATCH 64
#define HEADERS \
	(sizeof(struct rte_ether_hdr) + sizeof(struct rte_ipv4_hdr) + sizeof(struct rte_udp_hdr))

struct traffic traffic;

static struct mark *mark_of(struct rte_mbuf *m)
{
	return RTE_MBUF_DYNFIELD(m, traffic.mark_offset, struct mark *);
}

/* ---- figures --------------------------------------------------------------------------------- */

static unsigned bucket_of(uint64_t ticks)
{
	unsigned power = ticks < TRAFFIC_STEPS ? 0 : 63 - __builtin_clzll(ticks) - 4;
	unsigned bucket = power * TRAFFIC_STEPS / 2 + (unsigned)(ticks >> power);

	return bucket < TRAFFIC_BUCKETS ? bucket : TRAFFIC_BUCKETS - 1;
}

/* The upper end of a bucket. */
static double bucket_end(unsigned bucket)
{
	unsigned power = bucket < TRAFFIC_STEPS ? 0 : bucket / (TRAFFIC_STEPS / 2) - 1;

	return ldexp((double)(bucket - power * TRAFFIC_STEPS / 2 + 1), (int)power);
}

double traffic_percentile(const uint64_t latencies[static TRAFFIC_BUCKETS], double p)
{
	uint64_t total = 0, seen = 0;

	for (unsigned i = 0; i < TRAFFIC_BUCKETS; i++)
		total += latencies[i];
	for (unsigned i = 0; i < TRAFFIC_BUCKETS; i++) {
		seen += latencies[i];
		if (total && (double)seen >= p * (double)total)
			return bucket_end(i);
	}
	return 0;
}

double traffic_mean_size(unsigned size)
{
	return size ? size : (7 * 64 + 4 * 576 + 1420) / 12.;
}

static unsigned size_next(struct prng *prng)
{
	uint32_t n;

	if (traffic.run.size)
		return traffic.run.size;
	n = prng_below(prng, 12);
	return n < 7 ? 64 : n < 11 ? 576 : 1420;
}

static uint64_t thread_switches(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return (uint64_t)usage.ru_nivcsw;
}

static uint64_t drops_of(const struct worker *w)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < DROPS_MAX; i++)
		sum += w->counters.drops[i];
	return sum;
}

/* ---- packets --------------------------------------------------------------------------------- */

void traffic_template(struct frame *f, uint32_t from, uint32_t to, const struct port *port)
{
	static const uint8_t neighbour[6] = {2, 0, 0, 0, 9, 9};

	memset(f, 0, sizeof(*f));
	memcpy(&f->ether.dst_addr, port->mac, 6);
	memcpy(&f->ether.src_addr, neighbour, 6);
	f->ether.ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
	f->ip.version_ihl = 0x45;
	f->ip.time_to_live = 64;
	f->ip.next_proto_id = IPPROTO_UDP;
	f->ip.src_addr = rte_cpu_to_be_32(from);
	f->ip.dst_addr = rte_cpu_to_be_32(to);
	f->udp.src_port = rte_cpu_to_be_16(TRAFFIC_LISTEN_PORT);
	f->udp.dst_port = rte_cpu_to_be_16(TRAFFIC_LISTEN_PORT);
}

/* The words of an IP header that differ from packet to packet are added to those that do not. */
static void lengths_set(struct frame *f, unsigned ip_len)
{
	uint32_t source = f->ip.src_addr, destination = f->ip.dst_addr, sum;

	f->ip.total_length = rte_cpu_to_be_16((uint16_t)ip_len);
	f->udp.dgram_len = rte_cpu_to_be_16((uint16_t)(ip_len - sizeof(f->ip)));
	sum = traffic.template_sum + f->ip.total_length + (source & 0xffff) + (source >> 16) +
	      (destination & 0xffff) + (destination >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	f->ip.hdr_checksum = (uint16_t) ~(sum + (sum >> 16));
}

/* As a driver leaves it: a frame of `len` bytes, its checksums found good by the NIC. */
static char *frame_begin(struct rte_mbuf *m, unsigned len, const struct port *port)
{
	struct packet *p = packet_of(m);

	m->data_off = RTE_PKTMBUF_HEADROOM;
	m->data_len = (uint16_t)len;
	m->pkt_len = len;
	m->ol_flags = RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	p->kind = PACKET_ETHER;
	p->flags = 0;
	p->in_port = port->index;
	p->vlan = 0;
	p->tunnel = TUNNEL_NONE;
	p->peer = PEER_NONE;
	return rte_pktmbuf_mtod(m, char *);
}

static void plain_make(struct generator *g, struct rte_mbuf *m, const struct port *port)
{
	unsigned size = size_next(&g->prng);
	struct frame *f = (struct frame *)frame_begin(m, size + RTE_ETHER_HDR_LEN, port);

	*f = g->template;
	f->ip.dst_addr =
		rte_cpu_to_be_32(TRAFFIC_PEER_NET + prng_below(&g->prng, traffic.run.n_peers));
	lengths_set(f, size);
}

/* ---- sealed packets, made in advance --------------------------------------------------------- */

static uint32_t peer_next(struct generator *g, unsigned worker)
{
	/* an outer flow comes to one queue: the peers are dealt out */
	uint32_t mine = (traffic.run.n_peers - worker + traffic.n - 1) / traffic.n;

	return prng_below(&g->prng, mine) * traffic.n + worker;
}

static void sealed_make(struct generator *g, struct rte_mbuf *m, uint32_t number,
	const struct port *port, struct aead_item *item)
{
	struct traffic_peer *peer = &traffic.world->peers[number];
	unsigned size = size_next(&g->prng), padded = RTE_ALIGN_CEIL(size, 16u);
	unsigned text = size > 1420 || padded > 1420 ? size : padded;
	unsigned len = (unsigned)(HEADERS + sizeof(struct message_data)) + text + AEAD_TAG_LEN;
	char *at = frame_begin(m, len, port);
	struct frame *outer = (struct frame *)at, inner;
	struct message_data *message = (struct message_data *)(at + HEADERS);

	*outer = g->template;
	outer->ip.src_addr = rte_cpu_to_be_32(TRAFFIC_ENDPOINT_NET + number);
	lengths_set(outer, len - RTE_ETHER_HDR_LEN);
	message->type = le32_make(MESSAGE_DATA);
	message->receiver_index = le32_make(peer->receiver_index);
	message->counter = le64_make(peer->counter++);
	traffic_template(&inner, TRAFFIC_PEER_NET + number, TRAFFIC_HOST, port);
	lengths_set(&inner, size);
	memcpy(message->encrypted, &inner.ip, sizeof(inner) - sizeof(inner.ether));
	*item = (struct aead_item){
		.key = &peer->key, .src = {{message->encrypted, text}}, .dst = message->encrypted};
	memcpy(item->nonce, &message->counter, sizeof(item->nonce));
}

static void prepare(struct worker *w, struct generator *g, const struct port *port)
{
	struct aead_item items[PREPARE_BATCH];
	uint64_t before = rte_rdtsc();

	g->head = 0;
	while (g->count + PREPARE_BATCH <= traffic.world->ring) {
		if (rte_pktmbuf_alloc_bulk(w->pool, g->ring + g->count, PREPARE_BATCH))
			break;
		for (unsigned i = 0; i < PREPARE_BATCH; i++)
			sealed_make(g, g->ring[g->count + i], peer_next(g, w->id), port, &items[i]);
		aead_seal(items, PREPARE_BATCH);
		g->count += PREPARE_BATCH;
	}
	before = rte_rdtsc() - before;
	g->stats.prepare += before;
	g->started += before;
}

/* ---- a run, as a worker sees it -------------------------------------------------------------- */

/* A worker's core is its own where this runs for good; here it is for the time of a run, if the
 * system lets us. */
static void core_keep(bool keep)
{
	struct sched_param param = {.sched_priority = keep ? 1 : 0};

	pthread_setschedparam(pthread_self(), keep ? SCHED_FIFO : SCHED_OTHER, &param);
}

static void generator_begin(struct worker *w, struct generator *g)
{
	memset(&g->stats, 0, sizeof(g->stats));
	core_keep(true);
	g->drops_before = drops_of(w);
	g->cpu_before = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	g->wall_before = clock_ns(CLOCK_MONOTONIC);
	g->switches_before = thread_switches();
	g->highest = 0;
	g->due_exact = 0;
	g->offering = false;
}

/* Whether all workers are in the run. Until then the core of one that is to help may be another
 * thread's, which is no part of what is measured. */
static bool all_begun(uint64_t wanted)
{
	for (unsigned i = 0; i < traffic.world->n_workers; i++)
		if (atomic_load_explicit(&traffic.begun[i], memory_order_relaxed) != wanted)
			return false;
	return true;
}

static void generator_end(struct worker *w, struct generator *g)
{
	g->stats.ticks = g->last_sunk - g->started;
	g->stats.dropped = drops_of(w) - g->drops_before;
	g->stats.cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - g->cpu_before;
	g->stats.wall_ns = clock_ns(CLOCK_MONOTONIC) - g->wall_before;
	g->stats.switches = thread_switches() - g->switches_before;
	core_keep(false);
}

/* How many packets are due, up to `max`; what a full ring would have lost is counted. */
static unsigned due_now(struct generator *g, uint64_t now, unsigned max)
{
	double backlog;

	if (traffic.run.rate <= 0)
		return max;
	backlog = (double)(now - g->started) * traffic.run.rate - g->due_exact;
	if (backlog > traffic.world->ring) {
		double lost = floor(backlog - traffic.world->ring);

		g->stats.missed += (uint64_t)lost;
		g->due_exact += lost;
		backlog -= lost;
	}
	return backlog < max ? (unsigned)backlog : max;
}

static unsigned take(struct generator *g, struct rte_mbuf **pkts, unsigned n)
{
	n = RTE_MIN(n, g->count);
	for (unsigned i = 0; i < n; i++) {
		pkts[i] = g->ring[g->head];
		g->head = g->head + 1 == traffic.world->ring ? 0 : g->head + 1;
	}
	g->count -= n;
	return n;
}

/* For sealing: the ring holds empty buffers, the oldest first, as a NIC's does. */
static unsigned plain_take(struct worker *w, struct generator *g, const struct port *port,
	struct rte_mbuf **pkts, unsigned n)
{
	while (g->count < traffic.world->ring) {
		unsigned tail = (g->head + g->count) % traffic.world->ring;
		unsigned room = RTE_MIN(traffic.world->ring - g->count, traffic.world->ring - tail);

		if (rte_mempool_get_bulk(w->pool, (void **)&g->ring[tail], room))
			break;
		g->count += room;
	}
	n = take(g, pkts, n);
	for (unsigned i = 0; i < n; i++)
		plain_make(g, pkts[i], port);
	return n;
}

static bool under_way(const struct worker *w, const struct generator *g)
{
	return g->stats.offered != g->stats.sunk &&
	       g->stats.offered != g->stats.sunk + drops_of(w) - g->drops_before;
}

static unsigned sealed_take(struct worker *w, struct generator *g, const struct port *port,
	struct rte_mbuf **pkts, unsigned n)
{
	if (!g->count) {
		if (under_way(w, g))
			return 0;
		prepare(w, g, port);
	}
	return take(g, pkts, n);
}

static unsigned offer(struct worker *w, struct generator *g, const struct port *port,
	struct rte_mbuf **pkts, unsigned n)
{
	uint64_t now;

	n = traffic.run.way == TRAFFIC_SEAL ? plain_take(w, g, port, pkts, n)
					    : sealed_take(w, g, port, pkts, n);
	now = rte_rdtsc();
	for (unsigned i = 0; i < n; i++) {
		struct mark *mark = mark_of(pkts[i]);

		mark->number = ++g->stats.offered;
		g->due_exact += 1; /* due once due_now sees a whole packet more */
		mark->due = traffic.run.rate > 0
				    ? g->started + (uint64_t)(g->due_exact / traffic.run.rate)
				    : now;
	}
	return n;
}

/* ---- handshakes among it --------------------------------------------------------------------- */

static void arrival_make(struct rte_mbuf *m, unsigned number, const struct port *port)
{
	const struct traffic_arrivals *arrivals = traffic.run.arrivals;
	unsigned len = HEADERS + sizeof(arrivals->messages[0]);
	struct frame *f = (struct frame *)frame_begin(m, len, port);

	traffic_template(
		f, TRAFFIC_ENDPOINT_NET + number % arrivals->n_peers, TRAFFIC_OUTSIDE, port);
	lengths_set(f, len - RTE_ETHER_HDR_LEN);
	memcpy((char *)f + HEADERS, &arrivals->messages[number], sizeof(arrivals->messages[0]));
}

/* Those that are due, while a run goes on. */
static unsigned arrivals_take(
	struct worker *w, const struct port *port, struct rte_mbuf **pkts, unsigned max)
{
	const struct traffic_arrivals *arrivals = traffic.run.arrivals;
	const struct generator *g = traffic.generators[traffic.run.way][w->id];
	unsigned n = 0;

	while (n < max && traffic.arrived < arrivals->n &&
		rte_rdtsc() - g->started > traffic.arrived * arrivals->gap_ticks) {
		pkts[n] = rte_pktmbuf_alloc(w->pool);
		if (!pkts[n])
			break;
		arrival_make(pkts[n++], traffic.arrived++, port);
	}
	return n;
}

static bool arrivals_expected(const struct worker *w, const struct port *port, uint64_t wanted)
{
	return traffic.run.arrivals && w->id == 0 && port->private == &traffic.outside &&
	       wanted == atomic_load_explicit(&traffic.begun[0], memory_order_relaxed);
}

/* A worker without a generator: its core is kept for it too, since it may help the others. */
static void watch(struct worker *w, struct generator *g, uint64_t wanted)
{
	if (wanted != atomic_load_explicit(&traffic.begun[w->id], memory_order_relaxed)) {
		memset(&g->stats, 0, sizeof(g->stats));
		core_keep(true);
		g->switches_before = thread_switches();
		atomic_store_explicit(&traffic.begun[w->id], wanted, memory_order_relaxed);
	}
	for (unsigned i = 0; i < traffic.n; i++)
		if (atomic_load_explicit(&traffic.finished[i], memory_order_acquire) != wanted)
			return;
	g->stats.switches = thread_switches() - g->switches_before;
	core_keep(false);
	/* said only now, so that the run is not changed under a worker */
	atomic_store_explicit(&traffic.finished[w->id], wanted, memory_order_release);
}

#define GAP_US 1 /* no round of ideal_run takes so long by itself */

/* The packets that came due by `now`, each served after the one before; returns when the last is.
 */
static double ideal_serve(struct generator *g, uint64_t now, double served)
{
	double due = (double)(now - g->started) * traffic.run.rate;

	for (; g->due_exact + 1 <= due; g->due_exact += 1, g->stats.offered++) {
		served = RTE_MAX(served, (double)(now - g->started)) + traffic.run.ideal;
		g->stats.latencies[bucket_of(
			(uint64_t)(served - (g->due_exact + 1) / traffic.run.rate))]++;
	}
	return served;
}

/* All of a run of an ideal worker, in one go: it stands still when this loop does. */
static void ideal_run(struct generator *g)
{
	uint64_t now, before = g->started, gap = rte_get_tsc_hz() / 1000000 * GAP_US;
	double served = 0; /* ticks since the start: all that came so far has left */

	for (; (now = rte_rdtsc()) - g->started < traffic.run.ticks; before = now) {
		if (now - before > gap && served > (double)(before - g->started))
			served += (double)(now - before);
		served = ideal_serve(g, now, served);
	}
	g->stats.sunk = g->stats.offered;
	g->last_sunk = now;
}

static uint16_t traffic_rx(
	struct worker *w, struct port_queue *q, struct rte_mbuf **pkts, uint16_t max)
{
	struct port_private *private = q->port->private;
	struct generator *g = private->source[w->id];
	/* pairs with the release store in traffic_start */
	uint64_t wanted = atomic_load_explicit(&traffic.wanted, memory_order_acquire);
	uint64_t now = rte_rdtsc(), prepared;
	unsigned n = 0;

	if (wanted == atomic_load_explicit(&traffic.finished[w->id], memory_order_relaxed))
		return 0;
	if (arrivals_expected(w, q->port, wanted))
		n = arrivals_take(w, q->port, pkts, max);
	if (n > 0 || g != traffic.generators[traffic.run.way][w->id])
		return (uint16_t)n;
	if (w->id >= traffic.n) {
		watch(w, g, wanted);
		return 0;
	}
	if (wanted != atomic_load_explicit(&traffic.begun[w->id], memory_order_relaxed)) {
		generator_begin(w, g);
		atomic_store_explicit(&traffic.begun[w->id], wanted, memory_order_relaxed);
	}
	if (!g->offering) {
		g->offering = all_begun(wanted);
		now = g->started = g->last_sunk = rte_rdtsc();
		if (g->offering && traffic.run.ideal > 0) {
			ideal_run(g);
			now = rte_rdtsc();
		}
	}
	if (!g->offering)
		return 0;
	prepared = g->stats.prepare;
	if (now - g->started < traffic.run.ticks) {
		n = offer(w, g, q->port, pkts, due_now(g, now, max));
	} else if (!under_way(w, g) || now - g->started > traffic.run.ticks + rte_get_tsc_hz()) {
		generator_end(w, g);
		/* pairs with the acquire load in traffic_done */
		atomic_store_explicit(&traffic.finished[w->id], wanted, memory_order_release);
		return 0;
	}
	g->stats.rx_ticks += rte_rdtsc() - now - (g->stats.prepare - prepared);
	return (uint16_t)n;
}

static uint16_t traffic_tx(
	struct worker *w, struct port_queue *q, struct rte_mbuf **pkts, uint16_t n)
{
	struct port_private *private = q->port->private;
	struct generator *g = private->sink[w->id];
	uint64_t now = rte_rdtsc();
	/* Ethernet, then IP alone, or also UDP and WireGuard */
	unsigned overhead = g == traffic.generators[TRAFFIC_SEAL][w->id]
				    ? HEADERS + sizeof(struct message_data) + AEAD_TAG_LEN
				    : RTE_ETHER_HDR_LEN;

	for (unsigned i = 0; i < n; i++) {
		const struct mark *mark = mark_of(pkts[i]);

		if (pkts[i]->pool != w->pool) /* control's: a handshake message, a keep-alive */
			continue;
		g->stats.reordered += mark->number < g->highest;
		g->highest = mark->number;
		g->stats.sunk++;
		g->stats.sunk_bytes += pkts[i]->pkt_len - overhead;
		if (traffic.run.latencies)
			g->stats.latencies[bucket_of(now - mark->due)]++;
	}
	rte_pktmbuf_free_bulk(pkts, n);
	g->last_sunk = rte_rdtsc();
	g->stats.tx_ticks += g->last_sunk - now;
	return n;
}

static void traffic_close(struct port *port)
{
	free(port);
}

const struct port_ops traffic_ops = {.rx = traffic_rx, .tx = traffic_tx, .close = traffic_close};
