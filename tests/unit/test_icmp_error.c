/* SPDX-License-Identifier: BSD-3-Clause */
/* ICMP errors: what they say, to whom, from which address; and about what none is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "icmp.h"
#include "nodes.h"
#include "packets.h"

static uint8_t packet[2048];

static struct rte_mbuf *packet_of_len(size_t len)
{
	struct rte_mbuf *m = packet_new(packet, len);

	packet_of(m)->kind = PACKET_IP;
	packet_of(m)->reason = 11;
	worker.now += 1000000000; /* the bucket is full again */
	return m;
}

static struct rte_mbuf *datagram(const char *src, const char *dst, size_t len)
{
	static const uint8_t zeros[1400];
	bool v4 = !strchr(dst, ':');
	size_t at = v4 ? put_ip4(packet, src, dst, IPPROTO_UDP, 0, 8 + len)
		       : put_ip6(packet, src, dst, IPPROTO_UDP, 8 + len);

	return packet_of_len(at + put_udp(packet + at, packet, 1, 2, zeros, len));
}

static const char *complain(struct rte_mbuf **m)
{
	return verdict_name(&node_icmp_error, run(&node_icmp_error, m));
}

static void expect(struct rte_mbuf *m, const char *name)
{
	assert_string_equal(complain(&m), name);
	rte_pktmbuf_free(m);
}

static void time_exceeded(void **state)
{
	struct rte_mbuf *m = datagram("10.0.0.9", "192.0.2.1", 100);
	uint8_t quoted[2048];
	struct ip_info info;
	const uint8_t *ip;

	(void)state;
	memcpy(quoted, packet, 128);
	assert_string_equal(complain(&m), "route");
	ip = rte_pktmbuf_mtod(m, const uint8_t *);
	assert_int_equal(ip_parse(ip, m->data_len, true, &info), IP_SOUND);
	assert_int_equal(info.total_len, 20 + 8 + 128);
	assert_int_equal(info.protocol, IPPROTO_ICMP);
	assert_memory_equal(info.source, "\x0a\x00\x00\x01", 4);
	assert_memory_equal(info.destination, "\x0a\x00\x00\x09", 4);
	assert_int_equal(ip[20], 11);
	assert_int_equal(ip_sum_fold(ip_sum(ip + 20, info.total_len - 20, 0)), 0);
	assert_memory_equal(ip + 28, quoted, 128);
	assert_int_equal(packet_of(m)->flags, PACKET_LOCAL);
	/* no error about an error of ours, nor about one of anybody's */
	assert_string_equal(complain(&m), "icmp_error_not_allowed");
	packet_of(m)->flags = 0;
	assert_string_equal(complain(&m), "icmp_error_not_allowed");
	rte_pktmbuf_free(m);
}

static void packet_too_big(void **state)
{
	struct rte_mbuf *m = datagram("2001:db8::9", "2001:db8:9::1", 1380);
	struct ip_info info;
	const uint8_t *ip;

	(void)state;
	packet_of(m)->reason = 2;
	packet_of(m)->mtu = 1420;
	assert_string_equal(complain(&m), "route");
	ip = rte_pktmbuf_mtod(m, const uint8_t *);
	assert_int_equal(ip_parse(ip, m->data_len, true, &info), IP_SOUND);
	assert_int_equal(info.total_len, 1280); /* no more than every link takes */
	assert_int_equal(info.protocol, IPPROTO_ICMPV6);
	assert_int_equal(info.source[15], 1);
	assert_int_equal(info.destination[15], 9);
	assert_int_equal(ip[40], 2);
	assert_int_equal(ip[46] << 8 | ip[47], 1420);
	assert_int_equal(
		ip_sum_fold(ip_sum(ip + 40, 1240, ip_pseudo_sum(&info, IPPROTO_ICMPV6, 1240))), 0);
	rte_pktmbuf_free(m);
}

static void fragmentation_needed_is_short(void **state)
{
	struct rte_mbuf *m = datagram("10.0.0.9", "192.0.2.1", 1400);
	const uint8_t *ip;

	(void)state;
	packet_of(m)->reason = 3;
	packet_of(m)->code = 4;
	packet_of(m)->mtu = 1380;
	assert_string_equal(complain(&m), "route");
	ip = rte_pktmbuf_mtod(m, const uint8_t *);
	assert_int_equal(m->data_len, 576);
	assert_int_equal(ip[20] << 8 | ip[21], 3 << 8 | 4);
	assert_int_equal(ip[26] << 8 | ip[27], 1380);
	rte_pktmbuf_free(m);
}

static void from_a_tunnel(void **state)
{
	struct rte_mbuf *m = datagram("10.9.0.2", "192.0.2.1", 10);

	(void)state;
	packet_of(m)->flags = PACKET_FROM_TUNNEL;
	packet_of(m)->tunnel = TUNNEL;
	assert_string_equal(complain(&m), "route");
	assert_memory_equal(rte_pktmbuf_mtod_offset(m, uint8_t *, 12), "\x0a\x09\x00\x01", 4);
	assert_int_equal(packet_of(m)->flags, PACKET_FROM_TUNNEL | PACKET_LOCAL);
	rte_pktmbuf_free(m);
	/* a tunnel without an address of that family, to a sender that nobody knows */
	m = datagram("2001:db8:5::1", "2001:db8:6::1", 10);
	packet_of(m)->flags = PACKET_FROM_TUNNEL;
	packet_of(m)->tunnel = TUNNEL;
	packet_of(m)->in_port = PORT_NONE;
	expect(m, "icmp_error_no_source");
}

static void about_these_none(void **state)
{
	struct rte_mbuf *m = datagram("10.0.0.9", "192.0.2.1", 10);

	(void)state;
	put16(rte_pktmbuf_mtod_offset(m, uint8_t *, 6), 8); /* a later fragment */
	expect(m, "icmp_error_not_allowed");
	m = datagram("10.0.0.9", "192.0.2.1", 10);
	put16(rte_pktmbuf_mtod_offset(m, uint8_t *, 6), 0x2000); /* the first one */
	expect(m, "route");
	expect(datagram("10.0.0.9", "224.0.0.5", 10), "icmp_error_not_allowed");
	expect(datagram("0.0.0.0", "192.0.2.1", 10), "icmp_error_not_allowed");
	expect(datagram("2001:db8::9", "ff05::1", 10), "icmp_error_not_allowed");
	expect(datagram("::", "2001:db8:9::1", 10), "icmp_error_not_allowed");
	packet[0] = 0x00;
	expect(packet_of_len(10), "icmp_error_malformed");
	put_ip6(packet, "2001:db8::9", "2001:db8:9::1", IPPROTO_ICMPV6, 8);
	memset(packet + 40, 0, 8);
	packet[40] = 3;
	expect(packet_of_len(48), "icmp_error_not_allowed");
	packet[40] = 128; /* an echo is no error */
	expect(packet_of_len(48), "route");
	put_ip4(packet, "10.0.0.9", "192.0.2.1", IPPROTO_ICMP, 0, 8);
	packet[20] = 8;
	expect(packet_of_len(28), "route");
	packet[20] = 3;
	expect(packet_of_len(28), "icmp_error_not_allowed");
}

static void no_room(void **state)
{
	struct rte_mbuf *m = datagram("10.0.0.9", "192.0.2.1", 10);

	(void)state;
	rte_pktmbuf_prepend(m, rte_pktmbuf_headroom(m));
	memcpy(rte_pktmbuf_mtod(m, void *), packet, 38);
	expect(m, "icmp_error_no_room");
}

static void not_too_many(void **state)
{
	unsigned sent = 0;

	(void)state;
	worker.now += 1000000000;
	for (unsigned i = 0; i < 200; i++) {
		struct rte_mbuf *m = datagram("10.0.0.9", "192.0.2.1", 10);
		const char *name;

		worker.now -= 1000000000; /* all in one moment */
		name = complain(&m);
		sent += strcmp(name, "route") == 0;
		if (i >= 50)
			assert_string_equal(name, "icmp_error_rate");
		rte_pktmbuf_free(m);
	}
	assert_int_equal(sent, 50);
	worker.now += 100000000; /* a tenth of a second: ten more */
	for (unsigned i = 0; i < 20; i++) {
		struct rte_mbuf *m = datagram("10.0.0.9", "192.0.2.1", 10);

		worker.now -= 1000000000;
		sent += strcmp(complain(&m), "route") == 0;
		rte_pktmbuf_free(m);
	}
	assert_int_equal(sent, 60);
	worker.now += 1000000000;
}

/* ---- echo ------------------------------------------------------------------------------------ */

static size_t echo_put(bool v4)
{
	struct ip_info info = {.family = AF_INET6};
	size_t at = v4 ? put_ip4(packet, "10.0.0.9", "10.0.0.1", IPPROTO_ICMP, 0, 40)
		       : put_ip6(packet, "2001:db8::9", "2001:db8::1", IPPROTO_ICMPV6, 40);

	memset(packet + at, 0x5a, 40);
	packet[at] = v4 ? 8 : 128;
	packet[at + 1] = 0;
	put16(packet + at + 2, 0);
	info.source = packet + 8;
	info.destination = packet + 24;
	put16(packet + at + 2, ip_sum_fold(ip_sum(packet + at, 40,
				       v4 ? 0 : ip_pseudo_sum(&info, IPPROTO_ICMPV6, 40))));
	return at + 40;
}

static void ping_is_answered(void **state)
{
	(void)state;
	for (unsigned v4 = 0; v4 < 2; v4++) {
		struct rte_mbuf *m = packet_of_len(echo_put(v4));
		const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
		struct ip_info info;
		uint64_t pseudo;

		assert_string_equal(verdict_name(&node_local, run(&node_local, &m)), "route");
		assert_int_equal(ip_parse(ip, m->data_len, true, &info), IP_SOUND);
		pseudo = v4 ? 0 : ip_pseudo_sum(&info, IPPROTO_ICMPV6, 40);
		assert_int_equal(ip[info.header_len], v4 ? 0 : 129);
		assert_int_equal(ip_sum_fold(ip_sum(ip + info.header_len, 40, pseudo)), 0);
		assert_int_equal(info.source[v4 ? 3 : 15], 1);
		assert_int_equal(info.destination[v4 ? 3 : 15], 9);
		assert_memory_equal(ip + info.header_len + 8, packet + (v4 ? 28 : 48), 32);
		rte_pktmbuf_free(m);
	}
}

static void nothing_else_is_answered(void **state)
{
	struct rte_mbuf *m;

	(void)state;
	for (unsigned v4 = 0; v4 < 2; v4++) {
		size_t len = echo_put(v4);

		packet[len - 1] ^= 1; /* a wrong checksum */
		m = packet_of_len(len);
		assert_string_equal(
			verdict_name(&node_local, run(&node_local, &m)), "local_no_service");
		rte_pktmbuf_free(m);
	}
	m = datagram("10.0.0.9", "10.0.0.1", 10);
	assert_string_equal(verdict_name(&node_local, run(&node_local, &m)), "local_no_service");
	rte_pktmbuf_free(m);
}

/* From a tunnel to an address on a mirror: an Ethernet header, and up to the kernel. */
static void a_mirror_takes_what_comes_from_tunnels(void **state)
{
	struct rte_mbuf *m = datagram("10.9.0.2", "10.1.0.1", 10);
	const uint8_t *frame;

	(void)state;
	packet_of(m)->flags = PACKET_FROM_TUNNEL;
	assert_string_equal(verdict_name(&node_local, run(&node_local, &m)), "taken");
	m = punted(PUNT_MIRROR);
	assert_non_null(m);
	frame = rte_pktmbuf_mtod(m, const uint8_t *);
	assert_memory_equal(frame, mirror_mac, 6);
	assert_int_equal(frame[6], mirror_mac[0] ^ 2);
	assert_memory_equal(frame + 12, "\x08\x00\x45", 3);
	assert_int_equal(packet_of(m)->in_port, MIRROR_PORT);
	assert_int_equal(packet_of(m)->kind, PACKET_ETHER);
	rte_pktmbuf_free(m);
}

static int nothing_leaked(void **state)
{
	(void)state;
	return rte_mempool_in_use_count(pool) == 0 ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(time_exceeded, nothing_leaked),
		cmocka_unit_test_teardown(packet_too_big, nothing_leaked),
		cmocka_unit_test_teardown(fragmentation_needed_is_short, nothing_leaked),
		cmocka_unit_test_teardown(from_a_tunnel, nothing_leaked),
		cmocka_unit_test_teardown(about_these_none, nothing_leaked),
		cmocka_unit_test_teardown(no_room, nothing_leaked),
		cmocka_unit_test_teardown(not_too_many, nothing_leaked),
		cmocka_unit_test_teardown(ping_is_answered, nothing_leaked),
		cmocka_unit_test_teardown(nothing_else_is_answered, nothing_leaked),
		cmocka_unit_test_teardown(a_mirror_takes_what_comes_from_tunnels, nothing_leaked),
	};

	fixture_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
