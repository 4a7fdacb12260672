/* SPDX-License-Identifier: BSD-3-Clause */
/* Where route sends packets: one by one, and bursts, which must come out as their packets do alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "nodes.h"
#include "packets.h"
#include "prng.h"

#define PEERS 32
#define OTHER_TUNNEL 1 /* beside TUNNEL */

static struct peer_slot slots[PEERS];
static struct peer_traffic traffic[PEERS];
static struct allowedips allowed[2];
static struct dp_tunnel other;

static struct rte_mbuf *ip_packet(const char *src, const char *dst)
{
	uint8_t bytes[128] = {0};
	bool v6 = strchr(dst, ':');
	size_t len = v6 ? put_ip6(bytes, src, dst, IPPROTO_UDP, 40)
			: put_ip4(bytes, src, dst, IPPROTO_UDP, 0, 40);
	struct rte_mbuf *m = packet_new(bytes, len + 40);

	packet_of(m)->kind = PACKET_IP;
	return m;
}

static const char *verdict_free(struct rte_mbuf *m)
{
	const char *name = verdict_name(&node_route, run(&node_route, &m));

	rte_pktmbuf_free(m);
	return name;
}

static void opened_packets_for_this_host(void **state)
{
	struct rte_mbuf *m = ip_packet("10.9.0.2", "10.0.0.1");

	(void)state;
	packet_of(m)->flags = PACKET_FROM_TUNNEL;
	packet_of(m)->tunnel = TUNNEL;
	assert_string_equal(verdict_free(m), "local");
}

static void the_answer_of_classify_is_taken_once(void **state)
{
	struct rte_mbuf *m = ip_packet("10.0.0.9", "10.9.0.5");
	uint32_t elsewhere = fib_lookup4(table.fib, (const uint8_t[]){10, 0, 0, 9});

	(void)state;
	packet_of(m)->flags = PACKET_ROUTED;
	packet_of(m)->next_hop = elsewhere;
	assert_string_equal(verdict_name(&node_route, run(&node_route, &m)), "neighbour");
	assert_int_equal(packet_of(m)->flags & PACKET_ROUTED, 0);
	/* the second time the FIB is asked: it leads into the tunnel */
	assert_string_equal(verdict_free(m), "wg_output");
}

/* Peers' addresses of both tunnels and families, hosts and gateways of ports, and nobody's. */
static struct rte_mbuf *random_packet(struct prng *prng)
{
	static const char *const sources[] = {"10.0.0.9", "2001:db8::9"};
	char dst[64];
	unsigned kind = prng_below(prng, 6), n = prng_below(prng, 20);
	struct rte_mbuf *m;

	if (kind == 3)
		snprintf(dst, sizeof(dst), "fd00:%u::%x", prng_below(prng, 2), n);
	else
		snprintf(dst, sizeof(dst), "%s.%u",
			(const char *[]){
				"10.9.0", "10.8.0", "10.0.0", "", "10.7.0", "192.0.2"}[kind],
			n + 2);
	m = ip_packet(sources[kind == 3], dst);
	packet_of(m)->peer = PEER_NONE;
	if (prng_below(prng, 2)) { /* as from classify */
		const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);

		packet_of(m)->flags = PACKET_ROUTED;
		packet_of(m)->next_hop = kind == 3 ? fib_lookup6(table.fib, ip + 24)
						   : fib_lookup4(table.fib, ip + 16);
		packet_of(m)->in_port = (uint16_t)prng_below(prng, 2);
		if (prng_below(prng, 16) == 0)
			rte_pktmbuf_trim(m, m->data_len - 19);
	} else if (prng_below(prng, 2) == 0) {
		packet_of(m)->flags = PACKET_FROM_TUNNEL;
		packet_of(m)->tunnel = prng_below(prng, 2) ? TUNNEL : OTHER_TUNNEL;
	}
	return m;
}

static void bursts_are_as_their_packets(void **state)
{
	struct prng prng = {7};
	unsigned into[2] = {0, 0};

	(void)state;
	for (unsigned round = 0; round < 400; round++) {
		struct rte_mbuf *burst[NODE_BURST_MAX], *alone[NODE_BURST_MAX];
		uint16_t verdicts[NODE_BURST_MAX], n = (uint16_t)(1 + prng_below(&prng, 64));

		for (uint16_t i = 0; i < n; i++) {
			burst[i] = random_packet(&prng);
			alone[i] = rte_pktmbuf_copy(burst[i], pool, 0, UINT32_MAX);
			*packet_of(alone[i]) = *packet_of(burst[i]);
		}
		node_route.process(&worker, burst, verdicts, n);
		for (uint16_t i = 0; i < n; i++) {
			assert_int_equal(verdicts[i], run(&node_route, &alone[i]));
			assert_memory_equal(
				packet_of(burst[i]), packet_of(alone[i]), sizeof(struct packet));
			if (!strcmp(verdict_name(&node_route, verdicts[i]), "wg_output"))
				into[packet_of(burst[i])->tunnel == TUNNEL]++;
		}
		rte_pktmbuf_free_bulk(burst, n);
		rte_pktmbuf_free_bulk(alone, n);
	}
	assert_true(into[0] > 100 && into[1] > 100); /* both tunnels were meant */
}

static int nothing_leaked(void **state)
{
	(void)state;
	return rte_mempool_in_use_count(pool) == 0 ? 0 : -1;
}

static void peer_add(unsigned t, const char *net, unsigned n, const char *len, uint32_t peer)
{
	char text[64];
	struct net_prefix prefix;

	snprintf(text, sizeof(text), "%s%x%s", net, n, len);
	prefix = prefix_of(text);
	if (allowedips_insert(&allowed[t], &prefix, peer, NULL) ||
		fib_tunnel_route_add(
			table.fib, &prefix, t ? OTHER_TUNNEL : TUNNEL, peer, 1420, NULL))
		errx(1, "%s does not go in", text);
}

static void tunnels_start_with_peers(void)
{
	peers.slots = slots;
	peers.traffic[0] = traffic;
	other = tunnel;
	other.index = OTHER_TUNNEL;
	table.tunnels[OTHER_TUNNEL] = &other;
	for (unsigned t = 0; t < 2; t++)
		allowedips_init(&allowed[t], NULL);
	tunnel.allowed_ips = &allowed[0];
	other.allowed_ips = &allowed[1];
	for (uint32_t i = 0; i < 8; i++) {
		peer_add(0, "10.9.0.", i, "/32", i);
		peer_add(1, "10.8.0.", i, "/32", 8 + i);
		peer_add(0, "fd00:0::", i, "/128", i);
		peer_add(1, "fd00:1::", i, "/128", 8 + i);
	}
	peer_add(0, "10.9.0.", 8, "/29", 16); /* and some that are networks */
	peer_add(1, "fd00:1::1", 0, "/124", 17);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(opened_packets_for_this_host, nothing_leaked),
		cmocka_unit_test_teardown(the_answer_of_classify_is_taken_once, nothing_leaked),
		cmocka_unit_test_teardown(bursts_are_as_their_packets, nothing_leaked),
	};

	fixture_start();
	tunnels_start_with_peers();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
