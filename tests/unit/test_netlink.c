/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses and routes in a network namespace of the test's own, read back with `ip`. */
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "hostport.h"
#include "skip_if.h"

static bool private_namespace;
static struct port *tun, *other;

static bool no_namespace(void)
{
	return !private_namespace;
}

static int setup(void **state)
{
	struct err err = {0};

	if (!private_namespace)
		return 0;
	tun = port_tun_open("tp0", 1, 1420, 0, &err);
	other = port_tun_open("tp1", 1, 1420, 0, &err);
	if (!tun || !other)
		fail_msg("%s", err.msg);
	assert_int_equal(netlink_link_up("tp0", 1400, &err), 0);
	assert_int_equal(netlink_link_up("tp1", 1420, &err), 0);
	return 0;
}

static int teardown(void **state)
{
	if (!private_namespace)
		return 0;
	tun->ops->close(tun);
	other->ops->close(other);
	return 0;
}

static struct net_prefix prefix_of(const char *text)
{
	struct net_prefix p;

	assert_int_equal(net_prefix_parse(&p, text), 0);
	return p;
}

/* Whether the command's output holds the text. */
static bool says(const char *command, const char *text)
{
	static char out[65536];
	FILE *f = popen(command, "re");
	size_t n;

	assert_non_null(f);
	n = fread(out, 1, sizeof(out) - 1, f);
	out[n] = '\0';
	assert_int_equal(pclose(f), 0);
	return strstr(out, text);
}

static void run(const char *command)
{
	assert_int_equal(system(command), 0);
}

static void a_link_goes_up_with_its_mtu(void **state)
{
	struct err err = {0};

	skip_if(no_namespace(), "needs a network namespace (root)");
	assert_true(says("ip link show tp0", "mtu 1400"));
	assert_true(says("ip link show tp0", ",UP"));
	assert_int_equal(netlink_link_up("nothere", 1400, &err), -ENODEV);
	assert_string_equal(err.msg, "there is no interface nothere");
}

static void a_super_packet_is_as_long_as_a_train(void **state)
{
	skip_if(no_namespace(), "needs a network namespace (root)");
	assert_true(says("ip -d link show tp0", "gso_max_segs 44")); /* 44 * (1420 + 32) < 65000 */
	assert_true(says("ip link show tp0", "qlen 1000"));
}

static void the_kernels_words_are_passed_on(void **state)
{
	struct err err = {0};

	skip_if(no_namespace(), "needs a network namespace (root)");
	assert_int_equal(netlink_link_up("tp0", 1, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "link up, MTU 1, on tp0: Invalid argument"));
	assert_non_null(strstr(err.msg, "mtu less than device minimum"));
}

static void addresses_come_and_go(void **state)
{
	struct net_prefix a4 = prefix_of("10.1.2.3/24"), a6 = prefix_of("fd12::5/64");
	struct err err = {0};

	skip_if(no_namespace(), "needs a network namespace (root)");
	for (unsigned i = 0; i < 2; i++) { /* what is there already is no error */
		assert_int_equal(netlink_address_add("tp0", &a4, &err), 0);
		assert_int_equal(netlink_address_add("tp0", &a6, &err), 0);
	}
	assert_true(says("ip addr show tp0", "inet 10.1.2.3/24"));
	assert_true(says("ip addr show tp0", "inet6 fd12::5/64"));
	assert_true(says("ip -6 addr show tp0", "nodad"));
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(netlink_address_remove("tp0", &a4, &err), 0);
		assert_int_equal(netlink_address_remove("tp0", &a6, &err), 0);
	}
	assert_false(says("ip addr show tp0", "10.1.2.3"));
	assert_false(says("ip addr show tp0", "fd12::5"));
}

static void check_route(const char *text, const char *list)
{
	struct net_prefix p = prefix_of(text);
	struct err err = {0};

	for (unsigned i = 0; i < 2; i++)
		if (netlink_route_add("tp0", &p, &err) < 0)
			fail_msg("%s", err.msg);
	assert_true(says(list, "dev tp0 proto 84"));
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(netlink_route_remove("tp0", &p, &err), 0);
	assert_false(says(list, "dev tp0"));
}

static void routes_come_and_go(void **state)
{
	skip_if(no_namespace(), "needs a network namespace (root)");
	check_route("192.168.7.0/24", "ip route show 192.168.7.0/24");
	check_route("192.168.7.9/24", "ip route show 192.168.7.0/24"); /* host bits do not matter */
	check_route("192.168.7.9/32", "ip route show 192.168.7.9");
	check_route("fd77::/48", "ip -6 route show fd77::/48");
	check_route("fd77::1/128", "ip -6 route show fd77::1");
}

static void our_own_route_moves(void **state)
{
	struct net_prefix p = prefix_of("192.168.7.0/24"), p6 = prefix_of("fd77::/48");
	struct err err = {0};

	skip_if(no_namespace(), "needs a network namespace (root)");
	assert_int_equal(netlink_route_add("tp1", &p, &err), 0);
	assert_int_equal(netlink_route_add("tp0", &p, &err), 0);
	assert_true(says("ip route show 192.168.7.0/24", "dev tp0"));
	assert_false(says("ip route show 192.168.7.0/24", "dev tp1"));
	assert_int_equal(netlink_route_remove("tp1", &p, &err), 0); /* not its any more */
	assert_true(says("ip route show 192.168.7.0/24", "dev tp0"));
	assert_int_equal(netlink_route_add("tp1", &p6, &err), 0);
	assert_int_equal(netlink_route_add("tp0", &p6, &err), 0);
	assert_true(says("ip -6 route show fd77::/48", "dev tp0"));
	assert_false(says("ip -6 route show fd77::/48", "dev tp1"));
}

static void anothers_route_is_named_and_left(void **state)
{
	struct net_prefix p = prefix_of("192.168.7.0/24"), p6 = prefix_of("fd77::/48");
	struct err err = {0};

	skip_if(no_namespace(), "needs a network namespace (root)");
	run("ip route add 192.168.7.0/24 dev tp1 proto dhcp");
	run("ip -6 route add fd77::/48 dev tp1 proto bird");
	assert_int_equal(netlink_route_add("tp0", &p, &err), -EEXIST);
	assert_string_equal(err.msg,
		"route 192.168.7.0/24 to tp0: there is one by way of tp1 already, "
		"made by DHCP; it was left as it is");
	assert_true(says("ip route show 192.168.7.0/24", "dev tp1 proto dhcp"));
	err = (struct err){0};
	assert_int_equal(netlink_route_add("tp0", &p6, &err), -EEXIST);
	assert_non_null(strstr(err.msg, "made by BIRD"));
	assert_true(says("ip -6 route show fd77::/48", "dev tp1"));
}

/* An address with the same prefix on the same interface has made the route already. */
static void the_interfaces_own_route_will_do(void **state)
{
	struct net_prefix a = prefix_of("192.168.7.1/24");
	struct err err = {0};

	skip_if(no_namespace(), "needs a network namespace (root)");
	assert_int_equal(netlink_address_add("tp0", &a, &err), 0);
	assert_int_equal(netlink_route_add("tp0", &a, &err), 0);
	assert_true(says("ip route show 192.168.7.0/24", "proto kernel"));
}

static void a_route_of_a_lost_interface_is_gone(void **state)
{
	struct net_prefix p = prefix_of("192.168.7.0/24");
	struct err err = {0};

	assert_int_equal(netlink_route_remove("nothere", &p, &err), 0);
	assert_int_equal(netlink_route_add("nothere", &p, &err), -ENODEV);
}

#define WITH_TUN(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_TUN(a_link_goes_up_with_its_mtu),
		WITH_TUN(a_super_packet_is_as_long_as_a_train),
		WITH_TUN(the_kernels_words_are_passed_on),
		WITH_TUN(addresses_come_and_go),
		WITH_TUN(routes_come_and_go),
		WITH_TUN(our_own_route_moves),
		WITH_TUN(anothers_route_is_named_and_left),
		WITH_TUN(the_interfaces_own_route_will_do),
		cmocka_unit_test(a_route_of_a_lost_interface_is_gone),
	};

	private_namespace = namespace_enter();
	graph_register_drops(tun_drops);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
