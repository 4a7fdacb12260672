/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wg_output and wg_input as functions on hand-made mbufs. Two peers of one tunnel have mirrored
 * keys, so that what wg_output seals for "far" is what wg_input opens as from "near".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <rte_eal.h>
#include <rte_errno.h>

#include "aead.h"
#include "control.h"
#include "eal.h"
#include "ecn.h"
#include "fib.h"
#include "nodes.h"
#include "plain_graph.h"
#include "tunnel.h"
#include "work.h"

enum { FAR, NEAR }; /* peer indices: packets go out to FAR, and come in from NEAR */

#define NOW (1000 * NS_PER_SEC)
#define MTU 1420

static struct {
	struct worker workers[2];
	struct dp_table table;
	struct dp_tunnel tunnel;
	struct allowedips allowed_ips;
	struct keypair *keypairs[2];
	struct peer_path path;
	struct rte_mempool *pool;
	struct plain_graph graph;
} w;

static const struct graph_node *const nodes[] = {
	&node_wg_input, &node_wg_output, &node_opened, &node_sealed, NULL};

static struct rte_ring *ring(const char *name, unsigned id)
{
	char text[48];

	snprintf(text, sizeof(text), "%s%u", name, id);
	return rte_ring_create(text, 256, SOCKET_ID_ANY, 0);
}

static void rings_make(struct worker *worker, unsigned id)
{
	char name[32];

	worker->id = id;
	worker->now = NOW;
	worker->table = &w.table;
	worker->pool = w.pool;
	for (unsigned c = 0; c < PUNT_CLASSES; c++) {
		snprintf(name, sizeof(name), "punt%u-", c);
		worker->punts[c] = ring(name, id);
	}
	snprintf(name, sizeof(name), "event%u", id);
	worker->events =
		rte_ring_create_elem(name, sizeof(struct worker_event), 256, SOCKET_ID_ANY, 0);
	worker->handoff = ring("handoff", id);
}

static struct keypair *keypair_make(uint32_t peer, uint8_t send, uint8_t receive, uint32_t index,
	uint32_t remote, bool initiator)
{
	struct peer p = {.index = peer, .tunnel = NULL};
	struct tunnel *t = control_zalloc(sizeof(*t));
	struct noise_keys keys = {
		.local_index = index, .remote_index = remote, .initiator = initiator};
	struct keypair *kp;

	p.tunnel = t;
	memset(&keys.send, send, sizeof(keys.send));
	memset(&keys.receive, receive, sizeof(keys.receive));
	kp = keypair_new(&p, &keys);
	free(t);
	keypair_born(kp, NOW);
	keypair_publish(kp);
	return kp;
}

static void prefix_add(const char *text, uint32_t peer)
{
	struct net_prefix prefix;

	assert_int_equal(net_prefix_parse(&prefix, text), 0);
	assert_int_equal(allowedips_insert(&w.allowed_ips, &prefix, peer, NULL), 0);
}

static int setup(void **state)
{
	struct err err = {0};

	(void)state;
	memset(w.workers, 0, sizeof(w.workers));
	assert_int_equal(peers_init(16, 2, &err), 0);
	allowedips_init(&w.allowed_ips, NULL);
	prefix_add("10.0.0.1/32", FAR);
	prefix_add("10.0.0.2/32", NEAR);
	prefix_add("fd00::2/128", NEAR);
	w.tunnel = (struct dp_tunnel){
		.mtu = MTU, .tun_port = PORT_NONE, .allowed_ips = &w.allowed_ips};
	w.table.n_tunnels = 1;
	w.table.tunnels[0] = &w.tunnel;
	for (unsigned i = 0; i < 2; i++)
		rings_make(&w.workers[i], i);
	w.keypairs[FAR] = keypair_make(FAR, 1, 2, 0x1001, 0x2002, true);
	w.keypairs[NEAR] = keypair_make(NEAR, 2, 1, 0x2002, 0x1001, false);
	w.path = (struct peer_path){
		.path = {.family = AF_INET, .remote_port = 1, .remote = {192, 0, 2, 1}}};
	for (unsigned i = 0; i < 2; i++) {
		atomic_store(&peers.slots[i].current, w.keypairs[i]->send);
		atomic_store(&peers.slots[i].path, &w.path);
	}
	w.graph = (struct plain_graph){.nodes = nodes, .worker = &w.workers[0]};
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rte_pktmbuf_free_bulk(w.graph.kept, w.graph.n_kept);
	for (unsigned i = 0; i < 2; i++) {
		struct worker *worker = &w.workers[i];
		void *m;

		for (unsigned c = 0; c < PUNT_CLASSES; c++) {
			while (!rte_ring_dequeue(worker->punts[c], &m))
				rte_pktmbuf_free(m);
			rte_ring_free(worker->punts[c]);
		}
		while (!rte_ring_dequeue(worker->handoff, &m))
			rte_pktmbuf_free(m);
		rte_ring_free(worker->events);
		rte_ring_free(worker->handoff);
	}
	allowedips_fini(&w.allowed_ips);
	peers_fini();
	assert_int_equal(rte_mempool_in_use_count(w.pool), 0); /* no packet was lost */
	return 0;
}

/* An inner packet from 10.0.0.2 (NEAR) of `len` bytes, to be sealed for FAR. */
static struct rte_mbuf *inner4(uint16_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(w.pool);
	uint8_t *ip = (uint8_t *)rte_pktmbuf_append(m, len);

	memset(packet_of(m), 0, sizeof(struct packet));
	for (uint16_t i = 0; i < len; i++)
		ip[i] = (uint8_t)(i * 7);
	ip[0] = 0x45;
	ip[1] = 0;
	ip[2] = (uint8_t)(len >> 8);
	ip[3] = (uint8_t)len;
	memcpy(ip + 12, (uint8_t[]){10, 0, 0, 2}, 4);
	memcpy(ip + 16, (uint8_t[]){10, 0, 0, 1}, 4);
	packet_of(m)->kind = PACKET_IP;
	packet_of(m)->peer = FAR;
	return m;
}

/* Seals one packet; what would go to the port. */
static struct rte_mbuf *seal(struct rte_mbuf *m)
{
	unsigned before = w.graph.n_kept;

	plain_run(&w.graph, "wg_output", &m, 1);
	if (w.graph.n_kept == before)
		return NULL;
	w.graph.n_kept = before;
	return m;
}

static struct rte_mbuf *open_one(struct rte_mbuf *m)
{
	unsigned before = w.graph.n_kept;

	plain_run(&w.graph, "wg_input", &m, 1);
	if (w.graph.n_kept == before)
		return NULL;
	w.graph.n_kept = before;
	return m;
}

static struct rte_mbuf *copy_of(struct rte_mbuf *m)
{
	struct rte_mbuf *copy = rte_pktmbuf_copy(m, w.pool, 0, UINT32_MAX);

	*packet_of(copy) = *packet_of(m);
	return copy;
}

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

/* ---- a tunnel on more than one worker ---------------------------------------------------------
 */

#define FULL_BURSTS_FIRST 8 /* done at once, before others are asked to help */

static _Atomic bool help_over;
static _Atomic unsigned helped;

static void *help(void *arg)
{
	cpu_set_t all;

	/* EAL has put the thread that made this one on a core */
	memset(&all, 0xff, sizeof(all));
	pthread_setaffinity_np(pthread_self(), sizeof(all), &all);
	while (!help_over)
		helped += work_help(arg);
	return NULL;
}

/* The two FIFOs of worker 0; the one for sealing is not shared unless that is what is tested. */
static void works_begin(bool opening, bool sealing)
{
	w.workers[0].opening = work_new(transport_open, opening);
	w.workers[0].sealing = work_new(transport_seal, sealing);
	assert_non_null(w.workers[0].opening);
	assert_non_null(w.workers[0].sealing);
	work_helpers = 1;
}

static void works_end(void) /* with the packets that are still in them */
{
	work_free(w.workers[0].opening);
	work_free(w.workers[0].sealing);
	work_helpers = 0;
}

static uint32_t next_number, expected_number;

static void burst_make(struct rte_mbuf **burst, uint16_t n)
{
	for (unsigned i = 0; i < n; i++) {
		burst[i] = inner4((uint16_t)(60 + i % 7));
		next_number++;
		memcpy(rte_pktmbuf_mtod_offset(burst[i], void *, 24), &next_number, 4);
	}
}

/* Seals a full burst whose packets are numbered, and gives it to wg_input; every 50th is damaged.
 */
static unsigned burst_in(uint16_t n)
{
	struct rte_mbuf *burst[NODE_BURST_MAX];
	unsigned before = w.graph.n_kept, damaged = 0;

	burst_make(burst, n);
	plain_run(&w.graph, "wg_output", burst, n);
	assert_int_equal(w.graph.n_kept, before + n);
	w.graph.n_kept = before;
	for (unsigned i = 0; i < n; i++)
		if ((next_number + i) % 50 == 0) {
			rte_pktmbuf_mtod(burst[i], uint8_t *)[40] ^= 1;
			damaged++;
		}
	plain_run(&w.graph, "wg_input", burst, n);
	return damaged;
}

/* What is opened goes on to `route`, which this graph lacks: checks the numbers there. */
static unsigned numbers_check(void)
{
	unsigned n = w.graph.n_kept;

	for (unsigned i = 0; i < n; i++) {
		uint32_t number;

		memcpy(&number, rte_pktmbuf_mtod_offset(w.graph.kept[i], void *, 24), 4);
		assert_true(number > expected_number);
		expected_number = number;
		rte_pktmbuf_free(w.graph.kept[i]);
	}
	w.graph.n_kept = 0;
	return n;
}

static uint16_t source_run(const struct graph_node *node)
{
	uint16_t verdicts[NODE_BURST_MAX];
	struct rte_mbuf *pkts[NODE_BURST_MAX];
	uint16_t n = node->poll(&w.workers[0], pkts, verdicts, NODE_BURST_MAX);

	for (uint16_t i = 0; i < n; i++)
		plain_verdict(&w.graph, node, verdicts[i], pkts + i, 1);
	return n;
}

static unsigned opened_take(void)
{
	source_run(&node_opened);
	return numbers_check();
}

static void test_helped_in_order(void **state)
{
	unsigned passed = 0, damaged = 0, bursts = 0;
	struct work *work;
	pthread_t thread;

	(void)state;
	works_begin(true, false);
	work = w.workers[0].opening;
	next_number = expected_number = 0;
	helped = 0;
	help_over = false;
	assert_int_equal(pthread_create(&thread, NULL, help, work), 0);
	/* until the other thread had its part, however the kernel runs the two */
	for (; bursts < 300 || helped < 20 * NODE_BURST_MAX; bursts++) {
		damaged += burst_in(NODE_BURST_MAX);
		passed += numbers_check();
		sched_yield();
		for (unsigned i = 0; i < 4; i++)
			passed += opened_take();
		while (work_used(work) == WORK_ITEMS)
			passed += opened_take();
	}
	while (work_used(work))
		passed += opened_take();
	help_over = true;
	pthread_join(thread, NULL);
	assert_int_equal(passed + damaged, bursts * NODE_BURST_MAX);
	assert_int_equal(plain_count(&w.graph, "wg_input_auth"), damaged);
	assert_int_equal(plain_count(&w.graph, "wg_input_replay"), 0);
	works_end();
}

/* What was sealed, in the order in which it left, is opened: counters without gap, and the numbers
 * that went in. */
static unsigned sealed_check(uint64_t *counter)
{
	struct rte_mbuf *burst[NODE_BURST_MAX * 4];
	unsigned n = w.graph.n_kept;

	memcpy(burst, w.graph.kept, n * sizeof(*burst));
	w.graph.n_kept = 0;
	for (unsigned i = 0; i < n; i++) {
		const struct message_data *message =
			rte_pktmbuf_mtod(burst[i], const struct message_data *);

		assert_int_equal(le64_get(message->counter), (*counter)++);
		assert_int_equal(packet_of(burst[i])->kind, PACKET_DATAGRAM);
		plain_run(&w.graph, "wg_input", &burst[i], 1);
	}
	assert_int_equal(w.graph.n_kept, n); /* each is authentic */
	return numbers_check();
}

static void test_sealed_by_helpers(void **state)
{
	struct rte_mbuf *burst[NODE_BURST_MAX];
	unsigned passed = 0, bursts = 0;
	uint64_t counter = 0;
	struct work *work;
	pthread_t thread;

	(void)state;
	works_begin(false, true);
	work = w.workers[0].sealing;
	next_number = expected_number = 0;
	helped = 0;
	help_over = false;
	assert_int_equal(pthread_create(&thread, NULL, help, work), 0);
	for (; bursts < 300 || helped < 20 * NODE_BURST_MAX; bursts++) {
		burst_make(burst, NODE_BURST_MAX);
		plain_run(&w.graph, "wg_output", burst, NODE_BURST_MAX);
		passed += sealed_check(&counter);
		sched_yield();
		do {
			source_run(&node_sealed);
			passed += sealed_check(&counter);
		} while (work_used(work) == WORK_ITEMS);
	}
	while (work_used(work)) {
		source_run(&node_sealed);
		passed += sealed_check(&counter);
	}
	help_over = true;
	pthread_join(thread, NULL);
	assert_int_equal(passed, bursts * NODE_BURST_MAX);
	works_end();
}

/* Nothing leaves before it is sealed, and nothing overtakes what a helper is slow with; nobody who
 * could help: no FIFO. */
static void test_sealing_waits_for_helper(void **state)
{
	struct rte_mbuf *burst[NODE_BURST_MAX];
	uint64_t counter = 0;
	unsigned passed = 0;
	struct work *work;

	(void)state;
	works_begin(false, true);
	work = w.workers[0].sealing;
	next_number = expected_number = 0;
	for (unsigned i = 0; i < FULL_BURSTS_FIRST + 2; i++) {
		work_helpers = i >= FULL_BURSTS_FIRST + 1;
		burst_make(burst, NODE_BURST_MAX);
		plain_run(&w.graph, "wg_output", burst, NODE_BURST_MAX);
		passed += sealed_check(&counter);
	}
	assert_int_equal(work_used(work), 1);
	atomic_store(&work->items[0].state, WORK_TAKEN);
	burst_make(burst, 1); /* no load any more, and still it goes behind */
	plain_run(&w.graph, "wg_output", burst, 1);
	assert_int_equal(source_run(&node_sealed), 0);
	assert_int_equal(passed, (FULL_BURSTS_FIRST + 1) * NODE_BURST_MAX);
	work->items[0].ok = transport_seal(&work->items[0].transport);
	atomic_store(&work->items[0].state, WORK_DONE);
	while (work_used(work)) {
		source_run(&node_sealed);
		passed += sealed_check(&counter);
	}
	assert_int_equal(passed, (FULL_BURSTS_FIRST + 2) * NODE_BURST_MAX + 1);
	works_end();
}

/* A next hop that a packet carries is the FIB's of the time before it waited. */
static void test_sealed_next_hop_is_fresh(void **state)
{
	struct rte_mbuf *burst[NODE_BURST_MAX];
	struct fib fib = {.generation = 7};

	(void)state;
	works_begin(false, true);
	w.table.fib = &fib;
	w.tunnel.ports_underlay = true;
	w.path.hop = (uint64_t)7 << 32 | 4;
	for (unsigned i = 0; i < FULL_BURSTS_FIRST + 1; i++) {
		burst_make(burst, NODE_BURST_MAX);
		plain_run(&w.graph, "wg_output", burst, NODE_BURST_MAX);
		if (i < FULL_BURSTS_FIRST - 1) {
			rte_pktmbuf_free_bulk(w.graph.kept, w.graph.n_kept);
			w.graph.n_kept = 0;
		}
	}
	assert_int_equal(source_run(&node_sealed), NODE_BURST_MAX);
	assert_true(packet_of(w.graph.kept[0])->flags & PACKET_ROUTED);
	assert_int_equal(packet_of(w.graph.kept[0])->next_hop, 3);
	fib.generation = 8;
	work_helpers = 0; /* whom the only item would be left to for a moment */
	assert_int_equal(source_run(&node_sealed), NODE_BURST_MAX);
	assert_false(packet_of(w.graph.kept[NODE_BURST_MAX])->flags & PACKET_ROUTED);
	works_end();
	w.table.fib = NULL;
}

/* The first burst is at a helper that takes its time: nothing overtakes it, whatever else is done.
 */
static void test_waits_for_helper(void **state)
{
	unsigned passed = 0, damaged = 0, bursts = FULL_BURSTS_FIRST + 1;
	struct work *work;

	(void)state;
	works_begin(true, false);
	work = w.workers[0].opening;
	next_number = expected_number = 0;
	for (unsigned i = 0; i < bursts; i++) {
		damaged += burst_in(NODE_BURST_MAX);
		passed += numbers_check();
	}
	assert_int_equal(work_used(work), 2);
	atomic_store(&work->items[0].state, WORK_TAKEN);
	assert_int_equal(work_help(work), NODE_BURST_MAX);
	assert_int_equal(opened_take(), 0);
	damaged += burst_in(1); /* no load any more, and still it goes behind */
	assert_int_equal(numbers_check(), 0);
	assert_int_equal(opened_take(), 0);
	work->items[0].ok = transport_open(&work->items[0].transport);
	atomic_store(&work->items[0].state, WORK_DONE);
	while (work_used(work))
		passed += opened_take();
	assert_int_equal(passed + damaged, bursts * NODE_BURST_MAX + 1);
	works_end();
}

/* The only item is left to helpers, but not for long, and not when there are none. */
static void test_left_to_helpers(void **state)
{
	unsigned in_vain = 0;

	(void)state;
	works_begin(true, false);
	next_number = expected_number = 0;
	for (unsigned i = 0; i < FULL_BURSTS_FIRST; i++) {
		burst_in(NODE_BURST_MAX);
		numbers_check();
	}
	assert_int_equal(work_used(w.workers[0].opening), 1);
	while (!opened_take())
		in_vain++;
	assert_int_equal(in_vain, WORK_SPARE);
	burst_in(NODE_BURST_MAX);
	work_helpers = 0;
	assert_int_equal(work_used(w.workers[0].opening), 1);
	assert_true(opened_take() > 0);
	works_end();
}

static void test_work_full(void **state)
{
	struct rte_mbuf *burst[NODE_BURST_MAX];

	(void)state;
	works_begin(true, false);
	next_number = expected_number = 0;
	for (unsigned i = 0; i < FULL_BURSTS_FIRST - 1 + WORK_ITEMS; i++) {
		burst_in(NODE_BURST_MAX);
		numbers_check();
	}
	assert_int_equal(work_used(w.workers[0].opening), WORK_ITEMS);
	assert_int_equal(plain_count(&w.graph, "wg_input_work_full"), 0);
	burst_in(NODE_BURST_MAX);
	assert_int_equal(plain_count(&w.graph, "wg_input_work_full"), NODE_BURST_MAX);
	/* nobody helps: the owner opens the first itself, and goes on */
	assert_true(opened_take() > 0);
	works_end();

	works_begin(false, true);
	for (unsigned i = 0; i < FULL_BURSTS_FIRST + WORK_ITEMS; i++) {
		burst_make(burst, NODE_BURST_MAX);
		plain_run(&w.graph, "wg_output", burst, NODE_BURST_MAX);
		rte_pktmbuf_free_bulk(w.graph.kept, w.graph.n_kept);
		w.graph.n_kept = 0;
	}
	assert_int_equal(plain_count(&w.graph, "wg_output_work_full"), NODE_BURST_MAX);
	works_end();
}

static int eal_once(void **state)
{
	char *argv[] = {(char[]){"test"}, (char[]){"--no-huge"}, (char[]){"-m"}, (char[]){"96"},
		(char[]){"--no-pci"}, (char[]){"--no-shconf"}, (char[]){"--no-telemetry"},
		(char[]){"--log-level=error"}};
	struct err err = {0};

	(void)state;
	if (rte_eal_init(RTE_DIM(argv), argv) < 0)
		return -1;
	w.pool = eal_pool("test", 8191, 2000, -1, &err);
	return w.pool ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
		cmocka_unit_test_setup_teardown(test_burst_counters, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_replayed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_corrupt, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unknown_index_and_age, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_source, setup, teardown),
		cmocka_unit_test_setup_teardown(test_inner_lengths, setup, teardown),
		cmocka_unit_test_setup_teardown(test_keepalive, setup, teardown),
		cmocka_unit_test_setup_teardown(test_facts_and_events, setup, teardown),
		cmocka_unit_test_setup_teardown(test_roaming, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_key_is_staged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nonce_exhaustion, setup, teardown),
		cmocka_unit_test_setup_teardown(test_key_younger_than_round, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rekey_asked_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_workers_window, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ecn, setup, teardown),
		cmocka_unit_test_setup_teardown(test_helped_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_waits_for_helper, setup, teardown),
		cmocka_unit_test_setup_teardown(test_left_to_helpers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sealed_by_helpers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sealing_waits_for_helper, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sealed_next_hop_is_fresh, setup, teardown),
		cmocka_unit_test_setup_teardown(test_work_full, setup, teardown),
	};

	if (aead_init(NULL) < 0) { /* TAILPLANE_AEAD names one that this machine cannot run */
		puts("this machine cannot run the AEAD that TAILPLANE_AEAD names");
		return 77;
	}
	return cmocka_run_group_tests(tests, eal_once, NULL);
}
