/* SPDX-License-Identifier: BSD-3-Clause */
/* When an AF_XDP socket counts as given up by the kernel, and when it does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sys/socket.h>
#include <unistd.h>

#include "xdp_watch.h"

static struct xdp_watch watch;
static struct xdp_facts facts;

static int setup(void **state)
{
	(void)state;
	memset(&watch, 0, sizeof(watch));
	facts = (struct xdp_facts){0};
	return 0;
}

static const char *look(void)
{
	return xdp_watch_judge(&watch, 3, &facts);
}

/* The looks until it is given up, while `grows` grows and nothing else does. */
static unsigned looks_until(uint64_t *grows, const char *word)
{
	for (unsigned i = 1; i <= 2 * XDP_WATCH_LOOKS; i++) {
		const char *fault;

		*grows += 7;
		fault = look();
		if (fault) {
			assert_non_null(strstr(fault, word));
			return i;
		}
	}
	return 0;
}

static void test_given_up(void **state)
{
	setup(state);
	assert_int_equal(looks_until(&facts.invalid, "invalid"), XDP_WATCH_LOOKS);
	setup(state);
	assert_int_equal(looks_until(&facts.no_room, "receive"), XDP_WATCH_LOOKS);
	setup(state);
	assert_int_equal(looks_until(&facts.tx_dropped, "transmit"), XDP_WATCH_LOOKS);
}

/* More than it can carry: it drops, and goes on. */
static void test_overload(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 10 * XDP_WATCH_LOOKS; i++) {
		facts.no_room += 1000;
		facts.tx_dropped += 1000;
		facts.rx += 5;
		facts.tx += 5;
		assert_null(look());
	}
}

/* Descriptors that are refused are no progress, whatever the driver takes from us. */
static void test_refused_while_it_takes(void **state)
{
	unsigned looks = 0;

	(void)state;
	do {
		facts.tx += 64;
		facts.invalid += 64;
		looks++;
	} while (!look());
	assert_int_equal(looks, XDP_WATCH_LOOKS);
}

/* Seldom used: idle looks between do not make it well. Progress does. */
static void test_idle_between(void **state)
{
	(void)state;
	for (unsigned i = 1; i < XDP_WATCH_LOOKS; i++) {
		facts.tx_dropped++;
		assert_null(look());
		for (unsigned k = 0; k < 20; k++)
			assert_null(look());
	}
	facts.rx++;
	assert_null(look());
	assert_int_equal(looks_until(&facts.tx_dropped, "transmit"), XDP_WATCH_LOOKS);
}

static void test_other_queue(void **state)
{
	const struct xdp_facts well = {.rx = 1};

	(void)state;
	for (unsigned i = 0; i < 2 * XDP_WATCH_LOOKS; i++)
		assert_null(xdp_watch_judge(&watch, 0, &well));
	assert_int_equal(looks_until(&facts.invalid, "invalid"), XDP_WATCH_LOOKS);
}

static void test_no_socket(void **state)
{
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_false(xdp_facts_read(pair[0], &facts));
	assert_false(xdp_facts_read(-1, &facts));
	close(pair[0]);
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_given_up, setup),
		cmocka_unit_test_setup(test_overload, setup),
		cmocka_unit_test_setup(test_refused_while_it_takes, setup),
		cmocka_unit_test_setup(test_idle_between, setup),
		cmocka_unit_test_setup(test_other_queue, setup),
		cmocka_unit_test_setup(test_no_socket, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
