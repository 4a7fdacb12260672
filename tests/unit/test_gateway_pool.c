/* SPDX-License-Identifier: BSD-3-Clause */
/* The gateway's address pools. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gateway.h"

static void test_choice(void **state)
{
	struct net_prefix a4, a6, b4, b6;

	(void)state;
	pool_choose(&a4, &a6);
	pool_choose(&b4, &b6);
	assert_int_equal(a4.addr.bytes[0], 10);
	assert_int_equal(a4.addr.bytes[3], 1);
	assert_int_equal(a4.len, 24);
	assert_int_equal(a6.addr.bytes[0], 0xfd);
	assert_int_equal(a6.addr.bytes[15], 1);
	assert_false(net_prefix_equal(&a6, &b6)); /* 40 random bits */
}

/* Hands out until the pool is empty: each address once, never the gateway's, none outside. */
static unsigned hand_out_all(const char *text)
{
	struct gateway_state gs = {.clients = calloc(300, sizeof(struct client))};
	struct net_prefix pool;
	struct net_addr addr;
	bool seen[256] = {false};

	assert_int_equal(net_prefix_parse(&pool, text), 0);
	while (gs.n_clients < 300 && !pool_next(&pool, &gs, &addr)) {
		uint8_t host = addr.bytes[addr.family == AF_INET ? 3 : 15];

		assert_true(net_prefix_contains(&pool, &addr));
		assert_false(net_addr_equal(&addr, &pool.addr));
		assert_false(seen[host]);
		seen[host] = true;
		if (addr.family == AF_INET)
			gs.clients[gs.n_clients++].addr4 = addr;
		else
			gs.clients[gs.n_clients++].addr6 = addr;
	}
	free(gs.clients);
	return (unsigned)gs.n_clients;
}

static void test_all_addresses(void **state)
{
	(void)state;
	assert_int_equal(hand_out_all("10.1.2.1/24"), 253); /* not .0, .1, .255 */
	assert_int_equal(hand_out_all("10.1.2.77/29"), 5);
	assert_int_equal(hand_out_all("fd00::1/121"), 126); /* IPv6 has no broadcast */
}

static void test_freed_address_comes_back(void **state)
{
	struct client clients[2] = {{.name = "a"}, {.name = "b"}};
	struct gateway_state gs = {.clients = clients, .n_clients = 2};
	struct net_prefix pool;
	struct net_addr addr;

	(void)state;
	assert_int_equal(net_prefix_parse(&pool, "10.0.0.1/24"), 0);
	assert_int_equal(net_addr_parse(&clients[0].addr4, "10.0.0.3"), 0);
	assert_int_equal(net_addr_parse(&clients[1].addr4, "10.0.0.4"), 0);
	assert_int_equal(pool_next(&pool, &gs, &addr), 0);
	assert_int_equal(addr.bytes[3], 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_all_addresses),
		cmocka_unit_test(test_freed_address_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
