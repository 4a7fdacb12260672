/* SPDX-License-Identifier: BSD-3-Clause */
/* The graph node that writes headers by what is known of neighbours. */
#include "neigh_world.h"

#include "prng.h"

static struct rte_mbuf *routed(const char *dst)
{
	struct rte_mbuf *m = waiting("192.0.2.1", dst, 0);
	struct packet *p = packet_of(m);

	memset(&p->path, 0, sizeof(p->path));
	p->next_hop = strchr(dst, ':')
			      ? fib_lookup6(table.fib, rte_pktmbuf_mtod_offset(m, uint8_t *, 24))
			      : fib_lookup4(table.fib, rte_pktmbuf_mtod_offset(m, uint8_t *, 16));
	return m;
}

static void the_node_writes_the_header(void **state)
{
	struct rte_mbuf *m;

	(void)state;
	learn("10.0.0.9");
	m = routed("10.0.0.9");
	assert_string_equal(verdict_name(&node_neighbour, run(&node_neighbour, &m)), "tx");
	assert_memory_equal(rte_pktmbuf_mtod(m, uint8_t *), their_mac, 6);
	assert_memory_equal(rte_pktmbuf_mtod_offset(m, uint8_t *, 6), plain_mac, 6);
	assert_int_equal(packet_of(m)->kind, PACKET_ETHER);
	rte_pktmbuf_free(m);
	/* unknown: up, once, with the address to ask for */
	m = routed("10.0.0.77");
	assert_string_equal(verdict_name(&node_neighbour, run(&node_neighbour, &m)), "taken");
	m = punted(PUNT_NEIGHBOUR);
	assert_non_null(m);
	assert_int_equal(packet_of(m)->path.family, AF_INET);
	assert_memory_equal(packet_of(m)->path.remote, "\x0a\x00\x00\x4d", 4);
	packet_of(m)->flags |= PACKET_HELD;
	assert_string_equal(
		verdict_name(&node_neighbour, run(&node_neighbour, &m)), "neighbour_unreachable");
	packet_of(m)->out_port = 9;
	assert_string_equal(
		verdict_name(&node_neighbour, run(&node_neighbour, &m)), "neighbour_no_port");
	rte_pktmbuf_free(m);
}

static void a_question_too_many_is_dropped_by_name(void **state)
{
	struct rte_mbuf *m;
	const char *verdict;
	unsigned asked = 0;

	(void)state;
	for (;; asked++) {
		m = routed("10.0.0.77");
		verdict = verdict_name(&node_neighbour, run(&node_neighbour, &m));
		if (strcmp(verdict, "taken") != 0 || asked == 1000)
			break;
	}
	assert_string_equal(verdict, "neighbour_ask_full");
	rte_pktmbuf_free(m);
	for (; (m = punted(PUNT_NEIGHBOUR)); asked--)
		rte_pktmbuf_free(m);
	assert_int_equal(asked, 0);
}

/* By a gateway: its MAC, not the destination's. */
static void the_node_goes_by_the_next_hop(void **state)
{
	struct net_prefix far = prefix_of("203.0.113.0/24");
	struct fib_next_hop hop = {.type = FIB_PORT,
		.family = AF_INET,
		.port = PLAIN_PORT,
		.tunnel = TUNNEL_NONE,
		.via = {10, 0, 0, 9}};
	struct rte_mbuf *m;

	(void)state;
	learn("10.0.0.9");
	assert_int_equal(fib_route_add(table.fib, &far, FIB_FROM_STATIC, &hop, NULL), 0);
	m = routed("203.0.113.5");
	assert_string_equal(verdict_name(&node_neighbour, run(&node_neighbour, &m)), "tx");
	assert_memory_equal(rte_pktmbuf_mtod(m, uint8_t *), their_mac, 6);
	rte_pktmbuf_free(m);
	assert_int_equal(fib_route_remove(table.fib, &far, FIB_FROM_STATIC, &hop), 0);
}

/* Destinations that follow each other: each gets the MAC of its own neighbour. */
static void bursts_go_to_many_neighbours(void **state)
{
	static const uint8_t third_mac[6] = {2, 0, 0, 0, 0, 5}, sixth_mac[6] = {2, 0, 0, 0, 0, 6};
	static const struct {
		const char *dst;
		uint16_t vlan;
		const uint8_t *mac; /* NULL: nobody's is known */
	} ways[] = {{"10.0.0.9", 0, their_mac}, {"10.0.0.8", 0, other_mac},
		{"10.7.0.8", 7, third_mac}, {"2001:db8::9", 0, sixth_mac},
		{"2001:db8::a", 0, their_mac}, {"203.0.113.5", 0, other_mac},
		{"203.0.113.6", 0, other_mac}, {"10.0.0.77", 0, NULL}};
	struct net_prefix far = prefix_of("203.0.113.0/24");
	struct fib_next_hop hop = {.type = FIB_PORT,
		.family = AF_INET,
		.port = PLAIN_PORT,
		.tunnel = TUNNEL_NONE,
		.via = {10, 0, 0, 8}};
	struct prng prng = {3};

	(void)state;
	assert_int_equal(fib_route_add(table.fib, &far, FIB_FROM_STATIC, &hop, NULL), 0);
	for (unsigned i = 0; i < 5; i++) {
		struct neigh_key key = key_of(ways[i].dst, ways[i].vlan);

		neigh_kernel(&key, ways[i].mac);
	}
	for (unsigned round = 0; round < 200; round++) {
		struct rte_mbuf *pkts[16], *m;
		uint16_t verdicts[16];
		unsigned way[16];

		for (unsigned i = 0; i < 16; i++) {
			way[i] = i && prng_below(&prng, 2) ? way[i - 1] : prng_below(&prng, 8);
			pkts[i] = routed(ways[way[i]].dst);
			packet_of(pkts[i])->vlan = ways[way[i]].vlan;
		}
		node_neighbour.process(&worker, pkts, verdicts, 16);
		for (unsigned i = 0; i < 16; i++) {
			const char *verdict = verdict_name(&node_neighbour, verdicts[i]);

			assert_string_equal(verdict, ways[way[i]].mac ? "tx" : "taken");
			if (!ways[way[i]].mac)
				continue;
			assert_memory_equal(
				rte_pktmbuf_mtod(pkts[i], uint8_t *), ways[way[i]].mac, 6);
			rte_pktmbuf_free(pkts[i]);
		}
		while ((m = punted(PUNT_NEIGHBOUR)))
			rte_pktmbuf_free(m);
	}
	assert_int_equal(fib_route_remove(table.fib, &far, FIB_FROM_STATIC, &hop), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_node_writes_the_header),
		TEST(a_question_too_many_is_dropped_by_name),
		TEST(the_node_goes_by_the_next_hop),
		TEST(bursts_go_to_many_neighbours),
	};

	neigh_world_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
