/* SPDX-License-Identifier: BSD-3-Clause */
/* What plugins provide to each other, by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <tailplane/plugin.h>

static void test_services(void **state)
{
	static const int one = 1, two = 2;

	(void)state;
	assert_null(core_service("admission"));
	core_provide("admission", &one);
	core_provide("policy", &two);
	assert_ptr_equal(core_service("admission"), &one);
	assert_ptr_equal(core_service("policy"), &two);
	assert_null(core_service("admissio"));
	core_provide("admission", NULL);
	assert_null(core_service("admission"));
	core_provide("admission", &two);
	assert_ptr_equal(core_service("admission"), &two);
}

static unsigned told;

static void count(void)
{
	told++;
}

static void test_watch(void **state)
{
	static const int one = 1;

	(void)state;
	core_watch_service("watched", count);
	core_provide("watched", NULL);
	assert_int_equal(told, 0);
	core_provide("watched", &one);
	core_provide("watched", &one);
	assert_int_equal(told, 1);
	core_provide("other", &one);
	core_provide("watched", NULL);
	assert_int_equal(told, 2);
	core_watch_service("watched", NULL);
	core_provide("watched", &one);
	assert_int_equal(told, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_services),
		cmocka_unit_test(test_watch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
