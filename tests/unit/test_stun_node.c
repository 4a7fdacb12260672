/* SPDX-License-Identifier: BSD-3-Clause */
/* The graph node `stun`: what it answers and how, and that all else goes on as it came. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "nodes.h"
#include "packets.h"
#include "stun.h"
#include "stun_ports.h"

#define L2 14
#define IP4 20
#define IP6 40
#define UDP 8
#define SPORT 40000 /* of put_frame */

extern const struct node_object tailplane_nodes;

static const struct graph_node *node;
static const uint8_t txid[STUN_TXID_SIZE] = "transaction";
static uint8_t request[STUN_REQUEST_SIZE], frame[2048];

static const struct net_endpoint any[] = {
	{.addr.family = AF_INET, .port = STUN_PORT}, {.addr.family = AF_INET6, .port = STUN_PORT}};

static uint64_t count_of(enum stun_outcome outcome)
{
	return atomic_load(&stun_ports_counts()->outcomes[outcome]);
}

static size_t frame4(void)
{
	return put_frame(
		frame, mirror_mac, 0, "10.1.0.9", "10.1.0.1", STUN_PORT, request, sizeof(request));
}

static size_t frame6(void)
{
	return put_frame(frame, mirror_mac, 0, "2001:db8:1::9", "2001:db8:1::1", STUN_PORT, request,
		sizeof(request));
}

/* As classify lets it pass. */
static struct rte_mbuf *datagram(size_t len)
{
	struct rte_mbuf *m = packet_new(frame, len);

	packet_of(m)->in_port = MIRROR_PORT;
	assert_string_equal(verdict_name(&node_classify, run(&node_classify, &m)), "local_udp");
	return m;
}

static const char *verdict_of(struct rte_mbuf **m)
{
	return verdict_name(node, run(node, m));
}

/* The IP packet in `m` is the answer to `client`, whole and sound. */
static void assert_answer(struct rte_mbuf *m, const char *client, const char *server)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	struct net_endpoint seen, expected = {.port = SPORT};
	struct net_addr from;
	struct ip_info info;
	const uint8_t *udp;
	size_t size;

	assert_int_equal(net_addr_parse(&expected.addr, client), 0);
	assert_int_equal(net_addr_parse(&from, server), 0);
	size = from.family == AF_INET ? 4 : 16;
	assert_int_equal(ip_parse(ip, m->data_len, true, &info), IP_SOUND);
	assert_int_equal(info.total_len, m->data_len);
	assert_int_equal(m->pkt_len, m->data_len);
	assert_int_equal(info.protocol, IPPROTO_UDP);
	assert_int_equal(info.ttl, 64);
	assert_int_equal(info.tos, 0);
	assert_false(info.fragment);
	assert_memory_equal(info.source, from.bytes, size);
	assert_memory_equal(info.destination, expected.addr.bytes, size);
	udp = ip + info.header_len;
	size = info.total_len - info.header_len;
	assert_memory_equal(udp, "\x0d\x96\x9c\x40", 4); /* 3478 to 40000 */
	assert_int_equal(udp[4] << 8 | udp[5], size);
	assert_true(udp[6] || udp[7]);
	assert_int_equal(ip_sum_fold(ip_sum(udp, (uint32_t)size,
				 ip_pseudo_sum(&info, IPPROTO_UDP, (uint32_t)size))),
		0);
	assert_true(stun_answer_read(udp + UDP, size - UDP, txid, &seen));
	assert_true(net_endpoint_equal(&seen, &expected));
	assert_int_equal(packet_of(m)->kind, PACKET_IP);
	assert_int_equal(packet_of(m)->flags, PACKET_LOCAL);
}

static void assert_answered(size_t len, const char *client, const char *server)
{
	struct rte_mbuf *m = datagram(len);

	assert_string_equal(verdict_of(&m), "route");
	assert_answer(m, client, server);
	rte_pktmbuf_free(m);
}

/* To the kernel, with each byte and all that is known of it as it came. */
static void assert_goes_on(struct rte_mbuf *m)
{
	struct packet before = *packet_of(m);
	uint16_t len = m->data_len;
	uint8_t copy[2048];

	memcpy(copy, rte_pktmbuf_mtod(m, void *), len);
	assert_string_equal(verdict_of(&m), "local_udp");
	assert_int_equal(m->data_len, len);
	assert_memory_equal(rte_pktmbuf_mtod(m, void *), copy, len);
	assert_memory_equal(packet_of(m), &before, sizeof(before));
	rte_pktmbuf_free(m);
}

static void requests_are_answered(void **state)
{
	uint64_t before = count_of(STUN_ANSWERED), ipv6 = atomic_load(&stun_ports_counts()->ipv6);

	(void)state;
	assert_answered(frame4(), "10.1.0.9", "10.1.0.1");
	assert_answered(frame6(), "2001:db8:1::9", "2001:db8:1::1");
	/* a host behind a router, with a VLAN tag, and padding of the link behind */
	assert_answered(put_frame(frame, mirror_mac, 7, "198.51.100.9", "10.1.0.1", STUN_PORT,
				request, sizeof(request)) +
				6,
		"198.51.100.9", "10.1.0.1");
	assert_int_equal(count_of(STUN_ANSWERED), before + 3);
	assert_int_equal(atomic_load(&stun_ports_counts()->ipv6), ipv6 + 1);
}

static void it_is_not_to_be_cut(void **state)
{
	struct rte_mbuf *m = datagram(frame4());

	(void)state;
	assert_string_equal(verdict_of(&m), "route");
	assert_int_equal(rte_pktmbuf_mtod(m, const uint8_t *)[6], 0x40);
	rte_pktmbuf_free(m);
}

static void silence_is_counted(void **state)
{
	uint64_t silent = count_of(STUN_SILENT), answered = count_of(STUN_ANSWERED);
	struct rte_mbuf *m;

	(void)state;
	stun_ports_publish(any, 2, false);
	m = datagram(frame4());
	assert_string_equal(verdict_of(&m), "stun_silent");
	rte_pktmbuf_free(m);
	request[20] ^= 1; /* no request of ours: for the kernel all the same */
	assert_goes_on(datagram(frame4()));
	request[20] ^= 1;
	assert_int_equal(count_of(STUN_SILENT), silent + 1);
	assert_int_equal(count_of(STUN_ANSWERED), answered);
}

static void without_a_server_all_goes_on(void **state)
{
	(void)state;
	stun_ports_publish(NULL, 0, false);
	assert_goes_on(datagram(frame4()));
	assert_goes_on(datagram(frame6()));
}

static void only_where_the_sockets_listen(void **state)
{
	struct net_endpoint one = {.port = STUN_PORT}, other = {.port = 3479};

	(void)state;
	assert_int_equal(net_addr_parse(&one.addr, "10.1.0.1"), 0);
	stun_ports_publish(&one, 1, true);
	assert_answered(frame4(), "10.1.0.9", "10.1.0.1");
	assert_goes_on(datagram(frame6()));
	one.addr.bytes[3] = 2;
	stun_ports_publish(&one, 1, true);
	assert_goes_on(datagram(frame4()));
	stun_ports_publish(any, 1, true);
	assert_goes_on(datagram(frame6()));
	stun_ports_publish(any + 1, 1, true);
	assert_goes_on(datagram(frame4()));
	assert_answered(frame6(), "2001:db8:1::9", "2001:db8:1::1");
	other.addr.family = AF_INET;
	stun_ports_publish(&other, 1, true);
	assert_goes_on(datagram(frame4()));
}

/* Any byte of the request another one, any byte less: the kernel's. */
static void what_is_no_request_goes_on(void **state)
{
	static const uint8_t long_one[STUN_REQUEST_MAX + 4];

	(void)state;
	for (size_t i = 0; i < sizeof(request); i++) {
		request[i] ^= 0x40;
		assert_goes_on(datagram(frame4()));
		assert_goes_on(datagram(frame6()));
		request[i] ^= 0x40;
	}
	for (size_t len = 0; len < sizeof(request); len++)
		assert_goes_on(datagram(put_frame(
			frame, mirror_mac, 0, "10.1.0.9", "10.1.0.1", STUN_PORT, request, len)));
	assert_goes_on(datagram(put_frame(frame, mirror_mac, 0, "10.1.0.9", "10.1.0.1", STUN_PORT,
		long_one, sizeof(long_one))));
}

static void wrong_checksums_go_on(void **state)
{
	size_t len = frame4();
	struct rte_mbuf *m;

	(void)state;
	frame[L2 + IP4 + 6] ^= 1;
	assert_goes_on(datagram(len));
	m = datagram(len); /* the NIC knows better */
	m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	assert_string_equal(verdict_of(&m), "route");
	assert_answer(m, "10.1.0.9", "10.1.0.1");
	rte_pktmbuf_free(m);
	put16(frame + L2 + IP4 + 6, 0); /* none: allowed over IPv4 */
	assert_answered(len, "10.1.0.9", "10.1.0.1");
	len = frame6();
	frame[L2 + IP6 + 6] ^= 1;
	assert_goes_on(datagram(len));
	put16(frame + L2 + IP6 + 6, 0);
	assert_goes_on(datagram(len));
}

/* With its checksum right, so that the length alone is wrong. */
static void wrong_lengths_go_on(void **state)
{
	static const int off[] = {-40, -9, -1, 1, 2, 8, 1000};

	(void)state;
	for (unsigned i = 0; i < sizeof(off) / sizeof(*off); i++) {
		size_t len = frame4();

		put16(frame + L2 + IP4 + 4, (uint32_t)((int)(UDP + sizeof(request)) + off[i]));
		put16(frame + L2 + IP4 + 6, 0);
		assert_goes_on(datagram(len));
	}
}

static void options_and_extensions_go_on(void **state)
{
	size_t len = frame4();
	uint8_t *ip = frame + L2;

	(void)state;
	memmove(ip + IP4 + 4, ip + IP4, len - L2 - IP4);
	memcpy(ip + IP4, "\x94\x04\x00\x00", 4); /* router alert */
	ip[0] = 0x46;
	put16(ip + 2, (uint32_t)(len - L2 + 4));
	ip4_sum(ip);
	assert_goes_on(datagram(len + 4));
	len = frame6();
	memmove(ip + IP6 + 8, ip + IP6, len - L2 - IP6);
	memcpy(ip + IP6, "\x11\x00\x01\x04\x00\x00\x00\x00", 8); /* destination options */
	ip[6] = 60;
	put16(ip + 4, (uint32_t)(len - L2 - IP6 + 8));
	assert_goes_on(datagram(len + 8));
}

/* An extension header that could be a UDP header to our port, and a request behind it. */
static void an_extension_is_no_udp_header(void **state)
{
	size_t at = put_ether(frame, mirror_mac, their_mac, 0, 0x86dd);
	struct rte_mbuf *m;

	(void)state;
	at += put_ip6(frame + at, "2001:db8:1::9", "2001:db8:1::1", 60, UDP + sizeof(request));
	memcpy(frame + at, "\x11\x00\x0d\x96\x00\x30\x00\x01", UDP);
	memcpy(frame + at + UDP, request, sizeof(request));
	m = datagram(at + UDP + sizeof(request));
	m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	assert_goes_on(m);
}

static void nobody_to_answer(void **state)
{
	size_t len = frame4();

	(void)state;
	put16(frame + L2 + IP4, 0);     /* port 0 */
	put16(frame + L2 + IP4 + 6, 0); /* whatever the checksum was */
	assert_goes_on(datagram(len));
}

static struct rte_mbuf *chained(struct rte_mbuf *m)
{
	struct rte_mbuf *tail = rte_pktmbuf_alloc(pool);

	memset(rte_pktmbuf_append(tail, 8), 0, 8);
	assert_int_equal(rte_pktmbuf_chain(m, tail), 0);
	return m;
}

static void buffers_of_another_kind_go_on(void **state)
{
	struct rte_mbuf *m = datagram(frame4());

	(void)state;
	/* a second buffer behind a whole request, and one with its last bytes */
	assert_goes_on(chained(m));
	m = datagram(frame4());
	rte_pktmbuf_trim(m, 8);
	assert_goes_on(chained(m));
	/* no room for the four bytes that an answer over IPv6 is longer */
	m = datagram(frame6());
	m->buf_len = (uint16_t)(m->data_off + m->data_len + 3);
	assert_string_equal(verdict_of(&m), "local_udp");
	m->buf_len++;
	assert_string_equal(verdict_of(&m), "route");
	assert_answer(m, "2001:db8:1::9", "2001:db8:1::1");
	m->buf_len = RTE_PKTMBUF_HEADROOM + 2048;
	rte_pktmbuf_free(m);
}

static void a_burst_is_sorted(void **state)
{
	struct rte_mbuf *pkts[NODE_BURST_MAX];
	uint16_t verdicts[NODE_BURST_MAX];
	uint64_t before = count_of(STUN_ANSWERED);

	(void)state;
	for (unsigned i = 0; i < NODE_BURST_MAX; i++)
		pkts[i] = datagram(i % 3 == 0   ? frame6()
				   : i % 3 == 1 ? frame4()
						: put_frame(frame, mirror_mac, 0, "10.1.0.9",
							  "10.1.0.1", 53, "x", 1));
	node->process(&worker, pkts, verdicts, NODE_BURST_MAX);
	for (unsigned i = 0; i < NODE_BURST_MAX; i++) {
		assert_string_equal(
			verdict_name(node, verdicts[i]), i % 3 == 2 ? "local_udp" : "route");
		rte_pktmbuf_free(pkts[i]);
	}
	assert_int_equal(count_of(STUN_ANSWERED), before + 43);
}

/* What stands behind it: the kernel gets the frame, and a full ring has its name. */
static void the_rest_is_the_kernels(void **state)
{
	struct rte_mbuf *m, *up;
	unsigned n = 0;

	(void)state;
	for (;;) {
		const char *verdict;

		m = datagram(
			put_frame(frame, mirror_mac, 0, "10.1.0.9", "10.1.0.1", STUN_PORT, "x", 1));
		assert_string_equal(verdict_of(&m), "local_udp");
		verdict = verdict_name(&node_local_udp, run(&node_local_udp, &m));
		if (strcmp(verdict, "taken") != 0) {
			assert_string_equal(verdict, "local_mirror_full");
			break;
		}
		n++;
	}
	assert_int_equal(n, 63);
	assert_memory_equal(rte_pktmbuf_mtod(m, void *), frame, m->data_len);
	rte_pktmbuf_free(m);
	while ((up = punted(PUNT_MIRROR)))
		rte_pktmbuf_free(up);
}

static int speaks(void **state)
{
	(void)state;
	stun_ports_publish(any, 2, true);
	return 0;
}

static int is_withdrawn(void **state)
{
	(void)state;
	stun_ports_publish(NULL, 0, false);
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
	return 0;
}

static int start(void **state)
{
	struct fib_next_hop router = {.type = FIB_PORT,
		.family = AF_INET,
		.port = MIRROR_PORT,
		.tunnel = TUNNEL_NONE,
		.via = {10, 1, 0, 254}};
	struct net_prefix all = {.addr.family = AF_INET};

	(void)state;
	fixture_start();
	address_add("2001:db8:1::1/64", MIRROR_PORT, 0);
	assert_int_equal(fib_route_add(table.fib, &all, FIB_FROM_STATIC, &router, NULL), 0);
	stun_request_write(request, txid);
	node = tailplane_nodes.nodes[0];
	tailplane_nodes.attach();
	return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, speaks, is_withdrawn)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(requests_are_answered),
		TEST(it_is_not_to_be_cut),
		TEST(silence_is_counted),
		TEST(without_a_server_all_goes_on),
		TEST(only_where_the_sockets_listen),
		TEST(what_is_no_request_goes_on),
		TEST(wrong_checksums_go_on),
		TEST(wrong_lengths_go_on),
		TEST(options_and_extensions_go_on),
		TEST(an_extension_is_no_udp_header),
		TEST(nobody_to_answer),
		TEST(buffers_of_another_kind_go_on),
		TEST(a_burst_is_sorted),
		TEST(the_rest_is_the_kernels),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
