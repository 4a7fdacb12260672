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
#include <netinet/ip.h>
#include <netinet/ip6.h>

#include "aead.h"
#include "bytes.h"
#include "capture.h"
#include "ecn.h"
#include "lookup.h"
#include "messages.h"
#include "nodes.h"
#include "tunnel.h"
#include "work.h"
#include "workers.h"

#define REKEY_ON_RECEIVE (REJECT_AFTER_TIME - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT)

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

/* Verdict of a packet that is not to be opened here, or VERDICT_OPEN. */
#define VERDICT_OPEN 0x7fff

static uint16_t admit(
	struct worker *w, struct rte_mbuf *m, struct keypair *found, struct keypair **out)
{
	const struct message_data *message = rte_pktmbuf_mtod(m, const struct message_data *);
	uint16_t owner;

	if (!found || found->local_index != le32_get(message->receiver_index))
		return VERDICT_DROP(DROP_NO_KEY);
	if (keypair_age(found, w->now) >= REJECT_AFTER_TIME)
		return VERDICT_DROP(DROP_EXPIRED);
	if (counter_of(message) >= REJECT_AFTER_MESSAGES)
		return VERDICT_DROP(DROP_COUNTER);
	if (!owns(w, found, &owner))
		return hand_over(owner, m);
	*out = found;
	return VERDICT_OPEN;
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

/* An authentic, new packet: the facts that timers, roaming and rekeying live on. */
static void authentic(struct worker *w, struct keypair *kp, struct packet *p, bool data)
{
	struct peer_slot *slot = &peers.slots[kp->peer];

	atomic_store_explicit(
		&peers.traffic[w->id][kp->peer].last_received, w->now, memory_order_relaxed);
	if (atomic_load_explicit(&slot->data_sent_since, memory_order_relaxed))
		atomic_store_explicit(&slot->data_sent_since, 0, memory_order_relaxed);
	if (data && !atomic_load_explicit(&slot->data_received_since, memory_order_relaxed)) {
		atomic_store_explicit(&slot->data_received_since, w->now, memory_order_relaxed);
		event_once(w, slot, PEER_ACTIVE, EVENT_ACTIVE, kp, NULL);
	}
	if (!kp->initiator)
		keypair_confirmed(w, kp);
	else if (keypair_age(kp, w->now) > REKEY_ON_RECEIVE &&
		 !atomic_exchange_explicit(&kp->send->rekey_asked, true, memory_order_relaxed))
		event_once(w, slot, PEER_WANTED, EVENT_WANT_HANDSHAKE, kp, NULL);
	if (!path_known(slot, &p->path))
		event_once(w, slot, PEER_ROAMED, EVENT_ROAMED, kp, &p->path);
}

/* Length of the IP packet at the start of `m`, 0 when there is none. */
static uint32_t inner_length(const struct rte_mbuf *m)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t len = 0;

	if (m->data_len >= sizeof(struct ip) && ip[0] >> 4 == 4)
		len = (uint32_t)ip[2] << 8 | ip[3];
	else if (m->data_len >= sizeof(struct ip6_hdr) && ip[0] >> 4 == 6)
		len = ((uint32_t)ip[4] << 8 | ip[5]) + sizeof(struct ip6_hdr);
	if (ip[0] >> 4 == 4 && len && (len < (ip[0] & 15u) * 4 || (ip[0] & 15) < 5))
		return 0;
	return len <= m->data_len ? len : 0;
}

/* What the inner source is looked up for: the packet as it goes on. */
static uint16_t inner_begin(struct rte_mbuf *m)
{
	uint32_t len;

	rte_pktmbuf_adj(m, sizeof(struct message_data));
	rte_pktmbuf_trim(m, AEAD_TAG_LEN);
	len = inner_length(m);
	if (!len)
		return VERDICT_DROP(DROP_INNER);
	rte_pktmbuf_trim(m, m->data_len - len);
	return VERDICT_OPEN;
}

static uint16_t inner_verdict(
	struct worker *w, struct rte_mbuf *m, const struct keypair *kp, uint32_t from)
{
	struct packet *p = packet_of(m);

	if (from != kp->peer)
		return VERDICT_DROP(DROP_SOURCE);
	if (!ecn_decapsulate(rte_pktmbuf_mtod(m, uint8_t *), p->path.tos))
		return VERDICT_DROP(DROP_ECN);
	p->kind = PACKET_IP;
	p->flags = PACKET_FROM_TUNNEL;
	p->tunnel = kp->tunnel;
	p->peer = kp->peer;
	capture_burst(w, CAPTURE_INNER_IN, &m, 1);
	return WG_INPUT_ROUTE;
}

/* Verdict, or VERDICT_OPEN when only the inner source is still to be checked. */
static uint16_t opened_verdict(struct worker *w, struct rte_mbuf *m, struct keypair *kp, bool ok)
{
	const struct message_data *message = rte_pktmbuf_mtod(m, const struct message_data *);
	struct peer_traffic *traffic = &peers.traffic[w->id][kp->peer];
	bool data = m->data_len > sizeof(*message) + AEAD_TAG_LEN;

	if (!ok)
		return VERDICT_DROP(DROP_AUTH);
	if (!replay_check_and_set(&kp->replay, counter_of(message)))
		return VERDICT_DROP(DROP_REPLAY);
	traffic->rx_packets++;
	traffic->rx_bytes += m->data_len;
	authentic(w, kp, packet_of(m), data);
	if (!data) {
		rte_pktmbuf_free(m);
		return VERDICT_TAKEN;
	}
	return inner_begin(m);
}

/* ---- a burst --------------------------------------------------------------------------------- */

static void keypairs_find(struct rte_mbuf **pkts, struct keypair **found, uint16_t n)
{
	uint32_t places[NODE_BURST_MAX];

	for (uint16_t i = 0; i < n; i++) {
		const struct message_data *message =
			rte_pktmbuf_mtod(pkts[i], const struct message_data *);

		places[i] = le32_get(message->receiver_index) & peers.index_mask;
		rte_prefetch0(&peers.indices[places[i]]);
	}
	for (uint16_t i = 0; i < n; i++) {
		/* pairs with the release store in keypair_publish */
		found[i] = atomic_load_explicit(
			&peers.indices[places[i]].keypair, memory_order_acquire);
		if (found[i])
			rte_prefetch0(&found[i]->receive);
	}
}

/* What the peers' packets are going to change or be compared with, once they are open: it comes
 * while they are opened. */
static void slots_prefetch(
	unsigned worker, const struct transport *opening, struct rte_mbuf *const *pkts)
{
	for (uint16_t k = 0; k < opening->n; k++) {
		struct keypair *kp = opening->keypairs[k];
		const struct message_data *message =
			rte_pktmbuf_mtod(pkts[k], const struct message_data *);

		rte_prefetch0(&peers.slots[kp->peer]);
		__builtin_prefetch(&peers.traffic[worker][kp->peer], 1);
		__builtin_prefetch(replay_word(&kp->replay, counter_of(message)), 1);
	}
	/* IPv4 paths are compared with what the slot itself has of them */
	for (uint16_t k = 0; k < opening->n; k++)
		if (packet_of(pkts[k])->path.family != AF_INET)
			rte_prefetch0(
				atomic_load_explicit(&peers.slots[opening->keypairs[k]->peer].path,
					memory_order_relaxed));
}

/* `opened` gets the packets that are to be opened, `places` where they are in the burst. */
static void opening_fill(struct worker *w, struct transport *opening, struct rte_mbuf **opened,
	uint16_t *places, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n)
{
	struct keypair *found[NODE_BURST_MAX];
	uint16_t k = 0;

	keypairs_find(pkts, found, n);
	for (uint16_t i = 0; i < n; i++) {
		verdicts[i] = admit(w, pkts[i], found[i], &opening->keypairs[k]);
		if (verdicts[i] != VERDICT_OPEN)
			continue;
		opening->messages[k] = rte_pktmbuf_mtod(pkts[i], uint8_t *);
		opening->lens[k] = pkts[i]->data_len;
		opened[k] = pkts[i];
		places[k++] = i;
	}
	opening->n = k;
}

/* The peers that the inner sources belong to, for those packets that are to be asked for. */
static void sources_find(struct worker *w, const struct transport *opening, struct rte_mbuf **pkts,
	const uint16_t *verdicts, uint32_t *from)
{
	struct lookups lookups;

	lookups_init(&lookups, NULL);
	for (uint16_t k = 0; k < opening->n; k++) {
		const struct dp_tunnel *t = tunnel_get(w->table, opening->keypairs[k]->tunnel);
		const uint8_t *ip = rte_pktmbuf_mtod(pkts[k], const uint8_t *);
		bool v4 = ip[0] >> 4 == 4;

		from[k] = PEER_NONE;
		if (verdicts[k] != VERDICT_OPEN || !t)
			continue;
		if (t->allowed_ips != lookups.table) {
			lookup_run(&lookups, from);
			lookups_init(&lookups, t->allowed_ips);
		}
		lookup_add(&lookups, k, ip + (v4 ? 12 : 8), v4);
	}
	lookup_run(&lookups, from);
}

/* pkts and verdicts by place in the opening. */
static void opening_finish(struct worker *w, const struct transport *opening, uint64_t ok,
	struct rte_mbuf **pkts, uint16_t *verdicts)
{
	uint32_t from[NODE_BURST_MAX];

	for (uint16_t k = 0; k < opening->n; k++, ok >>= 1)
		verdicts[k] = opened_verdict(w, pkts[k], opening->keypairs[k], ok & 1);
	sources_find(w, opening, pkts, verdicts, from);
	for (uint16_t k = 0; k < opening->n; k++)
		if (verdicts[k] == VERDICT_OPEN)
			verdicts[k] = inner_verdict(w, pkts[k], opening->keypairs[k], from[k]);
}

/* ---- work that others may do ------------------------------------------------------------------
 */

static void offer(struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n)
{
	struct work_item *item = work_next(w->opening);
	uint16_t places[NODE_BURST_MAX];

	if (!item) {
		for (uint16_t i = 0; i < n; i++)
			verdicts[i] = VERDICT_DROP(DROP_WORK_FULL);
		return;
	}
	opening_fill(w, &item->transport, item->pkts, places, pkts, verdicts, n);
	for (uint16_t k = 0; k < item->transport.n; k++)
		verdicts[places[k]] = VERDICT_TAKEN;
	if (!item->transport.n)
		return;
	work_offer(w->opening);
	if (work_used(w->opening) > 1)
		worker_wake_one(w->id);
}

static void wg_input_process(
	struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n)
{
	uint16_t places[NODE_BURST_MAX], opened_verdicts[NODE_BURST_MAX];
	struct rte_mbuf *opened[NODE_BURST_MAX];
	struct transport opening;

	if (work_wants(w->opening, n)) {
		offer(w, pkts, verdicts, n);
		return;
	}
	opening_fill(w, &opening, opened, places, pkts, verdicts, n);
	slots_prefetch(w->id, &opening, opened);
	opening_finish(w, &opening, transport_open(&opening), opened, opened_verdicts);
	for (uint16_t k = 0; k < opening.n; k++)
		verdicts[places[k]] = opened_verdicts[k];
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
	for (uint16_t k = 0; k < n; k++)
		rte_prefetch0(item->transport.messages[k]);
	slots_prefetch(w->id, &item->transport, item->pkts);
	memcpy(pkts, item->pkts, n * sizeof(*pkts));
	opening_finish(w, &item->transport, item->ok, pkts, verdicts);
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
