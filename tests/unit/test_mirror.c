/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A mirror on a TAP of the kernel's, and what it loses by name. In a network namespace of its own;
 * skips aloud without root.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <net/if.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "ether.h"
#include "fake_loop.h"
#include "graph.h"
#include "mirror.h"
#include "neigh_packet.h"
#include "netlink_watch.h"

#define TYPE 0x1234
#define FRAME 64

static int kernel_end = -1; /* sends and receives on the mirror as the kernel does */

void netlink_watch_add(unsigned ifindex, uint16_t port, uint16_t mtu)
{
	assert_int_equal(ifindex, if_nametoindex("inside"));
	assert_int_equal(port, MIRROR_PORT);
	assert_int_equal(mtu, 1500);
}

void netlink_watch_remove(uint16_t port)
{
	assert_int_equal(port, MIRROR_PORT);
}

bool netlink_watch_resolve(const struct neigh_key *key)
{
	(void)key;
	return true;
}

struct fib *ether_fib(void)
{
	return table.fib;
}

static void shell(const char *command)
{
	if (system(command) != 0)
		errx(1, "%s", command);
}

static uint64_t dropped(const char *name)
{
	return control_drops[graph_drop_number(name)];
}

/* ---- frames ---------------------------------------------------------------------------------- */

static struct rte_mbuf *frame_for_kernel(uint8_t mark)
{
	uint8_t bytes[FRAME];
	struct rte_mbuf *m;

	memset(bytes, mark, sizeof(bytes));
	put_ether(bytes, mirror_mac, their_mac, 0, TYPE);
	m = packet_new(bytes, sizeof(bytes));
	packet_of(m)->in_port = MIRROR_PORT;
	return m;
}

static void kernel_sends(uint8_t mark)
{
	uint8_t bytes[FRAME];

	memset(bytes, mark, sizeof(bytes));
	put_ether(bytes, their_mac, mirror_mac, 0, TYPE);
	assert_int_equal(send(kernel_end, bytes, sizeof(bytes), 0), sizeof(bytes));
}

/* The kernel asks for a host that is behind the tunnel. */
static void kernel_asks(void)
{
	struct neigh_frame f = {.op = NEIGH_REQUEST,
		.family = AF_INET,
		.our_addr = {10, 1, 0, 1},
		.target = {10, 2, 0, 9}};
	uint8_t bytes[NEIGH_FRAME_MAX];
	size_t len;

	memcpy(f.our_mac, mirror_mac, 6);
	len = neigh_frame_build(&f, bytes);
	assert_int_equal(send(kernel_end, bytes, len, 0), len);
}

/* Whether the kernel gets a frame of the type whose byte at `at` is that. */
static bool kernel_gets(uint16_t type, unsigned at, uint8_t byte)
{
	struct pollfd p = {.fd = kernel_end, .events = POLLIN};
	uint8_t bytes[2048];

	while (poll(&p, 1, 5000) == 1)
		if (recv(kernel_end, bytes, sizeof(bytes), 0) > (ssize_t)at &&
			bytes[12] == type >> 8 && bytes[13] == (type & 0xff) && bytes[at] == byte)
			return true;
	return false;
}

/* Waits for the frame with the mark; none with `not_mark` comes before. */
static void injects(uint8_t mark, uint8_t not_mark)
{
	time_t until = time(NULL) + 20;
	bool seen = false;

	while (!seen && time(NULL) < until) {
		ev_run(core_loop(), EVRUN_NOWAIT);
		for (unsigned i = 0; i < n_injected; i++) {
			const uint8_t *frame = rte_pktmbuf_mtod(injected[i], const uint8_t *);

			if (frame[12] != TYPE >> 8 || frame[13] != (TYPE & 0xff))
				continue; /* the kernel's own */
			assert_int_equal(injected_at[i], INJECT_ETHER);
			assert_int_equal(packet_of(injected[i])->out_port, MIRROR_PORT);
			assert_int_not_equal(frame[20], not_mark);
			seen |= frame[20] == mark;
		}
		injected_free();
	}
	assert_true(seen);
}

static void counts(const char *name, uint64_t before)
{
	time_t until = time(NULL) + 20;

	while (dropped(name) == before && time(NULL) < until)
		ev_run(core_loop(), EVRUN_NOWAIT);
	assert_int_not_equal(dropped(name), before);
	injected_free();
}

/* ---- what happens ---------------------------------------------------------------------------- */

static void frames_go_both_ways(void **state)
{
	(void)state;
	mirror_punt(frame_for_kernel(1));
	assert_true(kernel_gets(TYPE, 20, 1));
	kernel_sends(2);
	injects(2, 0);
	kernel_asks();
	while (!poll(&(struct pollfd){.fd = kernel_end, .events = POLLIN}, 1, 0))
		ev_run(core_loop(), EVRUN_NOWAIT);
	assert_true(kernel_gets(0x0806, 21, NEIGH_REPLY + 1));
	assert_int_equal(dropped("mirror_gone"), 0);
}

/* The frame is lost, and does not wait for one either: the loop would spin. */
static void without_a_buffer_a_frame_of_the_kernels_is_lost_by_name(void **state)
{
	unsigned n = rte_mempool_avail_count(pool);
	struct rte_mbuf **all = calloc(n, sizeof(*all));

	(void)state;
	assert_int_equal(dropped("mirror_no_buffer"), 0);
	assert_int_equal(rte_pktmbuf_alloc_bulk(pool, all, n), 0);
	kernel_sends(3);
	counts("mirror_no_buffer", 0);
	rte_pktmbuf_free_bulk(all, n);
	free(all);
	kernel_sends(4);
	injects(4, 3);
}

static void what_is_no_packet_is_not_routed(void **state)
{
	uint8_t bytes[FRAME] = {0}, gateway[6];

	(void)state;
	mirror_gateway_mac(mirror_mac, gateway);
	put_ether(bytes, gateway, mirror_mac, 0, TYPE);
	assert_int_equal(send(kernel_end, bytes, sizeof(bytes), 0), sizeof(bytes));
	counts("mirror_malformed", 0);
}

static void a_kernel_that_takes_nothing(void **state)
{
	struct rte_mbuf *m = frame_for_kernel(5);

	(void)state;
	packet_of(m)->in_port = PLAIN_PORT; /* has none */
	mirror_punt(m);
	assert_int_equal(dropped("mirror_gone"), 1);
	kernel_asks(); /* and nobody has looked at it when it goes down */
	shell("ip link set inside down");
	mirror_punt(frame_for_kernel(6));
	assert_int_equal(dropped("mirror_gone"), 2);
	counts("mirror_gone", 2);
	assert_int_equal(dropped("mirror_gone"), 3);
	mirror_close(MIRROR_PORT);
	mirror_punt(frame_for_kernel(7));
	assert_int_equal(dropped("mirror_gone"), 4);
	assert_int_equal(if_nametoindex("inside"), 0);
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
}

/* ---- life ------------------------------------------------------------------------------------ */

static int start(void **state)
{
	struct port_conf conf = {.mirror = (char *)(uintptr_t) "inside"};
	struct fib_next_hop hop = {.type = FIB_TUNNEL, .port = PORT_NONE, .tunnel = TUNNEL};
	struct net_prefix behind = prefix_of("10.2.0.0/24");
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(0x0003)};
	struct err err = {0};

	(void)state;
	if (mirror_open(&ports[MIRROR_PORT], &conf, &err) < 0)
		errx(1, "%s", err.msg);
	if (fib_route_add(table.fib, &behind, FIB_FROM_STATIC, &hop, &err) < 0)
		errx(1, "%s", err.msg);
	kernel_end = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(0x0003));
	at.sll_ifindex = (int)if_nametoindex("inside");
	return setsockopt(kernel_end, SOL_PACKET, PACKET_IGNORE_OUTGOING, &(int){1}, sizeof(int)) ||
	       bind(kernel_end, (struct sockaddr *)&at, sizeof(at));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_go_both_ways),
		cmocka_unit_test(without_a_buffer_a_frame_of_the_kernels_is_lost_by_name),
		cmocka_unit_test(what_is_no_packet_is_not_routed),
		cmocka_unit_test(a_kernel_that_takes_nothing),
	};

	if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0) {
		printf("skipped: needs root for a network namespace with a TAP\n");
		return 77;
	}
	fixture_start();
	graph_register_drops(mirror_drops);
	return cmocka_run_group_tests(tests, start, NULL);
}
