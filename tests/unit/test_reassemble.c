/* SPDX-License-Identifier: BSD-3-Clause */
/* Fragments in any order against the datagram that they were cut from, and each way to fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "graph.h"
#include "nodes.h"
#include "packets.h"
#include "reassemble.h"

static uint8_t payload[1600];

static const uint8_t *ip_of(const struct rte_mbuf *m)
{
	return rte_pktmbuf_mtod_offset(m, const uint8_t *, 14);
}

/* A fragment of a datagram of `payload`'s bytes, as a frame. */
static struct rte_mbuf *fragment4(uint16_t id, size_t offset, size_t len, bool more)
{
	uint8_t frame[2048];
	size_t at = put_ether(frame, plain_mac, their_mac, 0, 0x0800);
	struct rte_mbuf *m;

	put_ip4(frame + at, "10.0.0.9", "10.0.0.1", IPPROTO_UDP,
		(uint16_t)((more ? 0x2000 : 0) | offset / 8), len);
	put16(frame + at + 4, id);
	ip4_sum(frame + at);
	memcpy(frame + at + 20, offset + len <= sizeof(payload) ? payload + offset : payload, len);
	m = packet_new(frame, at + 20 + len);
	packet_of(m)->l2_len = (uint16_t)at;
	return m;
}

static struct rte_mbuf *fragment6(uint32_t id, size_t offset, size_t len, bool more)
{
	uint8_t frame[2048];
	size_t at = put_ether(frame, plain_mac, their_mac, 7, 0x86dd), l2_len = at;
	struct rte_mbuf *m;

	at += put_ip6(frame + at, "2001:db8::9", "2001:db8::1", IPPROTO_DSTOPTS, 8 + 8 + len);
	memcpy(frame + at, (const uint8_t[8]){IPPROTO_FRAGMENT, 0, 1, 4}, 8);
	at += 8;
	memset(frame + at, 0, 8);
	frame[at] = IPPROTO_UDP;
	put16(frame + at + 2, (uint32_t)(offset | more));
	put16(frame + at + 6, id);
	memcpy(frame + at + 8, payload + offset, len);
	m = packet_new(frame, at + 8 + len);
	packet_of(m)->l2_len = (uint16_t)l2_len;
	packet_of(m)->vlan = 7;
	return m;
}

static const char *reassemble(struct rte_mbuf **m)
{
	return verdict_name(&node_reassemble, run(&node_reassemble, m));
}

static void expect(struct rte_mbuf *m, const char *name)
{
	const char *got = reassemble(&m);

	if (strcmp(got, "taken") != 0)
		rte_pktmbuf_free(m);
	assert_string_equal(got, name);
}

static uint64_t dropped(const char *name)
{
	return worker.counters.drops[graph_drop_number(name)];
}

static void in_order(void **state)
{
	struct rte_mbuf *m = fragment4(1, 1480, 120, false);

	(void)state;
	expect(fragment4(1, 0, 1480, true), "taken");
	assert_string_equal(reassemble(&m), "classify");
	assert_int_equal(m->nb_segs, 1);
	assert_int_equal(m->data_len, 14 + 20 + 1600);
	assert_memory_equal(ip_of(m) + 20, payload, 1600);
	assert_int_equal(ip_of(m)[2] << 8 | ip_of(m)[3], 1620);
	assert_int_equal(ip_of(m)[6] << 8 | ip_of(m)[7], 0);
	assert_int_equal(ip_sum_fold(ip_sum(ip_of(m), 20, 0)), 0);
	rte_pktmbuf_free(m);
}

/* All orders of four fragments. */
static void in_any_order(void **state)
{
	(void)state;
	for (unsigned code = 0; code < 256; code++) {
		unsigned seen = 0;
		struct rte_mbuf *m = NULL;

		for (unsigned i = 0; i < 4; i++)
			seen |= 1u << (code >> 2 * i & 3);
		if (seen != 15)
			continue;
		for (unsigned i = 0; i < 4; i++) {
			unsigned part = code >> 2 * i & 3;

			m = fragment4((uint16_t)code, part * 400, 400, part < 3);
			assert_string_equal(reassemble(&m), i < 3 ? "taken" : "classify");
		}
		assert_int_equal(m->data_len, 14 + 20 + 1600);
		assert_memory_equal(ip_of(m) + 20, payload, 1600);
		rte_pktmbuf_free(m);
	}
}

static void ipv6_loses_its_fragment_header(void **state)
{
	struct rte_mbuf *m = fragment6(5, 0, 1000, true);
	const uint8_t *ip;

	(void)state;
	expect(fragment6(5, 1000, 600, false), "taken");
	assert_string_equal(reassemble(&m), "classify");
	assert_int_equal(m->data_len, 18 + 40 + 8 + 1600);
	ip = rte_pktmbuf_mtod_offset(m, const uint8_t *, 18);
	assert_int_equal(ip[4] << 8 | ip[5], 8 + 1600);
	assert_int_equal(ip[6], IPPROTO_DSTOPTS);
	assert_int_equal(ip[40], IPPROTO_UDP);
	assert_memory_equal(ip + 48, payload, 1600);
	assert_memory_equal(rte_pktmbuf_mtod(m, uint8_t *), plain_mac, 6);
	rte_pktmbuf_free(m);
	m = fragment6(6, 0, 1600, false); /* atomic (RFC 6946) */
	assert_string_equal(reassemble(&m), "classify");
	assert_int_equal(m->data_len, 18 + 40 + 8 + 1600);
	rte_pktmbuf_free(m);
}

static void datagrams_do_not_mix(void **state)
{
	struct rte_mbuf *m;

	(void)state;
	expect(fragment4(1, 0, 800, true), "taken");
	expect(fragment4(2, 800, 800, false), "taken");
	m = fragment4(2, 0, 800, true);
	packet_of(m)->vlan = 9;
	expect(m, "taken"); /* another link */
	expect(fragment6(1, 800, 800, false), "taken");
	m = fragment4(1, 800, 800, false);
	assert_string_equal(reassemble(&m), "classify");
	rte_pktmbuf_free(m);
}

static void congestion_marks_survive(void **state)
{
	struct rte_mbuf *m = fragment4(1, 800, 800, false);
	uint8_t *ip = rte_pktmbuf_mtod_offset(m, uint8_t *, 14);

	(void)state;
	ip[1] |= 3;
	ip4_sum(ip);
	expect(fragment4(1, 0, 800, true), "taken");
	assert_string_equal(reassemble(&m), "classify");
	assert_int_equal(ip_of(m)[1] & 3, 3);
	assert_int_equal(ip_sum_fold(ip_sum(ip_of(m), 20, 0)), 0);
	rte_pktmbuf_free(m);
}

static void overlaps_kill_the_datagram(void **state)
{
	uint64_t before = dropped("reassemble_overlap");

	(void)state;
	expect(fragment4(1, 0, 800, true), "taken");
	expect(fragment4(1, 0, 800, true), "reassemble_duplicate");
	expect(fragment4(1, 792, 400, true), "reassemble_overlap");
	assert_int_equal(dropped("reassemble_overlap") - before, 1); /* the one that waited */
	/* from behind */
	expect(fragment4(2, 800, 400, true), "taken");
	expect(fragment4(2, 400, 408, true), "reassemble_overlap");
	/* nothing is left of it: its end alone does not complete anything */
	expect(fragment4(1, 800, 800, false), "taken");
}

static void impossible_fragments(void **state)
{
	(void)state;
	expect(fragment4(1, 0, 801, true), "reassemble_malformed"); /* not a multiple of eight */
	expect(fragment4(1, 0, 0, true), "reassemble_malformed");
	expect(fragment4(2, 800, 8, false), "taken");
	expect(fragment4(2, 816, 8, true), "reassemble_malformed"); /* behind the end */
	expect(fragment4(3, 816, 8, true), "taken");
	expect(fragment4(3, 800, 8, false), "reassemble_malformed");
	expect(fragment4(4, 800, 8, false), "taken");
	expect(fragment4(4, 0, 8, false), "reassemble_malformed"); /* two ends */
	expect(fragment4(5, 65528, 16, false), "reassemble_malformed");
}

static void too_big_for_a_buffer(void **state)
{
	uint64_t before = dropped("reassemble_too_big");
	struct rte_mbuf *m;

	(void)state;
	expect(fragment4(1, 0, 1400, true), "taken");
	memset(payload, 0, sizeof(payload));
	m = fragment4(1, 0, 1400, false);
	put16(rte_pktmbuf_mtod_offset(m, uint8_t *, 14 + 6), 1400 / 8);
	ip4_sum(rte_pktmbuf_mtod_offset(m, uint8_t *, 14));
	expect(m, "taken");
	assert_int_equal(dropped("reassemble_too_big") - before, 2);
	/* on a port with a mirror the kernel gets them as they came */
	for (unsigned i = 0; i < 2; i++) {
		m = fragment4(2, 0, 1400, i == 0);
		packet_of(m)->in_port = MIRROR_PORT;
		put16(rte_pktmbuf_mtod_offset(m, uint8_t *, 14 + 6), i ? 1400 / 8 : 0x2000);
		expect(m, "taken");
	}
	for (unsigned i = 0; i < 2; i++) {
		m = punted(PUNT_MIRROR);
		assert_non_null(m);
		rte_pktmbuf_free(m);
	}
}

static void too_many_fragments(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 16; i++)
		expect(fragment4(1, i * 8, 8, true), "taken");
	expect(fragment4(1, 16 * 8, 8, true), "reassemble_too_many");
	assert_int_equal(dropped("reassemble_too_many"), 16);
}

static void time_runs_out(void **state)
{
	uint64_t before = dropped("reassemble_timeout");

	(void)state;
	expect(fragment4(1, 0, 800, true), "taken");
	worker.now += 2100000000;
	expect(fragment4(1, 800, 800, false), "taken"); /* a new beginning */
	assert_int_equal(dropped("reassemble_timeout") - before, 1);
}

static void the_oldest_makes_room(void **state)
{
	uint64_t before = dropped("reassemble_evicted");
	struct rte_mbuf *m;

	(void)state;
	for (uint16_t id = 0; id < 64; id++, worker.now++)
		expect(fragment4(id, 0, 800, true), "taken");
	expect(fragment4(64, 0, 800, true), "taken");
	assert_int_equal(dropped("reassemble_evicted") - before, 1);
	expect(fragment4(0, 800, 800, false), "taken"); /* its first half had to go */
	m = fragment4(63, 800, 800, false);
	assert_string_equal(reassemble(&m), "classify");
	rte_pktmbuf_free(m);
}

static int begin(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(i * 7 + i / 256);
	return reassemble_start(1, NULL);
}

static int end_without_leak(void **state)
{
	(void)state;
	reassemble_stop();
	return rte_mempool_in_use_count(pool) == 0 ? 0 : -1;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end_without_leak)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(in_order),
		TEST(in_any_order),
		TEST(ipv6_loses_its_fragment_header),
		TEST(datagrams_do_not_mix),
		TEST(congestion_marks_survive),
		TEST(overlaps_kill_the_datagram),
		TEST(impossible_fragments),
		TEST(too_big_for_a_buffer),
		TEST(too_many_fragments),
		TEST(time_runs_out),
		TEST(the_oldest_makes_room),
	};

	fixture_start();
	graph_register_drops(node_reassemble.drops);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
