/* SPDX-License-Identifier: BSD-3-Clause */
/* How much of a backlog `rx` takes at a time; `rx` and `tx` where a ring or a port is full. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "hostport.h"
#include "messages.h"
#include "nodes.h"
#include "work.h"

static unsigned backlog;
static uint8_t datagram; /* the first byte of each, where they are WireGuard's */

static uint16_t port_rx(
	struct worker *w, struct port_queue *q, struct rte_mbuf **pkts, uint16_t max)
{
	uint16_t n = (uint16_t)RTE_MIN(backlog, max);

	assert_int_equal(rte_pktmbuf_alloc_bulk(w->pool, pkts, n), 0);
	for (uint16_t i = 0; i < n; i++)
		packet_of(pkts[i])->kind = datagram                      ? PACKET_DATAGRAM
					   : q->port->type == PORT_ETHER ? PACKET_ETHER
									 : PACKET_IP;
	for (uint16_t i = 0; i < n && datagram; i++) {
		uint8_t *message =
			(uint8_t *)rte_pktmbuf_append(pkts[i], sizeof(struct message_initiation));

		memset(message, 0, sizeof(struct message_initiation));
		message[0] = datagram;
	}
	backlog -= n;
	return n;
}

static uint16_t port_room; /* for packets */

/* At most ten at a time. */
static uint16_t port_tx(struct worker *w, struct port_queue *q, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t taken = RTE_MIN(RTE_MIN(n, port_room), 10);

	rte_pktmbuf_free_bulk(pkts, taken);
	port_room -= taken;
	return taken;
}

static const struct port_ops port_ops = {.rx = port_rx, .tx = port_tx};
static struct port port = {
	.ops = &port_ops, .type = PORT_ETHER, .n_queues = 1, .queues = {{.port = &port}}};
static struct dp_table table = {.n_ports = 1, .ports = {&port}};

static unsigned poll_some(void)
{
	struct rte_mbuf *pkts[NODE_BURST_MAX];
	uint16_t verdicts[NODE_BURST_MAX];
	uint16_t n = node_rx.poll(&worker, pkts, verdicts, NODE_BURST_MAX);

	rte_pktmbuf_free_bulk(pkts, n);
	return n;
}

static int idle(void **state)
{
	(void)state;
	backlog = 0;
	poll_some();
	port.type = PORT_ETHER;
	return mbufs_in_use() ? -1 : 0;
}

static void expect(const unsigned *counts, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(poll_some(), counts[i]);
}

/* What a moment without the core leaves behind. */
static void short_backlog(void **state)
{
	(void)state;
	backlog = 100;
	expect((const unsigned[]){32, 32, 32, 4, 0}, 5);
}

static void backlog_that_stays(void **state)
{
	(void)state;
	backlog = 4 * 32 + 2 * 64 + 63 + 40;
	expect((const unsigned[]){32, 32, 32, 32, 64, 64, 64, 39, 0}, 9);
	backlog = 40; /* from the beginning */
	expect((const unsigned[]){32, 8}, 2);
}

/* A round that only waits for helpers says nothing about the ports. */
static void pause_is_no_end(void **state)
{
	struct work *work = work_new(transport_open, true);

	(void)state;
	backlog = 1000;
	expect((const unsigned[]){32, 32, 32, 32, 64}, 5);
	worker.opening = worker.sealing = work;
	work->draining = true;
	assert_int_equal(poll_some(), 0);
	work->draining = false;
	assert_int_equal(poll_some(), 64);
	worker.opening = worker.sealing = NULL;
	work_free(work);
}

/* A train is not cut. */
static void host_port_whole(void **state)
{
	(void)state;
	port.type = PORT_TUN;
	backlog = 44;
	expect((const unsigned[]){44, 0}, 2);
}

static bool is_drop(const struct graph_node *node, uint16_t verdict, const char *name)
{
	return VERDICT_IS_DROP(verdict) && !strcmp(node->drops[verdict & 0x7fff].name, name);
}

static void a_full_punt_ring_drops_by_name(void **state)
{
	struct rte_mbuf *pkts[NODE_BURST_MAX];
	uint16_t verdicts[NODE_BURST_MAX];
	unsigned room = rte_ring_free_count(worker.punts[PUNT_HANDSHAKE]), lost = 0;
	void *m;

	(void)state;
	port.type = PORT_UDP;
	datagram = MESSAGE_INITIATION;
	backlog = room + 7;
	for (uint16_t n; (n = node_rx.poll(&worker, pkts, verdicts, NODE_BURST_MAX));) {
		for (uint16_t i = 0; i < n; i++) {
			if (verdicts[i] == VERDICT_TAKEN)
				continue;
			assert_true(is_drop(&node_rx, verdicts[i], "rx_handshake_full"));
			rte_pktmbuf_free(pkts[i]);
			lost++;
		}
	}
	datagram = 0;
	assert_int_equal(lost, 7);
	for (; !rte_ring_dequeue(worker.punts[PUNT_HANDSHAKE], &m); room--)
		rte_pktmbuf_free(m);
	assert_int_equal(room, 0);
	assert_int_equal(mbufs_in_use(), 0);
}

static void a_full_port_drops_by_name(void **state)
{
	struct rte_mbuf *pkts[NODE_BURST_MAX];
	uint16_t verdicts[NODE_BURST_MAX];

	(void)state;
	assert_int_equal(rte_pktmbuf_alloc_bulk(worker.pool, pkts, NODE_BURST_MAX), 0);
	for (unsigned i = 0; i < NODE_BURST_MAX; i++)
		packet_of(pkts[i])->out_port = i < 40 ? 0 : 5; /* where there is none */
	port_room = 33;
	node_tx.process(&worker, pkts, verdicts, NODE_BURST_MAX);
	for (unsigned i = 0; i < NODE_BURST_MAX; i++) {
		if (i < 33)
			assert_int_equal(verdicts[i], VERDICT_TAKEN);
		else
			assert_true(is_drop(
				&node_tx, verdicts[i], i < 40 ? "tx_queue_full" : "tx_no_port"));
	}
	assert_int_equal(port.queues[0].counters.tx_dropped, 7);
	rte_pktmbuf_free_bulk(pkts + 33, NODE_BURST_MAX - 33);
	assert_int_equal(mbufs_in_use(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(short_backlog, idle),
		cmocka_unit_test_setup(backlog_that_stays, idle),
		cmocka_unit_test_setup(pause_is_no_end, idle),
		cmocka_unit_test_setup(host_port_whole, idle),
		cmocka_unit_test_setup(a_full_punt_ring_drops_by_name, idle),
		cmocka_unit_test_setup(a_full_port_drops_by_name, idle),
	};

	hostport_start();
	worker.table = &table;
	worker.handoff = rte_ring_create("handoff", 64, SOCKET_ID_ANY, RING_F_SC_DEQ);
	worker.punts[PUNT_HANDSHAKE] =
		rte_ring_create("handshake", 64, SOCKET_ID_ANY, RING_F_SC_DEQ);
	if (!worker.handoff || !worker.punts[PUNT_HANDSHAKE])
		errx(1, "no ring");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
