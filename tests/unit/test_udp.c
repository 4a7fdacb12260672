/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The UDP port against sockets of the kernel on the loopback interface, in a network namespace of
 * its own where the machine allows one.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "hostport.h"
#include "port_udp.h"
#include "prng.h"

#define TUNNEL 5
#define N_MAX 256

static bool private_namespace;
static struct prng prng;
static uint8_t data[65536];
static struct rte_mbuf *pkts[N_MAX];

/* One port with one queue, and a socket of each family at the other end. */
static struct {
	struct port *port;
	struct port_queue *q;
	uint16_t listen_port;
	int peer4, peer6;
	struct sockaddr_in at4;
	struct sockaddr_in6 at6;
} t;

static struct udp_queue *queue(void)
{
	return t.q->private;
}

static int peer_open(int family, struct sockaddr *sa, socklen_t len)
{
	const struct timeval limit = {.tv_sec = (time_t)DEADLINE};
	int fd = socket(family, SOCK_DGRAM, 0);

	if (fd < 0)
		return -1;
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
	assert_int_equal(bind(fd, sa, len), 0);
	assert_int_equal(getsockname(fd, sa, &len), 0);
	return fd;
}

static int pair_setup(void **state)
{
	struct err err = {0};

	memset(&t, 0, sizeof(t));
	t.port = port_udp_open(&t.listen_port, 1, TUNNEL, 0, &err);
	if (!t.port)
		fail_msg("%s", err.msg);
	t.port->index = 9;
	t.q = &t.port->queues[0];
	t.at4 = (struct sockaddr_in){
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	t.at6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	t.peer4 = peer_open(AF_INET, (struct sockaddr *)&t.at4, sizeof(t.at4));
	t.peer6 = queue()->sockets[1].fd < 0
			  ? -1
			  : peer_open(AF_INET6, (struct sockaddr *)&t.at6, sizeof(t.at6));
	return 0;
}

static int pair_teardown(void **state)
{
	t.port->ops->close(t.port);
	close(t.peer4);
	if (t.peer6 >= 0)
		close(t.peer6);
	assert_int_equal(mbufs_in_use(), 0);
	return 0;
}

static bool no_ipv6(void)
{
	if (t.peer6 >= 0)
		return false;
	return true;
}

/* ---- receiving ------------------------------------------------------------------------------ */

/* Sends `len` bytes to the port, as a train of `segment` unless that is 0. */
static void peer_send(int fd, size_t len, uint16_t segment)
{
	struct sockaddr_in to4 = {.sin_family = AF_INET,
		.sin_port = htons(t.listen_port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 to6 = {.sin6_family = AF_INET6,
		.sin6_port = htons(t.listen_port),
		.sin6_addr = IN6ADDR_LOOPBACK_INIT};
	union udp_control control = {0};
	struct iovec iov = {.iov_base = data, .iov_len = len};
	struct msghdr h = {.msg_name = fd == t.peer6 ? (void *)&to6 : &to4,
		.msg_namelen = fd == t.peer6 ? sizeof(to6) : sizeof(to4),
		.msg_iov = &iov,
		.msg_iovlen = 1};

	if (segment) {
		control.align = (struct cmsghdr){.cmsg_level = IPPROTO_UDP,
			.cmsg_type = UDP_SEGMENT,
			.cmsg_len = CMSG_LEN(sizeof(segment))};
		memcpy(CMSG_DATA(&control.align), &segment, sizeof(segment));
		h.msg_control = &control;
		h.msg_controllen = CMSG_SPACE(sizeof(segment));
	}
	assert_int_equal(sendmsg(fd, &h, 0), len);
}

static void check_received(unsigned n, size_t total, size_t segment)
{
	for (unsigned i = 0; i < n; i++) {
		size_t len = i == n - 1 ? total - i * segment : segment;

		assert_int_equal(pkts[i]->nb_segs, 1);
		assert_int_equal(pkts[i]->data_len, len);
		assert_int_equal(pkts[i]->pkt_len, len);
		assert_int_equal(rte_pktmbuf_headroom(pkts[i]), RTE_PKTMBUF_HEADROOM);
		assert_memory_equal(rte_pktmbuf_mtod(pkts[i], void *), data + i * segment, len);
	}
	rte_pktmbuf_free_bulk(pkts, n);
}

static void train_check(int fd, size_t total, uint16_t segment)
{
	unsigned n = (unsigned)((total + segment - 1) / segment);

	peer_send(fd, total, segment);
	assert_int_equal(queue_receive(t.q, pkts, n), n);
	check_received(n, total, segment);
}

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

	if (no_ipv6()) {
		print_message("skipped: no IPv6 on this machine\n");
		skip();
		return;
	}
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

	if (no_ipv6()) {
		print_message("skipped: no IPv6 on this machine\n");
		skip();
		return;
	}
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

/* ---- sending -------------------------------------------------------------------------------- */

static struct packet_path path4(const char *local)
{
	struct packet_path path = {.family = AF_INET,
		.port = 9,
		.remote_port = t.at4.sin_port,
		.local_port = htons(t.listen_port)};

	memcpy(path.remote, &t.at4.sin_addr, 4);
	if (local)
		inet_pton(AF_INET, local, path.local);
	return path;
}

static struct packet_path path6(void)
{
	struct packet_path path = {.family = AF_INET6, .port = 9, .remote_port = t.at6.sin6_port};

	memcpy(path.remote, &in6addr_loopback, 16);
	memcpy(path.local, &in6addr_loopback, 16);
	return path;
}

/* Puts packet i of the burst together: data from `at` on. */
static void packet_put(unsigned i, const struct packet_path *path, size_t at, size_t len)
{
	pkts[i] = rte_pktmbuf_alloc(worker.pool);
	memcpy(rte_pktmbuf_append(pkts[i], (uint16_t)len), data + at, len);
	packet_of(pkts[i])->path = *path;
}

static void burst_send(unsigned n)
{
	assert_int_equal(t.port->ops->tx(&worker, t.q, pkts, (uint16_t)n), n);
}

struct arrival {
	size_t len;
	uint8_t tos;
	struct sockaddr_in from;
	uint8_t bytes[65536];
};

static struct arrival *peer_receive(int fd)
{
	static struct arrival a;
	union udp_control control;
	struct iovec iov = {.iov_base = a.bytes, .iov_len = sizeof(a.bytes)};
	struct msghdr h = {.msg_name = &a.from,
		.msg_namelen = sizeof(a.from),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(fd, &h, 0);

	assert_true(n >= 0);
	a.len = (size_t)n;
	a.tos = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c))
		if (c->cmsg_type == IP_TOS || c->cmsg_type == IPV6_TCLASS)
			a.tos = *CMSG_DATA(c);
	return &a;
}

static void check_arrives(int fd, size_t at, size_t len)
{
	const struct arrival *a = peer_receive(fd);

	assert_int_equal(a->len, len);
	assert_memory_equal(a->bytes, data + at, len);
}

static void check_burst_arrives(const struct packet_path *path, int fd, unsigned n, size_t len)
{
	for (unsigned i = 0; i < n; i++)
		packet_put(i, path, i * 100, len);
	burst_send(n);
	for (unsigned i = 0; i < n; i++)
		check_arrives(fd, i * 100, len);
}

static void a_burst_leaves_as_a_train(void **state)
{
	struct packet_path path = path4("127.0.0.1");

	for (unsigned i = 0; i < 44; i++)
		packet_put(i, &path, i * 1452, i == 43 ? 80 : 1452);
	burst_send(44);
	assert_int_equal(t.q->counters.tx_calls, 1);
	assert_int_equal(t.q->counters.tx_packets, 44);
	assert_int_equal(t.q->counters.tx_bytes, 43 * 1452 + 80);
	assert_int_equal(queue()->tx_trains, 1);
	for (unsigned i = 0; i < 44; i++)
		check_arrives(t.peer4, i * 1452, i == 43 ? 80 : 1452);
}

static void a_burst_over_ipv6_too(void **state)
{
	struct packet_path path = path6();

	if (no_ipv6()) {
		print_message("skipped: no IPv6 on this machine\n");
		skip();
		return;
	}
	check_burst_arrives(&path, t.peer6, 40, 1432);
	assert_int_equal(queue()->tx_trains, 1);
}

static void a_train_ends_at_its_limits(void **state)
{
	struct packet_path path = path4(NULL);

	check_burst_arrives(&path, t.peer4, 64, 1400); /* 65000 bytes */
	assert_int_equal(queue()->tx_trains, 2);
	check_burst_arrives(&path, t.peer4, 130, 20); /* 64 at a time */
	assert_int_equal(queue()->tx_trains, 5);
}

static void sizes_keep_their_order(void **state)
{
	struct packet_path path = path4(NULL);
	size_t lens[N_MAX], at = 0;

	for (unsigned i = 0; i < 60; i++) {
		lens[i] = 100 + prng_below(&prng, 4) * 300;
		packet_put(i, &path, i * 10, lens[i]);
		at += lens[i];
	}
	burst_send(60);
	for (unsigned i = 0; i < 60; i++)
		check_arrives(t.peer4, i * 10, lens[i]);
	assert_int_equal(t.q->counters.tx_bytes, at);
}

/* Twelve sockets, more than there are open groups: each gets its own, in order. */
static void interleaved_paths_keep_their_order(void **state)
{
	struct packet_path paths[12];
	int fds[12];

	for (unsigned f = 0; f < 12; f++) {
		struct sockaddr_in at = {
			.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

		fds[f] = peer_open(AF_INET, (struct sockaddr *)&at, sizeof(at));
		paths[f] = path4("127.0.0.1");
		paths[f].remote_port = at.sin_port;
	}
	for (unsigned i = 0; i < 240; i++)
		packet_put(i, &paths[i / 64 % 2 ? i % 12 : i % 4], i * 100, 500);
	burst_send(240);
	assert_true(t.q->counters.tx_calls < 12);
	for (unsigned i = 0; i < 240; i++)
		check_arrives(fds[i / 64 % 2 ? i % 12 : i % 4], i * 100, 500);
	for (unsigned f = 0; f < 12; f++)
		close(fds[f]);
}

static void tos_is_of_each_message(void **state)
{
	static const uint8_t tos[] = {0, 0x02, 0xb8, 0x03, 0x01};
	struct packet_path path = path4(NULL);
	int one = 1;

	assert_int_equal(setsockopt(t.peer4, IPPROTO_IP, IP_RECVTOS, &one, sizeof(one)), 0);
	for (unsigned i = 0; i < 15; i++) {
		path.tos = tos[i / 3];
		packet_put(i, &path, 0, 300);
	}
	burst_send(15);
	assert_int_equal(queue()->tx_trains, 5);
	for (unsigned i = 0; i < 15; i++)
		assert_int_equal(peer_receive(t.peer4)->tos, tos[i / 3]);
}

static void the_answer_comes_from_the_address_asked(void **state)
{
	struct packet_path path = path4("127.0.0.5");
	const struct arrival *a;

	packet_put(0, &path, 0, 300);
	burst_send(1);
	a = peer_receive(t.peer4);
	assert_int_equal(a->from.sin_addr.s_addr, inet_addr("127.0.0.5"));
	assert_int_equal(a->from.sin_port, htons(t.listen_port));
}

static void a_lost_source_address_is_no_stop(void **state)
{
	struct packet_path path = path4("192.0.2.77");

	check_burst_arrives(&path, t.peer4, 10, 700);
	assert_int_equal(queue()->tx_retried, 1);
	assert_int_equal(queue()->tx_trains, 1);
	check_burst_arrives(&path, t.peer4, 10, 700); /* remembered */
	assert_int_equal(queue()->tx_retried, 1);
	worker.now += 11 * 1000000000ull; /* not for ever */
	check_burst_arrives(&path, t.peer4, 10, 700);
	assert_int_equal(queue()->tx_retried, 2);
	assert_int_equal(t.q->counters.tx_dropped, 0);
}

static void each_path_is_tried_again_in_its_time(void **state)
{
	struct packet_path first = path4("192.0.2.77"), second = path4("192.0.2.78");
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = peer_open(AF_INET, (struct sockaddr *)&at, sizeof(at));

	second.remote_port = at.sin_port;
	check_burst_arrives(&first, t.peer4, 2, 700);
	worker.now += 6 * 1000000000ull;
	check_burst_arrives(&second, fd, 2, 700);
	assert_int_equal(queue()->tx_retried, 2);
	worker.now += 6 * 1000000000ull;
	check_burst_arrives(&second, fd, 2, 700);
	assert_int_equal(queue()->tx_retried, 2);
	check_burst_arrives(&first, t.peer4, 2, 700);
	assert_int_equal(queue()->tx_retried, 3);
	close(fd);
}

/* UDP_SEGMENT refuses segments above the device's MTU; the kernel fragments them one by one. */
static void too_large_for_the_path_is_fragmented(void **state)
{
	struct packet_path path = path4(NULL);
	struct err err = {0};

	if (!private_namespace) {
		print_message("skipped: needs a network namespace (root)\n");
		skip();
		return;
	}
	assert_int_equal(netlink_link_up("lo", 1300, &err), 0);
	check_burst_arrives(&path, t.peer4, 10, 1500);
	assert_int_equal(queue()->tx_retried, 1);
	check_burst_arrives(&path, t.peer4, 10, 1500);
	assert_int_equal(queue()->tx_retried, 1);
	assert_int_equal(netlink_link_up("lo", 65536, &err), 0);
	worker.now += 11 * 1000000000ull;
	check_burst_arrives(&path, t.peer4, 10, 1500);
	assert_int_equal(queue()->tx_retried, 1);
	assert_int_equal(queue()->tx_trains, 1);
	assert_int_equal(t.q->counters.tx_dropped, 0);
}

static void the_unreachable_holds_nobody_up(void **state)
{
	struct packet_path good = path4(NULL), bad = path4(NULL);
	uint64_t before = drops_of("udp_tx_unreachable");

	if (!private_namespace) {
		print_message("skipped: needs a network namespace (root)\n");
		skip();
		return;
	}
	inet_pton(AF_INET, "203.0.113.1", bad.remote);
	for (unsigned i = 0; i < 30; i++)
		packet_put(i, i % 3 ? &good : &bad, i * 100, 500);
	burst_send(30);
	for (unsigned i = 0; i < 30; i++)
		if (i % 3)
			check_arrives(t.peer4, i * 100, 500);
	assert_int_equal(drops_of("udp_tx_unreachable") - before, 10);
	assert_int_equal(t.q->counters.tx_dropped, 10);
	assert_int_equal(t.q->counters.tx_packets, 20);
}

/* Nobody listens: the ICMP error that comes back neither stops sending nor receiving. */
static void a_closed_port_is_no_error_of_ours(void **state)
{
	struct packet_path closed = path4(NULL), open = path4(NULL);
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = peer_open(AF_INET, (struct sockaddr *)&at, sizeof(at));

	closed.remote_port = at.sin_port;
	close(fd);
	for (unsigned i = 0; i < 5; i++) {
		packet_put(0, &closed, 0, 100);
		packet_put(1, &open, 0, 100);
		burst_send(2);
		check_arrives(t.peer4, 0, 100);
		peer_send(t.peer4, 60, 0);
		assert_int_equal(queue_receive(t.q, pkts, 1), 1);
		check_received(1, 60, 60);
	}
	assert_int_equal(t.q->counters.tx_dropped, 0);
}

static void a_path_without_family_is_dropped_by_name(void **state)
{
	struct packet_path path = {0};
	uint64_t before = drops_of("udp_tx_no_family");

	packet_put(0, &path, 0, 100);
	burst_send(1);
	assert_int_equal(drops_of("udp_tx_no_family") - before, 1);
}

static void a_chained_packet_is_sent_whole(void **state)
{
	struct packet_path path = path4(NULL);

	packet_put(0, &path, 0, 700);
	packet_put(1, &path, 700, 800);
	assert_int_equal(rte_pktmbuf_chain(pkts[0], pkts[1]), 0);
	burst_send(1);
	check_arrives(t.peer4, 0, 1500);
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

#define ON_A_PAIR(test) cmocka_unit_test_setup_teardown(test, pair_setup, pair_teardown)

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
		ON_A_PAIR(a_burst_leaves_as_a_train),
		ON_A_PAIR(a_burst_over_ipv6_too),
		ON_A_PAIR(a_train_ends_at_its_limits),
		ON_A_PAIR(sizes_keep_their_order),
		ON_A_PAIR(interleaved_paths_keep_their_order),
		ON_A_PAIR(tos_is_of_each_message),
		ON_A_PAIR(the_answer_comes_from_the_address_asked),
		ON_A_PAIR(a_lost_source_address_is_no_stop),
		ON_A_PAIR(each_path_is_tried_again_in_its_time),
		ON_A_PAIR(too_large_for_the_path_is_fragmented),
		ON_A_PAIR(the_unreachable_holds_nobody_up),
		ON_A_PAIR(a_closed_port_is_no_error_of_ours),
		ON_A_PAIR(a_path_without_family_is_dropped_by_name),
		ON_A_PAIR(a_chained_packet_is_sent_whole),
		ON_A_PAIR(a_port_in_use_is_told),
		ON_A_PAIR(a_tunnel_may_open_its_port_anew),
		ON_A_PAIR(counters_are_described),
		cmocka_unit_test(all_sockets_share_one_number),
	};

	private_namespace = namespace_enter();
	hostport_start();
	prng_fill(&prng, data, sizeof(data));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
