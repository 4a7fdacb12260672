/* SPDX-License-Identifier: BSD-3-Clause */
/* The MSS option: lowered, never raised, at even and odd places; anything else is left alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "mss.h"
#include "packets.h"

#define SYN 0x02
#define ACK 0x10

static uint8_t packet[256];
static size_t packet_len;

static uint16_t tcp_sum(void)
{
	struct ip_info info;

	assert_int_equal(ip_parse(packet, (uint32_t)packet_len, false, &info), IP_SOUND);
	return ip_sum_fold(ip_sum(packet + info.header_len, info.total_len - info.header_len,
		ip_pseudo_sum(&info, IPPROTO_TCP, info.total_len - info.header_len)));
}

/* A segment with these options; returns where they start. */
static size_t segment(bool v4, uint8_t flags, const uint8_t *options, size_t n)
{
	size_t at = v4 ? put_ip4(packet, "10.0.0.9", "192.0.2.1", IPPROTO_TCP, 0, 20 + n)
		       : put_ip6(packet, "2001:db8::9", "2001:db8:9::1", IPPROTO_TCP, 20 + n);

	memset(packet + at, 0x11, 20);
	packet[at + 12] = (uint8_t)((20 + n) / 4 << 4);
	packet[at + 13] = flags;
	memcpy(packet + at + 20, options, n);
	packet_len = at + 20 + n;
	put16(packet + at + 16, 0);
	put16(packet + at + 16, tcp_sum());
	assert_int_equal(tcp_sum(), 0);
	return at + 20;
}

static bool clamp(uint16_t mtu)
{
	uint8_t *exact = malloc(packet_len);
	bool changed;

	memcpy(exact, packet, packet_len);
	changed = mss_clamp_bytes(exact, (uint32_t)packet_len, mtu);
	if (!changed)
		assert_memory_equal(exact, packet, packet_len);
	memcpy(packet, exact, packet_len);
	free(exact);
	return changed;
}

static void lowered_to_what_fits(void **state)
{
	static const uint8_t mss[8] = {2, 4, 1460 >> 8, 1460 & 255, 4, 2, 1, 1};
	size_t at = segment(true, SYN, mss, 8);

	(void)state;
	assert_true(clamp(1420));
	assert_int_equal(packet[at + 2] << 8 | packet[at + 3], 1380);
	assert_int_equal(tcp_sum(), 0);
	assert_false(clamp(1420)); /* fits already */
	assert_false(clamp(9000)); /* never raised */
	at = segment(false, SYN | ACK, mss, 8);
	assert_true(clamp(1420));
	assert_int_equal(packet[at + 2] << 8 | packet[at + 3], 1360);
	assert_int_equal(tcp_sum(), 0);
}

static void at_an_odd_place(void **state)
{
	static const uint8_t mss[8] = {1, 2, 4, 9000 >> 8, 9000 & 255, 1, 0, 0};

	(void)state;
	for (uint16_t mtu = 100; mtu < 1500; mtu += 3) {
		size_t at = segment(true, SYN, mss, 8);

		assert_true(clamp(mtu));
		assert_int_equal(packet[at + 3] << 8 | packet[at + 4], mtu - 40);
		assert_int_equal(tcp_sum(), 0);
	}
}

static void only_in_a_syn(void **state)
{
	static const uint8_t mss[4] = {2, 4, 1460 >> 8, 1460 & 255};

	(void)state;
	segment(true, ACK, mss, 4);
	assert_false(clamp(1420));
	segment(true, SYN, mss, 4);
	put16(packet + 6, 4); /* a later fragment: no TCP header there */
	assert_false(clamp(1420));
	segment(true, SYN, mss, 4);
	packet[9] = IPPROTO_UDP;
	assert_false(clamp(1420));
	segment(true, SYN, mss, 4);
	assert_false(clamp(40)); /* no MTU at all */
}

static void broken_options(void **state)
{
	static const uint8_t cases[][8] = {
		{3, 0, 2, 4, 0x05, 0xb4, 0, 0}, /* an option of length zero */
		{3, 1, 2, 4, 0x05, 0xb4, 0, 0}, /* of length one */
		{3, 9, 2, 4, 0x05, 0xb4, 0, 0}, /* behind the header's end */
		{2, 3, 0x05, 0xb4, 1, 1, 1, 1}, /* an MSS of the wrong length */
		{0, 2, 4, 0x05, 0xb4, 0, 0, 0}, /* behind the end of the list */
		{1, 1, 1, 1, 1, 1, 2, 4},       /* cut off */
		{1, 1, 1, 1, 1, 1, 1, 2},
	};

	(void)state;
	for (size_t i = 0; i < RTE_DIM(cases); i++) {
		segment(true, SYN, cases[i], 8);
		assert_false(clamp(1420));
	}
	segment(true, SYN, cases[0], 8);
	packet[20 + 12] = 0x40; /* a header shorter than TCP's */
	assert_false(clamp(1420));
	packet[20 + 12] = 0xf0; /* longer than the packet */
	assert_false(clamp(1420));
}

static void in_a_packet(void **state)
{
	static const uint8_t mss[4] = {2, 4, 1460 >> 8, 1460 & 255};
	struct rte_mbuf *m;

	(void)state;
	segment(true, SYN, mss, 4);
	m = packet_new(packet, packet_len);
	assert_true(mss_clamp(m, 1420));
	assert_int_equal(rte_pktmbuf_mtod(m, uint8_t *)[43], 1380 & 255);
	rte_pktmbuf_free(m);
	m = packet_new(packet, 20);
	assert_false(mss_clamp(m, 1420));
	rte_pktmbuf_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lowered_to_what_fits),
		cmocka_unit_test(at_an_odd_place),
		cmocka_unit_test(only_in_a_syn),
		cmocka_unit_test(broken_options),
		cmocka_unit_test(in_a_packet),
	};

	dpdk_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
