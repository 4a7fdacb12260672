/* SPDX-License-Identifier: BSD-3-Clause */
/* Ethernet ports of DPDK alone, without the kernel: frames in and out, buffers of others, devices
 * that are none. */
#include "ether_ports.h"

static void frames_enter_as_packets_of_the_port(void **state)
{
	struct port *port = open_port("net_ring0", 1);
	struct rte_mbuf *m;

	(void)state;
	port->index = 7;
	send_one(port, 0, frame_new(1));
	m = receive_marked(port, 0, 1);
	assert_non_null(m);
	assert_int_equal(packet_of(m)->kind, PACKET_ETHER);
	assert_int_equal(packet_of(m)->in_port, 7);
	assert_int_equal(packet_of(m)->peer, PEER_NONE);
	assert_int_equal(packet_of(m)->tunnel, TUNNEL_NONE);
	assert_int_equal(packet_of(m)->flags, 0);
	assert_int_equal(port->queues[0].counters.rx_packets, 1);
	assert_int_equal(port->queues[0].counters.rx_bytes, 64);
	assert_int_equal(port->queues[0].counters.tx_packets, 1);
	assert_int_not_equal(port->mac[0] | port->mac[5], 0); /* rings have none: one was made */
	rte_pktmbuf_free(m);
	port->ops->close(port);
}

/* Buffers without our area, in pieces, shared: each becomes one of ours. */
static void foreign_buffers_are_copied(void **state)
{
	struct rte_mempool *foreign =
		rte_pktmbuf_pool_create("foreign", 63, 0, 0, 2048, SOCKET_ID_ANY);
	struct port *port = open_port("net_ring1", 1);
	struct rte_mbuf *m = rte_pktmbuf_alloc(foreign), *tail = rte_pktmbuf_alloc(foreign), *got;
	uint8_t bytes[64];

	(void)state;
	put_ether(bytes, plain_mac, their_mac, 0, 0x1234);
	memset(bytes + 14, 5, 50);
	memcpy(rte_pktmbuf_append(m, 20), bytes, 20);
	memcpy(rte_pktmbuf_append(tail, 44), bytes + 20, 44);
	assert_int_equal(rte_pktmbuf_chain(m, tail), 0);
	send_one(port, 0, m);
	got = receive_marked(port, 0, 5);
	assert_non_null(got);
	assert_int_equal(got->nb_segs, 1);
	assert_int_equal(got->data_len, 64);
	assert_memory_equal(rte_pktmbuf_mtod(got, uint8_t *), bytes, 64);
	assert_ptr_equal(got->pool, pools[0]);
	assert_int_equal(rte_mempool_in_use_count(foreign), 0);
	rte_pktmbuf_free(got);
	/* larger than a buffer of ours */
	m = rte_pktmbuf_alloc(foreign);
	rte_pktmbuf_append(m, 1900);
	for (unsigned i = 0; i < 3; i++) {
		tail = rte_pktmbuf_alloc(foreign);
		rte_pktmbuf_append(tail, 1900);
		rte_pktmbuf_chain(m, tail);
	}
	send_one(port, 0, m);
	assert_int_equal(receive(port, 0, &got), 0);
	assert_int_equal(dropped(0, "ether_rx_too_big"), 1);
	assert_int_equal(rte_mempool_in_use_count(foreign), 0);
	port->ops->close(port);
	rte_mempool_free(foreign);
}

/* Not one of ours is left to copy it to. */
static void without_a_buffer_a_foreign_one_is_dropped_by_name(void **state)
{
	struct rte_mempool *foreign =
		rte_pktmbuf_pool_create("foreign", 63, 0, 0, 2048, SOCKET_ID_ANY);
	struct port *port = open_port("net_ring2", 1);
	unsigned n = rte_mempool_avail_count(pools[0]);
	struct rte_mbuf *m, **all = calloc(n, sizeof(*all));
	uint64_t before = dropped(0, "ether_rx_no_buffer");

	(void)state;
	m = rte_pktmbuf_alloc(foreign);
	put_ether((uint8_t *)rte_pktmbuf_append(m, 64), plain_mac, their_mac, 0, 0x1234);
	send_one(port, 0, m);
	assert_int_equal(rte_pktmbuf_alloc_bulk(pools[0], all, n), 0);
	assert_int_equal(receive(port, 0, &m), 0);
	assert_int_equal(dropped(0, "ether_rx_no_buffer") - before, 1);
	assert_int_equal(rte_mempool_in_use_count(foreign), 0);
	rte_pktmbuf_free_bulk(all, n);
	free(all);
	port->ops->close(port);
	rte_mempool_free(foreign);
}

static void a_device_may_be_opened_again(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct port *port = open_port("net_null0", 2);
		json_t *row = json_object();

		port->ops->describe(port, row);
		assert_string_equal(json_string_value(json_object_get(row, "driver")), "net_null");
		assert_int_equal(json_integer_value(json_object_get(row, "rx_queues")), 2);
		json_decref(row);
		expect_refused(conf_of("net_null0"), "another port has device net_null0");
		port->ops->close(port);
	}
}

static void what_is_no_device(void **state)
{
	(void)state;
	expect_refused(conf_of("net_nosuch0"), "no driver \"net_nosuch\"");
	expect_refused(conf_of("../../evil"), "neither a PCI address");
	expect_refused(conf_of("0000:ff:1f.7"), "no PCI device 0000:ff:1f.7");
	expect_refused(conf_of("net_af_packet0"), "names no interface");
	expect_refused(conf_of("net_af_packet0,iface=nosuch"), "no interface nosuch");
}

static void device_strings_are_completed(void **state)
{
	struct port_conf conf = conf_of("net_af_xdp0,iface=eth1");
	char args[DEVICE_ARGS_MAX], value[16];

	(void)state;
	assert_int_equal(device_args(&conf, 4, 2, args, NULL), 0);
	assert_string_equal(args, "net_af_xdp0,iface=eth1,queue_count=2");
	assert_true(device_option(args, "iface", value, sizeof(value)));
	assert_string_equal(value, "eth1");
	assert_false(device_option(args, "face", value, sizeof(value)));
	assert_false(device_option(args, "iface", value, 4));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_enter_as_packets_of_the_port),
		cmocka_unit_test(foreign_buffers_are_copied),
		cmocka_unit_test(without_a_buffer_a_foreign_one_is_dropped_by_name),
		cmocka_unit_test(a_device_may_be_opened_again),
		cmocka_unit_test(what_is_no_device),
		cmocka_unit_test(device_strings_are_completed),
	};

	ether_ports_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
