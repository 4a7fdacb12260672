/* SPDX-License-Identifier: BSD-3-Clause */
/* One worker: what is sealed, opened, refused and counted. */
#include "wg_nodes.h"

#include <rte_errno.h>

#include "ecn.h"

static void test_round_trip(void **state)
{
	(void)state;
	for (uint16_t len = 20; len <= MTU; len += 13) {
		struct rte_mbuf *m = seal(inner4(len)), *want = inner4(len);

		assert_non_null(m);
		/* padded to 16, but never beyond the MTU; header and tag around */
		assert_int_equal(m->data_len, RTE_MIN(RTE_ALIGN_CEIL(len, 16), MTU) + 32);
		assert_int_equal(
			wg_message_type(rte_pktmbuf_mtod(m, void *), m->data_len), MESSAGE_DATA);
		m = open_one(m);
		assert_non_null(m);
		assert_int_equal(m->data_len, len);
		assert_memory_equal(
			rte_pktmbuf_mtod(m, void *), rte_pktmbuf_mtod(want, void *), len);
		for (uint16_t i = len; i < RTE_MIN(RTE_ALIGN_CEIL(len, 16), MTU); i++)
			assert_int_equal(rte_pktmbuf_mtod(m, uint8_t *)[i], 0);
		assert_int_equal(packet_of(m)->peer, NEAR);
		rte_pktmbuf_free(m);
		rte_pktmbuf_free(want);
	}
}

/* Seals a burst; the packets that left have the counters from `first` on. */
static void burst_counts(uint64_t first)
{
	struct rte_mbuf *burst[NODE_BURST_MAX];
	unsigned before = w.graph.n_kept;

	for (unsigned i = 0; i < NODE_BURST_MAX; i++)
		burst[i] = inner4((uint16_t)(60 + i));
	plain_run(&w.graph, "wg_output", burst, NODE_BURST_MAX);
	assert_int_equal(w.graph.n_kept, before + NODE_BURST_MAX);
	for (unsigned i = 0; i < NODE_BURST_MAX; i++) {
		const struct message_data *message =
			rte_pktmbuf_mtod(w.graph.kept[before + i], struct message_data *);

		assert_int_equal(le64_get(message->counter), first + i);
		assert_int_equal(le32_get(message->receiver_index), 0x2002);
	}
}

static void test_burst_counters(void **state)
{
	(void)state;
	burst_counts(0);
	w.workers[0].alone = true; /* counts without a locked add */
	burst_counts(NODE_BURST_MAX);
	w.workers[0].alone = false;
	burst_counts(2 * NODE_BURST_MAX);
}

static void test_no_room(void **state)
{
	struct rte_mbuf *burst[3] = {inner4(60), inner4(60), inner4(60)};
	struct peer_traffic *traffic = &peers.traffic[0][FAR];

	(void)state;
	rte_pktmbuf_append(burst[1], rte_pktmbuf_tailroom(burst[1]));
	plain_run(&w.graph, "wg_output", burst, 3);
	assert_int_equal(w.graph.n_kept, 2);
	assert_int_equal(plain_count(&w.graph, "wg_output_no_room"), 1);
	assert_int_equal(traffic->tx_packets, 2);
	burst[0] = inner4(60);
	plain_run(&w.graph, "wg_output", burst, 1);
	assert_int_equal(w.graph.n_kept, 3);
	for (unsigned i = 0; i < 3; i++) /* one of the first three is left out */
		assert_int_equal(
			le64_get(rte_pktmbuf_mtod(w.graph.kept[i], struct message_data *)->counter),
			i < 2 ? i : 3);
}

static void test_replayed(void **state)
{
	struct rte_mbuf *m = seal(inner4(100)), *again = copy_of(m);

	(void)state;
	rte_pktmbuf_free(open_one(m));
	assert_null(open_one(again));
	assert_int_equal(plain_count(&w.graph, "wg_input_replay"), 1);
}

static void test_corrupt(void **state)
{
	(void)state;
	for (unsigned at = 8; at < 132; at += 5) {
		struct rte_mbuf *m = seal(inner4(100));

		rte_pktmbuf_mtod(m, uint8_t *)[at] ^= 0x10;
		assert_null(open_one(m));
	}
	/* nothing of it touched the peer */
	assert_int_equal(atomic_load(&peers.traffic[0][NEAR].last_received), 0);
	assert_int_equal(plain_count(&w.graph, "wg_input_auth"), 25);
}

static void test_unknown_index_and_age(void **state)
{
	struct rte_mbuf *m = seal(inner4(100)), *old = seal(inner4(100));

	(void)state;
	rte_pktmbuf_mtod(m, uint8_t *)[4] ^= 1;
	assert_null(open_one(m));
	assert_int_equal(plain_count(&w.graph, "wg_input_no_key"), 1);
	w.workers[0].now = NOW + REJECT_AFTER_TIME;
	assert_null(open_one(old));
	assert_int_equal(plain_count(&w.graph, "wg_input_expired"), 1);
}

static void test_wrong_source(void **state)
{
	struct rte_mbuf *m = inner4(100);

	(void)state;
	rte_pktmbuf_mtod(m, uint8_t *)[15] = 1; /* FAR's address */
	assert_null(open_one(seal(m)));
	assert_int_equal(plain_count(&w.graph, "wg_input_source"), 1);
}

static void test_inner_lengths(void **state)
{
	struct rte_mbuf *m = inner4(100);

	(void)state;
	rte_pktmbuf_mtod(m, uint8_t *)[3] = 200; /* longer than the packet */
	assert_null(open_one(seal(m)));
	m = inner4(100);
	rte_pktmbuf_mtod(m, uint8_t *)[3] = 10; /* shorter than its header */
	assert_null(open_one(seal(m)));
	m = inner4(100);
	rte_pktmbuf_mtod(m, uint8_t *)[0] = 0x55; /* no IP version */
	assert_null(open_one(seal(m)));
	assert_int_equal(plain_count(&w.graph, "wg_input_inner"), 3);
}

static void test_keepalive(void **state)
{
	struct rte_mbuf *m = inner4(20);

	(void)state;
	rte_pktmbuf_trim(m, 20);
	m = seal(m);
	assert_int_equal(m->data_len, 32);
	assert_null(open_one(m));
	assert_int_equal(plain_count(&w.graph, "taken"), 1);
	assert_int_equal(atomic_load(&peers.traffic[0][NEAR].last_received), NOW);
	/* no data: nobody has to answer */
	assert_int_equal(atomic_load(&peers.slots[NEAR].data_received_since), 0);
	assert_int_equal(atomic_load(&peers.slots[FAR].data_sent_since), 0);
}

static void test_facts_and_events(void **state)
{
	struct worker_event event;

	(void)state;
	rte_pktmbuf_free(open_one(seal(inner4(100))));
	assert_int_equal(atomic_load(&peers.slots[FAR].data_sent_since), NOW);
	assert_int_equal(atomic_load(&peers.slots[NEAR].data_received_since), NOW);
	assert_int_equal(rte_ring_dequeue_elem(w.workers[0].events, &event, sizeof(event)), 0);
	assert_int_equal(event.type, EVENT_ACTIVE);
	assert_int_equal(event.peer, FAR);
	/* the responder's first authentic data confirms the key, once */
	assert_int_equal(rte_ring_dequeue_elem(w.workers[0].events, &event, sizeof(event)), 0);
	assert_int_equal(event.type, EVENT_ACTIVE);
	assert_int_equal(rte_ring_dequeue_elem(w.workers[0].events, &event, sizeof(event)), 0);
	assert_int_equal(event.type, EVENT_CONFIRMED);
	assert_int_equal(event.value, 0x2002);
	rte_pktmbuf_free(open_one(seal(inner4(100))));
	assert_true(rte_ring_empty(w.workers[0].events));
}

static void test_roaming(void **state)
{
	struct rte_mbuf *m = seal(inner4(100));
	struct worker_event event, last = {0};

	(void)state;
	packet_of(m)->path.remote[3] = 99;
	rte_pktmbuf_free(open_one(m));
	while (!rte_ring_dequeue_elem(w.workers[0].events, &event, sizeof(event)))
		last = event;
	assert_int_equal(last.type, EVENT_ROAMED);
	assert_int_equal(last.path.remote[3], 99);
}

/* A packet of the burst below: to peer `to` as its other end seals it. */
static struct rte_mbuf *sealed_for(uint32_t to, uint16_t len, uint8_t from_host)
{
	struct rte_mbuf *m = inner4(RTE_MAX(len, 20));

	if (to == NEAR) { /* the mirrored key's packets come from FAR */
		memcpy(rte_pktmbuf_mtod_offset(m, void *, 12), (uint8_t[]){10, 0, 0, 1}, 4);
		packet_of(m)->peer = NEAR;
	}
	if (!len)
		rte_pktmbuf_trim(m, 20);
	m = seal(m);
	packet_of(m)->path = w.path.path;
	packet_of(m)->path.remote[3] = from_host;
	return m;
}

/* Runs of two keys, with everything among them that can go wrong: each packet by its own merit, and
 * each peer's facts once. The path that counts is that of the last authentic packet. */
static void test_burst_of_runs(void **state)
{
	struct worker_event event, roamed = {0};
	struct rte_mbuf *burst[9];
	unsigned roams = 0;

	(void)state;
	burst[0] = sealed_for(FAR, 100, 1);
	burst[1] = sealed_for(FAR, 0, 1); /* a keep-alive */
	burst[2] = copy_of(burst[0]);
	burst[3] = sealed_for(FAR, 200, 55);
	burst[4] = sealed_for(NEAR, 300, 66);
	burst[5] = sealed_for(NEAR, 60, 77);
	burst[6] = sealed_for(FAR, 400, 1);
	burst[7] = sealed_for(FAR, 64, 88); /* comes damaged */
	burst[8] = sealed_for(FAR, 64, 99);
	rte_pktmbuf_mtod(burst[7], uint8_t *)[50] ^= 1;
	rte_pktmbuf_mtod(burst[8], uint8_t *)[7] ^= 0x80; /* nobody's index, at the same place */
	while (!rte_ring_dequeue_elem(w.workers[0].events, &event, sizeof(event)))
		;
	plain_run(&w.graph, "wg_input", burst, 9);
	assert_int_equal(w.graph.n_kept, 5);
	for (unsigned i = 0; i < 5; i++) {
		static const uint16_t lens[] = {100, 200, 300, 60, 400};

		assert_int_equal(w.graph.kept[i]->data_len, lens[i]);
		assert_int_equal(w.graph.kept[i]->pkt_len, lens[i]);
	}
	assert_int_equal(plain_count(&w.graph, "taken"), 1);
	assert_int_equal(plain_count(&w.graph, "wg_input_replay"), 1);
	assert_int_equal(plain_count(&w.graph, "wg_input_auth"), 1);
	assert_int_equal(plain_count(&w.graph, "wg_input_no_key"), 1);
	assert_int_equal(peers.traffic[0][NEAR].rx_packets, 4);
	assert_int_equal(peers.traffic[0][NEAR].rx_bytes, 112 + 208 + 400 + 4 * 32);
	assert_int_equal(peers.traffic[0][FAR].rx_packets, 2);
	assert_int_equal(peers.traffic[0][FAR].rx_bytes, 304 + 64 + 2 * 32);
	while (!rte_ring_dequeue_elem(w.workers[0].events, &event, sizeof(event)))
		if (event.type == EVENT_ROAMED && event.peer == FAR) {
			roamed = event;
			roams++;
		}
	assert_int_equal(roams, 1);
	assert_int_equal(roamed.path.remote[3], 77);
}

static void test_no_key_is_staged(void **state)
{
	struct rte_mbuf *m = inner4(100);
	void *punted = NULL;

	(void)state;
	atomic_store(&peers.slots[FAR].current, NULL);
	assert_null(seal(m));
	assert_int_equal(rte_ring_dequeue(w.workers[0].punts[PUNT_STAGED], &punted), 0);
	assert_ptr_equal(punted, m);
	/* what waited once does not wait again */
	packet_of(m)->flags |= PACKET_HELD;
	assert_null(seal(m));
	assert_int_equal(plain_count(&w.graph, "wg_output_no_key"), 1);
}

/* More than control is told of at once. */
static void test_staged_full(void **state)
{
	struct rte_mbuf *burst[NODE_BURST_MAX];
	unsigned room = rte_ring_free_count(w.workers[0].punts[PUNT_STAGED]), n = 0;

	(void)state;
	atomic_store(&peers.slots[FAR].current, NULL);
	for (; n < room + 10; n += 10) {
		for (unsigned i = 0; i < 10; i++)
			burst[i] = inner4(100);
		plain_run(&w.graph, "wg_output", burst, 10);
	}
	assert_int_equal(rte_ring_count(w.workers[0].punts[PUNT_STAGED]), room);
	assert_int_equal(plain_count(&w.graph, "wg_output_staged_full"), n - room);
}

static void test_nonce_exhaustion(void **state)
{
	struct rte_mbuf *m = inner4(100);
	void *punted = NULL;

	(void)state;
	atomic_store(&w.keypairs[FAR]->send->counter, REJECT_AFTER_MESSAGES - 1);
	assert_null(seal(m));
	assert_int_equal(rte_ring_dequeue(w.workers[0].punts[PUNT_STAGED], &punted), 0);
	rte_pktmbuf_free(punted);
	assert_int_equal(atomic_load(&w.keypairs[FAR]->send->counter), REJECT_AFTER_MESSAGES - 1);
}

/* Published while a round runs whose clock was read before: the key is new, not ages old. */
static void test_key_younger_than_round(void **state)
{
	struct rte_mbuf *m;

	(void)state;
	keypair_born(w.keypairs[FAR], NOW + 1);
	keypair_born(w.keypairs[NEAR], NOW + 1);
	m = seal(inner4(100));
	assert_non_null(m);
	m = open_one(m);
	assert_non_null(m);
	rte_pktmbuf_free(m);
}

static void test_rekey_asked_once(void **state)
{
	struct worker_event event;
	unsigned asked = 0;

	(void)state;
	w.workers[0].now = NOW + REKEY_AFTER_TIME;
	for (unsigned i = 0; i < 3; i++)
		rte_pktmbuf_free(seal(inner4(100)));
	while (!rte_ring_dequeue_elem(w.workers[0].events, &event, sizeof(event)))
		asked += event.type == EVENT_WANT_HANDSHAKE;
	assert_int_equal(asked, 1);
}

static void test_other_workers_window(void **state)
{
	struct rte_mbuf *first = seal(inner4(100)), *second = seal(inner4(100));
	void *handed;

	(void)state;
	rte_pktmbuf_free(open_one(first));
	assert_int_equal(atomic_load(&w.keypairs[NEAR]->owner), 0);
	/* a worker that is not the owner hands over; without such a worker it is a named loss */
	w.graph.worker = &w.workers[1];
	assert_null(open_one(second));
	assert_true(rte_ring_dequeue(w.workers[1].handoff, &handed) != 0);
	assert_int_equal(plain_count(&w.graph, "wg_input_handoff_full"), 1);
}

static void test_ecn(void **state)
{
	struct rte_mbuf *m = inner4(100);
	uint8_t *ip = rte_pktmbuf_mtod(m, uint8_t *);

	(void)state;
	ip[1] = 0xb9; /* DSCP EF, ECT(1) */
	m = seal(m);
	assert_int_equal(packet_of(m)->path.tos, 1); /* the mark, not the DSCP */
	packet_of(m)->path.tos = ECN_CE;
	m = open_one(m);
	assert_non_null(m);
	assert_int_equal(rte_pktmbuf_mtod(m, uint8_t *)[1], 0xbb);
	rte_pktmbuf_free(m);
	m = seal(inner4(100)); /* not ECN-capable inside */
	packet_of(m)->path.tos = ECN_CE;
	assert_null(open_one(m));
	assert_int_equal(plain_count(&w.graph, "wg_input_ecn"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WG_TEST(test_round_trip),
		WG_TEST(test_burst_counters),
		WG_TEST(test_no_room),
		WG_TEST(test_replayed),
		WG_TEST(test_corrupt),
		WG_TEST(test_unknown_index_and_age),
		WG_TEST(test_wrong_source),
		WG_TEST(test_inner_lengths),
		WG_TEST(test_keepalive),
		WG_TEST(test_facts_and_events),
		WG_TEST(test_roaming),
		WG_TEST(test_burst_of_runs),
		WG_TEST(test_no_key_is_staged),
		WG_TEST(test_staged_full),
		WG_TEST(test_nonce_exhaustion),
		WG_TEST(test_key_younger_than_round),
		WG_TEST(test_rekey_asked_once),
		WG_TEST(test_other_workers_window),
		WG_TEST(test_ecn),
	};

	return aead_missing() ? 77 : cmocka_run_group_tests(tests, eal_once, NULL);
}
