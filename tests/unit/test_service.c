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

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_services)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
