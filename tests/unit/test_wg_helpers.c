/* SPDX-License-Identifier: BSD-3-Clause */
/* A tunnel on more than one worker: the FIFOs of its owner, and who helps with them. */
#include "wg_nodes.h"

#include <pthread.h>
#include <sched.h>

#include "fib.h"
#include "work.h"

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
	work->items[0].ok = transport_seal(&work->items[0].transport, &work->items[0].inner);
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

/* Who opens asks the FIB as well; the answer is the owner's to use while it is the FIB's still. */
static void test_opened_next_hop_is_fresh(void **state)
{
	struct fib fib = {.generation = 7};
	struct net_prefix to_far;
	struct work *work;

	(void)state;
	works_begin(true, false);
	work = w.workers[0].opening;
	allowedips_init(&fib.routes, NULL);
	assert_int_equal(net_prefix_parse(&to_far, "10.0.0.1/32"), 0);
	assert_int_equal(allowedips_insert(&fib.routes, &to_far, 3, NULL), 0);
	w.table.fib = &fib;
	w.tunnel.ports_underlay = true;
	w.path.hop = (uint64_t)7 << 32 | 4;
	for (unsigned i = 0; i < FULL_BURSTS_FIRST + 1; i++) {
		burst_in(NODE_BURST_MAX);
		assert_int_equal(w.graph.n_kept > 0, i < FULL_BURSTS_FIRST - 1);
		rte_pktmbuf_free_bulk(w.graph.kept, w.graph.n_kept);
		w.graph.n_kept = 0;
	}
	assert_int_equal(work_help(work), NODE_BURST_MAX);
	assert_int_equal(work_help(work), NODE_BURST_MAX);
	assert_true(source_run(&node_opened) > 0);
	assert_true(packet_of(w.graph.kept[0])->flags & PACKET_ROUTED);
	assert_int_equal(packet_of(w.graph.kept[0])->next_hop, 3);
	rte_pktmbuf_free_bulk(w.graph.kept, w.graph.n_kept);
	w.graph.n_kept = 0;
	fib.generation = 8;
	assert_true(source_run(&node_opened) > 0);
	assert_false(packet_of(w.graph.kept[0])->flags & PACKET_ROUTED);
	works_end();
	w.table.fib = NULL;
	allowedips_fini(&fib.routes);
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
	work->items[0].ok = transport_open(&work->items[0].transport, &work->items[0].inner);
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

/* What takes long is handed out in halves, which come out in order. */
static void test_long_burst_is_two_items(void **state)
{
	struct rte_mbuf *burst[NODE_BURST_MAX];
	unsigned passed = 0;

	(void)state;
	works_begin(true, false);
	next_number = expected_number = 0;
	for (unsigned i = 0; i < FULL_BURSTS_FIRST; i++) {
		assert_int_equal(work_used(w.workers[0].opening), 0);
		for (unsigned k = 0; k < NODE_BURST_MAX; k++) {
			burst[k] = inner4(1400);
			next_number++;
			memcpy(rte_pktmbuf_mtod_offset(burst[k], void *, 24), &next_number, 4);
		}
		plain_run(&w.graph, "wg_output", burst, NODE_BURST_MAX);
		w.graph.n_kept = 0;
		plain_run(&w.graph, "wg_input", burst, NODE_BURST_MAX);
		passed += numbers_check();
	}
	assert_int_equal(work_used(w.workers[0].opening), 2);
	assert_int_equal(work_help(w.workers[0].opening), NODE_BURST_MAX / 2);
	while (work_used(w.workers[0].opening))
		passed += opened_take();
	assert_int_equal(passed, FULL_BURSTS_FIRST * NODE_BURST_MAX);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		WG_TEST(test_helped_in_order),
		WG_TEST(test_waits_for_helper),
		WG_TEST(test_left_to_helpers),
		WG_TEST(test_sealed_by_helpers),
		WG_TEST(test_sealing_waits_for_helper),
		WG_TEST(test_sealed_next_hop_is_fresh),
		WG_TEST(test_opened_next_hop_is_fresh),
		WG_TEST(test_long_burst_is_two_items),
		WG_TEST(test_work_full),
	};

	return aead_missing() ? 77 : cmocka_run_group_tests(tests, eal_once, NULL);
}
