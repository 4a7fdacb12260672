/* SPDX-License-Identifier: BSD-3-Clause */
/* A packet cut to pieces, and the pieces put together again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fragment.h"
#include "nodes.h"
#include "packets.h"

static uint8_t packet[2048];

/* An IPv4 packet with `options` bytes of options and `len` of payload, to be cut to `mtu`. */
static struct rte_mbuf *packet_make(
	const uint8_t *options, size_t n_options, size_t len, uint16_t mtu)
{
	struct rte_mbuf *m;

	put_ip4(packet, "10.0.0.9", "192.0.2.1", IPPROTO_UDP, 0, n_options + len);
	packet[0] = (uint8_t)(0x45 + n_options / 4);
	if (n_options)
		memcpy(packet + 20, options, n_options);
	ip4_sum(packet);
	for (size_t i = 0; i < len; i++)
		packet[20 + n_options + i] = (uint8_t)(i * 3 + i / 256);
	m = packet_new(packet, 20 + n_options + len);
	packet_of(m)->kind = PACKET_IP;
	packet_of(m)->mtu = mtu;
	packet_of(m)->next_hop = 77;
	return m;
}

static const char *cut(struct rte_mbuf **m)
{
	return verdict_name(&node_fragment, run(&node_fragment, m));
}

/* The fragments' payloads at their offsets; returns how many there were, in order. */
static unsigned join(struct rte_mbuf *first, uint8_t *payload, size_t *size, uint16_t mtu)
{
	struct rte_mbuf *pkts[64];
	uint16_t verdicts[64], n = 1;

	pkts[0] = first;
	n += node_fragments.poll(&worker, pkts + 1, verdicts + 1, 63);
	*size = 0;
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *ip = rte_pktmbuf_mtod(pkts[i], const uint8_t *);
		struct ip_info info;

		assert_int_equal(ip_parse(ip, pkts[i]->data_len, true, &info), IP_SOUND);
		assert_true(pkts[i]->data_len <= mtu);
		assert_int_equal(info.total_len, pkts[i]->data_len);
		assert_int_equal(info.more, i + 1 < n);
		assert_int_equal(info.offset, *size);
		assert_int_equal(packet_of(pkts[i])->next_hop, 77);
		memcpy(payload + info.offset, ip + info.header_len,
			info.total_len - info.header_len);
		*size += info.total_len - info.header_len;
		rte_pktmbuf_free(pkts[i]);
	}
	return n;
}

static void pieces_make_the_whole(void **state)
{
	uint8_t payload[2048];
	size_t size;

	(void)state;
	for (size_t len = 1200; len < 1900; len += 37) {
		struct rte_mbuf *m = packet_make(NULL, 0, len, 600);

		assert_string_equal(cut(&m), "neighbour");
		assert_int_equal(join(m, payload, &size, 600), (len + 575) / 576);
		assert_int_equal(size, len);
		assert_memory_equal(payload, packet + 20, len);
	}
}

static void a_fragment_is_cut_further(void **state)
{
	struct rte_mbuf *m = packet_make(NULL, 0, 1200, 600), *pkts[8];
	uint8_t *ip = rte_pktmbuf_mtod(m, uint8_t *);
	uint16_t verdicts[8];

	(void)state;
	put16(ip + 6, 0x2000 | 100); /* itself a fragment, not the last */
	ip4_sum(ip);
	assert_string_equal(cut(&m), "neighbour");
	pkts[0] = m;
	assert_int_equal(node_fragments.poll(&worker, pkts + 1, verdicts, 7), 2);
	for (unsigned i = 0; i < 3; i++) {
		struct ip_info info;

		ip_parse(rte_pktmbuf_mtod(pkts[i], uint8_t *), pkts[i]->data_len, true, &info);
		assert_int_equal(info.offset, 800 + i * 576);
		assert_true(info.more); /* more of the packet that it was cut from */
		rte_pktmbuf_free(pkts[i]);
	}
}

static void sealed_or_sent(void **state)
{
	struct rte_mbuf *m = packet_make(NULL, 0, 1200, 1000), *rest;
	uint16_t verdict;

	(void)state;
	packet_of(m)->peer = 4;
	assert_string_equal(cut(&m), "wg_output");
	assert_int_equal(node_fragments.poll(&worker, &rest, &verdict, 1), 1);
	assert_string_equal(verdict_name(&node_fragments, verdict), "wg_output");
	assert_int_equal(packet_of(rest)->peer, 4);
	rte_pktmbuf_free(m);
	rte_pktmbuf_free(rest);
}

static void options_go_where_they_belong(void **state)
{
	/* record route (not copied), router alert (copied), end */
	static const uint8_t options[12] = {7, 7, 4, 0, 0, 0, 0, 0x94, 4, 1, 2, 0};
	struct rte_mbuf *m = packet_make(options, 12, 1200, 1000), *rest;
	uint16_t verdict;
	const uint8_t *ip;

	(void)state;
	assert_string_equal(cut(&m), "neighbour");
	assert_memory_equal(rte_pktmbuf_mtod(m, uint8_t *) + 20, options, 12);
	assert_int_equal(node_fragments.poll(&worker, &rest, &verdict, 1), 1);
	ip = rte_pktmbuf_mtod(rest, const uint8_t *);
	assert_memory_equal(ip + 20, "\1\1\1\1\1\1\1\x94\4\1\2\1", 12);
	rte_pktmbuf_free(m);
	rte_pktmbuf_free(rest);
}

static void malformed_options_are_blanked(void **state)
{
	static const uint8_t zero_length[4] = {0x82, 0, 1, 1}, too_long[4] = {1, 1, 0x82, 9};
	const uint8_t *both[] = {zero_length, too_long};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct rte_mbuf *m = packet_make(both[i], 4, 1200, 1000), *rest;
		uint16_t verdict;

		assert_string_equal(cut(&m), "neighbour");
		assert_int_equal(node_fragments.poll(&worker, &rest, &verdict, 1), 1);
		assert_memory_equal(rte_pktmbuf_mtod(rest, uint8_t *) + 20, "\1\1\1\1", 4);
		rte_pktmbuf_free(m);
		rte_pktmbuf_free(rest);
	}
}

static void what_may_not_be_cut(void **state)
{
	struct rte_mbuf *m = packet_make(NULL, 0, 1200, 1000);

	(void)state;
	rte_pktmbuf_mtod(m, uint8_t *)[6] |= 0x40;
	assert_string_equal(cut(&m), "fragment_not_allowed");
	packet_of(m)->mtu = 27;
	rte_pktmbuf_mtod(m, uint8_t *)[6] = 0;
	assert_string_equal(cut(&m), "fragment_not_allowed");
	packet_of(m)->mtu = 28;
	assert_string_equal(cut(&m), "fragment_too_many");
	put_ip6(rte_pktmbuf_mtod(m, uint8_t *), "2001:db8::9", "2001:db8::1", IPPROTO_UDP, 1180);
	packet_of(m)->mtu = 1000;
	assert_string_equal(cut(&m), "fragment_not_allowed");
	rte_pktmbuf_free(m);
}

static void bounds_of_memory(void **state)
{
	static struct rte_mbuf *all[2048];
	struct rte_mbuf *m = packet_make(NULL, 0, 1200, 600);
	unsigned left = rte_mempool_avail_count(pool) - 2, n = 0;

	(void)state;
	assert_int_equal(rte_pktmbuf_alloc_bulk(pool, all, left), 0);
	assert_string_equal(cut(&m), "fragment_no_buffer"); /* two of three */
	assert_int_equal(rte_mempool_avail_count(pool), 2);
	rte_pktmbuf_free_bulk(all, left);
	rte_pktmbuf_free(m);
	/* and of the queue for the next round */
	do {
		m = packet_make(NULL, 0, 1400, 68);
		assert_in_range(n, 0, 100);
		all[n++] = m;
	} while (strcmp(cut(&all[n - 1]), "neighbour") == 0);
	assert_string_equal(cut(&all[n - 1]), "fragment_queue_full");
	rte_pktmbuf_free_bulk(all, n);
	fragment_stop();
}

static int nothing_leaked(void **state)
{
	(void)state;
	return rte_mempool_in_use_count(pool) == 0 ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(pieces_make_the_whole, nothing_leaked),
		cmocka_unit_test_teardown(a_fragment_is_cut_further, nothing_leaked),
		cmocka_unit_test_teardown(sealed_or_sent, nothing_leaked),
		cmocka_unit_test_teardown(options_go_where_they_belong, nothing_leaked),
		cmocka_unit_test_teardown(malformed_options_are_blanked, nothing_leaked),
		cmocka_unit_test_teardown(what_may_not_be_cut, nothing_leaked),
		cmocka_unit_test_teardown(bounds_of_memory, nothing_leaked),
	};

	fixture_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
