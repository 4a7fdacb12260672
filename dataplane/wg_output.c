/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `wg_output` seals inner packets for their peer: counters for a run of one key with one atomic
 * add, header, padding, one AEAD call for the burst. Packets of a peer without a key go up to
 * control, which holds them until the handshake is done. Runs on workers; a flow stays on the
 * worker that received it, so its counters grow in its order.
 */
#include "aead.h"
#include "capture.h"
#include "ecn.h"
#include "messages.h"
#include "nodes.h"
#include "tunnel.h"

enum { WG_OUTPUT_TX, WG_OUTPUT_OUTER };

enum { DROP_NO_PEER, DROP_NO_KEY, DROP_STAGED_FULL, DROP_NO_ENDPOINT, DROP_NO_ROOM };

static const struct drop_reason wg_output_drops[] = {
	{"wg_output_no_peer", "the peer was removed while the packet was on its way"},
	{"wg_output_no_key", "no session with the peer, and the packet had waited for one before"},
	{"wg_output_staged_full", "no session with the peer, and the hand-over to control is full"},
	{"wg_output_no_endpoint", "the peer's endpoint is not known yet"},
	{"wg_output_no_room", "the packet leaves no room for padding and tag in its buffer"},
	{NULL, NULL},
};

struct sealing {
	struct aead_item items[NODE_BURST_MAX];
	struct keypair *keypairs[NODE_BURST_MAX];
	uint16_t places[NODE_BURST_MAX];
	uint16_t n;
};

/* The key to seal with, NULL when there is none that may still be used. */
static struct keypair *keypair_current(const struct worker *w, const struct peer_slot *slot)
{
	/* pairs with the release store in control's publication */
	struct keypair *kp = atomic_load_explicit(&slot->current, memory_order_acquire);

	if (!kp || keypair_age(kp, w->now) >= REJECT_AFTER_TIME)
		return NULL;
	/* A margin of more than what all workers can take at once: the counter never passes it. */
	if (atomic_load_explicit(&kp->send_counter, memory_order_relaxed) >=
		REJECT_AFTER_MESSAGES - WORKER_MAX * NODE_BURST_MAX)
		return NULL;
	return kp;
}

static void ask_handshake(struct worker *w, struct peer_slot *slot, uint32_t peer)
{
	struct worker_event event = {.type = EVENT_WANT_HANDSHAKE, .peer = peer};

	/* Partner: control clears the flag when the handshake is done or given up. */
	if (atomic_fetch_or(&slot->flags, PEER_WANTED) & PEER_WANTED)
		return;
	event.generation = atomic_load_explicit(&slot->generation, memory_order_relaxed);
	if (!worker_event(w, &event))
		atomic_fetch_and(&slot->flags, ~(uint32_t)PEER_WANTED);
}

static void rekey_when_due(struct worker *w, struct peer_slot *slot, struct keypair *kp)
{
	uint64_t counter = atomic_load_explicit(&kp->send_counter, memory_order_relaxed);
	bool old = kp->initiator && keypair_age(kp, w->now) >= REKEY_AFTER_TIME;

	if ((old || counter >= REKEY_AFTER_MESSAGES) &&
		!atomic_exchange_explicit(&kp->rekey_asked, true, memory_order_relaxed))
		ask_handshake(w, slot, kp->peer);
}

static void sent(struct worker *w, struct peer_slot *slot, struct keypair *kp, bool data)
{
	struct worker_event event = {.type = EVENT_ACTIVE, .peer = kp->peer};

	atomic_store_explicit(&slot->last_sent, w->now, memory_order_relaxed);
	if (atomic_load_explicit(&slot->data_received_since, memory_order_relaxed))
		atomic_store_explicit(&slot->data_received_since, 0, memory_order_relaxed);
	if (!data || atomic_load_explicit(&slot->data_sent_since, memory_order_relaxed))
		return;
	atomic_store_explicit(&slot->data_sent_since, w->now, memory_order_relaxed);
	if (atomic_load_explicit(&slot->flags, memory_order_relaxed) & PEER_ACTIVE)
		return;
	if (atomic_fetch_or(&slot->flags, PEER_ACTIVE) & PEER_ACTIVE)
		return;
	event.generation = atomic_load_explicit(&slot->generation, memory_order_relaxed);
	if (!worker_event(w, &event))
		atomic_fetch_and(&slot->flags, ~(uint32_t)PEER_ACTIVE);
}

static uint16_t stage(struct worker *w, struct rte_mbuf *m)
{
	if (!m->pkt_len || packet_of(m)->flags & PACKET_HELD)
		return VERDICT_DROP(DROP_NO_KEY);
	return worker_punt(w, PUNT_STAGED, m) ? VERDICT_TAKEN : VERDICT_DROP(DROP_STAGED_FULL);
}

/* To a multiple of 16, but never beyond the tunnel's MTU: what a full packet would be. */
static uint32_t padding_of(uint32_t len, uint32_t mtu)
{
	uint32_t last = mtu && len > mtu ? len % mtu : len;
	uint32_t padded = RTE_ALIGN_CEIL(last, 16u);

	return RTE_MIN(padded, mtu ? mtu : padded) - last;
}

/* Appends padding and room for the tag, prepends room for the header. */
static bool room_make(struct rte_mbuf *m, uint32_t mtu)
{
	uint32_t padding = padding_of(m->data_len, mtu);
	char *tail = rte_pktmbuf_append(m, (uint16_t)(padding + AEAD_TAG_LEN));

	if (!tail || !rte_pktmbuf_prepend(m, sizeof(struct message_data)))
		return false;
	memset(tail, 0, padding);
	return true;
}

static uint16_t admit(struct worker *w, struct rte_mbuf *m, struct keypair **out)
{
	struct packet *p = packet_of(m);
	struct peer_slot *slot = &peers.slots[p->peer];
	struct packet_path *path;
	const struct dp_tunnel *t;
	uint8_t tos = m->data_len ? ecn_of(rte_pktmbuf_mtod(m, uint8_t *)) : 0;

	*out = keypair_current(w, slot);
	if (!*out)
		return stage(w, m);
	t = tunnel_get(w->table, (*out)->tunnel);
	if (!t)
		return VERDICT_DROP(DROP_NO_PEER);
	path = atomic_load_explicit(&slot->path, memory_order_acquire);
	if (!path)
		return VERDICT_DROP(DROP_NO_ENDPOINT);
	sent(w, slot, *out, m->data_len > 0);
	rekey_when_due(w, slot, *out);
	peers.traffic[w->id][p->peer].tx_packets++;
	if (!room_make(m, t->mtu))
		return VERDICT_DROP(DROP_NO_ROOM);
	peers.traffic[w->id][p->peer].tx_bytes += m->data_len;
	p->kind = PACKET_DATAGRAM;
	p->path = *path;
	p->path.tos = tos;
	p->path.local_port = t->listen_port;
	p->out_port = path->port;
	return t->ports_underlay ? WG_OUTPUT_OUTER : WG_OUTPUT_TX;
}

static void item_fill(
	struct aead_item *item, struct rte_mbuf *m, struct keypair *kp, uint64_t counter)
{
	struct message_data *message = rte_pktmbuf_mtod(m, struct message_data *);

	message->type = le32_make(MESSAGE_DATA);
	message->receiver_index = le32_make(kp->remote_index);
	message->counter = le64_make(counter);
	item->key = &kp->send;
	memcpy(item->nonce, &message->counter, sizeof(item->nonce));
	item->src[0].data = message->encrypted;
	item->src[0].len = m->data_len - sizeof(*message) - AEAD_TAG_LEN;
	item->src[1].data = NULL;
	item->src[1].len = 0;
	item->dst = message->encrypted;
	item->aad = NULL;
	item->aad_len = 0;
}

static void wg_output_process(
	struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n)
{
	struct sealing s;

	s.n = 0;
	capture_burst(w, CAPTURE_INNER_OUT, pkts, n);
	for (uint16_t i = 0; i < n; i++) {
		verdicts[i] = admit(w, pkts[i], &s.keypairs[s.n]);
		if (verdicts[i] == WG_OUTPUT_TX || verdicts[i] == WG_OUTPUT_OUTER)
			s.places[s.n++] = i;
	}
	for (uint16_t k = 0, end; k < s.n; k = end) {
		struct keypair *kp = s.keypairs[k];
		uint64_t counter;

		for (end = k + 1; end < s.n && s.keypairs[end] == kp; end++)
			;
		counter = atomic_fetch_add_explicit(
			&kp->send_counter, (uint64_t)(end - k), memory_order_relaxed);
		for (uint16_t j = k; j < end; j++)
			item_fill(&s.items[j], pkts[s.places[j]], kp, counter++);
	}
	aead_seal(s.items, s.n);
}

const struct graph_node node_wg_output = {
	.name = "wg_output",
	.help = "seals packets for their peers",
	.process = wg_output_process,
	.next = (const char *const[]){"tx", "outer", NULL},
	.drops = wg_output_drops,
};
