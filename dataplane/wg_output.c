/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `wg_output` seals inner packets for their peer: counters for a run of one key with one atomic
 * add, header, padding, one AEAD call for the burst. Packets of a peer without a key go up to
 * control, which holds them until the handshake is done. Runs on workers; a flow stays on the
 * worker that received it, so its counters grow in its order.
 *
 * Under load bursts with their headers go through a FIFO of work.h, so that idle workers seal some
 * of them: `sealed` is where they come out, in order.
 */
#include "aead.h"
#include "capture.h"
#include "ecn.h"
#include "fib.h"
#include "messages.h"
#include "nodes.h"
#include "tunnel.h"
#include "work.h"
#include "workers.h"

enum { WG_OUTPUT_TX, WG_OUTPUT_OUTER };

enum {
	DROP_NO_PEER,
	DROP_NO_KEY,
	DROP_STAGED_FULL,
	DROP_NO_ENDPOINT,
	DROP_NO_ROOM,
	DROP_WORK_FULL,
};

static const struct drop_reason wg_output_drops[] = {
	{"wg_output_no_peer", "the peer was removed while the packet was on its way"},
	{"wg_output_no_key", "no session with the peer, and the packet had waited for one before"},
	{"wg_output_staged_full", "no session with the peer, and the hand-over to control is full"},
	{"wg_output_no_endpoint", "the peer's endpoint is not known yet"},
	{"wg_output_no_room", "the packet leaves no room for padding and tag in its buffer"},
	{"wg_output_work_full", "more came than this worker and those that help it could seal"},
	{NULL, NULL},
};

/* What a burst needs of its peers, read while there is other work to do. */
struct target {
	struct send_key *key;
	struct peer_path *path;
};

/* A margin of more than what all workers can take at once: the counter never passes it. */
static inline bool key_usable(const struct worker *w, const struct send_key *key)
{
	return key && w->now < key->expires &&
	       atomic_load_explicit(&key->counter, memory_order_relaxed) <
		       REJECT_AFTER_MESSAGES - WORKER_MAX * NODE_BURST_MAX;
}

/* Tells control of what it has not been told since it cleared the flag. */
static __rte_noinline void tell(
	struct worker *w, struct peer_slot *slot, uint32_t peer, uint32_t flag, uint32_t type)
{
	struct worker_event event = {.type = type, .peer = peer};

	/* Partner: control clears the flag when what it stands for is over. */
	if (atomic_fetch_or(&slot->flags, flag) & flag)
		return;
	event.generation = atomic_load_explicit(&slot->generation, memory_order_relaxed);
	if (!worker_event(w, &event))
		atomic_fetch_and(&slot->flags, ~flag);
}

static inline void rekey_when_due(
	struct worker *w, struct peer_slot *slot, uint32_t peer, struct send_key *key)
{
	uint64_t counter = atomic_load_explicit(&key->counter, memory_order_relaxed);

	if ((w->now >= key->rekey_at || counter >= REKEY_AFTER_MESSAGES) &&
		!atomic_exchange_explicit(&key->rekey_asked, true, memory_order_relaxed))
		tell(w, slot, peer, PEER_WANTED, EVENT_WANT_HANDSHAKE);
}

/* The first data since something authentic came: from here on control waits for an answer. */
static __rte_noinline void data_begins(struct worker *w, struct peer_slot *slot, uint32_t peer)
{
	atomic_store_explicit(&slot->data_sent_since, w->now, memory_order_relaxed);
	if (!(atomic_load_explicit(&slot->flags, memory_order_relaxed) & PEER_ACTIVE))
		tell(w, slot, peer, PEER_ACTIVE, EVENT_ACTIVE);
}

static inline void sent(struct worker *w, struct peer_slot *slot, uint32_t peer, bool data)
{
	if (atomic_load_explicit(&slot->data_received_since, memory_order_relaxed))
		atomic_store_explicit(&slot->data_received_since, 0, memory_order_relaxed);
	if (data && !atomic_load_explicit(&slot->data_sent_since, memory_order_relaxed))
		data_begins(w, slot, peer);
}

static uint16_t stage(struct worker *w, struct rte_mbuf *m)
{
	if (!m->pkt_len || packet_of(m)->flags & PACKET_HELD)
		return VERDICT_DROP(DROP_NO_KEY);
	return worker_punt(w, PUNT_STAGED, m) ? VERDICT_TAKEN : VERDICT_DROP(DROP_STAGED_FULL);
}

static __rte_noinline void stage_all(
	struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++)
		verdicts[i] = stage(w, pkts[i]);
}

/* To a multiple of 16, but never beyond the tunnel's MTU: what a full packet would be. */
static inline uint32_t padding_of(uint32_t len, uint32_t mtu)
{
	uint32_t last = mtu && len > mtu ? len % mtu : len;
	uint32_t padded = RTE_ALIGN_CEIL(last, 16u);

	return RTE_MIN(padded, mtu ? mtu : padded) - last;
}

/* Appends padding and room for the tag, prepends room for the header. */
static inline bool room_make(struct rte_mbuf *m, uint32_t mtu)
{
	uint32_t more = padding_of(m->data_len, mtu) + AEAD_TAG_LEN;

	if (rte_pktmbuf_tailroom(m) < more || rte_pktmbuf_headroom(m) < sizeof(struct message_data))
		return false;
	/* padding is less than a tag, which overwrites the rest */
	memset(rte_pktmbuf_mtod_offset(m, char *, m->data_len), 0, AEAD_TAG_LEN);
	more += sizeof(struct message_data);
	m->data_off -= sizeof(struct message_data);
	m->data_len = (uint16_t)(m->data_len + more);
	m->pkt_len += more;
	return true;
}

static __rte_noinline uint32_t hop_ask(
	const struct fib *fib, struct peer_path *path, uint32_t generation)
{
	uint32_t hop = path->path.family == AF_INET ? fib_lookup4(fib, path->path.remote)
						    : fib_lookup6(fib, path->path.remote);

	atomic_store_explicit(
		&path->hop, (uint64_t)generation << 32 | (hop + 1), memory_order_relaxed);
	return hop;
}

/* Where the FIB sends what goes by this path: asked once per change of the FIB, not per packet.
 * `generation` was read before: what is looked up is at least as new. */
static inline uint32_t path_hop(const struct fib *fib, struct peer_path *path, uint32_t generation)
{
	uint64_t known = atomic_load_explicit(&path->hop, memory_order_relaxed);

	if ((uint32_t)known && known >> 32 == generation)
		return (uint32_t)known - 1;
	return hop_ask(fib, path, generation);
}

/* What the runs of a burst share, as long as they go into one tunnel. */
struct way {
	uint32_t index; /* of the tunnel; TUNNEL_NONE: none yet */
	const struct dp_tunnel *tunnel;
	const struct fib *fib; /* to be asked for the next hop; NULL: it is not known */
	uint32_t generation;   /* the FIB's, when the burst began */
	uint16_t verdict;
	uint16_t listen_port, mtu; /* the tunnel's */
	uint8_t routed;            /* PACKET_ROUTED, when next hops are known */
};

/* What the packets of a run share: they go to one peer. */
struct run {
	struct send_key *key;
	const struct packet_path *path;
	uint64_t counter;  /* of the next packet */
	uint32_t next_hop; /* FIB_NONE: not known */
};

static __rte_noinline void way_change(const struct worker *w, struct way *way, uint32_t index)
{
	const struct dp_tunnel *t = tunnel_get(w->table, index);

	way->index = index;
	way->tunnel = t;
	if (!t)
		return;
	way->verdict = t->ports_underlay ? WG_OUTPUT_OUTER : WG_OUTPUT_TX;
	way->fib = t->ports_underlay ? w->table->fib : NULL;
	way->routed = way->fib ? PACKET_ROUTED : 0;
	way->listen_port = t->listen_port;
	way->mtu = t->mtu;
}

/* The first of n counters. Nobody but workers takes any: one that is alone saves the locked add. */
static inline uint64_t counter_take(const struct worker *w, struct send_key *key, uint64_t n)
{
	uint64_t counter;

	if (!w->alone)
		return atomic_fetch_add_explicit(&key->counter, n, memory_order_relaxed);
	counter = atomic_load_explicit(&key->counter, memory_order_relaxed);
	atomic_store_explicit(&key->counter, counter + n, memory_order_relaxed);
	return counter;
}

static inline void datagram_fill(
	struct rte_mbuf *m, const struct way *way, const struct run *run, uint8_t tos)
{
	struct packet *p = packet_of(m);

	p->kind = PACKET_DATAGRAM;
	p->flags = (uint8_t)((p->flags & ~PACKET_ROUTED) | way->routed);
	p->out_port = run->path->port;
	p->next_hop = run->next_hop;
	p->path = *run->path;
	p->path.tos = tos;
	p->path.local_port = way->listen_port;
}

static inline void message_fill(struct transport *t, struct rte_mbuf *m, const struct run *run)
{
	struct message_data *message = rte_pktmbuf_mtod(m, struct message_data *);
	uint16_t k = t->n++;

	message->type = le32_make(MESSAGE_DATA);
	message->receiver_index = le32_make(run->key->remote_index);
	message->counter = le64_make(run->counter);
	t->messages[k] = (uint8_t *)message;
	t->sends[k] = run->key;
	t->lens[k] = m->data_len;
}

/* False: it has no room for what is to be added. */
static __rte_always_inline bool packet_prepare(
	struct transport *t, const struct way *way, const struct run *run, struct rte_mbuf *m)
{
	uint8_t tos = m->data_len ? ecn_of(rte_pktmbuf_mtod(m, uint8_t *)) : 0;

	if (!room_make(m, way->mtu))
		return false;
	datagram_fill(m, way, run, tos);
	message_fill(t, m, run);
	return true;
}

/* What left to a peer. */
static __rte_always_inline void run_note(struct worker *w, uint32_t peer, struct send_key *key,
	uint16_t n, uint32_t bytes, bool data)
{
	struct peer_traffic *traffic = &peers.traffic[w->id][peer];
	struct peer_slot *slot = &peers.slots[peer];

	traffic->tx_packets += n;
	traffic->tx_bytes += bytes;
	atomic_store_explicit(&traffic->last_sent, w->now, memory_order_relaxed);
	sent(w, slot, peer, data);
	rekey_when_due(w, slot, peer, key);
}

/* A run of packets to one peer. Its counters were taken in one go; one that a packet without room
 * leaves unused is only skipped. */
static __rte_noinline void run_prepare(struct worker *w, struct transport *t, const struct way *way,
	struct run run, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n)
{
	uint32_t peer = packet_of(pkts[0])->peer, bytes = 0;
	uint16_t before = t->n;
	bool data = false;

	for (uint16_t i = 0; i < n; i++) {
		bool has_data = pkts[i]->data_len > 0;

		verdicts[i] = VERDICT_DROP(DROP_NO_ROOM);
		if (!packet_prepare(t, way, &run, pkts[i]))
			continue;
		verdicts[i] = way->verdict;
		data |= has_data;
		bytes += pkts[i]->data_len;
		run.counter++;
	}
	if (t->n != before)
		run_note(w, peer, run.key, t->n - before, bytes, data);
}

/* The same for a run of one: with many peers that is what most are. */
static __rte_always_inline uint16_t one_prepare(struct worker *w, struct transport *t,
	const struct way *way, const struct run *run, struct rte_mbuf *m)
{
	uint32_t peer = packet_of(m)->peer;
	bool data = m->data_len > 0;

	if (!packet_prepare(t, way, run, m))
		return VERDICT_DROP(DROP_NO_ROOM);
	run_note(w, peer, run->key, 1, m->data_len, data);
	return way->verdict;
}

static __rte_noinline void run_refuse(uint16_t drop, uint16_t *verdicts, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++)
		verdicts[i] = drop;
}

static __rte_always_inline void run_admit(struct worker *w, struct transport *t, struct way *way,
	const struct target *target, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n)
{
	struct run run = {.key = target->key, .next_hop = FIB_NONE};

	if (!key_usable(w, run.key)) {
		stage_all(w, pkts, verdicts, n);
		return;
	}
	if (run.key->tunnel != way->index)
		way_change(w, way, run.key->tunnel);
	if (!way->tunnel || !target->path) {
		run_refuse(
			VERDICT_DROP(way->tunnel ? DROP_NO_ENDPOINT : DROP_NO_PEER), verdicts, n);
		return;
	}
	run.path = &target->path->path;
	if (way->fib)
		run.next_hop = path_hop(way->fib, target->path, way->generation);
	run.counter = counter_take(w, run.key, n);
	if (n == 1)
		verdicts[0] = one_prepare(w, t, way, &run, pkts[0]);
	else
		run_prepare(w, t, way, run, pkts, verdicts, n);
}

/* Asks for what the peers' slots lead to: a burst to many peers waits for it once. */
static void targets_find(struct rte_mbuf **pkts, struct target *targets, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		const struct peer_slot *slot = &peers.slots[packet_of(pkts[i])->peer];

		/* pair with the release stores in control's publications */
		targets[i].key = atomic_load_explicit(&slot->current, memory_order_acquire);
		targets[i].path = atomic_load_explicit(&slot->path, memory_order_acquire);
		rte_prefetch0(targets[i].key);
		rte_prefetch0(targets[i].path);
	}
}

/* Everything but the AEAD. */
static void burst_prepare(struct worker *w, struct transport *t, struct rte_mbuf **pkts,
	uint16_t *verdicts, uint16_t n)
{
	struct way way = {.index = TUNNEL_NONE, .generation = fib_generation(w->table->fib)};
	struct target targets[NODE_BURST_MAX];

	t->n = 0;
	capture_burst(w, CAPTURE_INNER_OUT, pkts, n);
	targets_find(pkts, targets, n);
	for (uint16_t i = 0, end; i < n; i = end) {
		uint32_t peer = packet_of(pkts[i])->peer;

		for (end = i + 1; end < n && packet_of(pkts[end])->peer == peer; end++)
			;
		run_admit(w, t, &way, &targets[i], pkts + i, verdicts + i, (uint16_t)(end - i));
	}
}

/* ---- work that others may do ------------------------------------------------------------------
 */

static void offer(struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n)
{
	struct work_item *item = work_next(w->sealing);
	uint16_t k = 0;

	if (!item) {
		for (uint16_t i = 0; i < n; i++)
			verdicts[i] = VERDICT_DROP(DROP_WORK_FULL);
		return;
	}
	item->generation = fib_generation(w->table->fib); /* before it is asked for the next hops */
	item->marks = 0;
	burst_prepare(w, &item->transport, pkts, verdicts, n);
	for (uint16_t i = 0; i < n; i++) {
		if (verdicts[i] > WG_OUTPUT_OUTER) /* it is not sealed */
			continue;
		item->marks |= (uint64_t)(verdicts[i] == WG_OUTPUT_OUTER) << k;
		item->pkts[k++] = pkts[i];
		verdicts[i] = VERDICT_TAKEN;
	}
	if (!k)
		return;
	work_offer(w->sealing);
	if (work_used(w->sealing) > 1)
		worker_wake_one(w->id);
}

static void wg_output_process(
	struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n)
{
	struct transport t;

	if (work_wants(w->sealing, n)) {
		offer(w, pkts, verdicts, n);
		return;
	}
	burst_prepare(w, &t, pkts, verdicts, n);
	transport_seal(&t, NULL);
}

/* A next hop was the FIB's answer when the packet went into the FIFO. */
static void next_hops_forget(struct rte_mbuf **pkts, uint16_t n)
{
	for (uint16_t k = 0; k < n; k++)
		packet_of(pkts[k])->flags &= (uint8_t)~PACKET_ROUTED;
}

static uint16_t sealed_poll(
	struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t max)
{
	struct work_item *item = w->sealing ? work_first_done(w->sealing) : NULL;
	uint16_t n = item ? item->transport.n : 0;

	if (!n || n > max)
		return 0;
	memcpy(pkts, item->pkts, n * sizeof(*pkts));
	for (uint16_t k = 0; k < n; k++)
		verdicts[k] = item->marks >> k & 1 ? WG_OUTPUT_OUTER : WG_OUTPUT_TX;
	if (item->generation != fib_generation(w->table->fib))
		next_hops_forget(pkts, n);
	work_drop_first(w->sealing);
	return n;
}

const struct graph_node node_wg_output = {
	.name = "wg_output",
	.help = "seals packets for their peers",
	.process = wg_output_process,
	.next = (const char *const[]){"tx", "outer", NULL},
	.drops = wg_output_drops,
};

const struct graph_node node_sealed = {
	.name = "sealed",
	.help = "goes on, in order, with what this worker or its helpers sealed",
	.poll = sealed_poll,
	.next = (const char *const[]){"tx", "outer", NULL},
	.drops = wg_output_drops,
};
