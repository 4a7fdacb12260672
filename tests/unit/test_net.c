/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses, prefixes and endpoints: what is read prints in one form, what is wrong is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/net.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct form {
	const char *text, *printed; /* NULL: as the text */
};

static void addresses_print_in_one_form(void **state)
{
	static const struct form forms[] = {
		{"192.0.2.1", NULL},
		{"0.0.0.0", NULL},
		{"::", NULL},
		{"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
		{"::ffff:192.0.2.1", NULL},
		{"fe80::1", NULL},
	};

	for (size_t i = 0; i < COUNT(forms); i++) {
		struct net_addr addr;
		char buf[NET_ADDR_STRLEN];

		assert_int_equal(net_addr_parse(&addr, forms[i].text), 0);
		assert_string_equal(net_addr_format(&addr, buf),
			forms[i].printed ? forms[i].printed : forms[i].text);
	}
}

static void prefixes_print_in_one_form(void **state)
{
	static const struct form forms[] = {
		{"10.0.0.1/24", NULL},
		{"10.0.0.1", "10.0.0.1/32"},
		{"0.0.0.0/0", NULL},
		{"::/0", NULL},
		{"2001:db8::", "2001:db8::/128"},
		{"2001:db8::7/64", NULL},
	};

	for (size_t i = 0; i < COUNT(forms); i++) {
		struct net_prefix prefix;
		char buf[NET_PREFIX_STRLEN];

		assert_int_equal(net_prefix_parse(&prefix, forms[i].text), 0);
		assert_string_equal(net_prefix_format(&prefix, buf),
			forms[i].printed ? forms[i].printed : forms[i].text);
	}
}

static void endpoints_print_in_one_form(void **state)
{
	static const struct form forms[] = {
		{"192.0.2.1:51820", NULL}, {"192.0.2.1:0", NULL},
		{"[2001:DB8::1]:65535", "[2001:db8::1]:65535"}, {"[fe80::1%1]:1", NULL},
		{"[fe80::1%lo]:1", "[fe80::1%1]:1"}, /* lo is interface 1 everywhere */
	};

	for (size_t i = 0; i < COUNT(forms); i++) {
		struct net_endpoint ep;
		char buf[NET_ENDPOINT_STRLEN];

		assert_int_equal(net_endpoint_parse(&ep, forms[i].text), 0);
		assert_string_equal(net_endpoint_format(&ep, buf),
			forms[i].printed ? forms[i].printed : forms[i].text);
	}
}

static void bad_texts_are_refused_and_write_nothing(void **state)
{
	static const char *const addresses[] = {"", " ", "192.0.2", "192.0.2.256", "192.0.2.01",
		"192.0.2.1 ", "1:2", "::1%lo", "[::1]", "192.0.2.1/24", "name"};
	static const char *const prefixes[] = {"", "/", "/24", "10.0.0.0/", "10.0.0.0/33", "::/129",
		"10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/08", "10.0.0.0/8 ", "10.0.0.0/8/8",
		"10.0.0.0/99999999999",
		"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd/64"};
	static const char *const endpoints[] = {"", ":", ":1", "192.0.2.1",
		"192.0.2.1:", "192.0.2.1:65536", "192.0.2.1:-1", "192.0.2.1:01", "192.0.2.1:1x",
		"::1:1", "[::1]", "[::1]1", "[::1:1", "[]:1", "[192.0.2.1]:1", "name:1",
		"[::1%lo]:1", "192.0.2.1%lo:1", "[fe80::1%]:1", "[fe80::1%0]:1",
		"[fe80::1%nosuchdevice]:1"};
	struct net_addr addr = {.family = 77}, addr_before = addr;
	struct net_prefix prefix = {.len = 77}, prefix_before = prefix;
	struct net_endpoint ep = {.port = 77}, ep_before = ep;

	for (size_t i = 0; i < COUNT(addresses); i++)
		assert_int_equal(net_addr_parse(&addr, addresses[i]), -EINVAL);
	for (size_t i = 0; i < COUNT(prefixes); i++)
		assert_int_equal(net_prefix_parse(&prefix, prefixes[i]), -EINVAL);
	for (size_t i = 0; i < COUNT(endpoints); i++)
		assert_int_equal(net_endpoint_parse(&ep, endpoints[i]), -EINVAL);
	assert_memory_equal(&addr, &addr_before, sizeof(addr));
	assert_memory_equal(&prefix, &prefix_before, sizeof(prefix));
	assert_memory_equal(&ep, &ep_before, sizeof(ep));
}

static void hostport_is_split_at_its_colon(void **state)
{
	char host[8];
	uint16_t port = 0;

	assert_int_equal(net_hostport_split("gw.a.b:51820", host, sizeof(host), &port), 0);
	assert_string_equal(host, "gw.a.b");
	assert_int_equal(port, 51820);
	assert_int_equal(net_hostport_split("[::1]:7", host, sizeof(host), &port), 0);
	assert_string_equal(host, "::1");
	assert_int_equal(port, 7);

	assert_int_equal(net_hostport_split("1234567:1", host, sizeof(host), &port), 0);
	assert_int_equal(net_hostport_split("12345678:1", host, sizeof(host), &port), -EINVAL);
	assert_int_equal(net_hostport_split("::1:7", host, sizeof(host), &port), -EINVAL);
	assert_int_equal(net_hostport_split("host", host, sizeof(host), &port), -EINVAL);
	assert_int_equal(net_hostport_split("host:", host, sizeof(host), &port), -EINVAL);
	assert_int_equal(net_hostport_split(":1", host, sizeof(host), &port), -EINVAL);
	assert_int_equal(net_hostport_split("[]:1", host, sizeof(host), &port), -EINVAL);
	assert_int_equal(net_hostport_split("]:1", host, sizeof(host), &port), 0);
	assert_int_equal(net_hostport_split("[:1", host, sizeof(host), &port), -EINVAL);
	assert_int_equal(net_hostport_split("host:65536", host, sizeof(host), &port), -EINVAL);
}

static void unset_prints_as_nothing(void **state)
{
	struct net_endpoint ep = {0};
	struct net_prefix prefix = {0};
	char buf[NET_ENDPOINT_STRLEN] = "x", prefix_buf[NET_PREFIX_STRLEN] = "x";

	assert_string_equal(net_endpoint_format(&ep, buf), "");
	assert_string_equal(net_prefix_format(&prefix, prefix_buf), "");
}

/* One bit at a time, the obvious way. */
static bool contains_by_bits(const struct net_prefix *prefix, const struct net_addr *addr)
{
	if (prefix->addr.family != addr->family)
		return false;
	for (unsigned bit = 0; bit < prefix->len; bit++) {
		unsigned mask = 0x80u >> bit % 8;

		if ((prefix->addr.bytes[bit / 8] & mask) != (addr->bytes[bit / 8] & mask))
			return false;
	}
	return true;
}

static void prefixes_contain_as_their_bits_say(void **state)
{
	unsigned n_inside = 0;

	srandom(1);
	for (int i = 0; i < 20000; i++) {
		bool v6 = random() & 1;
		unsigned bits = v6 ? 128 : 32;
		struct net_prefix prefix = {.addr.family = v6 ? AF_INET6 : AF_INET};
		struct net_addr addr;
		struct net_prefix masked;

		for (unsigned b = 0; b < bits / 8; b++)
			prefix.addr.bytes[b] = (uint8_t)random();
		prefix.len = (uint8_t)(random() % (bits + 1));
		addr = prefix.addr;
		addr.bytes[random() % (bits / 8)] ^= (uint8_t)(1u << random() % 8);

		assert_int_equal(
			net_prefix_contains(&prefix, &addr), contains_by_bits(&prefix, &addr));
		assert_true(net_prefix_contains(&prefix, &prefix.addr));
		n_inside += net_prefix_contains(&prefix, &addr);

		masked = net_prefix_masked(&prefix);
		assert_int_equal(masked.len, prefix.len);
		assert_true(contains_by_bits(&prefix, &masked.addr));
		for (unsigned bit = prefix.len; bit < 128; bit++)
			assert_false(masked.addr.bytes[bit / 8] & 0x80u >> bit % 8);
	}
	assert_in_range(n_inside, 5000, 15000); /* both answers were seen */
}

static void families_do_not_contain_each_other(void **state)
{
	struct net_prefix all4, all6;
	struct net_addr four, six, none = {0};

	net_prefix_parse(&all4, "0.0.0.0/0");
	net_prefix_parse(&all6, "::/0");
	net_addr_parse(&four, "192.0.2.1");
	net_addr_parse(&six, "::");
	assert_true(net_prefix_contains(&all4, &four));
	assert_true(net_prefix_contains(&all6, &six));
	assert_false(net_prefix_contains(&all4, &six));
	assert_false(net_prefix_contains(&all6, &four));
	assert_false(net_prefix_contains(&all4, &none));
}

static void sockaddrs_go_there_and_back(void **state)
{
	static const char *const texts[] = {
		"192.0.2.1:51820", "[2001:db8::1]:1", "[fe80::1%1]:65535", "0.0.0.0:0"};
	struct sockaddr local = {.sa_family = AF_UNIX};
	struct net_endpoint none = {0}, ep;
	struct sockaddr_storage ss;

	for (size_t i = 0; i < COUNT(texts); i++) {
		struct net_endpoint back;
		socklen_t len;

		assert_int_equal(net_endpoint_parse(&ep, texts[i]), 0);
		len = net_endpoint_to_sockaddr(&ep, &ss);
		assert_int_equal(len, ep.addr.family == AF_INET ? sizeof(struct sockaddr_in)
								: sizeof(struct sockaddr_in6));
		assert_int_equal(net_endpoint_from_sockaddr(&back, (struct sockaddr *)&ss), 0);
		assert_true(net_endpoint_equal(&ep, &back));
	}
	assert_int_equal(net_endpoint_to_sockaddr(&none, &ss), 0);
	assert_int_equal(net_endpoint_from_sockaddr(&ep, &local), -EAFNOSUPPORT);
}

static void sockaddr_holds_network_order(void **state)
{
	struct sockaddr_storage ss;
	struct sockaddr_in *sin = (struct sockaddr_in *)&ss;
	struct net_endpoint ep;

	net_endpoint_parse(&ep, "192.0.2.1:51820");
	net_endpoint_to_sockaddr(&ep, &ss);
	assert_int_equal(sin->sin_family, AF_INET);
	assert_int_equal(ntohs(sin->sin_port), 51820);
	assert_int_equal(ntohl(sin->sin_addr.s_addr), 0xc0000201);
}

static void equal_is_all_of_it(void **state)
{
	struct net_endpoint a, b;

	net_endpoint_parse(&a, "[fe80::1%1]:1");
	b = a;
	assert_true(net_endpoint_equal(&a, &b));
	b.port = 2;
	assert_false(net_endpoint_equal(&a, &b));
	b = a;
	b.scope = 2;
	assert_false(net_endpoint_equal(&a, &b));
	b = a;
	b.addr.bytes[15] = 2;
	assert_false(net_endpoint_equal(&a, &b));
	b = a;
	b.addr.family = AF_INET;
	assert_false(net_endpoint_equal(&a, &b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_print_in_one_form),
		cmocka_unit_test(prefixes_print_in_one_form),
		cmocka_unit_test(endpoints_print_in_one_form),
		cmocka_unit_test(bad_texts_are_refused_and_write_nothing),
		cmocka_unit_test(hostport_is_split_at_its_colon),
		cmocka_unit_test(unset_prints_as_nothing),
		cmocka_unit_test(prefixes_contain_as_their_bits_say),
		cmocka_unit_test(families_do_not_contain_each_other),
		cmocka_unit_test(sockaddrs_go_there_and_back),
		cmocka_unit_test(sockaddr_holds_network_order),
		cmocka_unit_test(equal_is_all_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
