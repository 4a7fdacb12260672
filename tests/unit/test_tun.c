/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The TUN port against the kernel's own stack:
 *
 *      namespace A                the test                  namespace B
 *    sockets -- tp0 -- TUN port: rx ---> tx :TUN port -- tp0 -- sockets
 *    10.0.0.1, fd00::1             tx <--- rx               10.0.0.2, fd00::2
 *
 * Everything that crosses is cut into packets, each of which is checked, and joined again.
 */
#include <arpa/inet.h>
#include <net/if.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <libmnl/libmnl.h>

#include <cmocka.h>

#include "hostport.h"
#include "ip_model.h"
#include "port_tun.h"
#include "port_udp.h"
#include "prng.h"

#define TUNNEL 3
#define MTU 1420
#define PORT 7000

enum { A, B };

static int namespaces[2]; /* -1: none */
static struct port *ports[2];
static struct rte_mbuf *pkts[NODE_BURST_MAX];
static uint64_t n_checked;

static struct port_queue *queue(int side)
{
	return &ports[side]->queues[0];
}

static const struct tun_queue *counts(int side)
{
	return queue(side)->private;
}

static bool no_namespaces(void)
{
	if (namespaces[B] >= 0)
		return false;
	return true;
}

static void namespace_use(int side)
{
	assert_int_equal(setns(namespaces[side], CLONE_NEWNET), 0);
}

static int namespace_make(void)
{
	return namespace_enter() ? open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC) : -1;
}

static void address_add(const char *text)
{
	struct net_prefix prefix;
	struct err err = {0};

	assert_int_equal(net_prefix_parse(&prefix, text), 0);
	if (netlink_address_add("tp0", &prefix, &err) < 0)
		fail_msg("%s", err.msg);
}

/* ---- sockets in the namespaces -------------------------------------------------------------- */

union address {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static union address address_of(int side, bool v6, uint16_t port)
{
	union address a = {.sa.sa_family = v6 ? AF_INET6 : AF_INET};

	if (v6) {
		a.in6.sin6_port = htons(port);
		inet_pton(AF_INET6, side == A ? "fd00::1" : "fd00::2", &a.in6.sin6_addr);
	} else {
		a.in.sin_port = htons(port);
		inet_pton(AF_INET, side == A ? "10.0.0.1" : "10.0.0.2", &a.in.sin_addr);
	}
	return a;
}

static int socket_at(int side, bool v6, int type, uint16_t port)
{
	const struct timeval limit = {.tv_sec = (time_t)DEADLINE};
	union address a = address_of(side, v6, port);
	int one = 1, fd;

	namespace_use(side);
	fd = socket(a.sa.sa_family, type, 0);
	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)), 0);
	assert_int_equal(bind(fd, &a.sa, sizeof(a)), 0);
	return fd;
}

/* The kernel takes a new IPv6 address into use a moment later, whatever it answered. */
static void address_wait(int side)
{
	union address own = address_of(side, true, PORT);
	double end = seconds_now() + DEADLINE;
	int fd = socket_at(side, true, SOCK_DGRAM, PORT);
	char byte = 0;

	while (seconds_now() < end) {
		assert_int_equal(sendto(fd, &byte, 1, 0, &own.sa, sizeof(own)), 1);
		if (recv(fd, &byte, 1, MSG_DONTWAIT) == 1)
			break;
		/* it went into the TUN instead */
		if (ports[side]->ops->rx(&worker, queue(side), pkts, 1))
			rte_pktmbuf_free(pkts[0]);
	}
	close(fd);
}

/* ---- two ports ----------------------------------------------------------------------------- */

static void port_make(int side)
{
	struct err err = {0};

	namespace_use(side);
	ports[side] = port_tun_open("tp0", 1, MTU, TUNNEL, &err);
	if (!ports[side])
		fail_msg("%s", err.msg);
	ports[side]->index = (uint16_t)(20 + side);
	address_add(side == A ? "10.0.0.1/24" : "10.0.0.2/24");
	address_add(side == A ? "fd00::1/64" : "fd00::2/64");
	if (netlink_link_up("tp0", MTU, &err) < 0)
		fail_msg("%s", err.msg);
	address_wait(side);
}

static int ports_setup(void **state)
{
	if (namespaces[B] < 0)
		return 0;
	port_make(A);
	port_make(B);
	return 0;
}

static int ports_teardown(void **state)
{
	if (namespaces[B] < 0)
		return 0;
	for (int side = A; side <= B; side++) {
		ports[side]->ops->close(ports[side]);
		namespace_use(side);
		assert_int_equal(if_nametoindex("tp0"), 0);
	}
	assert_int_equal(mbufs_in_use(), 0);
	return 0;
}

/* ---- between the two ------------------------------------------------------------------------ */

static void check_packet(int side, struct rte_mbuf *m)
{
	const struct packet *p = packet_of(m);
	const uint8_t *ip = rte_pktmbuf_mtod(m, uint8_t *);
	bool v6 = ip[0] >> 4 == 6;
	uint8_t proto = v6 ? ip[6] : ip[9];

	n_checked++;
	assert_int_equal(p->kind, PACKET_IP);
	assert_int_equal(p->in_port, ports[side]->index);
	assert_int_equal(p->tunnel, TUNNEL);
	assert_int_equal(p->peer, PEER_NONE);
	assert_int_equal(m->nb_segs, 1);
	assert_int_equal(m->pkt_len, m->data_len);
	assert_true(m->data_len <= MTU);
	assert_int_equal(rte_pktmbuf_headroom(m), RTE_PKTMBUF_HEADROOM);
	assert_true(rte_pktmbuf_tailroom(m) >= TUN_TAIL_RESERVE);
	assert_int_equal(v6 ? 40 + (ip[4] << 8 | ip[5]) : ip[2] << 8 | ip[3], m->data_len);
	if (!v6)
		assert_int_equal(model_sum(0, ip, 20), 0xffff);
	if (proto == IPPROTO_TCP || proto == IPPROTO_UDP) {
		assert_int_equal(model_l4_sum(ip, m->data_len), 0xffff);
		assert_int_not_equal(p->tun_hash, 0);
	}
}

/* One burst from this side to the other. */
static bool forward(int side)
{
	struct port_queue *from = queue(side), *to = queue(!side);
	uint16_t n = ports[side]->ops->rx(&worker, from, pkts, NODE_BURST_MAX);

	for (uint16_t i = 0; i < n; i++)
		check_packet(side, pkts[i]);
	if (n)
		assert_int_equal(ports[!side]->ops->tx(&worker, to, pkts, n), n);
	return n;
}

static void forward_until(atomic_bool *done)
{
	struct pollfd fds[2] = {
		{.fd = queue(A)->fd, .events = POLLIN}, {.fd = queue(B)->fd, .events = POLLIN}};

	while (!atomic_load(done)) {
		bool busy = forward(A);

		busy |= forward(B);
		if (!busy)
			poll(fds, 2, 10);
	}
}

/* A stream of known bytes, sent and received by two threads. */
struct transfer {
	int from;
	bool v6;
	uint16_t port;
	size_t bytes;
	int listener, sender;
	pthread_t threads[2];
	atomic_int failures; /* threads may not assert */
	atomic_uint *running;
	atomic_bool *done;
};

static void transfer_end(struct transfer *t, bool ok)
{
	if (!ok)
		atomic_fetch_add(&t->failures, 1);
	if (atomic_fetch_sub(t->running, 1) == 1)
		atomic_store(t->done, true);
}

static void *transfer_send(void *arg)
{
	struct transfer *t = arg;
	union address to = address_of(!t->from, t->v6, t->port);
	struct prng prng = {.state = t->port};
	uint8_t buf[16384];
	bool ok = connect(t->sender, &to.sa, sizeof(to)) == 0;

	for (size_t left = t->bytes; ok && left;) {
		size_t n = left < sizeof(buf) ? left : sizeof(buf);

		prng_fill(&prng, buf, n);
		ok = send(t->sender, buf, n, MSG_NOSIGNAL) == (ssize_t)n;
		left -= n;
	}
	shutdown(t->sender, SHUT_WR);
	transfer_end(t, ok);
	return NULL;
}

static void *transfer_receive(void *arg)
{
	struct transfer *t = arg;
	struct prng prng = {.state = t->port};
	uint8_t buf[16384], want[16384];
	int fd = accept(t->listener, NULL, NULL);
	size_t got = 0;
	bool ok = fd >= 0;

	while (ok && got < t->bytes) {
		ssize_t n = recv(fd, buf, sizeof(buf), 0);

		ok = n > 0;
		if (ok) {
			prng_fill(&prng, want, (size_t)n);
			ok = !memcmp(buf, want, (size_t)n);
			got += (size_t)n;
		}
	}
	ok = ok && recv(fd, buf, 1, 0) == 0;
	close(fd);
	transfer_end(t, ok);
	return NULL;
}

static void transfers_run(struct transfer *ts, unsigned n)
{
	atomic_uint running = 2 * n;
	atomic_bool done = false;

	for (unsigned i = 0; i < n; i++) {
		struct transfer *t = &ts[i];

		t->port = (uint16_t)(PORT + i);
		t->running = &running;
		t->done = &done;
		t->listener = socket_at(!t->from, t->v6, SOCK_STREAM, t->port);
		assert_int_equal(listen(t->listener, 1), 0);
		t->sender = socket_at(t->from, t->v6, SOCK_STREAM, 0);
		assert_int_equal(pthread_create(&t->threads[0], NULL, transfer_receive, t), 0);
		assert_int_equal(pthread_create(&t->threads[1], NULL, transfer_send, t), 0);
	}
	forward_until(&done);
	for (unsigned i = 0; i < n; i++) {
		pthread_join(ts[i].threads[0], NULL);
		pthread_join(ts[i].threads[1], NULL);
		close(ts[i].listener);
		close(ts[i].sender);
		assert_int_equal(atomic_load(&ts[i].failures), 0);
	}
}

/* ---- traffic -------------------------------------------------------------------------------- */

#define TRANSFER (8 << 20)

static void a_stream_arrives(void **state)
{
	if (no_namespaces()) {
		print_message("skipped: needs a network namespace (root)\n");
		skip();
		return;
	}
	for (int v6 = 0; v6 <= 1; v6++)
		for (int from = A; from <= B; from++) {
			struct transfer t = {.from = from, .v6 = v6, .bytes = TRANSFER};

			transfers_run(&t, 1);
		}
	assert_true(n_checked > 4 * TRANSFER / MTU);
	for (int side = A; side <= B; side++) {
		const struct port_counters *c = &queue(side)->counters;

		/* many packets a call both ways, and nearly all super-packets landed as guessed */
		assert_true(c->rx_calls * 4 < c->rx_packets);
		assert_true(c->tx_calls * 4 < c->tx_packets);
		assert_true(counts(side)->rx_supers > 50);
		assert_true(counts(side)->rx_copied * 4 < counts(side)->rx_supers);
		assert_true(counts(side)->tx_joined > counts(side)->tx_supers * 4);
		assert_int_equal(c->rx_dropped + c->tx_dropped, 0);
	}
}

static void many_streams_arrive(void **state)
{
	struct transfer ts[6];

	if (no_namespaces()) {
		print_message("skipped: needs a network namespace (root)\n");
		skip();
		return;
	}
	for (unsigned i = 0; i < 6; i++)
		ts[i] = (struct transfer){.from = i & 1, .v6 = i & 2, .bytes = TRANSFER / 4};
	transfers_run(ts, 6);
	assert_true(counts(A)->rx_copied > 0); /* shapes change: also that way works */
	assert_int_equal(queue(A)->counters.rx_dropped + queue(B)->counters.rx_dropped, 0);
}

static void a_nearly_empty_pool_only_slows(void **state)
{
	struct rte_mempool *all = worker.pool, *small;
	struct transfer t = {.from = A, .bytes = TRANSFER / 8};

	if (no_namespaces()) {
		print_message("skipped: needs a network namespace (root)\n");
		skip();
		return;
	}
	small = pool_make("small", 63);
	worker.pool = small;
	transfers_run(&t, 1);
	ports_teardown(NULL);
	assert_int_equal(rte_mempool_in_use_count(small), 0);
	rte_mempool_free(small);
	worker.pool = all;
	ports_setup(NULL);
}

struct datagrams {
	int from, at;
	const uint8_t *data;
	unsigned n;
	size_t size, less;
};

/* How many of one send arrived, each as it was, within a tenth of the deadline. */
static unsigned datagrams_send(const struct datagrams *d, const union address *to)
{
	double end = seconds_now() + DEADLINE / 10;
	uint8_t buf[2000];
	unsigned i = 0;

	while (recv(d->at, buf, sizeof(buf), MSG_DONTWAIT) >= 0)
		; /* of a send before */
	assert_int_equal(
		sendto(d->from, d->data, d->n * d->size - d->less, 0, &to->sa, sizeof(*to)),
		d->n * d->size - d->less);
	while (i < d->n && seconds_now() < end) {
		ssize_t got = recv(d->at, buf, sizeof(buf), MSG_DONTWAIT);

		if (got < 0) {
			forward(A);
			forward(B);
			continue;
		}
		assert_int_equal(got, i == d->n - 1 ? d->size - d->less : d->size);
		assert_memory_equal(buf, d->data + i++ * d->size, (size_t)got);
	}
	return i;
}

/* `n` datagrams of `size` bytes, the last `less` shorter, leave a socket in one call: the port cuts
 * them, joins them again, and the far kernel cuts them for its socket. A kernel may lose what it
 * sends before an address or route has settled, so a send is tried again; what arrives is right
 * the first time. */
static void datagrams_check(bool v6, unsigned n, size_t size, size_t less)
{
	static uint8_t data[65536];
	struct datagrams d = {socket_at(A, v6, SOCK_DGRAM, 0), socket_at(B, v6, SOCK_DGRAM, PORT),
		data, n, size, less};
	int segment = (int)size;
	union address to = address_of(B, v6, PORT);
	struct prng prng = {.state = size};
	unsigned arrived = 0;

	prng_fill(&prng, data, n * size);
	assert_int_equal(
		setsockopt(d.from, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof(segment)), 0);
	for (unsigned i = 0; i < 3 && arrived < n; i++)
		arrived = datagrams_send(&d, &to);
	assert_int_equal(arrived, n);
	close(d.from);
	close(d.at);
}

static void datagrams_arrive(void **state)
{
	if (no_namespaces()) {
		print_message("skipped: needs a network namespace (root)\n");
		skip();
		return;
	}
	for (int v6 = 0; v6 <= 1; v6++) {
		datagrams_check(v6, 40, 1000, 0);
		datagrams_check(v6, 40, 1000, 10);
		datagrams_check(v6, 40, 700, 0); /* another size behind the same headers */
		datagrams_check(v6, 1, 1300, 0); /* longer than a segment of the last */
		datagrams_check(v6, 40, 700, 0);
	}
	assert_int_equal(queue(A)->counters.rx_dropped + queue(B)->counters.tx_dropped, 0);
	if (((struct tun *)ports[A]->private)->uso) {
		assert_true(counts(A)->rx_supers >= 8);
		assert_true(counts(B)->tx_supers >= 8);
	}
}

/* What a super-packet left prepared does not make each small packet dearer for ever. */
static void room_for_super_packets_comes_and_goes(void **state)
{
	if (no_namespaces() || !((struct tun *)ports[A]->private)->uso) {
		print_message("skipped: needs a network namespace (root) and UDP segmentation\n");
		skip();
		return;
	}
	datagrams_check(false, 40, 1000, 0);
	assert_int_equal(counts(A)->next_len, 1000);
	for (unsigned i = 0; i < 20; i++)
		datagrams_check(false, 1, 100, 0);
	assert_int_equal(counts(A)->in.n, 1);
	datagrams_check(false, 40, 1000, 0);
	datagrams_check(false, 40, 1000, 0);
	assert_int_equal(counts(A)->next_len, 1000);
}

/* ---- what goes wrong ------------------------------------------------------------------------ */

static void a_name_taken_is_told(void **state)
{
	struct err err = {0};
	char want[64];

	if (no_namespaces()) {
		print_message("skipped: needs a network namespace (root)\n");
		skip();
		return;
	}
	namespace_use(A);
	assert_null(port_tun_open("tp0", 2, MTU, TUNNEL, &err));
	snprintf(want, sizeof(want), "(held by test_tun, process %d)", getpid());
	assert_non_null(strstr(err.msg, "interface tp0 exists already"));
	assert_non_null(strstr(err.msg, want));
	err = (struct err){0};
	assert_null(port_tun_open("lo", 1, MTU, TUNNEL, &err));
	assert_non_null(strstr(err.msg, "lo"));
}

static void names_that_are_none_are_refused(void **state)
{
	static const char *const names[] = {"", "a-name-of-16-chrs", "a%d", "a/b", "a b"};

	if (no_namespaces()) {
		print_message("skipped: needs a network namespace (root)\n");
		skip();
		return;
	}
	for (unsigned i = 0; i < RTE_DIM(names); i++) {
		struct err err = {0};

		assert_null(port_tun_open(names[i], 1, MTU, TUNNEL, &err));
		assert_true(*err.msg);
	}
}

static void datagram_make(struct rte_mbuf **m, uint16_t sport, uint16_t dport)
{
	static const uint8_t bytes[100];
	struct model_packet model = {.udp = true,
		.ttl = 64,
		.addresses = {10, 0, 0, 1, 10, 0, 0, 2},
		.sport = sport,
		.dport = dport,
		.payload = bytes,
		.payload_len = sizeof(bytes)};

	*m = rte_pktmbuf_alloc(worker.pool);
	rte_pktmbuf_append(*m, 128);
	assert_int_equal(model_write(&model, rte_pktmbuf_mtod(*m, uint8_t *)), 128);
}

static void several_queues_are_one_interface(void **state)
{
	struct err err = {0};
	struct port *p;

	if (no_namespaces()) {
		print_message("skipped: needs a network namespace (root)\n");
		skip();
		return;
	}
	namespace_use(A);
	p = port_tun_open("tp1", 4, MTU, TUNNEL, &err);
	assert_non_null(p);
	assert_int_equal(p->n_queues, 4);
	assert_int_not_equal(if_nametoindex("tp1"), 0);
	p->ops->close(p);
	assert_int_equal(if_nametoindex("tp1"), 0);
}

/* Asks the kernel's socket at `fd`, whatever queue the question comes by, and checks which queue
 * the answer goes to. */
static void answer_goes_by_flow(struct port *p, int fd, uint16_t sport)
{
	union address from;
	socklen_t len = sizeof(from);
	char buf[200];
	uint32_t hash;
	bool kernels_own; /* multicast of a new interface */

	datagram_make(&pkts[0], sport, PORT);
	hash = flow_hash(rte_pktmbuf_mtod(pkts[0], uint8_t *), pkts[0]->data_len);
	assert_int_equal(p->ops->tx(&worker, &p->queues[0], pkts, 1), 1);
	assert_int_equal(recvfrom(fd, buf, sizeof(buf), 0, &from.sa, &len), 100);
	assert_int_equal(sendto(fd, buf, 100, 0, &from.sa, len), 100);
	do {
		assert_int_equal(queue_receive(&p->queues[hash % p->n_queues], pkts, 1), 1);
		kernels_own = *rte_pktmbuf_mtod(pkts[0], uint8_t *) >> 4 == 6;
		assert_true(kernels_own || packet_of(pkts[0])->tun_hash == hash);
		rte_pktmbuf_free(pkts[0]);
	} while (kernels_own);
}

static void flows_spread_over_queues(void **state)
{
	union address at = address_of(B, false, PORT);
	struct err err = {0};
	struct port *p;
	int fd;

	if (no_namespaces()) {
		print_message("skipped: needs a network namespace (root)\n");
		skip();
		return;
	}
	assert_true(namespace_enter());
	p = port_tun_open("tp0", 3, MTU, TUNNEL, &err);
	assert_non_null(p);
	address_add("10.0.0.2/24");
	assert_int_equal(netlink_link_up("tp0", MTU, &err), 0);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(bind(fd, &at.sa, sizeof(at)), 0);
	for (uint16_t i = 0; i < 30; i++)
		answer_goes_by_flow(p, fd, 5000 + i);
	for (unsigned i = 0; i < 3; i++)
		assert_true(p->queues[i].counters.rx_packets > 0);
	close(fd);
	p->ops->close(p);
}

static void link_change(const char *ifname, uint16_t type, unsigned flags, unsigned mtu)
{
	char buf[256];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct mnl_socket *nl = mnl_socket_open(NETLINK_ROUTE);
	struct ifinfomsg *link;

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	link = mnl_nlmsg_put_extra_header(nlh, sizeof(*link));
	link->ifi_index = (int)if_nametoindex(ifname);
	link->ifi_flags = flags;
	link->ifi_change = type == RTM_NEWLINK ? IFF_UP : 0;
	if (mtu)
		mnl_attr_put_u32(nlh, IFLA_MTU, mtu);
	assert_int_equal(mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID), 0);
	assert_true(mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) > 0);
	assert_true(mnl_socket_recvfrom(nl, buf, sizeof(buf)) > 0);
	assert_int_equal(((struct nlmsgerr *)mnl_nlmsg_get_payload((void *)buf))->error, 0);
	mnl_socket_close(nl);
}

static void a_link_down_drops_by_name(void **state)
{
	uint64_t before = drops_of("tun_tx_down");

	if (no_namespaces()) {
		print_message("skipped: needs a network namespace (root)\n");
		skip();
		return;
	}
	namespace_use(B);
	link_change("tp0", RTM_NEWLINK, 0, 0);
	for (unsigned i = 0; i < 3; i++)
		datagram_make(&pkts[i], 1, 2);
	assert_int_equal(ports[B]->ops->tx(&worker, queue(B), pkts, 3), 3);
	assert_int_equal(drops_of("tun_tx_down") - before, 3);
	assert_int_equal(queue(B)->counters.tx_dropped, 3);
	assert_int_equal(queue(B)->counters.tx_packets, 0);
}

static void a_deleted_interface_falls_silent(void **state)
{
	struct pollfd p = {.events = POLLIN};
	uint64_t before = drops_of("tun_tx_down");
	json_t *row;

	if (no_namespaces()) {
		print_message("skipped: needs a network namespace (root)\n");
		skip();
		return;
	}
	row = json_object();
	namespace_use(B);
	link_change("tp0", RTM_DELLINK, 0, 0);
	p.fd = queue(B)->fd;
	assert_int_equal(poll(&p, 1, 0), 1); /* it would wake its worker for ever */
	assert_int_equal(ports[B]->ops->rx(&worker, queue(B), pkts, NODE_BURST_MAX), 0);
	assert_int_equal(poll(&p, 1, 0), 0);
	for (unsigned i = 0; i < 3; i++)
		datagram_make(&pkts[i], 1, 2);
	assert_int_equal(ports[B]->ops->tx(&worker, queue(B), pkts, 3), 3);
	assert_int_equal(drops_of("tun_tx_down") - before, 3);
	ports[B]->ops->describe(ports[B], row);
	assert_false(ports[B]->up);
	assert_string_equal(json_string_value(json_object_get(row, "state")), "down");
	json_decref(row);
}

static void too_big_is_dropped_by_name(void **state)
{
	static const uint8_t data[8000];
	uint64_t before = drops_of("tun_rx_too_big");
	union address to;
	int fd;

	if (no_namespaces()) {
		print_message("skipped: needs a network namespace (root)\n");
		skip();
		return;
	}
	to = address_of(B, false, PORT);
	fd = socket_at(A, false, SOCK_DGRAM, 0);
	link_change("tp0", RTM_NEWLINK, IFF_UP, 9000);
	assert_int_equal(sendto(fd, data, sizeof(data), 0, &to.sa, sizeof(to)), sizeof(data));
	assert_int_equal(sendto(fd, data, 10, 0, &to.sa, sizeof(to)), 10);
	/* the kernel's router solicitations may be among them */
	while (drops_of("tun_rx_too_big") == before || pkts[0]->data_len != 38) {
		assert_int_equal(queue_receive(queue(A), pkts, 1), 1);
		rte_pktmbuf_free(pkts[0]);
	}
	assert_int_equal(drops_of("tun_rx_too_big") - before, 1);
	assert_int_equal(queue(A)->counters.rx_dropped, 1);
	close(fd);
}

static void nonsense_is_refused_by_name(void **state)
{
	uint64_t before = drops_of("tun_tx_refused");

	if (no_namespaces()) {
		print_message("skipped: needs a network namespace (root)\n");
		skip();
		return;
	}
	datagram_make(&pkts[0], 1, 2);
	rte_pktmbuf_mtod(pkts[0], uint8_t *)[0] = 0x95;
	assert_int_equal(ports[B]->ops->tx(&worker, queue(B), pkts, 1), 1);
	assert_int_equal(drops_of("tun_tx_refused") - before, 1);
}

#define BETWEEN(test) cmocka_unit_test_setup_teardown(test, ports_setup, ports_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BETWEEN(a_stream_arrives),
		BETWEEN(many_streams_arrive),
		BETWEEN(a_nearly_empty_pool_only_slows),
		BETWEEN(datagrams_arrive),
		BETWEEN(room_for_super_packets_comes_and_goes),
		BETWEEN(a_name_taken_is_told),
		BETWEEN(several_queues_are_one_interface),
		BETWEEN(flows_spread_over_queues),
		BETWEEN(a_link_down_drops_by_name),
		BETWEEN(a_deleted_interface_falls_silent),
		BETWEEN(too_big_is_dropped_by_name),
		BETWEEN(nonsense_is_refused_by_name),
		cmocka_unit_test(names_that_are_none_are_refused),
	};

	namespaces[A] = namespace_make();
	namespaces[B] = namespaces[A] < 0 ? -1 : namespace_make();
	hostport_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
