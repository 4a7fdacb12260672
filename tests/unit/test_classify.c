/* SPDX-License-Identifier: BSD-3-Clause */
/* What classify makes of frames: each branch, and each way to be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "messages.h"
#include "nodes.h"
#include "packets.h"
#include "prng.h"

static const uint8_t data_message[48] = {4, 0, 0, 0, 1, 2, 3, 4};
static const uint8_t initiation[148] = {1, 0, 0, 0};
static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static uint8_t frame[4096];

static const char *classify(struct rte_mbuf **m)
{
	return verdict_name(&node_classify, run(&node_classify, m));
}

/* Classifies the first `len` bytes of `frame`, and frees what comes of it. */
static const char *frame_verdict(size_t len, uint16_t in_port)
{
	struct rte_mbuf *m = packet_new(frame, len), *up;
	const char *name;

	packet_of(m)->in_port = in_port;
	name = classify(&m);
	if (strcmp(name, "taken") != 0) {
		rte_pktmbuf_free(m);
		return name;
	}
	for (unsigned class = 0; class < PUNT_CLASSES; class ++) {
		static const char *const names[] = {
			"up:handshake", "up:staged", "up:neighbour", "up:mirror", "up:capture"};

		up = punted(class);
		if (!up)
			continue;
		rte_pktmbuf_free(up);
		return names[class];
	}
	return "lost";
}

static size_t data_frame(const char *src, const char *dst)
{
	return put_frame(
		frame, plain_mac, 0, src, dst, TUNNEL_PORT, data_message, sizeof(data_message));
}

static void wireguard_data_is_stripped_and_its_path_noted(void **state)
{
	size_t len = put_frame(frame, plain_mac, 7, "10.7.0.9", "10.7.0.1", TUNNEL_PORT,
		data_message, sizeof(data_message));
	struct rte_mbuf *m;
	struct packet *p;

	(void)state;
	frame[18 + 1] = 0x2e; /* DSCP and ECN */
	ip4_sum(frame + 18);
	memset(frame + len, 0xee, 6); /* padding of the link */
	m = packet_new(frame, len + 6);
	assert_string_equal(classify(&m), "wg_input");
	p = packet_of(m);
	assert_int_equal(m->data_len, sizeof(data_message));
	assert_memory_equal(rte_pktmbuf_mtod(m, void *), data_message, sizeof(data_message));
	assert_int_equal(p->kind, PACKET_DATAGRAM);
	assert_int_equal(p->tunnel, TUNNEL);
	assert_int_equal(p->vlan, 7);
	assert_int_equal(p->path.family, AF_INET);
	assert_int_equal(p->path.tos, 0x2e);
	assert_int_equal(p->path.remote_port, htons(40000));
	assert_int_equal(p->path.local_port, htons(TUNNEL_PORT));
	assert_int_equal(p->path.port, PLAIN_PORT);
	assert_memory_equal(p->path.remote, "\x0a\x07\x00\x09", 4);
	assert_memory_equal(p->path.local, "\x0a\x07\x00\x01", 4);
	rte_pktmbuf_free(m);
}

static void wireguard_over_ipv6(void **state)
{
	size_t len = data_frame("2001:db8::9", "2001:db8::1");
	struct rte_mbuf *m = packet_new(frame, len);

	(void)state;
	assert_string_equal(classify(&m), "wg_input");
	assert_int_equal(packet_of(m)->path.family, AF_INET6);
	assert_int_equal(packet_of(m)->path.remote[15], 9);
	rte_pktmbuf_free(m);
	put16(frame + 14 + 40 + 6, 0); /* no checksum: not over IPv6 */
	assert_string_equal(frame_verdict(len, PLAIN_PORT), "classify_udp_checksum");
}

static void handshakes_go_up(void **state)
{
	size_t len = put_frame(frame, plain_mac, 0, "10.0.0.9", "10.0.0.1", TUNNEL_PORT, initiation,
		sizeof(initiation));

	(void)state;
	assert_string_equal(frame_verdict(len, PLAIN_PORT), "up:handshake");
	/* also on a port with a mirror: a tunnel's port is the tunnel's */
	len = put_frame(frame, mirror_mac, 0, "10.1.0.9", "10.1.0.1", TUNNEL_PORT, initiation,
		sizeof(initiation));
	assert_string_equal(frame_verdict(len, MIRROR_PORT), "up:handshake");
}

static void datagrams_that_are_not_wireguard(void **state)
{
	uint8_t bad[48] = {4, 0, 1, 0};
	size_t len = put_frame(
		frame, plain_mac, 0, "10.0.0.9", "10.0.0.1", TUNNEL_PORT, bad, sizeof(bad));

	(void)state;
	assert_string_equal(frame_verdict(len, PLAIN_PORT), "classify_not_wireguard");
	len = data_frame("10.0.0.9", "10.0.0.1");
	frame[len - 1] ^= 1;
	assert_string_equal(frame_verdict(len, PLAIN_PORT), "classify_udp_checksum");
	put16(frame + 14 + 20 + 6, 0); /* none: allowed over IPv4 */
	assert_string_equal(frame_verdict(len, PLAIN_PORT), "wg_input");
	put16(frame + 14 + 20 + 4, 7);
	assert_string_equal(frame_verdict(len, PLAIN_PORT), "classify_udp_length");
	put16(frame + 14 + 20 + 4, 8 + sizeof(data_message) + 1);
	assert_string_equal(frame_verdict(len, PLAIN_PORT), "classify_udp_length");
}

static void fragments_for_us_are_joined_first(void **state)
{
	size_t at = put_ether(frame, plain_mac, their_mac, 0, 0x0800);

	(void)state;
	at += put_ip4(frame + at, "10.0.0.9", "10.0.0.1", IPPROTO_UDP, 0x2000, 64);
	assert_string_equal(frame_verdict(at + 64, PLAIN_PORT), "reassemble");
	put_ip4(frame + 14, "10.0.0.9", "10.0.0.1", IPPROTO_UDP, 8, 64);
	assert_string_equal(frame_verdict(at + 64, PLAIN_PORT), "reassemble");
	/* and those for others are routed as they are */
	put_ip4(frame + 14, "10.0.0.9", "10.9.0.1", IPPROTO_UDP, 8, 64);
	assert_string_equal(frame_verdict(at + 64, PLAIN_PORT), "route");
}

static void packets_for_others_are_routed_at_their_ip_header(void **state)
{
	size_t len = put_frame(frame, plain_mac, 0, "10.0.0.9", "192.0.2.1", 53, "x", 1);
	struct rte_mbuf *m;

	(void)state;
	memset(frame + len, 0, 60 - len);
	m = packet_new(frame, 60);
	assert_string_equal(classify(&m), "route");
	assert_int_equal(packet_of(m)->kind, PACKET_IP);
	assert_int_equal(m->data_len, 29);
	assert_int_equal(*rte_pktmbuf_mtod(m, uint8_t *), 0x45);
	rte_pktmbuf_free(m);
}

static void this_host(void **state)
{
	size_t len = put_frame(frame, plain_mac, 0, "10.0.0.9", "10.0.0.1", 53, "x", 1);

	(void)state;
	assert_string_equal(frame_verdict(len, PLAIN_PORT), "local");
	len = put_frame(frame, mirror_mac, 0, "10.1.0.9", "10.1.0.1", 53, "x", 1);
	assert_string_equal(frame_verdict(len, MIRROR_PORT), "local_udp");
	frame[14 + 9] = IPPROTO_TCP;
	ip4_sum(frame + 14);
	assert_string_equal(frame_verdict(len, MIRROR_PORT), "up:mirror");
	frame[14 + 9] = IPPROTO_UDP;
	put16(frame + 14 + 2, 27); /* not even a header of UDP */
	ip4_sum(frame + 14);
	assert_string_equal(frame_verdict(len, MIRROR_PORT), "up:mirror");
}

static void whom_nobody_should_answer_is_the_kernels(void **state)
{
	static const struct {
		const char *source, *destination, *verdict;
	} cases[] = {
		{"10.1.0.9", "10.1.0.1", "local_udp"},
		{"10.0.0.9", "10.1.0.1", "local_udp"}, /* the answer leaves by another port */
		{"192.0.2.9", "10.1.0.1", "local_udp"},
		{"10.1.0.1", "10.1.0.1", "up:mirror"}, /* this host */
		{"10.0.0.1", "10.1.0.1", "up:mirror"}, {"10.9.0.1", "10.1.0.1", "up:mirror"},
		{"10.1.0.255", "10.1.0.1", "up:mirror"}, /* broadcasts */
		{"10.7.0.0", "10.1.0.1", "up:mirror"}, {"0.0.0.0", "10.1.0.1", "up:mirror"},
		{"2001:db8::9", "2001:db8::1", "local_udp"},
		{"fe80::9", "2001:db8::1", "up:mirror"}, {"2001:db8::9", "fe80::1", "up:mirror"},
		{"2001:db8:9::9", "2001:db8::1", "up:mirror"}, /* no way back */
	};
	struct fib_next_hop router = {.type = FIB_PORT,
		.family = AF_INET,
		.port = PLAIN_PORT,
		.tunnel = TUNNEL_NONE,
		.via = {10, 0, 0, 254}};
	struct net_prefix all = {.addr.family = AF_INET}, ours = prefix_of("10.9.0.1/32"),
			  link = prefix_of("fe80::/10"), ours_there = prefix_of("fe80::1/128");

	(void)state;
	assert_int_equal(fib_route_add(table.fib, &all, FIB_FROM_STATIC, &router, NULL), 0);
	assert_int_equal(fib_route_add(table.fib, &link, FIB_FROM_STATIC, &router, NULL), 0);
	assert_int_equal(fib_address_add(table.fib, &ours, PORT_NONE, 0, TUNNEL, 1420, NULL), 0);
	assert_int_equal(
		fib_address_add(table.fib, &ours_there, MIRROR_PORT, 0, TUNNEL_NONE, 1500, NULL),
		0);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		size_t len = put_frame(
			frame, mirror_mac, 0, cases[i].source, cases[i].destination, 53, "x", 1);

		if (strcmp(frame_verdict(len, MIRROR_PORT), cases[i].verdict) != 0)
			fail_msg("%s: not %s", cases[i].source, cases[i].verdict);
	}
	assert_int_equal(
		fib_address_remove(table.fib, &ours_there, MIRROR_PORT, 0, TUNNEL_NONE, 1500), 0);
	assert_int_equal(fib_address_remove(table.fib, &ours, PORT_NONE, 0, TUNNEL, 1420), 0);
	assert_int_equal(fib_route_remove(table.fib, &link, FIB_FROM_STATIC, &router), 0);
	assert_int_equal(fib_route_remove(table.fib, &all, FIB_FROM_STATIC, &router), 0);
}

static void arp_and_nd(void **state)
{
	size_t at = put_ether(frame, broadcast, their_mac, 0, 0x0806);

	(void)state;
	memset(frame + at, 0, 28);
	assert_string_equal(frame_verdict(at + 28, PLAIN_PORT), "up:neighbour");
	assert_string_equal(frame_verdict(at + 28, MIRROR_PORT), "up:mirror");
	at = put_ether(frame, (const uint8_t[]){0x33, 0x33, 0xff, 0, 0, 1}, their_mac, 0, 0x86dd);
	at += put_ip6(frame + at, "2001:db8::9", "ff02::1:ff00:1", IPPROTO_ICMPV6, 24);
	memset(frame + at, 0, 24);
	frame[at] = 135;
	assert_string_equal(frame_verdict(at + 24, PLAIN_PORT), "up:neighbour");
	frame[at] = 133; /* a router solicitation: nobody here */
	assert_string_equal(frame_verdict(at + 24, PLAIN_PORT), "classify_multicast");
	assert_string_equal(frame_verdict(at + 24, MIRROR_PORT), "up:mirror");
}

static void multicast_broadcast_and_strange_types(void **state)
{
	size_t len = put_frame(frame, broadcast, 0, "10.0.0.9", "255.255.255.255", 67, "x", 1);

	(void)state;
	assert_string_equal(frame_verdict(len, PLAIN_PORT), "classify_multicast");
	assert_string_equal(frame_verdict(len, MIRROR_PORT), "up:mirror");
	len = put_frame(frame, broadcast, 0, "10.0.0.9", "192.0.2.1", 67, "x", 1);
	assert_string_equal(frame_verdict(len, PLAIN_PORT), "classify_multicast");
	put_ether(frame, plain_mac, their_mac, 0, 0x88cc);
	assert_string_equal(frame_verdict(60, PLAIN_PORT), "classify_unknown_type");
	put_ether(frame, mirror_mac, their_mac, 0, 0x88cc);
	assert_string_equal(frame_verdict(60, MIRROR_PORT), "up:mirror");
}

static void a_dhcp_answer_reaches_the_kernel(void **state)
{
	size_t len = put_frame(frame, mirror_mac, 0, "10.1.0.9", "10.1.0.77", 68, "x", 1);

	(void)state;
	put16(frame + 14 + 20, 67);
	assert_string_equal(frame_verdict(len, MIRROR_PORT), "up:mirror");
	put16(frame + 14 + 20, 66);
	assert_string_equal(frame_verdict(len, MIRROR_PORT), "route");
}

static void frames_that_are_not_ours(void **state)
{
	size_t len = put_frame(frame, their_mac, 0, "10.0.0.9", "192.0.2.1", 53, "x", 1);

	(void)state;
	assert_string_equal(frame_verdict(len, PLAIN_PORT), "classify_not_our_mac");
	put_ether(frame, plain_mac, plain_mac, 0, 0x0800);
	assert_string_equal(frame_verdict(len, PLAIN_PORT), "classify_looped");
	put_ether(frame, plain_mac, their_mac, 0, 0x0800);
	assert_string_equal(frame_verdict(len, 5), "classify_no_port");
	assert_string_equal(frame_verdict(13, PLAIN_PORT), "classify_short_frame");
	put_ether(frame, plain_mac, their_mac, 9, 0x0800);
	assert_string_equal(frame_verdict(17, PLAIN_PORT), "classify_short_frame");
}

static const char *broken_ip4(unsigned at, uint8_t value, bool mend)
{
	size_t len = put_frame(frame, plain_mac, 0, "10.0.0.9", "192.0.2.1", 53, "x", 1);

	frame[14 + at] = value;
	if (mend)
		ip4_sum(frame + 14);
	return frame_verdict(len, PLAIN_PORT);
}

static void broken_headers(void **state)
{
	(void)state;
	assert_string_equal(broken_ip4(8, 63, false), "classify_ip_checksum");
	assert_string_equal(broken_ip4(8, 63, true), "route");
	assert_string_equal(broken_ip4(0, 0x44, true), "classify_ip_malformed");
	assert_string_equal(broken_ip4(0, 0x65, false), "classify_ip_truncated");
	assert_string_equal(broken_ip4(0, 0x75, false), "classify_ip_malformed");
	assert_string_equal(broken_ip4(3, 19, true), "classify_ip_malformed");
	assert_string_equal(broken_ip4(3, 200, true), "classify_ip_truncated");
	assert_string_equal(broken_ip4(12, 224, true), "classify_bad_source");
	assert_string_equal(broken_ip4(12, 127, true), "classify_bad_source");
	assert_string_equal(broken_ip4(16, 127, true), "classify_bad_source");
	put_frame(frame, plain_mac, 0, "10.0.0.9", "192.0.2.1", 53, "x", 1);
	assert_string_equal(frame_verdict(14 + 19, PLAIN_PORT), "classify_ip_truncated");
	put_frame(frame, plain_mac, 0, "0.0.0.0", "192.0.2.1", 53, "x", 1);
	assert_string_equal(frame_verdict(14 + 29, PLAIN_PORT), "classify_bad_source");
	put_ether(frame, plain_mac, their_mac, 0, 0x86dd); /* says one family, holds the other */
	put_ip4(frame + 14, "10.0.0.9", "192.0.2.1", IPPROTO_UDP, 0, 9);
	assert_string_equal(frame_verdict(14 + 29, PLAIN_PORT), "classify_ip_malformed");
}

static void link_local_is_not_routed(void **state)
{
	size_t len = put_frame(frame, plain_mac, 0, "fe80::9", "2001:db8:1::1", 53, "x", 1);

	(void)state;
	assert_string_equal(frame_verdict(len, PLAIN_PORT), "classify_link_local");
	len = put_frame(frame, plain_mac, 0, "2001:db8::9", "fe80::7", 53, "x", 1);
	assert_string_equal(frame_verdict(len, PLAIN_PORT), "classify_link_local");
}

/* `n` destination options of 8 bytes each, then UDP. */
static size_t chain_frame(unsigned n)
{
	size_t at = put_ether(frame, plain_mac, their_mac, 0, 0x86dd), ip = at;

	at += put_ip6(frame + at, "2001:db8::9", "2001:db8::1", n ? IPPROTO_DSTOPTS : IPPROTO_UDP,
		8 * n + 8 + sizeof(data_message));
	for (unsigned i = 0; i < n; i++, at += 8) {
		memset(frame + at, 0, 8);
		frame[at] = i + 1 < n ? IPPROTO_DSTOPTS : IPPROTO_UDP;
		frame[at + 2] = 1; /* PadN */
		frame[at + 3] = 4;
	}
	return at + put_udp(frame + at, frame + ip, 40000, TUNNEL_PORT, data_message,
			    sizeof(data_message));
}

static void extension_headers_are_bounded(void **state)
{
	size_t len = chain_frame(IP_EXTENSIONS_MAX);

	(void)state;
	assert_string_equal(frame_verdict(len, PLAIN_PORT), "wg_input");
	len = chain_frame(IP_EXTENSIONS_MAX + 1);
	assert_string_equal(frame_verdict(len, PLAIN_PORT), "classify_extensions");
	len = chain_frame(1);
	frame[14 + 40 + 1] = 200; /* longer than the packet */
	assert_string_equal(frame_verdict(len, PLAIN_PORT), "classify_ip_truncated");
}

static void a_full_ring_is_a_named_drop(void **state)
{
	size_t len = put_frame(frame, plain_mac, 0, "10.0.0.9", "10.0.0.1", TUNNEL_PORT, initiation,
		sizeof(initiation));
	unsigned n = 0;
	struct rte_mbuf *m;
	const char *name;

	(void)state;
	do {
		m = packet_new(frame, len);
		name = classify(&m);
	} while (strcmp(name, "taken") == 0 && ++n < 1000);
	assert_string_equal(name, "classify_handshake_full");
	rte_pktmbuf_free(m);
	while ((m = punted(PUNT_HANDSHAKE)))
		rte_pktmbuf_free(m);
}

/* A frame of the sort that gateways see, with a byte or two of its headers turned over. */
static size_t random_frame(struct prng *prng, bool mirror)
{
	static const char *const addresses[][4] = {
		{"10.0.0.1", "10.0.0.9", "10.9.0.5", "192.0.2.1"},
		{"10.1.0.1", "10.1.0.9", "10.9.0.5", "192.0.2.1"}};
	static const uint16_t ports_to[] = {TUNNEL_PORT, TUNNEL_PORT, 53, 68};
	uint8_t payload[160] = {(uint8_t)(prng_below(prng, 8) ? MESSAGE_DATA : MESSAGE_INITIATION)};
	size_t len = put_frame(frame, mirror ? mirror_mac : plain_mac, 0,
		addresses[mirror][prng_below(prng, 4)], addresses[mirror][prng_below(prng, 4)],
		ports_to[prng_below(prng, 4)], payload,
		prng_below(prng, 4) ? 32 + prng_below(prng, 120) : 148);

	if (prng_below(prng, 8) == 0)
		put16(frame + 34, 67);
	if (prng_below(prng, 2))
		put16(frame + 40, 0); /* no UDP checksum */
	for (unsigned n = prng_below(prng, 3); n > 0; n--) {
		unsigned at = prng_below(prng, 14 + 20 + 8 + 4);

		if (at < 12 || at > 13)
			frame[at] = (uint8_t)(prng_below(prng, 2)
						      ? prng_next(prng)
						      : frame[at] ^ 1u << prng_below(prng, 8));
	}
	if (prng_below(prng, 3))
		ip4_sum(frame + 14);
	return prng_below(prng, 8) ? len : len - 8 + prng_below(prng, 16);
}

/* The same frame with a VLAN tag, which no usual frame has. */
static struct rte_mbuf *tagged(struct rte_mbuf *m)
{
	struct rte_mbuf *copy = rte_pktmbuf_copy(m, pool, 0, UINT32_MAX);
	char *bytes = rte_pktmbuf_prepend(copy, 4);

	if (!bytes)
		errx(1, "no room for a tag");
	memmove(bytes, bytes + 4, 12);
	memcpy(bytes + 12, "\x81\0\0\x07", 4);
	*packet_of(copy) = *packet_of(m);
	return copy;
}

static void assert_same_packet(struct rte_mbuf *a, struct rte_mbuf *b)
{
	const uint8_t *bytes = rte_pktmbuf_mtod(a, const uint8_t *);
	const uint8_t *others = rte_pktmbuf_mtod(b, const uint8_t *);
	struct packet expected = *packet_of(b);
	uint32_t macs = 0, tag = 0;

	if (expected.kind == PACKET_ETHER) {
		macs = 12;
		tag = 4;
	}
	expected.vlan = 0;
	if (tag)
		expected.l2_len -= 4;
	else
		expected.l2_len =
			packet_of(a)->l2_len; /* of no packet that begins at its IP header */
	assert_memory_equal(packet_of(a), &expected, sizeof(expected));
	assert_int_equal(a->pkt_len, b->pkt_len - tag);
	assert_int_equal(a->data_len, b->data_len - tag);
	assert_memory_equal(bytes, others, macs);
	assert_memory_equal(bytes + macs, others + macs + tag, a->data_len - macs);
}

/* What went up: `n` packets. */
static void taken_free(uint16_t n)
{
	struct rte_mbuf *m;

	for (unsigned class = 0; class < PUNT_CLASSES; class ++)
		for (; n > 0 && (m = punted(class)); n--)
			rte_pktmbuf_free(m);
	assert_int_equal(n, 0);
}

/* The short way for what is usual and the long way come to the same. */
static void usual_frames_are_as_tagged_ones(void **state)
{
	struct prng prng = {11};
	unsigned seen[5] = {0}, refused = 0;

	(void)state;
	for (unsigned round = 0; round < 2000; round++) {
		struct rte_mbuf *plain[32], *tags[32];
		uint16_t verdicts[32], expected[32], taken = 0;

		for (unsigned i = 0; i < 32; i++) {
			bool mirror = prng_below(&prng, 4) == 0;

			plain[i] = packet_new(frame, random_frame(&prng, mirror));
			packet_of(plain[i])->in_port = mirror ? MIRROR_PORT : PLAIN_PORT;
			if (prng_below(&prng, 2))
				plain[i]->ol_flags |= RTE_MBUF_F_RX_IP_CKSUM_GOOD;
			if (prng_below(&prng, 2))
				plain[i]->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
			tags[i] = tagged(plain[i]);
		}
		node_classify.process(&worker, plain, verdicts, 32);
		node_classify.process(&worker, tags, expected, 32);
		for (unsigned i = 0; i < 32; i++) {
			assert_string_equal(verdict_name(&node_classify, verdicts[i]),
				verdict_name(&node_classify, expected[i]));
			if (VERDICT_IS_DROP(verdicts[i]))
				refused++;
			else if (verdicts[i] != VERDICT_TAKEN)
				seen[verdicts[i]]++;
			assert_same_packet(plain[i], tags[i]);
			taken += verdicts[i] == VERDICT_TAKEN ? 2 : 0;
			if (verdicts[i] == VERDICT_TAKEN)
				continue;
			rte_pktmbuf_free(plain[i]);
			rte_pktmbuf_free(tags[i]);
		}
		taken_free(taken);
	}
	for (unsigned i = 0; i < 5; i++)
		assert_true(seen[i] > 50); /* wg_input, route, reassemble, local, local_udp */
	assert_true(refused > 500);
}

static int nothing_leaked(void **state)
{
	(void)state;
	return rte_mempool_in_use_count(pool) == 0 ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(
			wireguard_data_is_stripped_and_its_path_noted, nothing_leaked),
		cmocka_unit_test_teardown(wireguard_over_ipv6, nothing_leaked),
		cmocka_unit_test_teardown(handshakes_go_up, nothing_leaked),
		cmocka_unit_test_teardown(datagrams_that_are_not_wireguard, nothing_leaked),
		cmocka_unit_test_teardown(fragments_for_us_are_joined_first, nothing_leaked),
		cmocka_unit_test_teardown(
			packets_for_others_are_routed_at_their_ip_header, nothing_leaked),
		cmocka_unit_test_teardown(this_host, nothing_leaked),
		cmocka_unit_test_teardown(whom_nobody_should_answer_is_the_kernels, nothing_leaked),
		cmocka_unit_test_teardown(arp_and_nd, nothing_leaked),
		cmocka_unit_test_teardown(multicast_broadcast_and_strange_types, nothing_leaked),
		cmocka_unit_test_teardown(a_dhcp_answer_reaches_the_kernel, nothing_leaked),
		cmocka_unit_test_teardown(frames_that_are_not_ours, nothing_leaked),
		cmocka_unit_test_teardown(broken_headers, nothing_leaked),
		cmocka_unit_test_teardown(link_local_is_not_routed, nothing_leaked),
		cmocka_unit_test_teardown(extension_headers_are_bounded, nothing_leaked),
		cmocka_unit_test_teardown(a_full_ring_is_a_named_drop, nothing_leaked),
		cmocka_unit_test_teardown(usual_frames_are_as_tagged_ones, nothing_leaked),
	};

	fixture_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
