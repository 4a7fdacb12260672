/* SPDX-License-Identifier: BSD-3-Clause */
/* What crosses between two TUN ports is cut into packets, each of which is checked, and joined
 * again. */
#include "tun_pair.h"

#include <pthread.h>
#include <stdatomic.h>

#include "ip_model.h"
#include "port_udp.h"
#include "prng.h"

static uint64_t n_checked;

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
	skip_if(no_namespaces(), "needs a network namespace (root)");
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

	skip_if(no_namespaces(), "needs a network namespace (root)");
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

	skip_if(no_namespaces(), "needs a network namespace (root)");
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
	skip_if(no_namespaces(), "needs a network namespace (root)");
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
	skip_if(no_namespaces() || !((struct tun *)ports[A]->private)->uso,
		"needs a network namespace (root) and UDP segmentation");
	datagrams_check(false, 40, 1000, 0);
	assert_int_equal(counts(A)->next_len, 1000);
	for (unsigned i = 0; i < 20; i++)
		datagrams_check(false, 1, 100, 0);
	assert_int_equal(counts(A)->in.n, 1);
	datagrams_check(false, 40, 1000, 0);
	datagrams_check(false, 40, 1000, 0);
	assert_int_equal(counts(A)->next_len, 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BETWEEN(a_stream_arrives),
		BETWEEN(many_streams_arrive),
		BETWEEN(a_nearly_empty_pool_only_slows),
		BETWEEN(datagrams_arrive),
		BETWEEN(room_for_super_packets_comes_and_goes),
	};

	pair_begin();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
