/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the kernel says of an interface that stands for a port, against the kernel itself: in a
 * network namespace of its own, with veth in the mirror's place. Skips aloud without root.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <net/if.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include "fake_loop.h"
#include "netlink_watch.h"

static struct fib *fib;

/* What was said of neighbours last. */
static struct neigh_key neigh_key_said;
static uint8_t neigh_mac_said[6];
static unsigned n_known, n_gone;

void neigh_kernel(const struct neigh_key *key, const uint8_t mac[6])
{
	neigh_key_said = *key;
	if (mac)
		memcpy(neigh_mac_said, mac, 6);
	n_known += mac != NULL;
	n_gone += mac == NULL;
}

static void shell(const char *command)
{
	if (system(command) != 0)
		errx(1, "%s", command);
}

static ev_timer pulse; /* a turn of the loop ends even if nothing happens */

static void pulse_beat(struct ev_loop *loop, ev_timer *watcher, int revents)
{
	(void)loop, (void)watcher, (void)revents;
}

/* Turns the loop; false when the patience of a test is at its end. */
static bool turn(time_t until)
{
	ev_run(core_loop(), EVRUN_ONCE);
	return time(NULL) < until;
}

static const struct fib_next_hop *hop_at(const char *addr)
{
	struct net_prefix p = prefix_of(addr);

	return fib_next_hop(fib, p.addr.family == AF_INET ? fib_lookup4(fib, p.addr.bytes)
							  : fib_lookup6(fib, p.addr.bytes));
}

/* Waits for a kind of next hop (-1: none) of an address. */
static void becomes(const char *addr, int type)
{
	const struct fib_next_hop *hop;
	time_t until = time(NULL) + 20;

	do {
		hop = hop_at(addr);
		if ((hop ? hop->type : -1) == type)
			return;
	} while (turn(until));
	fail_msg("%s is of kind %d, not %d", addr, hop ? hop->type : -1, type);
}

static void counts(const unsigned *counter, unsigned want)
{
	time_t until = time(NULL) + 20;

	while (*counter < want && turn(until))
		;
	assert_true(*counter >= want);
}

static void addresses(void **state)
{
	(void)state;
	shell("ip addr add 10.0.0.1/24 dev va && ip addr add 2001:db8::1/64 dev va nodad");
	becomes("10.0.0.1", FIB_LOCAL);
	becomes("2001:db8::1", FIB_LOCAL);
	assert_int_equal(hop_at("10.0.0.9")->type, FIB_PORT);
	assert_int_equal(hop_at("10.0.0.9")->port, 4);
	assert_int_equal(hop_at("10.0.0.9")->mtu, 1500);
	/* of another interface: none of ours */
	shell("ip addr add 10.5.0.1/24 dev vb && ip addr add 10.6.0.1/24 dev va");
	becomes("10.6.0.1", FIB_LOCAL);
	assert_null(hop_at("10.5.0.1"));
	shell("ip addr del 10.6.0.1/24 dev va");
	becomes("10.6.0.1", -1);
}

static void routes(void **state)
{
	const struct fib_next_hop *hop;

	(void)state;
	shell("ip route add 192.0.2.0/24 via 10.0.0.9");
	becomes("192.0.2.1", FIB_PORT);
	hop = hop_at("192.0.2.1");
	assert_int_equal(hop->family, AF_INET);
	assert_memory_equal(hop->via, "\x0a\x00\x00\x09", 4);
	/* the lowest metric counts, whatever comes last */
	shell("ip route add 192.0.2.0/24 via 10.0.0.8 metric 50 && ip -6 route add 2001:db8:5::/48 "
	      "via "
	      "2001:db8::7");
	becomes("2001:db8:5::1", FIB_PORT);
	assert_int_equal(hop_at("192.0.2.1")->via[3], 9);
	shell("ip route del 192.0.2.0/24 via 10.0.0.9 && ip route add 198.51.100.0/24 via "
	      "10.0.0.9");
	becomes("198.51.100.1", FIB_PORT);
	assert_int_equal(hop_at("192.0.2.1")->via[3], 8);
	shell("ip route replace 192.0.2.0/24 via 10.0.0.7 metric 50 && ip route del "
	      "198.51.100.0/24");
	becomes("198.51.100.1", -1);
	assert_int_equal(hop_at("192.0.2.1")->via[3], 7);
	shell("ip route del 192.0.2.0/24"); /* and nothing is left of the one that it replaced */
	becomes("192.0.2.1", -1);
	shell("ip route add 192.0.2.0/24 via 10.0.0.9");
	/* several next hops: one that is ours; and by a gateway of the other family */
	shell("ip route add 203.0.113.0/24 nexthop via 10.5.0.9 dev vb nexthop via 10.0.0.6 dev "
	      "va");
	becomes("203.0.113.1", FIB_PORT);
	assert_int_equal(hop_at("203.0.113.1")->via[3], 6);
	shell("ip route add 100.64.0.0/10 via inet6 2001:db8::6 dev va");
	becomes("100.64.0.1", FIB_PORT);
	assert_int_equal(hop_at("100.64.0.1")->family, AF_INET6);
	/* other tables are other people's */
	shell("ip route add 100.0.0.0/8 via 10.0.0.9 table 77 && ip route add local 102.0.0.1 dev "
	      "va "
	      "table main && ip route add 101.0.0.0/8 via "
	      "10.0.0.9");
	becomes("101.0.0.1", FIB_PORT);
	assert_null(hop_at("100.0.0.1"));
	assert_null(hop_at("102.0.0.1"));
}

static void vlans_on_top(void **state)
{
	(void)state;
	if (system("ip link add link va name va.7 type vlan id 7 2>/dev/null") != 0) {
		printf("skipped: this kernel makes no VLAN interfaces\n");
		skip();
	}
	shell("ip link set va.7 up && ip addr add 10.7.0.1/24 dev va.7");
	becomes("10.7.0.1", FIB_LOCAL);
	assert_int_equal(hop_at("10.7.0.9")->port, 4);
	assert_int_equal(hop_at("10.7.0.9")->vlan, 7);
	shell("ip link del va.7");
	becomes("10.7.0.1", -1);
	becomes("10.7.0.9", -1);
}

static void neighbours(void **state)
{
	struct neigh_key key = {.port = 4, .family = AF_INET, .addr = {10, 0, 0, 77}};

	(void)state;
	shell("ip neigh add 10.0.0.50 lladdr 02:00:00:00:00:50 dev va");
	counts(&n_known, 1);
	assert_memory_equal(neigh_key_said.addr, "\x0a\x00\x00\x32", 4);
	assert_int_equal(neigh_key_said.port, 4);
	assert_int_equal(neigh_mac_said[5], 0x50);
	n_gone = 0;
	shell("ip neigh del 10.0.0.50 dev va");
	counts(&n_gone, 1);
	/* asked to, the kernel looks for one: nobody is there */
	n_gone = 0;
	assert_true(netlink_watch_resolve(&key));
	counts(&n_gone, 1);
	assert_memory_equal(neigh_key_said.addr, key.addr, 16);
	key.vlan = 9;
	assert_false(netlink_watch_resolve(&key)); /* no interface stands for that */
}

/* The kernel drops routes with a link and does not name them. */
static void a_link_goes_down(void **state)
{
	(void)state;
	becomes("192.0.2.1", FIB_PORT);
	shell("ip link set va down");
	becomes("192.0.2.1", -1);
	shell("ip link set va up && ip route add 192.0.2.0/24 via 10.0.0.9");
	becomes("192.0.2.1", FIB_PORT);
}

static void more_news_than_the_socket_holds(void **state)
{
	char line[64], path[] = "/tmp/routes-XXXXXX", command[64];
	int fd = mkstemp(path);
	unsigned n = 20000;

	(void)state;
	for (unsigned i = 0; i < n; i++) {
		int len = snprintf(line, sizeof(line), "route add 10.%u.%u.0/24 via 10.0.0.9\n",
			100 + i / 256, i % 256);

		assert_int_equal(write(fd, line, (size_t)len), len);
	}
	close(fd);
	snprintf(command, sizeof(command), "ip -batch %s", path);
	shell(command); /* while nobody reads */
	unlink(path);
	becomes("10.100.0.1", FIB_PORT);
	becomes("10.178.31.1", FIB_PORT);
	assert_true(fib_routes(fib) >= n);
	shell("ip route flush via 10.0.0.9");
	becomes("10.178.31.1", -1);
	becomes("10.100.0.1", -1);
	becomes("10.0.0.1", FIB_LOCAL);
}

static void all_is_forgotten(void **state)
{
	(void)state;
	netlink_watch_remove(4);
	assert_null(hop_at("10.0.0.1"));
	assert_null(hop_at("10.0.0.9"));
	netlink_watch_stop();
	assert_int_equal(fib_routes(fib), 0);
	fib_free(fib);
}

static int start(void **state)
{
	(void)state;
	fib = fib_new(NULL, NULL);
	if (netlink_watch_start(fib, NULL) < 0)
		return -1;
	ev_timer_init(&pulse, pulse_beat, .01, .01);
	ev_timer_start(core_loop(), &pulse);
	netlink_watch_add(if_nametoindex("va"), 4, 1500);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses),
		cmocka_unit_test(routes),
		cmocka_unit_test(vlans_on_top),
		cmocka_unit_test(neighbours),
		cmocka_unit_test(a_link_goes_down),
		cmocka_unit_test(more_news_than_the_socket_holds),
		cmocka_unit_test(all_is_forgotten),
	};

	if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0) {
		printf("skipped: needs root for a network namespace with veth\n");
		return 77;
	}
	shell("ip link set lo up && ip link add va type veth peer name vb && ip link set va up && "
	      "ip link "
	      "set vb up");
	return cmocka_run_group_tests(tests, start, NULL);
}
