/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Tests with each implementation of the AEAD; one that this machine has not skips aloud. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "aead.h"

static void cannot_run_here(void **state)
{
	print_message("the instructions are not there\n");
	skip();
}

/* How many failed. It is aead_chosen() while its tests run. */
static int aead_each(const struct CMUnitTest *tests, size_t n)
{
	static const struct CMUnitTest absent[] = {cmocka_unit_test(cannot_run_here)};
	int n_failed = 0;

	unsetenv("TAILPLANE_AEAD");
	for (const struct aead_impl *const *impl = aead_impls; *impl != NULL; impl++) {
		bool here = aead_init((*impl)->name) == 0;

		n_failed += _cmocka_run_group_tests(
			(*impl)->name, here ? tests : absent, here ? n : 1, NULL, NULL);
	}
	return n_failed;
}
