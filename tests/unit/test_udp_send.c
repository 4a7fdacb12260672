/* SPDX-License-Identifier: BSD-3-Clause */
/* What the UDP port sends. */
#include "udp_pair.h"

static int kernel_says; /* instead of sending */

int __real_sendmmsg(int fd, struct mmsghdr *messages, unsigned n, int flags);
int __wrap_sendmmsg(int fd, struct mmsghdr *messages, unsigned n, int flags);
int __wrap_sendmmsg(int fd, struct mmsghdr *messages, unsigned n, int flags)
{
	if (!kernel_says)
		return __real_sendmmsg(fd, messages, n, flags);
	errno = kernel_says;
	return -1;
}

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

	skip_if(no_ipv6(), "no IPv6 on this machine");
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

	skip_if(!private_namespace, "needs a network namespace (root)");
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

	skip_if(!private_namespace, "needs a network namespace (root)");
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

/* Each packet of each train counts. */
static void a_full_queue_drops_by_name(void **state)
{
	static const int full[] = {EAGAIN, ENOBUFS, ENOMEM};
	struct packet_path a = path4(NULL), b = path4("127.0.0.1");

	for (unsigned k = 0; k < RTE_DIM(full); k++) {
		uint64_t before = drops_of("udp_queue_full"), lost = t.q->counters.tx_dropped;

		for (unsigned i = 0; i < 12; i++)
			packet_put(i, i % 4 == 0 ? &a : &b, 0, 300);
		kernel_says = full[k];
		burst_send(12);
		kernel_says = 0;
		assert_int_equal(drops_of("udp_queue_full") - before, 12);
		assert_int_equal(t.q->counters.tx_dropped - lost, 12);
		check_burst_arrives(&a, t.peer4, 3, 200); /* and the next leave */
	}
}

static void pieces_that_fit_no_buffer_drop_by_name(void **state)
{
	struct packet_path path = path4(NULL);
	uint64_t before = drops_of("udp_tx_chained");

	packet_put(0, &path, 0, ROOM);
	packet_put(1, &path, 0, ROOM);
	assert_int_equal(rte_pktmbuf_chain(pkts[0], pkts[1]), 0);
	burst_send(1);
	assert_int_equal(drops_of("udp_tx_chained") - before, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
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
		ON_A_PAIR(a_full_queue_drops_by_name),
		ON_A_PAIR(pieces_that_fit_no_buffer_drop_by_name),
	};

	pair_begin();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
