/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "ratelimiter.h"

#define NOW (5000 * NS_PER_SEC)
#define MS 1000000ULL

static struct net_addr addr_of(const char *text)
{
	struct net_addr addr = {.family = strchr(text, ':') ? AF_INET6 : AF_INET};

	assert_int_equal(inet_pton(addr.family, text, addr.bytes), 1);
	return addr;
}

static struct net_addr addr_number(uint32_t n)
{
	struct net_addr addr = {.family = AF_INET};

	n = htonl(n);
	memcpy(addr.bytes, &n, 4);
	return addr;
}

static unsigned burst(struct ratelimiter *r, const struct net_addr *addr, uint64_t now, unsigned n)
{
	unsigned allowed = 0;

	for (unsigned i = 0; i < n; i++)
		allowed += ratelimiter_allow(r, addr, now);
	return allowed;
}

static void burst_and_rate(void **state)
{
	struct net_addr a = addr_of("192.0.2.1"), b = addr_of("192.0.2.2");
	struct ratelimiter r;
	unsigned allowed;

	assert_int_equal(ratelimiter_init(&r, 16), 0);
	assert_int_equal(burst(&r, &a, NOW, 100), 5);
	assert_int_equal(burst(&r, &b, NOW, 100), 5); /* its own bucket */
	assert_int_equal(burst(&r, &a, NOW + 49 * MS, 1), 0);
	assert_int_equal(burst(&r, &a, NOW + 50 * MS, 2), 1);
	assert_int_equal(burst(&r, &a, NOW + 10000 * MS, 100), 5); /* never more than a burst */
	/* a constant flood of 1000 a second, over 10 s */
	allowed = 0;
	for (unsigned i = 1; i <= 10000; i++)
		allowed += burst(&r, &a, NOW + 10000 * MS + i * MS, 1);
	assert_int_equal(allowed, 200);
	ratelimiter_fini(&r);
}

static void sources(void **state)
{
	struct net_addr same[] = {addr_of("2001:db8:1:2::1"), addr_of("2001:db8:1:2:ffff::9")};
	struct net_addr other = addr_of("2001:db8:1:3::1");
	/* an IPv4 address and an IPv6 /64 of the same first bytes */
	struct net_addr v4 = addr_of("32.1.13.184"), v6 = addr_of("2001:db8::1");
	struct ratelimiter r;

	assert_int_equal(ratelimiter_init(&r, 16), 0);
	assert_int_equal(burst(&r, &same[0], NOW, 3), 3);
	assert_int_equal(burst(&r, &same[1], NOW, 3), 2); /* one /64, one bucket */
	assert_int_equal(burst(&r, &other, NOW, 5), 5);
	assert_int_equal(burst(&r, &v4, NOW, 5), 5);
	assert_int_equal(burst(&r, &v6, NOW, 5), 5);
	ratelimiter_fini(&r);
}

static void full_table_refuses_and_recovers(void **state)
{
	enum { ENTRIES = 1000 };
	struct net_addr addr;
	struct ratelimiter r;

	assert_int_equal(ratelimiter_init(&r, ENTRIES), 0);
	for (uint32_t i = 0; i < ENTRIES; i++) {
		addr = addr_number(i);
		assert_int_equal(burst(&r, &addr, NOW, 6), 5);
	}
	assert_int_equal(r.used, ENTRIES);
	/* a new source is refused, those that are known are still counted right */
	addr = addr_number(ENTRIES);
	assert_int_equal(burst(&r, &addr, NOW, 3), 0);
	assert_int_equal(r.refused_full, 3);
	addr = addr_number(7);
	assert_int_equal(burst(&r, &addr, NOW + 2000 * MS, 6), 5);
	/* idle ones make room; the one active just now keeps its count */
	addr = addr_number(ENTRIES);
	assert_int_equal(burst(&r, &addr, NOW + 2001 * MS, 6), 5);
	assert_int_equal(r.used, 2);
	addr = addr_number(7);
	assert_int_equal(burst(&r, &addr, NOW + 2001 * MS, 6), 0);
	/* and all entries are of use again */
	for (uint32_t i = 0; i < ENTRIES - 2; i++) {
		addr = addr_number(10000 + i);
		assert_true(ratelimiter_allow(&r, &addr, NOW + 2001 * MS));
	}
	assert_int_equal(r.used, ENTRIES);
	ratelimiter_fini(&r);
}

static void sizes(void **state)
{
	struct net_addr addr = addr_of("192.0.2.1"), other = addr_of("192.0.2.2");
	struct ratelimiter r;

	assert_int_equal(ratelimiter_init(&r, 0), -EINVAL);
	assert_int_equal(ratelimiter_init(&r, UINT32_MAX), -EINVAL);
	assert_int_equal(ratelimiter_init(&r, 1), 0);
	assert_int_equal(burst(&r, &addr, NOW, 6), 5);
	assert_int_equal(burst(&r, &other, NOW, 6), 0);
	ratelimiter_fini(&r);
}

/* Workers and loops read their clocks apart: one may be a little behind. */
static void clock_behind(void **state)
{
	struct net_addr addr = addr_of("192.0.2.1");
	struct ratelimiter r;

	assert_int_equal(ratelimiter_init(&r, 16), 0);
	assert_int_equal(burst(&r, &addr, NOW, 6), 5);
	assert_int_equal(burst(&r, &addr, NOW - 1000 * MS, 6), 0);
	assert_int_equal(burst(&r, &addr, NOW + 50 * MS, 6), 1);
	ratelimiter_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(burst_and_rate),
		cmocka_unit_test(sources),
		cmocka_unit_test(full_table_refuses_and_recovers),
		cmocka_unit_test(sizes),
		cmocka_unit_test(clock_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
