/* SPDX-License-Identifier: BSD-3-Clause */
/* How much of a backlog `rx` takes at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "hostport.h"
#include "nodes.h"
#include "work.h"

static unsigned backlog;

static uint16_t port_rx(
	struct worker *w, struct port_queue *q, struct rte_mbuf **pkts, uint16_t max)
{
	uint16_t n = (uint16_t)RTE_MIN(backlog, max);

	assert_int_equal(rte_pktmbuf_alloc_bulk(w->pool, pkts, n), 0);
	for (uint16_t i = 0; i < n; i++)
		packet_of(pkts[i])->kind = q->port->type == PORT_ETHER ? PACKET_ETHER : PACKET_IP;
	backlog -= n;
	return n;
}

static const struct port_ops port_ops = {.rx = port_rx};
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(short_backlog, idle),
		cmocka_unit_test_setup(backlog_that_stays, idle),
		cmocka_unit_test_setup(pause_is_no_end, idle),
		cmocka_unit_test_setup(host_port_whole, idle),
	};

	hostport_start();
	worker.table = &table;
	worker.handoff = rte_ring_create("handoff", 64, SOCKET_ID_ANY, RING_F_SC_DEQ);
	if (!worker.handoff)
		errx(1, "no ring");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
