/* SPDX-License-Identifier: BSD-3-Clause */
/* The skeleton under the graph nodes: what becomes of a verdict, of good ones and of wrong ones. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <rte_malloc.h>

#include "dataplane.h"
#include "eal_begin.h"
#include "graph.h"
#include "worker.h"

static struct {
	struct rte_mempool *pool;
	struct worker *worker;
	struct graph *graph;
	const uint16_t *verdicts; /* of the next burst */
	uint16_t n;
	unsigned ended;
} g;

enum { DROP_ONE, DROP_TWO };

static const struct drop_reason source_drops[] = {
	{"source_one", "the first reason"}, {"source_two", "the second reason"}, {NULL, NULL}};
static const struct drop_reason other_drops[] = {{"other", "of the node after it"}, {NULL, NULL}};

static uint16_t source_poll(
	struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t max)
{
	uint16_t n = g.n;

	(void)w;
	assert_true(n <= max);
	g.n = 0;
	for (uint16_t i = 0; i < n; i++) {
		pkts[i] = rte_pktmbuf_alloc(g.pool);
		assert_non_null(pkts[i]);
		verdicts[i] = g.verdicts[i];
		if (verdicts[i] == VERDICT_TAKEN)
			rte_pktmbuf_free(pkts[i]);
	}
	return n;
}

static uint16_t twin_poll(
	struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t max)
{
	(void)w, (void)pkts, (void)verdicts, (void)max;
	return 0;
}

static void end_process(struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n)
{
	(void)w;
	g.ended += n;
	for (uint16_t i = 0; i < n; i++) {
		rte_pktmbuf_free(pkts[i]);
		verdicts[i] = VERDICT_TAKEN;
	}
}

static const char *const to_end[] = {"end", NULL};
static const struct graph_node node_source = {
	.name = "source", .poll = source_poll, .next = to_end, .drops = source_drops};
static const struct graph_node node_twin = {
	.name = "twin", .poll = twin_poll, .next = to_end, .drops = source_drops};
static const struct graph_node node_end = {
	.name = "end", .process = end_process, .drops = other_drops};
static const struct graph_node *const nodes[] = {&node_source, &node_twin, &node_end, NULL};

static uint64_t dropped(const char *name)
{
	return g.worker->counters.drops[graph_drop_number(name)];
}

static void test_verdicts(void **state)
{
	static const uint16_t verdicts[] = {0, 0, VERDICT_DROP(DROP_ONE), VERDICT_TAKEN,
		VERDICT_DROP(DROP_TWO), VERDICT_DROP(DROP_TWO), 0, VERDICT_TAKEN};

	(void)state;
	g.verdicts = verdicts;
	g.n = RTE_DIM(verdicts);
	graph_walk(g.graph);
	assert_int_equal(g.ended, 3);
	assert_int_equal(dropped("source_one"), 1);
	assert_int_equal(dropped("source_two"), 2);
	assert_int_equal(dropped("other"), 0);
	assert_int_equal(dropped("graph_verdict"), 0);
	assert_int_equal(rte_mempool_in_use_count(g.pool), 0);
}

/* An edge, or a reason, that the node does not have: counted under its own name, and freed. */
static void test_wrong_verdicts(void **state)
{
	static const uint16_t verdicts[] = {
		1, 0x7fff, 0, VERDICT_DROP(2), VERDICT_DROP(300), VERDICT_DROP(0x7ffe)};

	(void)state;
	g.verdicts = verdicts;
	g.n = RTE_DIM(verdicts);
	graph_walk(g.graph);
	assert_int_equal(g.ended, 1);
	assert_int_equal(dropped("graph_verdict"), 5);
	for (unsigned i = 0; i < DROPS_MAX; i++)
		if (i != graph_drop_number("graph_verdict"))
			assert_int_equal(g.worker->counters.drops[i], 0);
	assert_int_equal(rte_mempool_in_use_count(g.pool), 0);
}

/* Two nodes with one table of reasons share its counters. */
static void test_shared_reasons(void **state)
{
	const char *meaning;
	unsigned n = 0, ones = 0;

	(void)state;
	for (const char *name; (name = graph_drop_name(n, &meaning)); n++)
		ones += !strcmp(name, "source_one");
	assert_int_equal(ones, 1);
	assert_int_equal(n, 4); /* two, one, and the skeleton's own */
}

static unsigned late;

static void late_process(struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n)
{
	(void)w, (void)pkts;
	late += n;
	for (uint16_t i = 0; i < n; i++)
		verdicts[i] = i == 0 ? VERDICT_DROP(0) : 0;
}

/* A plugin that was added brings its node along when the data plane starts anew; one that does not
 * fit changes nothing. */
static void test_late_nodes(void **state)
{
	static const uint16_t verdicts[] = {0, 0, 0, VERDICT_DROP(DROP_TWO)};
	static const struct drop_reason late_drops[] = {{"late", "of the late one"}, {NULL, NULL}};
	static const struct graph_node good = {.name = "late",
		.process = late_process,
		.next = to_end,
		.drops = late_drops,
		.before = "end"};
	static const struct graph_node stray = {
		.name = "stray", .process = late_process, .next = to_end, .before = "nowhere"};
	static const struct graph_node twice = {.name = "end", .process = late_process};
	const struct graph_node *const extra[] = {&good, NULL}, *const strays[] = {&stray, NULL},
				       *const twices[] = {&twice, NULL};
	struct err err = {0};

	(void)state;
	graph_free(g.graph);
	assert_int_equal(graph_register(nodes, strays, &err), -ENOENT);
	assert_int_equal(graph_register(nodes, twices, &err), -EEXIST);
	for (unsigned round = 1; round <= 3; round++) { /* the third without the plugin */
		assert_int_equal(graph_register(nodes, round < 3 ? extra : NULL, &err), 0);
		g.graph = graph_new(g.worker, &err);
		assert_non_null(g.graph);
		g.verdicts = verdicts;
		g.n = RTE_DIM(verdicts);
		graph_walk(g.graph);
		assert_int_equal(late, 3 * round);
		assert_int_equal(g.ended, 2 * round);
		assert_int_equal(dropped("late"), round);
		assert_int_equal(dropped("source_two"), round);
		if (round < 3)
			graph_free(g.graph);
	}
	assert_int_equal(rte_mempool_in_use_count(g.pool), 0);
}

static int setup(void **state)
{
	(void)state;
	memset(&g.worker->counters, 0, sizeof(g.worker->counters));
	g.ended = 0;
	return 0;
}

static int once(void **state)
{
	struct err err = {0};

	(void)state;
	eal_begin("64");
	g.pool = eal_pool("test", 255, 2000, -1, &err);
	g.worker = aligned_alloc(
		RTE_CACHE_LINE_SIZE, RTE_ALIGN_CEIL(sizeof(struct worker), RTE_CACHE_LINE_SIZE));
	if (!g.pool || !g.worker || graph_register(nodes, NULL, &err))
		return -1;
	memset(g.worker, 0, sizeof(*g.worker));
	graph_worker = g.worker;
	g.graph = graph_new(g.worker, &err);
	return g.graph ? 0 : -1;
}

static int once_more(void **state)
{
	(void)state;
	graph_free(g.graph);
	free(g.worker);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_verdicts, setup),
		cmocka_unit_test_setup(test_wrong_verdicts, setup),
		cmocka_unit_test_setup(test_shared_reasons, setup),
		cmocka_unit_test_setup(test_late_nodes, setup),
	};

	return cmocka_run_group_tests(tests, once, once_more);
}
