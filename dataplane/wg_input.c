/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `wg_input` opens transport messages: receiver index, age, owner of the replay window, one AEAD
 * call for the burst, replay window (after authentication, never before), then the inner packet:
 * trim the padding, check that its source is the peer's, join the ECN marks. Runs on workers.
 *
 * Order matters for security: nothing of a peer changes (endpoint, timestamps, key confirmation)
 * before the packet is authentic and new.
 *
 * Under load bursts go through a FIFO of work.h, so that idle workers open some of them: `opened`
 * is where they come out, in order.
 *
 * A burst from many peers needs half a dozen places in memory per packet. Each stage asks for what
 * the next one reads, for the whole burst.
 */
#include <netinet/in.h>
#include <netinet/ip6.h>

#include "aead.h"
#include "bytes.h"
#include "capture.h"
#include "ecn.h"
#include "fib.h"
#include "messages.h"
#include "nodes.h"
#include "peer.h"
#include "work.h"
#include "workers.h"

#define REKEY_ON_RECEIVE (REJECT_AFTER_TIME - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT)

#define BURST_LONG (32 * 1024) /* bytes */

enum { WG_INPUT_ROUTE };

enum {
	DROP_NO_KEY,
	DROP_EXPIRED,
	DROP_COUNTER,
	DROP_HANDOFF_FULL,
	DROP_AUTH,
	DROP_REPLAY,
	DROP_INNER,
	DROP_SOURCE,
	DROP_ECN,
	DROP_WORK_FULL,
};

static const struct drop_reason wg_input_drops[] = {
	{"wg_input_no_key", "no session has this receiver index: an old session, or not for us"},
	{"wg_input_expired", "the session is older than REJECT_AFTER_TIME"},
	{"wg_input_counter", "the counter is beyond REJECT_AFTER_MESSAGES"},
	{"wg_input_handoff_full", "the worker that keeps this session's window has no room"},
	{"wg_input_auth", "the packet does not authenticate under the session's key"},
	{"wg_input_replay", "the counter was seen before, or is behind the replay window"},
	{"wg_input_inner", "what was inside is no valid IP packet"},
	{"wg_input_source", "the inner source address is not among the peer's allowed IPs"},
	{"wg_input_ecn", "the network marked congestion on a packet that cannot carry the mark"},
	{"wg_input_work_full", "more came than this worker and those that help it could open"},
	{NULL, NULL},
};

static uint64_t counter_of(const struct message_data *message)
{
	return le64_get(message->counter);
}

/* The first worker that opens under a key keeps its window; others hand over. */
static bool owns(struct worker *w, struct keypair *kp, uint16_t *owner)
{
	*owner = atomic_load_explicit(&kp->owner, memory_order_relaxed);
	if (*owner == OWNER_NONE &&
		atomic_compare_exchange_strong(&kp->owner, owner, (uint16_t)w->id))
		return true;
	return *owner == w->id;
}

static uint16_t hand_over(uint16_t owner, struct rte_mbuf *m)
{
	struct worker *other = worker_get(owner);

	if (!other || rte_ring_mp_enqueue(other->handoff, m))
		return VERDICT_DROP(DROP_HANDOFF_FULL);
	worker_wake(owner);
	return VERDICT_TAKEN;
}

/* Verdict of packets of a receiver index that are not to be opened here, or VERDICT_OPEN. */
#define VERDICT_OPEN 0x7fff

static uint16_t admit(struct worker *w, struct rte_mbuf *m, struct keypair *found)
{
	const struct message_data *message = rte_pktmbuf_mtod(m, const struct message_data *);
	uint16_t owner;

	if (!found || found->local_index != le32_get(message->receiver_index))
		return VERDICT_DROP(DROP_NO_KEY);
	if (keypair_age(found, w->now) >= REJECT_AFTER_TIME)
		return VERDICT_DROP(DROP_EXPIRED);
	if (counter_of(message) >= REJECT_AFTER_MESSAGES)
		return VERDICT_DROP(DROP_COUNTER);
	return owns(w, found, &owner) ? VERDICT_OPEN : hand_over(owner, m);
}

/* Far end and our address; not the mark, and not what only the host port needs. */
static bool same_path(const struct packet_path *a, const struct packet_path *b)
{
	return a->family == b->family && a->remote_port == b->remote_port && a->port == b->port &&
	       !memcmp(a->remote, b->remote, 16) && !memcmp(a->local, b->local, 16);
}

/* Whether a packet came where control knows the peer to be. */
static bool path_known(const struct peer_slot *slot, const struct packet_path *path)
{
	const struct peer_path *known;
	uint64_t key[2];

	if (path_short(path, key) &&
		atomic_load_explicit(&slot->path_short[0], memory_order_relaxed) == key[0] &&
		atomic_load_explicit(&slot->path_short[1], memory_order_relaxed) == key[1])
		return true;
	known = atomic_load_explicit(&slot->path, memory_order_acquire);
	return known && same_path(&known->path, path);
}

static void event_once(struct worker *w, struct peer_slot *slot, uint32_t flag,
	enum worker_event_type type, const struct keypair *kp, const struct packet_path *path)
{
	struct worker_event event = {.type = type, .peer = kp->peer, .value = kp->local_index};

	if (atomic_load_explicit(&slot->flags, memory_order_relaxed) & flag)
		return;
	/* Partner: control clears the flag once it acted; then the fact counts anew. */
	if (atomic_fetch_or(&slot->flags, flag) & flag)
		return;
	event.generation = atomic_load_explicit(&slot->generation, memory_order_relaxed);
	if (path)
		event.path = *path;
	if (!worker_event(w, &event))
		atomic_fetch_and(&slot->flags, ~flag);
}

static void keypair_confirmed(struct worker *w, struct keypair *kp)
{
	struct worker_event event = {
		.type = EVENT_CONFIRMED, .peer = kp->peer, .value = kp->local_index};

	if (atomic_load_explicit(&kp->confirmed, memory_order_relaxed))
		return;
	event.generation =
		atomic_load_explicit(&peers.slots[kp->peer].generation, memory_order_relaxed);
	if (worker_event(w, &event))
		atomic_store_explicit(&kp->confirmed, true, memory_order_relaxed);
}

/* Authentic, new packets under one key. */
struct arrived {
	unsigned packets;
	uint32_t bytes;
	bool data, keepalives;
	struct rte_mbuf *last;
};

/* The facts that timers, roaming and rekeying live on. */
static void authentic(struct worker *w, struct keypair *kp, const struct arrived *arrived)
{
	const struct packet_path *path = &packet_of(arrived->last)->path;
	struct peer_traffic *traffic = &peers.traffic[w->id][kp->peer];
	struct peer_slot *slot = &peers.slots[kp->peer];

	traffic->rx_packets += arrived->packets;
	traffic->rx_bytes += arrived->bytes;
	atomic_store_explicit(&traffic->last_received, w->now, memory_order_relaxed);
	if (atomic_load_explicit(&slot->data_sent_since, memory_order_relaxed))
		atomic_store_explicit(&slot->data_sent_since, 0, memory_order_relaxed);
	if (arrived->data &&
		!atomic_load_explicit(&slot->data_received_since, memory_order_relaxed)) {
		atomic_store_explicit(&slot->data_received_since, w->now, memory_order_relaxed);
		event_once(w, slot, PEER_ACTIVE, EVENT_ACTIVE, kp, NULL);
	}
	if (!kp->initiator)
		keypair_confirmed(w, kp);
	else if (keypair_age(kp, w->now) > REKEY_ON_RECEIVE &&
		 !atomic_exchange_explicit(&kp->send->rekey_asked, true, memory_order_relaxed))
		event_once(w, slot, PEER_WANTED, EVENT_WANT_HANDSHAKE, kp, NULL);
	if (!path_known(slot, path))
		event_once(w, slot, PEER_ROAMED, EVENT_ROAMED, kp, path);
}

/* A packet as it goes on. What is in it was looked at before; here only a mark may be written. */
static uint16_t inner_verdict(
	struct worker *w, const struct work_item *item, uint16_t k, const struct keypair *kp)
{
	const struct inner *inner = &item->inner;
	struct rte_mbuf *m = item->pkts[k];
	struct packet *p = packet_of(m);

	if (!inner->lens[k])
		return VERDICT_DROP(DROP_INNER);
	if (inner->from[k] != kp->peer)
		return VERDICT_DROP(DROP_SOURCE);
	m->data_off += sizeof(struct message_data);
	m->data_len = inner->lens[k];
	m->pkt_len = inner->lens[k];
	if (!ecn_decapsulate(rte_pktmbuf_mtod(m, uint8_t *), p->path.tos))
		return VERDICT_DROP(DROP_ECN);
	p->kind = PACKET_IP;
	p->flags = PACKET_FROM_TUNNEL;
	if (inner->next_hop[k] != FIB_NONE)
		p->flags |= PACKET_ROUTED;
	p->next_hop = inner->next_hop[k];
	p->tunnel = kp->tunnel;
	p->peer = kp->peer;
	capture_burst(w, CAPTURE_INNER_IN, &m, 1);
	return WG_INPUT_ROUTE;
}

static bool is_keepalive(const struct work_item *item, uint16_t k)
{
	return item->transport.lens[k] == sizeof(struct message_data) + AEAD_TAG_LEN;
}

static uint16_t packet_verdict(struct worker *w, const struct work_item *item, uint16_t k,
	struct keypair *kp, struct arrived *arrived)
{
	if (!(item->ok >> k & 1))
		return VERDICT_DROP(DROP_AUTH);
	if (!replay_check_and_set(&kp->replay, item->counters[k]))
		return VERDICT_DROP(DROP_REPLAY);
	arrived->packets++;
	arrived->bytes += item->transport.lens[k];
	arrived->last = item->pkts[k];
	if (is_keepalive(item, k)) {
		arrived->keepalives = true;
		return VERDICT_TAKEN;
	}
	arrived->data = true;
	return inner_verdict(w, item, k, kp);
}

/* The packets of one key, from `first` to before `end`. */
static void run_finish(struct worker *w, const struct work_item *item, uint16_t first, uint16_t end,
	uint16_t *verdicts)
{
	struct keypair *kp = item->transport.keypairs[first];
	struct arrived arrived = {.packets = 0};

	for (uint16_t k = first; k < end; k++)
		verdicts[k] = packet_verdict(w, item, k, kp, &arrived);
	if (arrived.packets)
		authentic(w, kp, &arrived);
	for (uint16_t k = first; arrived.keepalives && k < end; k++)
		if (verdicts[k] == VERDICT_TAKEN)
			rte_pktmbuf_free(item->pkts[k]);
}

/* ---- a burst --------------------------------------------------------------------------------- */

/* Whether packet `k` of a burst is under the key of the one before it: mostly it is. */
static bool same_key(const struct transport *t, uint16_t k)
{
	return k > 0 && t->keypairs[k] == t->keypairs[k - 1];
}

static uint32_t index_of(struct rte_mbuf *m)
{
	return le32_get(rte_pktmbuf_mtod(m, const struct message_data *)->receiver_index);
}

static void keypairs_find(struct rte_mbuf **pkts, struct keypair **found, uint16_t n)
{
	uint32_t places[NODE_BURST_MAX];

	for (uint16_t i = 0; i < n; i++) {
		places[i] = index_of(pkts[i]) & peers.index_mask;
		if (!i || places[i] != places[i - 1])
			rte_prefetch0(&peers.indices[places[i]]);
	}
	for (uint16_t i = 0; i < n; i++) {
		if (i && places[i] == places[i - 1]) {
			found[i] = found[i - 1];
			continue;
		}
		/* pairs with the release store in keypair_publish */
		found[i] = atomic_load_explicit(
			&peers.indices[places[i]].keypair, memory_order_acquire);
		if (found[i])
			rte_prefetch0(&found[i]->receive);
	}
}

/* What the peers' packets are going to change or be compared with, once they are open: it comes
 * while they are opened. */
static void slots_prefetch(unsigned worker, const struct work_item *item)
{
	const struct transport *t = &item->transport;

	for (uint16_t k = 0; k < t->n; k++) {
		struct keypair *kp = t->keypairs[k];

		if (same_key(t, k))
			continue;
		rte_prefetch0(&peers.slots[kp->peer]);
		__builtin_prefetch(&peers.traffic[worker][kp->peer], 1);
		__builtin_prefetch(replay_word(&kp->replay, item->counters[k]), 1);
	}
	/* IPv4 paths are compared with what the slot itself has of them */
	for (uint16_t k = 0; k < t->n; k++)
		if (!same_key(t, k) && packet_of(item->pkts[k])->path.family != AF_INET)
			rte_prefetch0(atomic_load_explicit(
				&peers.slots[t->keypairs[k]->peer].path, memory_order_relaxed));
}

/* `item` gets the packets that are to be opened, `places` where they are in the burst. */
static void opening_fill(struct worker *w, struct work_item *item, uint16_t *places,
	struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n)
{
	struct transport *t = &item->transport;
	struct keypair *found[NODE_BURST_MAX];
	uint16_t k = 0;

	item->generation = fib_generation(w->table->fib);
	keypairs_find(pkts, found, n);
	for (uint16_t i = 0; i < n; i++) {
		verdicts[i] = admit(w, pkts[i], found[i]);
		if (verdicts[i] != VERDICT_OPEN)
			continue;
		t->keypairs[k] = found[i];
		t->messages[k] = rte_pktmbuf_mtod(pkts[i], uint8_t *);
		t->lens[k] = pkts[i]->data_len;
		item->counters[k] = counter_of((const struct message_data *)t->messages[k]);
		item->pkts[k] = pkts[i];
		places[k++] = i;
	}
	t->n = k;
	t->table = w->table;
}

/* Verdicts by place in the item. */
static void opening_finish(struct worker *w, const struct work_item *item, uint16_t *verdicts)
{
	uint16_t n = item->transport.n;

	for (uint16_t k = 0, end; k < n; k = end) {
		for (end = k + 1; end < n && same_key(&item->transport, end); end++)
			;
		run_finish(w, item, k, end, verdicts);
	}
}

/* ---- work that others may do ------------------------------------------------------------------
 */

static void item_offer(struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n)
{
	struct work_item *item = work_next(w->opening);
	uint16_t places[NODE_BURST_MAX];

	if (!item) {
		for (uint16_t i = 0; i < n; i++)
			verdicts[i] = VERDICT_DROP(DROP_WORK_FULL);
		return;
	}
	opening_fill(w, item, places, pkts, verdicts, n);
	for (uint16_t k = 0; k < item->transport.n; k++)
		verdicts[places[k]] = VERDICT_TAKEN;
	if (!item->transport.n)
		return;
	work_offer(w->opening);
	if (work_used(w->opening) > 1)
		worker_wake_one(w->id);
}

/* How many packets of a burst make an item. While one is under way those behind it wait, so a burst
 * that takes long is halved; 32 packets still fill the lanes of every vector. */
static uint16_t item_packets(struct rte_mbuf *const *pkts, uint16_t n)
{
	uint32_t bytes = 0;

	for (uint16_t i = 0; i < n; i++)
		bytes += pkts[i]->data_len;
	return bytes < BURST_LONG ? n : RTE_MIN(n, NODE_BURST_MAX / 2);
}

static void offer(struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n)
{
	uint16_t part = item_packets(pkts, n);

	for (uint16_t i = 0; i < n; i += part)
		item_offer(w, pkts + i, verdicts + i, RTE_MIN(part, n - i));
}

static void wg_input_process(
	struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n)
{
	/* not on the stack, which sanitizers align to less than its lines */
	static _Thread_local struct work_item item;
	uint16_t places[NODE_BURST_MAX], opened_verdicts[NODE_BURST_MAX];

	if (work_wants(w->opening, n)) {
		offer(w, pkts, verdicts, n);
		return;
	}
	opening_fill(w, &item, places, pkts, verdicts, n);
	slots_prefetch(w->id, &item);
	item.ok = transport_open(&item.transport, &item.inner);
	opening_finish(w, &item, opened_verdicts);
	for (uint16_t k = 0; k < item.transport.n; k++)
		verdicts[places[k]] = opened_verdicts[k];
}

/* What a helper has written is in its caches: asked for while it is not needed yet. */
static void results_prefetch(const struct work_item *item)
{
	for (size_t i = 0; i < sizeof(item->inner); i += RTE_CACHE_LINE_SIZE)
		rte_prefetch0((const char *)&item->inner + i);
	for (uint16_t k = 0; k < item->transport.n; k++) {
		const uint8_t *ip = item->transport.messages[k] + sizeof(struct message_data);

		__builtin_prefetch(ip, 1);
		__builtin_prefetch(ip + sizeof(struct ip6_hdr) - 1, 1);
	}
}

/* Next hops were the FIB's answer when they were looked up. */
static void next_hops_forget(struct work_item *item)
{
	for (uint16_t k = 0; k < item->transport.n; k++)
		item->inner.next_hop[k] = FIB_NONE;
}

static uint16_t opened_poll(
	struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t max)
{
	/* what is opened may be to be sealed */
	struct work_item *item =
		w->opening && !work_busy(w->sealing) ? work_first_done(w->opening) : NULL;
	uint16_t n = item ? item->transport.n : 0;

	if (!n || n > max)
		return 0;
	results_prefetch(item);
	slots_prefetch(w->id, item);
	if (item->generation != fib_generation(w->table->fib))
		next_hops_forget(item);
	memcpy(pkts, item->pkts, n * sizeof(*pkts));
	opening_finish(w, item, verdicts);
	work_drop_first(w->opening);
	return n;
}

const struct graph_node node_wg_input = {
	.name = "wg_input",
	.help = "opens WireGuard transport messages",
	.process = wg_input_process,
	.next = (const char *const[]){"route", NULL},
	.drops = wg_input_drops,
};

const struct graph_node node_opened = {
	.name = "opened",
	.help = "goes on, in order, with what this worker or its helpers opened",
	.poll = opened_poll,
	.next = (const char *const[]){"route", NULL},
	.drops = wg_input_drops,
};
