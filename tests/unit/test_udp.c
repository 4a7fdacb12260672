/* SPDX-License-Identifier: BSD-3-Clause */
/* What the UDP port receives, and how it opens. */
#include "udp_pair.h"

/* ---- receiving ------------------------------------------------------------------------------ */

static void a_datagram_brings_its_path(void **state)
{
	int tos = 0x2a;
	const struct packet *p;

	assert_int_equal(setsockopt(t.peer4, IPPROTO_IP, IP_TOS, &tos, sizeof(tos)), 0);
	peer_send(t.peer4, 100, 0);
	assert_int_equal(queue_receive(t.q, pkts, 1), 1);
	p = packet_of(pkts[0]);
	assert_int_equal(p->kind, PACKET_DATAGRAM);
	assert_int_equal(p->in_port, 9);
	assert_int_equal(p->tunnel, TUNNEL);
	assert_int_equal(p->peer, PEER_NONE);
	assert_int_equal(p->path.family, AF_INET);
	assert_int_equal(p->path.tos, tos);
	assert_int_equal(p->path.port, 9);
	assert_int_equal(p->path.remote_port, t.at4.sin_port);
	assert_int_equal(p->path.local_port, htons(t.listen_port));
	assert_int_equal(p->path.ifindex, 1);
	assert_memory_equal(p->path.remote, "\x7f\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	assert_memory_equal(p->path.local, "\x7f\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	check_received(1, 100, 100);
}

static void a_datagram_over_ipv6_too(void **state)
{
	int tos = 0xb9;
	const struct packet *p;

	skip_if(no_ipv6(), "no IPv6 on this machine");
	assert_int_equal(setsockopt(t.peer6, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos)), 0);
	peer_send(t.peer6, 200, 0);
	assert_int_equal(queue_receive(t.q, pkts, 1), 1);
	p = packet_of(pkts[0]);
	assert_int_equal(p->path.family, AF_INET6);
	assert_int_equal(p->path.tos, tos);
	assert_int_equal(p->path.remote_port, t.at6.sin6_port);
	assert_memory_equal(p->path.remote, &in6addr_loopback, 16);
	assert_memory_equal(p->path.local, &in6addr_loopback, 16);
	check_received(1, 200, 200);
}

static void an_empty_datagram_is_a_packet(void **state)
{
	peer_send(t.peer4, 0, 0);
	peer_send(t.peer4, 30, 0);
	assert_int_equal(queue_receive(t.q, pkts, 2), 2);
	assert_int_equal(pkts[0]->data_len, 0);
	rte_pktmbuf_free(pkts[0]);
	pkts[0] = pkts[1];
	check_received(1, 30, 30);
}

static void a_train_lands_in_its_mbufs(void **state)
{
	uint64_t calls;

	train_check(t.peer4, 44 * 1452, 1452); /* unexpected: copied */
	assert_int_equal(queue()->rx_trains, 1);
	assert_int_equal(queue()->rx_copied, 1);
	calls = t.q->counters.rx_calls;
	for (unsigned i = 0; i < 5; i++)
		train_check(t.peer4, 44 * 1452 - i, 1452);
	assert_int_equal(queue()->rx_trains, 6);
	assert_int_equal(queue()->rx_copied, 1);
	assert_int_equal(t.q->counters.rx_calls, calls + 5);
	assert_int_equal(t.q->counters.rx_packets, 6 * 44);
}

static void trains_change_their_shape(void **state)
{
	for (unsigned i = 0; i < 300; i++) {
		uint16_t segment = (uint16_t)(1 + prng_below(&prng, ROOM));
		size_t total = segment * (size_t)(1 + prng_below(&prng, 60));

		if (total > 65000)
			total = 65000 / segment * segment;
		if (total > segment)
			total -= prng_below(&prng, segment);
		train_check(t.peer6 >= 0 && i % 2 ? t.peer6 : t.peer4, total, segment);
	}
	assert_int_equal(t.q->counters.rx_dropped, 0);
}

static void a_short_burst_leaves_the_rest_for_later(void **state)
{
	for (unsigned round = 0; round < 2; round++) { /* copied, then in place */
		unsigned n = 0;

		peer_send(t.peer4, 44 * 1000, 1000);
		queue_wait(t.q);
		while (n < 44) {
			assert_int_equal(t.port->ops->arm(t.q), n == 0);
			assert_int_equal(t.port->ops->rx(&worker, t.q, pkts + n, 4), 4);
			n += 4;
		}
		assert_true(t.port->ops->arm(t.q));
		assert_int_equal(t.port->ops->rx(&worker, t.q, pkts + n, 4), 0);
		check_received(44, 44 * 1000, 1000);
	}
}

static void singles_come_many_in_a_call(void **state)
{
	for (unsigned i = 0; i < 40; i++)
		peer_send(t.peer4, 1 + i * 40, 0);
	assert_int_equal(queue_receive(t.q, pkts, 40), 40);
	for (unsigned i = 0; i < 40; i++) {
		assert_int_equal(pkts[i]->data_len, 1 + i * 40);
		assert_memory_equal(rte_pktmbuf_mtod(pkts[i], void *), data, 1 + i * 40);
	}
	rte_pktmbuf_free_bulk(pkts, 40);
	assert_int_equal(t.q->counters.rx_calls, 3);
}

/* While trains are expected, a datagram longer than their segments still is one packet. */
static void a_single_among_trains(void **state)
{
	train_check(t.peer4, 20 * 500, 500);
	train_check(t.peer4, 20 * 500, 500);
	for (size_t len = 1; len <= ROOM; len += 89) {
		peer_send(t.peer4, len, 0);
		assert_int_equal(queue_receive(t.q, pkts, 1), 1);
		check_received(1, len, len);
	}
	assert_false(queue()->sockets[0].trains);
}

static void too_long_is_dropped_by_name(void **state)
{
	uint64_t before = drops_of("udp_rx_too_big");

	peer_send(t.peer4, ROOM, 0);
	peer_send(t.peer4, ROOM + 1, 0);
	peer_send(t.peer4, 65507, 0);
	peer_send(t.peer4, 3 * (ROOM + 1), ROOM + 1); /* three of them */
	peer_send(t.peer4, 10, 0);
	assert_int_equal(queue_receive(t.q, pkts, 2), 2);
	assert_int_equal(drops_of("udp_rx_too_big") - before, 5);
	assert_int_equal(t.q->counters.rx_dropped, 5);
	rte_pktmbuf_free(pkts[0]);
	pkts[0] = pkts[1];
	check_received(1, 10, 10);
}

static void no_buffers_means_later(void **state)
{
	struct rte_mempool *all = worker.pool, *small = pool_make("small", 31);

	for (unsigned round = 0; round < 3; round++) {
		unsigned n = 0;

		peer_send(t.peer4, 60 * 1000, 1000);
		worker.pool = small;
		for (double end = seconds_now() + DEADLINE; n < 60 && seconds_now() < end;) {
			unsigned got = t.port->ops->rx(&worker, t.q, pkts, 16);

			for (unsigned i = 0; i < got; i++)
				assert_memory_equal(rte_pktmbuf_mtod(pkts[i], void *),
					data + (n + i) * 1000, 1000);
			rte_pktmbuf_free_bulk(pkts, got);
			n += got;
		}
		assert_int_equal(n, 60);
	}
	t.port->ops->close(t.port);
	assert_int_equal(rte_mempool_in_use_count(small), 0);
	rte_mempool_free(small);
	worker.pool = all;
	close(t.peer4);
	if (t.peer6 >= 0)
		close(t.peer6);
	pair_setup(NULL);
}

static void both_families_get_their_turn(void **state)
{
	unsigned of6 = 0;

	skip_if(no_ipv6(), "no IPv6 on this machine");
	peer_send(t.peer6, 77, 0);
	for (unsigned i = 0; i < 40; i++) {
		peer_send(t.peer4, 50, 0);
		queue_wait(t.q);
		for (uint16_t n; (n = t.port->ops->rx(&worker, t.q, pkts, 1));) {
			of6 += packet_of(pkts[0])->path.family == AF_INET6;
			rte_pktmbuf_free(pkts[0]);
			if (packet_of(pkts[0])->path.family == AF_INET)
				break; /* never lets IPv4 fall silent */
		}
	}
	assert_int_equal(of6, 1);
}
/* ---- opening -------------------------------------------------------------------------------- */

static void all_sockets_share_one_number(void **state)
{
	struct err err = {0};
	uint16_t number = 0;
	struct port *p = port_udp_open(&number, 3, TUNNEL, 0, &err);

	assert_non_null(p);
	assert_int_not_equal(number, 0);
	for (unsigned i = 0; i < 3; i++)
		for (unsigned f = 0; f < 2; f++) {
			struct udp_queue *u = p->queues[i].private;
			union udp_address a;
			socklen_t len = sizeof(a);

			if (u->sockets[f].fd < 0 && f)
				continue; /* no IPv6 here */
			assert_int_equal(getsockname(u->sockets[f].fd, &a.sa, &len), 0);
			assert_int_equal(f ? a.in6.sin6_port : a.in.sin_port, htons(number));
		}
	p->ops->close(p);
}

static void a_port_in_use_is_told(void **state)
{
	struct err err = {0};
	uint16_t number = ntohs(t.at4.sin_port), ours = t.listen_port;
	char want[32];

	assert_null(port_udp_open(&number, 2, TUNNEL, 0, &err));
	snprintf(want, sizeof(want), "UDP port %u is in use", number);
	assert_memory_equal(err.msg, want, strlen(want));
	memset(&err, 0, sizeof(err));
	assert_null(port_udp_open(&ours, 2, TUNNEL + 1, 0, &err)); /* another tunnel of ours */
	assert_non_null(strstr(err.msg, "is in use"));
}

static void a_tunnel_may_open_its_port_anew(void **state)
{
	struct err err = {0};
	uint16_t number = t.listen_port;
	struct port *p = port_udp_open(&number, 1, TUNNEL, 0, &err);

	assert_non_null(p);
	p->ops->close(p);
	p = port_udp_open(&number, 1, TUNNEL, private_namespace ? 0x1234 : 0, &err);
	assert_non_null(p);
	p->ops->close(p);
}

static void counters_are_described(void **state)
{
	json_t *row = json_object();

	train_check(t.peer4, 10000, 1000);
	t.port->ops->describe(t.port, row);
	assert_int_equal(json_integer_value(json_object_get(row, "listen_port")), t.listen_port);
	assert_int_equal(json_integer_value(json_object_get(row, "rx_trains")), 1);
	json_decref(row);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_A_PAIR(a_datagram_brings_its_path),
		ON_A_PAIR(a_datagram_over_ipv6_too),
		ON_A_PAIR(an_empty_datagram_is_a_packet),
		ON_A_PAIR(a_train_lands_in_its_mbufs),
		ON_A_PAIR(trains_change_their_shape),
		ON_A_PAIR(a_short_burst_leaves_the_rest_for_later),
		ON_A_PAIR(singles_come_many_in_a_call),
		ON_A_PAIR(a_single_among_trains),
		ON_A_PAIR(too_long_is_dropped_by_name),
		ON_A_PAIR(no_buffers_means_later),
		ON_A_PAIR(both_families_get_their_turn),
		ON_A_PAIR(a_port_in_use_is_told),
		ON_A_PAIR(a_tunnel_may_open_its_port_anew),
		ON_A_PAIR(counters_are_described),
		cmocka_unit_test(all_sockets_share_one_number),
	};

	pair_begin();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
